//! The documents that the user may read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shorten::{Shorten, shorten_list};
use super::{Action, ActionError, Context, Group, Tier};
use crate::documents::{self, Listing};
use crate::sync::rows::DocumentStatus;

/// Documents of one reply, unless the agent asks for another number.
const DOCUMENTS: usize = 25;

pub(super) struct ListDocuments;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Documents to return; 25 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// Where an earlier reply ended: its next_cursor.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    documents: Vec<Listed>,
    /// Give this as cursor to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know about this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    document_id: String,
    title: String,
    name: String,
    /// Bytes of the file.
    bytes: u64,
    updated_at: String,
}

impl Action for ListDocuments {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "list_documents";
    const TITLE: &'static str = "List the documents";
    const DESCRIPTION: &'static str = "Lists the documents that the user may read, by title and id. To find something in \
        them, use search_knowledge.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Knowledge;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let limit = input.limit.unwrap_or(DOCUMENTS);
        let listing = Listing {
            limit,
            cursor: input.cursor.as_deref(),
            status: Some(DocumentStatus::Published),
        };
        let page = documents::list(context.aws, context.space, context.caller, listing).await?;
        let documents = page
            .documents
            .into_iter()
            .map(|document| Listed {
                document_id: document.document_id,
                title: document.title,
                name: document.name,
                bytes: document.bytes,
                updated_at: document.updated_at,
            })
            .collect();
        let note = page
            .next_cursor
            .is_some()
            .then(|| "There are more documents: call again with next_cursor.".to_owned());
        Ok(Output {
            documents,
            next_cursor: page.next_cursor,
            note,
        })
    }
}

impl Shorten for Output {
    fn shorten(&mut self, keep: f64) -> bool {
        let shortened = shorten_list(&mut self.documents, keep);
        if shortened {
            let last = self.documents.last();
            self.next_cursor = last.map(|document| document.document_id.clone());
            self.note = Some("There are more documents: call again with next_cursor.".to_owned());
        }
        shortened
    }
}

//! Passages that match a query, best first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shorten::{Shorten, add_note, shorten_list, shorten_text};
use super::{Action, ActionError, Context, Group, Tier};
use crate::search::{self, SEARCH_LIMIT, SearchMode, SearchRequest};

/// Passages of one reply, unless the agent asks for another number.
const PASSAGES: usize = 8;

pub(super) struct SearchKnowledge;

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    #[default]
    Hybrid,
    Lexical,
    Vector,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// What to look for, in the user's words or in keywords.
    query: String,
    /// Which ranking counts. Hybrid, unless exact words (lexical) or only the meaning (vector) matter.
    #[serde(default)]
    mode: Option<Mode>,
    /// Passages to return; 8 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 50))]
    limit: Option<usize>,
    /// Only documents with these metadata, in the filter language of Bedrock Knowledge Bases, for example
    /// {"equals": {"key": "team", "value": "blue"}}.
    #[serde(default)]
    filter: Option<Map<String, Value>>,
    /// Where an earlier reply ended: its next_cursor.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// The passages, best first.
    passages: Vec<Passage>,
    /// Give this as cursor to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know about this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    offset: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Passage {
    document_id: String,
    title: String,
    /// Headings above the passage.
    heading_path: Vec<String>,
    text: String,
    /// A link to the passage.
    uri: String,
    score: f32,
}

impl Action for SearchKnowledge {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "search_knowledge";
    const TITLE: &'static str = "Search the documents";
    const DESCRIPTION: &'static str = "Finds passages in the documents that the user may read. Use it to look facts up \
        before you answer, and quote the passages that you rest on.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Knowledge;
    const COUNTS_ITSELF: bool = true;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let offset = offset(input.cursor.as_deref())?;
        let limit = input.limit.unwrap_or(PASSAGES);
        // One more tells whether there is a next page.
        let wanted = (offset + limit + 1).min(SEARCH_LIMIT);
        let request = SearchRequest {
            query: input.query,
            space: Some(context.space.to_owned()),
            mode: match input.mode.unwrap_or_default() {
                Mode::Hybrid => SearchMode::Hybrid,
                Mode::Lexical => SearchMode::Lexical,
                Mode::Vector => SearchMode::Vector,
            },
            limit: Some(wanted),
            filter: input.filter.map(Value::Object),
            cursor: None,
            drop_near_duplicates: false,
            merge_neighbours: false,
        };
        let found =
            search::search(context.aws, context.snapshots, context.caller, &request).await?;
        let more = found.results.len() > offset + limit;
        let page = found.results.into_iter().skip(offset).take(limit);
        let passages: Vec<Passage> = page
            .map(|result| Passage {
                document_id: result.document_id,
                title: result.title,
                heading_path: result.heading_path,
                text: result.text,
                uri: result.uri,
                score: result.score,
            })
            .collect();
        let note = match passages.is_empty() {
            true => Some("No passage was found. Say so; do not guess.".to_owned()),
            false => found.reranking.and_then(|reranking| reranking.note()),
        };
        Ok(Output {
            next_cursor: more.then(|| (offset + passages.len()).to_string()),
            passages,
            note,
            offset,
        })
    }
}

fn offset(cursor: Option<&str>) -> Result<usize, ActionError> {
    let Some(cursor) = cursor else { return Ok(0) };
    cursor
        .parse()
        .ok()
        .filter(|offset| *offset < SEARCH_LIMIT)
        .ok_or_else(|| ActionError::InvalidCursor {
            cursor: cursor.chars().take(40).collect(),
        })
}

impl Shorten for Output {
    fn shorten(&mut self, keep: f64) -> bool {
        if shorten_list(&mut self.passages, keep) {
            self.next_cursor = Some((self.offset + self.passages.len()).to_string());
            let words = "There are more passages: call again with next_cursor.";
            add_note(&mut self.note, words);
            return true;
        }
        let only = self.passages.first_mut();
        let cut = only.is_some_and(|passage| shorten_text(&mut passage.text, keep));
        if cut {
            let words = "The passage was cut: get_document has the whole text.";
            add_note(&mut self.note, words);
        }
        cut
    }
}

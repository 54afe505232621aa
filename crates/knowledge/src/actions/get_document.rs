//! The text of a document, a part at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shorten::{Shorten, shorten_text};
use super::{Action, ActionError, Context, Group, Tier};
use crate::documents::{self, DocumentText};

/// Bytes of text in one reply before it is made to fit: more would never fit.
const PART_BYTES: usize = agent_envelopes::REPLY_BYTES;
/// Digits of the content's hash in a cursor: enough to see that the document has changed.
const VERSION_DIGITS: usize = 12;

pub(super) struct GetDocument;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The document's id, from a passage or from list_documents.
    document_id: String,
    /// Where an earlier reply ended: its next_cursor.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    document_id: String,
    title: String,
    uri: String,
    /// The text, or the part of it that begins at start.
    text: String,
    /// Where this part begins in the document's text, in bytes.
    start: usize,
    /// Bytes of the whole text.
    total_bytes: usize,
    /// Give this as cursor to read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know about this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    version: String,
}

impl Action for GetDocument {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "get_document";
    const TITLE: &'static str = "Read a document";
    const DESCRIPTION: &'static str = "Reads the text of one document. Long documents come in parts: go on with \
        next_cursor only when you need more.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Knowledge;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let document = documents::text(context.aws, &input.document_id, context.caller).await?;
        let version = document.content_hash.chars().take(VERSION_DIGITS).collect();
        let start = start(input.cursor.as_deref(), &version, &document)?;
        let mut output = Output {
            total_bytes: document.text.len(),
            text: document.text[start..].to_owned(),
            document_id: document.document_id,
            title: document.title,
            uri: document.uri,
            start,
            next_cursor: None,
            note: None,
            version,
        };
        if output.text.len() > PART_BYTES {
            let keep = PART_BYTES as f64 / output.text.len() as f64;
            output.shorten(keep);
        }
        Ok(output)
    }
}

/// The byte that a cursor, `<version>.<byte>`, stands at.
fn start(
    cursor: Option<&str>,
    version: &String,
    document: &DocumentText,
) -> Result<usize, ActionError> {
    let Some(cursor) = cursor else { return Ok(0) };
    cursor
        .split_once('.')
        .filter(|(given, _)| given == version)
        .and_then(|(_, byte)| byte.parse().ok())
        .filter(|byte| document.text.is_char_boundary(*byte))
        .ok_or_else(|| ActionError::InvalidCursor {
            cursor: cursor.chars().take(40).collect(),
        })
}

impl Shorten for Output {
    fn shorten(&mut self, keep: f64) -> bool {
        if !shorten_text(&mut self.text, keep) {
            return false;
        }
        let end = self.start + self.text.len();
        self.next_cursor = Some(format!("{}.{end}", self.version));
        self.note = Some(format!(
            "This is a part: bytes {} to {end} of {}. Call again with next_cursor for more.",
            self.start, self.total_bytes
        ));
        true
    }
}

//! What an answer stood on, kept for whoever asked for it, and read back against the documents as they are now.
//!
//! The row holds no words of documents but those of the answer itself: passages and quotes are ids, places and digests.
//! Reading back looks them up again, over what the caller may read today. What they may read no longer is withheld, and so
//! is every sentence that rests on it or on nothing known.

mod replay;
mod row;

use std::collections::{BTreeSet, HashMap};

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use serde::Serialize;
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::digest::sha256_hex;
use crate::grounding::Support;
use crate::roles::Role;
use crate::sync::rows::{DocumentRow, PublishedVersion};
use crate::{names, release, spaces};

pub use row::PassageRow;
pub(crate) use row::{AnswerRow, CitationRow};

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// How a passage stands today against what the answer was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PassageState {
    /// Its bytes are the same.
    Verified,
    /// The document has another text by now.
    Changed,
    /// The caller may not read it, or it is gone: the two look the same.
    Unavailable,
}

/// An answer read back.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayedAnswer {
    pub answer_id: String,
    pub created_at: String,
    pub expires_at: String,
    /// As the guard let it through.
    pub question: String,
    /// What was searched for instead, of a follow-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standalone_question: Option<String>,
    pub answer: String,
    pub answered: bool,
    /// Sentences that stand as […] because they rest on what the caller may not read.
    pub withheld: usize,
    pub citations: Vec<ReplayedCitation>,
    pub passages: Vec<ReplayedPassage>,
    pub support: Vec<Support>,
    pub model: String,
    pub prompt_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_version: Option<u64>,
    pub retriever: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranking: Option<Value>,
    pub guard: Value,
    pub usage: Value,
    pub stop_reason: String,
}

/// A citation; of an unavailable passage only its marker is told.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayedCitation {
    pub marker: String,
    pub state: PassageState,
    #[serde(flatten)]
    pub place: Option<CitedPlace>,
    /// Where the bytes are the same, or were masked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

/// Where a citation points.
#[derive(Debug, Clone, Serialize)]
pub struct CitedPlace {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub passage_id: String,
    pub start: u64,
    pub end: u64,
    pub masked: bool,
}

/// A passage that the model read; of an unavailable one nothing is told.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayedPassage {
    pub state: PassageState,
    #[serde(flatten)]
    pub passage: Option<PassageRow>,
}

/// Keeps an answer; false where nobody owns it or answers are not kept.
///
/// # Errors
/// The table's.
pub(crate) async fn keep(aws: &Aws, row: AnswerRow) -> Result<bool, AwsError> {
    let days = aws.settings.history_days;
    if days == 0 || row.owner.is_empty() {
        return Ok(false);
    }
    let expires_at = row.created_at_ms / 1_000 + days.saturating_mul(DAY_SECONDS);
    let row = AnswerRow { expires_at, ..row };
    aws.table.put(&keys::answer(&row.answer_id), &row).await?;
    Ok(true)
}

/// An answer of the caller's, read back.
///
/// # Errors
/// [`KnowledgeError::AnswerNotFound`], also for another's and for one whose time is over.
pub async fn get(
    aws: &Aws,
    answer_id: &str,
    caller: &Caller,
) -> Result<ReplayedAnswer, KnowledgeError> {
    let missing = || KnowledgeError::AnswerNotFound {
        answer_id: answer_id.to_owned(),
    };
    let space = keys::space_of(answer_id).ok_or_else(missing)?;
    match spaces::enter(aws, space, caller, Role::Reader).await {
        Err(KnowledgeError::UnknownSpace { .. }) => return Err(missing()),
        entered => entered?,
    };
    let row: Option<AnswerRow> = aws.table.get(&keys::answer(answer_id)).await?;
    let mine = |row: &AnswerRow| caller.owner() == Some(row.owner.as_str());
    // DynamoDB deletes what has expired when it gets to it.
    let lives = |row: &AnswerRow| row.expires_at > clock::now_ms() / 1_000;
    let row = row
        .filter(|row| mine(row) && lives(row))
        .ok_or_else(missing)?;
    let library = Library::load(aws, caller, &row.passages).await?;
    Ok(replay::replayed(row, &library))
}

/// The documents behind an answer, as far as the caller may read them now.
struct Library(HashMap<String, (PublishedVersion, Option<String>)>);

impl Library {
    async fn load(aws: &Aws, caller: &Caller, passages: &[PassageRow]) -> Result<Self, AwsError> {
        let ids: BTreeSet<&str> = passages
            .iter()
            .map(|passage| passage.document_id.as_str())
            .filter(|id| keys::space_of(id).is_some())
            .collect();
        let wanted: Vec<_> = ids.into_iter().map(keys::document).collect();
        let rows: Vec<DocumentRow> = match wanted.is_empty() {
            true => Vec::new(),
            false => aws.table.get_many(&wanted).await?,
        };
        let mut documents = HashMap::new();
        for row in rows
            .into_iter()
            .filter_map(|row| release::seen(row, caller))
        {
            let Some(live) = row.published else { continue };
            let same = |passage: &&PassageRow| passage.document_id == row.document_id;
            let unchanged = passages
                .iter()
                .filter(same)
                .all(|passage| passage.content_hash == live.content_hash);
            let text = match unchanged {
                true => text(aws, &row.document_id, &live.content_hash).await?,
                false => None,
            };
            documents.insert(row.document_id, (live, text));
        }
        Ok(Self(documents))
    }

    /// How a passage stands, with its document where the caller may read it.
    fn find(&self, passage: &PassageRow) -> (PassageState, Option<&PublishedVersion>) {
        let Some((live, text)) = self.0.get(&passage.document_id) else {
            return (PassageState::Unavailable, None);
        };
        let stands = slice(text.as_deref(), passage.start, passage.end)
            .is_some_and(|bytes| sha256_hex(bytes.as_bytes()) == passage.text_hash);
        match stands {
            true => (PassageState::Verified, Some(live)),
            false => (PassageState::Changed, Some(live)),
        }
    }

    /// The bytes of a document's text, if it is the text of then.
    fn quote(&self, document_id: &str, start: u64, end: u64) -> Option<&str> {
        let (_, text) = self.0.get(document_id)?;
        slice(text.as_deref(), start, end)
    }
}

fn slice(text: Option<&str>, start: u64, end: u64) -> Option<&str> {
    text?.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

async fn text(aws: &Aws, document_id: &str, hash: &str) -> Result<Option<String>, AwsError> {
    match aws.bucket.get(&names::text_key(document_id, hash)).await {
        Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).ok()),
        Err(AwsError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

//! The row of an answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::grounding::Support;

/// An answer and what it stood on. The verdicts and counts are kept as they were told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AnswerRow {
    pub answer_id: String,
    /// The principal who asked; empty where nobody vouched for one.
    pub owner: String,
    pub created_at_ms: u64,
    /// DynamoDB's time to live, seconds.
    pub expires_at: u64,
    pub question: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone_question: Option<String>,
    pub answer: String,
    pub answered: bool,
    pub passages: Vec<PassageRow>,
    pub citations: Vec<CitationRow>,
    pub support: Vec<Support>,
    pub model: String,
    pub prompt_version: u32,
    /// The publication that was searched; none where the retriever has no manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_version: Option<u64>,
    pub retriever: String,
    /// What the space's reranker did, where it had something to order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranking: Option<Value>,
    pub guard: Value,
    pub usage: Value,
    pub stop_reason: String,
}

/// A passage that the model read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PassageRow {
    pub passage_id: String,
    pub document_id: String,
    /// SHA-256 of the document's text.
    pub content_hash: String,
    pub start: u64,
    pub end: u64,
    /// SHA-256 of the passage's text.
    pub text_hash: String,
}

/// A citation of the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CitationRow {
    pub marker: String,
    pub passage_id: String,
    pub start: u64,
    pub end: u64,
    /// SHA-256 of the quote as it stands in the document; of a masked one of nothing that was shown.
    pub quote_hash: String,
    /// The quote as it was shown, where the guard masked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_quote: Option<String>,
}

//! The rows of a conversation.

use serde::{Deserialize, Serialize};

pub(super) const TURN_PREFIX: &str = aws::dynamo::keys::TURN_PREFIX;

/// The conversation itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ConversationRow {
    pub conversation_id: String,
    /// The principal who began it.
    pub owner: String,
    pub version: u64,
    pub turns: u64,
    pub created_at_ms: u64,
    /// DynamoDB's time to live, seconds; moves on with each turn.
    pub expires_at: u64,
}

/// A question and its answer, both as the guard let them through.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TurnRow {
    /// Sorts by time: the answer's own id without its space.
    pub turn_id: String,
    pub question: String,
    /// What was searched for, where the question needed other words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone_question: Option<String>,
    pub answer: String,
    pub answer_id: String,
    /// The documents whose passages the model read.
    pub document_ids: Vec<String>,
    pub expires_at: u64,
}

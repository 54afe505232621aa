//! What agents write, as it stands in the table.

use serde::{Deserialize, Serialize};

/// Who made a row. What an agent made is marked so for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// `agent` or `person`.
    pub kind: String,
    /// The agent, as it is called where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The wire form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The principal that the agent acted for; `None` where nobody vouched for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Digest of the session, so that it can find again what it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A support ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRow {
    pub ticket_id: String,
    pub space: String,
    /// `OPEN`; people move it on.
    pub status: String,
    pub subject: String,
    pub description: String,
    pub priority: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    pub made_by: Made,
    pub created_at_ms: u64,
    /// For the people who replace it.
    pub version: u64,
}

/// A note about a document or a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteRow {
    pub note_id: String,
    pub about: String,
    pub text: String,
    pub made_by: Made,
    pub created_at_ms: u64,
}

/// Somebody found something wrong with a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagRow {
    pub flag_id: String,
    pub document_id: String,
    pub reason: String,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    pub made_by: Made,
    pub created_at_ms: u64,
}

/// One write of an agent, on record until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    pub entry_id: String,
    pub action: String,
    /// What was made: the id of a ticket, note or flag.
    pub made: String,
    pub made_by: Made,
    /// Digest of the arguments; the arguments themselves stand in what was made.
    pub arguments: String,
    pub created_at_ms: u64,
    pub expires_at: u64,
}

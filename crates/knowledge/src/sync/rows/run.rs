//! The row of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::is_zero;
use crate::batch_embedding::BatchEmbedding;
use crate::ledger::Hold;
use crate::sync::estimate::Estimate;
use crate::sync::knowledge_base::progress::Sync;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    Queued,
    Running,
    Succeeded,
    Partial,
    Failed,
    Stopped,
}

impl RunStatus {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What `stop` of a plan says that goes on.
pub(crate) const NO_STOP: &str = "no";

/// A run's row. Counts of single documents are not here but in its batches, so that a repeated step cannot count twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRow {
    pub run_id: String,
    pub space: String,
    /// Rises with each replacement.
    pub version: u64,
    pub status: RunStatus,
    /// The documents to look at; `None`: the whole source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<Vec<String>>,
    /// Embed the whole source with the model of the settings, whatever the space was embedded with.
    #[serde(default)]
    pub re_embed: bool,
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete whatever is gone from the source, however much it is.
    #[serde(default)]
    pub allow_deletions: bool,
    /// Whether the run embeds by batch jobs: the space's setting where the plan is large, else off.
    #[serde(default)]
    pub batch_embedding: BatchEmbedding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub planned: u64,
    #[serde(default)]
    pub unchanged: u64,
    /// Documents that the plan deletes.
    #[serde(default)]
    pub deleted: u64,
    /// What the state machine was told of the plan, once it was made: a plan is made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    /// How often making it has begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub plan_attempts: u32,
    /// What the run will embed, told before it does; of runs over the whole source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What the run holds of the space's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget_hold: Option<Hold>,
    /// When that was given back because the run stood still and another began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at_ms: Option<u64>,
    /// The model that the run embeds with, once it was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embed_model: Option<String>,
    /// Whether Verify has seen them gone.
    #[serde(default)]
    pub deletions_verified: bool,
    /// What it has done for the knowledge base that the space fills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge_base: Option<Sync>,
    /// The run whose failures this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<String>,
    /// The run that repeats this one's failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_by: Option<String>,
    /// The principal that started the run; may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub started_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_ms: Option<u64>,
}

impl RunRow {
    /// A run over the whole source of a space that has not begun.
    pub fn queued(run_id: String, space: String, now_ms: u64) -> Self {
        Self {
            run_id,
            space,
            version: 1,
            status: RunStatus::Queued,
            documents: None,
            re_embed: false,
            dry_run: false,
            allow_deletions: false,
            batch_embedding: BatchEmbedding::Off,
            error: None,
            reason: None,
            planned: 0,
            unchanged: 0,
            deleted: 0,
            plan: None,
            plan_attempts: 0,
            estimate: None,
            budget_hold: None,
            suspended_at_ms: None,
            embed_model: None,
            deletions_verified: false,
            knowledge_base: None,
            redrive_of: None,
            redriven_by: None,
            owner: None,
            started_at_ms: now_ms,
            finished_at_ms: None,
        }
    }
}

//! What a run's row says of its work on a knowledge base.

use aws::bedrock::IngestionCounters;
use serde::{Deserialize, Serialize};

use crate::knowledge_base::Filled;

/// How far a run is with its knowledge base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It compares, and writes what the data source reads.
    Begun,
    Written,
    /// Sent, or a job was started.
    UnderWay,
    Ended,
}

/// How changes reach a knowledge base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Documents are sent, ten with each call.
    Direct,
    /// An ingestion job reads the whole data source.
    Job,
}

/// What a run has done for its knowledge base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    pub of: Filled,
    pub phase: Phase,
    pub begun_at_ms: u64,
    /// Documents whose objects are written or removed.
    #[serde(default)]
    pub copied: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// When it was sent or started.
    #[serde(default)]
    pub under_way_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Whose end it waits for, where that is another's: a run or a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<IngestionCounters>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_reasons: Vec<String>,
    /// Documents that were brought in, taken out, or failed.
    #[serde(default)]
    pub brought_in: u64,
    #[serde(default)]
    pub taken_out: u64,
    #[serde(default)]
    pub failed: u64,
    /// Of those that failed, how many the plan counts as unchanged, as deleted, and not at all.
    #[serde(default)]
    pub failed_unchanged: u64,
    #[serde(default)]
    pub failed_deleted: u64,
    #[serde(default)]
    pub failed_outside: u64,
    /// What went wrong with the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Sync {
    pub(super) fn new(of: Filled, now_ms: u64) -> Self {
        Self {
            of,
            phase: Phase::Begun,
            begun_at_ms: now_ms,
            copied: 0,
            way: None,
            under_way_at_ms: 0,
            job_id: None,
            waiting_for: None,
            counters: None,
            failure_reasons: Vec::new(),
            brought_in: 0,
            taken_out: 0,
            failed: 0,
            failed_unchanged: 0,
            failed_deleted: 0,
            failed_outside: 0,
            error: None,
            reason: None,
        }
    }
}

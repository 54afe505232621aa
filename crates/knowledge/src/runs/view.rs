//! Runs as callers see them.

use aws::bedrock::IngestionCounters;
use aws::{Aws, clock};
use serde::Serialize;

use super::books::Counts;
use super::{Phase, Way};
use crate::models;
use crate::sync::Estimate;
use crate::sync::knowledge_base::progress::Sync;
use crate::sync::rows::{BatchDocument, DocumentStatus, RunRow, RunStatus, is_zero};

/// A document that did not get through.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    pub document_id: String,
    pub name: String,
    pub status: DocumentStatus,
    pub error: String,
    pub reason: String,
}

/// A run as callers see it.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub run_id: String,
    pub space: String,
    pub status: RunStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run whose failures this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<String>,
    /// The run that repeats this one's failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Whether there are more failures than shown; `GET /v1/documents` has them all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_failures: bool,
    /// Failures of documents that the caller may not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_failures: usize,
    /// What the run will embed, told before it does; of runs over the whole source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateView>,
    /// What it has done for the knowledge base that the space fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge_base: Option<KnowledgeBaseView>,
    pub embedding_tokens: u64,
    /// Those of them that came of batch jobs, at the price of those.
    #[serde(skip_serializing_if = "is_zero")]
    pub job_tokens: u64,
    /// What they cost by the price list, on the laptop what AWS would bill for them; none for a model without a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_usd: Option<f64>,
    pub started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// What a run will embed, and what that costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EstimateView {
    #[serde(flatten)]
    pub estimate: Estimate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_1000_documents: Option<f64>,
    /// Which price list, and of when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
}

impl EstimateView {
    /// At the prices of `model`.
    pub(super) fn of(aws: &Aws, model: &str, estimate: Estimate) -> Self {
        let price = models::embedder(model);
        let usd = price.map(|price| price.usd(estimate.tokens, estimate.job_tokens));
        let list = models::price_list();
        Self {
            usd,
            usd_per_1000_documents: usd
                .filter(|_| estimate.documents > 0)
                .map(|usd| usd * 1000.0 / estimate.documents as f64),
            prices: price.map(|_| {
                let billed = match aws.settings.is_local() {
                    true => "; what AWS would bill, for nothing is billed here",
                    false => "",
                };
                format!("{}, {}, {}{billed}", list.source, list.region, list.as_of)
            }),
            estimate,
        }
    }
}

/// How a run stands with the knowledge base that its space fills.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnowledgeBaseView {
    pub knowledge_base_id: String,
    pub data_source_id: String,
    pub phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_job_id: Option<String>,
    /// Whose end it waits for, where that is another's: a run or a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What the ingestion job has counted, over the whole data source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<IngestionCounters>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure_reasons: Vec<String>,
    /// Documents of the space that were brought in, taken out, or failed.
    pub brought_in: u64,
    pub taken_out: u64,
    pub failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl KnowledgeBaseView {
    fn of(sync: Sync) -> Self {
        Self {
            knowledge_base_id: sync.of.knowledge_base,
            data_source_id: sync.of.data_source,
            phase: sync.phase,
            way: sync.way,
            ingestion_job_id: sync.job_id,
            waiting_for: sync.waiting_for,
            counters: sync.counters,
            failure_reasons: sync.failure_reasons,
            brought_in: sync.brought_in,
            taken_out: sync.taken_out,
            failed: sync.failed,
            error: sync.error,
            reason: sync.reason,
        }
    }
}

/// One page of runs, newest first, without their counts.
#[derive(Debug, Serialize)]
pub struct RunPage {
    pub runs: Vec<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

pub(super) fn view(row: RunRow) -> Run {
    Run {
        run_id: row.run_id,
        space: row.space,
        status: row.status,
        counts: None,
        error: row.error,
        reason: row.reason,
        redrive_of: row.redrive_of,
        redriven_by: row.redriven_by,
        failures: Vec::new(),
        more_failures: false,
        hidden_failures: 0,
        estimate: None,
        knowledge_base: row.knowledge_base.map(KnowledgeBaseView::of),
        embedding_tokens: 0,
        job_tokens: 0,
        embedding_usd: None,
        started_at: clock::rfc3339(row.started_at_ms),
        finished_at: row.finished_at_ms.map(clock::rfc3339),
    }
}

pub(super) fn failure(document: BatchDocument) -> Failure {
    Failure {
        document_id: document.document_id,
        name: document.name,
        status: document.status,
        error: document.error.unwrap_or_default(),
        reason: document.reason.unwrap_or_default(),
    }
}

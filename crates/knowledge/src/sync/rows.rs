//! The rows that a run leaves in the table, and the objects that it passes from step to step.

use std::collections::BTreeMap;

use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting};
use retrieval::SegmentDocument;
use retrieval::chunk::Chunking;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::estimate::Estimate;
use super::knowledge_base::progress::Sync;
use crate::access;
use crate::batch_embedding::BatchEmbedding;
use crate::ledger::Hold;

/// How a document stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    /// Announced or planned; no step has begun on it.
    Pending,
    Extracting,
    /// Extracted; the guardrail has not let it through yet.
    Screening,
    /// Screened; it waits for its vectors and for its run's publication.
    Embedding,
    Published,
    Refused,
    Failed,
    Deleted,
}

impl DocumentStatus {
    /// Whether a run that works on the document has come to an end with it.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Published | Self::Refused | Self::Failed | Self::Deleted
        )
    }
}

/// How often a version of a document was tried, and when the last attempt came to each stage (milliseconds since the
/// epoch). Times are noted as the clock said; none is computed from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The version of the source that is tried; a new one begins to count anew.
    #[serde(default)]
    pub source_version: String,
    /// How often extraction has begun on this version.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracting_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screening_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_at_ms: Option<u64>,
    /// Published, refused, failed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at_ms: Option<u64>,
}

impl Progress {
    /// A run has taken this version of the document into its plan.
    pub(super) fn planned(self, source_version: &str, now_ms: u64) -> Self {
        let attempts = match self.source_version == source_version {
            true => self.attempts,
            false => 0,
        };
        Self {
            source_version: source_version.to_owned(),
            attempts,
            planned_at_ms: Some(now_ms),
            ..Self::default()
        }
    }

    fn came_to(mut self, status: DocumentStatus, now_ms: u64) -> Self {
        match status {
            DocumentStatus::Pending => {}
            DocumentStatus::Extracting => {
                self.attempts = self.attempts.saturating_add(1);
                self.extracting_at_ms = Some(now_ms);
                (self.screening_at_ms, self.embedding_at_ms) = (None, None);
            }
            DocumentStatus::Screening => self.screening_at_ms = Some(now_ms),
            DocumentStatus::Embedding => self.embedding_at_ms = Some(now_ms),
            _ => self.settled_at_ms = Some(now_ms),
        }
        self
    }
}

/// A document's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DocumentRow {
    pub document_id: String,
    pub name: String,
    pub status: DocumentStatus,
    /// Machine-readable name of the refusal or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Size of the source object.
    #[serde(default)]
    pub bytes: u64,
    /// Who may read the document: its effective readers.
    #[serde(default)]
    pub readers: Vec<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
    /// The version that answers now. It goes on answering when a newer one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedVersion>,
    /// What the guardrail found in the version that was last screened; nothing where it found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screening: Option<Screening>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Whether that run takes it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    #[serde(default)]
    pub progress: Progress,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
    /// DynamoDB's time to live, seconds: set on rows of deleted documents and of uploads that never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl DocumentRow {
    /// A row for a document that was just announced.
    pub fn new(document_id: String, name: String, now_ms: u64) -> Self {
        Self {
            document_id,
            name,
            status: DocumentStatus::Pending,
            error: None,
            reason: None,
            bytes: 0,
            readers: Vec::new(),
            metadata: BTreeMap::new(),
            published: None,
            screening: None,
            run_id: None,
            leaves: false,
            progress: Progress::default(),
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            expires_at: None,
        }
    }

    /// Whether its run brings in this version of the source, cut so, or has. One that it has failed, refused or takes out it
    /// does not.
    pub(super) fn brings(&self, source_version: &str, chunking: &Chunking) -> bool {
        let live = self.published.as_ref();
        !self.leaves
            && match self.status {
                DocumentStatus::Published => live.is_some_and(|live| {
                    live.source_version == source_version && live.chunking == *chunking
                }),
                status => !status.is_settled() && self.progress.source_version == source_version,
            }
    }

    /// Who may read the live version: whom both it and the row allow. The row's readers may already be those of a version
    /// that was refused, or of one that took somebody's reading away and is not published yet.
    pub fn live_readers(&self) -> Vec<String> {
        let live = self.published.as_ref();
        match live.and_then(|live| live.readers.as_ref()) {
            Some(readers) => access::common_readers(&self.readers, readers),
            // Published by an earlier release, whose rows have one list.
            None => self.readers.clone(),
        }
    }

    /// The same row with another status and reason.
    pub fn with_status(
        mut self,
        status: DocumentStatus,
        problem: Option<(String, String)>,
        now_ms: u64,
    ) -> Self {
        self.status = status;
        self.progress = self.progress.came_to(status, now_ms);
        (self.error, self.reason) = problem.unzip();
        self.updated_at_ms = now_ms;
        self
    }
}

/// What the guardrail's findings in a document led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screening {
    /// `flag`, `mask` or `quarantine`.
    pub verdict: String,
    pub findings: Vec<ScreeningFinding>,
}

/// A kind of finding and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreeningFinding {
    pub kind: String,
    /// `mask` or `block`.
    pub action: String,
    pub count: u32,
}

/// The live version of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
pub struct PublishedVersion {
    /// SHA-256 of the extracted text.
    pub content_hash: String,
    /// What the source object and its sidecar were: changes whenever either does.
    pub source_version: String,
    pub title: String,
    pub uri: String,
    pub passages: u32,
    /// Who may read this version; none where an earlier release published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<Vec<String>>,
    /// The retriever's setting that its vectors stand in the table for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<RetrieverSetting>,
    /// What the knowledge base that the space fills holds of it: a digest of all that it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge_base: Option<String>,
    /// How it was cut.
    #[serde(default)]
    pub chunking: Chunking,
}

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

/// One document of a batch and how far it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchDocument {
    pub document_id: String,
    pub name: String,
    /// `Screening` once extracted, `Embedding` once screened, `Published` once read back; or refused, failed.
    pub status: DocumentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PublishedVersion>,
}

impl BatchDocument {
    /// A planned document that was brought in as `document`.
    pub(super) fn accepted(
        planned: &PlannedDocument,
        document: &SegmentDocument,
        status: DocumentStatus,
    ) -> Self {
        Self {
            document_id: planned.document_id.clone(),
            name: planned.name.clone(),
            status,
            error: None,
            reason: None,
            version: Some(PublishedVersion {
                content_hash: document.content_hash.clone(),
                source_version: planned.source_version.clone(),
                title: document.title.clone(),
                uri: document.uri.clone(),
                passages: document.passages.len() as u32,
                readers: Some(document.readers.clone()),
                vectors: None,
                knowledge_base: None,
                chunking: planned.chunking.clone(),
            }),
        }
    }

    /// Why it was refused or failed: a name and words.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        self.error.clone().zip(self.reason.clone())
    }
}

/// A batch's row: replaced whole by each step, so that steps may repeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BatchRow {
    pub batch_id: String,
    pub documents: Vec<BatchDocument>,
    /// The segment part, once embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_key: Option<String>,
    #[serde(default)]
    pub embedding_tokens: u64,
    /// Those of them that came of batch jobs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub job_tokens: u64,
    /// Model and components of the part's vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<String>,
    /// The passages to embed, once extracted: as they were extracted, or as the guardrail left them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passages_key: Option<String>,
    /// Texts that screening replaced and that are to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale_texts: Vec<String>,
}

impl BatchRow {
    /// A batch that is not embedded.
    pub fn new(batch_id: String, documents: Vec<BatchDocument>) -> Self {
        Self {
            batch_id,
            documents,
            part_key: None,
            embedding_tokens: 0,
            job_tokens: 0,
            embedder: None,
            passages_key: None,
            stale_texts: Vec::new(),
        }
    }

    /// The batch of a step that comes after extraction.
    ///
    /// # Errors
    /// [`AwsError::Missing`] where there is none; else the table's.
    pub(super) async fn read(aws: &Aws, run_id: &str, batch_id: &str) -> Result<Self, AwsError> {
        let batch: Option<Self> = aws.table.get(&keys::batch(run_id, batch_id)).await?;
        batch.ok_or_else(|| AwsError::Missing {
            what: format!("batch {batch_id}"),
        })
    }

    /// Passages of its documents.
    pub fn passages(&self) -> u64 {
        let versions = self.documents.iter().filter_map(|one| one.version.as_ref());
        versions.map(|version| u64::from(version.passages)).sum()
    }
}

pub(crate) fn is_zero<N: Default + PartialEq>(count: &N) -> bool {
    *count == N::default()
}

/// Tokens that were billed for embeddings, and those of them that came of batch jobs, which cost less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    pub tokens: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub by_jobs: u64,
}

/// One line of the work list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDocument {
    pub document_id: String,
    pub name: String,
    pub source_version: String,
    /// How it is to be cut.
    #[serde(default)]
    pub chunking: Chunking,
}

impl PlannedDocument {
    /// A document of which only the id is known.
    pub(super) fn of_id(document_id: String) -> Self {
        Self {
            document_id,
            name: String::new(),
            source_version: String::new(),
            chunking: Chunking::default(),
        }
    }
}

/// The objects of a run.
pub mod objects {
    pub fn plan(run_id: &str) -> String {
        format!("runs/{run_id}/plan.jsonl")
    }

    pub fn changes(run_id: &str) -> String {
        format!("runs/{run_id}/changes.jsonl")
    }

    pub fn moves(run_id: &str) -> String {
        format!("runs/{run_id}/moves.json")
    }

    pub fn deletions(run_id: &str) -> String {
        format!("runs/{run_id}/deletions.json")
    }

    pub fn passages(run_id: &str, batch_id: &str) -> String {
        format!("runs/{run_id}/batches/{batch_id}.json")
    }

    pub fn reading(run_id: &str, batch_id: &str) -> String {
        format!("runs/{run_id}/batches/{batch_id}.reading.json")
    }

    pub fn screened(run_id: &str, batch_id: &str) -> String {
        format!("runs/{run_id}/batches/{batch_id}.screened.json")
    }

    /// What came of a batch's vectors before all of them were there.
    pub fn vectors(run_id: &str, batch_id: &str) -> String {
        format!("runs/{run_id}/vectors/{batch_id}.kept")
    }

    /// The vectors of a document's sentences, by which it is cut.
    pub fn windows(run_id: &str, document_id: &str) -> String {
        format!("runs/{run_id}/windows/{document_id}.kept")
    }

    /// The file name of a job's records.
    pub const JOB_INPUT: &str = "records.jsonl";

    pub fn job_input(run_id: &str, number: u32) -> String {
        format!("runs/{run_id}/jobs/{number:05}/{JOB_INPUT}")
    }

    /// The folder that a job writes a folder of its own into.
    pub fn job_output(run_id: &str, number: u32) -> String {
        format!("runs/{run_id}/jobs/{number:05}/out/")
    }

    /// The batches that no job has embedded.
    pub fn left_over(run_id: &str) -> String {
        format!("runs/{run_id}/left_over.jsonl")
    }

    pub fn part(run_id: &str, batch_id: &str) -> String {
        format!("runs/{run_id}/parts/{batch_id}.part")
    }

    pub fn knowledge_base(run_id: &str) -> String {
        format!("runs/{run_id}/knowledge-base.json")
    }

    pub fn published(run_id: &str) -> String {
        format!("runs/{run_id}/published.json")
    }
}

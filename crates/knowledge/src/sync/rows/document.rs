//! The row of a document.

use std::collections::BTreeMap;

use aws::RetrieverSetting;
use retrieval::chunk::Chunking;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access;

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
    pub(in crate::sync) fn planned(self, source_version: &str, now_ms: u64) -> Self {
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
    pub(in crate::sync) fn brings(&self, source_version: &str, chunking: &Chunking) -> bool {
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

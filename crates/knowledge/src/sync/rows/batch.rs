//! The row of a batch of documents, and the lines of work lists that batches are made of.

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use retrieval::SegmentDocument;
use retrieval::chunk::Chunking;
use serde::{Deserialize, Serialize};

use super::{DocumentStatus, PublishedVersion, is_zero};

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
    pub(in crate::sync) fn accepted(
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
    pub(in crate::sync) fn problem(&self) -> Option<(String, String)> {
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
    pub(in crate::sync) async fn read(
        aws: &Aws,
        run_id: &str,
        batch_id: &str,
    ) -> Result<Self, AwsError> {
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
    pub(in crate::sync) fn of_id(document_id: String) -> Self {
        Self {
            document_id,
            name: String::new(),
            source_version: String::new(),
            chunking: Chunking::default(),
        }
    }
}

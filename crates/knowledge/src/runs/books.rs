//! The books of a run: its row and its batches, and what they add up to.

use std::collections::BTreeMap;

use aws::dynamo::Pages;
use aws::dynamo::keys::{self, BATCH_PREFIX};
use aws::{Aws, AwsError};
use serde::Serialize;

use crate::sync::knowledge_base::progress::Sync;
use crate::sync::rows::{BatchDocument, BatchRow, Billed, DocumentStatus, RunRow, RunStatus};

/// How many documents of a run stand where. `planned` is the sum of the rest but `extracted` and `embedded`, which say
/// how far the pending ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub planned: u64,
    pub published: u64,
    pub unchanged: u64,
    pub deleted: u64,
    pub refused: u64,
    pub failed: u64,
    pub pending: u64,
    /// Pending documents whose text is there and whose vectors are not.
    pub extracted: u64,
    /// Pending documents whose vectors are there; they wait for publication.
    pub embedded: u64,
}

pub(crate) async fn row(aws: &Aws, run_id: &str) -> Result<RunRow, AwsError> {
    let row: Option<RunRow> = aws.table.get(&keys::run(run_id)).await?;
    row.ok_or_else(|| AwsError::Missing {
        what: format!("run {run_id}"),
    })
}

/// Replaces the row of a run as it was read.
pub(crate) async fn replace(aws: &Aws, row: RunRow) -> Result<(), AwsError> {
    let (expected, run_id) = (row.version, row.run_id.clone());
    let next = RunRow {
        version: expected + 1,
        ..row
    };
    aws.table
        .replace(&keys::run(&run_id), expected, &next)
        .await
}

/// The batches of a run, page by page: of many documents they are much.
pub(crate) fn batch_pages<'a>(aws: &'a Aws, run_id: &str) -> Pages<'a, BatchRow> {
    aws.table.pages(&keys::run_partition(run_id), BATCH_PREFIX)
}

/// The batches of a run.
pub(crate) async fn batches(aws: &Aws, run_id: &str) -> Result<Vec<BatchRow>, AwsError> {
    let partition = keys::run_partition(run_id);
    aws.table.query_all(&partition, BATCH_PREFIX).await
}

/// Whether a run's deletions were seen done. Rows of an earlier release say so by their status alone.
fn deletions_done(row: &RunRow) -> bool {
    row.deletions_verified || matches!(row.status, RunStatus::Succeeded | RunStatus::Partial)
}

/// A run's books, added up from its batches.
pub(crate) struct Books {
    pub counts: Counts,
    /// Documents that stand in batches.
    pub documents: u64,
    /// Those of them that were refused or failed, by id.
    pub failed: Vec<BatchDocument>,
    /// What was billed for embedding them.
    pub billed: Billed,
}

/// What is kept of a document while the books are added up.
struct Stand {
    status: DocumentStatus,
    has_vectors: bool,
}

/// Adds a run's books up, batch by batch.
pub(crate) async fn books(aws: &Aws, row: &RunRow) -> Result<Books, AwsError> {
    let mut billed = Billed::default();
    // A document stands in one batch; should the work list ever name it twice, the last word counts.
    let mut documents: BTreeMap<String, Stand> = BTreeMap::new();
    let mut failed: BTreeMap<String, BatchDocument> = BTreeMap::new();
    let mut pages = batch_pages(aws, &row.run_id);
    while let Some(batches) = pages.next().await? {
        for batch in batches {
            billed.tokens += batch.embedding_tokens;
            billed.by_jobs += batch.job_tokens;
            for document in batch.documents {
                let id = document.document_id.clone();
                let before = documents.get(&id).is_some_and(|before| before.has_vectors);
                let stand = Stand {
                    status: document.status,
                    has_vectors: before || batch.part_key.is_some(),
                };
                documents.insert(id.clone(), stand);
                match is_failure(&document) {
                    true => failed.insert(id, document),
                    false => failed.remove(&id),
                };
            }
        }
    }
    Ok(Books {
        counts: counts(row, documents.values()),
        documents: documents.len() as u64,
        failed: failed.into_values().collect(),
        billed,
    })
}

fn counts<'a>(row: &RunRow, documents: impl Iterator<Item = &'a Stand>) -> Counts {
    // What did not reach a knowledge base stands among the failures; it is counted once.
    let sync = row.knowledge_base.as_ref();
    let of_sync = |count: fn(&Sync) -> u64| sync.map_or(0, count);
    let deleted = if deletions_done(row) { row.deleted } else { 0 };
    let mut counts = Counts {
        planned: row.planned + of_sync(|sync| sync.failed_outside),
        unchanged: row
            .unchanged
            .saturating_sub(of_sync(|sync| sync.failed_unchanged)),
        // Until they are verified they are pending, and none of a run that broke off before counts as done.
        deleted: deleted.saturating_sub(of_sync(|sync| sync.failed_deleted)),
        ..Counts::default()
    };
    for document in documents {
        match document.status {
            DocumentStatus::Published => counts.published += 1,
            DocumentStatus::Refused => counts.refused += 1,
            DocumentStatus::Failed => counts.failed += 1,
            _ if document.has_vectors => counts.embedded += 1,
            _ => counts.extracted += 1,
        }
    }
    let settled =
        counts.published + counts.refused + counts.failed + counts.unchanged + counts.deleted;
    counts.pending = counts.planned.saturating_sub(settled);
    counts
}

fn is_failure(document: &BatchDocument) -> bool {
    matches!(
        document.status,
        DocumentStatus::Refused | DocumentStatus::Failed
    )
}

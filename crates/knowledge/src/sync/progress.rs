//! Where the documents of a run are, told in their rows.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};

use super::rows::{DocumentRow, DocumentStatus, PublishedVersion};

/// Rows that are read and written together.
const ROWS: usize = 100;

/// Changes the rows of documents as `change` says. A document that another run has taken over is that run's to tell about.
pub(super) async fn update(
    aws: &Aws,
    run_id: &str,
    document_ids: impl Iterator<Item = &str>,
    mut change: impl FnMut(DocumentRow) -> DocumentRow,
) -> Result<(), AwsError> {
    let keys: Vec<_> = document_ids.map(keys::document).collect();
    for keys in keys.chunks(ROWS) {
        let rows: Vec<DocumentRow> = aws.table.get_many(keys).await?;
        let updated: Vec<_> = rows
            .into_iter()
            .filter(|row| belongs_to(row, run_id))
            .map(&mut change)
            .map(|row| (keys::document(&row.document_id), row))
            .collect();
        aws.table.put_many(&updated).await?;
    }
    Ok(())
}

/// Notes what documents have come to.
pub(super) async fn mark(
    aws: &Aws,
    run_id: &str,
    document_ids: impl Iterator<Item = &str>,
    status: DocumentStatus,
    problem: Option<(&str, &str)>,
) -> Result<(), AwsError> {
    let problem = problem.map(|(error, reason)| (error.to_owned(), reason.to_owned()));
    let now_ms = clock::now_ms();
    let marked = |row: DocumentRow| row.with_status(status, problem.clone(), now_ms);
    update(aws, run_id, document_ids, marked).await
}

/// Those of the documents that no other run has taken over.
pub(super) async fn own(
    aws: &Aws,
    run_id: &str,
    document_ids: impl Iterator<Item = &str>,
) -> Result<BTreeSet<String>, AwsError> {
    let rows = rows(aws, document_ids).await?;
    let own = rows.into_iter().filter(|row| belongs_to(row, run_id));
    Ok(own.map(|row| row.document_id).collect())
}

/// Those of the documents that another run has taken over with another version, or that were deleted since. A document
/// that two runs bring as it is, one for its upload and one for the bucket's event, is published by both.
pub(super) async fn lost(
    aws: &Aws,
    run_id: &str,
    versions: &BTreeMap<&str, &PublishedVersion>,
) -> Result<BTreeSet<String>, AwsError> {
    let rows = rows(aws, versions.keys().copied()).await?;
    let is_lost = |row: &DocumentRow| {
        let version = versions.get(row.document_id.as_str());
        let same = version.is_some_and(|version| brings_the_same(row, version));
        row.status == DocumentStatus::Deleted || !(belongs_to(row, run_id) || same)
    };
    let lost = rows.into_iter().filter(is_lost);
    Ok(lost.map(|row| row.document_id).collect())
}

fn brings_the_same(row: &DocumentRow, version: &PublishedVersion) -> bool {
    let live = row.published.as_ref();
    match row.status {
        DocumentStatus::Published => live.is_some_and(|live| {
            live.source_version == version.source_version && live.chunking == version.chunking
        }),
        _ => row.progress.source_version == version.source_version,
    }
}

/// Those of the documents to delete that another run brings again, or that were deleted since.
pub(super) async fn kept(
    aws: &Aws,
    run_id: &str,
    deletions: impl Iterator<Item = &str>,
) -> Result<BTreeSet<String>, AwsError> {
    let kept = rows(aws, deletions).await?.into_iter().filter(|row| {
        row.status == DocumentStatus::Deleted || !(belongs_to(row, run_id) || row.leaves)
    });
    Ok(kept.map(|row| row.document_id).collect())
}

async fn rows(
    aws: &Aws,
    document_ids: impl Iterator<Item = &str>,
) -> Result<Vec<DocumentRow>, AwsError> {
    let keys: Vec<_> = document_ids.map(keys::document).collect();
    aws.table.get_many(&keys).await
}

/// Whether no other run has taken the document over.
fn belongs_to(row: &DocumentRow, run_id: &str) -> bool {
    row.run_id.as_deref().is_none_or(|owner| owner == run_id)
}

//! Where the documents of a run are, told in their rows.

use std::collections::BTreeSet;

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};

use super::rows::{DocumentRow, DocumentStatus};

/// Rows that are read and written together.
pub(super) const ROWS: usize = 100;

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
        let own = rows.into_iter().filter(|row| belongs_to(row, run_id));
        put(aws, own.map(&mut change)).await?;
    }
    Ok(())
}

/// Writes rows of documents, whatever was there before.
pub(super) async fn put(
    aws: &Aws,
    rows: impl Iterator<Item = DocumentRow>,
) -> Result<(), AwsError> {
    let rows: Vec<_> = rows
        .map(|row| (keys::document(&row.document_id), row))
        .collect();
    aws.table.put_many(&rows).await
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

/// Those of the documents that were deleted since, or that another run has taken over otherwise than `as_here`.
pub(super) async fn lost(
    aws: &Aws,
    run_id: &str,
    document_ids: impl Iterator<Item = &str>,
    as_here: impl Fn(&DocumentRow) -> bool,
) -> Result<BTreeSet<String>, AwsError> {
    let rows = rows(aws, document_ids).await?;
    let lost = rows.into_iter().filter(|row| {
        row.status == DocumentStatus::Deleted || !(belongs_to(row, run_id) || as_here(row))
    });
    Ok(lost.map(|row| row.document_id).collect())
}

/// The rows that there are of the documents, in no order.
pub(super) async fn rows(
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

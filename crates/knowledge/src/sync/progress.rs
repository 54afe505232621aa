//! Where the documents of a run are, told in their rows.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};

use super::rows::{DocumentRow, DocumentStatus};

/// Rows that are read and written together.
const ROWS: usize = 100;

/// Notes what documents have come to. A document that another run has taken over is that run's to tell about.
pub(super) async fn mark(
    aws: &Aws,
    run_id: &str,
    document_ids: impl Iterator<Item = &str>,
    status: DocumentStatus,
    problem: Option<(&str, &str)>,
) -> Result<(), AwsError> {
    let keys: Vec<_> = document_ids.map(keys::document).collect();
    let problem = problem.map(|(error, reason)| (error.to_owned(), reason.to_owned()));
    for keys in keys.chunks(ROWS) {
        let rows: Vec<DocumentRow> = aws.table.get_many(keys).await?;
        let now_ms = clock::now_ms();
        let updated: Vec<_> = rows
            .into_iter()
            .filter(|row| belongs_to(row, run_id))
            .map(|row| row.with_status(status, problem.clone(), now_ms))
            .map(|row| (keys::document(&row.document_id), row))
            .collect();
        aws.table.put_many(&updated).await?;
    }
    Ok(())
}

/// Whether no other run has taken the document over.
pub(super) fn belongs_to(row: &DocumentRow, run_id: &str) -> bool {
    row.run_id.as_deref().is_none_or(|owner| owner == run_id)
}

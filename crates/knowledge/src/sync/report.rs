//! Report: close the run's books; and record batches that could not be brought through.

use std::collections::BTreeMap;

use aws::dynamo::keys;
use aws::{Aws, clock};
use serde_json::{Value, json};

use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, RunRow, RunStatus,
};
use super::{StepError, batch_id, done};
use crate::runs::{self, Counts};
use crate::{KnowledgeError, entries};

/// The error that the state machine gives a run whose plan the brake stopped.
const BRAKE_PULLED: &str = "BrakePulled";

pub(super) async fn fail_batch(
    aws: &Aws,
    run_id: &str,
    items: &[PlannedDocument],
    error: &str,
    cause: &str,
) -> Result<Value, StepError> {
    let batch_id = batch_id(items);
    let key = keys::batch(run_id, &batch_id);
    let stored: Option<BatchRow> = aws.table.get(&key).await?;
    let mut known: BTreeMap<String, BatchDocument> = stored
        .map(|batch| batch.documents)
        .unwrap_or_default()
        .into_iter()
        .map(|document| (document.document_id.clone(), document))
        .collect();
    let documents: Vec<BatchDocument> = items
        .iter()
        .map(|item| match known.remove(&item.document_id) {
            // What was refused for a reason of its own stays refused for that reason.
            Some(document) if document.status == DocumentStatus::Refused => document,
            _ => failed(item, error, cause),
        })
        .collect();
    let batch = BatchRow {
        batch_id,
        documents,
        part_key: None,
        embedding_tokens: 0,
    };
    aws.table.put(&key, &batch).await?;
    mark_rows(aws, &batch).await?;
    Ok(done(run_id))
}

fn failed(item: &PlannedDocument, error: &str, cause: &str) -> BatchDocument {
    BatchDocument {
        document_id: item.document_id.clone(),
        name: item.name.clone(),
        status: DocumentStatus::Failed,
        error: Some(error.to_owned()),
        reason: Some(plain_cause(cause)),
        version: None,
    }
}

/// Step Functions hands over a Lambda's error as JSON; the message inside is what people can read.
fn plain_cause(cause: &str) -> String {
    serde_json::from_str::<Value>(cause)
        .ok()
        .and_then(|value| value.get("errorMessage")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| cause.to_owned())
}

async fn mark_rows(aws: &Aws, batch: &BatchRow) -> Result<(), StepError> {
    let now_ms = clock::now_ms();
    let mut updated = Vec::new();
    for document in &batch.documents {
        let key = keys::document(&document.document_id);
        if let Some(row) = aws.table.get::<DocumentRow>(&key).await? {
            let problem = document.error.clone().zip(document.reason.clone());
            updated.push((key, row.with_status(document.status, problem, now_ms)));
        }
    }
    aws.table.put_many(&updated).await?;
    Ok(())
}

pub(super) async fn report(
    aws: &Aws,
    run_id: &str,
    failure: Option<(String, String)>,
) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let (counts, _) = runs::books(aws, &run).await?;
    let status = match &failure {
        // Nothing was changed, as was asked for or before harm was done.
        None if run.dry_run => RunStatus::Succeeded,
        Some((error, _)) if error == BRAKE_PULLED => RunStatus::Stopped,
        _ => final_status(&counts, failure.is_some()),
    };
    let (error, cause) = failure.unzip();
    let closed = RunRow {
        status,
        error: error.or(run.error.clone()),
        reason: cause.as_deref().map(plain_cause).or(run.reason.clone()),
        finished_at_ms: Some(clock::now_ms()),
        ..run
    };
    let space = closed.space.clone();
    runs::replace(aws, closed).await?;
    follow(aws, &space, run_id).await?;
    Ok(json!({ "run_id": run_id, "status": status, "counts": counts }))
}

/// What came during the run is the next one's. The books are closed: only what may pass is worth another attempt.
async fn follow(aws: &Aws, space: &str, run_id: &str) -> Result<(), StepError> {
    match entries::follow(aws, space, run_id).await {
        Err(KnowledgeError::Aws(error)) => Err(error.into()),
        Err(error) => {
            tracing::error!(error = error.name(), run_id, "no run follows");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// SUCCEEDED only when every planned document is accounted for and none was refused or failed.
fn final_status(counts: &Counts, broke_off: bool) -> RunStatus {
    let through = counts.published + counts.unchanged + counts.deleted;
    match () {
        () if broke_off => RunStatus::Failed,
        () if counts.refused + counts.failed + counts.pending == 0 => RunStatus::Succeeded,
        () if through == 0 => RunStatus::Failed,
        () => RunStatus::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_succeeds_only_when_all_went_through() {
        let check = |published, refused, failed, pending, broke_off, expected| {
            let counts = Counts {
                published,
                refused,
                failed,
                pending,
                ..Counts::default()
            };
            assert_eq!(
                final_status(&counts, broke_off),
                expected,
                "{counts:?} {broke_off}"
            );
        };
        check(3, 0, 0, 0, false, RunStatus::Succeeded);
        check(0, 0, 0, 0, false, RunStatus::Succeeded);
        check(2, 1, 0, 0, false, RunStatus::Partial);
        check(2, 0, 1, 0, false, RunStatus::Partial);
        check(2, 0, 0, 1, false, RunStatus::Partial);
        check(0, 1, 0, 0, false, RunStatus::Failed);
        check(3, 0, 0, 0, true, RunStatus::Failed);
    }

    #[test]
    fn a_cause_is_read_out_of_its_json() {
        let check = |cause: &str, words: &str| assert_eq!(plain_cause(cause), words);
        check(
            r#"{"errorType":"ModelThrottled","errorMessage":"slow down"}"#,
            "slow down",
        );
        check("plain words", "plain words");
        check("", "");
    }
}

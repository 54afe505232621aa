//! Report: close the run's books; and record batches that could not be brought through.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, clock};
use serde_json::{Value, json};

use super::rows::{
    BatchDocument, BatchRow, Billed, DocumentRow, DocumentStatus, PlannedDocument, RunRow,
    RunStatus, objects,
};
use super::{StepError, chunking, done, jobs, progress, redrive, waves};
use crate::runs::{self, Counts};
use crate::{KnowledgeError, entries, ledger};

pub(super) async fn fail_batch(
    aws: &Aws,
    run_id: &str,
    items: &[PlannedDocument],
    batch_id: Option<&str>,
    (error, cause): (&str, &str),
) -> Result<Value, StepError> {
    let batch_id = batch_id.map_or_else(|| super::batch_id(items), str::to_owned);
    let key = keys::batch(run_id, &batch_id);
    let stored: Option<BatchRow> = aws.table.get(&key).await?;
    let in_row = stored.iter().flat_map(|batch| &batch.documents);
    let in_row: Vec<PlannedDocument> = in_row.map(redrive::planned).collect();
    let items: &[PlannedDocument] = if items.is_empty() { &in_row } else { items };
    let billed = billed(aws, run_id, items, &batch_id, stored.as_ref()).await?;
    let stored = stored.unwrap_or_else(|| BatchRow::new(batch_id, Vec::new()));
    let mut known: BTreeMap<String, BatchDocument> = stored
        .documents
        .into_iter()
        .map(|document| (document.document_id.clone(), document))
        .collect();
    let documents: Vec<BatchDocument> = items
        .iter()
        .map(|item| match known.remove(&item.document_id) {
            // What came to its end for a reason of its own keeps it.
            Some(document) if document.status.is_settled() => document,
            Some(mut document) => {
                fail(&mut document, error, &plain_cause(cause));
                document
            }
            None => failed(item, error, &plain_cause(cause)),
        })
        .collect();
    // What was embedded stays named, for the run's redrive.
    let batch = BatchRow {
        documents,
        embedding_tokens: billed.tokens,
        job_tokens: billed.by_jobs,
        ..stored
    };
    aws.table.put(&key, &batch).await?;
    mark_rows(aws, run_id, &batch.documents).await?;
    Ok(done(run_id))
}

/// What was billed for a batch before it failed: what its row says, and what is kept of the step that it failed in.
async fn billed(
    aws: &Aws,
    run_id: &str,
    items: &[PlannedDocument],
    batch_id: &str,
    stored: Option<&BatchRow>,
) -> Result<Billed, StepError> {
    let Some(batch) = stored else {
        let mut billed = Billed::default();
        for item in items.iter().filter(|one| chunking::embeds(&one.chunking)) {
            let key = objects::windows(run_id, &item.document_id);
            billed.tokens += waves::billed(aws, &key).await?.tokens;
        }
        return Ok(billed);
    };
    let kept = match batch.part_key {
        Some(_) => Billed::default(),
        None => waves::billed(aws, &objects::vectors(run_id, batch_id)).await?,
    };
    Ok(Billed {
        tokens: batch.embedding_tokens + kept.tokens,
        by_jobs: batch.job_tokens + kept.by_jobs,
    })
}

fn failed(item: &PlannedDocument, error: &str, reason: &str) -> BatchDocument {
    BatchDocument {
        document_id: item.document_id.clone(),
        name: item.name.clone(),
        status: DocumentStatus::Failed,
        error: Some(error.to_owned()),
        reason: Some(reason.to_owned()),
        version: None,
    }
}

fn fail(document: &mut BatchDocument, error: &str, reason: &str) {
    document.status = DocumentStatus::Failed;
    document.error = Some(error.to_owned());
    document.reason = Some(reason.to_owned());
}

/// Step Functions hands over a Lambda's error as JSON; the message inside is what people can read.
pub(super) fn plain_cause(cause: &str) -> String {
    serde_json::from_str::<Value>(cause)
        .ok()
        .and_then(|value| value.get("errorMessage")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| cause.to_owned())
}

/// Tells each document's end in its row.
async fn mark_rows(aws: &Aws, run_id: &str, documents: &[BatchDocument]) -> Result<(), StepError> {
    let told: BTreeMap<&str, &BatchDocument> = documents
        .iter()
        .map(|one| (one.document_id.as_str(), one))
        .collect();
    let now_ms = clock::now_ms();
    let marked = |row: DocumentRow| match told.get(row.document_id.as_str()) {
        Some(one) => row.with_status(one.status, one.problem(), now_ms),
        None => row,
    };
    progress::update(aws, run_id, told.keys().copied(), marked).await?;
    Ok(())
}

/// The batches of what a run that broke off never came to: its name, and how many documents stand in one row.
const UNREACHED: &str = "unreached-";
const UNREACHED_DOCUMENTS: usize = 100;

/// Marks whatever a run that broke off has left undone as failed, for the run's own reason: nothing of it is under way any
/// more. What failed before, for a reason of its own, keeps it.
async fn fail_the_rest(
    aws: &Aws,
    run: &RunRow,
    (error, reason): (&str, &str),
) -> Result<(), StepError> {
    // A repeated report finds the unreached where it left them.
    let mut batches = runs::batches(aws, &run.run_id).await?;
    batches.retain(|batch| !batch.batch_id.starts_with(UNREACHED));
    for batch in &mut batches {
        let documents = batch.documents.iter_mut();
        let open: Vec<_> = documents.filter(|one| !one.status.is_settled()).collect();
        if !open.is_empty() {
            open.into_iter().for_each(|one| fail(one, error, reason));
            let key = keys::batch(&run.run_id, &batch.batch_id);
            aws.table.put(&key, &batch).await?;
        }
        let of_run = |one: &&BatchDocument| one.error.as_deref() == Some(error);
        let failed: Vec<_> = batch.documents.iter().filter(of_run).cloned().collect();
        mark_rows(aws, &run.run_id, &failed).await?;
    }
    let left = unreached(aws, run, &batches).await?;
    let left: Vec<BatchDocument> = left.iter().map(|one| failed(one, error, reason)).collect();
    mark_rows(aws, &run.run_id, &left).await?;
    let rows = left.chunks(UNREACHED_DOCUMENTS).enumerate();
    let rows: Vec<_> = rows
        .map(|(number, documents)| {
            let id = format!("{UNREACHED}{number:06}");
            let key = keys::batch(&run.run_id, &id);
            (key, BatchRow::new(id, documents.to_vec()))
        })
        .collect();
    aws.table.put_many(&rows).await?;
    Ok(())
}

/// The documents that a run was to look at and that stand in none of its batches, each once. A plan that broke off may have
/// come as far as its work list.
async fn unreached(
    aws: &Aws,
    run: &RunRow,
    batches: &[BatchRow],
) -> Result<Vec<PlannedDocument>, StepError> {
    let mut left = redrive::undone(aws, run, batches).await?.documents;
    if run.plan.is_none() {
        let named = run.documents.iter().flatten().cloned();
        left.extend(named.map(PlannedDocument::of_id));
    }
    let mut seen: BTreeSet<&str> = batches
        .iter()
        .flat_map(|batch| &batch.documents)
        .map(|document| document.document_id.as_str())
        .collect();
    let new = left.iter().map(|one| seen.insert(&one.document_id));
    let new: Vec<bool> = new.collect();
    let mut new = new.into_iter();
    left.retain(|_| new.next().unwrap_or_default());
    Ok(left)
}

pub(super) async fn report(
    aws: &Aws,
    run_id: &str,
    failure: Option<(String, String)>,
) -> Result<Value, StepError> {
    let mut run = runs::row(aws, run_id).await?;
    if let Some((error, cause)) = &failure
        && !runs::stopped_by_plan(&run, error)
        && !run.dry_run
    {
        jobs::stop_jobs(aws, &run).await?;
        fail_the_rest(aws, &run, (error, &plain_cause(cause))).await?;
        if run.plan.is_none() {
            // Without a plan the run has what stands in its books: what it was started with, and what its plan came to.
            run.planned = runs::books(aws, &run).await?.documents;
        }
    }
    let counts = runs::books(aws, &run).await?.counts;
    let status = match &failure {
        // Nothing was changed, as was asked for or before harm was done.
        None if run.dry_run => RunStatus::Succeeded,
        Some((error, _)) if runs::stopped_by_plan(&run, error) => RunStatus::Stopped,
        _ => final_status(&counts, failure.is_some()),
    };
    // Every document of the run is where it should be, and still something is not.
    let behind = run.knowledge_base.as_ref();
    let behind = behind.is_some_and(|sync| sync.error.is_some());
    let status = match status {
        RunStatus::Succeeded if behind => RunStatus::Partial,
        status => status,
    };
    let (error, cause) = failure.unzip();
    let closed = RunRow {
        status,
        error: error.or(run.error.clone()),
        reason: cause.as_deref().map(plain_cause).or(run.reason.clone()),
        finished_at_ms: run.finished_at_ms.or(Some(clock::now_ms())),
        ..run
    };
    ledger::runs::give_back(aws, &closed).await?;
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

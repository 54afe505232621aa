//! What became of each document on its way to a knowledge base, told in rows, in the run's batches and in its counts.

use std::collections::{BTreeMap, BTreeSet};

use aws::bedrock::IngestionCounters;
use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};

use super::super::StepError;
use super::super::rows::{BatchDocument, BatchRow, DocumentRow, DocumentStatus, RunRow, objects};
use super::difference::{self, Coming, Difference};
use super::progress::{Phase, Sync};
use super::{note, progress};
use crate::knowledge_base::{self, State};
use crate::runs;

/// How the names of batches begin that hold documents that the run did not bring through itself.
const BATCH: &str = "knowledge-base";
/// Rows that are read and written together.
const ROWS: usize = 100;

/// How the names of these failures begin: the documents themselves are as they should be.
const FAILURES: &str = "KnowledgeBase";

/// Whether a document failed only on its way to a knowledge base.
pub(in crate::sync) fn is_sync_failure(error: &str) -> bool {
    error.starts_with(FAILURES)
}

/// Error and reason.
type Failure = (String, String);

/// What the step came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub difference: Difference,
    /// By document.
    pub failures: BTreeMap<String, Failure>,
    pub counters: Option<IngestionCounters>,
    pub failure_reasons: Vec<String>,
    /// What went wrong with the whole of it: the knowledge base may lack more than the failures tell.
    pub whole: Option<Failure>,
}

impl Outcome {
    /// Nothing went wrong.
    pub(super) fn nothing(difference: Difference) -> Self {
        Self {
            difference,
            ..Self::default()
        }
    }

    /// Nothing reached the knowledge base.
    pub(super) fn all_failed(difference: Difference, error: &str, reason: &str) -> Self {
        let failure = (error.to_owned(), reason.to_owned());
        let coming = difference.bring_in.iter().map(|one| &one.document_id);
        let all = coming.chain(&difference.take_out);
        let failures = all.map(|id| (id.clone(), failure.clone())).collect();
        Self {
            failures,
            whole: Some(failure),
            difference,
            ..Self::default()
        }
    }
}

/// Writes the outcome. May be repeated: the run's row is last.
pub(super) async fn settle(aws: &Aws, run: RunRow, outcome: Outcome) -> Result<(), StepError> {
    let sync = progress(&run)?;
    let mut told = Told::default();
    for coming in outcome.difference.bring_in.chunks(ROWS) {
        told.mark(aws, &sync, coming, &outcome.failures).await?;
    }
    for id in &outcome.difference.take_out {
        match outcome.failures.get(id) {
            Some(failure) => told.failed.push(failed(id, "", failure)),
            None => told.taken_out += 1,
        }
    }
    let outside = tell_batches(aws, &run, &told.failed).await?;
    let counts = count(aws, &run, &outside).await?;
    // No row asks for a deletion again: only who compares everything finds what was not taken out.
    let mut going = outcome.difference.take_out.iter();
    let taken_out = !going.any(|id| outcome.failures.contains_key(id));
    tell_state(aws, &run, outcome.whole.is_none() && taken_out).await?;
    let (error, reason) = outcome.whole.unzip();
    let ended = Sync {
        phase: Phase::Ended,
        waiting_for: None,
        counters: outcome.counters,
        failure_reasons: outcome.failure_reasons,
        brought_in: told.brought_in,
        taken_out: told.taken_out,
        failed: told.failed.len() as u64,
        failed_unchanged: counts.unchanged,
        failed_deleted: counts.deleted,
        failed_outside: counts.outside,
        error,
        reason,
        ..sync
    };
    note(aws, run, ended).await?;
    Ok(())
}

#[derive(Default)]
struct Told {
    brought_in: u64,
    taken_out: u64,
    failed: Vec<BatchDocument>,
}

impl Told {
    /// Marks the rows of documents that the knowledge base holds now, and fails those of the others. A document that another
    /// run has changed since is that run's to tell about.
    async fn mark(
        &mut self,
        aws: &Aws,
        sync: &Sync,
        coming: &[Coming],
        failures: &BTreeMap<String, Failure>,
    ) -> Result<(), AwsError> {
        let wanted: Vec<_> = coming
            .iter()
            .map(|one| keys::document(&one.document_id))
            .collect();
        let rows: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
        let mut rows: BTreeMap<String, DocumentRow> = rows
            .into_iter()
            .map(|row| (row.document_id.clone(), row))
            .collect();
        let mut updated = Vec::new();
        for one in coming {
            let Some(row) = rows.remove(&one.document_id) else {
                continue;
            };
            let same = difference::mark(&row, &sync.of).as_ref() == Some(&one.mark);
            if !same || row.status == DocumentStatus::Deleted {
                continue;
            }
            let row = match failures.get(&one.document_id) {
                Some(failure) => {
                    self.failed
                        .push(failed(&one.document_id, &row.name, failure));
                    failed_row(row, failure)
                }
                None => {
                    self.brought_in += 1;
                    held_row(row, &one.mark)
                }
            };
            updated.push((keys::document(&row.document_id), row));
        }
        aws.table.put_many(&updated).await
    }
}

fn failed(id: &str, name: &str, (error, reason): &Failure) -> BatchDocument {
    BatchDocument {
        document_id: id.to_owned(),
        name: name.to_owned(),
        status: DocumentStatus::Failed,
        error: Some(error.clone()),
        reason: Some(reason.clone()),
        version: None,
    }
}

fn failed_row(row: DocumentRow, failure: &Failure) -> DocumentRow {
    let ours = row.error.as_deref().is_some_and(is_sync_failure);
    match row.status {
        DocumentStatus::Published => {}
        DocumentStatus::Failed if ours => {}
        // Another run works on it, or it has failed for a reason of its own.
        _ => return row,
    }
    row.with_status(
        DocumentStatus::Failed,
        Some(failure.clone()),
        clock::now_ms(),
    )
}

fn held_row(row: DocumentRow, mark: &str) -> DocumentRow {
    let mended =
        row.status == DocumentStatus::Failed && row.error.as_deref().is_some_and(is_sync_failure);
    let mut row = match mended {
        true => row.with_status(DocumentStatus::Published, None, clock::now_ms()),
        false => row,
    };
    if let Some(live) = &mut row.published {
        live.knowledge_base = Some(mark.to_owned());
    }
    row
}

/// Fails those of a batch's published documents that are left, and takes what it has out of what is left. Answers whether the
/// batch has changed.
fn fail_published(batch: &mut BatchRow, left: &mut BTreeMap<&str, &BatchDocument>) -> bool {
    let mut changed = false;
    for document in &mut batch.documents {
        let Some(failed) = left.remove(document.document_id.as_str()) else {
            continue;
        };
        // What did not get so far has a reason of its own.
        if document.status == DocumentStatus::Published {
            changed = true;
            document.status = DocumentStatus::Failed;
            document.error.clone_from(&failed.error);
            document.reason.clone_from(&failed.reason);
        }
    }
    changed
}

/// Fails the documents in the run's batches; answers those that stand in none, which get one of their own.
async fn tell_batches(
    aws: &Aws,
    run: &RunRow,
    failed: &[BatchDocument],
) -> Result<Vec<BatchDocument>, AwsError> {
    let mut left: BTreeMap<&str, &BatchDocument> = failed
        .iter()
        .map(|document| (document.document_id.as_str(), document))
        .collect();
    let mut pages = runs::batch_pages(aws, &run.run_id);
    while let Some(batches) = pages.next().await? {
        for mut batch in batches {
            if !batch.batch_id.starts_with(BATCH) && fail_published(&mut batch, &mut left) {
                let key = keys::batch(&run.run_id, &batch.batch_id);
                aws.table.put(&key, &batch).await?;
            }
        }
    }
    let outside: Vec<BatchDocument> = left.into_values().cloned().collect();
    for (number, documents) in outside.chunks(ROWS).enumerate() {
        let id = match number {
            0 => BATCH.to_owned(),
            number => format!("{BATCH}-{number:06}"),
        };
        let key = keys::batch(&run.run_id, &id);
        aws.table
            .put(&key, &BatchRow::new(id, documents.to_vec()))
            .await?;
    }
    Ok(outside)
}

/// How the plan counts documents that stand in none of its batches.
#[derive(Default)]
struct Counted {
    unchanged: u64,
    deleted: u64,
    outside: u64,
}

async fn count(aws: &Aws, run: &RunRow, outside: &[BatchDocument]) -> Result<Counted, StepError> {
    if outside.is_empty() {
        return Ok(Counted::default());
    }
    let deletions = aws.bucket.get(&objects::deletions(&run.run_id)).await?;
    let deletions: BTreeSet<String> = serde_json::from_slice(&deletions)?;
    let whole = run.documents.is_none() && run.redrive_of.is_none();
    let mut counted = Counted::default();
    for document in outside {
        let named = run.documents.as_ref();
        let named = named.is_some_and(|ids| ids.contains(&document.document_id));
        // What is taken out of the knowledge base alone was deleted by an earlier run, and has no name here.
        let alive = !document.name.is_empty();
        match () {
            () if deletions.contains(&document.document_id) => counted.deleted += 1,
            () if alive && (whole || named) => counted.unchanged += 1,
            () => counted.outside += 1,
        }
    }
    // What other runs have brought in since stands in no count of this plan.
    for (part, planned) in [
        (&mut counted.unchanged, run.unchanged),
        (&mut counted.deleted, run.deleted),
    ] {
        counted.outside += part.saturating_sub(planned);
        *part = planned.min(*part);
    }
    Ok(counted)
}

/// Lets the knowledge base go, where the run has it.
async fn tell_state(aws: &Aws, run: &RunRow, reached: bool) -> Result<(), AwsError> {
    match knowledge_base::state(aws, &run.space).await? {
        Some(state) if state.run_id.as_deref() == Some(&run.run_id) => {
            let reached = reached && !state.fell_behind;
            let next = State {
                settled: reached,
                filled: state.filled || reached,
                run_id: None,
                fell_behind: false,
                ..state
            };
            knowledge_base::replace(aws, &run.space, next).await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

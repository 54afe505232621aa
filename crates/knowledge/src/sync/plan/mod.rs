//! Plan: list the source, compare with what is published, write the work list.

mod attempt;
mod compare;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::Pages;
use aws::dynamo::keys::{self, DOCUMENT_PREFIX};
use aws::{Aws, AwsError, clock};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::asking::{fetched, still_asking};
use super::changes::{self, Stop};
use super::progress::{self, ROWS, put};
use super::redrive::{self, LeftOver};
use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, NO_STOP, RunRow, RunStatus, objects,
};
use super::{StepError, estimate, moving, refuse_other_embedder};
use crate::batch_embedding::BatchEmbedding;
use crate::ledger;
use crate::runs;
use crate::sources::{self, Fetched};
use crate::spaces;
use crate::uploads::{self, Taken};

use compare::{Comparison, Wanted};
pub(super) use compare::{Difference, Work};
use source::HEADS_IN_FLIGHT;

/// The batch of a run's refused uploads; other batches are named by a hash.
const UPLOADS_BATCH: &str = "uploads";

/// How the batches of what sources could not give begin.
pub(super) const SOURCES_BATCH: &str = "sources";

/// Documents of one such batch: its row is far below DynamoDB's 400 KB.
const ROW_DOCUMENTS: usize = 300;

pub(super) async fn plan(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    // A plan that was made is followed: what was brought in since would not be planned again.
    if let Some(outcome) = run.plan {
        return Ok(outcome);
    }
    if let Some(manifest) = crate::manifest::current(aws, &run.space).await?
        && !run.re_embed
    {
        refuse_other_embedder(aws, &run.space, &manifest)?;
    }
    let left = match &run.redrive_of {
        Some(of) => Some(redrive::left_over(aws, of).await?),
        None => None,
    };
    let named = match &left {
        Some(left) => left.documents.clone(),
        None => run.documents.clone(),
    };
    let whole = named.is_none();
    let fetched = match fetched(aws, &run, whole).await? {
        Fetched::Done(outcome) => outcome,
        Fetched::More { wait_seconds } => return still_asking(aws, run, wait_seconds).await,
    };
    let mut run = attempt::begin(aws, run).await?;
    let Looked {
        difference,
        outside,
    } = look(aws, &run, named, left.as_ref(), fetched).await?;
    changes::write(aws, run_id, difference.told()).await?;
    // The vectors of another model are of no use.
    let renamed = match run.re_embed {
        true => Vec::new(),
        false => difference.renamed.clone(),
    };
    let mut moves = moving::choose(aws, &run.space, renamed).await?;
    let budget = spaces::budget(aws, &run.space).await?;
    let moved = moves.ids();
    // What is only moved is not embedded.
    let embedded = difference.work.iter();
    let embedded: Vec<&Work> = embedded
        .filter(|one| !moved.contains(&one.planned.document_id))
        .collect();
    let estimate = estimate::note(aws, &mut run, &embedded, budget.is_set()).await?;
    run.embed_model = Some(aws.settings.embed_model.clone());
    let mut stop = stop(aws, &run, &difference);
    if let (None, Some(estimate)) = (&stop, estimate) {
        let held = ledger::runs::hold(aws, &mut run, &budget, &estimate).await?;
        stop = held.err().map(Stop::Budget);
    }
    if let Some(stop) = stop {
        return stopped(aws, run, &difference, outside, stop).await;
    }
    attempt::ensure_latest(aws, &run).await?;
    if whole {
        sources::settle(aws, &run.space).await?;
    }
    let carried = match &left {
        Some(left) => redrive::carry_over(aws, run_id, left, &difference.work).await?,
        None => BTreeSet::new(),
    };
    // What was carried over needs no move.
    moves.retain(|one| !carried.contains(&one.to.document_id));
    let moved = moves.ids();
    if !moved.is_empty() {
        moves.write(aws, run_id).await?;
    }
    let begun = Begun {
        difference,
        moved,
        carried,
        outside,
    };
    begin(aws, run, begun).await
}

/// What a run finds before it touches anything.
struct Looked {
    difference: Difference,
    /// Documents that did not come as far as the comparison, and stand in the run's books.
    outside: u64,
}

/// Takes uploads over, lists what the run is to look at, and compares it with what is published.
async fn look(
    aws: &Aws,
    run: &RunRow,
    named: Option<Vec<String>>,
    left: Option<&LeftOver>,
    fetched: sources::Outcome,
) -> Result<Looked, StepError> {
    let run_id = run.run_id.as_str();
    let refused = if run.dry_run {
        Vec::new()
    } else {
        take_uploads(aws, &run.space, named.as_deref()).await?
    };
    let wanted = Wanted {
        all: run.re_embed,
        vectors: super::vectors::wanted(aws, &run.space).await?,
        settled_deletions: left.map(|left| left.deletions.clone()).unwrap_or_default(),
        chunking: spaces::chunking(aws, &run.space).await?,
    };
    let not_given = fetched.failed;
    let difference = match named {
        Some(mut ids) => {
            ids.retain(|id| refused.iter().all(|document| document.document_id != *id));
            let rows = progress::rows(aws, ids.iter().map(String::as_str)).await?;
            let sources = source::of_rows(aws, &rows).await?;
            let mut comparison = Comparison::begin(wanted, sources, not_given);
            rows.into_iter().for_each(|row| comparison.add(row));
            comparison.finish()
        }
        None => {
            let mut sources = source::whole(aws, &run.space).await?;
            sources.retain(|id, _| !fetched.gone.contains(id));
            let mut comparison = Comparison::begin(wanted, sources, not_given);
            let partition = keys::space_partition(&run.space);
            let mut pages: Pages<'_, DocumentRow> = aws.table.pages(&partition, DOCUMENT_PREFIX);
            while let Some(rows) = pages.next().await? {
                rows.into_iter().for_each(|row| comparison.add(row));
            }
            comparison.finish()
        }
    };
    attempt::ensure_latest(aws, run).await?;
    record(aws, run_id, UPLOADS_BATCH, &refused).await?;
    let not_given = &difference.not_given;
    for (number, failed) in not_given.chunks(ROW_DOCUMENTS).enumerate() {
        record(aws, run_id, &format!("{SOURCES_BATCH}{number}"), failed).await?;
    }
    Ok(Looked {
        outside: (refused.len() + not_given.len()) as u64,
        difference,
    })
}

/// What a run sets out to do.
struct Begun {
    difference: Difference,
    /// Of the work, what only moves, and what an earlier run has embedded.
    moved: BTreeSet<String>,
    carried: BTreeSet<String>,
    /// Documents that stand in the books already.
    outside: u64,
}

impl Begun {
    /// Whether a document goes the whole way.
    fn is_processed(&self, work: &Work) -> bool {
        let id = &work.planned.document_id;
        !self.moved.contains(id) && !self.carried.contains(id)
    }
}

/// Writes what the run is to do, and its documents' rows; the run's row comes last.
async fn begin(aws: &Aws, run: RunRow, begun: Begun) -> Result<Value, StepError> {
    let run_id = run.run_id.as_str();
    let difference = &begun.difference;
    let (mut lines, mut processed) = (String::new(), 0);
    for one in &difference.work {
        if begun.is_processed(one) {
            processed += 1;
            lines.push_str(&serde_json::to_string(&one.planned)?);
            lines.push('\n');
        }
    }
    aws.bucket.put(&objects::plan(run_id), lines).await?;
    let gone = difference.gone.iter();
    let deletions: Vec<&str> = gone.map(|one| one.document_id.as_str()).collect();
    let deletions = serde_json::to_vec(&deletions)?;
    aws.bucket
        .put(&objects::deletions(run_id), deletions)
        .await?;
    let outcome = json!({
        "run_id": run_id,
        "bucket": aws.bucket.name(),
        "plan_key": objects::plan(run_id),
        "to_move": begun.moved.len(),
        "concurrency": aws.settings.ingest_concurrency,
        "to_process": processed,
        "to_delete": difference.gone.len(),
        "unchanged": difference.unchanged,
        "stop": NO_STOP,
        "reason": "",
        "wait_seconds": 0,
        "by_jobs": run.batch_embedding != BatchEmbedding::Off,
    });
    take_over(aws, run_id, &begun).await?;
    let counts = RunRow {
        status: RunStatus::Running,
        planned: planned(difference) + begun.outside,
        unchanged: difference.unchanged,
        deleted: difference.gone.len() as u64,
        plan: Some(outcome.clone()),
        ..run
    };
    runs::replace(aws, counts).await?;
    Ok(outcome)
}

/// Documents that the run was to look at and that came as far as the comparison.
fn planned(difference: &Difference) -> u64 {
    (difference.work.len() + difference.gone.len()) as u64 + difference.unchanged
}

/// Makes the documents that a run works on its own, in their rows. Each row is read when it is changed: the comparison was of
/// many, and may be some time ago.
async fn take_over(aws: &Aws, run_id: &str, begun: &Begun) -> Result<(), AwsError> {
    let difference = &begun.difference;
    let now_ms = clock::now_ms();
    for work in difference.work.chunks(ROWS) {
        let ids = work.iter().map(|one| one.planned.document_id.as_str());
        let mut rows = rows_of(aws, ids).await?;
        let taken = work.iter().map(|one| {
            let (id, name) = (&one.planned.document_id, &one.planned.name);
            let row = rows.remove(id);
            let row = row.unwrap_or_else(|| DocumentRow::new(id.clone(), name.clone(), now_ms));
            let row = row.with_status(DocumentStatus::Pending, None, now_ms);
            let row = DocumentRow {
                bytes: one.bytes,
                run_id: Some(run_id.to_owned()),
                leaves: false,
                expires_at: None,
                progress: row
                    .progress
                    .clone()
                    .planned(&one.planned.source_version, now_ms),
                ..row
            };
            match begun.carried.contains(id) {
                true => row.with_status(DocumentStatus::Embedding, None, now_ms),
                false => row,
            }
        });
        put(aws, taken).await?;
    }
    for gone in difference.gone.chunks(ROWS) {
        let ids = gone.iter().map(|one| one.document_id.as_str());
        let mut rows = rows_of(aws, ids).await?;
        let left = gone
            .iter()
            .filter_map(|one| one.taken_by(run_id, rows.remove(&one.document_id)?));
        put(aws, left).await?;
    }
    for given in difference.given_again.chunks(ROWS) {
        let rows = rows_of(aws, given.iter().map(String::as_str)).await?;
        // One that another run works on since is that run's.
        let failed = rows
            .into_values()
            .filter(|row| row.status == DocumentStatus::Failed);
        let published = |row: DocumentRow| row.with_status(DocumentStatus::Published, None, now_ms);
        put(aws, failed.map(published)).await?;
    }
    for not_given in difference.not_given.chunks(ROWS) {
        let told = not_given.iter().filter(|one| {
            let live = &difference.not_given_live;
            live.contains(&one.document_id)
        });
        let mut rows = rows_of(aws, told.clone().map(|one| one.document_id.as_str())).await?;
        let failed = told.filter_map(|one| {
            let row = rows.remove(&one.document_id)?;
            Some(row.with_status(DocumentStatus::Failed, one.problem(), now_ms))
        });
        put(aws, failed).await?;
    }
    Ok(())
}

/// Those rows of documents that there are, by id.
async fn rows_of(
    aws: &Aws,
    ids: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, DocumentRow>, AwsError> {
    let rows = progress::rows(aws, ids).await?.into_iter();
    Ok(rows.map(|row| (row.document_id.clone(), row)).collect())
}

/// A run over named documents was asked for each of its deletions.
fn stop(aws: &Aws, run: &RunRow, difference: &Difference) -> Option<Stop> {
    if run.dry_run {
        return Some(Stop::DryRun);
    }
    if run.documents.is_some() || run.allow_deletions {
        return None;
    }
    let percent = aws.settings.brake_percent;
    changes::brake(difference.live, difference.lost, percent)
}

/// Ends the plan before any document's row or the index is touched. What it would have done stays pending in the run's books.
async fn stopped(
    aws: &Aws,
    run: RunRow,
    difference: &Difference,
    outside: u64,
    stop: Stop,
) -> Result<Value, StepError> {
    let run_id = run.run_id.clone();
    let (stop, reason) = match stop {
        Stop::DryRun => ("dry_run", String::new()),
        Stop::Brake(reason) => ("brake", reason),
        Stop::Budget(reason) => ("budget", reason),
    };
    let outcome = json!({
        "run_id": run_id,
        "to_move": 0,
        "to_process": difference.work.len(),
        "to_delete": difference.gone.len(),
        "unchanged": difference.unchanged,
        "stop": stop,
        "reason": reason,
        "wait_seconds": 0,
        "by_jobs": false,
    });
    let counts = RunRow {
        status: RunStatus::Running,
        planned: planned(difference) + outside,
        unchanged: difference.unchanged,
        plan: Some(outcome.clone()),
        ..run
    };
    runs::replace(aws, counts).await?;
    Ok(outcome)
}

/// Takes over the uploads that were announced for the run's documents; answers those whose bytes are not the announced
/// ones. A run over the whole source leaves such uploads alone: they may be under way.
async fn take_uploads(
    aws: &Aws,
    space: &str,
    ids: Option<&[String]>,
) -> Result<Vec<BatchDocument>, StepError> {
    let announced = match ids {
        Some(ids) => uploads::of_documents(aws, ids).await?,
        None => uploads::of_space(aws, space).await?,
    };
    let taken: Vec<_> = stream::iter(&announced)
        .map(async |upload| Ok::<_, AwsError>((upload, uploads::take_over(aws, upload).await?)))
        .buffer_unordered(HEADS_IN_FLIGHT)
        .try_collect()
        .await?;
    let named = ids.is_some();
    let mut refused: Vec<BatchDocument> = taken
        .into_iter()
        .filter_map(|(upload, taken)| match taken {
            Taken::Refused(error, reason) if named => Some(BatchDocument {
                document_id: upload.document_id.clone(),
                name: upload.name.clone(),
                status: DocumentStatus::Refused,
                error: Some(error.to_owned()),
                reason: Some(reason),
                version: None,
            }),
            _ => None,
        })
        .collect();
    refused.sort_by(|left, right| left.document_id.cmp(&right.document_id));
    Ok(refused)
}

/// Documents that did not come as far as the comparison stand in a batch of their own, so that the run's books hold them.
async fn record(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
    documents: &[BatchDocument],
) -> Result<(), AwsError> {
    if documents.is_empty() {
        return Ok(());
    }
    let batch = BatchRow::new(batch_id.to_owned(), documents.to_vec());
    aws.table.put(&keys::batch(run_id, batch_id), &batch).await
}

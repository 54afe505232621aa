//! Plan: list the source, compare with what is published, write the work list.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys::{self, DOCUMENT_PREFIX};
use aws::s3::Listed;
use aws::{Aws, AwsError, RetrieverSetting, clock};
use futures_util::{StreamExt, TryStreamExt, stream};
use retrieval::chunk::Chunking;
use serde_json::{Value, json};

use super::asking::{fetched, set_aside, still_asking};
use super::changes::{self, Change, PlannedChange, Stop};
use super::knowledge_base::books::is_sync_failure;
use super::moving::{self, Renamed};
use super::redrive::{self, LeftOver};
use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, PublishedVersion,
    RunRow, RunStatus, objects,
};
use super::{StepError, estimate, refuse_other_embedder};
use crate::batch_embedding::BatchEmbedding;
use crate::ledger;
use crate::names;
use crate::runs;
use crate::sources::{self, Fetched};
use crate::spaces;
use crate::uploads::{self, Taken};

/// How many objects are looked at side by side.
const HEADS_IN_FLIGHT: usize = 16;

/// The batch of a run's refused uploads; other batches are named by a hash.
const UPLOADS_BATCH: &str = "uploads";

/// How the batches of what sources could not give begin.
pub(super) const SOURCES_BATCH: &str = "sources";

/// Documents of one such batch: its row is far below DynamoDB's 400 KB.
const ROW_DOCUMENTS: usize = 300;

/// What the source holds of one document: the object, and the ETag of its sidecar.
pub(super) struct SourceObject {
    object: Listed,
    sidecar_etag: Option<String>,
}

impl SourceObject {
    pub(super) fn version(&self) -> String {
        let sidecar = self.sidecar_etag.as_deref().unwrap_or("none");
        format!("{}-{}-{sidecar}", self.object.etag, self.object.bytes)
    }
}

/// What a run is compared for.
struct Wanted<'a> {
    /// Whether unchanged documents are done again too.
    all: bool,
    run_id: &'a str,
    /// The setting that vectors must stand in the table for, if any must.
    vectors: Option<&'a RetrieverSetting>,
    /// Deletions that were decided on before and count as no loss.
    settled_deletions: Option<&'a BTreeSet<String>>,
    /// How documents are to be cut.
    chunking: Chunking,
    now_ms: u64,
}

#[derive(Default)]
pub(super) struct Difference {
    pub(super) process: Vec<PlannedDocument>,
    delete: Vec<String>,
    /// Of those to process, what is one of those to delete under another name.
    renamed: Vec<Renamed>,
    unchanged: u64,
    pub(super) rows: Vec<DocumentRow>,
    changes: Vec<PlannedChange>,
    /// Documents that answer before the run, and how many of them are gone from the source under any name.
    live: usize,
    lost: usize,
}

pub(super) async fn plan(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let mut run = runs::row(aws, run_id).await?;
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
    let Looked {
        mut difference,
        unfetched,
        outside,
    } = look(aws, &run, named, left.as_ref(), fetched).await?;
    changes::write(aws, run_id, std::mem::take(&mut difference.changes)).await?;
    let mut renamed = std::mem::take(&mut difference.renamed);
    // The vectors of another model are of no use.
    renamed.retain(|_| !run.re_embed);
    let mut moves = moving::choose(aws, &run.space, renamed).await?;
    let budget = spaces::budget(aws, &run.space).await?;
    let embedded = embedded(&difference, &moves);
    let (rows, held) = (&difference.rows, budget.is_set());
    let estimate = estimate::note(aws, &mut run, &embedded, rows, held).await?;
    run.embed_model = Some(aws.settings.embed_model.clone());
    let mut stop = stop(aws, &run, &difference);
    if let (None, Some(estimate)) = (&stop, estimate) {
        let held = ledger::runs::hold(aws, &mut run, &budget, &estimate).await?;
        stop = held.err().map(Stop::Budget);
    }
    if let Some(stop) = stop {
        return stopped(aws, run, &difference, outside, stop).await;
    }
    difference.rows.extend(unfetched);
    if whole {
        sources::settle(aws, &run.space).await?;
    }
    let carried = match &left {
        Some(left) => redrive::carry_over(aws, run_id, left, &mut difference).await?,
        None => 0,
    };
    // What was carried over needs no move.
    let ids = difference.process.iter();
    let ids: BTreeSet<&str> = ids.map(|one| one.document_id.as_str()).collect();
    moves.retain(|one| ids.contains(one.to.document_id.as_str()));
    let moved = moves.ids();
    if !moved.is_empty() {
        moves.write(aws, run_id).await?;
    }
    difference
        .process
        .retain(|one| !moved.contains(&one.document_id));
    begin(aws, run, difference, (moved.len(), carried, outside)).await
}

/// What a run would embed: what is only moved is not.
fn embedded<'a>(difference: &'a Difference, moves: &moving::Chosen) -> Vec<&'a PlannedDocument> {
    let moved = moves.ids();
    let planned = difference.process.iter();
    planned
        .filter(|one| !moved.contains(&one.document_id))
        .collect()
}

/// What a run finds before it touches anything.
struct Looked {
    difference: Difference,
    /// Rows that say what a source could not give.
    unfetched: Vec<DocumentRow>,
    /// Documents that did not come as far as the comparison, and stand in the run's books.
    outside: u64,
}

/// Takes uploads over, lists what the run is to look at, and compares it with what is published.
async fn look(
    aws: &Aws,
    run: &RunRow,
    named: Option<Vec<String>>,
    left: Option<&LeftOver>,
    mut fetched: sources::Outcome,
) -> Result<Looked, StepError> {
    let run_id = run.run_id.as_str();
    let refused = if run.dry_run {
        Vec::new()
    } else {
        take_uploads(aws, &run.space, named.as_deref()).await?
    };
    let (mut rows, mut sources) = match named {
        Some(mut ids) => {
            ids.retain(|id| refused.iter().all(|document| document.document_id != *id));
            named_documents(aws, &ids).await?
        }
        None => whole_source(aws, &run.space).await?,
    };
    sources.retain(|id, _| !fetched.gone.contains(id));
    let unfetched = set_aside(&mut rows, &mut sources, &mut fetched.failed);
    record(aws, run_id, UPLOADS_BATCH, &refused).await?;
    for (number, failed) in fetched.failed.chunks(ROW_DOCUMENTS).enumerate() {
        record(aws, run_id, &format!("{SOURCES_BATCH}{number}"), failed).await?;
    }
    let vectors = super::vectors::wanted(aws, &run.space).await?;
    let wanted = Wanted {
        run_id,
        all: run.re_embed,
        vectors: vectors.as_ref(),
        settled_deletions: left.map(|left| &left.deletions),
        chunking: spaces::chunking(aws, &run.space).await?,
        now_ms: clock::now_ms(),
    };
    Ok(Looked {
        difference: compare(&wanted, rows, &mut sources),
        unfetched,
        outside: (refused.len() + fetched.failed.len()) as u64,
    })
}

/// Writes what the run is to do, and its documents' rows; the run's row comes last. The numbers are of documents that move, that
/// were carried over, and that stand in the books already.
async fn begin(
    aws: &Aws,
    run: RunRow,
    difference: Difference,
    (moved, carried, outside): (usize, u64, u64),
) -> Result<Value, StepError> {
    let run_id = run.run_id.as_str();
    let mut lines = String::new();
    for document in &difference.process {
        lines.push_str(&serde_json::to_string(document)?);
        lines.push('\n');
    }
    aws.bucket.put(&objects::plan(run_id), lines).await?;
    let deletions = serde_json::to_vec(&difference.delete)?;
    aws.bucket
        .put(&objects::deletions(run_id), deletions)
        .await?;
    let outcome = json!({
        "run_id": run_id,
        "bucket": aws.bucket.name(),
        "plan_key": objects::plan(run_id),
        "to_move": moved,
        "concurrency": aws.settings.ingest_concurrency,
        "to_process": difference.process.len(),
        "to_delete": difference.delete.len(),
        "unchanged": difference.unchanged,
        "stop": "no",
        "reason": "",
        "wait_seconds": 0,
        "by_jobs": run.batch_embedding != BatchEmbedding::Off,
    });
    let (deleted, unchanged) = (difference.delete.len() as u64, difference.unchanged);
    let planned = difference.process.len() as u64 + deleted + unchanged;
    let rows = difference.rows.into_iter();
    let rows: Vec<_> = rows
        .map(|row| (keys::document(&row.document_id), row))
        .collect();
    aws.table.put_many(&rows).await?;
    let counts = RunRow {
        status: RunStatus::Running,
        planned: planned + moved as u64 + carried + outside,
        unchanged,
        deleted,
        plan: Some(outcome.clone()),
        ..run
    };
    runs::replace(aws, counts).await?;
    Ok(outcome)
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
        "to_process": difference.process.len(),
        "to_delete": difference.delete.len(),
        "unchanged": difference.unchanged,
        "stop": stop,
        "reason": reason,
        "wait_seconds": 0,
        "by_jobs": false,
    });
    let counts = RunRow {
        status: RunStatus::Running,
        planned: (difference.process.len() + difference.delete.len()) as u64
            + difference.unchanged
            + outside,
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

pub(super) type Sources = BTreeMap<String, SourceObject>;

async fn named_documents(
    aws: &Aws,
    ids: &[String],
) -> Result<(Vec<DocumentRow>, Sources), AwsError> {
    let keys: Vec<_> = ids.iter().map(|id| keys::document(id)).collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&keys).await?;
    let sources = stream::iter(&rows)
        .map(|row| head_source(aws, row))
        .buffer_unordered(HEADS_IN_FLIGHT)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await?;
    Ok((rows, sources))
}

async fn head_source(
    aws: &Aws,
    row: &DocumentRow,
) -> Result<Option<(String, SourceObject)>, AwsError> {
    let space = keys::space_of(&row.document_id).unwrap_or_default();
    let key = names::source_key(space, &row.name);
    let Some(object) = aws.bucket.head(&key).await? else {
        return Ok(None);
    };
    let sidecar = aws.bucket.head(&names::sidecar_key(&key)).await?;
    let source = SourceObject {
        object,
        sidecar_etag: sidecar.map(|sidecar| sidecar.etag),
    };
    Ok(Some((row.document_id.clone(), source)))
}

async fn whole_source(aws: &Aws, space: &str) -> Result<(Vec<DocumentRow>, Sources), AwsError> {
    let prefix = names::source_prefix(space);
    let listed = aws.bucket.list(&prefix).await?;
    let (sidecars, listed): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|object| names::is_sidecar(&object.key));
    let sidecars: BTreeMap<String, String> = sidecars
        .into_iter()
        .map(|object| (object.key, object.etag))
        .collect();
    let mut rows: Vec<DocumentRow> = aws
        .table
        .query_all(&keys::space_partition(space), DOCUMENT_PREFIX)
        .await?;
    let known: BTreeSet<String> = rows.iter().map(|row| row.document_id.clone()).collect();
    let now_ms = clock::now_ms();
    let mut sources = Sources::new();
    for object in listed {
        let name = object.key[prefix.len()..].to_owned();
        if names::name_problem(&name).is_some() {
            tracing::warn!(
                run_space = space,
                "an object whose name cannot be a document's was left out"
            );
            continue;
        }
        let id = names::document_id(space, &name);
        if !known.contains(&id) {
            rows.push(DocumentRow::new(id.clone(), name, now_ms));
        }
        let sidecar_etag = sidecars.get(&names::sidecar_key(&object.key)).cloned();
        sources.insert(
            id,
            SourceObject {
                object,
                sidecar_etag,
            },
        );
    }
    Ok((rows, sources))
}

/// Sorts documents into new or changed, unchanged, and deleted. With `all` none counts as unchanged.
fn compare(wanted: &Wanted<'_>, mut rows: Vec<DocumentRow>, sources: &mut Sources) -> Difference {
    let Wanted { run_id, now_ms, .. } = *wanted;
    rows.sort_by(|left, right| left.document_id.cmp(&right.document_id));
    let mut difference = Difference {
        live: rows.iter().filter(|row| row.published.is_some()).count(),
        ..Difference::default()
    };
    let mut gone = Vec::new();
    for row in rows {
        match sources.remove(&row.document_id) {
            Some(source)
                if !wanted.all
                    && is_unchanged(&row, &source.version(), wanted.vectors, &wanted.chunking) =>
            {
                difference.unchanged += 1;
                // Its source gives it again, as it was.
                if row.status == DocumentStatus::Failed {
                    let published = row.with_status(DocumentStatus::Published, None, now_ms);
                    difference.rows.push(published);
                }
            }
            Some(source) => {
                difference.process.push(PlannedDocument {
                    document_id: row.document_id.clone(),
                    name: row.name.clone(),
                    source_version: source.version(),
                    chunking: wanted.chunking.clone(),
                });
                difference.changes.push(PlannedChange {
                    change: match &row.published {
                        Some(live) if is_cut_otherwise(live, &source.version(), wanted) => {
                            Change::Rechunked
                        }
                        Some(_) => Change::Changed,
                        None => Change::New,
                    },
                    document_id: row.document_id.clone(),
                    name: row.name.clone(),
                    renamed_from: None,
                });
                let bytes = source.object.bytes;
                let row = row.with_status(DocumentStatus::Pending, None, now_ms);
                difference.rows.push(DocumentRow {
                    bytes,
                    run_id: Some(run_id.to_owned()),
                    leaves: false,
                    expires_at: None,
                    progress: row.progress.clone().planned(&source.version(), now_ms),
                    ..row
                });
            }
            None if row.status == DocumentStatus::Deleted => {}
            None => {
                difference.delete.push(row.document_id.clone());
                let decided = |ids: &BTreeSet<String>| ids.contains(&row.document_id);
                let loss =
                    row.published.is_some() && !wanted.settled_deletions.is_some_and(decided);
                difference.lost += usize::from(loss);
                // The row is this run's from now on, and as it was: until it is deleted, it answers.
                difference.rows.push(DocumentRow {
                    run_id: Some(run_id.to_owned()),
                    leaves: true,
                    ..row.clone()
                });
                gone.push(row);
            }
        }
    }
    tell_deletions(&mut difference, gone);
    difference
}

/// A new document with the very bytes of one that is gone is that one under another name.
fn tell_deletions(difference: &mut Difference, gone: Vec<DocumentRow>) {
    let Difference {
        process,
        changes,
        renamed,
        lost,
        ..
    } = difference;
    // What is processed and its changes stand in the same order. Of the same bytes there may be several.
    let mut new: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (planned, told)) in process.iter().zip(changes.iter()).enumerate() {
        if told.change == Change::New {
            new.entry(&planned.source_version).or_default().push(at);
        }
    }
    let mut deleted = Vec::new();
    for row in gone {
        let live = row.published.as_ref();
        let same = live.and_then(|live| new.get_mut(live.source_version.as_str()));
        let at = same.and_then(Vec::pop);
        if let Some((told, to)) = at.and_then(|at| changes.get_mut(at).zip(process.get(at))) {
            told.change = Change::Renamed;
            told.renamed_from = Some(row.name.clone());
            // It answers under its new name as soon as it does not under the old one.
            *lost = lost.saturating_sub(1);
            // Its passages are of no use where they are to be cut otherwise.
            if live.is_some_and(|live| live.chunking == to.chunking) {
                renamed.push(Renamed {
                    from: row.document_id.clone(),
                    title: live
                        .and_then(|live| moving::new_title(&live.title, &row.name, &to.name)),
                    from_name: row.name.clone(),
                    to: to.clone(),
                });
            }
        } else {
            deleted.push(PlannedChange {
                change: Change::Deleted,
                document_id: row.document_id,
                name: row.name,
                renamed_from: None,
            });
        }
    }
    changes.append(&mut deleted);
}

/// Whether only the space's chunking has changed.
fn is_cut_otherwise(live: &PublishedVersion, version: &str, wanted: &Wanted<'_>) -> bool {
    live.source_version == version && live.chunking != wanted.chunking
}

/// A document whose vectors are wanted in the table, and are not there, is done again; so is one that was cut otherwise.
fn is_unchanged(
    row: &DocumentRow,
    version: &str,
    vectors: Option<&RetrieverSetting>,
    chunking: &Chunking,
) -> bool {
    // Nothing of the document itself failed: it was not fetched, or did not reach a knowledge base.
    let beside = |error: &str| sources::is_fetch_error(error) || is_sync_failure(error);
    let unfailed = row.status == DocumentStatus::Failed && row.error.as_deref().is_some_and(beside);
    (row.status == DocumentStatus::Published || unfailed)
        && row.published.as_ref().is_some_and(|published| {
            let has_vectors = vectors.is_none() || published.vectors.as_ref() == vectors;
            let same = published.source_version == version && published.chunking == *chunking;
            same && has_vectors
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: DocumentStatus, version: Option<&str>) -> DocumentRow {
        let mut row = DocumentRow::new(format!("s.{name}"), name.into(), 0);
        row.status = status;
        row.published = version.map(|version| PublishedVersion {
            content_hash: "h".into(),
            source_version: version.into(),
            title: name.into(),
            ..PublishedVersion::default()
        });
        row
    }

    fn source(etag: &str) -> SourceObject {
        let object = Listed {
            key: String::new(),
            bytes: 1,
            etag: etag.into(),
        };
        SourceObject {
            object,
            sidecar_etag: None,
        }
    }

    #[test]
    fn documents_are_sorted_into_the_plan() {
        // (row's status and published version, the source's ETag) → (to process, unchanged, to delete)
        let sorted = |all, status, version, etag: Option<&str>, expected: (usize, u64, usize)| {
            let mut sources: Sources = etag
                .map(|etag| ("s.a".to_owned(), source(etag)))
                .into_iter()
                .collect();
            let wanted = Wanted {
                run_id: "s.run",
                all,
                vectors: None,
                settled_deletions: None,
                chunking: Chunking::default(),
                now_ms: 1,
            };
            let plan = compare(&wanted, vec![row("a", status, version)], &mut sources);
            let found = (plan.process.len(), plan.unchanged, plan.delete.len());
            assert_eq!(found, expected, "{status:?} {version:?} {etag:?}");
        };
        let check =
            |status, version, etag, expected| sorted(false, status, version, etag, expected);
        use DocumentStatus::{Deleted, Failed, Pending, Published, Refused};
        check(Pending, None, Some("e"), (1, 0, 0));
        check(Published, Some("e-1-none"), Some("e"), (0, 1, 0));
        check(Published, Some("e-1-none"), Some("changed"), (1, 0, 0));
        check(Published, Some("e-1-other sidecar"), Some("e"), (1, 0, 0));
        check(Failed, Some("e-1-none"), Some("e"), (1, 0, 0));
        check(Refused, None, Some("e"), (1, 0, 0));
        check(Published, Some("e-1-none"), None, (0, 0, 1));
        check(Pending, None, None, (0, 0, 1));
        check(Deleted, None, None, (0, 0, 0));
        check(Deleted, None, Some("e"), (1, 0, 0));
        let mut otherwise = row("a", Published, Some("e-1-none"));
        if let Some(live) = &mut otherwise.published {
            live.chunking = Chunking::None;
        }
        let mut sources: Sources = [("s.a".to_owned(), source("e"))].into();
        let wanted = Wanted {
            run_id: "s.run",
            all: false,
            vectors: None,
            settled_deletions: None,
            chunking: Chunking::default(),
            now_ms: 1,
        };
        let plan = compare(&wanted, vec![otherwise], &mut sources);
        assert_eq!(plan.changes[0].change, Change::Rechunked);
        assert_eq!(plan.process[0].chunking, Chunking::default());
        sorted(true, Published, Some("e-1-none"), Some("e"), (1, 0, 0));
        sorted(true, Published, Some("e-1-none"), None, (0, 0, 1));
        sorted(true, Deleted, None, None, (0, 0, 0));
    }

    #[test]
    fn changes_are_told_by_kind() {
        let mut sources: Sources = [
            ("new", "1"),
            ("changed", "2"),
            ("moved-to", "3"),
            ("same", "4"),
        ]
        .into_iter()
        .map(|(name, etag)| (format!("s.{name}"), source(etag)))
        .collect();
        let published =
            |name: &str, version: &str| row(name, DocumentStatus::Published, Some(version));
        let rows = vec![
            row("new", DocumentStatus::Pending, None),
            published("changed", "0-1-none"),
            row("moved-to", DocumentStatus::Pending, None),
            published("moved-from", "3-1-none"),
            published("gone", "5-1-none"),
            row("refused", DocumentStatus::Refused, None),
            published("same", "4-1-none"),
        ];
        let wanted = Wanted {
            run_id: "s.run",
            all: false,
            vectors: None,
            settled_deletions: None,
            chunking: Chunking::default(),
            now_ms: 1,
        };
        let plan = compare(&wanted, rows, &mut sources);
        let mut told: Vec<(Change, &str, Option<&str>)> = plan
            .changes
            .iter()
            .map(|one| (one.change, one.name.as_str(), one.renamed_from.as_deref()))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                (Change::New, "new", None),
                (Change::Changed, "changed", None),
                (Change::Renamed, "moved-to", Some("moved-from")),
                (Change::Deleted, "gone", None),
                (Change::Deleted, "refused", None),
            ]
        );
        // A document that was moved is deleted under its old name all the same.
        assert_eq!((plan.delete.len(), plan.unchanged, plan.live), (3, 1, 4));
        // What never answered is no loss, nor is what answers under another name.
        assert_eq!(plan.lost, 1);
        let renamed: Vec<_> = plan
            .renamed
            .iter()
            .map(|one| (one.from.as_str(), one.to.name.as_str()))
            .collect();
        assert_eq!(renamed, [("s.moved-from", "moved-to")]);
    }

    #[test]
    fn a_document_without_the_vectors_that_are_wanted_is_done_again() {
        let keys = |keys: &[&str]| RetrieverSetting::Dynamodb {
            filter_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let check =
            |has: Option<RetrieverSetting>, wanted: Option<RetrieverSetting>, done: bool| {
                let mut row = row("a", DocumentStatus::Published, Some("v"));
                if let Some(published) = &mut row.published {
                    published.vectors = has;
                }
                assert_eq!(
                    is_unchanged(&row, "v", wanted.as_ref(), &Chunking::default()),
                    done
                );
            };
        check(None, None, true);
        check(None, Some(keys(&[])), false);
        check(Some(keys(&[])), Some(keys(&[])), true);
        check(Some(keys(&[])), Some(keys(&["team"])), false);
        check(Some(keys(&[])), None, true);
    }
}

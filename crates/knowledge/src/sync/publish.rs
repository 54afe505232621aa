//! Publish: the run's parts become segments, and one conditional write of the manifest makes them live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting, chance, clock};
use retrieval::chunk::Chunking;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::{BatchDocument, BatchRow, DocumentRow, DocumentStatus, RunRow, objects};
use super::segments::{Gathering, Lists, SEGMENT_PASSAGES, WrittenSegment, bury};
use super::{StepError, progress, refuse_other_embedder, vectors};
use crate::manifest::{self, Edition, ManifestSegment, Members, document_list_key};
use crate::runs;

/// How often a step meets another publisher before it gives up. The state machine does not try again what ends so: the
/// segments are built once, and the tries are counted in one place.
pub(super) const MANIFEST_ATTEMPTS: u32 = 10;
/// The longest pauses between them: the first, which doubles, and the last.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Waits, with full jitter, after the manifest was another publisher's for the `attempt`th time, counted from 0.
pub(super) async fn give_way(attempt: u32) {
    let longest = FIRST_PAUSE * 2u32.saturating_pow(attempt);
    tokio::time::sleep(chance::jitter(longest.min(LAST_PAUSE))).await;
}

/// What the run made live, for Verify.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Published {
    pub segments: Vec<ManifestSegment>,
    /// The setting that the documents' vectors were written to the table for, if they were.
    #[serde(default)]
    pub vectors: Option<RetrieverSetting>,
}

pub(super) async fn publish(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let edition = manifest::edition(aws, &run.space).await?;
    if let Some(edition) = &edition
        && edition.holds(run_id)
    {
        return Ok(done(run_id, edition.manifest.version));
    }
    let deletions: Vec<String> =
        serde_json::from_slice(&aws.bucket.get(&objects::deletions(run_id)).await?)?;
    let vectors = vectors::prepare(aws, &run.space).await?;
    let mut batches = coming_batches(aws, run_id).await?;
    give_up_lost(aws, run_id, &mut batches).await?;
    let coming = write_segments(aws, &run, &batches, vectors.as_ref()).await?;
    let segments: Vec<ManifestSegment> = coming
        .iter()
        .map(|written| written.segment.clone())
        .collect();
    let record = serde_json::to_vec(&Published { segments, vectors })?;
    aws.bucket.put(&objects::published(run_id), record).await?;
    let mut version = edition.map_or(0, |edition| edition.manifest.version);
    if !(coming.is_empty() && deletions.is_empty()) {
        version = swap(aws, &run, batches, &coming, &deletions).await?;
    }
    Ok(done(run_id, version))
}

fn done(run_id: &str, version: u64) -> Value {
    json!({ "run_id": run_id, "manifest_version": version })
}

/// What publication keeps of a batch: of a large run all of them are in memory.
struct ComingBatch {
    batch_id: String,
    part_key: Option<String>,
    /// Those of its documents that go live.
    documents: Vec<Coming>,
}

struct Coming {
    document_id: String,
    /// What tells its version from others; none of one that was seen live before.
    version: Option<(String, Chunking)>,
}

impl ComingBatch {
    fn of(batch: BatchRow) -> Self {
        let coming = |one: BatchDocument| {
            let version = match one.status {
                DocumentStatus::Embedding => one.version,
                DocumentStatus::Published => None,
                _ => return None,
            };
            Some(Coming {
                document_id: one.document_id,
                version: version.map(|version| (version.source_version, version.chunking)),
            })
        };
        Self {
            documents: batch.documents.into_iter().filter_map(coming).collect(),
            batch_id: batch.batch_id,
            part_key: batch.part_key,
        }
    }
}

async fn coming_batches(aws: &Aws, run_id: &str) -> Result<Vec<ComingBatch>, AwsError> {
    let mut coming = Vec::new();
    let mut pages = runs::batch_pages(aws, run_id);
    while let Some(batches) = pages.next().await? {
        coming.extend(batches.into_iter().map(ComingBatch::of));
    }
    Ok(coming)
}

/// The failure of a document that a later run has taken over while this one was under way.
const SUPERSEDED: &str = "Superseded";

/// Fails the documents that another run has taken over with another version since they were planned, and answers their
/// ids: a run may wait for hours, and what it holds of them is older than what the other brings. The last to plan a version
/// has the last word, whichever of them publishes first.
async fn give_up_lost(
    aws: &Aws,
    run_id: &str,
    batches: &mut [ComingBatch],
) -> Result<BTreeSet<String>, StepError> {
    let mut all = BTreeSet::new();
    for batch in batches {
        let open = batch.documents.iter();
        let versions: BTreeMap<&str, &(String, Chunking)> = open
            .filter_map(|one| Some((one.document_id.as_str(), one.version.as_ref()?)))
            .collect();
        // An upload's run and the one that the bucket's event starts bring the same: both publish it.
        let as_here = |row: &DocumentRow| {
            let version = versions.get(row.document_id.as_str());
            version.is_some_and(|(version, chunking)| row.brings(version, chunking))
        };
        let lost = progress::lost(aws, run_id, versions.keys().copied(), as_here).await?;
        if lost.is_empty() {
            continue;
        }
        fail_lost(aws, run_id, &batch.batch_id, &lost).await?;
        batch
            .documents
            .retain(|one| !lost.contains(&one.document_id));
        all.extend(lost);
    }
    Ok(all)
}

async fn fail_lost(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
    lost: &BTreeSet<String>,
) -> Result<(), AwsError> {
    let mut batch = BatchRow::read(aws, run_id, batch_id).await?;
    let documents = batch.documents.iter_mut();
    for one in documents.filter(|one| lost.contains(&one.document_id)) {
        one.status = DocumentStatus::Failed;
        one.error = Some(SUPERSEDED.to_owned());
        one.reason = Some(
            "another run has taken it over since; what that run makes of it stands".to_owned(),
        );
        one.version = None;
    }
    aws.table.put(&keys::batch(run_id, batch_id), &batch).await
}

/// Builds and stores the run's segments, part by part; the same parts give the same files.
async fn write_segments(
    aws: &Aws,
    run: &RunRow,
    batches: &[ComingBatch],
    vectors: Option<&RetrieverSetting>,
) -> Result<Vec<WrittenSegment>, StepError> {
    let (run_id, space) = (run.run_id.as_str(), run.space.as_str());
    let settings = &aws.settings;
    let begin = || Gathering::begin(&settings.embed_model, settings.embed_dimensions as usize);
    let holders = holders(batches);
    let mut written = Vec::new();
    let mut segment = begin()?;
    for (number, batch) in batches.iter().enumerate() {
        let Some(part_key) = &batch.part_key else {
            continue;
        };
        let mut documents = retrieval::part::decode(&aws.bucket.get(part_key).await?)?;
        documents.retain(|one| holders.get(one.document_id.as_str()) == Some(&number));
        vectors::write(aws, vectors, documents.iter()).await?;
        segment = segment.push(documents).await?;
        if segment.passages() >= SEGMENT_PASSAGES {
            let full = std::mem::replace(&mut segment, begin()?);
            written.push(full.store(aws, space, run_id).await?);
        }
    }
    if !segment.is_empty() {
        written.push(segment.store(aws, space, run_id).await?);
    }
    Ok(written)
}

/// Of each document that goes live the number of the batch that has it. Should the work list ever name one twice, the last
/// word counts.
fn holders(batches: &[ComingBatch]) -> BTreeMap<&str, usize> {
    let numbered = batches.iter().enumerate();
    let numbered = numbered.filter(|(_, batch)| batch.part_key.is_some());
    let documents = numbered.flat_map(|(number, batch)| {
        let ids = batch.documents.iter().map(|one| one.document_id.as_str());
        ids.map(move |id| (id, number))
    });
    documents.collect()
}

/// Replaces the manifest until no other publisher is in between; answers the version that holds the run.
async fn swap(
    aws: &Aws,
    run: &RunRow,
    mut batches: Vec<ComingBatch>,
    coming: &[WrittenSegment],
    deletions: &[String],
) -> Result<u64, StepError> {
    let (run_id, space) = (run.run_id.as_str(), run.space.as_str());
    let mut lost = BTreeSet::new();
    let mut lists = Lists::default();
    let mut outcome = Vec::new();
    for attempt in 0..MANIFEST_ATTEMPTS {
        let current = manifest::edition(aws, space).await?.unwrap_or_else(|| {
            Edition::empty(&aws.settings.embed_model, aws.settings.embed_dimensions)
        });
        if is_published(&current, run_id, coming) {
            return Ok(current.manifest.version);
        }
        // After the manifest was read: whoever takes a document over and publishes it after this changes the manifest.
        lost.append(&mut give_up_lost(aws, run_id, &mut batches).await?);
        let gone = deletions.iter().map(String::as_str);
        lost.append(&mut progress::lost(aws, run_id, gone, |row| row.leaves).await?);
        let now_ms = clock::now_ms();
        let own = Own::of(coming, deletions, &lost, now_ms);
        let mut segments = current.manifest.segments.clone();
        for segment in &mut segments {
            lists
                .bury(aws, &current, segment, &own.replaced, now_ms)
                .await?;
        }
        segments.retain(|segment| segment.live_documents() > 0);
        if run.re_embed {
            refuse_to_lose(aws, space, &mut lists, &segments).await?;
        } else {
            refuse_other_embedder(aws, space, &current.manifest)?;
        }
        segments.extend(own.segments);
        let mut next = current.succeed(segments, now_ms);
        next.manifest.embedder.clone_from(&aws.settings.embed_model);
        next.manifest.dimension = aws.settings.embed_dimensions;
        next.ledger.recent_runs.push(run_id.to_owned());
        next.ledger.retire(std::mem::take(&mut outcome), now_ms);
        next.ledger.retire(own.dropped, now_ms);
        next.ledger.members.extend(own.members);
        match manifest::replace(aws, space, &mut next).await {
            Ok(()) => return Ok(next.manifest.version),
            // What was written for nothing is removed with the next version that is written.
            Err(AwsError::Conflict { .. }) => outcome.extend_from_slice(next.objects()),
            Err(error) => return Err(error.into()),
        }
        give_way(attempt).await;
    }
    Err(StepError::ManifestContended {
        space: space.to_owned(),
        attempts: MANIFEST_ATTEMPTS,
    })
}

/// What a publication changes, without the documents that the run has lost to others.
#[derive(Default)]
struct Own {
    /// Ids of documents whose live versions go. Sorted.
    replaced: Vec<String>,
    segments: Vec<ManifestSegment>,
    members: BTreeMap<String, Members>,
    /// Files of segments that were written for documents that all are lost.
    dropped: Vec<String>,
}

impl Own {
    fn of(
        coming: &[WrittenSegment],
        deletions: &[String],
        lost: &BTreeSet<String>,
        now_ms: u64,
    ) -> Self {
        let listed = coming.iter().flat_map(|written| &written.list);
        let ids = listed.map(|listed| &listed.document_id).chain(deletions);
        let mut own = Self {
            replaced: ids.filter(|id| !lost.contains(*id)).cloned().collect(),
            ..Self::default()
        };
        own.replaced.sort();
        let lost: Vec<String> = lost.iter().cloned().collect();
        for written in coming {
            let mut segment = written.segment.clone();
            if !lost.is_empty() {
                bury(&mut segment, &written.list, &lost, now_ms);
            }
            if segment.live_documents() == 0 {
                let files = [document_list_key(&segment.key), segment.key];
                own.dropped.extend(files);
                continue;
            }
            own.members.insert(segment.key.clone(), written.members());
            own.segments.push(segment);
        }
        own
    }
}

/// A re-embedding replaces every segment; one that still keeps documents alive holds some that did not come through.
async fn refuse_to_lose(
    aws: &Aws,
    space: &str,
    lists: &mut Lists,
    left: &[ManifestSegment],
) -> Result<(), StepError> {
    let Some(segment) = left.first() else {
        return Ok(());
    };
    let list = lists.of(aws, &segment.key).await?;
    let is_dead = |ordinal: usize| segment.dead_documents.contains(&(ordinal as u32));
    let first = (0..list.len()).find(|ordinal| !is_dead(*ordinal));
    Err(StepError::ReEmbedIncomplete {
        space: space.to_owned(),
        missing: left.iter().map(ManifestSegment::live_documents).sum(),
        first: first.map_or(String::new(), |at| list[at].document_id.clone()),
    })
}

/// Whether the run was published: the ledger remembers it, or what it wrote was live and is not any more.
fn is_published(edition: &Edition, run_id: &str, coming: &[WrittenSegment]) -> bool {
    let known = |written: &WrittenSegment| {
        edition.names(&written.segment.key) || edition.has_retired(&written.segment.key)
    };
    edition.holds(run_id) || coming.iter().any(known)
}

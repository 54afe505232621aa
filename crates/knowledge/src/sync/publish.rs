//! Publish: the run's parts become segments, and one conditional write of the manifest makes them live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting, chance, clock};
use retrieval::SegmentDocument;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::{BatchRow, DocumentRow, DocumentStatus, PublishedVersion, RunRow, objects};
use super::segments::{Lists, SEGMENT_PASSAGES, WrittenSegment, bury, write_segment};
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
    let mut batches = runs::batches(aws, run_id).await?;
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

/// The failure of a document that a later run has taken over while this one was under way.
const SUPERSEDED: &str = "Superseded";

/// Fails the documents that another run has taken over with another version since they were planned, and answers their
/// ids: a run may wait for hours, and what it holds of them is older than what the other brings. The last to plan a version
/// has the last word, whichever of them publishes first.
async fn give_up_lost(
    aws: &Aws,
    run_id: &str,
    batches: &mut [BatchRow],
) -> Result<BTreeSet<String>, StepError> {
    let mut all = BTreeSet::new();
    for batch in batches {
        let open = batch.documents.iter();
        let open = open.filter(|one| one.status == DocumentStatus::Embedding);
        let versions: BTreeMap<&str, &PublishedVersion> = open
            .filter_map(|one| Some((one.document_id.as_str(), one.version.as_ref()?)))
            .collect();
        // An upload's run and the one that the bucket's event starts bring the same: both publish it.
        let as_here = |row: &DocumentRow| {
            let version = versions.get(row.document_id.as_str());
            version.is_some_and(|version| row.brings(version))
        };
        let lost = progress::lost(aws, run_id, versions.keys().copied(), as_here).await?;
        if lost.is_empty() {
            continue;
        }
        let documents = batch.documents.iter_mut();
        for one in documents.filter(|one| lost.contains(&one.document_id)) {
            one.status = DocumentStatus::Failed;
            one.error = Some(SUPERSEDED.to_owned());
            one.reason = Some(
                "another run has taken it over since; what that run makes of it stands".to_owned(),
            );
            one.version = None;
        }
        let key = keys::batch(run_id, &batch.batch_id);
        aws.table.put(&key, &*batch).await?;
        all.extend(lost);
    }
    Ok(all)
}

/// Builds and stores the run's segments; the same parts give the same files.
async fn write_segments(
    aws: &Aws,
    run: &RunRow,
    batches: &[BatchRow],
    vectors: Option<&RetrieverSetting>,
) -> Result<Vec<WrittenSegment>, StepError> {
    let (run_id, space) = (run.run_id.as_str(), run.space.as_str());
    let settings = &aws.settings;
    let embedder = || {
        (
            settings.embed_model.clone(),
            settings.embed_dimensions as usize,
        )
    };
    let mut written = Vec::new();
    let mut waiting: BTreeMap<String, SegmentDocument> = BTreeMap::new();
    let mut passages = 0;
    for batch in batches {
        let Some(part_key) = &batch.part_key else {
            continue;
        };
        for document in retrieval::part::decode(&aws.bucket.get(part_key).await?)? {
            if goes_live(batch, &document.document_id) {
                passages += document.passages.len();
                waiting.insert(document.document_id.clone(), document);
            }
        }
        if passages >= SEGMENT_PASSAGES {
            vectors::write(aws, vectors, waiting.values()).await?;
            let documents = std::mem::take(&mut waiting).into_values().collect();
            written.push(write_segment(aws, space, run_id, embedder(), documents).await?);
            passages = 0;
        }
    }
    if !waiting.is_empty() {
        vectors::write(aws, vectors, waiting.values()).await?;
        let documents = waiting.into_values().collect();
        written.push(write_segment(aws, space, run_id, embedder(), documents).await?);
    }
    Ok(written)
}

fn goes_live(batch: &BatchRow, document_id: &str) -> bool {
    batch.documents.iter().any(|document| {
        document.document_id == document_id
            && matches!(
                document.status,
                DocumentStatus::Embedding | DocumentStatus::Published
            )
    })
}

/// Replaces the manifest until no other publisher is in between; answers the version that holds the run.
async fn swap(
    aws: &Aws,
    run: &RunRow,
    mut batches: Vec<BatchRow>,
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

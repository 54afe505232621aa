//! Compact: small segments become few, deleted passages leave the bucket, replaced files are removed after their grace.
//!
//! A merge reads the live documents of some segments and writes them as new ones; one conditional write of the manifest
//! puts the new in the place of the old. Whoever still reads the old files finds them until their grace is over. A kill
//! at any moment leaves the manifest whole; what was written for nothing is found by the run's next attempt, or by the
//! grace of whatever publication met it.

mod merge;
mod policy;

pub(super) use merge::documents_of;

use aws::{Aws, AwsError, clock};
use serde_json::{Value, json};

use super::StepError;
use super::publish::{MANIFEST_ATTEMPTS, give_way};
use super::segments::{Lists, WrittenSegment, bury, run_prefix};
use crate::manifest::{self, Edition, ManifestSegment, document_list_key};
use crate::runs;

/// Merges of one step, so that the step ends in its time; the next run goes on where this one ended.
const MERGES: usize = 8;

pub(super) async fn compact(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let space = runs::row(aws, run_id).await?.space;
    let mut merged = 0;
    for _ in 0..MERGES {
        let Some(edition) = manifest::edition(aws, &space).await? else {
            break;
        };
        let segments = &edition.manifest.segments;
        let chosen: Vec<ManifestSegment> = policy::choose(segments, clock::now_ms())
            .into_iter()
            .map(|at| segments[at].clone())
            .collect();
        if chosen.is_empty() {
            break;
        }
        let written = merge::merge(aws, &space, run_id, &edition.manifest, &chosen).await?;
        if !put_in_place(aws, &space, &chosen, &written).await? {
            break;
        }
        merged += chosen.len();
    }
    let removed = clean(aws, &space, run_id).await?;
    tracing::info!(run_id, merged, removed, "compacted");
    Ok(json!({ "run_id": run_id, "merged_segments": merged, "removed_objects": removed }))
}

/// Replaces the manifest until no publisher is in between; `false` when there was one each time, and the next run tries.
async fn put_in_place(
    aws: &Aws,
    space: &str,
    chosen: &[ManifestSegment],
    written: &[WrittenSegment],
) -> Result<bool, StepError> {
    let mut lists = Lists::default();
    let mut abandoned = Vec::new();
    for attempt in 0..MANIFEST_ATTEMPTS {
        let Some(current) = manifest::edition(aws, space).await? else {
            return Ok(true);
        };
        let used = |written: &WrittenSegment| {
            current.names(&written.segment.key) || current.has_retired(&written.segment.key)
        };
        // The write before was made although its answer was lost.
        if written.iter().any(used) {
            return Ok(true);
        }
        let gone = gone_since(aws, &mut lists, &current, chosen).await?;
        let mut next = successor(current, chosen, written, &gone, clock::now_ms());
        next.ledger
            .retire(std::mem::take(&mut abandoned), clock::now_ms());
        match manifest::replace(aws, space, &mut next).await {
            Ok(()) => return Ok(true),
            Err(AwsError::Conflict { .. }) => abandoned.extend_from_slice(next.objects()),
            Err(error) => return Err(error.into()),
        }
        give_way(attempt).await;
    }
    Ok(false)
}

/// Documents of the chosen segments that died while they were merged, sorted. All documents of a segment that is not live
/// any more count: they were deleted, or another compaction holds them.
async fn gone_since(
    aws: &Aws,
    lists: &mut Lists,
    current: &Edition,
    chosen: &[ManifestSegment],
) -> Result<Vec<String>, StepError> {
    let mut gone = Vec::new();
    for before in chosen {
        let now = current
            .manifest
            .segments
            .iter()
            .find(|segment| segment.key == before.key);
        if now.is_some_and(|now| now.dead_documents == before.dead_documents) {
            continue;
        }
        let list = lists.of(aws, &before.key).await?;
        let died = |ordinal: u32| {
            before.dead_documents.binary_search(&ordinal).is_err()
                && now.is_none_or(|now| now.dead_documents.binary_search(&ordinal).is_ok())
        };
        let listed = list.iter().enumerate();
        gone.extend(
            listed
                .filter(|(ordinal, _)| died(*ordinal as u32))
                .map(|(_, listed)| listed.document_id.clone()),
        );
    }
    gone.sort();
    Ok(gone)
}

/// The next version: the written segments in the place of the chosen.
fn successor(
    current: Edition,
    chosen: &[ManifestSegment],
    written: &[WrittenSegment],
    gone: &[String],
    now_ms: u64,
) -> Edition {
    let mut segments = current.manifest.segments.clone();
    segments.retain(|segment| !chosen.iter().any(|chosen| chosen.key == segment.key));
    for written in written {
        let mut segment = written.segment.clone();
        bury(&mut segment, &written.list, gone, now_ms);
        segments.push(segment);
    }
    segments.retain(|segment| segment.live_documents() > 0);
    let mut next = current.succeed(segments, now_ms);
    for written in written {
        let key = &written.segment.key;
        if next.names(key) {
            next.ledger.members.insert(key.clone(), written.members());
        } else {
            // Everything in it died while it was made.
            next.ledger
                .retire([key.clone(), document_list_key(key)], now_ms);
        }
    }
    next
}

/// Removes what was retired longer ago than the grace, and retires what this run wrote and no version names. Answers how
/// many objects were removed.
async fn clean(aws: &Aws, space: &str, run_id: &str) -> Result<usize, StepError> {
    let grace_ms = aws.settings.index.retired_grace.as_millis() as u64;
    let written = aws.bucket.list(&run_prefix(space, run_id)).await?;
    let mut abandoned = Vec::new();
    for attempt in 0..MANIFEST_ATTEMPTS {
        let Some(current) = manifest::edition(aws, space).await? else {
            return Ok(0);
        };
        let now_ms = clock::now_ms();
        let expired: Vec<String> = current
            .ledger
            .retired
            .iter()
            .filter(|retired| now_ms.saturating_sub(retired.retired_at_ms) >= grace_ms)
            .map(|retired| retired.key.clone())
            // A key is used once; should a live one ever stand here, it stays.
            .filter(|key| !current.names(key))
            .collect();
        let orphans: Vec<String> = written
            .iter()
            .map(|object| object.key.clone())
            .filter(|key| !current.names(key) && !current.has_retired(key))
            .collect();
        if expired.is_empty() && orphans.is_empty() {
            return Ok(0);
        }
        // First the objects, then the note about them: a kill in between repeats the removal.
        for key in &expired {
            aws.bucket.delete(key).await?;
        }
        let segments = current.manifest.segments.clone();
        let mut next = current.succeed(segments, now_ms);
        next.ledger
            .retired
            .retain(|retired| !expired.contains(&retired.key));
        next.ledger.retire(orphans, now_ms);
        next.ledger.retire(std::mem::take(&mut abandoned), now_ms);
        match manifest::replace(aws, space, &mut next).await {
            Ok(()) => return Ok(expired.len()),
            Err(AwsError::Conflict { .. }) => abandoned.extend_from_slice(next.objects()),
            Err(error) => return Err(error.into()),
        }
        give_way(attempt).await;
    }
    // The objects are gone; their note stays for the next run.
    Ok(0)
}

#[cfg(test)]
mod tests;

//! Publish: the run's parts become segments, and one conditional write of the manifest makes them live.

use std::collections::BTreeMap;

use aws::dynamo::keys;
use aws::dynamo::keys::BATCH_PREFIX;
use aws::{Aws, AwsError};
use retrieval::SegmentDocument;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::StepError;
use super::rows::{BatchRow, DocumentStatus, objects};
use crate::digest::sha256_hex;
use crate::manifest::{self, Manifest, ManifestSegment, document_list_key};
use crate::runs;

/// Passages in one segment. Bounds the memory of the step: 20,000 × (1024 × 4 bytes + text) is about 120 MB.
const SEGMENT_PASSAGES: usize = 20_000;

/// How often the step itself meets another publisher before it leaves the retry to the state machine.
const MANIFEST_ATTEMPTS: u32 = 5;

/// One entry of a segment's document list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedDocument {
    pub document_id: String,
    pub passages: u32,
}

/// What the run made live, for Verify.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Published {
    pub segments: Vec<ManifestSegment>,
}

pub(super) async fn publish(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let deletions: Vec<String> =
        serde_json::from_slice(&aws.bucket.get(&objects::deletions(run_id)).await?)?;
    let (segments, lists) = write_segments(aws, run_id, &run.space).await?;
    let record = serde_json::to_vec(&Published {
        segments: segments.clone(),
    })?;
    aws.bucket.put(&objects::published(run_id), record).await?;

    let mut replaced: Vec<String> = deletions;
    replaced.extend(
        lists
            .iter()
            .flatten()
            .map(|listed| listed.document_id.clone()),
    );
    replaced.sort();
    let mut version = manifest::version(aws, &run.space).await?;
    if !(segments.is_empty() && replaced.is_empty()) {
        version = swap(aws, run_id, &run.space, &segments, &replaced).await?;
    }
    Ok(json!({ "run_id": run_id, "manifest_version": version, "segments": segments.len() }))
}

/// Builds and stores the run's segments; the same parts give the same files.
async fn write_segments(
    aws: &Aws,
    run_id: &str,
    space: &str,
) -> Result<(Vec<ManifestSegment>, Vec<Vec<ListedDocument>>), StepError> {
    let batches: Vec<BatchRow> = aws
        .table
        .query_all(&keys::run_partition(run_id), BATCH_PREFIX)
        .await?;
    let (mut segments, mut lists) = (Vec::new(), Vec::new());
    let mut waiting: BTreeMap<String, SegmentDocument> = BTreeMap::new();
    let mut passages = 0;
    for batch in &batches {
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
            let (segment, list) = write_segment(aws, space, std::mem::take(&mut waiting)).await?;
            segments.push(segment);
            lists.push(list);
            passages = 0;
        }
    }
    if !waiting.is_empty() {
        let (segment, list) = write_segment(aws, space, waiting).await?;
        segments.push(segment);
        lists.push(list);
    }
    Ok((segments, lists))
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

async fn write_segment(
    aws: &Aws,
    space: &str,
    documents: BTreeMap<String, SegmentDocument>,
) -> Result<(ManifestSegment, Vec<ListedDocument>), StepError> {
    let documents: Vec<SegmentDocument> = documents.into_values().collect();
    let list: Vec<ListedDocument> = documents
        .iter()
        .map(|document| ListedDocument {
            document_id: document.document_id.clone(),
            passages: document.passages.len() as u32,
        })
        .collect();
    let (dimension, embedder) = (
        aws.settings.embed_dimensions as usize,
        aws.settings.embed_model.clone(),
    );
    let bytes = tokio::task::spawn_blocking(move || {
        retrieval::segment::build(dimension, &embedder, &documents)
    })
    .await
    .map_err(|error| StepError::SegmentUnusable {
        detail: error.to_string(),
    })??;
    let sha256 = sha256_hex(&bytes);
    let segment = ManifestSegment {
        key: format!("segments/{space}/{sha256}.seg"),
        bytes: bytes.len() as u64,
        passages: list.iter().map(|listed| listed.passages).sum(),
        dead_documents: Vec::new(),
        sha256,
    };
    aws.bucket
        .put(&document_list_key(&segment.key), serde_json::to_vec(&list)?)
        .await?;
    aws.bucket.put(&segment.key, bytes).await?;
    Ok((segment, list))
}

/// Replaces the manifest until no other publisher is in between; answers the version that holds the run.
async fn swap(
    aws: &Aws,
    run_id: &str,
    space: &str,
    segments: &[ManifestSegment],
    replaced: &[String],
) -> Result<u64, StepError> {
    for attempt in 1.. {
        let current = manifest::current(aws, space).await?;
        if let Some(current) = &current
            && current.recent_runs.iter().any(|run| run == run_id)
        {
            return Ok(current.version);
        }
        let mut next = next_manifest(aws, current, run_id, segments, replaced).await?;
        match manifest::replace(aws, space, &mut next).await {
            Ok(()) => return Ok(next.version),
            Err(AwsError::Conflict { .. }) if attempt < MANIFEST_ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AwsError::Conflict {
        detail: format!("manifest of {space}"),
    }
    .into())
}

async fn next_manifest(
    aws: &Aws,
    current: Option<Manifest>,
    run_id: &str,
    segments: &[ManifestSegment],
    replaced: &[String],
) -> Result<Manifest, StepError> {
    let mut next = current.unwrap_or(Manifest {
        version: 0,
        embedder: aws.settings.embed_model.clone(),
        dimension: aws.settings.embed_dimensions,
        segments: Vec::new(),
        documents: 0,
        passages: 0,
        recent_runs: Vec::new(),
    });
    next.version += 1;
    next.recent_runs.push(run_id.to_owned());
    let (mut documents, mut passages) = (0, 0);
    let mut live = Vec::new();
    for mut segment in std::mem::take(&mut next.segments) {
        // A segment of the same content is the one that comes; its deaths are history.
        if segments.iter().any(|coming| coming.key == segment.key) {
            continue;
        }
        let list = document_list(aws, &segment.key).await?;
        mark_dead(&mut segment, &list, replaced);
        let (count, sum) = living(&segment, &list);
        if count > 0 {
            documents += count;
            passages += sum;
            live.push(segment);
        }
    }
    for segment in segments {
        documents += document_list(aws, &segment.key).await?.len() as u64;
        passages += u64::from(segment.passages);
        live.push(segment.clone());
    }
    Ok(Manifest {
        segments: live,
        documents,
        passages,
        ..next
    })
}

async fn document_list(aws: &Aws, segment_key: &str) -> Result<Vec<ListedDocument>, StepError> {
    Ok(serde_json::from_slice(
        &aws.bucket.get(&document_list_key(segment_key)).await?,
    )?)
}

/// Adds the replaced documents of a segment to its dead. `replaced` is sorted.
fn mark_dead(segment: &mut ManifestSegment, list: &[ListedDocument], replaced: &[String]) {
    let dead = list.iter().enumerate().filter_map(|(ordinal, listed)| {
        replaced
            .binary_search(&listed.document_id)
            .is_ok()
            .then_some(ordinal as u32)
    });
    segment.dead_documents.extend(dead);
    segment.dead_documents.sort_unstable();
    segment.dead_documents.dedup();
}

/// Documents and passages of a segment that are not dead.
fn living(segment: &ManifestSegment, list: &[ListedDocument]) -> (u64, u64) {
    let alive = list.iter().enumerate().filter(|(ordinal, _)| {
        segment
            .dead_documents
            .binary_search(&(*ordinal as u32))
            .is_err()
    });
    alive.fold((0, 0), |(count, sum), (_, listed)| {
        (count + 1, sum + u64::from(listed.passages))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_documents_die_once() {
        let list: Vec<ListedDocument> = ["s.a", "s.b", "s.c"]
            .iter()
            .map(|id| ListedDocument {
                document_id: (*id).into(),
                passages: 2,
            })
            .collect();
        let check = |before: &[u32], replaced: &[&str], after: &[u32], left: (u64, u64)| {
            let mut segment = ManifestSegment {
                key: String::new(),
                sha256: String::new(),
                bytes: 0,
                passages: 6,
                dead_documents: before.to_vec(),
            };
            let replaced: Vec<String> = replaced.iter().map(|id| (*id).to_owned()).collect();
            mark_dead(&mut segment, &list, &replaced);
            assert_eq!(segment.dead_documents, after);
            assert_eq!(living(&segment, &list), left);
        };
        check(&[], &[], &[], (3, 6));
        check(&[], &["s.b"], &[1], (2, 4));
        check(&[1], &["s.b"], &[1], (2, 4));
        check(&[2], &["s.a", "s.zz"], &[0, 2], (1, 2));
        check(&[0], &["s.b", "s.c"], &[0, 1, 2], (0, 0));
    }
}

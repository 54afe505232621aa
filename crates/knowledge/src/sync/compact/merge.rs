//! Merging: the live documents of segments, read one segment at a time, written as segments of at most
//! [`SEGMENT_PASSAGES`] passages.

use std::collections::BTreeSet;

use aws::Aws;
use retrieval::{Segment, SegmentDocument};

use crate::digest::sha256_hex;
use crate::manifest::{Manifest, ManifestSegment};
use crate::sync::StepError;
use crate::sync::segments::{SEGMENT_PASSAGES, WrittenSegment, off_the_reactor, write_segment};

/// Writes the live documents of `chosen` as new segments; nothing is live yet.
pub(super) async fn merge(
    aws: &Aws,
    space: &str,
    run_id: &str,
    manifest: &Manifest,
    chosen: &[ManifestSegment],
) -> Result<Vec<WrittenSegment>, StepError> {
    let mut written = Vec::new();
    let mut waiting: Vec<SegmentDocument> = Vec::new();
    let mut passages = 0;
    for segment in chosen {
        let dead: BTreeSet<u32> = segment.dead_documents.iter().copied().collect();
        let live = move |ordinal| !dead.contains(&ordinal);
        for document in documents_of(aws, segment, live).await? {
            let more = document.passages.len();
            if passages > 0 && passages + more > SEGMENT_PASSAGES {
                let full = std::mem::take(&mut waiting);
                written.push(write_sorted(aws, space, run_id, manifest, full).await?);
                passages = 0;
            }
            passages += more;
            waiting.push(document);
        }
    }
    if !waiting.is_empty() {
        written.push(write_sorted(aws, space, run_id, manifest, waiting).await?);
    }
    Ok(written)
}

/// Sorted by id, so that the same documents give the same file whatever segments they came from.
async fn write_sorted(
    aws: &Aws,
    space: &str,
    run_id: &str,
    manifest: &Manifest,
    mut documents: Vec<SegmentDocument>,
) -> Result<WrittenSegment, StepError> {
    documents.sort_by(|left, right| left.document_id.cmp(&right.document_id));
    let embedder = (manifest.embedder.clone(), manifest.dimension as usize);
    write_segment(aws, space, run_id, embedder, documents).await
}

/// Those documents of a segment whose ordinals are wanted.
pub(in crate::sync) async fn documents_of(
    aws: &Aws,
    segment: &ManifestSegment,
    wanted: impl Fn(u32) -> bool + Send + 'static,
) -> Result<Vec<SegmentDocument>, StepError> {
    let bytes = aws.bucket.get(&segment.key).await?;
    let segment = segment.clone();
    off_the_reactor(move || {
        if sha256_hex(&bytes) != segment.sha256 {
            let detail = format!("{} does not match its checksum", segment.key);
            return Err(StepError::SegmentUnusable { detail });
        }
        let opened = Segment::from_bytes(bytes.to_vec())?;
        let others = (0..opened.document_count()).filter(|ordinal| !wanted(*ordinal));
        Ok(opened.to_documents(&others.collect())?)
    })
    .await
}

//! Merging: the live documents of segments, read one segment at a time, written as segments of at most
//! [`SEGMENT_PASSAGES`] passages.

use std::collections::BTreeSet;

use aws::Aws;
use retrieval::{Segment, SegmentDocument};

use crate::digest::sha256_hex;
use crate::manifest::{Manifest, ManifestSegment};
use crate::sync::StepError;
use crate::sync::segments::{Gathering, SEGMENT_PASSAGES, WrittenSegment, off_the_reactor};

/// Writes the live documents of `chosen`, in their order, as new segments; nothing is live yet.
pub(super) async fn merge(
    aws: &Aws,
    space: &str,
    run_id: &str,
    manifest: &Manifest,
    chosen: &[ManifestSegment],
) -> Result<Vec<WrittenSegment>, StepError> {
    let begin = || Gathering::begin(&manifest.embedder, manifest.dimension as usize);
    let mut written = Vec::new();
    let mut merged = begin()?;
    for segment in chosen {
        let dead: BTreeSet<u32> = segment.dead_documents.iter().copied().collect();
        let live = move |ordinal| !dead.contains(&ordinal);
        let mut left = documents_of(aws, segment, live).await?;
        while !left.is_empty() {
            let fitting = fitting(&left, merged.passages());
            let rest = left.split_off(fitting);
            merged = merged.push(left).await?;
            left = rest;
            if !left.is_empty() {
                let full = std::mem::replace(&mut merged, begin()?);
                written.push(full.store(aws, space, run_id).await?);
            }
        }
    }
    if !merged.is_empty() {
        written.push(merged.store(aws, space, run_id).await?);
    }
    Ok(written)
}

/// How many of the documents find room in a segment that has so many passages. An empty one takes the first, however long
/// it is.
fn fitting(documents: &[SegmentDocument], mut passages: usize) -> usize {
    let fits = documents.iter().take_while(|document| {
        let empty = passages == 0;
        passages += document.passages.len();
        empty || passages <= SEGMENT_PASSAGES
    });
    fits.count()
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
        let opened = Segment::from_bytes(Vec::from(bytes))?;
        let others = (0..opened.document_count()).filter(|ordinal| !wanted(*ordinal));
        Ok(opened.to_documents(&others.collect())?)
    })
    .await
}

//! Segments in the bucket: written with the list of their documents, and the deaths of documents in them.

use std::collections::BTreeMap;

use aws::Aws;
use retrieval::SegmentDocument;
use retrieval::segment::{Builder, Head};
use serde::{Deserialize, Serialize};

use super::StepError;
use crate::digest::sha256_hex;
use crate::manifest::{Edition, ManifestSegment, Members, document_list_key};
use crate::snapshot::PARTS_FROM_BYTES;

/// Passages in one segment. Bounds the memory of the steps: 20,000 vectors of 1024 components are 20 MB in the file and 80 MB
/// at full precision.
pub(super) const SEGMENT_PASSAGES: usize = 20_000;

/// One entry of a segment's document list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedDocument {
    pub document_id: String,
    pub passages: u32,
}

/// A segment that is stored and not yet live.
#[derive(Debug, Clone)]
pub(super) struct WrittenSegment {
    pub segment: ManifestSegment,
    pub list: Vec<ListedDocument>,
}

impl WrittenSegment {
    pub(super) fn members(&self) -> Members {
        Members::of(self.list.iter().map(|listed| listed.document_id.as_str()))
    }
}

/// Where segments of a run stand. The run is part of the name, so that a name that was retired never comes back.
pub(super) fn run_prefix(space: &str, run_id: &str) -> String {
    format!("segments/{space}/{run_id}/")
}

/// A segment that takes its documents as they come: memory holds what the file will hold, and of the documents those that
/// are being added.
pub(super) struct Gathering {
    builder: Builder,
    list: Vec<ListedDocument>,
    passages: usize,
}

impl Gathering {
    /// Begins a segment whose vectors are of `model` and have `dimension` components.
    pub(super) fn begin(model: &str, dimension: usize) -> Result<Self, StepError> {
        Ok(Self {
            builder: Builder::new(dimension, model)?,
            list: Vec::new(),
            passages: 0,
        })
    }

    pub(super) fn passages(&self) -> usize {
        self.passages
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds documents. Building is no I/O, and takes long.
    pub(super) async fn push(mut self, documents: Vec<SegmentDocument>) -> Result<Self, StepError> {
        off_the_reactor(move || {
            for document in documents {
                self.builder.push(&document)?;
                self.passages += document.passages.len();
                self.list.push(ListedDocument {
                    passages: document.passages.len() as u32,
                    document_id: document.document_id,
                });
            }
            Ok(self)
        })
        .await
    }

    /// Finishes the segment and stores it with its document list.
    pub(super) async fn store(
        self,
        aws: &Aws,
        space: &str,
        run_id: &str,
    ) -> Result<WrittenSegment, StepError> {
        let Self { builder, list, .. } = self;
        let bytes = off_the_reactor(move || Ok(builder.finish()?)).await?;
        store_segment(aws, space, run_id, bytes, list).await
    }
}

/// Stores a segment that was built, and the list of its documents before it.
async fn store_segment(
    aws: &Aws,
    space: &str,
    run_id: &str,
    bytes: Vec<u8>,
    list: Vec<ListedDocument>,
) -> Result<WrittenSegment, StepError> {
    let sha256 = sha256_hex(&bytes);
    // Only a large file is worth reading in parts, and the manifest's row is small.
    let first = match bytes.len() as u64 >= PARTS_FROM_BYTES {
        true => Head::parse(&bytes)?.first_ranges(),
        false => Vec::new(),
    };
    let segment = ManifestSegment {
        key: format!("{}{sha256}.seg", run_prefix(space, run_id)),
        bytes: bytes.len() as u64,
        passages: list.iter().map(|listed| listed.passages).sum(),
        documents: list.len() as u32,
        dead_documents: Vec::new(),
        dead_passages: 0,
        dead_since_ms: 0,
        first: first
            .into_iter()
            .map(|range| (range.start, range.end))
            .collect(),
        sha256,
    };
    aws.bucket
        .put(&document_list_key(&segment.key), serde_json::to_vec(&list)?)
        .await?;
    aws.bucket.put(&segment.key, bytes).await?;
    Ok(WrittenSegment { segment, list })
}

/// Does what takes long without I/O on a thread of its own.
pub(super) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StepError::SegmentUnusable {
            detail: error.to_string(),
        })?
}

/// Document lists of segments, each read when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Lists(BTreeMap<String, Vec<ListedDocument>>);

impl Lists {
    /// The documents of a segment in the order of their ordinals.
    pub(super) async fn of(
        &mut self,
        aws: &Aws,
        segment_key: &str,
    ) -> Result<&[ListedDocument], StepError> {
        if !self.0.contains_key(segment_key) {
            let bytes = aws.bucket.get(&document_list_key(segment_key)).await?;
            self.0
                .insert(segment_key.to_owned(), serde_json::from_slice(&bytes)?);
        }
        Ok(self.0.get(segment_key).map_or(&[], Vec::as_slice))
    }

    /// Marks those of `replaced` dead that the segment holds. Opens its list only where the edition's filter does not
    /// rule all of them out. `replaced` is sorted.
    pub(super) async fn bury(
        &mut self,
        aws: &Aws,
        edition: &Edition,
        segment: &mut ManifestSegment,
        replaced: &[String],
        now_ms: u64,
    ) -> Result<(), StepError> {
        // A manifest of an older version counts nothing and has no filter.
        let members = edition.ledger.members.get(&segment.key);
        let untouched = |members: &Members| !replaced.iter().any(|id| members.may_hold(id));
        if segment.documents > 0 && members.is_some_and(untouched) {
            return Ok(());
        }
        let list = self.of(aws, &segment.key).await?;
        bury(segment, list, replaced, now_ms);
        Ok(())
    }
}

/// Adds the replaced documents of a segment to its dead. `replaced` is sorted.
pub(super) fn bury(
    segment: &mut ManifestSegment,
    list: &[ListedDocument],
    replaced: &[String],
    now_ms: u64,
) {
    let dead = list.iter().enumerate().filter_map(|(ordinal, listed)| {
        replaced
            .binary_search(&listed.document_id)
            .is_ok()
            .then_some(ordinal as u32)
    });
    segment.dead_documents.extend(dead);
    segment.dead_documents.sort_unstable();
    segment.dead_documents.dedup();
    segment.documents = list.len() as u32;
    segment.dead_passages = segment
        .dead_documents
        .iter()
        .filter_map(|ordinal| list.get(*ordinal as usize))
        .map(|listed| listed.passages)
        .sum();
    if segment.dead_since_ms == 0 && !segment.dead_documents.is_empty() {
        segment.dead_since_ms = now_ms;
    }
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
        let check = |before: &[u32], replaced: &[&str], after: &[u32], left: (u64, u32)| {
            let mut segment = ManifestSegment {
                key: String::new(),
                sha256: String::new(),
                bytes: 0,
                passages: 6,
                documents: 0,
                dead_documents: before.to_vec(),
                dead_passages: 0,
                dead_since_ms: 0,
                first: Vec::new(),
            };
            let replaced: Vec<String> = replaced.iter().map(|id| (*id).to_owned()).collect();
            bury(&mut segment, &list, &replaced, 7);
            assert_eq!(segment.dead_documents, after);
            assert_eq!((segment.live_documents(), segment.live_passages()), left);
            assert_eq!(segment.dead_since_ms, if after.is_empty() { 0 } else { 7 });
        };
        check(&[], &[], &[], (3, 6));
        check(&[], &["s.b"], &[1], (2, 4));
        check(&[1], &["s.b"], &[1], (2, 4));
        check(&[2], &["s.a", "s.zz"], &[0, 2], (1, 2));
        check(&[0], &["s.b", "s.c"], &[0, 1, 2], (0, 0));
    }
}

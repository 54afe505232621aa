//! The segment: an immutable file of passages, made once, mapped, searched in place. Its layout is in `README.md`.

mod build;
mod columns;
mod documents;
mod format;
mod open;
mod partial;
mod passages;
mod read;
mod readers;
mod source;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::passage::{PageMark, Siblings};

pub use build::{Builder, build};
pub use format::{Head, Section, VERSION};
pub use open::Segment;
pub use partial::Partial;
pub use source::Fetch;
pub(crate) use source::Source;

/// Why a segment was refused or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("the file ends too early: {found} bytes where {expected} are needed; fetch it again")]
    Truncated { expected: u64, found: u64 },
    #[error("the file is not a segment")]
    NotASegment,
    #[error(
        "the segment has format version {found}, this program reads up to {supported}; update it"
    )]
    NewerVersion { found: u32, supported: u32 },
    #[error(
        "the segment has format version {found}, this program reads version {supported}; ingest the documents again"
    )]
    OlderVersion { found: u32, supported: u32 },
    #[error("the segment's section {section:?} is damaged; fetch the file again")]
    Corrupt { section: &'static str },
    #[error("a vector has {found} components where the segment has {expected}")]
    DimensionMismatch { expected: usize, found: usize },
    #[error(
        "segments of the embedders {first:?} and {second:?} cannot be searched together; ingest one of them again"
    )]
    MixedEmbedders { first: String, second: String },
    #[error("a part of the segment is not here yet; fetch it and read again")]
    Missing,
    #[error("the segment cannot be made: {detail}")]
    Build { detail: String },
    #[error("the segment cannot be read: {detail}")]
    Io { detail: String },
}

impl SegmentError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "SegmentTruncated",
            Self::NotASegment => "NotASegment",
            Self::NewerVersion { .. } => "SegmentVersion",
            Self::OlderVersion { .. } => "SegmentOutdated",
            Self::Corrupt { .. } => "SegmentCorrupt",
            Self::DimensionMismatch { .. } => "DimensionMismatch",
            Self::MixedEmbedders { .. } => "MixedEmbedders",
            Self::Missing => "SegmentPartMissing",
            Self::Build { .. } => "SegmentBuild",
            Self::Io { .. } => "SegmentUnreadable",
        }
    }

    fn build(detail: impl std::fmt::Display) -> Self {
        Self::Build {
            detail: detail.to_string(),
        }
    }
}

/// A document as a segment holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRecord {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub content_hash: String,
    pub readers: Vec<String>,
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Ordinals of its passages within the segment.
    pub passage_range: Range<u32>,
}

/// A passage as a segment holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPassage {
    /// Byte range in the document's text.
    pub start: u64,
    pub end: u64,
    pub heading_path: Vec<String>,
    pub pages: Vec<PageMark>,
    pub parent: Option<Siblings>,
    pub text: String,
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod partial_tests;
#[cfg(test)]
mod tests;

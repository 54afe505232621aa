//! The bytes of a segment's file, which may be here only in part.

use std::ops::Range;
use std::sync::Arc;

use tantivy::directory::OwnedBytes;

use super::SegmentError;

/// Is given the mapping of a segment's file that is here in part and told what is about to be read of it, and returns when the
/// mapping shows that, checked block by block ([`super::Head::verify`]); or refuses with [`SegmentError::Missing`], and whoever searched tries
/// again when it has come ([`super::Partial`]).
pub type Fetch = Arc<dyn Fn(&[u8], &[Range<u64>]) -> Result<(), SegmentError> + Send + Sync>;

/// A segment's file.
#[derive(Clone)]
pub(crate) struct Source {
    bytes: OwnedBytes,
    fetch: Option<Fetch>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Source")
            .field("bytes", &self.bytes.len())
            .field("partial", &self.fetch.is_some())
            .finish()
    }
}

impl Source {
    pub(crate) fn new(bytes: OwnedBytes, fetch: Option<Fetch>) -> Self {
        Self { bytes, fetch }
    }

    /// The file as it is here: where it is partial, only what was needed before is real.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether anything may have to be brought.
    pub(crate) fn is_partial(&self) -> bool {
        self.fetch.is_some()
    }

    /// Brings what is about to be read.
    pub(super) fn need(&self, ranges: &[Range<u64>]) -> Result<(), SegmentError> {
        match &self.fetch {
            Some(fetch) if !ranges.is_empty() => fetch(&self.bytes, ranges),
            _ => Ok(()),
        }
    }

    /// A range of the file, which lies within it.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<OwnedBytes, SegmentError> {
        self.need(std::slice::from_ref(&range))?;
        let (start, end) = (range.start as usize, range.end as usize);
        if start > end || end > self.bytes.len() {
            return Err(SegmentError::Truncated {
                expected: range.end,
                found: self.bytes.len() as u64,
            });
        }
        Ok(self.bytes.slice(start..end))
    }
}

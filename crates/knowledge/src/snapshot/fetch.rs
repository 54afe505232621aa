//! Objects brought from the bucket by ranged reads side by side: one connection to S3 carries less than a function's
//! network does.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws::AwsError;
use aws::s3::{Bucket, Piece};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::kept::Lease;

/// Bytes of one read. Source: Amazon S3 User Guide, "Use byte-range fetches": 8 to 16 MB.
const PIECE_BYTES: u64 = 8 << 20;
/// Reads of an object at a time.
const READS: usize = 8;
/// Reads of this process at a time: small ones wait for their first byte side by side.
const ALL_READS: usize = 32;

/// What was brought.
pub(super) enum Fetched {
    Memory(Vec<u8>),
    File(Lease),
}

/// Reads objects, so many ranges at a time over all callers.
pub(super) struct Fetcher {
    reads: Semaphore,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self {
            reads: Semaphore::new(ALL_READS),
        }
    }
}

impl Fetcher {
    /// Reads the `bytes` bytes of an object into an empty file, or into memory without one.
    pub(super) async fn whole(
        &self,
        bucket: &Bucket,
        key: &str,
        bytes: u64,
        into: Option<(File, Lease)>,
    ) -> Result<Fetched, AwsError> {
        let pieces = stream::iter(split(std::iter::once(0..bytes)))
            .map(|range| async move {
                let piece = self.read(bucket, key, range.clone(), None).await?;
                Ok::<_, AwsError>((range.start, piece))
            })
            .buffered(READS);
        futures_util::pin_mut!(pieces);
        let mut etag = None;
        let Some((file, lease)) = into else {
            let mut whole = Vec::with_capacity(bytes as usize);
            while let Some((_, piece)) = pieces.try_next().await? {
                check_same(key, &mut etag, &piece, bytes)?;
                whole.extend_from_slice(&piece.bytes);
            }
            return Ok(Fetched::Memory(whole));
        };
        let file = Arc::new(file);
        while let Some((start, piece)) = pieces.try_next().await? {
            check_same(key, &mut etag, &piece, bytes)?;
            write(file.clone(), start, piece.bytes).await?;
        }
        Ok(Fetched::File(lease))
    }

    /// Reads one range, only of the object with that ETag where one is given.
    pub(super) async fn read(
        &self,
        bucket: &Bucket,
        key: &str,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Piece, AwsError> {
        // The semaphore is never closed.
        let _permit = self.reads.acquire().await;
        bucket.get_range(key, range, etag).await
    }
}

/// The same bytes in ranges of at most [`PIECE_BYTES`]. An empty range gives none.
pub(super) fn split(ranges: impl Iterator<Item = Range<u64>>) -> impl Iterator<Item = Range<u64>> {
    ranges.flat_map(|range| {
        let starts = range.clone().step_by(PIECE_BYTES as usize);
        starts.map(move |start| start..range.end.min(start + PIECE_BYTES))
    })
}

/// All ranges must be of one object, as long as the manifest says.
fn check_same(
    key: &str,
    etag: &mut Option<String>,
    piece: &Piece,
    bytes: u64,
) -> Result<(), AwsError> {
    let first = etag.get_or_insert_with(|| piece.etag.clone());
    if *first != piece.etag {
        return Err(AwsError::Conflict {
            detail: format!("object {key} changed while it was read"),
        });
    }
    if piece.object_bytes != bytes {
        return Err(AwsError::Damaged {
            detail: format!(
                "object {key} has {} bytes where the manifest says {bytes}",
                piece.object_bytes
            ),
        });
    }
    Ok(())
}

/// Off the reactor: a full page cache makes a write wait for the disk.
async fn write(file: Arc<File>, start: u64, bytes: bytes::Bytes) -> Result<(), AwsError> {
    let written = tokio::task::spawn_blocking(move || file.write_all_at(&bytes, start)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(disk(&error)),
        Err(error) => Err(disk(&error)),
    }
}

pub(super) fn disk(error: &dyn std::fmt::Display) -> AwsError {
    AwsError::Refused {
        service: "file system",
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_an_object() {
        let check = |bytes: u64, expected: &[(u64, u64)]| {
            let pieces = split(std::iter::once(0..bytes)).map(|range| (range.start, range.end));
            assert_eq!(pieces.collect::<Vec<_>>(), expected, "{bytes}");
        };
        let piece = PIECE_BYTES;
        check(0, &[]);
        check(1, &[(0, 1)]);
        check(piece, &[(0, piece)]);
        check(piece + 1, &[(0, piece), (piece, piece + 1)]);
    }
}

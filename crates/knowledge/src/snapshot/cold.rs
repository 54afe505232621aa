//! Segments that answer before they are whole: what a search misses is brought and the search made again, round by round;
//! the rest comes when the first answer is out.
//!
//! Every block is checked against the head's checksum before anything reads it, and the file against the manifest's hash
//! when it is whole; then it is kept. A file that an earlier process kept is not compared with that hash again: its blocks
//! are checked as they are read, and what is damaged is brought. The rounds of a search are at most three: the first bytes, with which the segment is opened; the rows
//! of the candidates and the postings of the query's words; the texts of the hits.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws::AwsError;
use aws::s3::Bucket;
use aws::telemetry::{Metric, Unit, metrics};
use futures_util::{StreamExt, TryStreamExt, stream};
use retrieval::segment::Partial;
use retrieval::{Hit, Mask, Query, SearchError, SegmentError};

use super::Snapshot;
use super::fetch::{Fetcher, split};
use super::kept::Lease;
use crate::KnowledgeError;
use crate::manifest::ManifestSegment;

/// Segments below this are brought whole: at 75 MB/s that takes no longer than the rounds would.
pub const PARTS_FROM_BYTES: u64 = 8 << 20;
/// Passages of a search that are scored by their rows while segments are not whole: each may be a read.
const ROWS: usize = 128;
/// Two ranges with less between them are read as one: at 32 reads of 30 ms side by side, a read costs what 70 KB do.
const GAP_BYTES: u64 = 64 << 10;
/// A search that misses something after so many rounds is broken.
const ROUNDS: usize = 8;
/// Reads for the rest of a segment at a time, so that searches have the most of the network.
const REST_READS: usize = 4;

/// A segment that is here in part or was left here, and where the rest comes from.
pub(super) struct Cold {
    partial: Arc<Partial>,
    bucket: Bucket,
    fetcher: Arc<Fetcher>,
    key: String,
    sha256: String,
    /// Of the object that the first bytes are of.
    etag: Option<String>,
    /// Its file, as long as it was not compared with the hash.
    unproven: Option<Arc<Lease>>,
    completing: AtomicBool,
    damaged: AtomicBool,
    bytes_read: AtomicU64,
}

impl Cold {
    /// Takes a file that an earlier process kept.
    pub(super) fn left_here(
        bucket: &Bucket,
        fetcher: &Arc<Fetcher>,
        segment: &ManifestSegment,
        lease: &Lease,
    ) -> Result<Arc<Self>, SegmentError> {
        let partial = Partial::resume(&lease.path())?;
        Ok(Arc::new(Self::new(bucket, fetcher, segment, partial)))
    }

    fn new(
        bucket: &Bucket,
        fetcher: &Arc<Fetcher>,
        segment: &ManifestSegment,
        partial: Partial,
    ) -> Self {
        Self {
            partial: Arc::new(partial),
            bucket: bucket.clone(),
            fetcher: fetcher.clone(),
            key: segment.key.clone(),
            sha256: segment.sha256.clone(),
            etag: None,
            unproven: None,
            completing: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            bytes_read: AtomicU64::new(0),
        }
    }

    /// Brings the first bytes of a segment into its empty file.
    pub(super) async fn begin(
        bucket: &Bucket,
        fetcher: &Arc<Fetcher>,
        segment: &ManifestSegment,
        lease: &Arc<Lease>,
    ) -> Result<Arc<Self>, ColdError> {
        let ranges = segment.first.iter().map(|(start, end)| *start..*end);
        let reads = split(ranges).map(|range| async move {
            let start = range.start;
            let piece = fetcher.read(bucket, &segment.key, range, None).await?;
            Ok::<_, AwsError>((start, piece))
        });
        let pieces = futures_util::future::try_join_all(reads).await?;
        let (_, first) = pieces.first().ok_or(SegmentError::NotASegment)?;
        let etag = first.etag.clone();
        let same =
            |piece: &aws::s3::Piece| piece.etag == etag && piece.object_bytes == segment.bytes;
        if !pieces.iter().all(|(_, piece)| same(piece)) {
            let detail = format!("object {} is not the one of the manifest", segment.key);
            return Err(AwsError::Damaged { detail }.into());
        }
        let bytes_read = pieces
            .iter()
            .map(|(_, piece)| piece.bytes.len() as u64)
            .sum();
        let place = lease.path();
        let partial = tokio::task::spawn_blocking(move || {
            let mut pieces = pieces.iter();
            let (_, first) = pieces.next().ok_or(SegmentError::NotASegment)?;
            let partial = Partial::begin(&place, &first.bytes)?;
            for (start, piece) in pieces {
                partial.add(*start, &piece.bytes)?;
            }
            Ok::<_, SegmentError>(partial)
        });
        let partial = partial.await.map_err(|_| ColdError::Interrupted)??;
        Ok(Arc::new(Self {
            etag: Some(etag),
            unproven: Some(lease.clone()),
            bytes_read: AtomicU64::new(bytes_read),
            ..Self::new(bucket, fetcher, segment, partial)
        }))
    }

    pub(super) fn partial(&self) -> &Arc<Partial> {
        &self.partial
    }

    /// Whether what came was not what was written: the segment must be brought anew.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Brings ranges, side by side up to `at_a_time`.
    async fn bring(&self, ranges: Vec<Range<u64>>, at_a_time: usize) -> Result<(), ColdError> {
        let reads = split(ranges.into_iter()).map(|range| self.bring_one(range));
        let reads: Vec<_> = reads.collect();
        stream::iter(reads)
            .buffer_unordered(at_a_time)
            .try_collect::<()>()
            .await
            .inspect_err(|error| {
                if matches!(error, ColdError::Segment(_)) {
                    self.damaged.store(true, Ordering::Relaxed);
                }
            })
    }

    async fn bring_one(&self, range: Range<u64>) -> Result<(), ColdError> {
        let start = range.start;
        let read = self
            .fetcher
            .read(&self.bucket, &self.key, range, self.etag.as_deref());
        let piece = read.await?;
        self.bytes_read
            .fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
        let partial = self.partial.clone();
        let added = tokio::task::spawn_blocking(move || partial.add(start, &piece.bytes));
        Ok(added.await.map_err(|_| ColdError::Interrupted)??)
    }

    /// Bytes that came from the bucket.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Brings the rest in the background, checks the whole and keeps it; once at a time, and again after a failure when the
    /// next search ends.
    fn complete(self: &Arc<Self>) {
        if self.unproven.is_none() && self.partial.is_whole() {
            return;
        }
        if self.completing.swap(true, Ordering::Relaxed) {
            return;
        }
        let cold = self.clone();
        tokio::spawn(async move {
            if let Err(error) = cold.bring_rest().await {
                tracing::warn!(error = error.name(), "the rest of a segment did not come");
                cold.completing.store(false, Ordering::Relaxed);
            }
        });
    }

    async fn bring_rest(&self) -> Result<(), ColdError> {
        self.bring(self.partial.missing(), REST_READS).await?;
        let Some(lease) = self.unproven.clone() else {
            self.completing.store(false, Ordering::Relaxed);
            return Ok(());
        };
        let sha256 = self.sha256.clone();
        let proven = tokio::task::spawn_blocking(move || lease.prove(&sha256));
        let proven = proven.await.map_err(|_| ColdError::Interrupted)?;
        if proven.is_ok_and(|same| same) {
            return Ok(());
        }
        self.damaged.store(true, Ordering::Relaxed);
        let rejected = Metric {
            name: "SnapshotRejected",
            unit: Unit::Count,
            value: 1.0,
        };
        metrics(&[rejected], &[("error", "IndexUnreadable")]);
        Err(SegmentError::Corrupt { section: "file" }.into())
    }
}

/// What a snapshot read so far of the segments that are not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdReads {
    /// Times that a search had to wait for something, the opening included; 0 when all segments came whole.
    pub rounds: u64,
    pub bytes: u64,
}

impl Snapshot {
    /// Searches, and brings what is not here yet as the search asks for it.
    ///
    /// # Errors
    /// [`KnowledgeError::IndexUnreadable`]; the bucket's error.
    pub async fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, KnowledgeError> {
        let rows = (!self.is_whole()).then_some(ROWS);
        self.brought(|| self.index.search_few(query, rows)).await
    }

    /// Takes results, best first, and answers each with the larger passage that it is a part of, as
    /// [`retrieval::Index::parents`] does; brings what of those is not here yet.
    ///
    /// # Errors
    /// Those of [`Snapshot::search`].
    pub async fn parents(&self, hits: Vec<Hit>, mask: &Mask) -> Result<Vec<Hit>, KnowledgeError> {
        if hits.iter().all(|hit| hit.parent.is_none()) {
            return Ok(hits);
        }
        self.brought(|| self.index.parents(hits.clone(), mask))
            .await
    }

    /// Reads, and brings what is not here yet as the reading asks for it.
    async fn brought(
        &self,
        read: impl Fn() -> Result<Vec<Hit>, SearchError>,
    ) -> Result<Vec<Hit>, KnowledgeError> {
        let colds: Vec<&Arc<Cold>> = self.files.iter().filter_map(|held| held.cold()).collect();
        // One at a time: what a search missed must not be taken by another.
        let whole = self.is_whole();
        let mut turn = match whole {
            true => None,
            false => Some(self.searching.lock().await),
        };
        let mut outcome: Result<_, SearchError> = Err(SegmentError::Missing.into());
        for _ in 0..ROUNDS {
            outcome = read();
            let wanted = colds
                .iter()
                .map(|cold| (cold, cold.partial.take_wanted(GAP_BYTES)));
            let wanted: Vec<_> = wanted.filter(|(_, ranges)| !ranges.is_empty()).collect();
            if wanted.is_empty() && !is_missing(&outcome) {
                break;
            }
            if turn.is_none() {
                // A file that was left here is damaged. The search asks again for what another may be bringing.
                turn = Some(self.searching.lock().await);
                continue;
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
            let brought = wanted.into_iter().map(|(cold, ranges)| {
                let at_a_time = ranges.len().max(1);
                cold.bring(ranges, at_a_time)
            });
            let brought = futures_util::future::try_join_all(brought).await;
            brought.map_err(|error| self.unreadable(error))?;
        }
        let hits = outcome.map_err(|error| KnowledgeError::IndexUnreadable {
            space: self.space.clone(),
            detail: format!("{}: {error}", error.name()),
        })?;
        if !whole && !self.reported.swap(true, Ordering::Relaxed) {
            self.report_cold();
        }
        colds.iter().for_each(|cold| cold.complete());
        Ok(hits)
    }

    /// Waits until every segment is here whole: for those who read what no search asked for.
    ///
    /// # Errors
    /// [`KnowledgeError::IndexUnreadable`]; the bucket's error.
    pub async fn whole(&self) -> Result<(), KnowledgeError> {
        for held in self.files.iter().filter(|held| held.cold().is_some()) {
            // What was left here is checked, so that what is damaged is known; what is missing is brought below.
            let segment = held.segment.clone();
            let checked = tokio::task::spawn_blocking(move || segment.check().is_ok()).await;
            checked.map_err(|_| self.unreadable(ColdError::Interrupted))?;
        }
        let colds = self.files.iter().filter_map(|held| held.cold());
        let missing = colds.filter(|cold| !cold.partial.is_whole());
        let brought = missing.map(|cold| cold.bring_rest());
        let brought = futures_util::future::try_join_all(brought).await;
        brought.map_err(|error| self.unreadable(error))?;
        Ok(())
    }

    fn unreadable(&self, error: ColdError) -> KnowledgeError {
        match error {
            ColdError::Aws(error) => error.into(),
            other => KnowledgeError::IndexUnreadable {
                space: self.space.clone(),
                detail: format!("{}: {other}", other.name()),
            },
        }
    }

    /// What was read of segments that did not come whole.
    pub fn cold_reads(&self) -> ColdReads {
        let colds = self.files.iter().filter_map(|held| held.cold());
        let bytes = colds.map(|cold| cold.bytes_read());
        ColdReads {
            rounds: self.rounds.load(Ordering::Relaxed),
            bytes: bytes.sum(),
        }
    }

    /// Whether every segment is here whole.
    pub fn is_whole(&self) -> bool {
        let mut colds = self.files.iter().filter_map(|held| held.cold());
        colds.all(|cold| cold.partial.is_whole())
    }

    /// Whether a segment came otherwise than it was written.
    pub(super) fn is_damaged(&self) -> bool {
        self.files.iter().any(|held| held.is_damaged())
    }

    fn report_cold(&self) {
        let reads = self.cold_reads();
        let figure = |name, unit, value: u64| Metric {
            name,
            unit,
            value: value as f64,
        };
        metrics(
            &[
                figure("SnapshotColdRounds", Unit::Count, reads.rounds),
                figure("SnapshotColdBytes", Unit::Bytes, reads.bytes),
            ],
            &[("space", &self.space)],
        );
    }
}

fn is_missing<T>(outcome: &Result<T, SearchError>) -> bool {
    matches!(outcome, Err(SearchError::Segment(SegmentError::Missing)))
}

/// Why something of a segment did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum ColdError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("reading broke off")]
    Interrupted,
}

impl ColdError {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.name(),
            Self::Segment(error) => error.name(),
            Self::Interrupted => "Interrupted",
        }
    }
}

//! Segment files: brought from the bucket, checked, kept while a snapshot holds them. A segment that is there already is
//! not brought again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use aws::Aws;
use aws::config::IndexSettings;
use retrieval::{Segment, SegmentError};
use tempfile::{NamedTempFile, TempDir, TempPath};

use super::cold::{Cold, ColdError};
use super::fetch::{Fetched, Fetcher, disk};
use super::lock;
use super::room::{Charge, Place, Room};
use crate::KnowledgeError;
use crate::manifest::ManifestSegment;

/// A smaller segment is held in memory where there is room: a file costs two system calls for each and a page at its end.
const MEMORY_BYTES: u64 = 4 << 20;

/// A segment that is open. Its file and its room go with the last one who holds it.
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    cold: Option<Arc<Cold>>,
    // In this order: the mapping goes before the file, the file before the room is given back.
    _file: Option<TempPath>,
    _charge: Charge,
}

impl Held {
    /// Where the rest comes from, for a segment that was brought in parts.
    pub(super) fn cold(&self) -> Option<&Arc<Cold>> {
        self.cold.as_ref()
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.is_damaged())
    }
}

/// For whom a segment is brought, and how.
pub(super) struct Wanted<'a> {
    pub(super) space: &'a str,
    /// Whether the segment may answer before it is whole.
    pub(super) in_parts: bool,
    /// Makes room; answers whether there was something to let go of.
    pub(super) evict: &'a (dyn Fn() -> bool + Sync),
}

pub(super) struct Files {
    folder: TempDir,
    room: Arc<Room>,
    fetcher: Arc<Fetcher>,
    open: Mutex<HashMap<String, Weak<Held>>>,
}

impl Files {
    pub(super) fn new(settings: &IndexSettings) -> std::io::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            room: Room::new(settings),
            fetcher: Arc::default(),
            open: Mutex::new(HashMap::new()),
        })
    }

    /// A segment, from here or from the bucket.
    pub(super) async fn hold(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<Held>, KnowledgeError> {
        let known = lock(&self.open)
            .get(&segment.sha256)
            .and_then(Weak::upgrade);
        if let Some(held) = known.filter(|held| !held.is_damaged()) {
            return Ok(held);
        }
        let charge = self.make_room(segment.bytes, wanted)?;
        let in_parts =
            wanted.in_parts && charge.place() == Place::Disk && !segment.first.is_empty();
        let held = match in_parts {
            true => self.begin(aws, segment, charge).await,
            false => self.bring(aws, segment, charge).await,
        };
        let held = Arc::new(held.map_err(|error| match error {
            ColdError::Aws(error) => error.into(),
            other => KnowledgeError::IndexUnreadable {
                space: wanted.space.to_owned(),
                detail: format!("{}: {}: {other}", segment.key, other.name()),
            },
        })?);
        let mut open = lock(&self.open);
        open.retain(|_, held| held.strong_count() > 0);
        open.insert(segment.sha256.clone(), Arc::downgrade(&held));
        Ok(held)
    }

    fn make_room(&self, bytes: u64, wanted: &Wanted<'_>) -> Result<Charge, KnowledgeError> {
        let places = if bytes <= MEMORY_BYTES {
            [Place::Memory, Place::Disk]
        } else {
            [Place::Disk, Place::Memory]
        };
        loop {
            let taken = places
                .iter()
                .find_map(|place| self.room.take(*place, bytes));
            if let Some(charge) = taken {
                return Ok(charge);
            }
            if bytes > self.room.largest() || !(wanted.evict)() {
                return Err(KnowledgeError::IndexTooLarge {
                    space: wanted.space.to_owned(),
                    megabytes: bytes.div_ceil(1 << 20),
                });
            }
        }
    }

    /// The whole segment.
    async fn bring(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        charge: Charge,
    ) -> Result<Held, ColdError> {
        let folder = (charge.place() == Place::Disk).then(|| self.folder.path());
        let (key, bytes) = (&segment.key, segment.bytes);
        let fetched = self.fetcher.whole(&aws.bucket, key, bytes, folder).await?;
        let sha256 = segment.sha256.clone();
        let opened = tokio::task::spawn_blocking(move || open(fetched, &sha256));
        let (segment, file) = opened.await.map_err(|_| ColdError::Interrupted)??;
        Ok(Held {
            segment: Arc::new(segment),
            cold: None,
            _file: file,
            _charge: charge,
        })
    }

    /// As much of a segment as opening it takes.
    async fn begin(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        charge: Charge,
    ) -> Result<Held, ColdError> {
        let file = NamedTempFile::new_in(self.folder.path());
        let file = file.map_err(|error| disk(&error))?.into_temp_path();
        let cold = Cold::begin(&aws.bucket, &self.fetcher, segment, &file).await?;
        Ok(Held {
            segment: Arc::new(Segment::open_partial(&file, cold.partial().fetch())?),
            cold: Some(cold),
            _file: Some(file),
            _charge: charge,
        })
    }
}

/// Opens a segment and checks it against the hash that the manifest promises. That covers every byte, so that its blocks
/// need no check of their own.
fn open(fetched: Fetched, sha256: &str) -> Result<(Segment, Option<TempPath>), SegmentError> {
    let (segment, file) = match fetched {
        Fetched::Memory(bytes) => (Segment::from_bytes(bytes)?, None),
        Fetched::File(path) => (Segment::open_verified(&path)?, Some(path)),
    };
    match segment.id() == sha256 {
        true => Ok((segment, file)),
        false => Err(SegmentError::Corrupt { section: "file" }),
    }
}

pub(super) fn unreadable(space: &str, error: &SegmentError) -> KnowledgeError {
    KnowledgeError::IndexUnreadable {
        space: space.to_owned(),
        detail: format!("{}: {error}", error.name()),
    }
}

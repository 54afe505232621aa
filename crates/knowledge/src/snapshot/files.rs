//! Segment files: brought from the bucket, checked, kept while a snapshot holds them. A segment that is there already is
//! not brought again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use aws::Aws;
use aws::config::IndexSettings;
use retrieval::{Segment, SegmentError};
use tempfile::{TempDir, TempPath};

use super::fetch::{Fetched, Fetcher};
use super::lock;
use super::room::{Charge, Place, Room};
use crate::KnowledgeError;
use crate::manifest::ManifestSegment;

/// A smaller segment is held in memory where there is room: a file costs two system calls for each and a page at its end.
const MEMORY_BYTES: u64 = 4 << 20;

/// A segment that is open. Its file and its room go with the last one who holds it.
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    // In this order: the mapping goes before the file, the file before the room is given back.
    _file: Option<TempPath>,
    _charge: Charge,
}

pub(super) struct Files {
    folder: TempDir,
    room: Arc<Room>,
    fetcher: Fetcher,
    open: Mutex<HashMap<String, Weak<Held>>>,
}

impl Files {
    pub(super) fn new(settings: &IndexSettings) -> std::io::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            room: Room::new(settings),
            fetcher: Fetcher::default(),
            open: Mutex::new(HashMap::new()),
        })
    }

    /// A segment, from here or from the bucket. Where there is no room, `evict` is asked to make some.
    pub(super) async fn hold(
        &self,
        aws: &Aws,
        space: &str,
        segment: &ManifestSegment,
        evict: &impl Fn() -> bool,
    ) -> Result<Arc<Held>, KnowledgeError> {
        let known = lock(&self.open)
            .get(&segment.sha256)
            .and_then(Weak::upgrade);
        if let Some(held) = known {
            return Ok(held);
        }
        let charge = self.make_room(space, segment.bytes, evict)?;
        let held = Arc::new(self.bring(aws, space, segment, charge).await?);
        let mut open = lock(&self.open);
        open.retain(|_, held| held.strong_count() > 0);
        open.insert(segment.sha256.clone(), Arc::downgrade(&held));
        Ok(held)
    }

    fn make_room(
        &self,
        space: &str,
        bytes: u64,
        evict: &impl Fn() -> bool,
    ) -> Result<Charge, KnowledgeError> {
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
            if bytes > self.room.largest() || !evict() {
                return Err(KnowledgeError::IndexTooLarge {
                    space: space.to_owned(),
                    megabytes: bytes.div_ceil(1 << 20),
                });
            }
        }
    }

    async fn bring(
        &self,
        aws: &Aws,
        space: &str,
        segment: &ManifestSegment,
        charge: Charge,
    ) -> Result<Held, KnowledgeError> {
        let folder = (charge.place() == Place::Disk).then(|| self.folder.path());
        let fetched = self
            .fetcher
            .whole(&aws.bucket, &segment.key, segment.bytes, folder)
            .await?;
        let (key, sha256) = (segment.key.clone(), segment.sha256.clone());
        let opened = tokio::task::spawn_blocking(move || open(fetched, &key, &sha256));
        let opened = opened.await.map_err(|_| KnowledgeError::Interrupted)?;
        let (segment, file) = opened.map_err(|detail| KnowledgeError::IndexUnreadable {
            space: space.to_owned(),
            detail,
        })?;
        Ok(Held {
            segment: Arc::new(segment),
            _file: file,
            _charge: charge,
        })
    }
}

/// Checks a segment against the hash that the manifest promises, and opens it.
fn open(fetched: Fetched, key: &str, sha256: &str) -> Result<(Segment, Option<TempPath>), String> {
    let words = |error: SegmentError| format!("{key}: {}: {error}", error.name());
    let (segment, file) = match fetched {
        Fetched::Memory(bytes) => (Segment::from_bytes(bytes).map_err(words)?, None),
        Fetched::File(path) => (Segment::open(&path).map_err(words)?, Some(path)),
    };
    if segment.id() != sha256 {
        return Err(format!("{key} does not match its checksum"));
    }
    Ok((segment, file))
}

pub(super) fn unreadable(space: &str, error: &SegmentError) -> KnowledgeError {
    KnowledgeError::IndexUnreadable {
        space: space.to_owned(),
        detail: format!("{}: {error}", error.name()),
    }
}

//! Segment files: found where an earlier process left them or brought from the bucket, checked, kept. A segment that is
//! there already is not brought again.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, Weak};

use aws::Aws;
use aws::config::IndexSettings;
use retrieval::{Segment, SegmentError};

use super::cold::{Cold, ColdError};
use super::fetch::{Fetched, Fetcher, disk};
use super::kept::{Kept, Lease};
use super::lock;
use super::room::{Charge, Place, Room};
use crate::KnowledgeError;
use crate::manifest::ManifestSegment;

/// A smaller segment is held in memory where there is room: a file costs two system calls for each and a page at its end.
const MEMORY_BYTES: u64 = 4 << 20;

/// A segment that is open. Its room goes with the last one who holds it; its file stays if it is whole.
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    cold: Option<Arc<Cold>>,
    // In this order: the mapping goes before the file, the file before the room is given back.
    lease: Option<Arc<Lease>>,
    _charge: Charge,
}

impl Held {
    /// Where the rest comes from, for a segment that was brought in parts, and what is damaged of one that was left here.
    pub(super) fn cold(&self) -> Option<&Arc<Cold>> {
        self.cold.as_ref()
    }

    pub(super) fn came_in_parts(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.bytes_read() > 0)
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
    kept: Arc<Kept>,
    room: Arc<Room>,
    fetcher: Arc<Fetcher>,
    open: Mutex<HashMap<String, Weak<Held>>>,
}

impl Files {
    pub(super) fn new(settings: &IndexSettings) -> std::io::Result<Self> {
        Ok(Self {
            kept: Arc::new(Kept::below(&settings.folder)?),
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
        let held = match self.left_here(aws, segment, wanted.space) {
            Some(held) => held,
            None => self.bring(aws, segment, wanted).await?,
        };
        let held = Arc::new(held);
        let mut open = lock(&self.open);
        open.retain(|_, held| held.strong_count() > 0);
        open.insert(segment.sha256.clone(), Arc::downgrade(&held));
        Ok(held)
    }

    /// A segment that was left here, if its head is good and there is room. The rest of it is checked as it is read.
    fn left_here(&self, aws: &Aws, segment: &ManifestSegment, space: &str) -> Option<Held> {
        let lease = self.kept.find(aws, space, segment)?;
        let charge = self.room.take(Place::Disk, segment.bytes)?;
        let opened =
            Cold::left_here(&aws.bucket, &self.fetcher, segment, &lease).and_then(|cold| {
                let opened = Segment::open_partial(&lease.path(), cold.partial().fetch())?;
                Ok((cold, opened))
            });
        match opened {
            Ok((cold, opened)) => Some(Held {
                segment: Arc::new(opened),
                cold: Some(cold),
                lease: Some(Arc::new(lease)),
                _charge: charge,
            }),
            Err(error) => {
                tracing::warn!(error = error.name(), "a segment's file is brought anew");
                lease.discard();
                None
            }
        }
    }

    async fn bring(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        wanted: &Wanted<'_>,
    ) -> Result<Held, KnowledgeError> {
        let charge = self.make_room(segment.bytes, wanted)?;
        let on_disk = charge.place() == Place::Disk;
        let held = match wanted.in_parts && on_disk && !segment.first.is_empty() {
            true => self.begin(aws, segment, wanted.space, charge).await,
            false => self.bring_whole(aws, segment, wanted.space, charge).await,
        };
        let held = held.map_err(|error| match error {
            ColdError::Aws(error) => error.into(),
            other => KnowledgeError::IndexUnreadable {
                space: wanted.space.to_owned(),
                detail: format!("{}: {other}", other.name()),
            },
        })?;
        if !on_disk {
            self.leave(aws, segment, wanted.space, held.segment.clone());
        }
        Ok(held)
    }

    /// Lets the files of other segments of this space go.
    pub(super) fn forget_others(&self, aws: &Aws, space: &str, segments: &[ManifestSegment]) {
        self.kept.forget_others(aws, space, segments);
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

    /// Begins the file of a segment that has its charge, and removes files that were left here as far as that takes.
    fn begin_file(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        space: &str,
    ) -> Result<(File, Lease), ColdError> {
        let held: Vec<_> = lock(&self.open)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        let used = held.iter().filter_map(|held| held.lease.as_ref());
        let used = used.map(|lease| lease.path()).collect();
        self.kept.shrink(self.room.left(Place::Disk), &used);
        let begun = self.kept.begin(aws, space, segment);
        begun.map_err(|error| disk(&error).into())
    }

    /// The whole segment.
    async fn bring_whole(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        space: &str,
        charge: Charge,
    ) -> Result<Held, ColdError> {
        let into = match charge.place() {
            Place::Memory => None,
            Place::Disk => Some(self.begin_file(aws, segment, space)?),
        };
        let (key, bytes) = (&segment.key, segment.bytes);
        let fetched = self.fetcher.whole(&aws.bucket, key, bytes, into).await?;
        let sha256 = segment.sha256.clone();
        let opened = tokio::task::spawn_blocking(move || open(fetched, &sha256));
        let (opened, lease) = opened.await.map_err(|_| ColdError::Interrupted)??;
        Ok(Held {
            segment: Arc::new(opened),
            cold: None,
            lease: lease.map(Arc::new),
            _charge: charge,
        })
    }

    /// As much of a segment as opening it takes.
    async fn begin(
        &self,
        aws: &Aws,
        segment: &ManifestSegment,
        space: &str,
        charge: Charge,
    ) -> Result<Held, ColdError> {
        let (_, lease) = self.begin_file(aws, segment, space)?;
        let lease = Arc::new(lease);
        let cold = Cold::begin(&aws.bucket, &self.fetcher, segment, &lease).await?;
        Ok(Held {
            segment: Arc::new(Segment::open_partial(
                &lease.path(),
                cold.partial().fetch(),
            )?),
            cold: Some(cold),
            lease: Some(lease),
            _charge: charge,
        })
    }

    /// Leaves a segment that is held in memory for later processes, if it has room; nobody waits for that.
    fn leave(&self, aws: &Aws, segment: &ManifestSegment, space: &str, whole: Arc<Segment>) {
        let Some(charge) = self.room.take(Place::Disk, segment.bytes) else {
            return;
        };
        let begun = self.begin_file(aws, segment, space);
        tokio::task::spawn_blocking(move || {
            let written = begun.and_then(|(file, lease)| {
                let written = file.write_all_at(whole.file(), 0);
                written.map_err(|error| disk(&error))?;
                lease.keep();
                Ok(())
            });
            if let Err(error) = written {
                tracing::warn!(error = error.name(), "a segment's file is not kept");
            }
            drop(charge);
        });
    }
}

/// Opens a segment and checks it against the hash that the manifest promises, and keeps its file. That covers every byte, so
/// that its blocks need no check of their own.
fn open(fetched: Fetched, sha256: &str) -> Result<(Segment, Option<Lease>), SegmentError> {
    let (segment, lease) = match fetched {
        Fetched::Memory(bytes) => (Segment::from_bytes(bytes)?, None),
        Fetched::File(lease) => (Segment::open_verified(&lease.path())?, Some(lease)),
    };
    if segment.id() != sha256 {
        return Err(SegmentError::Corrupt { section: "file" });
    }
    lease.iter().for_each(Lease::keep);
    Ok((segment, lease))
}

pub(super) fn unreadable(space: &str, error: &SegmentError) -> KnowledgeError {
    KnowledgeError::IndexUnreadable {
        space: space.to_owned(),
        detail: format!("{}: {error}", error.name()),
    }
}

//! How many bytes of segments the process holds, on disk and in memory, within bounds.

use std::sync::{Arc, Mutex};

use aws::config::IndexSettings;

use super::lock;

/// Where a segment's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Disk,
    Memory,
}

#[derive(Debug)]
pub(super) struct Room {
    limits: [u64; 2],
    used: Mutex<[u64; 2]>,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    room: Arc<Room>,
    place: Place,
    bytes: u64,
}

impl Room {
    pub(super) fn new(settings: &IndexSettings) -> Arc<Self> {
        Arc::new(Self {
            limits: [settings.disk_bytes, settings.memory_bytes],
            used: Mutex::new([0; 2]),
        })
    }

    /// The most that any place holds.
    pub(super) fn largest(&self) -> u64 {
        self.limits[0].max(self.limits[1])
    }

    /// Bytes that are not taken.
    pub(super) fn left(&self, place: Place) -> u64 {
        self.limits[place as usize].saturating_sub(lock(&self.used)[place as usize])
    }

    /// Takes room; `None` when there is not enough.
    pub(super) fn take(self: &Arc<Self>, place: Place, bytes: u64) -> Option<Charge> {
        let mut used = lock(&self.used);
        let sum = used[place as usize].checked_add(bytes)?;
        if sum > self.limits[place as usize] {
            return None;
        }
        used[place as usize] = sum;
        Some(Charge {
            room: self.clone(),
            place,
            bytes,
        })
    }
}

impl Charge {
    pub(super) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        lock(&self.room.used)[self.place as usize] -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let room = Room::new(&IndexSettings {
            folder: "/tmp".into(),
            disk_bytes: 10,
            memory_bytes: 4,
            retired_grace: Duration::ZERO,
        });
        let first = room.take(Place::Disk, 6).unwrap();
        assert_eq!((room.left(Place::Disk), room.left(Place::Memory)), (4, 4));
        assert!(room.take(Place::Disk, 5).is_none());
        assert!(room.take(Place::Disk, u64::MAX).is_none());
        assert!(room.take(Place::Memory, 5).is_none());
        let second = room.take(Place::Memory, 4).unwrap();
        assert_eq!(
            (first.place(), second.place()),
            (Place::Disk, Place::Memory)
        );
        drop(first);
        assert!(room.take(Place::Disk, 10).is_some());
    }
}

//! One space's place: what its manifest was last seen to be, what serves, what is being loaded, what was rejected.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws::{Aws, AwsError};
use futures_util::future::{BoxFuture, Shared};

use super::{Snapshot, lock};
use crate::KnowledgeError;
use crate::manifest::{self, ManifestRow, Seen};

/// A load in flight: done when the slot is settled.
pub(super) type Load = Shared<BoxFuture<'static, ()>>;

/// A rejected version is tried again after so long, twice as long after each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Slot {
    /// When the last look at the manifest's row began. Held while one is in flight, so that there is one at a time.
    looked: tokio::sync::Mutex<Option<Instant>>,
    state: Mutex<State>,
    pub(super) used: AtomicU64,
}

#[derive(Default)]
struct State {
    seen: Option<ManifestRow>,
    live: Option<Arc<Snapshot>>,
    loading: Option<Load>,
    rejected: Option<Rejected>,
}

struct Rejected {
    identity: String,
    error: KnowledgeError,
    failures: u32,
    until: Instant,
}

/// What a query does now.
pub(super) enum Next {
    /// Nothing was published.
    Nothing,
    Serve(Arc<Snapshot>),
    Wait(Load),
    Refuse(KnowledgeError),
}

impl Slot {
    /// Looks at the manifest's row, unless a look at it began at `since` or later. Queries that meet share one that began
    /// after all of them did.
    pub(super) async fn look(
        &self,
        aws: &Aws,
        space: &str,
        since: Instant,
    ) -> Result<(), AwsError> {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked >= since) {
            return Ok(());
        }
        let begins = Instant::now();
        let row = manifest::row(aws, space).await?;
        *looked = Some(begins);
        lock(&self.state).seen = row;
        Ok(())
    }

    /// Takes what somebody else's look has found, unless a later one is known or in flight.
    pub(super) fn see(&self, seen: &Seen) {
        let Ok(mut looked) = self.looked.try_lock() else {
            return;
        };
        if looked.is_none_or(|looked| looked < seen.since) {
            *looked = Some(seen.since);
            lock(&self.state).seen.clone_from(&seen.row);
        }
    }

    pub(super) fn live(&self) -> Option<Arc<Snapshot>> {
        lock(&self.state).live.clone()
    }

    /// What a query that came at `now` does about the version that was seen last; `begin` starts its load.
    pub(super) fn next(&self, now: Instant, begin: impl FnOnce(ManifestRow) -> Load) -> Next {
        let mut state = lock(&self.state);
        let Some(seen) = state.seen.clone() else {
            return Next::Nothing;
        };
        if let Some(live) = &state.live
            && live.row == seen
        {
            if !live.is_damaged() {
                return Next::Serve(live.clone());
            }
            state.live = None;
        }
        if let Some(load) = &state.loading {
            return Next::Wait(load.clone());
        }
        if let Some(rejected) = &state.rejected
            && rejected.identity == seen.identity()
            && now < rejected.until
        {
            return match &state.live {
                Some(live) => Next::Serve(live.clone()),
                None => Next::Refuse(rejected.error.clone()),
            };
        }
        let load = begin(seen);
        state.loading = Some(load.clone());
        Next::Wait(load)
    }

    /// Notes how a load ended: a snapshot serves from now on; an error is kept beside what goes on serving.
    pub(super) fn settle(
        &self,
        identity: &str,
        outcome: Result<Snapshot, KnowledgeError>,
    ) -> Result<Arc<Snapshot>, (KnowledgeError, Option<Arc<Snapshot>>)> {
        let mut state = lock(&self.state);
        state.loading = None;
        match outcome {
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                state.rejected = None;
                // The load may have found a newer row than the one it was begun for.
                if let Some(seen) = &mut state.seen
                    && seen.identity() == identity
                {
                    *seen = snapshot.row.clone();
                }
                state.live = Some(snapshot.clone());
                Ok(snapshot)
            }
            Err(error) => {
                let before = state.rejected.as_ref();
                let same = before.filter(|before| before.identity == identity);
                let failures = same.map_or(0, |before| before.failures) + 1;
                let pause = FIRST_PAUSE * 2u32.pow(failures.min(7) - 1);
                state.rejected = Some(Rejected {
                    identity: identity.to_owned(),
                    error: error.clone(),
                    failures,
                    until: Instant::now() + pause.min(LONGEST_PAUSE),
                });
                Err((error, state.live.clone()))
            }
        }
    }

    /// Lets go of what serves. Answers whether there was something.
    pub(super) fn evict(&self) -> bool {
        lock(&self.state).live.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: u64, since: Instant) -> Seen {
        let row = serde_json::json!({"version": version, "body_sha256": version.to_string()});
        Seen {
            row: serde_json::from_value(row).unwrap(),
            since,
        }
    }

    /// Two requests read the row at the same time as others enter; what the later look found stays.
    #[test]
    fn an_earlier_look_does_not_undo_a_later_one() {
        let (slot, first) = (Slot::default(), Instant::now());
        let second = first + Duration::from_millis(1);
        for (version, since, expected) in [(7, first, 7), (8, second, 8), (7, first, 8)] {
            slot.see(&seen(version, since));
            let known = lock(&slot.state).seen.clone();
            assert_eq!(known.map(|row| row.version), Some(expected));
        }
        let empty = Seen {
            row: None,
            since: second + Duration::from_millis(1),
        };
        slot.see(&empty);
        assert_eq!(lock(&slot.state).seen, None);
    }
}

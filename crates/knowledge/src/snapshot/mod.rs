//! The live index of a space inside the process: loaded once, kept across invocations, swapped when the manifest moves.
//!
//! A query looks at the manifest's row, by one small read, and is served from the snapshot that is there. When the row
//! names another version, one load begins, outside every lock; the queries that saw the new version wait for it as long as
//! [`PATIENCE`] says and are served from the older snapshot then. A running query keeps the snapshot that it began with.
//! Segment files outlast the process ([`kept`]), as long as the manifest names them.

mod cold;
mod fetch;
mod files;
mod kept;
mod room;
mod slot;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws::config::IndexSettings;
use aws::telemetry::{Metric, Unit, metrics};
use aws::{Aws, AwsError, RetrieverSetting, clock};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use retrieval::{Index, LiveSegment};

use crate::KnowledgeError;
use crate::manifest::{self, ManifestRow};
use crate::spaces::Entered;
pub use cold::{ColdReads, PARTS_FROM_BYTES};
use files::{Files, Held, Wanted};
use slot::{Load, Next, Slot};

/// How long a query that saw a new version waits for it while an older one could serve.
const PATIENCE: Duration = Duration::from_secs(2);
/// Segments of a snapshot that are loaded at a time; their reads are bounded for the whole process.
const SEGMENTS_AT_A_TIME: usize = 16;

/// An index at one version of its manifest.
pub struct Snapshot {
    pub version: u64,
    /// The model and the components of the vectors that the segments hold.
    pub embedder: String,
    pub dimension: u32,
    pub index: Index,
    published_at_ms: u64,
    /// The row that this is the snapshot of.
    row: ManifestRow,
    /// The segments' files, whose room goes when nobody holds them any more.
    files: Vec<Arc<Held>>,
    space: String,
    /// Held by a search while segments are not whole.
    searching: tokio::sync::Mutex<()>,
    rounds: AtomicU64,
    reported: AtomicBool,
}

/// The snapshots of this process, one for each space that was asked, within the bounds of the settings.
pub struct Snapshots {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// Counts uses, so that the space that was asked longest ago can be told.
    uses: AtomicU64,
}

impl Snapshots {
    /// Keeps segment files below the temporary folder of the settings, where later processes find them.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(settings: &IndexSettings) -> std::io::Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner {
                files: Files::new(settings)?,
                slots: Mutex::new(HashMap::new()),
                uses: AtomicU64::new(0),
            }),
        })
    }

    /// Begins to load what the manifest of a space that a caller has entered names, where that is not there: beside what is
    /// done before passages are looked for.
    pub(crate) fn prefetch(&self, aws: &Aws, entered: &Entered) {
        let Some(seen) = &entered.seen else {
            return;
        };
        // A knowledge base answers for itself.
        if matches!(entered.retriever, RetrieverSetting::KnowledgeBase { .. }) {
            return;
        }
        let space = entered.space.as_str();
        let slot = self.inner.slot(space);
        slot.see(seen);
        slot.next(Instant::now(), |row| {
            self.inner.begin(aws, space, &slot, row)
        });
    }

    /// The live snapshot of a space; `None` when nothing was published. Running queries keep the one they have.
    ///
    /// # Errors
    /// [`KnowledgeError::IndexUnreadable`] or [`KnowledgeError::IndexTooLarge`] when a new snapshot cannot be loaded and
    /// no older one is there to serve; the table's error.
    pub async fn current(
        &self,
        aws: &Aws,
        space: &str,
    ) -> Result<Option<Arc<Snapshot>>, KnowledgeError> {
        self.current_since(aws, space, Instant::now()).await
    }

    /// The same, with what was published before `since`.
    ///
    /// # Errors
    /// As [`Snapshots::current`].
    pub(crate) async fn current_since(
        &self,
        aws: &Aws,
        space: &str,
        since: Instant,
    ) -> Result<Option<Arc<Snapshot>>, KnowledgeError> {
        let slot = self.inner.slot(space);
        slot.look(aws, space, since).await?;
        let begun = Instant::now();
        loop {
            let load = match slot.next(begun, |row| self.inner.begin(aws, space, &slot, row)) {
                Next::Nothing => return Ok(None),
                Next::Serve(snapshot) => return Ok(Some(snapshot)),
                Next::Refuse(error) => return Err(error),
                Next::Wait(load) => load,
            };
            match slot.live() {
                None => load.await,
                Some(live) => {
                    let left = PATIENCE.saturating_sub(begun.elapsed());
                    if tokio::time::timeout(left, load).await.is_err() {
                        return Ok(Some(live));
                    }
                }
            }
        }
    }
}

impl Inner {
    fn slot(&self, space: &str) -> Arc<Slot> {
        let slot = lock(&self.slots)
            .entry(space.to_owned())
            .or_default()
            .clone();
        slot.used.store(
            self.uses.fetch_add(1, Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
        slot
    }

    /// Starts a load that goes on whether or not its beginner waits for it.
    fn begin(self: &Arc<Self>, aws: &Aws, space: &str, slot: &Arc<Slot>, row: ManifestRow) -> Load {
        let (inner, aws, slot) = (self.clone(), aws.clone(), slot.clone());
        let space = space.to_owned();
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let identity = row.identity().to_owned();
            // While an older snapshot serves, a new one is checked whole before it does.
            let in_parts = slot.live().is_none();
            // Caught, for a slot whose load never ends would wait for ever.
            let loading =
                std::panic::AssertUnwindSafe(inner.load_newest(&aws, &space, row, in_parts));
            let outcome = loading.catch_unwind().await;
            let outcome = outcome.unwrap_or(Err(KnowledgeError::Interrupted));
            match slot.settle(&identity, outcome) {
                Ok(snapshot) => report_load(&space, &snapshot, begun),
                Err((error, live)) => report_rejection(&space, &error, live.as_deref()),
            }
        });
        task.map(drop).boxed().shared()
    }

    /// Loads the snapshot that a row names. What it names may have been removed since; then a newer row is there.
    async fn load_newest(
        &self,
        aws: &Aws,
        space: &str,
        mut row: ManifestRow,
        in_parts: bool,
    ) -> Result<Snapshot, KnowledgeError> {
        loop {
            match self.load(aws, space, &row, in_parts).await {
                Err(KnowledgeError::Aws(AwsError::Missing { what })) => {
                    match manifest::row(aws, space).await? {
                        Some(newer) if newer != row => row = newer,
                        _ => {
                            return Err(KnowledgeError::IndexUnreadable {
                                space: space.to_owned(),
                                detail: format!("{what} does not exist"),
                            });
                        }
                    }
                }
                outcome => return outcome,
            }
        }
    }

    async fn load(
        &self,
        aws: &Aws,
        space: &str,
        row: &ManifestRow,
        in_parts: bool,
    ) -> Result<Snapshot, KnowledgeError> {
        let manifest = manifest::body(aws, row).await?;
        let evict = || self.evict_other_than(space);
        let wanted = Wanted {
            space,
            in_parts,
            evict: &evict,
        };
        let holding: Vec<_> = manifest
            .segments
            .iter()
            .map(|segment| self.files.hold(aws, segment, &wanted))
            .collect();
        let held: Vec<Arc<Held>> = stream::iter(holding)
            .buffered(SEGMENTS_AT_A_TIME)
            .try_collect()
            .await?;
        let live = held.iter().zip(&manifest.segments);
        let live = live.map(|(held, segment)| LiveSegment {
            segment: held.segment.clone(),
            dead_documents: BTreeSet::from_iter(segment.dead_documents.iter().copied()),
        });
        let index = Index::new(live.collect()).map_err(|error| files::unreadable(space, &error))?;
        self.files.forget_others(aws, space, &manifest.segments);
        Ok(Snapshot {
            version: manifest.version,
            embedder: manifest.embedder,
            dimension: manifest.dimension,
            published_at_ms: manifest.published_at_ms,
            row: row.clone(),
            index,
            rounds: AtomicU64::new(u64::from(held.iter().any(|held| held.came_in_parts()))),
            files: held,
            space: space.to_owned(),
            searching: tokio::sync::Mutex::new(()),
            reported: AtomicBool::new(false),
        })
    }

    /// Lets go of the snapshot of the space that was asked longest ago. Answers whether there was one. A query that runs
    /// on it keeps it.
    fn evict_other_than(&self, space: &str) -> bool {
        let slots = lock(&self.slots);
        let mut others: Vec<_> = slots.iter().filter(|(name, _)| *name != space).collect();
        others.sort_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
        let evicted = others.into_iter().find(|(_, slot)| slot.evict());
        if let Some((evicted, _)) = evicted {
            tracing::info!(space = evicted, "evicted from memory");
        }
        evicted.is_some()
    }
}

fn report_load(space: &str, snapshot: &Snapshot, begun: Instant) {
    let load = Metric {
        name: "SnapshotLoadMs",
        unit: Unit::Milliseconds,
        value: begun.elapsed().as_secs_f64() * 1e3,
    };
    metrics(&[load, age(snapshot)], &[("space", space)]);
}

fn report_rejection(space: &str, error: &KnowledgeError, live: Option<&Snapshot>) {
    tracing::error!(
        space,
        error = error.name(),
        serving = live.map_or(0, |live| live.version),
        "a new snapshot was rejected"
    );
    let mut figures = vec![Metric {
        name: "SnapshotRejected",
        unit: Unit::Count,
        value: 1.0,
    }];
    figures.extend(live.map(age));
    metrics(&figures, &[("space", space), ("error", error.name())]);
}

/// Seconds since the publication that serves.
fn age(snapshot: &Snapshot) -> Metric {
    let age_ms = clock::now_ms().saturating_sub(snapshot.published_at_ms);
    Metric {
        name: "SnapshotAge",
        unit: Unit::Seconds,
        value: age_ms as f64 / 1e3,
    }
}

/// A lock whose holder panicked: what it guards is replaced whole, never half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Files that people put into a bucket's folder, change and remove there. They are objects from then on, so they are told of like
//! those that come through the API.
//!
//! The folder is looked through again and again, which every file system allows; what is being copied is told of once it
//! has stayed the same from one look to the next. What was changed while nothing ran, the next sync finds.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::long_keys;
use super::told::{Place, Stamp, Told};

/// The pause between two looks: two seconds, and so long that looking takes a fiftieth of the time.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
const PAUSES_PER_LOOK: u32 = 50;

/// What one look found otherwise than it was told: the file as it is now, `None` where it is gone.
pub(super) type Unsettled = HashMap<Place, Option<Stamp>>;

impl Told {
    /// Tells of what people do in the folders, without an end.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut unsettled = Unsettled::new();
        let mut pause = LEAST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            if let Err(error) = self.look_once(&mut unsettled).await {
                tracing::warn!(%error, "the buckets' folder cannot be looked through");
            }
            pause = LEAST_PAUSE.max(begun.elapsed() * PAUSES_PER_LOOK);
        }
    }

    /// Looks through the folders and tells of what was found so the last time too.
    ///
    /// # Errors
    /// What the file system says; nothing is told then.
    pub(super) async fn look_once(
        self: &Arc<Self>,
        unsettled: &mut Unsettled,
    ) -> std::io::Result<()> {
        let told = self.clone();
        let found = tokio::task::spawn_blocking(move || told.look()).await;
        let found = found.map_err(std::io::Error::other)??;
        for (place, stamp) in self.settled(&found, unsettled) {
            self.by_hand(place, stamp).await;
        }
        Ok(())
    }

    /// The files that may be told of, as they are now.
    pub(super) fn look(&self) -> std::io::Result<HashMap<Place, Stamp>> {
        let mut found = HashMap::new();
        for bucket in self.buckets() {
            let root = self.folder.join(bucket);
            let mut folders = vec![root.clone()];
            while let Some(folder) = folders.pop() {
                let entries = match std::fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    // Gone since it was seen.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    let entry = entry?;
                    let path = entry.path();
                    let Some(key) = path.strip_prefix(&root).ok().and_then(Path::to_str) else {
                        continue;
                    };
                    let Ok(about) = entry.metadata() else {
                        continue;
                    };
                    if !about.is_dir() {
                        found.insert((bucket.clone(), key.to_owned()), Stamp::of(&about));
                    } else if self.may_hold(&format!("{key}/")) {
                        folders.push(path);
                    }
                }
            }
        }
        Ok(found)
    }

    /// What differs from what was told and was found so twice running.
    fn settled(
        &self,
        found: &HashMap<Place, Stamp>,
        unsettled: &mut Unsettled,
    ) -> Vec<(Place, Option<Stamp>)> {
        let seen = self.seen();
        let changed = found
            .iter()
            .filter(|(place, stamp)| seen.get(*place) != Some(*stamp))
            .map(|(place, stamp)| (place.clone(), Some(*stamp)));
        let gone = seen.keys().filter(|place| !found.contains_key(*place));
        let gone = gone.map(|place| (place.clone(), None));
        let mut settled = Vec::new();
        let mut next = Unsettled::new();
        for (place, stamp) in changed.chain(gone) {
            match unsettled.get(&place) == Some(&stamp) {
                true => settled.push((place, stamp)),
                false => drop(next.insert(place, stamp)),
            }
        }
        *unsettled = next;
        settled
    }

    async fn by_hand(&self, (bucket, stored): Place, stamp: Option<Stamp>) {
        let original = long_keys::original(&self.folder, &stored).await;
        let key = original.as_ref().unwrap_or(&stored);
        match stamp {
            Some(stamp) => {
                // Also of what nobody waits for, so that it is not found again.
                self.seen().insert((bucket.clone(), stored.clone()), stamp);
                self.written(&bucket, key, "PutObject").await;
            }
            None => {
                self.seen().remove(&(bucket.clone(), stored.clone()));
                self.deleted(&bucket, key);
            }
        }
    }
}

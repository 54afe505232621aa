//! Where knowledge bases are kept: one JSON file each, and beside it a part file with its passages and their vectors.
//! Both are replaced whole, passages first: a killed process leaves documents that are read again, never ones that are
//! told to be there and are not.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use retrieval::{Index, LiveSegment, Segment, SegmentDocument};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::super::agents::rules;
use super::super::wire::{ErrorName, WireError};
use super::limits::Limits;
use super::record::{Base, DataSource, Job};

/// A data source: the ids of its knowledge base and its own.
pub(super) type Place = (String, String);

/// The knowledge bases. Clones share them.
#[derive(Clone, Default)]
pub(in crate::bedrock) struct Bases {
    /// Without a folder they live in memory only.
    folder: Option<PathBuf>,
    held: Arc<Mutex<BTreeMap<String, Held>>>,
    turn: Arc<Turn<()>>,
    pub(super) limits: Limits,
}

/// A knowledge base with what it has read.
struct Held {
    base: Base,
    /// By data source and key; [`passages_key`].
    passages: BTreeMap<String, SegmentDocument>,
    /// Whether the passages have changed since they were written.
    unwritten: bool,
    /// Over the passages, until they change.
    index: Option<Arc<Index>>,
}

impl Held {
    fn new(base: Base, passages: Vec<SegmentDocument>) -> Self {
        let passages = passages.into_iter();
        Self {
            base,
            passages: passages
                .map(|document| (document.document_id.clone(), document))
                .collect(),
            unwritten: false,
            index: None,
        }
    }

    fn has_changed(&mut self) {
        (self.unwritten, self.index) = (true, None);
    }
}

impl std::fmt::Debug for Bases {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bases")
    }
}

fn passages_key(source: &str, key: &str) -> String {
    format!("{source}/{key}")
}

fn unknown(id: &str) -> WireError {
    rules::not_found(&format!("Knowledge base {id}"))
}

pub(super) fn unknown_source(place: &Place) -> WireError {
    let (base, source) = place;
    rules::not_found(&format!("Data source {source} of knowledge base {base}"))
}

impl Bases {
    /// Reads the knowledge bases of `folder`.
    ///
    /// # Errors
    /// A folder that cannot be read, or a file in it that is none of ours; the message names the file.
    pub(in crate::bedrock) fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut held = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let wrong = |error: &dyn std::fmt::Display| {
                std::io::Error::other(format!("{}: {error}", path.display()))
            };
            let base: Base =
                serde_json::from_slice(&std::fs::read(&path)?).map_err(|error| wrong(&error))?;
            let passages = match std::fs::read(path.with_extension("part")) {
                Ok(bytes) => retrieval::part::decode(&bytes).map_err(|error| wrong(&error))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            held.insert(base.id.clone(), Held::new(base, passages));
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
            held: Arc::new(Mutex::new(held)),
            ..Self::default()
        })
    }

    /// Waits until nobody works on a document. What was read for an earlier call about it would else come last.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The id of a knowledge base that is here, by its id or ARN.
    pub(in crate::bedrock) fn known(&self, id_or_arn: &str) -> Option<String> {
        let id = match id_or_arn.split_once(":knowledge-base/") {
            Some((arn, id)) => arn.starts_with("arn:").then_some(id)?,
            None => id_or_arn,
        };
        self.lock().contains_key(id).then(|| id.to_owned())
    }

    /// All of them, in the order of their creation.
    pub(super) fn all(&self) -> Vec<Base> {
        let mut all: Vec<Base> = self.lock().values().map(|held| held.base.clone()).collect();
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        all
    }

    /// What `look` sees of a knowledge base.
    pub(super) fn look<T>(
        &self,
        id: &str,
        look: impl FnOnce(&Base) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        look(&self.lock().get(id).ok_or_else(|| unknown(id))?.base)
    }

    /// What `look` sees of a data source.
    pub(super) fn look_at_source<T>(
        &self,
        place: &Place,
        look: impl FnOnce(&DataSource) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.look(&place.0, |base| look(source_of(base, place)?))
    }

    /// Adds what `make` makes of those there are.
    pub(super) fn create(
        &self,
        make: impl FnOnce(&[&Base]) -> Result<Base, WireError>,
    ) -> Result<Base, WireError> {
        let mut held = self.lock();
        let all: Vec<&Base> = held.values().map(|held| &held.base).collect();
        let base = make(&all)?;
        let mut one = Held::new(base.clone(), Vec::new());
        self.write(&mut one)?;
        held.insert(base.id.clone(), one);
        Ok(base)
    }

    /// Changes a knowledge base: all of `change`, kept on disk, or nothing of it.
    pub(super) fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Base) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut held = self.lock();
        let one = held.get_mut(id).ok_or_else(|| unknown(id))?;
        let before = one.base.clone();
        let result = change(&mut one.base).and_then(|result| {
            self.write(one)?;
            Ok(result)
        });
        if result.is_err() {
            one.base = before;
        }
        result
    }

    /// Changes a data source.
    pub(super) fn change_source<T>(
        &self,
        place: &Place,
        change: impl FnOnce(&mut DataSource) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.change(&place.0, |base| change(source_of_mut(base, place)?))
    }

    /// Notes something of a data source that is worth nothing after the process has ended.
    pub(super) fn note(&self, place: &Place, note: impl FnOnce(&mut DataSource)) {
        if let Some(one) = self.lock().get_mut(&place.0)
            && let Ok(source) = source_of_mut(&mut one.base, place)
        {
            note(source);
        }
    }

    pub(super) fn remove(&self, id: &str) -> Result<(), WireError> {
        let mut held = self.lock();
        if held.remove(id).is_none() {
            return Err(unknown(id));
        }
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        for extension in ["json", "part"] {
            match std::fs::remove_file(folder.join(format!("{id}.{extension}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(unwritten(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in what was read of a document, in the place of what was there.
    pub(super) fn put_passages(&self, place: &Place, key: &str, document: SegmentDocument) {
        if let Some(held) = self.lock().get_mut(&place.0) {
            let key = passages_key(&place.1, key);
            let document = SegmentDocument {
                document_id: key.clone(),
                ..document
            };
            held.passages.insert(key, document);
            held.has_changed();
        }
    }

    /// Forgets what was read of a document, or with `None` of a whole data source.
    pub(super) fn drop_passages(&self, place: &Place, key: Option<&str>) {
        if let Some(held) = self.lock().get_mut(&place.0) {
            match key {
                Some(key) => {
                    held.passages.remove(&passages_key(&place.1, key));
                }
                None => {
                    let prefix = passages_key(&place.1, "");
                    held.passages.retain(|key, _| !key.starts_with(&prefix));
                }
            }
            held.has_changed();
        }
    }

    /// Keeps what was noted on disk.
    pub(super) fn keep(&self, id: &str) -> Result<(), WireError> {
        let mut held = self.lock();
        self.write(held.get_mut(id).ok_or_else(|| unknown(id))?)
    }

    /// The index over a knowledge base's passages; `None` while there are none.
    pub(super) fn index(&self, id: &str) -> Result<Option<Arc<Index>>, WireError> {
        let documents: Vec<SegmentDocument> = {
            let held = self.lock();
            let one = held.get(id).ok_or_else(|| unknown(id))?;
            if one.index.is_some() || one.passages.is_empty() {
                return Ok(one.index.clone());
            }
            one.passages.values().cloned().collect()
        };
        let index = Arc::new(built(&documents)?);
        if let Some(one) = self.lock().get_mut(id)
            && one.passages.len() == documents.len()
            && one.passages.values().eq(documents.iter())
        {
            one.index = Some(index.clone());
        }
        Ok(Some(index))
    }

    /// The jobs that had not ended when the process did.
    pub(super) fn unfinished_jobs(&self) -> Vec<(Place, String)> {
        let held = self.lock();
        let mut found = Vec::new();
        for base in held.values().map(|held| &held.base) {
            for source in &base.sources {
                let open = source.jobs.iter().filter(|job| !job.status.is_final());
                let place = (base.id.clone(), source.id.clone());
                found.extend(open.map(|job| (place.clone(), job.id.clone())));
            }
        }
        found
    }

    /// Where documents were sent and not read when the process ended.
    pub(super) fn sources_with_pending_documents(&self) -> Vec<Place> {
        let held = self.lock();
        let mut found = Vec::new();
        for base in held.values().map(|held| &held.base) {
            for source in &base.sources {
                let mut documents = source.documents.values();
                if documents.any(|document| document.status.is_pending()) {
                    found.push((base.id.clone(), source.id.clone()));
                }
            }
        }
        found
    }

    /// Passages first, where they have changed, then the record that speaks of them.
    fn write(&self, held: &mut Held) -> Result<(), WireError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = |extension: &str| folder.join(format!("{}.{extension}", held.base.id));
        if held.unwritten {
            let passages: Vec<SegmentDocument> = held.passages.values().cloned().collect();
            let part = retrieval::part::encode(&passages).map_err(std::io::Error::other);
            part.and_then(|bytes| replace(&path("part"), &bytes))
                .map_err(|error| unwritten(&error))?;
        }
        serde_json::to_vec_pretty(&held.base)
            .map_err(std::io::Error::other)
            .and_then(|bytes| replace(&path("json"), &bytes))
            .map_err(|error| unwritten(&error))?;
        held.unwritten = false;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_of<'a>(base: &'a Base, place: &Place) -> Result<&'a DataSource, WireError> {
    let mut sources = base.sources.iter();
    let found = sources.find(|source| source.id == place.1);
    found.ok_or_else(|| unknown_source(place))
}

fn source_of_mut<'a>(base: &'a mut Base, place: &Place) -> Result<&'a mut DataSource, WireError> {
    let mut sources = base.sources.iter_mut();
    let found = sources.find(|source| source.id == place.1);
    found.ok_or_else(|| unknown_source(place))
}

/// A job of a data source.
pub(super) fn job_of<'a>(
    source: &'a mut DataSource,
    place: &Place,
    id: &str,
) -> Result<&'a mut Job, WireError> {
    let (base, source_id) = place;
    let mut jobs = source.jobs.iter_mut();
    jobs.find(|job| job.id == id).ok_or_else(|| {
        rules::not_found(&format!(
            "Ingestion job {id} of data source {source_id} of knowledge base {base}"
        ))
    })
}

fn built(documents: &[SegmentDocument]) -> Result<Index, WireError> {
    let unusable = |error: retrieval::SegmentError| {
        WireError::new(ErrorName::InternalServer, error.to_string())
    };
    let mut passages = documents.iter().flat_map(|document| &document.passages);
    let dimension = passages.next().map_or(1, |passage| passage.vector.len());
    let bytes = retrieval::segment::build(dimension, "knowledge-base", documents);
    let segment = Segment::from_bytes(bytes.map_err(unusable)?).map_err(unusable)?;
    let live = LiveSegment {
        segment: Arc::new(segment),
        dead_documents: Default::default(),
    };
    Index::new(vec![live]).map_err(unusable)
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

fn unwritten(error: &std::io::Error) -> WireError {
    tracing::error!(%error, "a knowledge base could not be kept");
    WireError::new(
        ErrorName::InternalServer,
        "The knowledge base could not be written to the data folder; is the disk full?",
    )
}

//! Where agents are kept: one JSON file an agent, replaced whole, so that a killed process leaves the old or the new one.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::wire::{ErrorName, WireError};
use super::agent::Definition;
use super::alias::Alias;
use super::rules;

/// Everything that is known of one agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Record {
    pub(in crate::bedrock) id: String,
    pub(super) client_token: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(in crate::bedrock) draft: Definition,
    /// The draft has changed since it was prepared.
    pub(super) dirty: bool,
    pub(in crate::bedrock) prepared: Option<Prepared>,
    pub(in crate::bedrock) versions: BTreeMap<u32, Version>,
    pub(super) last_version: u32,
    pub(in crate::bedrock) aliases: Vec<Alias>,
    /// Tags of the agent and of its aliases, by ARN.
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
}

/// The draft as PrepareAgent found it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Prepared {
    pub(super) at: String,
    pub(in crate::bedrock) definition: Definition,
}

/// A numbered version: what was prepared when it was made. It never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Version {
    pub(super) created_at: String,
    pub(in crate::bedrock) definition: Definition,
}

impl Record {
    /// A definition by version: `DRAFT`, or a number.
    pub(super) fn definition(&self, version: &str) -> Result<&Definition, WireError> {
        if version == "DRAFT" {
            return Ok(&self.draft);
        }
        self.version(version).map(|version| &version.definition)
    }

    pub(super) fn version(&self, version: &str) -> Result<&Version, WireError> {
        let number: Option<u32> = version.parse().ok();
        number
            .and_then(|number| self.versions.get(&number))
            .ok_or_else(|| rules::not_found(&format!("Version {version} of agent {}", self.id)))
    }

    /// The draft was changed just now.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
        self.updated_at = rules::now();
    }
}

/// The agents. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::bedrock) struct Agents {
    /// Without a folder they live in memory only.
    folder: Option<PathBuf>,
    records: Arc<Mutex<BTreeMap<String, Record>>>,
}

impl Agents {
    /// Reads the agents of `folder`.
    ///
    /// # Errors
    /// A folder that cannot be read, or a file in it that is no agent; the message names the file.
    pub(in crate::bedrock) fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut records = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record: Record = serde_json::from_slice(&std::fs::read(&path)?)
                .map_err(|error| std::io::Error::other(format!("{}: {error}", path.display())))?;
            records.insert(record.id.clone(), record);
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
            records: Arc::new(Mutex::new(records)),
        })
    }

    pub(in crate::bedrock) fn get(&self, id: &str) -> Result<Record, WireError> {
        self.lock().get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// All agents, in the order of their creation.
    pub(super) fn all(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.lock().values().cloned().collect();
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        all
    }

    /// Adds what `make` makes of the agents there are.
    pub(super) fn create(
        &self,
        make: impl FnOnce(&BTreeMap<String, Record>) -> Result<Record, WireError>,
    ) -> Result<Record, WireError> {
        let mut records = self.lock();
        let record = make(&records)?;
        self.write(&record)?;
        records.insert(record.id.clone(), record.clone());
        Ok(record)
    }

    /// Changes an agent: all of `change`, kept on disk, or nothing of it.
    pub(super) fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Record) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut records = self.lock();
        let mut record = records.get(id).cloned().ok_or_else(|| unknown(id))?;
        let result = change(&mut record)?;
        self.write(&record)?;
        records.insert(id.to_owned(), record);
        Ok(result)
    }

    pub(super) fn remove(&self, id: &str) -> Result<(), WireError> {
        let mut records = self.lock();
        if !records.contains_key(id) {
            return Err(unknown(id));
        }
        if let Some(path) = self.path(id) {
            std::fs::remove_file(&path).map_err(|error| unwritten(&error))?;
        }
        records.remove(id);
        Ok(())
    }

    fn write(&self, record: &Record) -> Result<(), WireError> {
        let Some(path) = self.path(&record.id) else {
            return Ok(());
        };
        let beside = path.with_extension("json.part");
        serde_json::to_vec_pretty(record)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&beside, bytes))
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(|error| unwritten(&error))
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{id}.json")))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: &str) -> WireError {
    rules::not_found(&format!("Agent {id}"))
}

fn unwritten(error: &std::io::Error) -> WireError {
    tracing::error!(%error, "an agent could not be kept");
    WireError::new(
        ErrorName::InternalServer,
        "The agent could not be written to the data folder; is the disk full?",
    )
}

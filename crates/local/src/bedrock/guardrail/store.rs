//! Every guardrail that was made, with its versions, in one file below the data folder. The file is replaced whole, so
//! that a killed process leaves the old one or the new one.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::wire::{ErrorName, WireError};
use super::policy::{self, Config};

/// The version that can be changed.
pub(super) const DRAFT: &str = "DRAFT";
/// The version of a guardrail that comes from the template.
const FIRST: u32 = 1;

/// A guardrail's policies at one version.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Version {
    pub(super) config: Config,
    pub(super) description: Option<String>,
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Stored {
    pub(super) draft: Version,
    pub(super) versions: BTreeMap<u32, Version>,
    /// Numbers are never given twice.
    pub(super) next: u32,
}

/// All guardrails, shared by the router's clones.
#[derive(Clone, Debug, Default)]
pub(in crate::bedrock) struct Guardrails {
    stored: Arc<Mutex<BTreeMap<String, Stored>>>,
    file: Option<Arc<PathBuf>>,
}

impl Guardrails {
    /// What `folder` holds, kept there from now on.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub(in crate::bedrock) fn open(folder: &Path) -> Result<Self, String> {
        let file = folder.join("guardrails.json");
        let stored = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("{} is damaged ({error})", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(format!("{} cannot be read ({error})", file.display())),
        };
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{} cannot be made ({error})", folder.display()))?;
        Ok(Self {
            stored: Arc::new(Mutex::new(stored)),
            file: Some(Arc::new(file)),
        })
    }

    /// A guardrail of the template, under its own id. The template is right: DRAFT and version 1 are what it says.
    pub(in crate::bedrock) fn seed(
        &self,
        id: &str,
        properties: Value,
        now_ms: u64,
    ) -> Result<(), String> {
        let config = policy::from_properties(properties).map_err(|error| error.message)?;
        let version = Version {
            config,
            description: None,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let mut stored = self.lock();
        if stored.get(id).is_some_and(|old| {
            old.draft.config == version.config && old.versions.contains_key(&FIRST)
        }) {
            return Ok(());
        }
        let guardrail = stored.entry(id.to_owned()).or_insert_with(|| Stored {
            draft: version.clone(),
            versions: BTreeMap::new(),
            next: FIRST + 1,
        });
        guardrail.draft = version.clone();
        guardrail.versions.insert(FIRST, version);
        self.save(&stored).map_err(|error| error.message)
    }

    /// The policies of a guardrail at a version, by id or ARN.
    pub(super) fn find(
        &self,
        identifier: &str,
        version: &str,
    ) -> Result<(String, Version), WireError> {
        let id = id_of(identifier);
        let stored = self.lock();
        let guardrail = stored.get(id).ok_or_else(missing)?;
        Ok((id.to_owned(), guardrail.at(version)?.clone()))
    }

    /// Reads everything; writers use [`Self::change`].
    pub(super) fn read<T>(&self, look: impl FnOnce(&BTreeMap<String, Stored>) -> T) -> T {
        look(&self.lock())
    }

    /// Changes something and stores it; when the change fails nothing is stored.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Stored>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut stored = self.lock();
        let mut next = stored.clone();
        let done = change(&mut next)?;
        self.save(&next)?;
        *stored = next;
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, stored: &BTreeMap<String, Stored>) -> Result<(), WireError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let beside = file.with_extension("json.part");
        let written = serde_json::to_vec_pretty(stored)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&beside, bytes))
            .and_then(|()| std::fs::rename(&beside, file.as_path()));
        written.map_err(|error| {
            let words = format!("The guardrails could not be stored: {error}");
            WireError::new(ErrorName::InternalServer, words)
        })
    }
}

impl Stored {
    pub(super) fn at(&self, version: &str) -> Result<&Version, WireError> {
        match version {
            DRAFT => Ok(&self.draft),
            number => number
                .parse()
                .ok()
                .and_then(|number: u32| self.versions.get(&number))
                .ok_or_else(missing),
        }
    }
}

/// The id in an id or an ARN.
pub(super) fn id_of(identifier: &str) -> &str {
    match identifier.starts_with("arn:") {
        true => identifier
            .rsplit_once(":guardrail/")
            .map_or("", |(_, id)| id),
        false => identifier,
    }
}

pub(super) fn missing() -> WireError {
    WireError::new(
        ErrorName::ResourceNotFound,
        "The guardrail identifier or version provided in the request does not exist.",
    )
}

//! What is remembered of a source between the slices of a run, and between runs: one object, written whole.

use std::collections::{BTreeMap, BTreeSet};

use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

/// A document of a source, by the id that the source gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// The document's name in the space.
    pub name: String,
    /// What the source calls this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Digest of the bytes that were written.
    pub digest: String,
    /// Digest of the sidecar that was written.
    pub sidecar: String,
    /// Whether its readers are those of the source's setting, and not its own.
    pub inherits: bool,
    /// The source holds it no longer; the next plan that the brake lets pass takes it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl Item {
    /// Has the source give the document again, as if it had changed.
    pub(super) fn forget_version(&mut self) {
        (self.version, self.etag, self.last_modified) = (None, None, None);
        (self.digest, self.sidecar) = (String::new(), String::new());
    }
}

/// Why a document could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub name: String,
    pub error: String,
    pub reason: String,
}

/// How far one run is with a source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sweep {
    pub run_id: String,
    pub position: Option<String>,
    pub done: bool,
    /// Ids that were met.
    pub seen: BTreeSet<String>,
    /// By id; the empty id is the source as a whole.
    pub failed: BTreeMap<String, Failed>,
    /// Waits since it last came on.
    pub waits: u32,
    /// When the source may be asked on.
    #[serde(default)]
    pub wait_until_ms: u64,
    /// Whether the next run goes on from here.
    #[serde(default)]
    pub unfinished: bool,
    /// Whether a cursor had expired, so that this run asks for everything.
    pub from_anew: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Digest of the setting that all this is about.
    pub setting: String,
    /// The readers of the setting, as the copies have them.
    pub readers: Vec<String>,
    pub cursor: Option<String>,
    pub items: BTreeMap<String, Item>,
    /// Names that documents had before they were renamed.
    pub left: BTreeSet<String>,
    pub sweep: Sweep,
}

impl State {
    pub(super) async fn read(aws: &Aws, space: &str, source: &str) -> Result<Self, AwsError> {
        match aws.bucket.get(&key(space, source)).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| AwsError::Damaged {
                detail: format!("what is known of source {source}: {error}"),
            }),
            Err(AwsError::Missing { .. }) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write(&self, aws: &Aws, space: &str, source: &str) -> Result<(), AwsError> {
        let body = serde_json::to_vec(self).map_err(|error| AwsError::Damaged {
            detail: error.to_string(),
        })?;
        aws.bucket.put(&key(space, source), body).await
    }

    /// Ids of documents that were neither met nor failed in this run.
    pub(super) fn unmet(&self) -> Vec<String> {
        let Sweep { seen, failed, .. } = &self.sweep;
        let items = self.items.iter();
        let unmet = items
            .filter(|(id, item)| !item.gone && !seen.contains(*id) && !failed.contains_key(*id));
        unmet.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn set_gone(&mut self, id: &str) {
        self.sweep.failed.remove(id);
        if let Some(item) = self.items.get_mut(id) {
            item.gone = true;
        }
    }

    /// Names of documents that are to go.
    pub(super) fn gone(&self) -> BTreeSet<String> {
        let names = |gone: bool| {
            let items = self.items.values().filter(move |item| item.gone == gone);
            items.map(|item| item.name.clone())
        };
        let held: BTreeSet<String> = names(false).collect();
        let gone = names(true).chain(self.left.iter().cloned());
        gone.filter(|name| !held.contains(name)).collect()
    }

    /// Forgets what was taken out.
    pub(super) fn forget_gone(&mut self) {
        self.items.retain(|_, item| !item.gone);
        self.left.clear();
    }
}

pub(super) fn key(space: &str, source: &str) -> String {
    format!("fetched/{space}/{source}.json")
}

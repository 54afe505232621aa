//! The copy of a source below `sources/`: what a source puts into it, and what it knows already.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::{Aws, AwsError};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::state::{Failed, Item, State};
use crate::digest::{sha256_hex, short_id};
use crate::documents;
use crate::names::{self, Sidecar};

/// Sidecars that are written side by side.
const WRITES_IN_FLIGHT: usize = 16;

/// A document as a source gives it.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    /// Its name below the source.
    pub name: String,
    pub content: Bytes,
    /// Where people read it.
    pub uri: Option<String>,
    /// What the source calls this version, or how it knows it again.
    pub version: Option<String>,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub metadata: BTreeMap<String, Value>,
    /// Who may read it; empty: the readers of the source's setting.
    pub readers: Vec<String>,
}

pub(super) struct Mirror<'a> {
    pub aws: &'a Aws,
    pub space: &'a str,
    pub source: &'a str,
    pub readers: &'a [String],
    pub state: &'a mut State,
    /// When this invocation is to end.
    pub until: Instant,
}

impl Mirror<'_> {
    /// Whether the rest is the next invocation's.
    pub fn is_time_up(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Whether so much time is left, and some to go on with.
    pub fn has_time_for(&self, wait: Duration) -> bool {
        Instant::now() + wait < self.until
    }

    /// What is held of a document that the source has not said to be gone.
    pub fn known(&self, id: &str) -> Option<&Item> {
        self.state.items.get(id).filter(|item| !item.gone)
    }

    /// The name that a document has had from its first day on, or else the one given: what people call it changes, and
    /// what refers to it should not.
    pub fn lasting_name(&self, id: &str, first: String) -> String {
        let known = self.state.items.get(id).map(|item| item.name.as_str());
        let own = known.and_then(|name| name.strip_prefix(self.source)?.strip_prefix('/'));
        own.map_or(first, str::to_owned)
    }

    /// The copy of a document's bytes.
    pub async fn content(&self, id: &str) -> Result<Option<Bytes>, AwsError> {
        let Some(item) = self.known(id) else {
            return Ok(None);
        };
        let key = names::source_key(self.space, &item.name);
        match self.aws.bucket.get(&key).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(AwsError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The document is as it was.
    pub fn keep(&mut self, id: &str) {
        self.state.sweep.failed.remove(id);
        self.state.sweep.seen.insert(id.to_owned());
        if let Some(item) = self.state.items.get_mut(id) {
            item.gone = false;
        }
    }

    /// The source says that the document is gone.
    pub fn gone(&mut self, id: &str) {
        self.state.set_gone(id);
    }

    /// The document could not be had: it stays as it is, and the run tells why.
    pub fn fail(&mut self, id: &str, name: &str, error: &str, reason: impl Into<String>) {
        let known = self.known(id).map(|item| item.name.clone());
        let failed = Failed {
            name: known.unwrap_or_else(|| format!("{}/{name}", self.source)),
            error: error.to_owned(),
            reason: reason.into(),
        };
        self.state.sweep.failed.insert(id.to_owned(), failed);
    }

    /// Keeps a document. Nothing is written where the bytes and the sidecar are as they were.
    pub async fn store(&mut self, id: &str, document: Document) -> Result<(), AwsError> {
        let name = format!("{}/{}", self.source, document.name);
        if let Some(problem) = names::name_problem(&name) {
            self.fail(id, &document.name, "InvalidDocumentName", problem);
            return Ok(());
        }
        let inherits = document.readers.is_empty();
        let sidecar = self.sidecar(&document);
        let sidecar_digest = digest_of(&sidecar);
        let digest = sha256_hex(&document.content);
        let before = self.state.items.get(id);
        let same_name = before.filter(|item| item.name == name);
        if same_name.is_none_or(|item| item.sidecar != sidecar_digest) {
            documents::write_sidecar(self.aws, self.space, &name, &sidecar).await?;
        }
        if same_name.is_none_or(|item| item.digest != digest) {
            let key = names::source_key(self.space, &name);
            self.aws.bucket.put(&key, document.content).await?;
        }
        if let Some(renamed) = before.filter(|item| item.name != name) {
            self.state.left.insert(renamed.name.clone());
        }
        self.state.left.remove(&name);
        let item = Item {
            name,
            version: document.version,
            etag: document.etag,
            last_modified: document.last_modified,
            digest,
            sidecar: sidecar_digest,
            inherits,
            gone: false,
        };
        self.state.items.insert(id.to_owned(), item);
        self.keep(id);
        Ok(())
    }

    /// Has the source give again what somebody took out of the bucket.
    pub async fn miss_copies(&mut self) -> Result<(), AwsError> {
        let prefix = names::source_prefix(self.space);
        let below = format!("{prefix}{}/", self.source);
        let listed = self.aws.bucket.list(&below).await?;
        let there: BTreeSet<&str> = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix(&prefix))
            .collect();
        let State { items, cursor, .. } = &mut *self.state;
        let missing = items
            .values_mut()
            .filter(|item| !item.gone && !there.contains(item.name.as_str()));
        for item in missing {
            item.forget_version();
            *cursor = None;
        }
        Ok(())
    }

    /// Gives the copies the readers of the setting, where those have changed: it must not depend on whether the source can
    /// be asked. Copies with readers of their own keep them.
    pub async fn permit(&mut self) -> Result<(), AwsError> {
        if self.state.readers == self.readers {
            return Ok(());
        }
        let items = self.state.items.iter();
        let inheriting = items.filter(|(_, item)| item.inherits);
        let names: BTreeSet<String> = inheriting.map(|(_, item)| item.name.clone()).collect();
        let names = names.union(&self.state.left).cloned();
        let mirror = &*self;
        let written: BTreeMap<String, Option<String>> = stream::iter(names)
            .map(async |name| {
                let digest = mirror.rewrite_readers(&name).await?;
                Ok::<_, AwsError>((name, digest))
            })
            .buffer_unordered(WRITES_IN_FLIGHT)
            .try_collect()
            .await?;
        for item in self.state.items.values_mut() {
            match written.get(&item.name) {
                Some(Some(digest)) => item.sidecar.clone_from(digest),
                // A copy that is not there is made anew.
                Some(None) => item.forget_version(),
                None => {}
            }
        }
        if written.values().any(Option::is_none) {
            self.state.cursor = None;
        }
        self.state.readers = self.readers.to_vec();
        Ok(())
    }

    /// Answers the digest of the new sidecar; `None` where there was none that can be read.
    async fn rewrite_readers(&self, name: &str) -> Result<Option<String>, AwsError> {
        let key = names::sidecar_key(&names::source_key(self.space, name));
        let body = match self.aws.bucket.get(&key).await {
            Err(AwsError::Missing { .. }) => return Ok(None),
            body => body?,
        };
        let Ok(sidecar) = serde_json::from_slice::<Sidecar>(&body) else {
            return Ok(None);
        };
        let sidecar = Sidecar {
            readers: self.readers.to_vec(),
            ..sidecar
        }
        .with_listed_readers();
        documents::write_sidecar(self.aws, self.space, name, &sidecar).await?;
        Ok(Some(digest_of(&sidecar)))
    }

    fn sidecar(&self, document: &Document) -> Sidecar {
        let mut metadata = document.metadata.clone();
        metadata.insert("source".to_owned(), json!(self.source));
        let own = &document.readers;
        let readers = if own.is_empty() { self.readers } else { own };
        Sidecar {
            metadata_attributes: metadata,
            readers: readers.to_vec(),
            owner: None,
            uri: document.uri.clone(),
        }
        .with_listed_readers()
    }
}

fn digest_of(sidecar: &Sidecar) -> String {
    short_id(&[&json!(sidecar).to_string()], 32)
}

/// A name from words that people wrote, which stays the same as long as `id` does: what a file system takes, cut short,
/// told apart by a digest of the id, with `ending` last.
pub(super) fn file_name(words: &str, id: &str, ending: &str) -> String {
    let plain = |letter: char| match letter {
        letter if letter.is_alphanumeric() => letter,
        '.' | '_' => letter,
        _ => '-',
    };
    let words: String = words.chars().map(plain).collect();
    let mut short = String::new();
    for letter in words.trim_matches(['-', '.']).chars() {
        if short.len() + letter.len_utf8() > 120 {
            break;
        }
        if !(letter == '-' && short.ends_with('-')) {
            short.push(letter);
        }
    }
    let digest = short_id(&[id], 10);
    match short.is_empty() {
        true => format!("{digest}{ending}"),
        false => format!("{short}-{digest}{ending}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_differ() {
        let check = |words: &str, begins: &str| {
            let name = file_name(words, "id", ".html");
            assert!(
                name.starts_with(begins) && name.ends_with(".html"),
                "{name}"
            );
            assert_eq!(names::name_problem(&format!("wiki/{name}")), None, "{name}");
        };
        check("/docs/Guide//install", "docs-Guide-install-");
        check("Größe & Maß", "Größe-Maß-");
        check("../../etc/passwd", "etc-passwd-");
        check("", &short_id(&["id"], 10));
        check(&"ö".repeat(300), "ö");
        check("a\nb\\c", "a-b-c-");
        assert_ne!(file_name("a", "1", ""), file_name("a", "2", ""));
    }
}

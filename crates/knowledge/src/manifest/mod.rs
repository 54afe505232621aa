//! Which segments of a space are live: one row in the table, replaced by a conditional write, so that two publishers
//! cannot both win.
//!
//! The row carries the manifest itself while it is small, so that a reader needs nothing else; a manifest with long lists
//! of deletions does not fit into a row and stands in the bucket. What only publishers need stands apart, in the ledger.

mod members;

use std::collections::BTreeMap;
use std::time::Instant;

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
pub use members::Members;

/// What is live in a space at one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Rises by one with each publication; 0 before the first.
    pub version: u64,
    #[serde(default)]
    pub published_at_ms: u64,
    /// The embedding model whose vectors the segments hold.
    pub embedder: String,
    /// Components of a vector.
    pub dimension: u32,
    pub segments: Vec<ManifestSegment>,
    /// Live documents and passages, without the dead ones.
    pub documents: u64,
    pub passages: u64,
    /// Where the ledger stands and what it must be; none in manifests of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ledger: Option<Stored>,
}

/// One live segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSegment {
    /// The segment file in the bucket. A key is used once: what was retired never comes back under the same key.
    pub key: String,
    pub sha256: String,
    pub bytes: u64,
    pub passages: u32,
    /// Documents and passages in the file, the dead ones too.
    #[serde(default)]
    pub documents: u32,
    /// Documents of this segment that were deleted or replaced since, by ordinal, ascending.
    pub dead_documents: Vec<u32>,
    /// Their passages.
    #[serde(default)]
    pub dead_passages: u32,
    /// When the first of them died; 0 while none is dead.
    #[serde(default)]
    pub dead_since_ms: u64,
    /// Ranges of the file that a search reads first, when the file is brought in parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<(u64, u64)>,
}

impl ManifestSegment {
    pub fn live_passages(&self) -> u32 {
        self.passages.saturating_sub(self.dead_passages)
    }

    pub fn live_documents(&self) -> u64 {
        u64::from(self.documents).saturating_sub(self.dead_documents.len() as u64)
    }
}

/// What publishers keep beside a manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The last runs that were published, newest last: a repeated publish step finds its run here and changes nothing.
    pub recent_runs: Vec<String>,
    /// Objects that no version names any more, kept a while for those who still read them.
    pub retired: Vec<Retired>,
    /// Who may be in which segment, by the segment's key.
    pub members: BTreeMap<String, Members>,
}

/// An object that waits for its removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    pub key: String,
    pub retired_at_ms: u64,
}

/// A version of a manifest with its ledger: what a publisher reads, changes and puts in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Edition {
    pub manifest: Manifest,
    pub ledger: Ledger,
    /// The objects that this version stands in, besides the row.
    objects: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    key: String,
    sha256: String,
}

/// The row that is replaced conditionally: the manifest as text, or where it stands in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    pub version: u64,
    body_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_key: Option<String>,
}

impl ManifestRow {
    /// What tells this version of a manifest from every other.
    pub fn identity(&self) -> &str {
        &self.body_sha256
    }
}

/// How many runs a ledger remembers.
const RECENT_RUNS: usize = 200;
/// A row up to 4 KB costs one read unit; the rest of the row takes less than 200 bytes.
/// Source: Amazon DynamoDB Developer Guide, read capacity.
const INLINE_BYTES: usize = 3_800;

/// The document list beside each segment: ids and passage counts in the order of the segment's ordinals, so that a
/// publisher can mark documents dead without opening the segment.
pub fn document_list_key(segment_key: &str) -> String {
    format!("{segment_key}.documents.json")
}

/// What a look at the row of a space's manifest found.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `None` when nothing was published.
    pub row: Option<ManifestRow>,
    /// When the look began: what was published before then is in `row`.
    pub since: Instant,
}

/// The row of a space's manifest, by one small read; `None` when nothing was published.
///
/// # Errors
/// The table's error.
pub async fn row(aws: &Aws, space: &str) -> Result<Option<ManifestRow>, AwsError> {
    aws.table.get(&keys::manifest(space)).await
}

/// The manifest that a row stands for.
///
/// # Errors
/// [`AwsError::Damaged`] when the body is not the one that the row promises; else the service's error.
pub async fn body(aws: &Aws, row: &ManifestRow) -> Result<Manifest, AwsError> {
    match (&row.body, &row.body_key) {
        (Some(text), _) => parse(text.as_bytes(), "manifest", &row.body_sha256),
        (None, Some(key)) => parse(&aws.bucket.get(key).await?, key, &row.body_sha256),
        (None, None) => Err(AwsError::Damaged {
            detail: "the manifest's row has no body".into(),
        }),
    }
}

/// The manifest version of a space; 0 when nothing was published.
///
/// # Errors
/// The table's error.
pub async fn version(aws: &Aws, space: &str) -> Result<u64, AwsError> {
    Ok(row(aws, space).await?.map_or(0, |row| row.version))
}

/// The live manifest of a space; `None` when nothing was published.
///
/// # Errors
/// As [`row`] and [`body`].
pub async fn current(aws: &Aws, space: &str) -> Result<Option<Manifest>, AwsError> {
    seen(aws, space, None).await
}

/// The manifest that was seen on the way into a space, or a newer one; `None` when nothing was published.
///
/// # Errors
/// As [`row`] and [`body`].
pub async fn seen(
    aws: &Aws,
    space: &str,
    seen: Option<Seen>,
) -> Result<Option<Manifest>, AwsError> {
    let row = match seen {
        Some(seen) => seen.row,
        None => row(aws, space).await?,
    };
    newest(aws, space, row, async |row| body(aws, &row).await).await
}

/// The live manifest with its ledger; `None` when nothing was published.
///
/// # Errors
/// As [`row`] and [`body`], for the ledger too.
pub async fn edition(aws: &Aws, space: &str) -> Result<Option<Edition>, AwsError> {
    let row = row(aws, space).await?;
    newest(aws, space, row, async |row| read_edition(aws, row).await).await
}

async fn read_edition(aws: &Aws, row: ManifestRow) -> Result<Edition, AwsError> {
    let manifest = body(aws, &row).await?;
    let ledger = match &manifest.ledger {
        Some(stored) => parse(
            &aws.bucket.get(&stored.key).await?,
            &stored.key,
            &stored.sha256,
        )?,
        None => Ledger::default(),
    };
    let ledger_key = manifest.ledger.iter().map(|stored| stored.key.clone());
    Ok(Edition {
        objects: row.body_key.into_iter().chain(ledger_key).collect(),
        manifest,
        ledger,
    })
}

/// Reads what a row names. Where that was removed meanwhile, a newer row names something else.
async fn newest<T>(
    aws: &Aws,
    space: &str,
    mut live: Option<ManifestRow>,
    read: impl AsyncFn(ManifestRow) -> Result<T, AwsError>,
) -> Result<Option<T>, AwsError> {
    let mut before = None;
    loop {
        let Some(named) = live else {
            return Ok(None);
        };
        match read(named.clone()).await {
            Err(AwsError::Missing { .. }) if before.as_ref() != Some(&named) => {
                before = Some(named);
                live = row(aws, space).await?;
            }
            outcome => return outcome.map(Some),
        }
    }
}

impl Edition {
    /// Whether the ledger remembers the publication of a run.
    pub fn holds(&self, run_id: &str) -> bool {
        self.ledger.recent_runs.iter().any(|run| run == run_id)
    }

    /// Version 0: a space before its first publication.
    pub fn empty(embedder: &str, dimension: u32) -> Self {
        Self {
            manifest: Manifest {
                version: 0,
                published_at_ms: 0,
                embedder: embedder.to_owned(),
                dimension,
                segments: Vec::new(),
                documents: 0,
                passages: 0,
                ledger: None,
            },
            ledger: Ledger::default(),
            objects: Vec::new(),
        }
    }

    /// The objects that this version stands in, besides the row.
    pub fn objects(&self) -> &[String] {
        &self.objects
    }

    /// Whether an object is part of this version and must stay.
    pub fn names(&self, key: &str) -> bool {
        let of_segment = |segment: &ManifestSegment| {
            segment.key == key || document_list_key(&segment.key) == key
        };
        self.objects.iter().any(|object| object == key)
            || self.manifest.segments.iter().any(of_segment)
    }

    /// Whether an object waits for its removal.
    pub fn has_retired(&self, key: &str) -> bool {
        self.ledger.retired.iter().any(|retired| retired.key == key)
    }

    /// The next version with `segments`; whatever is not named any more is retired.
    pub fn succeed(self, segments: Vec<ManifestSegment>, now_ms: u64) -> Self {
        let (mut manifest, mut ledger) = (self.manifest, self.ledger);
        let gone = manifest
            .segments
            .iter()
            .map(|segment| &segment.key)
            .filter(|key| !segments.iter().any(|segment| segment.key == **key));
        let gone = gone.flat_map(|key| [key.clone(), document_list_key(key)]);
        ledger.retire(gone.chain(self.objects), now_ms);
        ledger
            .members
            .retain(|key, _| segments.iter().any(|segment| segment.key == *key));
        manifest.version += 1;
        manifest.published_at_ms = now_ms;
        manifest.documents = segments.iter().map(ManifestSegment::live_documents).sum();
        manifest.passages = segments
            .iter()
            .map(|segment| u64::from(segment.live_passages()))
            .sum();
        manifest.segments = segments;
        manifest.ledger = None;
        Self {
            manifest,
            ledger,
            objects: Vec::new(),
        }
    }
}

impl Ledger {
    /// Notes objects that no version will name again.
    pub fn retire(&mut self, keys: impl IntoIterator<Item = String>, now_ms: u64) {
        for key in keys {
            if !self.retired.iter().any(|retired| retired.key == key) {
                self.retired.push(Retired {
                    key,
                    retired_at_ms: now_ms,
                });
            }
        }
    }
}

/// Makes `next` live in the place of version `next.manifest.version - 1`. The objects that it wrote are in `next`
/// afterwards, also when it was not made live.
///
/// # Errors
/// [`AwsError::Conflict`] when another publisher was first.
pub async fn replace(aws: &Aws, space: &str, next: &mut Edition) -> Result<(), AwsError> {
    let excess = next.ledger.recent_runs.len().saturating_sub(RECENT_RUNS);
    next.ledger.recent_runs.drain(..excess);
    let version = next.manifest.version;
    let place = |sha256: &str, kind: &str| {
        format!(
            "manifests/{space}/{version:012}-{}.{kind}.json",
            &sha256[..16]
        )
    };
    let ledger = text(&next.ledger)?;
    let sha256 = sha256_hex(ledger.as_bytes());
    let key = place(&sha256, "ledger");
    next.objects.push(key.clone());
    aws.bucket.put(&key, ledger).await?;
    next.manifest.ledger = Some(Stored { key, sha256 });

    let body = text(&next.manifest)?;
    let body_sha256 = sha256_hex(body.as_bytes());
    let mut row = ManifestRow {
        version,
        body: None,
        body_key: None,
        body_sha256,
    };
    if body.len() <= INLINE_BYTES {
        row.body = Some(body);
    } else {
        let key = place(&row.body_sha256, "body");
        next.objects.push(key.clone());
        aws.bucket.put(&key, body).await?;
        row.body_key = Some(key);
    }
    aws.table
        .replace(&keys::manifest(space), version - 1, &row)
        .await
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str, sha256: &str) -> Result<T, AwsError> {
    if sha256_hex(bytes) != sha256 {
        return Err(AwsError::Damaged {
            detail: format!("{what} does not match its checksum"),
        });
    }
    serde_json::from_slice(bytes).map_err(|error| AwsError::Damaged {
        detail: format!("{what}: {error}"),
    })
}

fn text<T: Serialize>(value: &T) -> Result<String, AwsError> {
    serde_json::to_string(value).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests;

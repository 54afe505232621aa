//! The live index of a space inside the process: loaded once, kept across invocations, swapped when the manifest moves.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws::{Aws, AwsError};
use retrieval::{Index, LiveSegment, Segment};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::KnowledgeError;
use crate::digest::sha256_hex;
use crate::manifest::{self, Manifest, ManifestSegment};

/// An index at one version of its manifest.
pub struct Snapshot {
    pub version: u64,
    /// The model and the components of the vectors that the segments hold.
    pub embedder: String,
    pub dimension: u32,
    pub index: Index,
    files: BTreeSet<PathBuf>,
}

/// The snapshots of this process, one for each space that was asked.
pub struct Snapshots {
    folder: TempDir,
    live: Mutex<HashMap<String, Arc<Snapshot>>>,
}

impl Snapshots {
    /// Keeps segment files in a temporary folder that goes with the process.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            live: Mutex::new(HashMap::new()),
        })
    }

    /// The live snapshot of a space; `None` when nothing was published. Running queries keep the one they have.
    ///
    /// # Errors
    /// [`KnowledgeError::IndexUnreadable`] when a new snapshot cannot be read and no older one is there to serve.
    pub async fn current(
        &self,
        aws: &Aws,
        space: &str,
    ) -> Result<Option<Arc<Snapshot>>, KnowledgeError> {
        let version = manifest::version(aws, space).await?;
        if version == 0 {
            return Ok(None);
        }
        let mut live = self.live.lock().await;
        let kept = live.get(space).cloned();
        if let Some(kept) = &kept
            && kept.version == version
        {
            return Ok(Some(kept.clone()));
        }
        match (self.load(aws, space).await, kept) {
            (Ok(Some(snapshot)), _) => {
                let snapshot = Arc::new(snapshot);
                if let Some(replaced) = live.insert(space.to_owned(), snapshot.clone()) {
                    forget(&replaced.files, &snapshot.files);
                }
                Ok(Some(snapshot))
            }
            (Ok(None), _) => Ok(None),
            (Err(error), Some(kept)) => {
                tracing::error!(
                    space,
                    version,
                    error = error.name(),
                    "the older snapshot goes on serving"
                );
                Ok(Some(kept))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn load(&self, aws: &Aws, space: &str) -> Result<Option<Snapshot>, KnowledgeError> {
        let Some(manifest) = manifest::current(aws, space).await? else {
            return Ok(None);
        };
        let Manifest {
            version,
            segments,
            embedder,
            dimension,
            ..
        } = manifest;
        let mut files = BTreeSet::new();
        let mut opened = Vec::with_capacity(segments.len());
        for segment in &segments {
            let path = self.fetch(aws, space, segment).await?;
            let file = Segment::open(&path).map_err(|error| unreadable(space, &error))?;
            let dead_documents: BTreeSet<u32> = segment.dead_documents.iter().copied().collect();
            files.insert(path);
            opened.push(LiveSegment {
                segment: Arc::new(file),
                dead_documents,
            });
        }
        let index = Index::new(opened).map_err(|error| unreadable(space, &error))?;
        Ok(Some(Snapshot {
            version,
            embedder,
            dimension,
            index,
            files,
        }))
    }

    /// The segment's file, downloaded and checked unless it is there already.
    async fn fetch(
        &self,
        aws: &Aws,
        space: &str,
        segment: &ManifestSegment,
    ) -> Result<PathBuf, KnowledgeError> {
        let path = self.folder.path().join(format!("{}.seg", segment.sha256));
        if path.exists() {
            return Ok(path);
        }
        let bytes = aws.bucket.get(&segment.key).await?;
        if sha256_hex(&bytes) != segment.sha256 {
            let detail = format!("{} does not match its checksum", segment.key);
            return Err(KnowledgeError::IndexUnreadable {
                space: space.to_owned(),
                detail,
            });
        }
        store(&path, &bytes).map_err(|error| AwsError::Refused {
            service: "file system",
            detail: format!("{}: {error}", path.display()),
        })?;
        Ok(path)
    }
}

/// Removes segment files that no longer serve, for Lambda's `/tmp` is small. A query that still reads one keeps its
/// mapping. A file that cannot be removed costs room and nothing else.
fn forget(replaced: &BTreeSet<PathBuf>, live: &BTreeSet<PathBuf>) {
    for path in replaced.difference(live) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "an old segment file stays");
        }
    }
}

/// Writes beside and renames, so that a file under its final name is always whole.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(beside, path)
}

fn unreadable(space: &str, error: &retrieval::SegmentError) -> KnowledgeError {
    KnowledgeError::IndexUnreadable {
        space: space.to_owned(),
        detail: format!("{}: {error}", error.name()),
    }
}

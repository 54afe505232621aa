//! The folder of segment files, which outlasts the process: what an earlier one brought is not brought again. On Lambda that
//! is the next process of an execution environment, after a crash or a time-out; on a laptop each.
//!
//! A file lies below the stack and the space that it is of, under its hash. It is written under another name, locked, and
//! takes its own name when all of it was compared with that hash; so two processes may do the same at once. Who uses a file
//! holds a lock on it. A file that nobody uses goes when its space's manifest no longer names it, or when its room is needed,
//! the one used longest ago first.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws::{Aws, clock};
use tempfile::{NamedTempFile, TempDir, TempPath};

use super::lock;
use crate::digest::{sha256_hex_of, short_id};
use crate::manifest::ManifestSegment;

/// Below the temporary folder.
const FOLDER: &str = "outcrop-index";
/// Of a file that is whole.
const WHOLE: &str = "seg";
/// Of one that is on its way.
const ON_ITS_WAY: &str = ".part";
/// Hex digits of a space's folder.
const ID_DIGITS: usize = 32;

/// A folder of segment files.
pub(super) struct Kept {
    folder: PathBuf,
    /// Where none that outlasts the process can be used: the folder goes with it, and a file with its user.
    own: Option<TempDir>,
}

/// A segment's file in use.
pub(super) struct Lease {
    /// INVARIANT: locked as long as the file is in use, so that no process takes it for one that was left.
    _locked: File,
    /// Where it is, and goes with this, until it is kept.
    on_its_way: Mutex<Option<TempPath>>,
    /// Held while all of it is compared with its hash, so that its name stays meanwhile.
    proving: Mutex<()>,
    /// Where it is when it is kept; `None` where it never is.
    kept: Option<PathBuf>,
}

impl Kept {
    /// The folder below `temporary`. One that belongs to somebody else is not used, for they could write to it; nor one whose
    /// file system has no locks.
    ///
    /// # Errors
    /// When no folder can be made there.
    pub(super) fn below(temporary: &Path) -> std::io::Result<Self> {
        let folder = temporary.join(FOLDER);
        if let Ok(()) = own_folder(&folder) {
            return Ok(Self { folder, own: None });
        }
        let own = tempfile::tempdir_in(temporary)?;
        Ok(Self {
            folder: own.path().to_owned(),
            own: Some(own),
        })
    }

    /// A segment's file that was left here: as long as the manifest says, and in use from now on.
    pub(super) fn find(&self, aws: &Aws, space: &str, segment: &ManifestSegment) -> Option<Lease> {
        let path = self.path(aws, space, segment)?;
        let locked = File::open(&path).ok()?;
        locked.try_lock_shared().ok()?;
        if locked.metadata().ok()?.len() != segment.bytes {
            let _ = std::fs::remove_file(&path);
            return None;
        }
        // Only the order of removals hangs on it.
        let _ = locked.set_modified(now());
        Some(Lease {
            _locked: locked,
            on_its_way: Mutex::default(),
            proving: Mutex::default(),
            kept: Some(path),
        })
    }

    /// An empty file for a segment, and a handle to write to.
    ///
    /// # Errors
    /// The file system's; a manifest whose hash is no file name.
    pub(super) fn begin(
        &self,
        aws: &Aws,
        space: &str,
        segment: &ManifestSegment,
    ) -> std::io::Result<(File, Lease)> {
        let invalid = || std::io::Error::from(ErrorKind::InvalidInput);
        let path = self.path(aws, space, segment).ok_or_else(invalid)?;
        let folder = path.parent().ok_or_else(invalid)?;
        std::fs::create_dir_all(folder)?;
        let mut named = tempfile::Builder::new();
        let named = named.suffix(ON_ITS_WAY).tempfile_in(folder)?;
        let (file, on_its_way) = named.into_parts();
        let lasts = self.own.is_none();
        if lasts {
            file.try_lock_shared()?;
        }
        let lease = Lease {
            _locked: file.try_clone()?,
            on_its_way: Mutex::new(Some(on_its_way)),
            proving: Mutex::default(),
            kept: lasts.then_some(path),
        };
        Ok((file, lease))
    }

    /// Removes files that nobody uses, the one used longest ago first, until those that were left have at most `bytes`
    /// together. `used` are those that this process uses.
    pub(super) fn shrink(&self, bytes: u64, used: &BTreeSet<PathBuf>) {
        if self.own.is_some() {
            return;
        }
        let mut left = self.left(used);
        left.sort_by_key(|(_, metadata)| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        let mut sum: u64 = left.iter().map(|(_, metadata)| metadata.len()).sum();
        for (path, metadata) in left {
            if sum <= bytes {
                return;
            }
            if remove_unused(&path) {
                sum = sum.saturating_sub(metadata.len());
            }
        }
    }

    /// Removes files of a space that its manifest does not name: what was deleted there must not lie here. Who uses one
    /// keeps what is mapped.
    pub(super) fn forget_others(&self, aws: &Aws, space: &str, segments: &[ManifestSegment]) {
        if self.own.is_some() {
            return;
        }
        let named: BTreeSet<&str> = segments.iter().map(|one| one.sha256.as_str()).collect();
        for path in entries(&self.folder.join(place(aws, space))) {
            let is_whole = path.extension().is_some_and(|extension| extension == WHOLE);
            if !is_whole {
                remove_unused(&path);
            } else if !named.contains(stem(&path)) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// Files of all spaces, without those that this process uses.
    fn left(&self, used: &BTreeSet<PathBuf>) -> Vec<(PathBuf, Metadata)> {
        let files = entries(&self.folder).flat_map(|folder| entries(&folder));
        let left = files.filter(|path| !used.contains(path));
        left.filter_map(|path| path.metadata().ok().map(|metadata| (path, metadata)))
            .collect()
    }

    fn path(&self, aws: &Aws, space: &str, segment: &ManifestSegment) -> Option<PathBuf> {
        let name = &segment.sha256;
        let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.folder.join(place(aws, space));
        is_hash.then(|| folder.join(name).with_extension(WHOLE))
    }
}

impl Lease {
    /// Where the file is now.
    pub(super) fn path(&self) -> PathBuf {
        let on_its_way = lock(&self.on_its_way);
        let on_its_way = on_its_way.as_ref().map(|path| path.to_path_buf());
        on_its_way.or_else(|| self.kept.clone()).unwrap_or_default()
    }

    /// Compares all of the file with its hash, and keeps it if they are the same.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn prove(&self, sha256: &str) -> std::io::Result<bool> {
        let _proving = lock(&self.proving);
        if lock(&self.on_its_way).is_none() {
            return Ok(true);
        }
        let same = sha256_hex_of(File::open(self.path())?)? == sha256;
        if same {
            self.keep();
        }
        Ok(same)
    }

    /// Gives the file its own name: all of it was compared with its hash. Where that fails it goes with its user.
    pub(super) fn keep(&self) {
        let Some(kept) = &self.kept else { return };
        let mut on_its_way = lock(&self.on_its_way);
        if let Some(path) = on_its_way.take()
            && let Err(error) = path.persist(kept)
        {
            tracing::warn!(error = %error.error, "a segment's file is not kept");
            *on_its_way = Some(error.path);
        }
    }

    /// Takes the file away, for it is not what its name says.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// What parts the files of one stack's space from all others'.
fn place(aws: &Aws, space: &str) -> String {
    short_id(&[aws.bucket.name(), &aws.settings.table, space], ID_DIGITS)
}

/// Makes the folder, and makes sure that it is one of this user alone, with locks.
fn own_folder(folder: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    let probe = NamedTempFile::new_in(folder)?;
    probe.as_file().try_lock()?;
    let mine = probe.as_file().metadata()?.uid();
    match found.is_dir() && found.uid() == mine && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(ErrorKind::PermissionDenied.into()),
    }
}

/// Removes a file unless a process uses it.
fn remove_unused(path: &Path) -> bool {
    let unused = File::open(path).is_ok_and(|file| file.try_lock().is_ok());
    unused && std::fs::remove_file(path).is_ok()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// The name without its end.
fn stem(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or_default()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(clock::now_ms())
}

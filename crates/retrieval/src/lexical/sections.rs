//! tantivy's files, read in place: a read-only directory over byte ranges of a segment's file.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};

/// A read-only directory over byte ranges of one file.
#[derive(Clone)]
pub(super) struct Sections {
    pub(super) bytes: OwnedBytes,
    pub(super) files: Arc<Vec<(String, Range<usize>)>>,
}

impl std::fmt::Debug for Sections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sections")
            .field("files", &self.files.len())
            .finish()
    }
}

impl Sections {
    fn find(&self, path: &Path) -> Option<OwnedBytes> {
        let name = path.to_string_lossy();
        let (_, range) = self.files.iter().find(|(file, _)| *file == name)?;
        Some(self.bytes.slice(range.clone()))
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a segment is immutable")
}

impl Directory for Sections {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let bytes = self
            .find(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(Arc::new(bytes))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.find(path).is_some())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let bytes = self
            .find(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        Ok(bytes.as_slice().to_owned())
    }

    fn atomic_write(&self, path: &Path, _: &[u8]) -> io::Result<()> {
        // tantivy notes its managed files at open; a note about files that cannot change may be dropped.
        if path.to_string_lossy() == ".managed.json" {
            Ok(())
        } else {
            Err(read_only())
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

//! tantivy's files, read in place: a read-only directory over byte ranges of a segment's file.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Directory, HasLen};

use crate::segment::Source;

/// tantivy reads a footer's length and magic number from the last bytes of a file, and does not look whether there are so
/// many.
const FOOTER_BYTES: usize = 8;

/// One of tantivy's files within a segment's file.
#[derive(Debug, Clone)]
pub(crate) struct SectionFile {
    pub name: String,
    /// In bytes of the segment's file; within its length.
    pub range: Range<u64>,
}

/// A read-only directory over byte ranges of one file.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    pub(super) source: Source,
    pub(super) files: Arc<Vec<SectionFile>>,
}

/// A file of the directory: what is read of it is brought first where the segment is only partly here.
#[derive(Debug)]
struct Handle {
    source: Source,
    range: Range<u64>,
}

impl HasLen for Handle {
    fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }
}

impl FileHandle for Handle {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let (start, end) = (
            self.range.start + range.start as u64,
            self.range.start + range.end as u64,
        );
        if start > end || end > self.range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read(start..end).map_err(io::Error::other)
    }
}

impl Sections {
    fn find(&self, path: &Path) -> Result<Handle, OpenReadError> {
        let name = path.to_string_lossy();
        let file = self.files.iter().find(|file| file.name == name);
        let file = file.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))?;
        let handle = Handle {
            source: self.source.clone(),
            range: file.range.clone(),
        };
        if handle.len() < FOOTER_BYTES {
            let error = io::ErrorKind::UnexpectedEof.into();
            return Err(OpenReadError::wrap_io_error(error, path.to_owned()));
        }
        Ok(handle)
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a segment is immutable")
}

impl Directory for Sections {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.find(path)?))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.find(path).is_ok())
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_owned(),
        })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let file = self.find(path)?;
        let bytes = file
            .read_bytes(0..file.len())
            .map_err(|error| OpenReadError::wrap_io_error(error, path.to_owned()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_room_for_its_footer_is_refused() {
        let bytes = OwnedBytes::new(vec![0; 64]);
        let check = |length: u64, good: bool| {
            let file = SectionFile {
                name: "a.term".to_owned(),
                range: 40..40 + length,
            };
            let sections = Sections {
                source: Source::new(bytes.clone(), None),
                files: Arc::new(vec![file]),
            };
            let opened = sections.open_read(Path::new("a.term"));
            assert_eq!(opened.is_ok(), good, "{length}");
        };
        check(0, false);
        check(7, false);
        check(8, true);
    }
}

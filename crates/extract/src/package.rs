//! Documents that are ZIP archives of parts: Office files and books.
//!
//! What an archive says of its sizes is not believed. Every part that is unpacked counts against one budget, so that an
//! archive of a few kilobytes cannot fill the memory.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::{ExtractError, Limits};

/// More parts than any document has; an archive of millions of empty ones costs memory all the same.
const MAX_PARTS: usize = 100_000;
/// A central directory's record is at least so long.
const RECORD_BYTES: usize = 46;

/// An opened archive.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    format: &'static str,
    left: u64,
    limit: u64,
}

impl<'a> Package<'a> {
    /// Opens an archive, to be read as `format`.
    pub(crate) fn open(
        bytes: &'a [u8],
        format: &'static str,
        limits: &Limits,
    ) -> Result<Self, ExtractError> {
        let archive =
            archive(bytes).map_err(|reason| ExtractError::MalformedDocument { format, reason })?;
        let limit = limits.max_unpacked_bytes as u64;
        Ok(Self {
            archive,
            format,
            left: limit,
            limit,
        })
    }

    /// A part's bytes; `None` where there is none of that name.
    pub(crate) fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, ExtractError> {
        let format = self.format;
        let part = match self.archive.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(broken(format, name, &error.to_string())),
        };
        let mut bytes = Vec::new();
        part.take(self.left + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| broken(format, name, &error.to_string()))?;
        self.spend(bytes.len() as u64)?;
        Ok(Some(bytes))
    }

    /// A part that the format cannot be read without.
    pub(crate) fn required(&mut self, name: &str) -> Result<Vec<u8>, ExtractError> {
        let part = self.part(name)?;
        part.ok_or_else(|| ExtractError::MalformedDocument {
            format: self.format,
            reason: format!("the part {name} is missing"),
        })
    }

    /// Shows every part that can be unpacked, to learn that a library may unpack them: it finds its parts by names that are
    /// not the ones they are written with.
    pub(crate) fn each_part(
        &mut self,
        mut show: impl FnMut(&[u8]) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        for index in 0..self.archive.len() {
            let Ok(part) = self.archive.by_index(index) else {
                continue;
            };
            let mut bytes = Vec::new();
            let whole = part.take(self.left + 1).read_to_end(&mut bytes).is_ok();
            self.spend(bytes.len() as u64)?;
            if whole {
                show(&bytes)?;
            }
        }
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), ExtractError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ExtractError::DocumentTooLarge {
                what: "unpacked content",
                size: self.limit as usize + 1,
                limit: self.limit as usize,
            }),
        }
    }
}

fn broken(format: &'static str, name: &str, reason: &str) -> ExtractError {
    ExtractError::MalformedDocument {
        format,
        reason: format!("{name} cannot be unpacked: {reason}"),
    }
}

/// The names of an archive's parts, to tell what it is; none when it cannot be opened.
pub(crate) fn names(bytes: &[u8]) -> Vec<String> {
    let Ok(archive) = archive(bytes) else {
        return Vec::new();
    };
    archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.into_owned()))
        .collect()
}

/// The first bytes of a small part.
pub(crate) fn small_part(bytes: &[u8], name: &str) -> Option<String> {
    let mut archive = archive(bytes).ok()?;
    let part = archive.by_name(name).ok()?;
    let mut text = String::new();
    part.take(1_024).read_to_string(&mut text).ok()?;
    Some(text)
}

fn archive(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, String> {
    if claimed_parts(bytes) > MAX_PARTS {
        return Err(format!("it claims more than {MAX_PARTS} parts"));
    }
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())
}

/// The most parts that an archive can have: by the records of its directory, each of which has a signature.
fn claimed_parts(bytes: &[u8]) -> usize {
    if bytes.len() < MAX_PARTS * RECORD_BYTES {
        return 0;
    }
    memchr::memmem::find_iter(bytes, b"PK\x01\x02").count()
}

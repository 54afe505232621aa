//! A segment part: what one batch of documents contributes to a segment, vectors at full precision. Checksummed.
//!
//! `OCPART01`, SHA-256 of the rest (32 bytes), length of the JSON (8 bytes), zstd of the documents as JSON.

use sha2::{Digest, Sha256};

use crate::{SegmentDocument, SegmentError};

const MAGIC: &[u8; 8] = b"OCPART01";
/// The magic without its two digits of format version.
const FAMILY: usize = 6;
/// Format version of parts that this program writes and reads.
const VERSION: u32 = 1;
const HEADER: usize = 40;
/// A part of more than this is not one of ours.
const PLAIN_BYTES: usize = 2 << 30;

/// Writes documents as a part.
///
/// # Errors
/// [`SegmentError::Build`] when the documents cannot be written.
pub fn encode(documents: &[SegmentDocument]) -> Result<Vec<u8>, SegmentError> {
    let plain = serde_json::to_vec(documents).map_err(|error| SegmentError::Build {
        detail: error.to_string(),
    })?;
    let body = zstd::bulk::compress(&plain, 1).map_err(|error| SegmentError::Build {
        detail: error.to_string(),
    })?;
    let mut bytes = Vec::with_capacity(HEADER + 8 + body.len());
    bytes.extend_from_slice(MAGIC);
    let mut hasher = Sha256::new();
    hasher.update((plain.len() as u64).to_le_bytes());
    hasher.update(&body);
    bytes.extend_from_slice(&hasher.finalize());
    bytes.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads a part back.
///
/// # Errors
/// [`SegmentError::Truncated`], [`SegmentError::NotASegment`], [`SegmentError::NewerVersion`] or
/// [`SegmentError::Corrupt`]; a part cut after its header is corrupt, for it does not say how long it is.
pub fn decode(bytes: &[u8]) -> Result<Vec<SegmentDocument>, SegmentError> {
    if bytes.len() < HEADER + 8 {
        return Err(SegmentError::Truncated {
            expected: (HEADER + 8) as u64,
            found: bytes.len() as u64,
        });
    }
    check_version(&bytes[..8])?;
    let corrupt = |what: &'static str| SegmentError::Corrupt { section: what };
    if Sha256::digest(&bytes[HEADER..])[..] != bytes[8..HEADER] {
        return Err(corrupt("part"));
    }
    let length = u64::from_le_bytes(
        bytes[HEADER..HEADER + 8]
            .try_into()
            .map_err(|_| corrupt("part"))?,
    );
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= PLAIN_BYTES);
    let plain = zstd::bulk::decompress(&bytes[HEADER + 8..], length.ok_or(corrupt("part"))?)
        .map_err(|_| corrupt("part"))?;
    serde_json::from_slice(&plain).map_err(|_| corrupt("part"))
}

fn check_version(magic: &[u8]) -> Result<(), SegmentError> {
    if magic[..FAMILY] != MAGIC[..FAMILY] {
        return Err(SegmentError::NotASegment);
    }
    let digits = std::str::from_utf8(&magic[FAMILY..]).ok();
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(VERSION) if magic == MAGIC => Ok(()),
        Some(found) if found > VERSION => Err(SegmentError::NewerVersion {
            found,
            supported: VERSION,
        }),
        _ => Err(SegmentError::Corrupt { section: "part" }),
    }
}

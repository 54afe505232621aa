//! The container: a header, a table of sections with checksums, the sections. Little-endian throughout.

use std::ops::Range;

use super::SegmentError;

/// Format version that this program writes, and the highest it reads.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"OUTCROP\0";
/// Magic, version, sections, file length, checksum of header and table.
const HEADER_BYTES: usize = 32;
/// Kind, checksum, offset, length.
const ENTRY_BYTES: usize = 24;
/// Sections begin at multiples of this, so that numbers in a mapping stand at their natural borders.
const ALIGNMENT: usize = 64;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Summary = 1,
    Documents = 2,
    DocumentOffsets = 3,
    PassageBlocks = 4,
    BlockOffsets = 5,
    DocumentOfPassage = 6,
    Readers = 7,
    Mean = 8,
    Rows = 9,
    Bits = 10,
    LexiconTable = 11,
    Lexicon = 12,
}

const KINDS: [Kind; 12] = [
    Kind::Summary,
    Kind::Documents,
    Kind::DocumentOffsets,
    Kind::PassageBlocks,
    Kind::BlockOffsets,
    Kind::DocumentOfPassage,
    Kind::Readers,
    Kind::Mean,
    Kind::Rows,
    Kind::Bits,
    Kind::LexiconTable,
    Kind::Lexicon,
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Documents => "documents",
            Self::DocumentOffsets => "document offsets",
            Self::PassageBlocks => "passage blocks",
            Self::BlockOffsets => "block offsets",
            Self::DocumentOfPassage => "document of passage",
            Self::Readers => "readers",
            Self::Mean => "mean",
            Self::Rows => "rows",
            Self::Bits => "bits",
            Self::LexiconTable => "lexicon table",
            Self::Lexicon => "lexicon",
        }
    }
}

/// Writes sections, in the order of [`KINDS`], as a file.
pub(super) fn assemble(sections: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let table_end = HEADER_BYTES + sections.len() * ENTRY_BYTES;
    let mut offset = table_end.next_multiple_of(ALIGNMENT);
    let mut table = Vec::with_capacity(sections.len() * ENTRY_BYTES);
    for (kind, bytes) in sections {
        table.extend_from_slice(&(*kind as u32).to_le_bytes());
        table.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        table.extend_from_slice(&(offset as u64).to_le_bytes());
        table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        offset = (offset + bytes.len()).next_multiple_of(ALIGNMENT);
    }
    let mut file = Vec::with_capacity(offset);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    file.extend_from_slice(&(offset as u64).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&file);
    checksum.update(&table);
    file.extend_from_slice(&u64::from(checksum.finalize()).to_le_bytes());
    file.extend_from_slice(&table);
    for (_, bytes) in sections {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(bytes);
    }
    file.resize(offset, 0);
    file
}

/// Checks a file and finds its sections: `ranges[i]` belongs to `KINDS[i]`.
pub(super) struct Layout {
    ranges: Vec<Range<usize>>,
}

impl Layout {
    /// Reads header and table and checks every section against its checksum.
    pub(super) fn check(file: &[u8]) -> Result<Self, SegmentError> {
        let truncated = |expected: usize| SegmentError::Truncated {
            expected: expected as u64,
            found: file.len() as u64,
        };
        let header = file
            .get(..HEADER_BYTES)
            .ok_or_else(|| truncated(HEADER_BYTES))?;
        if &header[..8] != MAGIC {
            return Err(SegmentError::NotASegment);
        }
        let version = number(header, 8, 4) as u32;
        if version > VERSION {
            return Err(SegmentError::NewerVersion {
                found: version,
                supported: VERSION,
            });
        }
        let sections = number(header, 12, 4) as usize;
        if version == 0 || sections != KINDS.len() {
            return Err(SegmentError::Corrupt { section: "header" });
        }
        let table_end = HEADER_BYTES + sections * ENTRY_BYTES;
        let table = file
            .get(HEADER_BYTES..table_end)
            .ok_or_else(|| truncated(table_end))?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header[..24]);
        checksum.update(table);
        if u64::from(checksum.finalize()) != number(header, 24, 8) {
            return Err(SegmentError::Corrupt { section: "header" });
        }
        let length = number(header, 16, 8);
        if (file.len() as u64) < length {
            return Err(SegmentError::Truncated {
                expected: length,
                found: file.len() as u64,
            });
        }
        if file.len() as u64 != length {
            return Err(SegmentError::Corrupt { section: "header" });
        }
        let ranges = KINDS
            .iter()
            .zip(table.chunks_exact(ENTRY_BYTES))
            .map(|(kind, entry)| checked_section(file, *kind, entry))
            .collect::<Result<Vec<_>, _>>()?;
        // What lies between sections is padding and must be empty, so that no byte of the file goes unchecked.
        let mut end = table_end;
        for range in &ranges {
            if range.start < end || file[end..range.start].iter().any(|byte| *byte != 0) {
                return Err(SegmentError::Corrupt { section: "padding" });
            }
            end = range.end;
        }
        if file[end..].iter().any(|byte| *byte != 0) {
            return Err(SegmentError::Corrupt { section: "padding" });
        }
        Ok(Self { ranges })
    }

    /// Where a section stands in the file.
    pub(super) fn range(&self, kind: Kind) -> Range<usize> {
        self.ranges[kind as usize - 1].clone()
    }
}

fn checked_section(file: &[u8], kind: Kind, entry: &[u8]) -> Result<Range<usize>, SegmentError> {
    let corrupt = || SegmentError::Corrupt {
        section: kind.name(),
    };
    if number(entry, 0, 4) != u64::from(kind as u32) {
        return Err(corrupt());
    }
    let start = usize::try_from(number(entry, 8, 8)).map_err(|_| corrupt())?;
    let length = usize::try_from(number(entry, 16, 8)).map_err(|_| corrupt())?;
    let end = start.checked_add(length).ok_or_else(corrupt)?;
    let bytes = file.get(start..end).ok_or_else(corrupt)?;
    if u64::from(crc32fast::hash(bytes)) != number(entry, 4, 4) {
        return Err(corrupt());
    }
    Ok(start..end)
}

/// A little-endian number of up to 8 bytes. The caller has checked that it is there.
pub(super) fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

//! The container: a head that says where everything is and how it is checked, then the sections. Little-endian throughout.
//!
//! The head can be read from the first bytes of a file of which nothing else is there, and every block that comes later
//! can be checked by itself.

use std::ops::Range;

use super::SegmentError;

/// Format version that this program writes, and the only one it reads.
pub const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"OUTCROP\0";
/// Magic, version, sections, file length, head length, checksum of the head.
const FIXED_BYTES: usize = 32;
/// Where the checksum of the head stands; it covers the head without itself.
const CHECKSUM_AT: Range<usize> = 28..32;
/// Kind, block size, offset, length, first checksum, zero.
const ENTRY_BYTES: usize = 32;
/// Sections begin at multiples of this, so that a row of a block of codes is one cache line.
const ALIGNMENT: usize = 64;
/// log2 of the bytes under one checksum where a section is read whole.
const WHOLE: u32 = 16;
/// log2 of the bytes under one checksum where a search reads a few places of a section.
const PLACES: u32 = 12;

/// What a section holds. The order is that of the file: what every search needs comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Section {
    /// Counts, dimension and embedder.
    Summary = 1,
    /// The mean of the rotated vectors.
    Centroid = 2,
    /// For each document its first passage and the place of its strings.
    Documents = 3,
    /// Documents by the hash of their ids.
    DocumentIds = 4,
    /// For each principal the documents that it may read.
    Readers = 5,
    /// Metadata by key.
    Columns = 6,
    /// Where each block of passages stands.
    PassageOffsets = 7,
    /// The terms, the lengths of passages and the table of the inverted index's files.
    LexiconDictionary = 8,
    /// 1-bit codes with their factors.
    Bits = 9,
    /// Scales of the 8-bit rows.
    Scales = 10,
    /// Passages of each term.
    LexiconPostings = 11,
    /// 8-bit rows.
    Rows = 12,
    /// Ids, titles, addresses, hashes and metadata of documents.
    Strings = 13,
    /// Texts, compressed.
    Passages = 14,
}

impl Section {
    /// All sections in the order of the file.
    pub const ALL: [Section; 14] = [
        Section::Summary,
        Section::Centroid,
        Section::Documents,
        Section::DocumentIds,
        Section::Readers,
        Section::Columns,
        Section::PassageOffsets,
        Section::LexiconDictionary,
        Section::Bits,
        Section::Scales,
        Section::LexiconPostings,
        Section::Rows,
        Section::Strings,
        Section::Passages,
    ];

    /// The name that errors give.
    pub fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Centroid => "centroid",
            Self::Documents => "documents",
            Self::DocumentIds => "document ids",
            Self::Readers => "readers",
            Self::Columns => "columns",
            Self::PassageOffsets => "passage offsets",
            Self::LexiconDictionary => "lexicon dictionary",
            Self::Bits => "bits",
            Self::Scales => "scales",
            Self::LexiconPostings => "lexicon postings",
            Self::Rows => "rows",
            Self::Strings => "strings",
            Self::Passages => "passages",
        }
    }

    /// Whether a search reads a few places of the section rather than all of it.
    pub fn is_read_in_places(self) -> bool {
        self as u32 >= Self::LexiconPostings as u32
    }

    fn block_log(self) -> u32 {
        if self.is_read_in_places() {
            PLACES
        } else {
            WHOLE
        }
    }

    fn corrupt(self) -> SegmentError {
        SegmentError::Corrupt {
            section: self.name(),
        }
    }
}

/// Writes the head of a file of these sections, in the order of [`Section::ALL`].
pub(super) fn head_of(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut checksums: Vec<u8> = Vec::new();
    let mut firsts = Vec::new();
    for (section, bytes) in Section::ALL.iter().zip(sections) {
        firsts.push(checksums.len() / 4);
        let padding = vec![0; bytes.len().next_multiple_of(ALIGNMENT) - bytes.len()];
        let size = 1 << section.block_log();
        let blocks = bytes.chunks(size);
        let count = blocks.len();
        for (number, block) in blocks.enumerate() {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(block);
            if number + 1 == count {
                hasher.update(&padding);
            }
            checksums.extend_from_slice(&hasher.finalize().to_le_bytes());
        }
    }
    let plain = FIXED_BYTES + sections.len() * ENTRY_BYTES + checksums.len();
    let length = plain.next_multiple_of(ALIGNMENT);
    let mut offset = length;
    let mut table = Vec::new();
    for ((section, bytes), first) in Section::ALL.iter().zip(sections).zip(firsts) {
        table.extend_from_slice(&(*section as u32).to_le_bytes());
        table.extend_from_slice(&section.block_log().to_le_bytes());
        table.extend_from_slice(&(offset as u64).to_le_bytes());
        table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        table.extend_from_slice(&(first as u32).to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        offset += bytes.len().next_multiple_of(ALIGNMENT);
    }
    let mut head = Vec::with_capacity(length);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    head.extend_from_slice(&(offset as u64).to_le_bytes());
    head.extend_from_slice(&(length as u32).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&table);
    head.extend_from_slice(&checksums);
    head.resize(length, 0);
    let checksum = checksum_of_head(&head);
    head[CHECKSUM_AT].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// The zeros after a section.
pub(super) fn padding_after(section: &[u8]) -> usize {
    section.len().next_multiple_of(ALIGNMENT) - section.len()
}

fn checksum_of_head(head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..CHECKSUM_AT.start]);
    hasher.update(&head[CHECKSUM_AT.end..]);
    hasher.finalize()
}

#[derive(Debug, Clone)]
struct Entry {
    /// Bytes of the section, without padding.
    range: Range<u64>,
    block_log: u32,
    /// Number of the section's first block in the file.
    first_block: usize,
}

impl Entry {
    /// The section with its padding: what its checksums cover.
    fn extent(&self) -> Range<u64> {
        self.range.start..self.range.end.next_multiple_of(ALIGNMENT as u64)
    }

    fn blocks(&self) -> usize {
        let length = self.range.end - self.range.start;
        length.div_ceil(1 << self.block_log) as usize
    }

    /// The bytes of a block, counted within the section. The padding belongs to the last block.
    fn block_range(&self, block: usize) -> Range<u64> {
        let start = self.range.start + ((block as u64) << self.block_log);
        let end = if block + 1 == self.blocks() {
            self.extent().end
        } else {
            start + (1 << self.block_log)
        };
        start..end
    }
}

/// The head of a segment file: where the sections are, and the checksum of every block of theirs. Blocks are numbered
/// through the file.
#[derive(Debug, Clone)]
pub struct Head {
    length: usize,
    file_length: u64,
    entries: Vec<Entry>,
    checksums: Vec<u32>,
}

impl Head {
    /// So many bytes from the beginning of a file tell how long its head is.
    pub const FIXED_BYTES: usize = FIXED_BYTES;

    /// Bytes of the head, from the first [`Head::FIXED_BYTES`] bytes of the file.
    ///
    /// # Errors
    /// [`SegmentError::Truncated`], [`SegmentError::NotASegment`], [`SegmentError::NewerVersion`],
    /// [`SegmentError::OlderVersion`] or [`SegmentError::Corrupt`].
    pub fn length_of(prefix: &[u8]) -> Result<usize, SegmentError> {
        let fixed = prefix
            .get(..FIXED_BYTES)
            .ok_or_else(|| truncated(FIXED_BYTES as u64, prefix.len() as u64))?;
        if &fixed[..8] != MAGIC {
            return Err(SegmentError::NotASegment);
        }
        match number(fixed, 8, 4) as u32 {
            VERSION => {}
            found if found > VERSION => {
                return Err(SegmentError::NewerVersion {
                    found,
                    supported: VERSION,
                });
            }
            0 => return Err(SegmentError::Corrupt { section: "head" }),
            found => {
                return Err(SegmentError::OlderVersion {
                    found,
                    supported: VERSION,
                });
            }
        }
        let (sections, length) = (number(fixed, 12, 4), number(fixed, 24, 4) as usize);
        let least = FIXED_BYTES + Section::ALL.len() * ENTRY_BYTES;
        if sections != Section::ALL.len() as u64
            || length < least
            || !length.is_multiple_of(ALIGNMENT)
        {
            return Err(SegmentError::Corrupt { section: "head" });
        }
        Ok(length)
    }

    /// Reads and checks a head from the first bytes of a file; more than the head does no harm.
    ///
    /// # Errors
    /// As [`Head::length_of`].
    pub fn parse(prefix: &[u8]) -> Result<Self, SegmentError> {
        let length = Self::length_of(prefix)?;
        let head = prefix
            .get(..length)
            .ok_or_else(|| truncated(length as u64, prefix.len() as u64))?;
        let corrupt = || SegmentError::Corrupt { section: "head" };
        if u64::from(checksum_of_head(head)) != number(head, CHECKSUM_AT.start, 4) {
            return Err(corrupt());
        }
        let table_end = FIXED_BYTES + Section::ALL.len() * ENTRY_BYTES;
        let file_length = number(head, 16, 8);
        let (mut offset, mut first_block) = (length as u64, 0);
        let mut entries = Vec::with_capacity(Section::ALL.len());
        let table = head[FIXED_BYTES..table_end].chunks_exact(ENTRY_BYTES);
        for (section, entry) in Section::ALL.iter().zip(table) {
            let entry = read_entry(*section, entry, offset, first_block).ok_or_else(corrupt)?;
            offset = entry.extent().end;
            first_block += entry.blocks();
            entries.push(entry);
            // Before the sum can grow without bounds.
            if offset > file_length {
                return Err(corrupt());
            }
        }
        let checksums_end = first_block
            .checked_mul(4)
            .and_then(|bytes| bytes.checked_add(table_end))
            .ok_or_else(corrupt)?;
        if offset != file_length || checksums_end.next_multiple_of(ALIGNMENT) != length {
            return Err(corrupt());
        }
        let checksums = head[table_end..checksums_end].chunks_exact(4);
        Ok(Self {
            length,
            file_length,
            entries,
            checksums: checksums.map(|sum| number(sum, 0, 4) as u32).collect(),
        })
    }

    /// Bytes of the head.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes of the whole file.
    pub fn file_length(&self) -> u64 {
        self.file_length
    }

    /// Where a section stands in the file, in bytes.
    pub fn range(&self, section: Section) -> Range<u64> {
        self.entries[section as usize - 1].range.clone()
    }

    /// Blocks of the file under a checksum of their own.
    pub fn block_count(&self) -> usize {
        self.checksums.len()
    }

    /// The blocks that hold a range of bytes of the file; those of the head have none.
    pub fn blocks_in(&self, range: &Range<u64>) -> Range<usize> {
        let before = |at: u64| {
            let section = self
                .entries
                .partition_point(|entry| entry.extent().end <= at);
            match self.entries.get(section) {
                Some(entry) => {
                    let within = at.saturating_sub(entry.range.start) >> entry.block_log;
                    entry.first_block + within as usize
                }
                None => self.checksums.len(),
            }
        };
        if range.start >= range.end || range.end <= self.length as u64 {
            return 0..0;
        }
        let last = before(range.end.min(self.file_length) - 1);
        before(range.start)..(last + 1).min(self.checksums.len())
    }

    /// The bytes of a block in the file. `None`: there is no such block.
    pub fn block_range(&self, block: usize) -> Option<Range<u64>> {
        let entry = self.entry_of(block)?;
        Some(entry.1.block_range(block - entry.1.first_block))
    }

    /// Checks the bytes of a block.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`]: they are not what was written there, or there is no such block.
    pub fn verify(&self, block: usize, bytes: &[u8]) -> Result<(), SegmentError> {
        let (section, entry) = self
            .entry_of(block)
            .ok_or(SegmentError::Corrupt { section: "head" })?;
        let range = entry.block_range(block - entry.first_block);
        let same = bytes.len() as u64 == range.end - range.start
            && self.checksums.get(block) == Some(&crc32fast::hash(bytes));
        if same { Ok(()) } else { Err(section.corrupt()) }
    }

    fn entry_of(&self, block: usize) -> Option<(Section, &Entry)> {
        if block >= self.checksums.len() {
            return None;
        }
        let at = self
            .entries
            .partition_point(|entry| entry.first_block + entry.blocks() <= block);
        Some((*Section::ALL.get(at)?, self.entries.get(at)?))
    }

    /// Checks every block of a whole file, over all cores.
    pub(super) fn verify_all(&self, file: &[u8]) -> Result<(), SegmentError> {
        self.check_length(file.len() as u64)?;
        let verify = |block: usize| {
            let range = self
                .block_range(block)
                .ok_or(SegmentError::Corrupt { section: "head" })?;
            self.verify(block, &file[range.start as usize..range.end as usize])
        };
        check_blocks(self.block_count(), &verify)
    }

    /// A file must be as long as its head says.
    pub(super) fn check_length(&self, found: u64) -> Result<(), SegmentError> {
        match found.cmp(&self.file_length) {
            std::cmp::Ordering::Less => Err(truncated(self.file_length, found)),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(SegmentError::Corrupt { section: "head" }),
        }
    }
}

/// Blocks that one task checks: fewer are not worth a hand-over.
const BLOCKS_PER_TASK: usize = 512;

fn check_blocks(
    count: usize,
    verify: &(dyn Fn(usize) -> Result<(), SegmentError> + Sync),
) -> Result<(), SegmentError> {
    use rayon::prelude::*;
    if count <= BLOCKS_PER_TASK {
        return (0..count).try_for_each(verify);
    }
    (0..count)
        .into_par_iter()
        .with_min_len(BLOCKS_PER_TASK)
        .try_for_each(verify)
}

fn read_entry(section: Section, entry: &[u8], offset: u64, first_block: usize) -> Option<Entry> {
    let as_written = number(entry, 0, 4) == u64::from(section as u32)
        && number(entry, 4, 4) == u64::from(section.block_log())
        && number(entry, 8, 8) == offset
        && number(entry, 24, 8) == first_block as u64;
    let length = number(entry, 16, 8);
    // No file is longer than a signed offset can say; the bound keeps sums of two from wrapping.
    let fits = length <= i64::MAX as u64 / 4;
    (as_written && fits).then(|| Entry {
        range: offset..offset + length,
        block_log: section.block_log(),
        first_block,
    })
}

fn truncated(expected: u64, found: u64) -> SegmentError {
    SegmentError::Truncated { expected, found }
}

/// A little-endian number of up to 8 bytes. The caller has checked that it is there.
pub(super) fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The 4-byte number at an index of an array of them. `None`: the array ends before.
pub(super) fn u32_at(array: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    let bytes = array.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The 8-byte number at an index of an array of them. `None`: the array ends before.
pub(super) fn u64_at(array: &[u8], index: usize) -> Option<u64> {
    let at = index.checked_mul(8)?;
    let bytes = array.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The part of a section between two offsets that the file gave. `None`: they point elsewhere.
pub(super) fn part(bytes: &[u8], start: u64, end: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

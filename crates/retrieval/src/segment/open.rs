//! Opening a segment: map, check, keep slices. Nothing is decoded that grows with the documents.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use sha2::{Digest, Sha256};
use tantivy::directory::OwnedBytes;

use super::format::{Head, Section, part, u32_at, u64_at};
use super::source::{Fetch, Source};
use super::{SegmentError, documents, passages};
use crate::lexical::{Lexicon, SectionFile};
use crate::vector;

/// Vectors of more components are not ours.
const LARGEST_DIMENSION: u32 = 1 << 20;
/// What tantivy reads of the postings when it opens them stands in their first and last bytes.
const POSTINGS_ENDS: u64 = 4_096;

/// An opened segment.
pub struct Segment {
    pub(super) source: Source,
    pub(super) head: Head,
    pub(super) summary: Summary,
    pub(super) centroid: Vec<f32>,
    lexicon: Lexicon,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub embedder: String,
    pub dimension: usize,
    pub documents: u32,
    pub passages: u32,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Segment")
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Maps a file and checks every byte of it. The file must not change while it is open; segments are immutable.
    ///
    /// # Errors
    /// Any [`SegmentError`] but the build's.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let bytes = map(path)?;
        Head::parse(&bytes)?.verify_all(&bytes)?;
        Self::from_source(Source::new(bytes, None))
    }

    /// Maps a file of which every block was verified while it came ([`Head::verify`]); only its head is checked again.
    ///
    /// # Errors
    /// As [`Segment::open`].
    pub fn open_verified(path: &Path) -> Result<Self, SegmentError> {
        Self::from_source(Source::new(map(path)?, None))
    }

    /// Maps a file that is here only in part: it has its full length and its head, and `fetch` brings what a search is
    /// about to read, into the same file. A search asks for all it needs of one kind at once.
    ///
    /// # Errors
    /// As [`Segment::open`], and those of `fetch`.
    pub fn open_partial(path: &Path, fetch: Fetch) -> Result<Self, SegmentError> {
        Self::from_source(Source::new(map(path)?, Some(fetch)))
    }

    /// Opens a segment in memory and checks every byte of it.
    ///
    /// # Errors
    /// As [`Segment::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SegmentError> {
        Head::parse(&bytes)?.verify_all(&bytes)?;
        Self::from_source(Source::new(OwnedBytes::new(bytes), None))
    }

    fn from_source(source: Source) -> Result<Self, SegmentError> {
        let head = Head::parse(source.bytes())?;
        head.check_length(source.bytes().len() as u64)?;
        source.need(&opening_ranges(&head))?;
        let section = |section: Section| bytes_of(&source, &head, section);
        let summary = Summary::read(section(Section::Summary)).ok_or(SegmentError::Corrupt {
            section: Section::Summary.name(),
        })?;
        check_sizes(&head, &summary)?;
        let (centroid, _) = section(Section::Centroid).as_chunks::<4>();
        let centroid = centroid.iter().map(|value| f32::from_le_bytes(*value));
        let centroid = centroid.collect();
        let lexicon = open_lexicon(&source, &head, &summary)?;
        Ok(Self {
            source,
            head,
            summary,
            centroid,
            lexicon,
        })
    }

    /// The bytes of the file, of which all are here unless it was opened in part.
    pub fn file(&self) -> &[u8] {
        self.source.bytes()
    }

    /// Has every block checked that was not yet.
    ///
    /// # Errors
    /// [`SegmentError::Missing`] when some must be brought: all of them are asked for.
    pub fn check(&self) -> Result<(), SegmentError> {
        let whole = 0..self.source.bytes().len() as u64;
        self.source.need(std::slice::from_ref(&whole))
    }

    /// SHA-256 of the file, 64 hex digits: the name under which it is stored.
    pub fn id(&self) -> String {
        Sha256::digest(self.source.bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Where the file's sections are.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.summary.dimension
    }

    /// The model whose vectors these are.
    pub fn embedder(&self) -> &str {
        &self.summary.embedder
    }

    pub fn passage_count(&self) -> u32 {
        self.summary.passages
    }

    pub fn document_count(&self) -> u32 {
        self.summary.documents
    }

    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    pub(super) fn section(&self, section: Section) -> &[u8] {
        bytes_of(&self.source, &self.head, section)
    }
}

impl Head {
    /// What opening a segment reads, besides the head: the sections up to the lexicon's dictionary, and the ends of the
    /// postings.
    pub fn opening_ranges(&self) -> Vec<Range<u64>> {
        opening_ranges(self)
    }
}

fn opening_ranges(head: &Head) -> Vec<Range<u64>> {
    let first = head.range(Section::Summary).start;
    let postings = head.range(Section::LexiconPostings);
    let ends = POSTINGS_ENDS.min(postings.end - postings.start);
    vec![
        first..head.range(Section::LexiconDictionary).end,
        postings.start..postings.start + ends,
        postings.end - ends..postings.end,
    ]
}

fn map(path: &Path) -> Result<OwnedBytes, SegmentError> {
    let io = |error: std::io::Error| SegmentError::Io {
        detail: error.to_string(),
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(SegmentError::Truncated {
            expected: Head::FIXED_BYTES as u64,
            found: 0,
        });
    }
    // SAFETY: segments are written under another name and renamed when whole, and never written again; of a partial
    // file only bytes that were never read are written. So the mapped bytes do not change under a reader.
    let mapping = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok(OwnedBytes::new(mapping))
}

fn bytes_of<'a>(source: &'a Source, head: &Head, section: Section) -> &'a [u8] {
    let range = head.range(section);
    &source.bytes()[range.start as usize..range.end as usize]
}

impl Summary {
    /// `None`: the section is not what was written.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (documents, passages) = (u32_at(bytes, 0)?, u32_at(bytes, 1)?);
        let (dimension, name) = (u32_at(bytes, 2)?, bytes.get(16..)?);
        let whole = name.len() == u32_at(bytes, 3)? as usize;
        (whole && (1..=LARGEST_DIMENSION).contains(&dimension)).then_some(())?;
        Some(Self {
            embedder: std::str::from_utf8(name).ok()?.to_owned(),
            dimension: dimension as usize,
            documents,
            passages,
        })
    }
}

/// Sections of fixed-size entries must have as many as the summary says.
fn check_sizes(head: &Head, summary: &Summary) -> Result<(), SegmentError> {
    let (documents, passages) = (summary.documents, summary.passages);
    let dimension = summary.dimension;
    let blocks = u64::from(passages).div_ceil(vector::LANES as u64);
    let expected = [
        (Section::Centroid, dimension as u64 * 4),
        (
            Section::Documents,
            documents::entries_bytes(documents) as u64,
        ),
        (Section::DocumentIds, documents::ids_bytes(documents) as u64),
        (
            Section::PassageOffsets,
            passages::offsets_bytes(passages) as u64,
        ),
        (
            Section::Bits,
            blocks * vector::block_bytes(dimension) as u64,
        ),
        (Section::Scales, u64::from(passages) * 4),
        (
            Section::Rows,
            u64::from(passages) * vector::row_bytes(dimension) as u64,
        ),
    ];
    for (section, size) in expected {
        let range = head.range(section);
        if range.end - range.start != size {
            return Err(SegmentError::Corrupt {
                section: section.name(),
            });
        }
    }
    Ok(())
}

fn open_lexicon(source: &Source, head: &Head, summary: &Summary) -> Result<Lexicon, SegmentError> {
    let corrupt = || SegmentError::Corrupt {
        section: Section::LexiconDictionary.name(),
    };
    let files = lexicon_files(bytes_of(source, head, Section::LexiconDictionary), head)
        .ok_or_else(corrupt)?;
    let lexicon = Lexicon::open(source.clone(), files).map_err(|_| corrupt())?;
    if lexicon.passages() != u64::from(summary.passages) {
        return Err(corrupt());
    }
    Ok(lexicon)
}

/// The table of tantivy's files; `build` writes it. `None`: it is not what was written.
fn lexicon_files(dictionary: &[u8], head: &Head) -> Option<Vec<SectionFile>> {
    const ENTRY_BYTES: usize = 24;
    let count = usize::try_from(u64_at(dictionary, 0)?).ok()?;
    let names_at = count.checked_mul(ENTRY_BYTES)?.checked_add(8)?;
    let entries = dictionary.get(8..names_at)?.chunks_exact(ENTRY_BYTES);
    let mut name_at = names_at as u64;
    let mut files = Vec::new();
    for entry in entries {
        let name_end = name_at + u64::from(u32_at(entry, 1)?);
        let name = std::str::from_utf8(part(dictionary, name_at, name_end)?).ok()?;
        name_at = name_end;
        let section = match u32_at(entry, 0)? {
            0 => head.range(Section::LexiconDictionary),
            _ => head.range(Section::LexiconPostings),
        };
        let start = section.start.checked_add(u64_at(entry, 1)?)?;
        let end = start.checked_add(u64_at(entry, 2)?)?;
        (end <= section.end).then_some(())?;
        files.push(SectionFile {
            name: name.to_owned(),
            range: start..end,
        });
    }
    Some(files)
}

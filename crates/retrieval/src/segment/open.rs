//! Opening a segment: map, check, keep slices. Passages are decoded when they are asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tantivy::directory::OwnedBytes;

use super::build::BLOCK_PASSAGES;
use super::format::{Kind, Layout, number};
use super::{DocumentRecord, SegmentError, StoredPassage};
use crate::bits::Bits;
use crate::filter::Filter;
use crate::index::Mask;
use crate::lexical::Lexicon;
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument};
use crate::vector::{self, Codes};

/// A block of passages of more plain bytes is not one of ours.
const BLOCK_BYTES: u64 = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub embedder: String,
    pub dimension: usize,
    pub documents: u32,
    pub passages: u32,
}

/// An opened segment.
pub struct Segment {
    bytes: OwnedBytes,
    layout: Layout,
    summary: Summary,
    readers: BTreeMap<String, Vec<u32>>,
    mean: Vec<f32>,
    lexicon: Lexicon,
    records: OnceLock<Vec<DocumentRecord>>,
    by_id: OnceLock<HashMap<String, u32>>,
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
    /// Maps a file and checks it. The file must not change while it is open; segments are immutable.
    ///
    /// # Errors
    /// Any [`SegmentError`] but the build's.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let io = |error: std::io::Error| SegmentError::Io {
            detail: error.to_string(),
        };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(SegmentError::Truncated {
                expected: 1,
                found: 0,
            });
        }
        // SAFETY: segments are written under another name and renamed when whole, and never written again, so the
        // mapped bytes do not change.
        let mapping = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::from_owned(OwnedBytes::new(mapping))
    }

    /// Opens a segment in memory.
    ///
    /// # Errors
    /// As [`Segment::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SegmentError> {
        Self::from_owned(OwnedBytes::new(bytes))
    }

    fn from_owned(bytes: OwnedBytes) -> Result<Self, SegmentError> {
        let layout = Layout::check(&bytes)?;
        let summary: Summary = parse(&bytes, &layout, Kind::Summary)?;
        let readers: BTreeMap<String, Vec<u32>> = parse(&bytes, &layout, Kind::Readers)?;
        if readers
            .values()
            .flatten()
            .any(|ordinal| *ordinal >= summary.documents)
        {
            return Err(SegmentError::Corrupt {
                section: Kind::Readers.name(),
            });
        }
        check_sizes(&layout, &summary)?;
        let mean = bytes[layout.range(Kind::Mean)]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect();
        let lexicon = open_lexicon(&bytes, &layout, &summary)?;
        Ok(Self {
            bytes,
            layout,
            summary,
            readers,
            mean,
            lexicon,
            records: OnceLock::new(),
            by_id: OnceLock::new(),
        })
    }

    /// SHA-256 of the file, 64 hex digits: the name under which it is stored.
    pub fn id(&self) -> String {
        Sha256::digest(self.bytes.as_slice())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
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

    /// A document by its ordinal.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] when there is none or it cannot be read.
    pub fn document(&self, ordinal: u32) -> Result<DocumentRecord, SegmentError> {
        let corrupt = || SegmentError::Corrupt {
            section: Kind::Documents.name(),
        };
        let offsets = self.section(Kind::DocumentOffsets);
        let at = ordinal as usize * 8;
        if ordinal >= self.summary.documents {
            return Err(corrupt());
        }
        let (start, end) = (
            number(offsets, at, 8) as usize,
            number(offsets, at + 8, 8) as usize,
        );
        let record = self
            .section(Kind::Documents)
            .get(start..end)
            .ok_or_else(corrupt)?;
        let record: DocumentRecord = serde_json::from_slice(record).map_err(|_| corrupt())?;
        let range = &record.passage_range;
        if range.start > range.end || range.end > self.summary.passages {
            return Err(corrupt());
        }
        Ok(record)
    }

    /// A passage by its ordinal within the segment.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] when there is none or it cannot be read.
    pub fn passage(&self, ordinal: u32) -> Result<StoredPassage, SegmentError> {
        let corrupt = || SegmentError::Corrupt {
            section: Kind::PassageBlocks.name(),
        };
        let mut block = self.block(ordinal as usize / BLOCK_PASSAGES)?;
        let within = ordinal as usize % BLOCK_PASSAGES;
        if within >= block.len() {
            return Err(corrupt());
        }
        Ok(block.swap_remove(within))
    }

    fn block(&self, block: usize) -> Result<Vec<StoredPassage>, SegmentError> {
        let corrupt = || SegmentError::Corrupt {
            section: Kind::PassageBlocks.name(),
        };
        let offsets = self.section(Kind::BlockOffsets);
        let at = block * 16;
        if at + 32 > offsets.len() {
            return Err(corrupt());
        }
        let (start, plain) = (number(offsets, at, 8) as usize, number(offsets, at + 8, 8));
        let end = number(offsets, at + 16, 8) as usize;
        let packed = self
            .section(Kind::PassageBlocks)
            .get(start..end)
            .ok_or_else(corrupt)?;
        if plain > BLOCK_BYTES {
            return Err(corrupt());
        }
        let plain = zstd::bulk::decompress(packed, plain as usize).map_err(|_| corrupt())?;
        serde_json::from_slice(&plain).map_err(|_| corrupt())
    }

    /// The ordinal of a document by its id.
    pub fn find_document(&self, document_id: &str) -> Option<u32> {
        let by_id = self.by_id.get_or_init(|| {
            let ids = self.records().iter().enumerate();
            ids.map(|(ordinal, record)| (record.document_id.clone(), ordinal as u32))
                .collect()
        });
        by_id.get(document_id).copied()
    }

    /// The document that a passage belongs to, by ordinal.
    pub(crate) fn document_of(&self, passage: u32) -> u32 {
        number(
            self.section(Kind::DocumentOfPassage),
            passage as usize * 4,
            4,
        ) as u32
    }

    /// All documents back, without the dead, vectors as the 8-bit rows have them: what a compaction merges.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`].
    pub fn to_documents(&self, dead: &BTreeSet<u32>) -> Result<Vec<SegmentDocument>, SegmentError> {
        let alive = (0..self.summary.documents).filter(|ordinal| !dead.contains(ordinal));
        alive.map(|ordinal| self.to_document(ordinal)).collect()
    }

    fn to_document(&self, ordinal: u32) -> Result<SegmentDocument, SegmentError> {
        let record = self.document(ordinal)?;
        let size = vector::row_bytes(self.summary.dimension);
        let rows = self.section(Kind::Rows);
        let passages = record
            .passage_range
            .clone()
            .enumerate()
            .map(|(number, at)| {
                let stored = self.passage(at)?;
                let passage = Passage {
                    ordinal: number as u32,
                    start: stored.start,
                    end: stored.end,
                    heading_path: stored.heading_path,
                    text: stored.text,
                };
                let vector = vector::read_row(&rows[at as usize * size..][..size]);
                Ok(EmbeddedPassage { passage, vector })
            });
        let passages = passages.collect::<Result<Vec<_>, SegmentError>>()?;
        Ok(SegmentDocument {
            document_id: record.document_id,
            title: record.title,
            uri: record.uri,
            content_hash: record.content_hash,
            readers: record.readers,
            metadata: record.metadata,
            passages,
        })
    }

    /// The passages that may be ranked: alive, readable under `mask`, passing `filter`.
    pub(crate) fn allowed(
        &self,
        dead: &BTreeSet<u32>,
        mask: &Mask,
        filter: Option<&Filter>,
    ) -> Bits {
        let mut readable = Bits::none(self.summary.documents);
        match mask {
            Mask::Everything => readable.add_range(0..self.summary.documents),
            Mask::Principals(principals) => principals
                .iter()
                .filter_map(|principal| self.readers.get(principal))
                .flatten()
                .for_each(|document| readable.add_range(*document..*document + 1)),
        }
        let mut bits = Bits::none(self.summary.passages);
        for ordinal in readable.iter() {
            let Some(record) = self.records().get(ordinal as usize) else {
                continue;
            };
            let passes = filter.is_none_or(|filter| filter.passes(&record.metadata));
            if passes && !dead.contains(&ordinal) {
                bits.add_range(record.passage_range.clone());
            }
        }
        bits
    }

    /// A document by its ordinal, as it was read at the first search.
    pub(crate) fn record(&self, ordinal: u32) -> Result<&DocumentRecord, SegmentError> {
        self.records()
            .get(ordinal as usize)
            .ok_or(SegmentError::Corrupt {
                section: Kind::Documents.name(),
            })
    }

    /// The documents' records, read once when they are first asked for.
    fn records(&self) -> &[DocumentRecord] {
        self.records.get_or_init(|| {
            // The checksum held at open; a record that does not parse ends the list, and its passages are not allowed.
            (0..self.summary.documents)
                .map_while(|ordinal| self.document(ordinal).ok())
                .collect()
        })
    }

    pub(crate) fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    pub(crate) fn codes(&self) -> Codes<'_> {
        Codes {
            dimension: self.summary.dimension,
            mean: &self.mean,
            rows: self.section(Kind::Rows),
            bits: self.section(Kind::Bits),
        }
    }

    fn section(&self, kind: Kind) -> &[u8] {
        &self.bytes[self.layout.range(kind)]
    }
}

fn parse<T: serde::de::DeserializeOwned>(
    bytes: &OwnedBytes,
    layout: &Layout,
    kind: Kind,
) -> Result<T, SegmentError> {
    serde_json::from_slice(&bytes[layout.range(kind)]).map_err(|_| SegmentError::Corrupt {
        section: kind.name(),
    })
}

/// Sections of fixed-size entries must have as many as the summary says.
fn check_sizes(layout: &Layout, summary: &Summary) -> Result<(), SegmentError> {
    let (documents, passages) = (summary.documents as usize, summary.passages as usize);
    let dimension = summary.dimension;
    let expected = [
        (Kind::DocumentOffsets, (documents + 1).checked_mul(8)),
        (
            Kind::BlockOffsets,
            (passages.div_ceil(BLOCK_PASSAGES) + 1).checked_mul(16),
        ),
        (Kind::DocumentOfPassage, passages.checked_mul(4)),
        (Kind::Mean, dimension.checked_mul(4)),
        (
            Kind::Rows,
            dimension
                .checked_add(4)
                .and_then(|row| row.checked_mul(passages)),
        ),
        (
            Kind::Bits,
            vector::bit_bytes(dimension.min(1 << 20)).checked_mul(passages),
        ),
    ];
    for (kind, size) in expected {
        if Some(layout.range(kind).len()) != size {
            return Err(SegmentError::Corrupt {
                section: kind.name(),
            });
        }
    }
    Ok(())
}

fn open_lexicon(
    bytes: &OwnedBytes,
    layout: &Layout,
    summary: &Summary,
) -> Result<Lexicon, SegmentError> {
    let corrupt = || SegmentError::Corrupt {
        section: Kind::LexiconTable.name(),
    };
    let table: Vec<(String, usize, usize)> = parse(bytes, layout, Kind::LexiconTable)?;
    let whole = bytes.slice(layout.range(Kind::Lexicon));
    let files = table
        .into_iter()
        .map(|(name, start, end)| {
            (start <= end && end <= whole.len())
                .then_some((name, start..end))
                .ok_or_else(corrupt)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let lexicon = Lexicon::open(whole, files).map_err(|_| SegmentError::Corrupt {
        section: Kind::Lexicon.name(),
    })?;
    if lexicon.passages() != u64::from(summary.passages) {
        return Err(SegmentError::Corrupt {
            section: Kind::Lexicon.name(),
        });
    }
    Ok(lexicon)
}

//! Documents: fixed-size entries that say where a document's passages and strings are, the strings, and an index by id.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::format::{part, u32_at, u64_at};
use super::{DocumentRecord, SegmentError};
use crate::passage::SegmentDocument;

/// Lengths of id, title, address and content hash before a document's strings.
const LENGTHS_BYTES: usize = 16;

/// What is read only when a document is wanted whole.
#[derive(Serialize, Deserialize)]
struct Rest {
    readers: Vec<String>,
    metadata: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Collects documents.
#[derive(Default)]
pub(super) struct Writer {
    places: Vec<u64>,
    first_passages: Vec<u32>,
    strings: Vec<u8>,
    ids: Vec<(u64, u32)>,
    passages: u32,
}

impl Writer {
    pub(super) fn push(&mut self, document: &SegmentDocument) -> Result<(), SegmentError> {
        let ordinal = self.places.len() as u32;
        self.ids.push((id_hash(&document.document_id), ordinal));
        self.places.push(self.strings.len() as u64);
        self.first_passages.push(self.passages);
        self.passages += document.passages.len() as u32;
        let strings = [
            &document.document_id,
            &document.title,
            &document.uri,
            &document.content_hash,
        ];
        for string in strings {
            let length = u32::try_from(string.len()).map_err(SegmentError::build)?;
            self.strings.extend_from_slice(&length.to_le_bytes());
        }
        for string in strings {
            self.strings.extend_from_slice(string.as_bytes());
        }
        let rest = Rest {
            readers: document.readers.clone(),
            metadata: document.metadata.clone(),
        };
        serde_json::to_writer(&mut self.strings, &rest).map_err(SegmentError::build)
    }

    pub(super) fn count(&self) -> u32 {
        self.places.len() as u32
    }

    pub(super) fn passages(&self) -> u32 {
        self.passages
    }

    /// The sections documents, document ids and strings.
    pub(super) fn finish(mut self) -> [Vec<u8>; 3] {
        self.places.push(self.strings.len() as u64);
        self.first_passages.push(self.passages);
        self.ids.sort_unstable();
        let mut entries: Vec<u8> = Vec::with_capacity(self.places.len() * 12);
        entries.extend(self.places.iter().flat_map(|place| place.to_le_bytes()));
        entries.extend(
            self.first_passages
                .iter()
                .flat_map(|first| first.to_le_bytes()),
        );
        let mut ids: Vec<u8> = Vec::with_capacity(self.ids.len() * 12);
        ids.extend(self.ids.iter().flat_map(|(hash, _)| hash.to_le_bytes()));
        ids.extend(
            self.ids
                .iter()
                .flat_map(|(_, ordinal)| ordinal.to_le_bytes()),
        );
        [entries, ids, self.strings]
    }
}

/// The first 8 bytes of the id's SHA-256, little-endian.
fn id_hash(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    digest
        .iter()
        .take(8)
        .rev()
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Bytes of the section of entries.
pub(super) fn entries_bytes(documents: u32) -> usize {
    (documents as usize + 1) * 12
}

/// Bytes of the section of ids.
pub(super) fn ids_bytes(documents: u32) -> usize {
    documents as usize * 12
}

/// The documents' entries, as a section has them.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    places: &'a [u8],
    first_passages: &'a [u8],
    documents: u32,
}

impl<'a> Entries<'a> {
    /// `section` has the length that `entries_bytes` says.
    pub(super) fn of(section: &'a [u8], documents: u32) -> Self {
        let (places, first_passages) = section.split_at((documents as usize + 1) * 8);
        Self {
            places,
            first_passages,
            documents,
        }
    }

    /// Ordinals of a document's passages. `None`: there is no such document, or the entry is damaged.
    pub(super) fn passages(&self, document: u32, passages: u32) -> Option<Range<u32>> {
        let start = u32_at(self.first_passages, document as usize)?;
        let end = u32_at(self.first_passages, document as usize + 1)?;
        (document < self.documents && start <= end && end <= passages).then_some(start..end)
    }

    /// The document that a passage belongs to. A damaged table gives another one, never a panic.
    pub(super) fn document_of(&self, passage: u32) -> u32 {
        let (mut low, mut high) = (0, self.documents);
        while low < high {
            let middle = low + (high - low) / 2;
            match u32_at(self.first_passages, middle as usize + 1) {
                Some(end) if end <= passage => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The bytes of a document's strings within their section.
    pub(super) fn strings(&self, document: u32) -> Option<Range<u64>> {
        if document >= self.documents {
            return None;
        }
        let start = u64_at(self.places, document as usize)?;
        let end = u64_at(self.places, document as usize + 1)?;
        (start <= end).then_some(start..end)
    }
}

/// The strings of a document, in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DocumentStrings<'a> {
    pub document_id: &'a str,
    pub title: &'a str,
    pub uri: &'a str,
    pub content_hash: &'a str,
    rest: &'a [u8],
}

impl<'a> DocumentStrings<'a> {
    /// `None`: the bytes are not what was written.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut at = LENGTHS_BYTES as u64;
        let mut next = |number: usize| {
            let end = at + u64::from(u32_at(bytes, number)?);
            let string = std::str::from_utf8(part(bytes, at, end)?).ok()?;
            at = end;
            Some(string)
        };
        Some(Self {
            document_id: next(0)?,
            title: next(1)?,
            uri: next(2)?,
            content_hash: next(3)?,
            rest: bytes.get(usize::try_from(at).ok()?..)?,
        })
    }

    /// The document whole. `None`: its readers and metadata are not what was written.
    pub(super) fn record(&self, passage_range: Range<u32>) -> Option<DocumentRecord> {
        let rest: Rest = serde_json::from_slice(self.rest).ok()?;
        Some(DocumentRecord {
            document_id: self.document_id.to_owned(),
            title: self.title.to_owned(),
            uri: self.uri.to_owned(),
            content_hash: self.content_hash.to_owned(),
            readers: rest.readers,
            metadata: rest.metadata,
            passage_range,
        })
    }
}

/// Ordinals of the documents whose id has the hash of `id`; the caller compares the ids.
pub(super) fn find<'a>(
    section: &'a [u8],
    documents: u32,
    id: &str,
) -> impl Iterator<Item = u32> + 'a {
    let hash = id_hash(id);
    let (hashes, ordinals) = section.split_at(documents as usize * 8);
    let (mut low, mut high) = (0, documents as usize);
    while low < high {
        let middle = low + (high - low) / 2;
        match u64_at(hashes, middle) {
            Some(found) if found < hash => low = middle + 1,
            _ => high = middle,
        }
    }
    (low..documents as usize)
        .take_while(move |at| u64_at(hashes, *at) == Some(hash))
        .filter_map(move |at| u32_at(ordinals, at))
}

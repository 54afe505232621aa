//! Documents: fixed-size entries that say where a document's passages and strings are, the strings, and an index by id.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::format::{part, u32_at, u64_at};
use super::{DocumentRecord, SegmentError};
use crate::bits::{Bits, runs};
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

    /// Ordinals of the passages of documents that follow one another. `None`: there are no such documents, or an entry is
    /// damaged.
    pub(super) fn passages(&self, documents: Range<u32>, passages: u32) -> Option<Range<u32>> {
        let start = u32_at(self.first_passages, documents.start as usize)?;
        let end = u32_at(self.first_passages, documents.end as usize)?;
        (documents.end <= self.documents && start <= end && end <= passages).then_some(start..end)
    }

    /// The passages of a set of documents. Documents whose entry is damaged have none.
    pub(super) fn all_passages(&self, documents: &Bits, passages: u32) -> Bits {
        let mut all = Bits::none(passages);
        let (firsts, _) = self.first_passages.as_chunks::<4>();
        for (number, word) in documents.words().iter().enumerate() {
            let first = number as u32 * 64;
            let firsts = firsts
                .get(number * 64..)
                .and_then(|firsts| firsts.first_chunk());
            if let Some(start) = firsts.and_then(first_of_single) {
                all.add_word(start, *word);
                continue;
            }
            for run in runs(*word) {
                let run = first + run.start..first + run.end;
                if let Some(range) = self.passages(run, passages) {
                    all.add_range(range);
                }
            }
        }
        all
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

/// The first passage of 64 documents that have one passage each: of short documents most do.
fn first_of_single(firsts: &[[u8; 4]; 65]) -> Option<u32> {
    let firsts = firsts.map(u32::from_le_bytes);
    let steps = firsts.iter().skip(1).zip(&firsts);
    let others = steps.fold(0, |others, (next, first)| {
        others | (next.wrapping_sub(*first) ^ 1)
    });
    (others == 0).then_some(firsts[0])
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_passages_of_a_set_are_those_of_each_document(
            singles in 0usize..200,
            others in prop::collection::vec(0u32..4, 0..90),
            more_singles in 0usize..200,
            chosen in prop::collection::vec(any::<bool>(), 490),
        ) {
            let counts = std::iter::repeat_n(1, singles).chain(others).chain(std::iter::repeat_n(1, more_singles));
            let mut firsts = vec![0u32];
            firsts.extend(counts.scan(0, |next, count| {
                *next += count;
                Some(*next)
            }));
            let (documents, passages) = (firsts.len() as u32 - 1, firsts[firsts.len() - 1]);
            let mut section = vec![0; firsts.len() * 8];
            section.extend(firsts.iter().flat_map(|first| first.to_le_bytes()));
            let set = Bits::from_slice(&chosen[..documents as usize], |is_in| *is_in);
            let mut wanted = Bits::none(passages);
            for document in set.iter() {
                wanted.add_range(firsts[document as usize]..firsts[document as usize + 1]);
            }
            let entries = Entries::of(&section, documents);
            prop_assert_eq!(entries.all_passages(&set, passages), wanted);
        }
    }
}

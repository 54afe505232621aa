//! Reading documents and passages of an opened segment.

use std::collections::BTreeSet;
use std::ops::Range;

use super::documents::{DocumentStrings, Entries};
use super::format::{Section, part};
use super::{
    DocumentRecord, Segment, SegmentError, StoredPassage, columns, documents, passages, readers,
};
use crate::bits::Bits;
use crate::filter::Filter;
use crate::index::Mask;
use crate::passage::{EmbeddedPassage, Passage, SegmentDocument, Siblings};
use crate::vector::{Codes, Rotation};

fn corrupt(section: Section) -> SegmentError {
    SegmentError::Corrupt {
        section: section.name(),
    }
}

impl Segment {
    /// A document by its ordinal.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] when there is none or it cannot be read.
    pub fn document(&self, ordinal: u32) -> Result<DocumentRecord, SegmentError> {
        let range = self.passages_of(ordinal)?;
        let strings = self.strings(ordinal)?;
        strings
            .record(range)
            .ok_or_else(|| corrupt(Section::Strings))
    }

    /// Ordinals of a document's passages.
    pub(crate) fn passages_of(&self, document: u32) -> Result<Range<u32>, SegmentError> {
        let range = self
            .entries()
            .passages(document..document.saturating_add(1), self.summary.passages);
        range.ok_or_else(|| corrupt(Section::Documents))
    }

    /// A document's id, title, address and content hash.
    pub(crate) fn strings(&self, document: u32) -> Result<DocumentStrings<'_>, SegmentError> {
        let range = self.entries().strings(document);
        let range = range.ok_or_else(|| corrupt(Section::Documents))?;
        self.bring(Section::Strings, std::slice::from_ref(&range))?;
        let bytes = part(self.section(Section::Strings), range.start, range.end);
        bytes
            .and_then(DocumentStrings::read)
            .ok_or_else(|| corrupt(Section::Strings))
    }

    /// A passage by its ordinal within the segment.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`] when there is none or it cannot be read.
    pub fn passage(&self, ordinal: u32) -> Result<StoredPassage, SegmentError> {
        let corrupt = || corrupt(Section::Passages);
        if ordinal >= self.summary.passages {
            return Err(corrupt());
        }
        let range = passages::block_range(self.section(Section::PassageOffsets), ordinal)
            .ok_or_else(corrupt)?;
        self.bring(Section::Passages, std::slice::from_ref(&range))?;
        let packed =
            part(self.section(Section::Passages), range.start, range.end).ok_or_else(corrupt)?;
        let plain = passages::plain(packed).ok_or_else(corrupt)?;
        passages::read(&plain, ordinal as usize % passages::BLOCK_PASSAGES).ok_or_else(corrupt)
    }

    /// Brings what showing these passages reads: their texts and their documents' strings.
    pub(crate) fn bring_passages(
        &self,
        ordinals: impl Iterator<Item = u32>,
    ) -> Result<(), SegmentError> {
        if !self.source.is_partial() {
            return Ok(());
        }
        let offsets = self.section(Section::PassageOffsets);
        let (mut texts, mut strings) = (Vec::new(), Vec::new());
        for ordinal in ordinals {
            texts.extend(passages::block_range(offsets, ordinal));
            strings.extend(self.entries().strings(self.document_of(ordinal)));
        }
        let mut ranges = self.in_file(Section::Strings, &strings);
        ranges.extend(self.in_file(Section::Passages, &texts));
        self.source.need(&ranges)
    }

    /// Brings what showing the parts of larger passages reads, each named by its document and its siblings.
    pub(crate) fn bring_siblings<'h>(
        &self,
        parts: impl Iterator<Item = (&'h str, Siblings)>,
    ) -> Result<(), SegmentError> {
        if !self.source.is_partial() {
            return Ok(());
        }
        let ids = self.section(Section::DocumentIds);
        let mut ordinals = BTreeSet::new();
        for (document_id, siblings) in parts {
            for document in documents::find(ids, self.summary.documents, document_id) {
                let range = self.passages_of(document)?;
                let first = range.start.saturating_add(siblings.first);
                let end = first.saturating_add(siblings.count).min(range.end);
                ordinals.extend(first..end);
            }
        }
        self.bring_passages(ordinals.into_iter())
    }

    /// Brings the 8-bit rows of passages.
    pub(crate) fn bring_rows(
        &self,
        ordinals: impl Iterator<Item = u32>,
    ) -> Result<(), SegmentError> {
        if !self.source.is_partial() {
            return Ok(());
        }
        let size = crate::vector::row_bytes(self.summary.dimension) as u64;
        let rows: Vec<Range<u64>> = ordinals
            .map(|ordinal| u64::from(ordinal) * size..(u64::from(ordinal) + 1) * size)
            .collect();
        self.bring(Section::Rows, &rows)
    }

    /// Brings, at once, what ranking reads before it knows any passage: the postings of `text`, and with `vectors` the
    /// 1-bit codes and the scales of the rows.
    pub(crate) fn bring_rankings(
        &self,
        text: Option<&str>,
        vectors: bool,
    ) -> Result<(), SegmentError> {
        if !self.source.is_partial() {
            return Ok(());
        }
        let postings = text.map(|text| self.lexicon().postings(text)).transpose();
        let mut ranges = postings
            .map_err(|_| corrupt(Section::LexiconDictionary))?
            .unwrap_or_default();
        if vectors {
            ranges.push(self.head.range(Section::Bits).start..self.head.range(Section::Scales).end);
        }
        self.source.need(&ranges)
    }

    /// Brings the strings of passages' documents.
    pub(crate) fn bring_strings(
        &self,
        passages: impl Iterator<Item = u32>,
    ) -> Result<(), SegmentError> {
        if !self.source.is_partial() {
            return Ok(());
        }
        let strings = passages.filter_map(|at| self.entries().strings(self.document_of(at)));
        self.bring(Section::Strings, &strings.collect::<Vec<_>>())
    }

    /// `ranges` are counted within the section.
    fn bring(&self, section: Section, ranges: &[Range<u64>]) -> Result<(), SegmentError> {
        if self.source.is_partial() {
            return self.source.need(&self.in_file(section, ranges));
        }
        Ok(())
    }

    fn in_file(&self, section: Section, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let at = self.head.range(section);
        let place = |offset: u64| at.start.saturating_add(offset).min(at.end);
        ranges
            .iter()
            .map(|range| place(range.start)..place(range.end))
            .collect()
    }

    /// The ordinal of a document by its id.
    pub fn find_document(&self, document_id: &str) -> Option<u32> {
        let ids = self.section(Section::DocumentIds);
        documents::find(ids, self.summary.documents, document_id).find(|ordinal| {
            self.strings(*ordinal)
                .is_ok_and(|strings| strings.document_id == document_id)
        })
    }

    /// The document that a passage belongs to, by ordinal.
    pub(crate) fn document_of(&self, passage: u32) -> u32 {
        self.entries().document_of(passage)
    }

    fn entries(&self) -> Entries<'_> {
        Entries::of(self.section(Section::Documents), self.summary.documents)
    }

    pub(crate) fn codes(&self) -> Codes<'_> {
        Codes {
            dimension: self.summary.dimension,
            centroid: &self.centroid,
            bits: self.section(Section::Bits),
            scales: self.section(Section::Scales),
            rows: self.section(Section::Rows),
        }
    }

    /// The documents that `mask` lets be seen.
    pub(crate) fn readable(&self, mask: &Mask) -> Bits {
        match mask {
            Mask::Everything => Bits::all(self.summary.documents),
            Mask::Principals(principals) => {
                let mut readable = Bits::none(self.summary.documents);
                for principal in principals {
                    readers::add_documents(
                        self.section(Section::Readers),
                        principal,
                        &mut readable,
                    );
                }
                readable
            }
        }
    }

    /// The passages that may be ranked: of documents that are alive, readable under `mask`, and passing `filter`.
    pub(crate) fn allowed(&self, alive: &Bits, mask: &Mask, filter: Option<&Filter>) -> Bits {
        let mut documents = self.readable(mask);
        documents.keep(alive);
        if let Some(filter) = filter {
            documents.keep(&columns::passing(
                self.section(Section::Columns),
                self.summary.documents,
                filter,
            ));
        }
        if documents.count() == self.summary.documents as usize {
            return Bits::all(self.summary.passages);
        }
        self.entries()
            .all_passages(&documents, self.summary.passages)
    }

    /// All documents back, without the dead, vectors as the 8-bit rows have them: what a compaction merges. Made into a
    /// segment again they have the same rows.
    ///
    /// # Errors
    /// [`SegmentError::Corrupt`].
    pub fn to_documents(&self, dead: &BTreeSet<u32>) -> Result<Vec<SegmentDocument>, SegmentError> {
        let rotation = Rotation::new(self.summary.dimension);
        let alive = (0..self.summary.documents).filter(|ordinal| !dead.contains(ordinal));
        alive
            .map(|ordinal| self.to_document(ordinal, &rotation))
            .collect()
    }

    fn to_document(
        &self,
        ordinal: u32,
        rotation: &Rotation,
    ) -> Result<SegmentDocument, SegmentError> {
        let record = self.document(ordinal)?;
        self.bring_rankings(None, true)?;
        self.bring_rows(record.passage_range.clone())?;
        let codes = self.codes();
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
                    pages: stored.pages,
                    parent: stored.parent,
                    text: stored.text,
                };
                Ok(EmbeddedPassage {
                    passage,
                    vector: codes.vector(at, rotation),
                })
            })
            .collect::<Result<Vec<_>, SegmentError>>()?;
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
}

//! Making a segment from documents. The same documents give the same bytes.

use super::format::{Section, head_of, padding_after};
use super::{SegmentError, columns, documents, passages, readers};
use crate::lexical::{self, Language};
use crate::passage::SegmentDocument;
use crate::vector;

/// Passages whose text decides a document's language.
const LANGUAGE_PASSAGES: usize = 3;

/// Makes a segment of documents whose passages all carry vectors of `dimension` components by `embedder`.
///
/// # Errors
/// As [`Builder::push`] and [`Builder::finish`].
pub fn build(
    dimension: usize,
    embedder: &str,
    documents: &[SegmentDocument],
) -> Result<Vec<u8>, SegmentError> {
    let mut builder = Builder::new(dimension, embedder)?;
    for document in documents {
        builder.push(document)?;
    }
    builder.finish()
}

/// Makes a segment of documents that come one after the other. It holds what the file will hold: of a vector the 8-bit
/// row, of texts what compression leaves of them.
pub struct Builder {
    dimension: usize,
    embedder: String,
    documents: documents::Writer,
    readers: readers::Writer,
    columns: columns::Writer,
    passages: passages::Writer,
    lexicon: lexical::Writer,
    vectors: vector::Encoder,
}

impl Builder {
    /// Begins a segment of vectors of `dimension` components by `embedder`.
    ///
    /// # Errors
    /// [`SegmentError::Build`] for a dimension of 0, or when the index cannot be begun.
    pub fn new(dimension: usize, embedder: &str) -> Result<Self, SegmentError> {
        if dimension == 0 {
            return Err(SegmentError::build("vectors have one component at least"));
        }
        Ok(Self {
            dimension,
            embedder: embedder.to_owned(),
            documents: documents::Writer::default(),
            readers: readers::Writer::default(),
            columns: columns::Writer::default(),
            passages: passages::Writer::new()?,
            lexicon: lexical::Writer::new().map_err(SegmentError::build)?,
            vectors: vector::Encoder::new(dimension),
        })
    }

    /// Adds a document. After an error the builder is of no use.
    ///
    /// # Errors
    /// [`SegmentError::DimensionMismatch`]; [`SegmentError::Build`] when the document cannot be written.
    pub fn push(&mut self, document: &SegmentDocument) -> Result<(), SegmentError> {
        let ordinal = self.documents.count();
        self.documents.push(document)?;
        self.readers.push(ordinal, &document.readers);
        self.columns.push(ordinal, &document.metadata)?;
        let language = language(document);
        for embedded in &document.passages {
            if embedded.vector.len() != self.dimension {
                return Err(SegmentError::DimensionMismatch {
                    expected: self.dimension,
                    found: embedded.vector.len(),
                });
            }
            self.vectors.push(&embedded.vector);
            self.passages.push(&embedded.passage)?;
            let text = indexed_text(&document.title, &embedded.passage);
            self.lexicon
                .push(&text, language)
                .map_err(SegmentError::build)?;
        }
        Ok(())
    }

    /// The segment's file.
    ///
    /// # Errors
    /// [`SegmentError::Build`] when the index cannot be made.
    pub fn finish(self) -> Result<Vec<u8>, SegmentError> {
        let sections = self.sections()?;
        let head = head_of(&sections);
        let length: usize = sections
            .iter()
            .map(|section| section.len() + padding_after(section))
            .sum();
        let mut file = Vec::with_capacity(head.len() + length);
        file.extend(head);
        for section in sections {
            file.extend_from_slice(&section);
            file.resize(file.len() + padding_after(&section), 0);
        }
        Ok(file)
    }

    /// In the order of [`Section::ALL`].
    fn sections(self) -> Result<Vec<Vec<u8>>, SegmentError> {
        let summary = summary(
            self.documents.count(),
            self.documents.passages(),
            self.dimension,
            &self.embedder,
        );
        let count = self.documents.count();
        let [documents, document_ids, strings] = self.documents.finish();
        let [passage_offsets, passages] = self.passages.finish()?;
        let files = self.lexicon.finish().map_err(SegmentError::build)?;
        let [dictionary, postings] = lexicon_sections(files);
        let vectors = self.vectors.finish();
        let mut sections = vec![Vec::new(); Section::ALL.len()];
        for (section, bytes) in [
            (Section::Summary, summary),
            (Section::Centroid, vectors.centroid),
            (Section::Documents, documents),
            (Section::DocumentIds, document_ids),
            (Section::Readers, self.readers.finish(count)),
            (Section::Columns, self.columns.finish(count)),
            (Section::PassageOffsets, passage_offsets),
            (Section::LexiconDictionary, dictionary),
            (Section::Bits, vectors.bits),
            (Section::Scales, vectors.scales),
            (Section::LexiconPostings, postings),
            (Section::Rows, vectors.rows),
            (Section::Strings, strings),
            (Section::Passages, passages),
        ] {
            sections[section as usize - 1] = bytes;
        }
        Ok(sections)
    }
}

/// Documents, passages, dimension, length of the embedder's name, the name.
fn summary(documents: u32, passages: u32, dimension: usize, embedder: &str) -> Vec<u8> {
    let numbers = [documents, passages, dimension as u32, embedder.len() as u32];
    let numbers = numbers.into_iter().flat_map(u32::to_le_bytes);
    numbers.chain(embedder.bytes()).collect()
}

/// The dictionary (a table of all files, then the small files) and the postings. Of each file the table has: whether it
/// is in the postings (4), length of the name (4), start within its section (8), length (8); then come the names.
fn lexicon_sections(files: lexical::Files) -> [Vec<u8>; 2] {
    let names: usize = files.iter().map(|(name, _)| name.len()).sum();
    let mut small = Vec::new();
    let mut postings = Vec::new();
    let small_at = (8 + files.len() * 24 + names).next_multiple_of(8);
    let mut table = (files.len() as u64).to_le_bytes().to_vec();
    for (name, bytes) in &files {
        let in_postings = lexical::holds_postings(name);
        let (section, before) = if in_postings {
            (&mut postings, 0)
        } else {
            (&mut small, small_at)
        };
        table.extend_from_slice(&u32::from(in_postings).to_le_bytes());
        table.extend_from_slice(&(name.len() as u32).to_le_bytes());
        table.extend_from_slice(&((before + section.len()) as u64).to_le_bytes());
        table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        section.extend_from_slice(bytes);
        // tantivy reads numbers from its files in place.
        section.resize(section.len().next_multiple_of(8), 0);
    }
    for (name, _) in &files {
        table.extend_from_slice(name.as_bytes());
    }
    table.resize(small_at, 0);
    table.extend(small);
    [table, postings]
}

/// A document has one language: a passage alone may be too short to tell, or a quotation.
fn language(document: &SegmentDocument) -> Language {
    let passages = document.passages.iter().take(LANGUAGE_PASSAGES);
    let texts: Vec<&str> = passages
        .map(|embedded| embedded.passage.text.as_str())
        .collect();
    Language::of(&texts.join(" "))
}

/// What is looked up of a passage: its document's title, the headings above it, its text.
fn indexed_text(title: &str, passage: &crate::passage::Passage) -> String {
    let mut text = title.to_owned();
    for heading in &passage.heading_path {
        if heading != title {
            text.push(' ');
            text.push_str(heading);
        }
    }
    text.push(' ');
    text.push_str(&passage.text);
    text
}

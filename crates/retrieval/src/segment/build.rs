//! Making a segment from documents. The same documents give the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::format::{Kind, assemble};
use super::open::Summary;
use super::{DocumentRecord, SegmentError, StoredPassage};
use crate::passage::SegmentDocument;
use crate::{lexical, vector};

/// Passages in one compressed block: large enough to compress, small enough to decode for one result.
pub(super) const BLOCK_PASSAGES: usize = 16;
/// zstd's level: above it the blocks hardly shrink.
const COMPRESSION: i32 = 9;

/// Makes a segment of documents whose passages all carry vectors of `dimension` components by `embedder`.
///
/// # Errors
/// [`SegmentError::DimensionMismatch`]; [`SegmentError::Build`] when the index cannot be made.
pub fn build(
    dimension: usize,
    embedder: &str,
    documents: &[SegmentDocument],
) -> Result<Vec<u8>, SegmentError> {
    let vectors = vectors(dimension, documents)?;
    let mean = vector::mean(&vectors, dimension);
    let (mut rows, mut bits) = (Vec::new(), Vec::new());
    for vector in &vectors {
        vector::push_row(&mut rows, vector);
        vector::push_bits(&mut bits, vector, &mean);
    }
    let (records, record_offsets) = document_sections(documents)?;
    let (blocks, block_offsets) = passage_sections(documents)?;
    let files = lexical::build(indexed_texts(documents)).map_err(build_error)?;
    let mut lexicon = Vec::new();
    let mut table = Vec::new();
    for (name, bytes) in files {
        table.push((name, lexicon.len(), lexicon.len() + bytes.len()));
        lexicon.extend_from_slice(&bytes);
        // tantivy reads numbers from its files in place.
        lexicon.resize(lexicon.len().next_multiple_of(8), 0);
    }
    let summary = Summary {
        embedder: embedder.to_owned(),
        dimension,
        documents: documents.len() as u32,
        passages: vectors.len() as u32,
    };
    Ok(assemble(&[
        (Kind::Summary, json(&summary)?),
        (Kind::Documents, records),
        (Kind::DocumentOffsets, record_offsets),
        (Kind::PassageBlocks, blocks),
        (Kind::BlockOffsets, block_offsets),
        (Kind::DocumentOfPassage, document_of_passage(documents)),
        (Kind::Readers, json(&readers(documents))?),
        (
            Kind::Mean,
            mean.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        (Kind::Rows, rows),
        (Kind::Bits, bits),
        (Kind::LexiconTable, json(&table)?),
        (Kind::Lexicon, lexicon),
    ]))
}

fn build_error(error: impl std::fmt::Display) -> SegmentError {
    SegmentError::Build {
        detail: error.to_string(),
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, SegmentError> {
    serde_json::to_vec(value).map_err(build_error)
}

fn vectors(dimension: usize, documents: &[SegmentDocument]) -> Result<Vec<Vec<f32>>, SegmentError> {
    let all = documents.iter().flat_map(|document| &document.passages);
    all.map(|passage| match passage.vector.len() {
        found if found == dimension => Ok(vector::normalised(&passage.vector)),
        found => Err(SegmentError::DimensionMismatch {
            expected: dimension,
            found,
        }),
    })
    .collect()
}

fn document_sections(documents: &[SegmentDocument]) -> Result<(Vec<u8>, Vec<u8>), SegmentError> {
    let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
    let mut first = 0u32;
    for document in documents {
        offsets.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        let last = first + document.passages.len() as u32;
        bytes.extend(json(&DocumentRecord {
            document_id: document.document_id.clone(),
            title: document.title.clone(),
            uri: document.uri.clone(),
            content_hash: document.content_hash.clone(),
            readers: document.readers.clone(),
            metadata: document.metadata.clone(),
            passage_range: first..last,
        })?);
        first = last;
    }
    offsets.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    Ok((bytes, offsets))
}

fn passage_sections(documents: &[SegmentDocument]) -> Result<(Vec<u8>, Vec<u8>), SegmentError> {
    let stored: Vec<StoredPassage> = documents
        .iter()
        .flat_map(|document| &document.passages)
        .map(|embedded| StoredPassage {
            start: embedded.passage.start,
            end: embedded.passage.end,
            heading_path: embedded.passage.heading_path.clone(),
            text: embedded.passage.text.clone(),
        })
        .collect();
    let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
    for block in stored.chunks(BLOCK_PASSAGES) {
        let plain = json(&block)?;
        offsets.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        offsets.extend_from_slice(&(plain.len() as u64).to_le_bytes());
        bytes.extend(zstd::bulk::compress(&plain, COMPRESSION).map_err(build_error)?);
    }
    offsets.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    offsets.extend_from_slice(&0u64.to_le_bytes());
    Ok((bytes, offsets))
}

fn document_of_passage(documents: &[SegmentDocument]) -> Vec<u8> {
    let ordinals = documents
        .iter()
        .enumerate()
        .flat_map(|(ordinal, document)| {
            std::iter::repeat_n(ordinal as u32, document.passages.len())
        });
    ordinals.flat_map(u32::to_le_bytes).collect()
}

/// For each principal the documents that it may read, by ordinal, ascending.
fn readers(documents: &[SegmentDocument]) -> BTreeMap<&str, Vec<u32>> {
    let mut readers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (ordinal, document) in documents.iter().enumerate() {
        for reader in &document.readers {
            let list = readers.entry(reader).or_default();
            if list.last() != Some(&(ordinal as u32)) {
                list.push(ordinal as u32);
            }
        }
    }
    readers
}

/// What is looked up of a passage: its document's title, the headings above it, its text.
fn indexed_texts(
    documents: &[SegmentDocument],
) -> impl Iterator<Item = (String, lexical::Language)> + '_ {
    documents.iter().flat_map(|document| {
        let sample: String = document
            .passages
            .iter()
            .take(3)
            .map(|embedded| embedded.passage.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let language = lexical::Language::of(&sample);
        document.passages.iter().map(move |embedded| {
            let mut text = document.title.clone();
            for heading in &embedded.passage.heading_path {
                if *heading != document.title {
                    text.push(' ');
                    text.push_str(heading);
                }
            }
            text.push(' ');
            text.push_str(&embedded.passage.text);
            (text, language)
        })
    })
}

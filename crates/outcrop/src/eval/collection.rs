//! A collection on the product's own way: passages by tokens, embeddings under title and headings, one segment, the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use local::bedrock::hashing_embedding;
use minilm::MiniLm;
use retrieval::chunk::{self, FixedSize};
use retrieval::{
    EmbeddedPassage, Filter, Index, LiveSegment, Mask, Mode, Query, Segment, SegmentDocument,
    embedded_text,
};
use serde_json::json;

use super::dataset::{Dataset, Document};
use crate::dev::HASHING_DIMENSIONS;

/// Texts that are embedded between two movements of the progress bar.
const EMBED_TEXTS: usize = 32;
/// Documents that a ranking is measured to.
pub const DEPTH: usize = 100;
/// Passages that are asked for at the most, however many a document has.
const MOST_PASSAGES: usize = 2_000;

/// What turns texts into vectors.
pub enum Sentences {
    Hashing,
    MiniLm(MiniLm),
}

impl Sentences {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hashing => "hashing",
            Self::MiniLm(_) => "minilm",
        }
    }

    fn dimensions(&self) -> usize {
        match self {
            Self::Hashing => HASHING_DIMENSIONS,
            Self::MiniLm(_) => minilm::DIMENSIONS,
        }
    }

    pub fn embed(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        match self {
            Self::Hashing => {
                let embed = |text: &&str| hashing_embedding(text, HASHING_DIMENSIONS, true);
                texts.iter().map(embed).collect()
            }
            Self::MiniLm(model) => model.embed(texts),
        }
    }
}

/// An index over a collection. Every second document is read by one of two groups and has it in its metadata, so that
/// masks and filters can be checked.
pub struct Collection {
    index: Index,
    pub passages: usize,
    /// Passages to ask for, so that they are of about [`DEPTH`] documents.
    limit: usize,
}

pub const GROUPS: [&str; 2] = ["group:even", "group:odd"];

fn group_of(number: usize) -> &'static str {
    GROUPS[number % 2]
}

impl Collection {
    /// Builds the index; `embedded` hears how many of how many passages have been embedded.
    pub fn build(
        dataset: &Dataset,
        sentences: &Sentences,
        embedded: impl Fn(usize, usize),
    ) -> Result<Self, String> {
        let mut documents: Vec<SegmentDocument> = dataset
            .documents
            .iter()
            .enumerate()
            .map(|(number, document)| chunked(number, document))
            .collect();
        let texts: Vec<String> = documents
            .iter()
            .flat_map(|document| {
                document
                    .passages
                    .iter()
                    .map(|passage| embedded_text(&document.title, &passage.passage))
            })
            .collect();
        let mut vectors = Vec::with_capacity(texts.len());
        for some in texts.chunks(EMBED_TEXTS) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            vectors.extend(sentences.embed(&some));
            embedded(vectors.len(), texts.len());
        }
        let places = documents
            .iter_mut()
            .flat_map(|document| &mut document.passages);
        places
            .zip(vectors)
            .for_each(|(passage, vector)| passage.vector = vector);
        let told = |error: retrieval::SegmentError| format!("{}: {error}", error.name());
        let bytes = retrieval::segment::build(sentences.dimensions(), sentences.name(), &documents)
            .map_err(told)?;
        let segment = LiveSegment {
            segment: Arc::new(Segment::from_bytes(bytes).map_err(told)?),
            dead_documents: BTreeSet::new(),
        };
        let per_document = texts.len().div_ceil(documents.len().max(1));
        Ok(Self {
            index: Index::new(vec![segment]).map_err(told)?,
            passages: texts.len(),
            limit: (DEPTH * per_document).min(MOST_PASSAGES),
        })
    }

    /// Documents, each by its best passage, best first; and the milliseconds of the search.
    pub fn search(
        &self,
        text: &str,
        vector: &[f32],
        mode: Mode,
    ) -> Result<(Vec<String>, f64), String> {
        let query = Query {
            text: Some(text),
            vector: Some(vector),
            mode,
            limit: self.limit,
            filter: None,
            mask: &Mask::Everything,
        };
        let begun = Instant::now();
        let hits = self
            .index
            .search(&query)
            .map_err(|error| format!("{}: {error}", error.name()))?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let mut seen = BTreeSet::new();
        let ranking = hits
            .into_iter()
            .map(|hit| hit.document_id)
            .filter(|id| seen.insert(id.clone()));
        Ok((ranking.take(DEPTH).collect(), took))
    }

    /// Results of a search under a mask, and of one under a filter, that the other group's documents are among.
    pub fn leaks(
        &self,
        text: &str,
        vector: &[f32],
        group: usize,
        groups: &BTreeMap<&str, usize>,
    ) -> Result<usize, String> {
        let filter: Filter =
            Filter::parse(&json!({ "equals": { "key": "group", "value": GROUPS[group] } }))
                .map_err(|error| error.to_string())?;
        let own = Mask::Principals(vec![GROUPS[group].to_owned()]);
        let mut leaks = 0;
        for (mask, filter) in [(&own, None), (&Mask::Everything, Some(&filter))] {
            let query = Query {
                text: Some(text),
                vector: Some(vector),
                mode: Mode::Hybrid,
                limit: self.limit,
                filter,
                mask,
            };
            let hits = self
                .index
                .search(&query)
                .map_err(|error| format!("{}: {error}", error.name()))?;
            leaks += hits
                .iter()
                .filter(|hit| groups.get(hit.document_id.as_str()) != Some(&group))
                .count();
        }
        Ok(leaks)
    }
}

/// Which group reads which document.
pub fn groups(dataset: &Dataset) -> BTreeMap<&str, usize> {
    let ids = dataset
        .documents
        .iter()
        .map(|document| document.id.as_str());
    ids.enumerate()
        .map(|(number, id)| (id, number % 2))
        .collect()
}

fn chunked(number: usize, document: &Document) -> SegmentDocument {
    let passages = chunk::fixed_size(&document.text, &document.headings, &FixedSize::default());
    let passages = passages.into_iter().map(|passage| EmbeddedPassage {
        passage,
        vector: Vec::new(),
    });
    SegmentDocument {
        document_id: document.id.clone(),
        title: document.title.clone(),
        uri: String::new(),
        content_hash: String::new(),
        readers: vec![group_of(number).to_owned()],
        metadata: [("group".to_owned(), json!(group_of(number)))].into(),
        passages: passages.collect(),
    }
}

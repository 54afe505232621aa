//! Search over the live segments of a space.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bits::Bits;
use crate::filter::Filter;
use crate::fusion::{Fused, Place, fuse};
use crate::lexical::{self, Lexicon};
use crate::passage::{parse_passage_id, passage_id};
use crate::segment::{DocumentRecord, Segment, SegmentError};
use crate::vector;

/// Results of each ranking that go into the fusion, at the least: the two rankings must overlap to help one another.
const FUSED_AT_LEAST: usize = 100;

/// A segment with the documents that were deleted or replaced since it was made.
#[derive(Debug, Clone)]
pub struct LiveSegment {
    pub segment: Arc<Segment>,
    pub dead_documents: BTreeSet<u32>,
}

/// What the caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// No limits: for measuring and tools, never for requests.
    Everything,
    /// Documents with one of these among their readers. A document without readers is seen by nobody.
    Principals(Vec<String>),
}

impl Mask {
    /// Whether a document with these readers may be seen.
    fn lets_see(&self, readers: &[String]) -> bool {
        match self {
            Self::Everything => true,
            Self::Principals(principals) => {
                readers.iter().any(|reader| principals.contains(reader))
            }
        }
    }
}

/// Which rankings count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Lexical,
    Vector,
    /// Both, fused by reciprocal rank.
    Hybrid,
}

/// What is searched for. A hybrid query without a vector is a lexical one, and the other way round.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub text: Option<&'a str>,
    pub vector: Option<&'a [f32]>,
    pub mode: Mode,
    pub limit: usize,
    pub filter: Option<&'a Filter>,
    pub mask: &'a Mask,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub passage_id: String,
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub content_hash: String,
    pub heading_path: Vec<String>,
    pub text: String,
    /// Byte range in the document's text.
    pub start: u64,
    pub end: u64,
    /// BM25, cosine or fused score, by the mode.
    pub score: f32,
    /// Ranks in the two rankings, from 1.
    pub lexical_rank: Option<u32>,
    pub vector_rank: Option<u32>,
}

/// Why a search failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    #[error(
        "the query's vector has {found} components, the index has {expected}; embed it with the index's model"
    )]
    Dimension { expected: usize, found: usize },
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("the inverted index cannot be read: {detail}")]
    Lexicon { detail: String },
}

impl SearchError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dimension { .. } => "DimensionMismatch",
            Self::Segment(error) => error.name(),
            Self::Lexicon { .. } => "LexiconUnreadable",
        }
    }
}

/// The live segments of a space, searched together.
#[derive(Debug)]
pub struct Index {
    segments: Vec<LiveSegment>,
}

impl Index {
    /// Takes segments of one embedder.
    ///
    /// # Errors
    /// [`SegmentError::MixedEmbedders`]: vectors of two models cannot be compared.
    pub fn new(segments: Vec<LiveSegment>) -> Result<Self, SegmentError> {
        let identity = |live: &LiveSegment| {
            format!("{}/{}", live.segment.embedder(), live.segment.dimension())
        };
        for pair in segments.windows(2) {
            let (first, second) = (identity(&pair[0]), identity(&pair[1]));
            if first != second {
                return Err(SegmentError::MixedEmbedders { first, second });
            }
        }
        Ok(Self { segments })
    }

    /// Passages that are not dead.
    pub fn passage_count(&self) -> u64 {
        let everything = |live: &LiveSegment| {
            live.segment
                .allowed(&live.dead_documents, &Mask::Everything, None)
                .count() as u64
        };
        self.segments.iter().map(everything).sum()
    }

    /// Documents that are not dead.
    pub fn document_count(&self) -> u64 {
        let alive = |live: &LiveSegment| {
            let documents = live.segment.document_count();
            u64::from(documents) - live.dead_documents.range(..documents).count() as u64
        };
        self.segments.iter().map(alive).sum()
    }

    /// The best passages, best first; equal scores in the order of passage ids. The mask and the filter are applied
    /// before anything is ranked.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, SearchError> {
        // No ranking is longer than the passages there are.
        let limit = query.limit.min(self.stored_passages());
        if limit == 0 {
            return Ok(Vec::new());
        }
        let allowed = |live: &LiveSegment| {
            live.segment
                .allowed(&live.dead_documents, query.mask, query.filter)
        };
        let masks: Vec<Bits> = self.segments.iter().map(allowed).collect();
        let depth = match query.mode {
            Mode::Hybrid => limit.max(FUSED_AT_LEAST),
            _ => limit,
        };
        let lexical = match query.text {
            Some(text) if query.mode != Mode::Vector => self.lexical(&masks, text, depth)?,
            _ => Vec::new(),
        };
        let vector = match query.vector {
            Some(vector) if query.mode != Mode::Lexical => self.vector(&masks, vector, depth)?,
            _ => Vec::new(),
        };
        let places =
            |ranking: &[(f32, Place)]| ranking.iter().map(|(_, place)| *place).collect::<Vec<_>>();
        let mut fused = fuse([&places(&lexical), &places(&vector)]);
        let own_scores = match query.mode {
            Mode::Lexical => Some((lexical, 0)),
            Mode::Vector => Some((vector, 1)),
            Mode::Hybrid => None,
        };
        if let Some((ranking, which)) = own_scores {
            for fused in &mut fused {
                let found = fused.ranks[which].and_then(|rank| ranking.get(rank as usize - 1));
                fused.score = found.map_or(0.0, |(score, _)| *score);
            }
        }
        let best = self.best_first(fused, limit, |fused| (fused.score, fused.place));
        best.iter().map(|fused| self.hit(fused)).collect()
    }

    /// A passage by its id, if it is alive and the mask lets it be seen.
    pub fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        let (document_id, _, ordinal) = parse_passage_id(id)?;
        self.segments.iter().enumerate().find_map(|(number, live)| {
            let document = live.segment.find_document(document_id)?;
            let record = live.segment.record(document).ok()?;
            // Only the id as it was given out: neither a shortened hash nor another way to write the ordinal.
            let same = passage_id(document_id, &record.content_hash, ordinal) == id;
            let at = record.passage_range.start.checked_add(ordinal)?;
            let seen = same
                && at < record.passage_range.end
                && !live.dead_documents.contains(&document)
                && mask.lets_see(&record.readers);
            let fused = Fused {
                place: (number as u32, at),
                score: 0.0,
                ranks: [None; 2],
            };
            seen.then(|| self.hit(&fused).ok()).flatten()
        })
    }

    /// The record of a document, if it is alive. It says nothing of who may read it: that is the caller's to check.
    pub fn document(&self, document_id: &str) -> Option<DocumentRecord> {
        self.segments.iter().find_map(|live| {
            let ordinal = live.segment.find_document(document_id)?;
            let alive = !live.dead_documents.contains(&ordinal);
            alive.then(|| live.segment.document(ordinal).ok()).flatten()
        })
    }

    fn stored_passages(&self) -> usize {
        let stored = |live: &LiveSegment| live.segment.passage_count() as usize;
        self.segments.iter().map(stored).sum()
    }

    fn lexical(
        &self,
        masks: &[Bits],
        text: &str,
        depth: usize,
    ) -> Result<Vec<(f32, Place)>, SearchError> {
        let lexicons: Vec<&Lexicon> = self
            .segments
            .iter()
            .map(|live| live.segment.lexicon())
            .collect();
        let found = lexical::search(&lexicons, masks, text, depth).map_err(|error| {
            SearchError::Lexicon {
                detail: error.to_string(),
            }
        })?;
        let found = found
            .into_iter()
            .map(|(score, segment, at)| (score, (segment, at)))
            .collect();
        Ok(self.best_first(found, depth, |found| *found))
    }

    fn vector(
        &self,
        masks: &[Bits],
        query: &[f32],
        depth: usize,
    ) -> Result<Vec<(f32, Place)>, SearchError> {
        let query = vector::normalised(query);
        let mut found: Vec<(f32, Place)> = Vec::new();
        for (number, (live, mask)) in self.segments.iter().zip(masks).enumerate() {
            let expected = live.segment.dimension();
            if query.len() != expected {
                return Err(SearchError::Dimension {
                    expected,
                    found: query.len(),
                });
            }
            let best = vector::search(&live.segment.codes(), &query, mask, depth);
            found.extend(
                best.into_iter()
                    .map(|(score, at)| (score, (number as u32, at))),
            );
        }
        Ok(self.best_first(found, depth, |found| *found))
    }

    /// The best `limit`, best first; equal scores in the order of passage ids, so that an order does not depend on how
    /// the passages are spread over segments.
    fn best_first<T>(
        &self,
        mut found: Vec<T>,
        limit: usize,
        of: impl Fn(&T) -> (f32, Place),
    ) -> Vec<T> {
        found.sort_by(|left, right| of(right).0.total_cmp(&of(left).0));
        if let Some(edge) = found.get(limit.saturating_sub(1)).map(|last| of(last).0) {
            found.truncate(found.partition_point(|other| of(other).0.total_cmp(&edge).is_ge()));
        }
        for equals in found.chunk_by_mut(|left, right| of(left).0 == of(right).0) {
            if equals.len() > 1 {
                equals.sort_by_cached_key(|one| self.id(of(one).1).unwrap_or_default());
            }
        }
        found.truncate(limit);
        found
    }

    fn id(&self, (segment, at): Place) -> Result<String, SearchError> {
        let segment = &self.segments[segment as usize].segment;
        let record = segment.record(segment.document_of(at))?;
        let ordinal = at.saturating_sub(record.passage_range.start);
        Ok(passage_id(
            &record.document_id,
            &record.content_hash,
            ordinal,
        ))
    }

    fn hit(&self, fused: &Fused) -> Result<Hit, SearchError> {
        let (segment, at) = fused.place;
        let segment = &self.segments[segment as usize].segment;
        let record = segment.record(segment.document_of(at))?;
        let stored = segment.passage(at)?;
        Ok(Hit {
            passage_id: self.id(fused.place)?,
            document_id: record.document_id.clone(),
            title: record.title.clone(),
            uri: record.uri.clone(),
            content_hash: record.content_hash.clone(),
            heading_path: stored.heading_path,
            text: stored.text,
            start: stored.start,
            end: stored.end,
            score: fused.score,
            lexical_rank: fused.ranks[0],
            vector_rank: fused.ranks[1],
        })
    }
}

#[cfg(test)]
mod tests;

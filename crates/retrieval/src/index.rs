//! Search over the live segments of a space.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bits::Bits;
use crate::filter::Filter;
use crate::fusion::{Fused, Place, fuse};
use crate::lexical::{self, Lexicon};
use crate::passage::{parse_passage_id, passage_id};
use crate::segment::{Segment, SegmentError};
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
            u64::from(live.segment.document_count()) - live.dead_documents.len() as u64
        };
        self.segments.iter().map(alive).sum()
    }

    /// The best passages, best first; equal scores in the order of passage ids. The mask and the filter are applied
    /// before anything is ranked.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, SearchError> {
        let masks: Vec<Bits> = self
            .segments
            .iter()
            .map(|live| {
                live.segment
                    .allowed(&live.dead_documents, query.mask, query.filter)
            })
            .collect();
        let depth = match query.mode {
            Mode::Hybrid => query.limit.max(FUSED_AT_LEAST),
            _ => query.limit,
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
            Mode::Lexical => Some(lexical),
            Mode::Vector => Some(vector),
            Mode::Hybrid => None,
        };
        if let Some(scores) = own_scores {
            for fused in &mut fused {
                let found = scores.iter().find(|(_, place)| *place == fused.place);
                fused.score = found.map_or(0.0, |(score, _)| *score);
            }
        }
        self.hits(fused, query.limit)
    }

    /// A passage by its id, if it is alive and the mask lets it be seen.
    pub fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        let (document_id, hash, ordinal) = parse_passage_id(id)?;
        self.segments.iter().enumerate().find_map(|(number, live)| {
            let document = live.segment.find_document(document_id)?;
            let record = live.segment.document(document).ok()?;
            let at = record.passage_range.start.checked_add(ordinal)?;
            let there = at < record.passage_range.end && record.content_hash.starts_with(hash);
            let seen = there
                && live
                    .segment
                    .allowed(&live.dead_documents, mask, None)
                    .contains(at);
            let fused = Fused {
                place: (number as u32, at),
                score: 0.0,
                ranks: [None; 2],
            };
            seen.then(|| self.hit(&fused).ok()).flatten()
        })
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
        Ok(found
            .into_iter()
            .map(|(score, segment, at)| (score, (segment, at)))
            .collect())
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
        found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        found.truncate(depth);
        Ok(found)
    }

    /// The best `limit` as hits. Ids break ties, so the edge is read a little further than the limit.
    fn hits(&self, mut fused: Vec<Fused>, limit: usize) -> Result<Vec<Hit>, SearchError> {
        let order = |left: &Fused, right: &Fused| {
            right
                .score
                .total_cmp(&left.score)
                .then(left.place.cmp(&right.place))
        };
        fused.sort_by(order);
        let edge = fused.get(limit.saturating_sub(1)).map(|last| last.score);
        let kept = fused
            .iter()
            .take_while(|fused| edge.is_none_or(|edge| fused.score >= edge));
        let mut hits = kept
            .map(|fused| self.hit(fused))
            .collect::<Result<Vec<_>, _>>()?;
        hits.sort_by(|left, right| {
            right
                .score
                .total_cmp(&left.score)
                .then_with(|| left.passage_id.cmp(&right.passage_id))
        });
        hits.truncate(limit);
        Ok(hits)
    }

    fn hit(&self, fused: &Fused) -> Result<Hit, SearchError> {
        let (segment, at) = fused.place;
        let segment = &self.segments[segment as usize].segment;
        let record = segment.document(segment.document_of(at))?;
        let stored = segment.passage(at)?;
        let ordinal = at - record.passage_range.start;
        Ok(Hit {
            passage_id: passage_id(&record.document_id, &record.content_hash, ordinal),
            document_id: record.document_id,
            title: record.title,
            uri: record.uri,
            content_hash: record.content_hash,
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

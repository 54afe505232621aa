//! Search over the live segments of a space.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bits::Bits;
use crate::filter::Filter;
use crate::fusion::{Fused, Place, fuse};
use crate::lexical::{self, Lexicon};
use crate::neighbours::to_parents;
use crate::passage::{PageMark, Siblings, parse_passage_id, passage_id};
use crate::segment::{DocumentRecord, Segment, SegmentError};
use crate::vector::{self, Part, Rotation, Wanted};

/// Results of each ranking that go into the fusion, at the least: the two rankings must overlap to help one another.
const FUSED_AT_LEAST: usize = 100;

/// Passages of a first fusion that the query's vector is moved towards, and the weight of their mean beside the query's 1.
const FEEDBACK_PASSAGES: usize = 3;
const FEEDBACK_WEIGHT: f32 = 0.5;

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
    pub fn lets_see(&self, readers: &[String]) -> bool {
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
    /// The pages that it stands on, if its document has pages.
    pub pages: Vec<PageMark>,
    /// What is answered with instead of it, if it is part of something larger.
    pub parent: Option<Siblings>,
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
pub struct Index {
    segments: Vec<LiveSegment>,
    /// For each segment the documents that are not dead.
    alive: Vec<Bits>,
    rotation: Rotation,
    documents: u64,
    passages: u64,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Index")
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
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
        let alive: Vec<Bits> = segments.iter().map(alive).collect();
        let documents = alive.iter().map(|alive| alive.count() as u64).sum();
        let passages = segments.iter().map(living_passages).sum();
        let dimension = segments.first().map_or(0, |live| live.segment.dimension());
        Ok(Self {
            segments,
            alive,
            rotation: Rotation::new(dimension),
            documents,
            passages,
        })
    }

    /// Passages that are not dead.
    pub fn passage_count(&self) -> u64 {
        self.passages
    }

    /// Documents that are not dead.
    pub fn document_count(&self) -> u64 {
        self.documents
    }

    /// The best passages, best first; equal scores in the order of passage ids. The mask and the filter are applied
    /// before anything is ranked.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Hit>, SearchError> {
        self.search_few(query, None)
    }

    /// A search that scores at most so many passages by their 8-bit rows: for segments that are here in part, where each
    /// row is a read. More are scored where the results asked for are more.
    ///
    /// # Errors
    /// As [`Index::search`]; [`SegmentError::Missing`] when something must be fetched first. A search asks for all that
    /// it can know of before it refuses.
    pub fn search_few(
        &self,
        query: &Query<'_>,
        rows: Option<usize>,
    ) -> Result<Vec<Hit>, SearchError> {
        // No ranking is longer than the passages there are.
        let limit = query.limit.min(self.stored_passages());
        if limit == 0 {
            return Ok(Vec::new());
        }
        let live = self.segments.iter().zip(&self.alive);
        let masks: Vec<Bits> = live
            .map(|(live, alive)| live.segment.allowed(alive, query.mask, query.filter))
            .collect();
        let depth = match query.mode {
            Mode::Hybrid => limit.max(FUSED_AT_LEAST),
            _ => limit,
        };
        let text = query.text.filter(|_| query.mode != Mode::Vector);
        let vectors = query.vector.is_some() && query.mode != Mode::Lexical;
        let each = self.segments.iter();
        let rankings = every(each.map(|live| live.segment.bring_rankings(text, vectors)));
        let lexical = match query.text {
            Some(text) if query.mode != Mode::Vector => self.lexical(&masks, text, depth),
            _ => Ok(Vec::new()),
        };
        let vector = match query.vector {
            Some(vector) if query.mode != Mode::Lexical => self.vector(&masks, vector, depth, rows),
            _ => Ok(Vec::new()),
        };
        // Both were made before anything may end the search: what both miss is fetched at once.
        rankings?;
        let (lexical, mut vector) = (lexical?, vector?);
        if let Some(wanted) = query.vector
            && query.mode == Mode::Hybrid
            && !lexical.is_empty()
        {
            let nearer = self.fed_back(wanted, fuse([&places(&lexical), &places(&vector)]));
            vector = self.ranked_again(&masks, &nearer, &vector);
        }
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
        self.bring_best(&fused, limit)?;
        let best = self.best_first(fused, limit, |fused| (fused.score, fused.place));
        best.iter().map(|fused| self.hit(fused)).collect()
    }

    /// Takes results, best first, and answers each with the larger passage that it is a part of, that once. What the mask does
    /// not let be seen, or is not alive, is part of none.
    ///
    /// # Errors
    /// [`SegmentError::Missing`] when some of the larger passages must be fetched first: all of them are asked for.
    pub fn parents(&self, hits: Vec<Hit>, mask: &Mask) -> Result<Vec<Hit>, SearchError> {
        every(self.segments.iter().map(|live| {
            let parts = hits.iter();
            let parts = parts.filter_map(|hit| Some((hit.document_id.as_str(), hit.parent?)));
            live.segment.bring_siblings(parts)
        }))?;
        Ok(to_parents(hits, |id| self.passage(id, mask)))
    }

    /// A passage by its id, if it is alive and the mask lets it be seen.
    pub fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        let (document_id, _, ordinal) = parse_passage_id(id)?;
        self.segments.iter().enumerate().find_map(|(number, live)| {
            let document = live.segment.find_document(document_id)?;
            let strings = live.segment.strings(document).ok()?;
            let range = live.segment.passages_of(document).ok()?;
            // Only the id as it was given out: neither a shortened hash nor another way to write the ordinal.
            let same = passage_id(document_id, strings.content_hash, ordinal) == id;
            let at = range.start.checked_add(ordinal)?;
            let seen = same
                && at < range.end
                && self.alive[number].contains(document)
                && live.segment.readable(mask).contains(document);
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

    /// The query's vector, moved towards the best passages of a first fusion: what both rankings found tells more of what
    /// is asked for than the question's few words. The passages are of those that the mask lets be seen.
    ///
    /// Source: Rocchio, "Relevance feedback in information retrieval", 1971; on embeddings, Li et al., "Pseudo Relevance
    /// Feedback with Deep Language Models and Dense Retrievers", 2021.
    fn fed_back(&self, query: &[f32], first: Vec<Fused>) -> Vec<f32> {
        let mut moved = vector::normalised(query);
        let mut first = first;
        // Those of the vector ranking only: their rows are at hand.
        first.retain(|fused| fused.ranks[1].is_some());
        let best = self.best_first(first, FEEDBACK_PASSAGES, |fused| (fused.score, fused.place));
        for Fused {
            place: (segment, at),
            ..
        } in &best
        {
            let segment = &self.segments[*segment as usize].segment;
            let passage = segment.codes().vector(*at, &self.rotation);
            let share = FEEDBACK_WEIGHT / best.len() as f32;
            for (value, other) in moved.iter_mut().zip(passage) {
                *value += share * other;
            }
        }
        moved
    }

    /// A vector ranking in the order of another vector, by the rows that are at hand: no second scan, no further reading.
    fn ranked_again(
        &self,
        masks: &[Bits],
        query: &[f32],
        ranking: &[(f32, Place)],
    ) -> Vec<(f32, Place)> {
        let live = self.segments.iter().zip(masks);
        let parts: Vec<Part<'_>> = live
            .map(|(live, allowed)| Part {
                codes: live.segment.codes(),
                allowed,
            })
            .collect();
        let candidates: Vec<_> = ranking
            .iter()
            .map(|(score, (part, at))| (*score, *part, *at))
            .collect();
        let wanted = Wanted::new(query, &self.rotation);
        let found = vector::rescore(&parts, &wanted, &candidates, candidates.len());
        let found = found
            .into_iter()
            .map(|(score, part, at)| (score, (part, at)));
        self.best_first(found.collect(), ranking.len(), |found| *found)
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
        rows: Option<usize>,
    ) -> Result<Vec<(f32, Place)>, SearchError> {
        let each = self.segments.iter();
        every(each.map(|live| live.segment.bring_rankings(None, true)))?;
        let mut parts = Vec::with_capacity(self.segments.len());
        for (live, allowed) in self.segments.iter().zip(masks) {
            let expected = live.segment.dimension();
            if query.len() != expected {
                return Err(SearchError::Dimension {
                    expected,
                    found: query.len(),
                });
            }
            let codes = live.segment.codes();
            parts.push(Part { codes, allowed });
        }
        let wanted = Wanted::new(query, &self.rotation);
        let candidates = vector::candidates(&parts, &wanted, depth, rows);
        every((0u32..).zip(&self.segments).map(|(number, live)| {
            let own = candidates.iter().filter(|(_, part, _)| *part == number);
            live.segment.bring_rows(own.map(|(_, _, at)| *at))
        }))?;
        let found = vector::rescore(&parts, &wanted, &candidates, depth);
        let found = found
            .into_iter()
            .map(|(score, part, at)| (score, (part, at)));
        Ok(self.best_first(found.collect(), depth, |found| *found))
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
        let same = |left: &T, right: &T| of(left).0 == of(right).0;
        let equals = found.chunk_by(same).filter(|equals| equals.len() > 1);
        self.bring_strings(equals.flatten().map(|one| of(one).1));
        for equals in found.chunk_by_mut(same) {
            if equals.len() > 1 {
                equals.sort_by_cached_key(|one| self.id(of(one).1).unwrap_or_default());
            }
        }
        found.truncate(limit);
        found
    }

    /// Brings, at once, the strings that ids are made of. What cannot be brought fails when it is read.
    fn bring_strings(&self, places: impl Iterator<Item = Place>) {
        let places: Vec<Place> = places.collect();
        for (number, live) in (0u32..).zip(&self.segments) {
            let own = places.iter().filter(|(segment, _)| *segment == number);
            let brought = live.segment.bring_strings(own.map(|(_, at)| *at));
            brought.unwrap_or_default();
        }
    }

    fn id(&self, (segment, at): Place) -> Result<String, SearchError> {
        let segment = &self.segments[segment as usize].segment;
        let document = segment.document_of(at);
        let strings = segment.strings(document)?;
        let ordinal = at.saturating_sub(segment.passages_of(document)?.start);
        Ok(passage_id(
            strings.document_id,
            strings.content_hash,
            ordinal,
        ))
    }

    /// Brings what showing the best `limit` reads, and all that equal the last of them: ids decide between equals, and are
    /// not known yet.
    fn bring_best(&self, fused: &[Fused], limit: usize) -> Result<(), SegmentError> {
        let mut scores: Vec<f32> = fused.iter().map(|fused| fused.score).collect();
        scores.sort_by(|left, right| right.total_cmp(left));
        let edge = scores.get(limit.saturating_sub(1)).copied();
        let edge = edge.unwrap_or(f32::NEG_INFINITY);
        every((0u32..).zip(&self.segments).map(|(number, live)| {
            let own = fused
                .iter()
                .filter(|fused| fused.place.0 == number && fused.score >= edge);
            live.segment.bring_passages(own.map(|fused| fused.place.1))
        }))
    }

    fn hit(&self, fused: &Fused) -> Result<Hit, SearchError> {
        let (segment, at) = fused.place;
        let segment = &self.segments[segment as usize].segment;
        let strings = segment.strings(segment.document_of(at))?;
        let stored = segment.passage(at)?;
        Ok(Hit {
            passage_id: self.id(fused.place)?,
            document_id: strings.document_id.to_owned(),
            title: strings.title.to_owned(),
            uri: strings.uri.to_owned(),
            content_hash: strings.content_hash.to_owned(),
            heading_path: stored.heading_path,
            pages: stored.pages,
            parent: stored.parent,
            text: stored.text,
            start: stored.start,
            end: stored.end,
            score: fused.score,
            lexical_rank: fused.ranks[0],
            vector_rank: fused.ranks[1],
        })
    }
}

/// Asks all, then refuses if one did.
fn every(outcomes: impl Iterator<Item = Result<(), SegmentError>>) -> Result<(), SegmentError> {
    outcomes.fold(Ok(()), Result::and)
}

fn alive(live: &LiveSegment) -> Bits {
    let mut alive = Bits::all(live.segment.document_count());
    live.dead_documents
        .iter()
        .for_each(|dead| alive.remove(*dead));
    alive
}

fn places(ranking: &[(f32, Place)]) -> Vec<Place> {
    ranking.iter().map(|(_, place)| *place).collect()
}

/// Passages of a segment without those of its dead documents.
fn living_passages(live: &LiveSegment) -> u64 {
    let dead = live.dead_documents.iter();
    let dead = dead.filter_map(|dead| live.segment.passages_of(*dead).ok());
    let gone: u64 = dead.map(|range| u64::from(range.end - range.start)).sum();
    u64::from(live.segment.passage_count()).saturating_sub(gone)
}

#[cfg(test)]
mod tests;

//! Citations: from what a model says it used, to a byte range of stored text that anyone can check.
//!
//! A passage goes to the model as sentences. A model with citations names sentences `start..end` of search result `n`; a
//! model without writes `[n]`, and the sentence of passage `n` that shares most words with the claim is taken. Either
//! way the quote is a slice of the passage, and it is compared with the stored passage before it leaves.

use std::collections::BTreeSet;
use std::ops::Range;

use retrieval::{Hit, Index, Mask, page_at};
use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

use crate::digest::sha256_hex;

/// A citation as callers see it. `quote` is byte for byte what the document's text holds at `start..end`, unless a guard
/// masked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Citation {
    pub marker: String,
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub passage_id: String,
    /// The page or slide that the quote begins on, counted from 1, if the document has pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    pub start: u64,
    pub end: u64,
    pub quote: String,
    /// Whether a guard replaced parts of the quote.
    pub masked: bool,
    /// SHA-256 of the quote as it stands in the document; kept, not told.
    #[serde(skip)]
    pub quote_hash: String,
}

/// Shorter sentences join the one before: a heading or an abbreviation is no statement of its own.
const SENTENCE_BYTES: usize = 24;
/// A shorter line was ended by its author, not by an editor's margin.
const WRAPPED_BYTES: usize = 40;

/// The sentences of a passage as byte ranges: in order, without gaps in what they cover but white space, none empty.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let text = unwrapped(text);
    // A blank line ends a sentence even where no full stop does, as in headings and lists.
    let mut begin = 0;
    for block in text.split_inclusive("\n\n") {
        for (offset, sentence) in block.split_sentence_bound_indices() {
            let leading = sentence.len() - sentence.trim_start().len();
            let start = begin + offset + leading;
            let end = start + sentence.trim().len();
            if start == end {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if offset > 0 && (end - start < SENTENCE_BYTES) => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        begin += block.len();
    }
    ranges
}

/// Part of a document: `text` stands at the bytes `start..end`.
#[derive(Debug, PartialEq, Eq)]
struct Quote<'a> {
    start: u64,
    end: u64,
    text: &'a str,
}

/// The same bytes with spaces for the line ends at which an editor wrapped a sentence: after a long line, before a
/// line that goes on in lowercase. Unicode ends a sentence at every line end.
fn unwrapped(text: &str) -> String {
    let mut copy = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let content = line.trim_end_matches(['\r', '\n']);
        let goes_on = lines
            .peek()
            .is_some_and(|next| next.starts_with(char::is_lowercase));
        copy.push_str(content);
        match content.len() >= WRAPPED_BYTES && goes_on {
            true => copy.extend(std::iter::repeat_n(' ', line.len() - content.len())),
            false => copy.push_str(&line[content.len()..]),
        }
    }
    copy
}

/// A passage prepared for the model.
pub struct Source {
    pub hit: Hit,
    pub sentences: Vec<Range<usize>>,
}

impl Source {
    pub fn new(hit: Hit) -> Self {
        let sentences = sentences(&hit.text);
        Self { hit, sentences }
    }

    /// Sentences `start..end` as bytes of the document; `None` when there are no such sentences, or `stored` does not
    /// hold them where this passage does.
    fn quote(&self, stored: &Hit, start: usize, end: usize) -> Option<Quote<'_>> {
        let range = byte_range(&self.sentences, start, end)?;
        let text = self.hit.text.get(range.clone())?;
        let same = stored.start == self.hit.start && stored.text.get(range.clone()) == Some(text);
        let at = |offset: usize| self.hit.start + offset as u64;
        same.then(|| Quote {
            start: at(range.start),
            end: at(range.end),
            text,
        })
    }

    /// The sentence that shares most words with `claim`, as an index; `None` for a passage without sentences.
    fn best_sentence(&self, claim: &str) -> Option<usize> {
        let wanted = words(claim);
        let shared = |index: usize| {
            let range = self.sentences[index].clone();
            words(&self.hit.text[range]).intersection(&wanted).count()
        };
        // On a tie the earlier sentence counts: `max_by_key` keeps the last, so the walk goes backwards.
        (0..self.sentences.len())
            .rev()
            .max_by_key(|index| shared(*index))
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.unicode_words().map(str::to_lowercase).collect()
}

/// Where a passage can be looked up again, as it is stored, over what a caller may read.
pub trait Library {
    /// `None` for what is not there, or not readable under the mask.
    fn passage(&self, id: &str, mask: &Mask) -> Option<Hit>;
}

impl Library for Index {
    fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        Index::passage(self, id, mask)
    }
}

/// Gives each distinct citation its marker, in the order in which they are used.
pub struct Citations<'a, L> {
    sources: &'a [Source],
    library: &'a L,
    mask: &'a Mask,
    placed: Vec<Citation>,
    /// Citations that named no passage, or whose quote the stored passage does not hold.
    pub unresolved: usize,
}

impl<'a, L: Library> Citations<'a, L> {
    pub fn new(sources: &'a [Source], library: &'a L, mask: &'a Mask) -> Self {
        Self {
            sources,
            library,
            mask,
            placed: Vec::new(),
            unresolved: 0,
        }
    }

    /// Sentences `start..end` of source `number`. Answers the citation and whether it is new; `None` when it does not
    /// resolve.
    pub fn place(&mut self, number: usize, start: usize, end: usize) -> Option<(Citation, bool)> {
        let placed = self.resolve(number, start, end);
        if placed.is_none() {
            self.unresolved += 1;
        }
        placed
    }

    /// The sentence of source `number` that `claim` rests on.
    pub fn place_claim(&mut self, number: usize, claim: &str) -> Option<(Citation, bool)> {
        let best = self
            .sources
            .get(number)
            .and_then(|source| source.best_sentence(claim));
        match best {
            Some(sentence) => self.place(number, sentence, sentence + 1),
            None => {
                self.unresolved += 1;
                None
            }
        }
    }

    fn resolve(&mut self, number: usize, start: usize, end: usize) -> Option<(Citation, bool)> {
        let source = self.sources.get(number)?;
        let hit = &source.hit;
        // Checked against what is stored, over what the caller may read, not against what the model was given.
        let stored = self.library.passage(&hit.passage_id, self.mask)?;
        let Quote {
            start: from,
            end: to,
            text: quote,
        } = source.quote(&stored, start, end)?;
        let same = |citation: &&Citation| {
            citation.document_id == hit.document_id && (citation.start, citation.end) == (from, to)
        };
        if let Some(known) = self.placed.iter().find(same) {
            return Some((known.clone(), false));
        }
        let citation = Citation {
            marker: format!("[{}]", self.placed.len() + 1),
            document_id: hit.document_id.clone(),
            title: hit.title.clone(),
            uri: hit.uri.clone(),
            passage_id: hit.passage_id.clone(),
            page: page_at(&stored.pages, from.saturating_sub(stored.start)),
            start: from,
            end: to,
            quote: quote.to_owned(),
            masked: false,
            quote_hash: sha256_hex(quote.as_bytes()),
        };
        self.placed.push(citation.clone());
        Some((citation, true))
    }
}

/// The bytes that sentences `start..end` cover; an empty range means the one sentence `start`.
fn byte_range(sentences: &[Range<usize>], start: usize, end: usize) -> Option<Range<usize>> {
    let last = end.saturating_sub(1).max(start);
    Some(sentences.get(start)?.start..sentences.get(last)?.end)
}

/// A piece of streamed text, or a marker that a model wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// `[n]`, counted from 1 as the model was told.
    Marker(usize),
}

/// Finds `[n]` and `[n, m]` in streamed text, also where it is split over deltas.
#[derive(Debug, Default)]
pub struct MarkerReader {
    held: String,
}

/// No marker is longer: models write one number or a few, `[2]` or `[1, 2, 3]`.
const MARKER_BYTES: usize = 24;

/// The numbers of a marker, of three digits at the most each.
fn numbers(inside: &str) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse().ok().filter(|_| text.len() <= 3);
    inside.split(',').map(|text| number(text.trim())).collect()
}

impl MarkerReader {
    /// Takes a delta and gives what is certain by now.
    pub fn push(&mut self, delta: &str) -> Vec<Piece> {
        self.held.push_str(delta);
        let mut pieces = Vec::new();
        while let Some(open) = self.held.find('[') {
            let rest = &self.held[open + 1..];
            let inside = rest
                .bytes()
                .take_while(|byte| b"0123456789, ".contains(byte))
                .count();
            if inside == rest.len() && inside + 2 <= MARKER_BYTES {
                // Perhaps a marker that goes on in the next delta.
                let text: String = self.held.drain(..open).collect();
                push_text(&mut pieces, text);
                return pieces;
            }
            let closed = rest[inside..].starts_with(']') && inside + 2 <= MARKER_BYTES;
            match numbers(&rest[..inside]).filter(|_| closed) {
                Some(numbers) => {
                    let text: String = self.held.drain(..open).collect();
                    self.held.drain(..inside + 2);
                    push_text(&mut pieces, text);
                    pieces.extend(numbers.into_iter().map(Piece::Marker));
                }
                _ => {
                    let text: String = self.held.drain(..=open).collect();
                    push_text(&mut pieces, text);
                }
            }
        }
        push_text(&mut pieces, std::mem::take(&mut self.held));
        pieces
    }

    /// What was held back, at the end of the stream.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        push_text(&mut pieces, std::mem::take(&mut self.held));
        pieces
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: String) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(&text),
        _ => pieces.push(Piece::Text(text)),
    }
}

#[cfg(test)]
mod tests;

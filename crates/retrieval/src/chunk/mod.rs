//! Chunking: a document's text to passages, in one of five ways. Nothing that can be seen is lost by any of them.

mod headings;
mod hierarchical;
mod sections;
pub mod semantic;
mod setting;
mod words;

pub use hierarchical::hierarchical;
pub use sections::by_heading;
pub use setting::{Chunking, NoChunking};

use std::ops::Range;

use headings::HeadingPath;
use words::{Ending, Word, words};

use crate::wordpiece::Counter;
use crate::{Heading, Passage};

/// Sizes of passages, in tokens of [`crate::wordpiece`]. The default is 512 with 20 % overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedSize {
    pub max_tokens: usize,
    /// Share of a passage that the next one repeats, 0 to 50.
    pub overlap_percent: usize,
}

impl Default for FixedSize {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            overlap_percent: 20,
        }
    }
}

/// A document that is not cut is still cut where no embedding model would read on, in tokens.
const WHOLE_TOKENS: usize = 7_000;

/// Cuts `text` by a setting. Semantic chunking needs embeddings and is done by [`semantic`]; asked for here, it is cut as
/// if every sentence were as near to the next as any other.
pub fn cut(text: &str, headings: &[Heading], chunking: &Chunking) -> Vec<Passage> {
    match *chunking {
        Chunking::FixedSize(size) => fixed_size(text, headings, &size),
        Chunking::Headings { max_tokens } => by_heading(text, headings, max_tokens),
        Chunking::Hierarchical {
            parent_tokens,
            child_tokens,
        } => hierarchical(text, headings, parent_tokens, child_tokens),
        Chunking::Semantic { max_tokens, .. } => {
            semantic::Sentences::new(text, max_tokens).cut(headings, &[])
        }
        Chunking::None => {
            let size = FixedSize {
                max_tokens: WHOLE_TOKENS,
                overlap_percent: 0,
            };
            fixed_size(text, headings, &size)
        }
    }
}

/// The tokens of a text as BERT's tokenizer counts them; an estimate for models with another one.
///
/// What a model bills is what its reply says.
pub fn count_tokens(text: &str) -> usize {
    Counter::default().count(text)
}

/// Cuts `text` into passages. Whatever is not white space stands in at least one of them.
///
/// A passage has at most `max_tokens` by [`count_tokens`], unless it is a single word (or piece of a run of more than
/// 256 bytes without white space) that has more. `max_tokens` counts as 1 at least, `overlap_percent` as 50 at most.
/// A word of more than 256 bytes, one token to BERT, counts as many as it has letters: no model reads base64 for nothing.
/// Time and memory grow with the length of the text, whatever its words.
pub fn fixed_size(text: &str, headings: &[Heading], size: &FixedSize) -> Vec<Passage> {
    let words = words(text);
    let mut headings = HeadingPath::new(headings);
    let mut passages = Vec::new();
    for range in pieces(&words, size) {
        let (from, to) = (words[range.start].start, words[range.end - 1].end);
        passages.push(passage(text, from..to, passages.len(), &mut headings));
    }
    passages
}

/// A passage over a range of bytes that begins with a word.
fn passage(
    text: &str,
    range: Range<usize>,
    ordinal: usize,
    headings: &mut HeadingPath<'_>,
) -> Passage {
    Passage {
        ordinal: ordinal as u32,
        start: range.start as u64,
        end: range.end as u64,
        heading_path: headings.at(range.start),
        pages: Vec::new(),
        parent: None,
        text: text[range].to_owned(),
    }
}

/// Ranges of words that fit the size, in order; neighbours overlap by about the share asked for.
fn pieces(words: &[Word], size: &FixedSize) -> Vec<Range<usize>> {
    let max_tokens = size.max_tokens.max(1);
    let overlap = max_tokens * size.overlap_percent.min(50) / 100;
    let mut pieces = Vec::new();
    let mut first = 0;
    while first < words.len() {
        let end = passage_end(words, first, max_tokens);
        pieces.push(first..end);
        if end == words.len() {
            break;
        }
        // A long word after the cut may not fit beside the overlap; then the overlap gives way.
        let start = next_start(words, first, end, overlap);
        let mut reaching = tokens(&words[start..=end]);
        first = (start..end)
            .find(|at| {
                let fits = reaching <= max_tokens;
                reaching -= words[*at].tokens;
                fits && passage_end(words, *at, max_tokens) > end
            })
            .unwrap_or(end);
    }
    pieces
}

/// The tokens of neighbouring words.
fn tokens(words: &[Word]) -> usize {
    words.iter().map(|word| word.tokens).sum()
}

/// One past the last word of the passage that begins at `first`.
fn passage_end(words: &[Word], first: usize, max_tokens: usize) -> usize {
    let (mut tokens, mut end) = (0, first);
    while end < words.len() && (end == first || tokens + words[end].tokens <= max_tokens) {
        tokens += words[end].tokens;
        end += 1;
    }
    if end == words.len() {
        return end;
    }
    // A paragraph's end in the last half is best, then a sentence's end in the last third, then any word's.
    let length = end - first;
    let ends_well = |at: &usize, ending: Ending| words[*at - 1].ending >= ending;
    let paragraph = (first + length / 2 + 1..=end)
        .rev()
        .find(|at| ends_well(at, Ending::Paragraph));
    let sentence = (first + length * 2 / 3 + 1..=end)
        .rev()
        .find(|at| ends_well(at, Ending::Sentence));
    paragraph.or(sentence).unwrap_or(end)
}

/// The word where the next passage begins: about `overlap` tokens back, after a sentence's end if one is near.
fn next_start(words: &[Word], first: usize, end: usize, overlap: usize) -> usize {
    let (mut tokens, mut start) = (0, end);
    while start > first + 1 && tokens + words[start - 1].tokens <= overlap {
        start -= 1;
        tokens += words[start].tokens;
    }
    (start..end)
        .find(|at| words[at - 1].ending >= Ending::Sentence)
        .unwrap_or(start)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_tests;

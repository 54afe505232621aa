//! Chunking by heading: no passage reaches over a heading into another section.

use std::ops::Range;

use super::headings::HeadingPath;
use super::words::{Word, words};
use super::{FixedSize, passage, pieces, tokens};
use crate::{Heading, Passage};

/// A section of fewer tokens, such as a title above a table of contents, goes with the subsection that it opens.
const LONE_TOKENS: usize = 24;

/// A passage for each section of `text`, in parts where it has more than `max_tokens`; parts do not overlap. Whatever is not
/// white space stands in exactly one passage.
///
/// Bounds are those of [`super::fixed_size`].
pub fn by_heading(text: &str, headings: &[Heading], max_tokens: usize) -> Vec<Passage> {
    let words = words(text);
    let mut path = HeadingPath::new(headings);
    let mut passages = Vec::new();
    for range in parts(&words, headings, max_tokens) {
        let (from, to) = (words[range.start].start, words[range.end - 1].end);
        passages.push(passage(text, from..to, passages.len(), &mut path));
    }
    passages
}

/// The sections as ranges of words, each in parts that fit.
pub(super) fn parts(words: &[Word], headings: &[Heading], max_tokens: usize) -> Vec<Range<usize>> {
    let size = FixedSize {
        max_tokens,
        overlap_percent: 0,
    };
    let mut parts = Vec::new();
    for section in sections(words, headings) {
        let first = section.start;
        let pieces = pieces(&words[section], &size);
        parts.extend(
            pieces
                .into_iter()
                .map(|piece| first + piece.start..first + piece.end),
        );
    }
    parts
}

/// The words below each heading, up to the next one.
fn sections(words: &[Word], headings: &[Heading]) -> Vec<Range<usize>> {
    let mut sections: Vec<Range<usize>> = Vec::new();
    let mut level = u8::MAX;
    let mut first = 0;
    let last = Heading {
        level: 0,
        title: String::new(),
        start: usize::MAX,
    };
    for heading in headings.iter().chain([&last]) {
        let end = words.partition_point(|word| word.start < heading.start);
        let below = heading.level > level;
        level = heading.level;
        let short = end - first.min(end) > 0 && tokens(&words[first..end]) < LONE_TOKENS;
        // It is kept open: what it opens begins with it.
        if end <= first || (short && below && heading.start != usize::MAX) {
            continue;
        }
        sections.push(first..end);
        first = end;
    }
    sections
}

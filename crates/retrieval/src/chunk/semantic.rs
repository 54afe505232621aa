//! Semantic chunking: cuts where the meaning turns.
//!
//! Every sentence is embedded together with its neighbours; where the cosine distance of one to the next is among the
//! largest of the document, a passage ends. The way is Greg Kamradt's, which Bedrock Knowledge Bases name semantic
//! chunking. The embeddings come from outside; here is only their arithmetic.

use std::ops::Range;

use super::headings::HeadingPath;
use super::words::{Ending, Word, words};
use super::{FixedSize, passage, pieces, tokens};
use crate::{Heading, Passage};

/// Sentences on each side that are embedded with one.
const BUFFER: usize = 1;
/// A text of more sentences is joined into longer ones: each costs an embedding.
const MAX_SENTENCES: usize = 10_000;

/// The sentences of a text.
pub struct Sentences<'a> {
    text: &'a str,
    words: Vec<Word>,
    /// Ranges of words, without gaps.
    sentences: Vec<Range<usize>>,
    max_tokens: usize,
}

impl<'a> Sentences<'a> {
    /// Cuts `text` into sentences of at most `max_tokens`, of at most 10,000.
    pub fn new(text: &'a str, max_tokens: usize) -> Self {
        let words = words(text);
        let max_tokens = max_tokens.max(1);
        let least = tokens(&words) / MAX_SENTENCES;
        let mut sentences = Vec::new();
        let (mut first, mut length) = (0, 0);
        for (at, word) in words.iter().enumerate() {
            if at > first && length + word.tokens > max_tokens {
                sentences.push(first..at);
                (first, length) = (at, 0);
            }
            length += word.tokens;
            if word.ending > Ending::None && length >= least {
                sentences.push(first..at + 1);
                (first, length) = (at + 1, 0);
            }
        }
        if first < words.len() {
            sentences.push(first..words.len());
        }
        Self {
            text,
            words,
            sentences,
            max_tokens,
        }
    }

    /// What is to be embedded: each sentence with its neighbours, in order. Nothing where there is nothing to compare.
    pub fn windows(&self) -> Vec<String> {
        if self.sentences.len() < 3 {
            return Vec::new();
        }
        let window = |at: usize| {
            let first = &self.sentences[at.saturating_sub(BUFFER)];
            let last = &self.sentences[(at + BUFFER).min(self.sentences.len() - 1)];
            self.text[self.words[first.start].start..self.words[last.end - 1].end].to_owned()
        };
        (0..self.sentences.len()).map(window).collect()
    }

    /// Passages that end after the sentences of these numbers. One of more than the most tokens is cut further, at the
    /// best places there are. Passages do not overlap; bounds are those of [`super::fixed_size`].
    pub fn cut(&self, headings: &[Heading], breaks: &[usize]) -> Vec<Passage> {
        let size = FixedSize {
            max_tokens: self.max_tokens,
            overlap_percent: 0,
        };
        let mut path = HeadingPath::new(headings);
        let mut passages = Vec::new();
        let mut first = 0;
        let ends = breaks
            .iter()
            .filter_map(|sentence| self.sentences.get(*sentence))
            .map(|sentence| sentence.end)
            .chain([self.words.len()]);
        for end in ends {
            if end <= first {
                continue;
            }
            for piece in pieces(&self.words[first..end], &size) {
                let (from, to) = (
                    self.words[first + piece.start].start,
                    self.words[first + piece.end - 1].end,
                );
                passages.push(passage(self.text, from..to, passages.len(), &mut path));
            }
            first = end;
        }
        passages
    }
}

/// The sentences after which the meaning turns: those whose distance to the next is above the percentile of all
/// distances. `vectors` are the embeddings of [`Sentences::windows`], of any length.
pub fn breakpoints(vectors: &[Vec<f32>], percentile: u8) -> Vec<usize> {
    let distances: Vec<f32> = vectors
        .windows(2)
        .map(|pair| distance(&pair[0], &pair[1]))
        .collect();
    let mut sorted = distances.clone();
    sorted.sort_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return Vec::new();
    };
    let threshold = sorted[last * usize::from(percentile.min(100)) / 100];
    let turns = |at: &usize| distances[*at] > threshold;
    (0..distances.len()).filter(turns).collect()
}

/// One minus the cosine; the largest distance to a vector without a direction.
fn distance(left: &[f32], right: &[f32]) -> f32 {
    let dot = |left: &[f32], right: &[f32]| -> f32 {
        left.iter()
            .zip(right)
            .map(|(left, right)| left * right)
            .sum()
    };
    let lengths = (dot(left, left) * dot(right, right)).sqrt();
    if lengths > 0.0 && lengths.is_finite() {
        1.0 - dot(left, right) / lengths
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meaning_turns_where_the_distance_is_large() {
        let check = |angles: &[f32], percentile: u8, expected: &[usize]| {
            let vectors: Vec<Vec<f32>> = angles
                .iter()
                .map(|angle| vec![3.0 * angle.cos(), 3.0 * angle.sin()])
                .collect();
            assert_eq!(breakpoints(&vectors, percentile), expected, "{angles:?}");
        };
        check(&[], 95, &[]);
        check(&[0.0], 95, &[]);
        check(&[0.0, 0.1, 1.5, 1.6, 1.65], 75, &[1]);
        check(&[0.0, 0.1, 1.5, 1.6, 0.0], 50, &[1, 3]);
        // Where nothing stands out, nothing is cut.
        check(&[0.5, 0.5, 0.5, 0.5], 50, &[]);
        let broken = [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![1.0, 0.0]];
        assert!(breakpoints(&broken, 95).len() < 2);
    }

    #[test]
    fn a_turn_ends_a_passage() {
        let text = "Granite is hard. Basalt is dark. Bread is baked. Cake is sweet.";
        let sentences = Sentences::new(text, 100);
        assert_eq!(
            sentences.windows()[..2],
            [
                "Granite is hard. Basalt is dark.",
                "Granite is hard. Basalt is dark. Bread is baked."
            ]
        );
        let texts = |breaks: &[usize]| -> Vec<String> {
            let passages = sentences.cut(&[], breaks);
            passages.into_iter().map(|passage| passage.text).collect()
        };
        assert_eq!(texts(&[]), [text]);
        assert_eq!(
            texts(&[1]),
            [
                "Granite is hard. Basalt is dark.",
                "Bread is baked. Cake is sweet."
            ]
        );
        assert_eq!(texts(&[1, 1, 90]).len(), 2);
        assert!(Sentences::new("One. Two.", 100).windows().is_empty());
    }
}

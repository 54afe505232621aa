//! Whether an answer rests on its passages: each of its sentences is linked to the passages that hold its words, or marked
//! as unsupported.
//!
//! Words are compared, not meanings: a sentence that turns a passage's words into their contrary passes, and one that says
//! the same in other words or in another language may not. A number counts only as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::cite;

/// The share of a sentence's words that the passages it cites must hold. A model that cites puts things in its own words.
const CITED_SHARE: f64 = 0.5;
/// The share that one passage must hold of a sentence that does not cite it.
const UNCITED_SHARE: f64 = 0.7;
/// Passages that a sentence is linked to at the most, unless it cites more.
const LINKS: usize = 3;
/// Shorter words join sentences in every language and carry little; those with capitals only or digits count at any length.
const WORD_CHARACTERS: usize = 4;

/// A sentence of an answer and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Support {
    /// Bytes of the answer, without the markers behind the sentence.
    pub start: u64,
    pub end: u64,
    pub supported: bool,
    /// The passages that hold its words; of an unsupported one none.
    pub passage_ids: Vec<String>,
}

/// A passage that an answer was made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    pub passage_id: &'a str,
    pub text: &'a str,
}

/// The sentences of `answer` in their order. `cited` gives the passage behind each marker, such as `[1]`.
pub fn check(answer: &str, cited: &BTreeMap<&str, &str>, passages: &[Ground<'_>]) -> Vec<Support> {
    let (blank, markers) = without_markers(answer);
    let grounds: Vec<(&str, Words)> = passages
        .iter()
        .map(|passage| (passage.passage_id, Words::of(passage.text)))
        .collect();
    let claims = claims(&blank);
    let mut supports = Vec::with_capacity(claims.len());
    for (number, range) in claims.iter().enumerate() {
        let next = claims.get(number + 1).map_or(usize::MAX, |next| next.start);
        let behind = |at: usize| at >= range.start && at < next;
        let marked: BTreeSet<&str> = markers
            .iter()
            .filter(|(at, _)| behind(*at))
            .filter_map(|(_, marker)| cited.get(marker).copied())
            .collect();
        let passage_ids = links(&Words::of(&blank[range.clone()]), &marked, &grounds);
        supports.push(Support {
            start: range.start as u64,
            end: range.end as u64,
            supported: !passage_ids.is_empty(),
            passage_ids,
        });
    }
    supports
}

/// The passages that hold a sentence's words: those that it cites together, else each that does so alone.
fn links(sentence: &Words, marked: &BTreeSet<&str>, grounds: &[(&str, Words)]) -> Vec<String> {
    let cited: Vec<&(&str, Words)> = grounds
        .iter()
        .filter(|(id, _)| marked.contains(id))
        .collect();
    let together: Vec<&Words> = cited.iter().map(|(_, words)| words).collect();
    if !cited.is_empty() && sentence.held_by(&together) >= CITED_SHARE {
        return cited.iter().map(|(id, _)| (*id).to_owned()).collect();
    }
    if sentence.is_empty() {
        return Vec::new();
    }
    let mut alone: Vec<(f64, &str)> = grounds
        .iter()
        .map(|(id, words)| (sentence.held_by(&[words]), *id))
        .filter(|(share, _)| *share >= UNCITED_SHARE)
        .collect();
    // Stable: of equal shares the better ranked passage stays first.
    alone.sort_by(|a, b| b.0.total_cmp(&a.0));
    alone.truncate(LINKS);
    alone.into_iter().map(|(_, id)| id.to_owned()).collect()
}

/// The sentences that claim something. One without a word that counts, such as "Yes.", belongs to the one behind it.
fn claims(text: &str) -> Vec<Range<usize>> {
    let mut claims: Vec<Range<usize>> = Vec::new();
    let mut begun: Option<usize> = None;
    for range in cite::sentences(text) {
        let start = begun.take().unwrap_or(range.start);
        match Words::of(&text[start..range.end]).is_empty() {
            true => begun = Some(start),
            false => claims.push(start..range.end),
        }
    }
    match (begun, claims.last_mut()) {
        (Some(_), Some(last)) => last.end = text.trim_end().len(),
        (Some(start), None) => claims.push(start..text.trim_end().len()),
        _ => {}
    }
    claims
}

/// The same bytes with spaces where markers and placeholders of masked words stand, and the markers with their places.
pub(crate) fn without_markers(text: &str) -> (String, Vec<(usize, &str)>) {
    let mut blank = String::with_capacity(text.len());
    let mut markers = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['[', '{']) {
        let (before, from) = rest.split_at(open);
        blank.push_str(before);
        let inside = |allowed: fn(&u8) -> bool| from.bytes().skip(1).take_while(allowed).count();
        let (length, close) = match from.starts_with('[') {
            true => (inside(u8::is_ascii_digit), ']'),
            false => (
                inside(|byte| byte.is_ascii_uppercase() || b"_-0123456789".contains(byte)),
                '}',
            ),
        };
        let whole = length > 0 && from[1 + length..].starts_with(close);
        let taken = if whole { length + 2 } else { 1 };
        if whole && close == ']' {
            markers.push((text.len() - from.len(), &from[..taken]));
        }
        match whole {
            true => blank.extend(std::iter::repeat_n(' ', taken)),
            false => blank.push_str(&from[..taken]),
        }
        rest = &from[taken..];
    }
    blank.push_str(rest);
    (blank, markers)
}

/// The words of a text that count, in lowercase, and its numbers.
#[derive(Debug, Default)]
struct Words {
    plain: BTreeSet<String>,
    numbers: BTreeSet<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut words = Self::default();
        for word in text.unicode_words() {
            if word.contains(|c: char| c.is_ascii_digit()) {
                // 1,000 and 1'000 are one number; 1.5 and 1,5 are not told apart from 15, nor from one another.
                words.numbers.insert(
                    word.chars()
                        .filter(|c| c.is_alphanumeric())
                        .flat_map(char::to_lowercase)
                        .collect(),
                );
            } else if counts(word) {
                words.plain.insert(word.to_lowercase());
            }
        }
        words
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.numbers.is_empty()
    }

    /// The share of these words that `others` hold together; 0 where a number is missing, 1 where there is no word.
    fn held_by(&self, others: &[&Self]) -> f64 {
        let numbers = |number: &String| others.iter().any(|other| other.numbers.contains(number));
        if !self.numbers.iter().all(numbers) {
            return 0.0;
        }
        if self.plain.is_empty() {
            return 1.0;
        }
        let held = |word: &&String| others.iter().any(|other| other.holds(word));
        let found = self.plain.iter().filter(held).count();
        found as f64 / self.plain.len() as f64
    }

    fn holds(&self, word: &str) -> bool {
        if self.plain.contains(word) {
            return true;
        }
        // Words that begin alike stand side by side.
        let Some((end, _)) = word.char_indices().nth(WORD_CHARACTERS) else {
            return false;
        };
        let stem = &word[..end];
        let near = self.plain.range(stem.to_owned()..);
        near.take_while(|other| other.starts_with(stem))
            .any(|other| same_stem(word, other))
    }
}

/// Letters of other scripts count alone: many write no spaces, and a word may be one letter.
fn counts(word: &str) -> bool {
    let long = word.chars().count() >= WORD_CHARACTERS;
    let capitals = word.chars().count() > 1 && word.chars().all(char::is_uppercase);
    long || capitals || word.chars().any(|c| c as u32 >= 0x2E80)
}

/// Whether two words differ in their endings only: `climbs` and `climbing`, not `internal` and `international`.
fn same_stem(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    shared >= WORD_CHARACTERS && shared + 2 >= short && shared + 4 >= long
}

#[cfg(test)]
mod tests;

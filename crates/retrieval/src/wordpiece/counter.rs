//! Counting without cutting the same words again and again.
//!
//! White space and ASCII marks part a text into spans whose counts do not depend on one another. Most spans are short
//! words that were counted a moment ago: those are looked up.

use super::{normalise, vocabulary};

/// Spans of up to so many bytes are remembered.
const KEY_BYTES: usize = 15;
/// Places to remember them in; 32 bytes each, so that all stay in a core's second cache.
const SLOTS: usize = 1 << 12;
/// Characters in a part of a word that is too long to be one.
const PART_LETTERS: usize = 128;

/// Counts tokens, and remembers the words that it met.
pub struct Counter {
    /// Key of a span and its count; a later span may take another's place.
    slots: Vec<(u128, u32)>,
    word: String,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            slots: vec![(0, 0); SLOTS],
            word: String::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Mark,
    Letter,
    /// A control character, or a byte of a character beyond ASCII: what it does depends on its neighbours.
    Rest,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Rest; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'\t'..=b'\r' | b' ' => Class::Space,
            0..=31 | 127 => Class::Rest,
            byte if byte.is_ascii_alphanumeric() => Class::Letter,
            _ => Class::Mark,
        };
        byte += 1;
    }
    classes
};

impl Counter {
    /// The tokens of a text.
    pub fn count(&mut self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let class = |at: usize| bytes.get(at).map(|byte| CLASSES[*byte as usize]);
        let (mut tokens, mut at) = (0, 0);
        while let Some(kind) = class(at) {
            let start = at;
            at += 1;
            match kind {
                Class::Space => {}
                Class::Mark => tokens += 1,
                Class::Letter | Class::Rest => {
                    while class(at) == Some(Class::Letter) {
                        at += 1;
                    }
                    let plain = kind == Class::Letter && class(at) != Some(Class::Rest);
                    if !plain {
                        at = end_of_rest(bytes, at);
                    }
                    tokens += self.remembered(text, start, at, plain);
                }
            }
        }
        tokens
    }

    /// Calls `take` with the ends and the tokens of the parts that a run without white space may be cut into.
    ///
    /// The tokens of neighbouring parts together are never less than what they have as one text. A word of more than
    /// `word_bytes` is cut too; its parts count as many tokens as they have letters, which is the most that they can have.
    pub(crate) fn each_part(
        &mut self,
        run: &str,
        word_bytes: usize,
        mut take: impl FnMut(usize, usize),
    ) {
        let mut start = 0;
        let word =
            |counter: &mut Self, start: usize, end: usize, take: &mut dyn FnMut(usize, usize)| {
                if end - start <= word_bytes {
                    take(end, counter.count(&run[start..end]));
                    return;
                }
                let mut letters = 0;
                for (number, (at, character)) in run[start..end].char_indices().enumerate() {
                    if number > 0 && number % PART_LETTERS == 0 {
                        take(start + at, letters);
                        letters = 0;
                    }
                    letters += normalise::letters(character);
                }
                take(end, letters);
            };
        for (at, character) in run.char_indices() {
            if normalise::stands_alone(character) {
                if at > start {
                    word(self, start, at, &mut take);
                }
                start = at + character.len_utf8();
                take(start, 1);
            }
        }
        if run.len() > start {
            word(self, start, run.len(), &mut take);
        }
    }

    fn remembered(&mut self, text: &str, start: usize, end: usize, plain: bool) -> usize {
        if end - start > KEY_BYTES {
            return self.counted(&text[start..end], plain);
        }
        let key = key(text.as_bytes(), start, end);
        let slot = slot(key);
        let (known, tokens) = self.slots[slot];
        if known == key {
            return tokens as usize;
        }
        let tokens = self.counted(&text[start..end], plain);
        self.slots[slot] = (key, tokens as u32);
        tokens
    }

    fn counted(&mut self, span: &str, plain: bool) -> usize {
        if plain {
            self.word.clear();
            self.word.push_str(span);
            self.word.make_ascii_lowercase();
            return vocabulary::count(&self.word);
        }
        let mut tokens = 0;
        normalise::each_word(span, &mut self.word, |word| {
            tokens += vocabulary::count(word);
        });
        tokens
    }
}

fn end_of_rest(bytes: &[u8], from: usize) -> usize {
    let parts = |byte: &u8| matches!(CLASSES[*byte as usize], Class::Space | Class::Mark);
    let length = bytes[from..].iter().position(parts);
    length.map_or(bytes.len(), |length| from + length)
}

/// A span's bytes and its length in one number, never 0.
fn key(bytes: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    let word = match bytes.get(start..start + 16).map(<[u8; 16]>::try_from) {
        Some(Ok(sixteen)) => u128::from_le_bytes(sixteen) & ((1 << (8 * length)) - 1),
        _ => {
            let mut sixteen = [0; 16];
            sixteen[..length].copy_from_slice(&bytes[start..end]);
            u128::from_le_bytes(sixteen)
        }
    };
    word | (length as u128) << 120
}

fn slot(key: u128) -> usize {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}

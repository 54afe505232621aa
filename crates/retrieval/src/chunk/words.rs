//! The words of a text as passages are made of: what stands between white space, and pieces of runs that are too long.

use crate::wordpiece::Counter;

/// A run of more bytes (Chinese and Japanese, a minified script, base64) may be cut.
const RUN_BYTES: usize = 256;
/// A piece of such a run ends where it has so many bytes, and after a sentence.
const PIECE_BYTES: usize = 48;

/// A word with the bytes it covers, its tokens, and how good a place to end it is.
pub(super) struct Word {
    pub start: usize,
    pub end: usize,
    /// At least 1. The tokens of neighbouring words together are never less than what their text has.
    pub tokens: usize,
    pub ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    None,
    Sentence,
    Paragraph,
}

pub(super) fn words(text: &str) -> Vec<Word> {
    let mut counter = Counter::default();
    let mut words: Vec<Word> = Vec::new();
    let base = text.as_ptr() as usize;
    for run in text.split_whitespace() {
        let start = run.as_ptr() as usize - base;
        if let Some(last) = words.last_mut()
            && text[last.end..start]
                .bytes()
                .filter(|byte| *byte == b'\n')
                .count()
                >= 2
        {
            last.ending = Ending::Paragraph;
        }
        if run.len() > RUN_BYTES {
            push_pieces(&mut words, &mut counter, start, run);
            continue;
        }
        words.push(Word {
            start,
            end: start + run.len(),
            tokens: counter.count(run).max(1),
            ending: ending(run),
        });
    }
    words
}

fn push_pieces(words: &mut Vec<Word>, counter: &mut Counter, offset: usize, run: &str) {
    let (mut start, mut tokens) = (0, 0);
    counter.each_part(run, RUN_BYTES, |end, more| {
        tokens += more;
        let ending = ending(&run[start..end]);
        if end - start >= PIECE_BYTES || ending > Ending::None || end == run.len() {
            words.push(Word {
                start: offset + start,
                end: offset + end,
                tokens: tokens.max(1),
                ending,
            });
            (start, tokens) = (end, 0);
        }
    });
}

fn ending(word: &str) -> Ending {
    let closing = word.trim_end_matches(['"', '\'', ')', ']', '»', '”', '’', '」']);
    match closing.ends_with(['.', '!', '?', '。', '！', '？']) {
        true => Ending::Sentence,
        false => Ending::None,
    }
}

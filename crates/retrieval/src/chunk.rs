//! Fixed-size chunking: at most so many tokens, overlapping, never inside a word, under the headings it stands below.

use unicode_segmentation::UnicodeSegmentation;

use crate::{Heading, Passage};

/// Sizes of passages. The default is Bedrock Knowledge Bases' usual 512 tokens with 20 % overlap.
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

/// Letters in one token of a longer word: WordPiece cuts rare English words into pieces of about this length.
const PIECE_CHARACTERS: usize = 6;
/// A "word" of more bytes (base64, a minified script) may be cut, at a character's border.
const WORD_BYTES: usize = 256;

/// An approximate count of a text's tokens: one for each piece of six letters of a word, one for each mark.
///
/// An estimate for sizing passages; what a model bills is what its reply says. Counted run by run between white space,
/// so that the count of a passage is the sum of its words'; runs of more than 256 bytes piece by piece.
pub fn count_tokens(text: &str) -> usize {
    runs(text).map(|(_, run)| run_tokens(run)).sum()
}

fn run_tokens(run: &str) -> usize {
    run.split_word_bounds()
        .map(word_tokens)
        .sum::<usize>()
        .max(1)
}

fn word_tokens(word: &str) -> usize {
    if word.chars().next().is_some_and(char::is_alphanumeric) {
        return word.chars().count().div_ceil(PIECE_CHARACTERS);
    }
    word.chars().count()
}

/// A word with the bytes it covers, its tokens, and how good a place to end it is.
struct Word {
    start: usize,
    end: usize,
    tokens: usize,
    /// 0: none, 1: end of a sentence, 2: end of a paragraph.
    ending: u8,
}

/// Cuts `text` into passages. Whatever is not white space stands in at least one of them.
///
/// A passage has at most `max_tokens` by [`count_tokens`], unless it is a single word (or piece of a run of more than
/// 256 bytes without white space) that has more. `max_tokens` counts as 1 at least, `overlap_percent` as 50 at most.
/// Time and memory grow with the length of the text, whatever its words.
pub fn fixed_size(text: &str, headings: &[Heading], size: &FixedSize) -> Vec<Passage> {
    let words = words(text);
    let max_tokens = size.max_tokens.max(1);
    let overlap = max_tokens * size.overlap_percent.min(50) / 100;
    let mut headings = HeadingPath::new(headings);
    let mut passages = Vec::new();
    let mut first = 0;
    while first < words.len() {
        let end = passage_end(&words, first, max_tokens);
        let (from, to) = (words[first].start, words[end - 1].end);
        passages.push(Passage {
            ordinal: passages.len() as u32,
            start: from as u64,
            end: to as u64,
            heading_path: headings.at(from),
            text: text[from..to].to_owned(),
        });
        if end == words.len() {
            break;
        }
        // A long word after the cut may not fit beside the overlap; then the overlap gives way.
        let start = next_start(&words, first, end, overlap);
        first = (start..end)
            .find(|at| passage_end(&words, *at, max_tokens) > end)
            .unwrap_or(end);
    }
    passages
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
    let ends_well = |at: &usize, ending: u8| words[*at - 1].ending >= ending;
    let paragraph = (first + length / 2 + 1..=end)
        .rev()
        .find(|at| ends_well(at, 2));
    let sentence = (first + length * 2 / 3 + 1..=end)
        .rev()
        .find(|at| ends_well(at, 1));
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
        .find(|at| words[at - 1].ending >= 1)
        .unwrap_or(start)
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (start, run) in runs(text) {
        let gap = words.last().map(|last| &text[last.end..start]);
        if let (Some(gap), Some(last)) = (gap, words.last_mut()) {
            let breaks = gap.bytes().filter(|byte| *byte == b'\n').count();
            if breaks >= 2 {
                last.ending = 2;
            }
        }
        let closing = run.trim_end_matches(['"', '\'', ')', ']', '»', '”', '’']);
        let ending = u8::from(closing.ends_with(['.', '!', '?', '。', '！', '？']));
        words.push(Word {
            start,
            end: start + run.len(),
            tokens: run_tokens(run),
            ending,
        });
    }
    words
}

/// Runs without white space, those longer than [`WORD_BYTES`] cut into pieces.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().flat_map(move |run| {
        let offset = run.as_ptr() as usize - base;
        pieces(run).map(move |(start, piece)| (offset + start, piece))
    })
}

fn pieces(run: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == run.len() {
            return None;
        }
        let mut end = (start + WORD_BYTES).min(run.len());
        while !run.is_char_boundary(end) {
            end -= 1;
        }
        let piece = (start, &run[start..end]);
        start = end;
        Some(piece)
    })
}

/// The headings that a byte stands below, highest first; asked for bytes in rising order, so that all passages together
/// read each heading once.
struct HeadingPath<'a> {
    rest: &'a [Heading],
    path: Vec<&'a Heading>,
}

impl<'a> HeadingPath<'a> {
    fn new(headings: &'a [Heading]) -> Self {
        let path = Vec::new();
        Self {
            rest: headings,
            path,
        }
    }

    fn at(&mut self, byte: usize) -> Vec<String> {
        while let Some((heading, rest)) = self.rest.split_first() {
            if heading.start > byte {
                break;
            }
            while self
                .path
                .last()
                .is_some_and(|above| above.level >= heading.level)
            {
                self.path.pop();
            }
            self.path.push(heading);
            self.rest = rest;
        }
        self.path
            .iter()
            .map(|heading| heading.title.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_counted() {
        let check = |text: &str, tokens: usize| assert_eq!(count_tokens(text), tokens, "{text:?}");
        check("", 0);
        check("one two", 2);
        check("internationalisation", 4);
        check("a, b.", 4);
    }

    #[test]
    fn passages_stand_below_their_headings() {
        let text = "# One\n\nfirst words\n\n## Two\n\nsecond words\n\n# Three\n\nthird words";
        let heading = |level, title: &str| Heading {
            level,
            title: title.into(),
            start: text.find(&format!(" {title}")).unwrap() + 1 - usize::from(level) - 1,
        };
        let headings = [heading(1, "One"), heading(2, "Two"), heading(1, "Three")];
        let check = |needle: &str, path: &[&str]| {
            let found = HeadingPath::new(&headings).at(text.find(needle).unwrap());
            assert_eq!(found, path);
        };
        check("first", &["One"]);
        check("second", &["One", "Two"]);
        check("third", &["Three"]);
        let mut walk = HeadingPath::new(&headings);
        for needle in ["first", "second", "third"] {
            let at = text.find(needle).unwrap();
            assert_eq!(walk.at(at), HeadingPath::new(&headings).at(at));
        }
    }

    #[test]
    fn a_word_is_whole_and_a_monster_is_cut() {
        let text = format!("start {} end", "x".repeat(10_000));
        let passages = fixed_size(
            &text,
            &[],
            &FixedSize {
                max_tokens: 64,
                overlap_percent: 0,
            },
        );
        assert!(passages.len() > 10);
        assert_eq!(
            passages.last().unwrap().text.split(' ').next_back(),
            Some("end")
        );
    }

    proptest! {
        /// Runs long enough to be cut: bounds hold there too, and cuts are at characters' borders.
        #[test]
        fn monsters_keep_the_bounds(
            text in "(?s)([_a-zé東🪨.]{200,700} ?){0,6}",
            max_tokens in 300usize..400,
            overlap_percent in 0usize..60,
        ) {
            let passages = fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent });
            prop_assert_eq!(&passages, &fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent }));
            let mut covered = 0;
            for passage in &passages {
                let (start, end) = (passage.start as usize, passage.end as usize);
                prop_assert_eq!(text.get(start..end), Some(passage.text.as_str()));
                prop_assert!(start <= covered || text[covered..start].trim().is_empty());
                prop_assert!(count_tokens(&passage.text) <= max_tokens);
                covered = end;
            }
            prop_assert!(text[covered..].trim().is_empty());
        }

        #[test]
        fn nothing_is_lost_and_positions_are_exact(
            text in "(?s)([a-zé]{1,12}[ .\n]{1,3}|.{0,8}){0,120}",
            max_tokens in 1usize..60,
            overlap_percent in 0usize..60,
        ) {
            let passages = fixed_size(&text, &[], &FixedSize { max_tokens, overlap_percent });
            let mut covered = 0usize;
            for (ordinal, passage) in passages.iter().enumerate() {
                let (start, end) = (passage.start as usize, passage.end as usize);
                prop_assert_eq!(passage.ordinal as usize, ordinal);
                prop_assert_eq!(text.get(start..end), Some(passage.text.as_str()));
                prop_assert!(start < end);
                if start > covered {
                    prop_assert!(text[covered..start].trim().is_empty(), "text between passages is lost");
                }
                prop_assert!(end > covered, "each passage brings something new");
                covered = end;
                // Words stay whole: on both sides of a cut there is white space or the text's end.
                prop_assert!(text[..start].chars().next_back().is_none_or(char::is_whitespace));
                prop_assert!(text[end..].chars().next().is_none_or(char::is_whitespace));
                let single = passage.text.split_whitespace().count() == 1;
                prop_assert!(single || count_tokens(&passage.text) <= max_tokens);
            }
            prop_assert!(text[covered..].trim().is_empty());
        }
    }
}

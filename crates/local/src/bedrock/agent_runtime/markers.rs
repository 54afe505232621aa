//! Markers such as `[2]` in the text of a model that numbers its passages instead of citing them.
use std::sync::LazyLock;

use regex::Regex;

use super::super::sentences;

/// A run of markers, and the sign behind it that belongs to the sentence before.
static MARKERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let marker = r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]";
    Regex::new(&format!(r"[ \t]*({marker}(?:[ \t]*{marker})*)([.!?,;:]?)")).ok()
});

/// A piece of the text without its markers, and the passages (from 0) that it names; none where it names none.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) passages: Vec<usize>,
}

/// Cuts the text into pieces. A marker speaks for the sentence before it. What names no passage of `count` stays text.
pub(super) fn cut(text: &str, count: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut done = 0;
    let runs = MARKERS.iter().flat_map(|regex| regex.captures_iter(text));
    for run in runs {
        let (Some(whole), Some(markers), Some(sign)) = (run.get(0), run.get(1), run.get(2)) else {
            continue;
        };
        let Some(passages) = passages(markers.as_str(), count) else {
            continue;
        };
        let said = &text[done..whole.start()];
        let begin = sentences::split(said)
            .last()
            .and_then(|sentence| said.rfind(sentence.text))
            .unwrap_or(0);
        plain(&mut pieces, &said[..begin]);
        pieces.push(Piece {
            text: format!("{}{}", &said[begin..], sign.as_str()),
            passages,
        });
        done = whole.end();
    }
    plain(&mut pieces, &text[done..]);
    pieces
}

fn plain(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece {
            text: text.to_owned(),
            passages: Vec::new(),
        });
    }
}

/// The numbers of a run, each once; `None` if one of them is no passage's.
fn passages(markers: &str, count: usize) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    let numbers = markers.split(|letter: char| !letter.is_ascii_digit());
    for number in numbers.filter(|digits| !digits.is_empty()) {
        let at = number.parse::<usize>().ok()?.checked_sub(1)?;
        if at >= count {
            return None;
        }
        if !found.contains(&at) {
            found.push(at);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_speaks_for_the_sentence_before_it() {
        let check = |text: &str, expected: &[(&str, &[usize])]| {
            let found = cut(text, 3);
            let found: Vec<(&str, &[usize])> = found
                .iter()
                .map(|piece| (piece.text.as_str(), piece.passages.as_slice()))
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("", &[]);
        check("No marker.", &[("No marker.", &[])]);
        check("It burns [2].", &[("It burns.", &[1])]);
        check("It burns. [1]", &[("It burns.", &[0])]);
        check(
            "Well. It burns.[1][3] Then it rains [1, 2]! Who knows.",
            &[
                ("Well. ", &[]),
                ("It burns.", &[0, 2]),
                (" ", &[]),
                ("Then it rains!", &[0, 1]),
                (" Who knows.", &[]),
            ],
        );
        check("It burns [2] [2].", &[("It burns.", &[1])]);
        // Not a passage: text, as it was written.
        check("See [4] and [0].", &[("See [4] and [0].", &[])]);
        check("See [1, 9].", &[("See [1, 9].", &[])]);
        check("[2]", &[("", &[1])]);
    }
}

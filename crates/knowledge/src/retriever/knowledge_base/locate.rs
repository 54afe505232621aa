//! Where a chunk's words stand in a document's stored text.

use std::ops::Range;

/// The bytes of `text` that hold the words of `chunk`; `None` when it does not hold them. Another reader of the same
/// file may have other white space, never other words.
pub(super) fn locate(chunk: &str, text: &str) -> Option<Range<usize>> {
    let chunk = chunk.trim();
    if chunk.is_empty() {
        return None;
    }
    if let Some(start) = text.find(chunk) {
        return Some(start..start + chunk.len());
    }
    let visible = |text: &str| -> Vec<(usize, char)> {
        text.char_indices()
            .filter(|(_, letter)| !letter.is_whitespace())
            .collect()
    };
    let (places, wanted) = (visible(text), visible(chunk));
    let (dense, wanted): (String, String) = (letters(&places), letters(&wanted));
    let found = dense.find(&wanted)?;
    let first = dense[..found].chars().count();
    let last = first + wanted.chars().count() - 1;
    let (start, (end, letter)) = (places[first].0, places[last]);
    Some(start..end + letter.len_utf8())
}

fn letters(places: &[(usize, char)]) -> String {
    places.iter().map(|(_, letter)| *letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_stands_between_them() {
        let text = "Größe:\n\n  a  lamp burns\r\noil. a lamp burns oil.";
        let check = |chunk: &str, expected: Option<&str>| {
            let found = locate(chunk, text).map(|range| &text[range]);
            assert_eq!(found, expected, "{chunk:?}");
        };
        check("a lamp burns oil.", Some("a lamp burns oil."));
        check("  a lamp burns oil.\n", Some("a lamp burns oil."));
        check("Größe: a lamp", Some("Größe:\n\n  a  lamp"));
        check("burns\noil.", Some("burns\r\noil."));
        check("a lamp burns gas.", None);
        check(" \n", None);
        check("", None);
    }
}

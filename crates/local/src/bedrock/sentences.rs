//! Sentences of a passage as byte ranges, so that a quotation is the passage's own bytes. Lines that are headings
//! lend their words to the sentences below them and are no sentences themselves.

/// One sentence of a passage's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence<'a> {
    /// Verbatim, without a list marker or surrounding white space.
    pub(super) text: &'a str,
    /// The nearest heading above it in the same part, or an empty string.
    pub(super) heading: &'a str,
}

/// A sentence longer than this (bytes) that spans lines is cut at its lines: tables, logs, CSV.
const LONG_SENTENCE: usize = 480;
/// Words before a full stop that do not end a sentence.
const ABBREVIATIONS: [&str; 14] = [
    "e.g", "i.e", "etc", "vs", "mr", "mrs", "dr", "no", "cf", "approx", "fig", "st", "inc", "resp",
];

pub(super) fn split(text: &str) -> Vec<Sentence<'_>> {
    let mut sentences = Vec::new();
    let mut heading = "";
    for block in blocks(text) {
        match heading_of(block) {
            Some(title) => heading = title,
            None => sentences.extend(
                split_block(block)
                    .into_iter()
                    .map(|text| Sentence { text, heading }),
            ),
        }
    }
    sentences
}

/// Runs of lines that belong together: a blank line, a heading, a list item, a table row or a fence begins another.
fn blocks(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut at, mut after_heading) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if trimmed.is_empty() || begins_block(trimmed) || after_heading {
            found.push(text[start..at].trim());
            start = at;
        }
        after_heading = heading_of(trimmed).is_some();
        at += line.len();
    }
    found.push(text[start..].trim());
    found.retain(|block| !block.is_empty() && !block.starts_with("```"));
    found
}

fn begins_block(line: &str) -> bool {
    line.starts_with('#')
        || line.starts_with('|')
        || line.starts_with("```")
        || list_marker(line) > 0
}

/// Bytes of a list marker at the beginning of `line`, with the space after it.
fn list_marker(line: &str) -> usize {
    for marker in ["- ", "* ", "+ ", "• ", "> "] {
        if line.starts_with(marker) {
            return marker.len();
        }
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &line[digits..];
    if (1..=3).contains(&digits) && (rest.starts_with(". ") || rest.starts_with(") ")) {
        digits + 2
    } else {
        0
    }
}

fn heading_of(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    ((1..=6).contains(&level) && title.starts_with(' ') && !line.contains('\n'))
        .then(|| title.trim())
}

fn split_block(block: &str) -> Vec<&str> {
    let block = block[list_marker(block)..].trim();
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in block.char_indices() {
        let end = at + c.len_utf8();
        if end > start && ends_sentence(&block[start..end], &block[end..], c) {
            found.push(&block[start..end]);
            start = end;
        }
    }
    found.push(&block[start..]);
    found
        .into_iter()
        .flat_map(cut_long)
        .map(str::trim)
        .filter(|text| text.chars().any(char::is_alphanumeric))
        .collect()
}

fn ends_sentence(sentence: &str, rest: &str, last: char) -> bool {
    if matches!(last, '。' | '！' | '？') {
        return true;
    }
    let closed = sentence.trim_end_matches(['"', '\'', ')', '”', '’', '*', '_']);
    if !closed.ends_with(['.', '!', '?']) || !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let next = rest.trim_start().chars().next();
    if next.is_some_and(char::is_lowercase) {
        return false;
    }
    let Some(before) = closed.strip_suffix('.') else {
        return true;
    };
    let word = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or("")
        .to_lowercase();
    !ABBREVIATIONS.contains(&word.as_str())
}

fn cut_long(sentence: &str) -> Vec<&str> {
    if sentence.len() <= LONG_SENTENCE {
        return vec![sentence];
    }
    sentence.lines().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = split(text).iter().map(|sentence| sentence.text).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        check("One. Two! Three?", &["One.", "Two!", "Three?"]);
        check(
            "Use e.g. Nova. Version 2.0 is out.",
            &["Use e.g. Nova.", "Version 2.0 is out."],
        );
        check(
            "Hard\nwrapped line. Next.",
            &["Hard\nwrapped line.", "Next."],
        );
        check(
            "# Title\nBody text.\n\n- item one\n- item two",
            &["Body text.", "item one", "item two"],
        );
        check(
            "1. First step.\n2. Second step.",
            &["First step.", "Second step."],
        );
        check("今日は。明日は。", &["今日は。", "明日は。"]);
        check("(In brackets.) After.", &["(In brackets.)", "After."]);
        check("", &[]);
    }

    #[test]
    fn headings_are_lent_to_what_follows() {
        let found = split("## Limits\nThe limit is 6 MB.");
        assert_eq!(
            found,
            [Sentence {
                text: "The limit is 6 MB.",
                heading: "Limits"
            }]
        );
    }
}

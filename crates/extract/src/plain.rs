//! Plain text: kept as written. Underlined lines are headings.
//!
//! The only heading convention of plain text that can be told from other text with confidence is a
//! line underlined at its own length after a blank line, as README files and reStructuredText do.

use crate::{Extracted, Format, Heading, Outline};

/// Underlines, in the order of their usual levels.
const UNDERLINES: [char; 3] = ['=', '-', '~'];
/// Longer lines are prose above a rule.
const LONGEST_TITLE_CHARS: usize = 100;

pub(crate) fn read(text: String) -> Extracted {
    let headings = headings(&text);
    let opening = text.len() - text.trim_start().len();
    let title = headings
        .first()
        .filter(|heading| heading.start <= opening)
        .map(|heading| heading.title.clone());
    Extracted {
        text,
        title,
        format: Format::Text,
        pages: Vec::new(),
        headings,
    }
}

fn headings(text: &str) -> Vec<Heading> {
    let mut found = Outline::default();
    let (mut before_is_blank, mut line, mut start) = (true, "", 0);
    let mut offset = 0;
    for next in text.split_inclusive('\n') {
        let underline = next.trim_end();
        if before_is_blank && let Some(level) = level(line, underline) {
            found.push(level, line, start);
        }
        // A rule above a title, as reStructuredText allows, leaves the title as free as a blank line.
        before_is_blank = line.is_empty() || is_rule(line);
        (line, start) = (underline, offset);
        offset += next.len();
    }
    found.finish()
}

fn is_rule(line: &str) -> bool {
    UNDERLINES
        .iter()
        .any(|mark| line.len() >= 3 && line.chars().all(|c| c == *mark))
}

/// The level of a title by its underline, if that is what the two lines are.
fn level(title: &str, underline: &str) -> Option<u8> {
    let mark = underline.chars().next()?;
    let position = UNDERLINES.iter().position(|known| *known == mark)?;
    let length = title.chars().count();
    let fits = underline.len() >= 3
        && length <= LONGEST_TITLE_CHARS
        && underline.chars().count().abs_diff(length) <= 1
        && underline.chars().all(|c| c == mark);
    let worded =
        title.starts_with(|c: char| !c.is_whitespace()) && title.chars().any(char::is_alphabetic);
    (fits && worded).then(|| u8::try_from(position + 1).unwrap_or(6))
}

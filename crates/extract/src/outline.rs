//! The headings of a document while it is read, within bounds: each of them is copied into the passages below it.

use crate::{Heading, one_line};

/// More headings than a manual of 5,000 pages has. Beyond them the deepest levels are left out.
const MAX_HEADINGS: usize = 50_000;
/// A longer heading, such as a paragraph in the style of one, is cut, in characters.
const TITLE_CHARACTERS: usize = 300;

/// The headings so far, in document order.
pub(crate) struct Outline {
    headings: Vec<Heading>,
    /// Levels that are kept.
    levels: u8,
}

impl Default for Outline {
    fn default() -> Self {
        Self {
            headings: Vec::new(),
            levels: 6,
        }
    }
}

impl Outline {
    /// Adds a heading, unless its title has no words.
    pub(crate) fn push(&mut self, level: u8, title: &str, start: usize) {
        if level > self.levels {
            return;
        }
        let Some(title) = self::title(title) else {
            return;
        };
        self.headings.push(Heading {
            level,
            title,
            start,
        });
        if self.headings.len() > MAX_HEADINGS {
            let deepest = self.headings.iter().map(|heading| heading.level).max();
            self.levels = deepest.unwrap_or(1) - 1;
            // The last level that is left keeps its first headings.
            match self.levels {
                0 => self.headings.truncate(MAX_HEADINGS),
                levels => self.headings.retain(|heading| heading.level <= levels),
            }
        }
    }

    pub(crate) fn first(&self) -> Option<&Heading> {
        self.headings.first()
    }

    pub(crate) fn finish(self) -> Vec<Heading> {
        self.headings
    }
}

/// A title on one line, cut where it is a text; nothing where it has no words.
pub(crate) fn title(words: &str) -> Option<String> {
    // White space may be most of it.
    let mut line = String::new();
    let mut characters = 0;
    for word in words.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
            characters += 1;
        }
        for character in word.chars() {
            if characters >= TITLE_CHARACTERS {
                line.push('…');
                return one_line(&line);
            }
            line.push(character);
            characters += 1;
        }
    }
    one_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_levels_go_first() {
        let mut outline = Outline::default();
        for number in 0..3 * MAX_HEADINGS {
            let level = [1, 2, 3, 3, 3, 3, 3, 3, 3, 3][number % 10];
            outline.push(level, "x", number);
        }
        let headings = outline.finish();
        assert_eq!(headings.len(), 3 * MAX_HEADINGS / 5);
        assert!(headings.iter().all(|heading| heading.level < 3));
        let mut flat = Outline::default();
        (0..3 * MAX_HEADINGS).for_each(|number| flat.push(1, "x", number));
        assert_eq!(flat.finish().len(), MAX_HEADINGS);
    }

    #[test]
    fn long_titles_are_cut() {
        let check = |words: &str, expected: Option<&str>| {
            assert_eq!(title(words).as_deref(), expected, "{words:?}");
        };
        check(" a \n b ", Some("a b"));
        check(" \u{200b} ", None);
        let long = "é".repeat(TITLE_CHARACTERS);
        check(&long, Some(&long));
        check(&format!("{long}e"), Some(&format!("{long}…")));
    }
}

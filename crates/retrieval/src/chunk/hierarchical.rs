//! Hierarchical chunking: small passages that a search finds well, in larger ones that an answer needs.

use super::headings::HeadingPath;
use super::words::words;
use super::{FixedSize, passage, pieces, sections};
use crate::{Heading, Passage, Siblings};

/// Cuts `text` into parents of at most `parent_tokens`, which do not reach over headings, and those into children of at
/// most `child_tokens`. Answers the children; the text of a parent is the text of its children, one after the other, byte
/// for byte, since each but the last ends where the next begins. Whatever is not white space stands in exactly one child.
///
/// Bounds are those of [`super::fixed_size`]; white space has no tokens. An only child has no parent.
pub fn hierarchical(
    text: &str,
    headings: &[Heading],
    parent_tokens: usize,
    child_tokens: usize,
) -> Vec<Passage> {
    let words = words(text);
    let size = FixedSize {
        max_tokens: child_tokens,
        overlap_percent: 0,
    };
    let mut path = HeadingPath::new(headings);
    let mut passages: Vec<Passage> = Vec::new();
    for parent in sections::parts(&words, headings, parent_tokens) {
        let words = &words[parent];
        let children = pieces(words, &size);
        let siblings = Siblings {
            first: passages.len() as u32,
            count: children.len() as u32,
        };
        for (number, child) in children.iter().enumerate() {
            let from = words[child.start].start;
            let to = match children.get(number + 1) {
                Some(next) => words[next.start].start,
                None => words[child.end - 1].end,
            };
            passages.push(Passage {
                parent: (siblings.count > 1).then_some(siblings),
                ..passage(text, from..to, passages.len(), &mut path)
            });
        }
    }
    passages
}

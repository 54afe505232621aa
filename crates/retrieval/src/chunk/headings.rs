//! The headings above a passage.

use crate::Heading;

/// The headings that a byte stands below, highest first; asked for bytes in rising order, so that all passages together
/// read each heading once.
pub(super) struct HeadingPath<'a> {
    rest: &'a [Heading],
    path: Vec<&'a Heading>,
}

impl<'a> HeadingPath<'a> {
    pub(super) fn new(headings: &'a [Heading]) -> Self {
        let path = Vec::new();
        Self {
            rest: headings,
            path,
        }
    }

    pub(super) fn at(&mut self, byte: usize) -> Vec<String> {
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

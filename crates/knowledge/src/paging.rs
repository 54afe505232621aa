//! Pages of what a caller may see, out of rows that others own too.
//!
//! A cursor names the last row that the caller was given, never one of another's: it tells nothing, and since rows are
//! read on until a page is full, no page is short because of what it hides.

use aws::dynamo::keys;

use crate::KnowledgeError;

/// Rows that one request to the table reads once the first did not suffice. Rows are about 1 KB, an answer 1 MB.
const ROWS: usize = 1_000;

/// The id after which to go on; it must be one of this space.
///
/// # Errors
/// [`KnowledgeError::InvalidCursor`].
pub(crate) fn after<'a>(
    cursor: Option<&'a str>,
    space: &str,
) -> Result<Option<&'a str>, KnowledgeError> {
    match cursor {
        Some(id) if keys::space_of(id) != Some(space) => Err(KnowledgeError::InvalidCursor {
            cursor: id.to_owned(),
        }),
        other => Ok(other),
    }
}

/// The rows of one page while they are found.
pub(crate) struct Visible<T> {
    limit: usize,
    found: Vec<T>,
    reads: usize,
}

impl<T> Visible<T> {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            found: Vec::new(),
            reads: 0,
        }
    }

    /// One row more than the page holds says that another page follows.
    pub fn wants_more(&self) -> bool {
        self.found.len() <= self.limit
    }

    /// How many rows to read next: a page's worth first, then as many as one request gives.
    pub fn rows_to_read(&mut self) -> usize {
        self.reads += 1;
        if self.reads == 1 {
            self.limit + 1
        } else {
            ROWS
        }
    }

    /// Takes the rows that the caller may see, as far as the page needs them.
    pub fn take(&mut self, rows: Vec<T>, may_see: impl Fn(&T) -> bool) {
        let room = (self.limit + 1).saturating_sub(self.found.len());
        self.found
            .extend(rows.into_iter().filter(may_see).take(room));
    }

    /// The page and, where another follows, the cursor to it.
    pub fn finish(mut self, id: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let more = self.found.len() > self.limit;
        self.found.truncate(self.limit);
        let next = self.found.last().filter(|_| more).map(id);
        (self.found, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `?cursor=zzz` gave an empty page, as if there were no documents.
    #[test]
    fn a_cursor_is_an_id_of_the_space() {
        let check = |cursor: Option<&str>, expected: Result<Option<&str>, &str>| {
            let found = after(cursor, "legal").map_err(|error| error.name());
            assert_eq!(found, expected, "{cursor:?}");
        };
        check(None, Ok(None));
        check(Some("legal.01"), Ok(Some("legal.01")));
        check(Some("zzz"), Err("InvalidCursor"));
        check(Some(""), Err("InvalidCursor"));
        check(Some("other.01"), Err("InvalidCursor"));
        check(Some("legal.01#DOCUMENT"), Err("InvalidCursor"));
    }

    /// Pages through `rows`, of which the caller may see the even ones.
    fn walk(rows: &[u32], limit: usize) -> Vec<(Vec<u32>, Option<String>)> {
        let (mut pages, mut begin) = (Vec::new(), 0);
        loop {
            let mut visible = Visible::new(limit);
            let mut at = begin;
            while visible.wants_more() && at < rows.len() {
                let end = rows.len().min(at + visible.rows_to_read());
                visible.take(rows[at..end].to_vec(), |row| row % 2 == 0);
                at = end;
            }
            let (found, next) = visible.finish(u32::to_string);
            pages.push((found, next.clone()));
            let Some(next) = next else { return pages };
            begin = rows.iter().position(|row| row.to_string() == next).unwrap() + 1;
        }
    }

    #[test]
    fn pages_are_full_and_cursors_name_what_was_seen() {
        let check = |rows: &[u32], limit: usize, expected: &[(&[u32], Option<&str>)]| {
            let found = walk(rows, limit);
            let expected: Vec<_> = expected
                .iter()
                .map(|(page, next)| (page.to_vec(), next.map(str::to_owned)))
                .collect();
            assert_eq!(found, expected, "{rows:?} by {limit}");
        };
        check(&[], 2, &[(&[], None)]);
        check(&[1, 3, 5, 7], 2, &[(&[], None)]);
        check(&[1, 2, 3, 4], 2, &[(&[2, 4], None)]);
        check(&[1, 2, 3, 4, 5], 2, &[(&[2, 4], None)]);
        check(
            &[1, 3, 5, 2, 7, 4, 9, 6],
            2,
            &[(&[2, 4], Some("4")), (&[6], None)],
        );
    }
}

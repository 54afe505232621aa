//! JSON and JSON Lines as readable lines: `path: value`, one paragraph per record.
//!
//! The grammar is checked by `serde_json`, whose skipping of a value keeps its stack on the heap; the
//! layout then walks the checked text itself. So order and numbers stay as written, nesting costs no
//! stack, and no tree is built. Nulls, empty strings and empty containers say nothing and are left out.

use serde::de::IgnoredAny;

use crate::{ExtractError, Extracted, Format, Limits, one_line, refuse_long};

/// An array of plain values shorter than this is written on one line.
const ONE_LINE_ARRAY_BYTES: usize = 200;

/// Whether a text is one JSON array or object, or several in a row.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && values(text).all(|value| value.is_ok())
}

pub(crate) fn read(text: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut several = false;
    for (position, value) in values(text).enumerate() {
        value?;
        several = position > 0;
    }
    let mut page = Page {
        limits,
        out: String::new(),
        title: None,
    };
    for value in values(text) {
        let value = value?;
        let root = match several {
            true => Root::Record,
            false if value.starts_with('[') => Root::Records,
            false => Root::Document,
        };
        page.break_paragraph();
        page.write(value, root)?;
    }
    let Page { mut out, title, .. } = page;
    out.truncate(out.trim_end().len());
    Ok(Extracted {
        text: out,
        title,
        format: Format::Json,
        pages: Vec::new(),
        headings: Vec::new(),
    })
}

/// The source text of each top-level value.
fn values(text: &str) -> impl Iterator<Item = Result<&str, ExtractError>> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    std::iter::from_fn(move || {
        let value = stream.next()?;
        let end = stream.byte_offset();
        let source = value.map(|_| text[start..end].trim());
        start = end;
        Some(source.map_err(|error| ExtractError::MalformedDocument {
            format: "JSON",
            reason: error.to_string(),
        }))
    })
}

/// What a top-level value is.
#[derive(Clone, Copy, PartialEq)]
enum Root {
    /// The whole document; its `title` or `name` is the document's.
    Document,
    /// An array of records, each a paragraph of its own.
    Records,
    /// One record of several.
    Record,
}

/// A container being walked.
struct Level {
    /// Length of the path up to and including this container's own name.
    path_len: usize,
    /// The next element's index; none in an object.
    index: Option<usize>,
    /// Whether the elements are records, which start their paths anew.
    records: bool,
}

/// The text being laid out.
struct Page<'a> {
    limits: &'a Limits,
    out: String,
    title: Option<String>,
}

impl Page<'_> {
    fn write(&mut self, source: &str, root: Root) -> Result<(), ExtractError> {
        let mut path = String::new();
        let mut levels: Vec<Level> = Vec::new();
        let mut rest = source;
        // INVARIANT: `source` passed the grammar, so only structure and completeness matter here.
        while let Some(first) = rest.chars().next() {
            match first {
                '}' | ']' => {
                    levels.pop();
                    rest = &rest[1..];
                }
                '{' | '[' => {
                    self.enter_element(&mut path, &mut levels);
                    self.refuse_deep(levels.len())?;
                    if let Some(end) = one_line_array(rest) {
                        self.line(&path, &joined(&rest[1..end]))?;
                        rest = &rest[end + 1..];
                        continue;
                    }
                    let records = root == Root::Records && levels.is_empty();
                    let index = (first == '[').then_some(0);
                    levels.push(Level {
                        path_len: path.len(),
                        index,
                        records,
                    });
                    rest = &rest[1..];
                }
                ',' | ':' | ' ' | '\t' | '\n' | '\r' => rest = &rest[1..],
                _ => {
                    let token = &rest[..token_len(rest)];
                    rest = &rest[token.len()..];
                    if rest.trim_start().starts_with(':') && in_object(&levels) {
                        set_key(&mut path, &levels, token);
                        continue;
                    }
                    self.enter_element(&mut path, &mut levels);
                    self.value(&path, token, root, levels.len())?;
                }
            }
        }
        Ok(())
    }

    /// Before an element of an array: its index joins the path, or a record begins.
    fn enter_element(&mut self, path: &mut String, levels: &mut [Level]) {
        let Some(level) = levels.last_mut() else {
            return;
        };
        let Some(index) = &mut level.index else {
            return;
        };
        let number = *index;
        *index += 1;
        path.truncate(level.path_len);
        if level.records {
            self.break_paragraph();
        } else {
            path.push_str(&format!("[{number}]"));
        }
    }

    fn value(
        &mut self,
        path: &str,
        token: &str,
        root: Root,
        depth: usize,
    ) -> Result<(), ExtractError> {
        let value = scalar(token);
        if root == Root::Document
            && depth == 1
            && (path == "title" || (path == "name" && self.title.is_none()))
        {
            self.title = one_line(&value);
        }
        self.line(path, &value)
    }

    fn line(&mut self, path: &str, value: &str) -> Result<(), ExtractError> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(());
        }
        refuse_long(self.out.len() + path.len() + value.len() + 3, self.limits)?;
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        if !path.is_empty() {
            self.out.push_str(path);
            self.out.push_str(": ");
        }
        self.out.push_str(value);
        Ok(())
    }

    fn break_paragraph(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push_str("\n\n");
        }
    }

    fn refuse_deep(&self, depth: usize) -> Result<(), ExtractError> {
        let limit = self.limits.max_nesting;
        if depth < limit {
            return Ok(());
        }
        Err(ExtractError::TooDeeplyNested {
            format: "JSON",
            limit,
        })
    }
}

fn in_object(levels: &[Level]) -> bool {
    levels.last().is_some_and(|level| level.index.is_none())
}

fn set_key(path: &mut String, levels: &[Level], token: &str) {
    path.truncate(levels.last().map_or(0, |level| level.path_len));
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(&scalar(token));
}

/// The length of the string, number or word that `text` starts with.
fn token_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        let end = bytes.iter().position(|b| b",:]}[{\" \t\r\n".contains(b));
        return end.unwrap_or(bytes.len());
    }
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A string without its quotes and escapes, nothing for null, anything else as written.
fn scalar(token: &str) -> String {
    if !token.starts_with('"') {
        return if token == "null" {
            String::new()
        } else {
            token.to_owned()
        };
    }
    // A lone surrogate is valid grammar but no text; such a string is kept in its escaped form.
    let text = serde_json::from_str(token).unwrap_or_else(|_| token.trim_matches('"').to_owned());
    text.replace("\r\n", "\n")
        .replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ")
}

/// Where the short array of plain values that `text` starts with ends, if that is what it starts with.
fn one_line_array(text: &str) -> Option<usize> {
    if !text.starts_with('[') {
        return None;
    }
    let mut at = 1;
    while at <= ONE_LINE_ARRAY_BYTES {
        match text.as_bytes().get(at)? {
            b']' => return Some(at),
            b'{' | b'[' => return None,
            b',' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => at += token_len(&text[at..]).max(1),
        }
    }
    None
}

fn joined(inside: &str) -> String {
    let mut values = Vec::new();
    let mut rest = inside.trim_start_matches([',', ' ', '\t', '\n', '\r']);
    while !rest.is_empty() {
        let token = &rest[..token_len(rest).max(1)];
        values.extend(one_line(&scalar(token)));
        rest = rest[token.len()..].trim_start_matches([',', ' ', '\t', '\n', '\r']);
    }
    values.join(", ")
}

//! Markdown: the text as written, with the headings' positions from a CommonMark parser.
//!
//! The markup stays in the text, because it is readable and because citations quote what the author
//! wrote. The parser tells real headings from `#` lines inside code.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{ExtractError, Extracted, Format, Limits, Outline, html, one_line};

/// Bytes at which the parser makes a node; it keeps those of the whole document, and they take 125 bytes each.
const MARKS: &[u8] = b"\n*_[]!`<&|~\\";
const MAX_MARKS: usize = 6_000_000;

pub(crate) fn read(text: String) -> Result<Extracted, ExtractError> {
    let marks = text.bytes().filter(|byte| MARKS.contains(byte)).count();
    if marks > MAX_MARKS {
        return Err(ExtractError::DocumentTooComplex {
            format: "Markdown",
            what: "lines and marks",
            limit: MAX_MARKS,
        });
    }
    let mut outline = Reading::default();
    for (event, range) in Parser::new_ext(&text, options()).into_offset_iter() {
        outline.take(event, range, &text);
    }
    let headings = outline.headings.finish();
    let title = outline.front_matter.or_else(|| {
        headings
            .iter()
            .find(|heading| heading.level == 1)
            .map(|h| h.title.clone())
    });
    Ok(Extracted {
        title,
        format: Format::Markdown,
        pages: Vec::new(),
        headings,
        text,
    })
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
}

/// What has been learnt about the document so far.
#[derive(Default)]
struct Reading {
    headings: Outline,
    front_matter: Option<String>,
    /// The heading being read: level, words, start.
    open: Option<(u8, String, usize)>,
    in_front_matter: bool,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, range: Range<usize>, text: &str) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.open = Some((level as u8, String::new(), range.start));
            }
            Event::End(TagEnd::Heading(_)) => self.close_heading(),
            Event::Start(Tag::MetadataBlock(_)) => self.in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => self.in_front_matter = false,
            Event::Start(Tag::HtmlBlock) => self.take_html(&text[range.clone()], range.start),
            Event::Text(words) if self.in_front_matter => {
                self.front_matter = self
                    .front_matter
                    .take()
                    .or_else(|| front_matter_title(&words));
            }
            Event::Text(words) | Event::Code(words) => self.add_words(&words),
            Event::SoftBreak | Event::HardBreak => self.add_words(" "),
            _ => {}
        }
    }

    fn add_words(&mut self, more: &str) {
        if let Some((_, words, _)) = &mut self.open {
            words.push_str(more);
        }
    }

    fn close_heading(&mut self) {
        if let Some((level, words, start)) = self.open.take() {
            self.headings.push(level, &words, start);
        }
    }

    /// Headings written as HTML, which many README files open with.
    fn take_html(&mut self, block: &str, block_start: usize) {
        let mut from = 0;
        while let Some(at) = block[from..].find("<h").map(|at| from + at) {
            from = at + 2;
            let level = block
                .as_bytes()
                .get(from)
                .map_or(0, |digit| digit.wrapping_sub(b'0'));
            if !(1..=6).contains(&level) {
                continue;
            }
            let Some(end) = block[from..].find("</h").map(|end| from + end) else {
                return;
            };
            if let Ok(inner) = html::read(&block[at..end], &Limits::default()) {
                self.headings.push(level, &inner.text, block_start + at);
            }
            from = end + 3;
        }
    }
}

/// The `title: …` (YAML) or `title = …` (TOML) of a front matter.
fn front_matter_title(front_matter: &str) -> Option<String> {
    let value = front_matter.lines().find_map(|line| {
        let after = line.strip_prefix("title")?.trim_start();
        after.strip_prefix([':', '='])
    })?;
    let value = value.trim();
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    one_line(bare)
}

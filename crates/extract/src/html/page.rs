//! The page being laid out while tokens arrive: open elements, pending breaks, lists, rows, headings.

use html5ever::tokenizer::Tag;
use html5ever::tokenizer::states::RawKind;

use super::element::{self, Gap};
use crate::{ExtractError, Heading, Limits, Outline, one_line, refuse_long};

/// Deeper lists are not indented further.
const DEEPEST_INDENT: usize = 8;

/// An element whose end tag has not come.
struct Open {
    name: String,
    hidden: bool,
}

/// A list being written: the next number, or none for bullets.
struct List {
    next: Option<usize>,
    has_items: bool,
}

impl List {
    fn new(next: Option<usize>) -> Self {
        Self {
            next,
            has_items: false,
        }
    }
}

/// A table's current row.
#[derive(Default)]
struct Row {
    cells: usize,
    has_text: bool,
    /// Whether nothing was written since the cell began.
    fresh_cell: bool,
    /// Cell separators owed before the next text.
    separators: usize,
}

/// The heading being read: its level, and where its text started once it has.
struct OpenHeading {
    level: u8,
    start: Option<usize>,
}

/// The text, title and headings of a page.
pub(super) type Finished = (String, Option<String>, Vec<Heading>);

pub(super) struct Page {
    limits: Limits,
    /// In XML `<a/>` closes itself; in HTML it does not.
    is_xml: bool,
    out: String,
    title: Option<String>,
    title_words: Option<String>,
    headings: Outline,
    heading: Option<OpenHeading>,
    open: Vec<Open>,
    hidden: usize,
    preformatted: usize,
    lists: Vec<List>,
    rows: Vec<Row>,
    gap: Gap,
    marker: Option<String>,
    failure: Option<ExtractError>,
}

impl Page {
    pub(super) fn new(limits: Limits, is_xml: bool) -> Self {
        Self {
            limits,
            is_xml,
            out: String::new(),
            title: None,
            title_words: None,
            headings: Outline::default(),
            heading: None,
            open: Vec::new(),
            hidden: 0,
            preformatted: 0,
            lists: Vec::new(),
            rows: Vec::new(),
            gap: Gap::None,
            marker: None,
            failure: None,
        }
    }

    pub(super) fn finish(mut self) -> Result<Finished, ExtractError> {
        self.end_heading();
        self.end_title();
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.out, self.title, self.headings.finish())),
        }
    }

    /// A start tag. Returns how the tokenizer must read the content when it is not markup.
    pub(super) fn open(&mut self, tag: &Tag) -> Option<RawKind> {
        if self.failure.is_some() {
            return None;
        }
        let name: &str = &tag.name;
        self.close_implied(name);
        self.begin(name);
        let closed = element::is_void(name) || (tag.self_closing && self.closes_itself());
        if closed {
            return None;
        }
        let hidden = element::is_hidden(tag);
        if name == "title" && self.title.is_none() && self.hidden == 0 {
            self.title_words = Some(String::new());
        }
        if hidden || self.hidden > 0 || element::is_structural(name) {
            self.push(name, hidden);
        }
        element::raw_kind(name)
    }

    /// Self-closing start tags count in XML and in foreign content such as `svg`.
    fn closes_itself(&self) -> bool {
        self.is_xml
            || self
                .open
                .iter()
                .rev()
                .any(|o| o.name == "svg" || o.name == "math")
    }

    fn push(&mut self, name: &str, hidden: bool) {
        let limit = self.limits.max_nesting;
        if self.open.len() >= limit {
            self.failure = Some(ExtractError::TooDeeplyNested {
                format: "HTML",
                limit,
            });
            return;
        }
        self.hidden += usize::from(hidden);
        self.preformatted += usize::from(is_preformatted(name));
        match name {
            "ul" | "menu" | "dir" => self.lists.push(List::new(None)),
            "ol" => self.lists.push(List::new(Some(1))),
            "table" => {
                if let Some(outer) = self.rows.last_mut() {
                    *outer = Row {
                        cells: outer.cells,
                        has_text: true,
                        ..Row::default()
                    };
                }
                self.rows.push(Row::default());
            }
            _ => {}
        }
        self.open.push(Open {
            name: name.to_owned(),
            hidden,
        });
    }

    /// What a start tag does to the text, before its content.
    fn begin(&mut self, name: &str) {
        if self.hidden > 0 {
            return;
        }
        if let Some(level) = element::heading_level(name) {
            self.end_heading();
            self.break_row();
            self.gap = Gap::Paragraph;
            self.heading = Some(OpenHeading { level, start: None });
            return;
        }
        // A heading that was never closed ends where other structure begins.
        if matches!(
            name,
            "p" | "ul" | "ol" | "dl" | "table" | "section" | "pre" | "hr" | "tr"
        ) {
            self.end_heading();
        }
        match name {
            "td" | "th" => self.begin_cell(),
            "tr" => {
                self.add_gap(Gap::Line);
                if let Some(row) = self.rows.last_mut() {
                    if row.cells > 0 {
                        self.gap = Gap::Line;
                    }
                    *row = Row::default();
                }
            }
            "li" => {
                self.begin_item();
            }
            "ul" | "ol" | "menu" | "dir" if self.lists.is_empty() => self.add_gap(Gap::Paragraph),
            _ => self.add_gap(element::gap(name)),
        }
    }

    fn begin_cell(&mut self) {
        let Some(row) = self.rows.last_mut() else {
            self.add_gap(Gap::Space);
            return;
        };
        if row.cells > 0 {
            row.separators += 1;
            if row.has_text {
                self.gap = Gap::None;
            }
        }
        row.cells += 1;
        row.fresh_cell = true;
    }

    /// Forgets the separators that are owed: what follows stands on its own.
    fn break_row(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.separators = 0;
            row.fresh_cell = false;
        }
    }

    /// An item follows the one before it, and the text that its list is nested under, on the next line.
    fn begin_item(&mut self) {
        self.add_gap(Gap::Line);
        let nested = self.lists.len() > 1;
        if let Some(list) = self.lists.last_mut() {
            if (list.has_items || nested) && self.heading.is_none() {
                self.gap = self.gap.min(Gap::Line);
            }
            list.has_items = true;
        }
        self.marker = Some(self.list_marker());
    }

    fn list_marker(&mut self) -> String {
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(DEEPEST_INDENT));
        match self.lists.last_mut() {
            Some(List {
                next: Some(number), ..
            }) => {
                let marker = format!("{indent}{number}. ");
                *number += 1;
                marker
            }
            _ => format!("{indent}- "),
        }
    }

    fn add_gap(&mut self, gap: Gap) {
        let in_fresh_cell = self.rows.last().is_some_and(|row| row.fresh_cell);
        if in_fresh_cell && gap > Gap::Space {
            return;
        }
        // Before an item's first word its own blocks do not part it from its marker.
        if self.marker.is_some() && gap > Gap::Line {
            self.gap = self.gap.max(Gap::Line);
            return;
        }
        let gap = if self.heading.is_some() {
            gap.min(Gap::Space)
        } else {
            gap
        };
        self.gap = self.gap.max(gap);
    }

    fn close_implied(&mut self, name: &str) {
        let Some((closed, scope)) = element::closes(name) else {
            return;
        };
        for position in (0..self.open.len()).rev() {
            let open = self.open[position].name.as_str();
            if scope.contains(&open) {
                return;
            }
            if closed.contains(&open) {
                self.pop_to(position);
            }
        }
    }

    pub(super) fn close(&mut self, name: &str) {
        if self.failure.is_some() {
            return;
        }
        if name == "title" {
            self.end_title();
        }
        let mut found = None;
        for (position, open) in self.open.iter().enumerate().rev() {
            if open.name == name {
                found = Some(position);
                break;
            }
            if element::is_scope(&open.name, name) {
                break;
            }
        }
        if let Some(position) = found {
            if element::is_structural(name) {
                self.pop_to(position);
            } else {
                let open = self.open.remove(position);
                self.hidden -= usize::from(open.hidden);
            }
        }
        if self.hidden == 0 {
            self.end(name);
        }
    }

    /// What an end tag does to the text, after its content.
    fn end(&mut self, name: &str) {
        if element::heading_level(name).is_some() {
            self.end_heading();
            self.add_gap(Gap::Paragraph);
        } else if matches!(name, "ul" | "ol" | "menu" | "dir") && self.lists.is_empty() {
            self.add_gap(Gap::Paragraph);
        } else {
            self.add_gap(element::gap(name));
        }
    }

    fn pop_to(&mut self, position: usize) {
        for open in self.open.drain(position..) {
            self.hidden -= usize::from(open.hidden);
            self.preformatted -= usize::from(is_preformatted(&open.name));
            match open.name.as_str() {
                "ul" | "ol" | "menu" | "dir" => {
                    self.lists.pop();
                    self.marker = None;
                }
                "table" => {
                    self.rows.pop();
                }
                _ => {}
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        if let Some(words) = &mut self.title_words {
            words.push_str(text);
            return;
        }
        if self.hidden > 0 || self.failure.is_some() {
            return;
        }
        if self.preformatted > 0 && self.heading.is_none() {
            self.preformatted_text(text);
        } else {
            self.flowing_text(text);
        }
        if let Err(failure) = refuse_long(self.out.len(), &self.limits) {
            self.failure = Some(failure);
        }
    }

    fn flowing_text(&mut self, text: &str) {
        let is_space = |c: char| c.is_whitespace() || c.is_control();
        let mut rest = text;
        while !rest.is_empty() {
            let words = rest.trim_start_matches(is_space);
            if words.len() < rest.len() {
                self.add_gap(Gap::Space);
            }
            let end = words.find(is_space).unwrap_or(words.len());
            if end > 0 {
                self.write(&words[..end]);
            }
            rest = &words[end..];
        }
    }

    fn preformatted_text(&mut self, text: &str) {
        let is_dropped = |c: char| c.is_control() && c != '\n' && c != '\t';
        let mut text = text.replace(is_dropped, "");
        if self.gap >= Gap::Line {
            // The line end after `<pre>` is not part of the text.
            if let Some(stripped) = text.strip_prefix('\n') {
                text = stripped.to_owned();
            }
        }
        if !text.is_empty() {
            self.write(&text);
        }
    }

    /// Writes visible text after whatever is owed before it.
    fn write(&mut self, words: &str) {
        let separators = self
            .rows
            .last_mut()
            .map_or(0, |row| std::mem::take(&mut row.separators));
        self.write_gap(separators > 0);
        let row_has_text = self.rows.last().is_some_and(|row| row.has_text);
        for position in 0..separators {
            let joined = position == 0 && !row_has_text;
            self.out.push_str(if joined { "| " } else { " | " });
        }
        if let Some(row) = self.rows.last_mut() {
            row.has_text = true;
            row.fresh_cell = false;
        }
        if let Some(marker) = self.marker.take() {
            self.out.push_str(&marker);
        }
        if let Some(heading) = &mut self.heading {
            heading.start.get_or_insert(self.out.len());
        }
        self.out.push_str(words);
    }

    fn write_gap(&mut self, before_separator: bool) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        if self.out.is_empty() {
            return;
        }
        match gap {
            Gap::None => {}
            Gap::Space if before_separator || self.out.ends_with('\n') => {}
            Gap::Space => self.out.push(' '),
            Gap::Line | Gap::Paragraph => {
                self.out.truncate(self.out.trim_end().len());
                self.out
                    .push_str(if gap == Gap::Line { "\n" } else { "\n\n" });
            }
        }
    }

    fn end_heading(&mut self) {
        let Some(OpenHeading {
            level,
            start: Some(start),
        }) = self.heading.take()
        else {
            return;
        };
        let words = self.out[start..].trim_end_matches(['¶', ' ']);
        self.headings.push(level, words, start);
        self.gap = Gap::Paragraph;
    }

    fn end_title(&mut self) {
        if let Some(words) = self.title_words.take() {
            self.title = one_line(&words);
        }
    }
}

fn is_preformatted(name: &str) -> bool {
    matches!(name, "pre" | "xmp" | "listing")
}

//! Word documents: paragraphs, lists and tables in their order, then foot- and endnotes.
//!
//! Headings are the paragraphs whose style has an outline level. Deleted text of tracked changes, field codes and the
//! copies of drawings for old readers are left out; inserted text is in.

use std::collections::{BTreeMap, BTreeSet};

use super::{main_part, title};
use crate::package::Package;
use crate::xml::{Element, Node, walk};
use crate::{ExtractError, Extracted, Format, Limits, Outline, one_line, refuse_long};

const FORMAT: &str = "DOCX";
/// What the main part is called, unless the package says otherwise.
const MAIN: &str = "word/document.xml";

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    let styles = match package.part("word/styles.xml")? {
        Some(part) => Styles::read(&part, limits)?,
        None => Styles::default(),
    };
    let mut body = Body {
        styles: &styles,
        limits,
        text: String::new(),
        headings: Outline::default(),
        title: None,
        paragraph: Paragraph::default(),
        outer: Vec::new(),
        hidden: 0,
        in_text: false,
        tables: Vec::new(),
        waiting: 0,
    };
    let main = main_part(&mut package, MAIN, FORMAT, limits)?;
    body.part(&package.required(&main)?)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(part) = package.part(notes)? {
            body.part(&part)?;
        }
    }
    let title = title(&mut package, FORMAT, limits)?;
    let first = body.headings.first().map(|heading| heading.title.clone());
    Ok(Extracted {
        title: title.or(body.title).or(first),
        format: Format::Docx,
        headings: body.headings.finish(),
        pages: Vec::new(),
        text: body.text,
    })
}

/// What styles say of paragraphs: an outline level from 1, or that it is the title.
#[derive(Default)]
struct Styles {
    levels: BTreeMap<String, u8>,
    based_on: BTreeMap<String, String>,
    titles: BTreeSet<String>,
}

impl Styles {
    fn read(part: &[u8], limits: &Limits) -> Result<Self, ExtractError> {
        let mut styles = Self::default();
        let mut current = String::new();
        walk(part, FORMAT, limits, |node| {
            if let Node::Open(element) = node {
                styles.take(element, &mut current);
            }
            Ok(())
        })?;
        Ok(styles)
    }

    fn take(&mut self, element: &Element<'_>, current: &mut String) {
        let value = element.attribute("val").unwrap_or_default();
        match element.name() {
            "style" => *current = element.attribute("styleId").unwrap_or_default(),
            "name" if value.eq_ignore_ascii_case("title") => self.titles.extend([current.clone()]),
            "name" => {
                let name = value.to_ascii_lowercase();
                if let Some(level) = name.strip_prefix("heading ").and_then(level) {
                    self.levels.insert(current.clone(), level);
                }
            }
            "outlineLvl" => {
                let level = value.parse::<u8>().ok().filter(|level| *level < 9);
                if let Some(level) = level {
                    self.levels
                        .entry(current.clone())
                        .or_insert(level.min(5) + 1);
                }
            }
            "basedOn" => drop(self.based_on.insert(current.clone(), value)),
            _ => {}
        }
    }

    /// The outline level of a style, its own or that of one it is based on.
    fn level(&self, style: &str) -> Option<u8> {
        let mut style = style;
        for _ in 0..16 {
            if let Some(level) = self.levels.get(style) {
                return Some(*level);
            }
            style = self.based_on.get(style)?;
        }
        None
    }
}

fn level(number: &str) -> Option<u8> {
    let level = number.trim().parse::<u8>().ok()?;
    (1..=9).contains(&level).then_some(level.min(6))
}

/// The paragraph being read.
#[derive(Default)]
struct Paragraph {
    words: String,
    level: Option<u8>,
    is_title: bool,
    listed: Option<usize>,
}

/// A table being read: its cells are written with ` | ` between them.
#[derive(Default)]
struct Table {
    row: Vec<String>,
    cell: String,
}

struct Body<'s> {
    styles: &'s Styles,
    limits: &'s Limits,
    text: String,
    headings: Outline,
    title: Option<String>,
    paragraph: Paragraph,
    /// Paragraphs around the one that a text box within them opened.
    outer: Vec<Paragraph>,
    /// Open elements whose content is not shown.
    hidden: usize,
    in_text: bool,
    tables: Vec<Table>,
    /// Bytes in the cells of rows that are not written yet.
    waiting: usize,
}

impl Body<'_> {
    fn part(&mut self, part: &[u8]) -> Result<(), ExtractError> {
        let limits = *self.limits;
        walk(part, FORMAT, &limits, |node| {
            match node {
                Node::Open(element) => self.open(element),
                Node::Close(name) => self.close(name),
                Node::Text(text) if self.in_text && self.hidden == 0 => {
                    self.paragraph.words.push_str(text);
                }
                Node::Text(_) => {}
            }
            let paragraph = self.paragraph.words.len();
            refuse_long(self.text.len() + self.waiting + paragraph, &limits)
        })
    }

    fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            "Fallback" | "del" | "moveFrom" | "instrText" => self.hidden += 1,
            // The first two notes are the line above the notes and its continuation.
            "footnote" | "endnote" if element.attribute("type").is_some() => self.hidden += 1,
            _ if self.hidden > 0 => {}
            "p" => {
                let outer = std::mem::take(&mut self.paragraph);
                self.outer.push(outer);
            }
            "pStyle" => {
                let style = element.attribute("val").unwrap_or_default();
                self.paragraph.level = self.styles.level(&style);
                self.paragraph.is_title = self.styles.titles.contains(&style);
            }
            "outlineLvl" => {
                let level = element
                    .attribute("val")
                    .and_then(|level| level.parse().ok());
                self.paragraph.level = level.filter(|level: &u8| *level < 9).map(|l| l.min(5) + 1);
            }
            "ilvl" => {
                let depth = element
                    .attribute("val")
                    .and_then(|depth| depth.parse().ok());
                self.paragraph.listed = depth.map(|depth: usize| depth.min(8));
            }
            "t" => self.in_text = true,
            "tab" | "ptab" => self.paragraph.words.push('\t'),
            "br" | "cr" => self.paragraph.words.push('\n'),
            "noBreakHyphen" => self.paragraph.words.push('-'),
            "tbl" => {
                if self.tables.is_empty() {
                    self.end_block();
                }
                self.tables.push(Table::default());
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "Fallback" | "del" | "moveFrom" | "instrText" => {
                self.hidden = self.hidden.saturating_sub(1);
            }
            "footnote" | "endnote" => self.hidden = 0,
            _ if self.hidden > 0 => {}
            "t" => self.in_text = false,
            "p" => {
                let outer = self.outer.pop().unwrap_or_default();
                let paragraph = std::mem::replace(&mut self.paragraph, outer);
                self.write(&paragraph);
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    let cell = std::mem::take(&mut table.cell);
                    table.row.push(cell);
                }
            }
            "tr" => self.end_row(),
            "tbl" => {
                self.tables.pop();
                if self.tables.is_empty() {
                    self.end_block();
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, paragraph: &Paragraph) {
        let words = paragraph.words.trim();
        if words.is_empty() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            if !table.cell.is_empty() {
                table.cell.push(' ');
            }
            let line = one_line(words).unwrap_or_default();
            self.waiting += line.len() + 1;
            table.cell.push_str(&line);
            return;
        }
        let listed = paragraph.listed.filter(|_| paragraph.level.is_none());
        if listed.is_none() || !self.text.ends_with('\n') {
            self.end_block();
        }
        if let Some(depth) = listed {
            self.text.push_str(&"  ".repeat(depth));
            self.text.push_str("- ");
        }
        if let Some(title) = one_line(words) {
            if paragraph.is_title && self.title.is_none() {
                self.title = Some(title.clone());
            }
            if let Some(level) = paragraph.level {
                self.headings.push(level, &title, self.text.len());
            }
        }
        self.text.push_str(words);
        // Items of a list stand on lines below each other.
        self.text
            .push_str(if listed.is_some() { "\n" } else { "\n\n" });
    }

    fn end_row(&mut self) {
        let Some(table) = self.tables.last_mut() else {
            return;
        };
        let row = std::mem::take(&mut table.row);
        if row.iter().all(String::is_empty) {
            return;
        }
        let line = row.join(" | ");
        match self.tables.len() {
            1 => {
                self.text.push_str(&line);
                self.text.push('\n');
                self.waiting = 0;
            }
            // A table within a cell is that cell's text.
            depth => {
                let cell = &mut self.tables[depth - 2].cell;
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&line);
            }
        }
    }

    /// An empty line before what comes next.
    fn end_block(&mut self) {
        if self.text.is_empty() {
            return;
        }
        while !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
}

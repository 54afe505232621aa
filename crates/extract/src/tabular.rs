//! CSV and TSV as readable records: one `column: value` line per cell, one paragraph per row.
//!
//! A row of bare values means nothing once it is cut away from its header, so each value carries its
//! column's name. Ragged rows and stray quotes are read as well as they can be; empty cells say
//! nothing and are left out.

use csv::{ReaderBuilder, StringRecord};

use crate::{ExtractError, Extracted, Format, Limits, kind, refuse_long};

/// The delimiters in the order in which a tie is decided.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many records are tried to find the delimiter.
const SNIFFED_RECORDS: usize = 20;

pub(crate) fn read(
    text: &str,
    file_name: &str,
    limits: &Limits,
) -> Result<Extracted, ExtractError> {
    let delimiter = match kind::extension(file_name).as_str() {
        "tsv" | "tab" => b'\t',
        _ => sniff(text),
    };
    let mut table = Table::new(limits);
    for record in rows(text, delimiter) {
        table.row(record?.iter().map(str::to_owned).collect())?;
    }
    Ok(Extracted {
        text: table.finish()?,
        title: None,
        format: Format::Csv,
        headings: Vec::new(),
        pages: Vec::new(),
    })
}

fn rows(
    text: &str,
    delimiter: u8,
) -> impl Iterator<Item = Result<StringRecord, ExtractError>> + use<'_> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes())
        .into_records()
        .map(|record| {
            record.map_err(|error| ExtractError::MalformedDocument {
                format: "CSV",
                reason: error.to_string(),
            })
        })
}

/// The delimiter that cuts the first records most evenly into more than one cell.
fn sniff(text: &str) -> u8 {
    let score = |delimiter: u8| {
        let widths: Vec<usize> = rows(text, delimiter)
            .take(SNIFFED_RECORDS)
            .filter_map(|record| record.ok().map(|cells| cells.len()))
            .collect();
        let first = widths.first().copied().unwrap_or(0);
        let alike = widths.iter().filter(|width| **width == first).count();
        if first < 2 {
            (0, 0)
        } else {
            (alike * 100 / widths.len().max(1), first)
        }
    };
    let mut best = (DELIMITERS[0], (0, 0));
    for delimiter in DELIMITERS {
        let reached = score(delimiter);
        if reached > best.1 {
            best = (delimiter, reached);
        }
    }
    best.0
}

/// A table being laid out: a paragraph for each row, in it a line for each cell under its column's name.
pub(crate) struct Table<'l> {
    limits: &'l Limits,
    /// The first row, until the second one tells that it may be a header.
    first: Option<Vec<String>>,
    columns: Vec<String>,
    begun: bool,
    out: String,
}

impl<'l> Table<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            first: None,
            columns: Vec::new(),
            begun: false,
            out: String::new(),
        }
    }

    /// Adds a row. A row of blanks says nothing.
    pub(crate) fn row(&mut self, cells: Vec<String>) -> Result<(), ExtractError> {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return Ok(());
        }
        if !self.begun {
            self.begun = true;
            self.first = Some(cells);
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            match header(&first) {
                Some(columns) => self.columns = columns,
                None => self.write(&first)?,
            }
        }
        self.write(&cells)
    }

    /// The laid out text. A single row is one line.
    pub(crate) fn finish(mut self) -> Result<String, ExtractError> {
        if let Some(only) = self.first.take() {
            let cells: Vec<&str> = only
                .iter()
                .map(|cell| cell.trim())
                .filter(|cell| !cell.is_empty())
                .collect();
            self.out = cells.join(" | ");
        }
        refuse_long(self.out.len(), self.limits)?;
        Ok(self.out)
    }

    fn write(&mut self, cells: &[String]) -> Result<(), ExtractError> {
        let mut first_line = true;
        for (position, cell) in cells.iter().enumerate() {
            let cell = cell.trim();
            if cell.is_empty() {
                continue;
            }
            if !self.out.is_empty() {
                self.out.push_str(if first_line { "\n\n" } else { "\n" });
            }
            first_line = false;
            match self.columns.get(position).filter(|name| !name.is_empty()) {
                Some(name) => self.out.push_str(name),
                None => self.out.push_str(&format!("column {}", position + 1)),
            }
            self.out.push_str(": ");
            self.out.push_str(cell);
            refuse_long(self.out.len(), self.limits)?;
        }
        Ok(())
    }
}

/// The column names, unless the first record reads as data: a number, or mostly blanks.
fn header(first: &[String]) -> Option<Vec<String>> {
    let filled = first.iter().filter(|cell| !cell.trim().is_empty()).count();
    let numeric = first.iter().any(|cell| cell.trim().parse::<f64>().is_ok());
    if numeric || filled * 2 < first.len() || filled == 0 {
        return None;
    }
    Some(
        first
            .iter()
            .map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect(),
    )
}

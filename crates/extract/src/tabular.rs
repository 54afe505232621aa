//! CSV and TSV as readable records: one `column: value` line per cell, one paragraph per row.
//!
//! A row of bare values means nothing once it is cut away from its header, so each value carries its
//! column's name. Ragged rows and stray quotes are read as well as they can be; empty cells say
//! nothing and are left out.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};

use crate::{ExtractError, Extracted, Format, Limits, kind, one_line, refuse_long};

/// The delimiters in the order in which a tie is decided.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How many records are tried to find the delimiter.
const SNIFFED_RECORDS: usize = 20;
/// Filled cells of one row: each takes fifty times its letter while the row is held. The widest tables have a column for each
/// gene.
const MAX_CELLS: usize = 100_000;

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
        let cells = record?;
        let filled = cells.iter().enumerate().map(|(at, cell)| (at, cell.trim()));
        let filled = filled.filter(|(_, cell)| !cell.is_empty());
        let row = filled.map(|(at, cell)| (at, cell.to_owned()));
        let row: Row = row.take(MAX_CELLS + 1).collect();
        if row.len() > MAX_CELLS {
            return Err(ExtractError::DocumentTooComplex {
                format: "CSV",
                what: "cells in a row",
                limit: MAX_CELLS,
            });
        }
        table.row(row)?;
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

/// The filled cells of a row with their columns, counted from 0, from left to right. Empty ones say nothing, and a sheet
/// may be wide.
pub(crate) type Row = Vec<(usize, String)>;

/// A table being laid out: a paragraph for each row, in it a line for each cell under its column's name.
pub(crate) struct Table<'l> {
    limits: &'l Limits,
    /// The first row, until the second one tells that it may be a header.
    first: Option<Row>,
    columns: BTreeMap<usize, String>,
    begun: bool,
    out: String,
}

impl<'l> Table<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            first: None,
            columns: BTreeMap::new(),
            begun: false,
            out: String::new(),
        }
    }

    /// Adds a row. A row of blanks says nothing.
    pub(crate) fn row(&mut self, cells: Row) -> Result<(), ExtractError> {
        if cells.is_empty() {
            return Ok(());
        }
        if !self.begun {
            self.begun = true;
            self.first = Some(cells);
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            match is_header(&first) {
                true => self.columns = header(first),
                false => self.write(&first)?,
            }
        }
        self.write(&cells)
    }

    /// The laid out text. A single row is one line.
    pub(crate) fn finish(mut self) -> Result<String, ExtractError> {
        if let Some(only) = self.first.take() {
            let cells: Vec<&str> = only.iter().map(|(_, cell)| cell.as_str()).collect();
            self.out = cells.join(" | ");
        }
        refuse_long(self.out.len(), self.limits)?;
        Ok(self.out)
    }

    fn write(&mut self, cells: &Row) -> Result<(), ExtractError> {
        let mut first_line = true;
        for (column, cell) in cells {
            if !self.out.is_empty() {
                self.out.push_str(if first_line { "\n\n" } else { "\n" });
            }
            first_line = false;
            match self.columns.get(column) {
                Some(name) => self.out.push_str(name),
                None => self.out.push_str(&format!("column {}", column + 1)),
            }
            self.out.push_str(": ");
            self.out.push_str(cell);
            refuse_long(self.out.len(), self.limits)?;
        }
        Ok(())
    }
}

/// Whether a first row names the columns: not if it reads as data, a number or mostly blanks.
fn is_header(first: &Row) -> bool {
    let width = first.last().map_or(0, |(column, _)| column + 1);
    let numeric = first.iter().any(|(_, cell)| cell.parse::<f64>().is_ok());
    !numeric && first.len() * 2 >= width
}

fn header(first: Row) -> BTreeMap<usize, String> {
    let names = first.into_iter();
    let named = names.filter_map(|(column, name)| Some((column, one_line(&name)?)));
    named.collect()
}

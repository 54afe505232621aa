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
    let mut records = rows(text, delimiter).peekable();
    let first = records.next().transpose()?.unwrap_or_default();
    let mut out = String::new();
    if records.peek().is_none() {
        let cells: Vec<&str> = first
            .iter()
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        out = cells.join(" | ");
    } else if let Some(columns) = header(&first) {
        for record in records {
            write(&mut out, &columns, &record?, limits)?;
        }
    } else {
        write(&mut out, &[], &first, limits)?;
        for record in records {
            write(&mut out, &[], &record?, limits)?;
        }
    }
    refuse_long(out.len(), limits)?;
    Ok(Extracted {
        text: out,
        title: None,
        format: Format::Csv,
        headings: Vec::new(),
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

/// The column names, unless the first record reads as data: a number, or mostly blanks.
fn header(first: &StringRecord) -> Option<Vec<String>> {
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

fn write(
    out: &mut String,
    columns: &[String],
    record: &StringRecord,
    limits: &Limits,
) -> Result<(), ExtractError> {
    let mut first_line = true;
    for (position, cell) in record.iter().enumerate() {
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push_str(if first_line { "\n\n" } else { "\n" });
        }
        first_line = false;
        match columns.get(position).filter(|name| !name.is_empty()) {
            Some(name) => out.push_str(name),
            None => out.push_str(&format!("column {}", position + 1)),
        }
        out.push_str(": ");
        out.push_str(cell);
        refuse_long(out.len(), limits)?;
    }
    Ok(())
}

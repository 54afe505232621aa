//! Workbooks: each sheet is a heading, each row a paragraph of `column: value` lines, as a CSV file is laid out.

use std::io::Cursor;

use calamine::{DataRef, Reader, Xlsx, XlsxError};

use super::title;
use crate::package::Package;
use crate::tabular::Table;
use crate::{ExtractError, Extracted, Format, Heading, Limits, one_line, refuse_long};

const FORMAT: &str = "XLSX";

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    let title = title(&mut package, FORMAT, limits)?;
    // The library unpacks what it reads whole; pictures and the like it leaves alone.
    package.measure(|name| name.ends_with(".xml") || name.ends_with(".rels"))?;
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(refusal)?;
    let (mut text, mut headings) = (String::new(), Vec::new());
    for name in workbook.sheet_names() {
        let rows = match sheet(&mut workbook, &name, limits) {
            Ok(rows) => rows,
            // A sheet of nothing but a chart has no cells.
            Err(SheetError::NoCells) => continue,
            Err(SheetError::Refused(error)) => return Err(error),
        };
        if rows.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        if let Some(title) = one_line(&name) {
            headings.push(Heading {
                level: 1,
                start: text.len(),
                title: title.clone(),
            });
            text.push_str(&title);
            text.push_str("\n\n");
        }
        text.push_str(&rows);
        refuse_long(text.len(), limits)?;
    }
    Ok(Extracted {
        title,
        format: Format::Xlsx,
        headings,
        pages: Vec::new(),
        text,
    })
}

enum SheetError {
    NoCells,
    Refused(ExtractError),
}

/// The rows of a sheet laid out.
fn sheet(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    limits: &Limits,
) -> Result<String, SheetError> {
    let mut cells = match workbook.worksheet_cells_reader(name) {
        Ok(cells) => cells,
        Err(XlsxError::NotAWorksheet(_)) => return Err(SheetError::NoCells),
        Err(error) => return Err(SheetError::Refused(refusal(error))),
    };
    let mut table = Table::new(limits);
    let (mut row, mut number) = (Vec::new(), None);
    loop {
        let cell = cells
            .next_cell()
            .map_err(|error| SheetError::Refused(refusal(error)))?;
        let Some(cell) = cell else { break };
        let (at, column) = cell.get_position();
        if number != Some(at) {
            table
                .row(std::mem::take(&mut row))
                .map_err(SheetError::Refused)?;
            number = Some(at);
        }
        let value = value(cell.get_value());
        // A cell far to the right must not make a row of millions of empty ones.
        if !value.is_empty() && column < MAX_COLUMNS {
            row.resize(row.len().max(column as usize + 1), String::new());
            row[column as usize] = value;
        }
    }
    table.row(row).map_err(SheetError::Refused)?;
    table.finish().map_err(SheetError::Refused)
}

/// Excel's own limit.
const MAX_COLUMNS: u32 = 16_384;

fn value(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.trim().to_owned(),
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTime(at) if at.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            match (hour, minute, second) {
                (0, 0, 0) => date,
                _ => format!("{date} {hour:02}:{minute:02}:{second:02}"),
            }
        }
        DataRef::DateTime(duration) => format!("{} days", duration.as_f64()),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        // What a formula failed with says nothing about the document.
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

fn refusal(error: XlsxError) -> ExtractError {
    match error {
        XlsxError::Password => ExtractError::EncryptedDocument {
            format: "Excel workbook",
        },
        error => ExtractError::MalformedDocument {
            format: FORMAT,
            reason: error.to_string(),
        },
    }
}

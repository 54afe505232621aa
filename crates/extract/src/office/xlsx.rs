//! Workbooks: each sheet is a heading, each row a paragraph of `column: value` lines, as a CSV file is laid out.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{DataRef, Reader, Xlsx, XlsxError};

use super::title;
use crate::package::Package;
use crate::tabular::Table;
use crate::xml::{Node, decode, walk};
use crate::{ExtractError, Extracted, Format, Limits, Outline, one_line, refuse_long};

const FORMAT: &str = "XLSX";

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    let title = title(&mut package, FORMAT, limits)?;
    package.each_part(|part| refuse_bombs(part, limits))?;
    let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(refusal)?;
    let (mut text, mut headings) = (String::new(), Outline::default());
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
            headings.push(1, &title, text.len());
            text.push_str(&title);
            text.push_str("\n\n");
        }
        text.push_str(&rows);
        refuse_long(text.len(), limits)?;
    }
    Ok(Extracted {
        title,
        format: Format::Xlsx,
        headings: headings.finish(),
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
    let (mut row, mut number, mut length) = (BTreeMap::new(), None, 0);
    loop {
        let cell = cells
            .next_cell()
            .map_err(|error| SheetError::Refused(refusal(error)))?;
        let Some(cell) = cell else { break };
        let (at, column) = cell.get_position();
        if number != Some(at) {
            let whole = std::mem::take(&mut row).into_iter().collect();
            table.row(whole).map_err(SheetError::Refused)?;
            (number, length) = (Some(at), 0);
        }
        let value = value(cell.get_value());
        if !value.is_empty() && column < MAX_COLUMNS {
            // A text that cells share is written for each of them.
            length += value.len();
            refuse_long(length, limits).map_err(SheetError::Refused)?;
            row.insert(column as usize, value);
        }
    }
    let last = row.into_iter().collect();
    table.row(last).map_err(SheetError::Refused)?;
    table.finish().map_err(SheetError::Refused)
}

/// Excel's own limit.
const MAX_COLUMNS: u32 = 16_384;

/// Unpacked bytes for each tag around the texts that cells share: a list of five million short ones takes 300 MB.
const BYTES_PER_TAG: usize = 7;
/// Excel's own limit is 65,490; and a name of a font or a form of numbers has 255 characters at most.
const MAX_CELL_FORMATS: usize = 66_000;
const MAX_FORMAT_BYTES: usize = 2_000;

/// Refuses parts of which the library would fill the memory: it believes how many texts they claim, and keeps for every
/// format of cells its fonts and forms.
fn refuse_bombs(part: &[u8], limits: &Limits) -> Result<(), ExtractError> {
    let text = decode(part);
    let holds = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    if holds("uniqueCount") {
        let claims = memchr::memmem::find_iter(text.as_bytes(), "uniqueCount");
        let claimed = claims.filter_map(|at| claimed(&text[at + "uniqueCount".len()..]));
        if claimed.max().is_some_and(|claimed| claimed > text.len()) {
            return Err(malformed("it claims more texts than it has".to_owned()));
        }
        let tags = memchr::memchr_iter(b'<', text.as_bytes()).count();
        refuse_many(
            tags,
            "tags around the texts of its cells",
            limits.max_unpacked_bytes / BYTES_PER_TAG,
        )?;
    }
    if !holds("cellXfs") {
        return Ok(());
    }
    let mut formats = 0;
    walk(part, FORMAT, limits, |node| {
        let Node::Open(element) = node else {
            return Ok(());
        };
        formats += usize::from(element.name() == "xf");
        refuse_many(formats, "formats of cells", MAX_CELL_FORMATS)?;
        refuse_many(element.length(), "bytes in a format", MAX_FORMAT_BYTES)
    })
}

/// The number after an attribute's name; the largest one where it is no number that fits.
fn claimed(rest: &str) -> Option<usize> {
    let value = rest.trim_start().strip_prefix('=')?.trim_start();
    let value = value.strip_prefix(['"', '\''])?.trim_start();
    let digits = value.trim_start_matches('+');
    let end = digits.find(|c: char| !c.is_ascii_digit());
    Some(
        digits[..end.unwrap_or(digits.len())]
            .parse()
            .unwrap_or(usize::MAX),
    )
    .filter(|_| end != Some(0))
}

fn refuse_many(found: usize, what: &'static str, limit: usize) -> Result<(), ExtractError> {
    if found <= limit {
        return Ok(());
    }
    Err(ExtractError::DocumentTooComplex {
        format: FORMAT,
        what,
        limit,
    })
}

fn malformed(reason: String) -> ExtractError {
    ExtractError::MalformedDocument {
        format: FORMAT,
        reason,
    }
}

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
        error => malformed(error.to_string()),
    }
}

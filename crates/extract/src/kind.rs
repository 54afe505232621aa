//! What a document is: by its content first, with the file name's extension as a hint.
//!
//! Magic bytes settle binary formats. Among the text formats a name is believed unless the content
//! says plainly otherwise, because every one of them is also valid plain text.

use crate::{ExtractError, Format, json};

/// How much of a file is looked at to decide whether it is text.
const HEAD_BYTES: usize = 8_192;

/// The extension of a file name in lower case; empty when it has none.
pub(crate) fn extension(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_ascii_lowercase(),
        _ => String::new(),
    }
}

/// The media type that a file name promises; `application/octet-stream` when it promises nothing.
#[must_use]
pub fn content_type(file_name: &str) -> &'static str {
    match extension(file_name).as_str() {
        "txt" | "text" | "log" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "html" | "htm" => "text/html",
        "xhtml" => "application/xhtml+xml",
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "csv" => "text/csv",
        "tsv" | "tab" => "text/tab-separated-values",
        extension => unread(extension).map_or("application/octet-stream", |(_, media)| media),
    }
}

/// Extensions of well-known formats without a reader: what they are called, and their media type.
fn unread(extension: &str) -> Option<(&'static str, &'static str)> {
    Some(match extension {
        "pdf" => ("a PDF document", "application/pdf"),
        "doc" => ("a Word document", "application/msword"),
        "docx" => (
            "a Word document",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        "xls" => ("an Excel workbook", "application/vnd.ms-excel"),
        "xlsx" => (
            "an Excel workbook",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        "ppt" => ("a PowerPoint presentation", "application/vnd.ms-powerpoint"),
        "pptx" => (
            "a PowerPoint presentation",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ),
        "odt" => (
            "an OpenDocument text",
            "application/vnd.oasis.opendocument.text",
        ),
        "rtf" => ("a Rich Text document", "application/rtf"),
        "epub" => ("an EPUB book", "application/epub+zip"),
        "ps" => ("a PostScript document", "application/postscript"),
        "png" => ("a PNG image", "image/png"),
        "jpg" | "jpeg" => ("a JPEG image", "image/jpeg"),
        "gif" => ("a GIF image", "image/gif"),
        "webp" => ("a WebP image", "image/webp"),
        "zip" => ("a ZIP archive", "application/zip"),
        "gz" => ("a gzip archive", "application/gzip"),
        "mp3" => ("MP3 audio", "audio/mpeg"),
        "mp4" => ("MP4 video", "video/mp4"),
        _ => return None,
    })
}

/// Refuses what is certainly not text, naming what it really is.
pub(crate) fn refuse_binary(bytes: &[u8], file_name: &str) -> Result<(), ExtractError> {
    let named = extension(file_name);
    let promised = unread(&named);
    let textual = looks_textual(bytes);
    match magic(bytes, textual) {
        Some((actual, found)) => Err(refusal(&named, actual, found)),
        None if promised.is_some() && textual => Err(ExtractError::ContentMismatch {
            named,
            found: "text".to_owned(),
        }),
        None => match promised {
            Some((what, _)) => Err(ExtractError::UnsupportedFormat {
                found: what.to_owned(),
            }),
            None => Ok(()),
        },
    }
}

/// A binary file under its own name, or under a name that promises nothing, is unsupported; under
/// another format's name it is a mismatch.
fn refusal(named: &str, actual: &str, found: String) -> ExtractError {
    let honest = named == actual
        || unread(named).is_some_and(|(what, _)| what == found || is_container(named, actual))
        || (unread(named).is_none() && text_format(named).is_none());
    if honest {
        let found = unread(named).map_or(found, |(what, _)| what.to_owned());
        return ExtractError::UnsupportedFormat { found };
    }
    ExtractError::ContentMismatch {
        named: named.to_owned(),
        found,
    }
}

/// Office files are ZIP archives or OLE containers, and not every one is recognised from its inside.
fn is_container(named: &str, actual: &str) -> bool {
    match named {
        "docx" | "xlsx" | "pptx" | "odt" | "epub" => actual == "zip",
        "doc" | "xls" | "ppt" => matches!(actual, "msi" | "doc" | "xls" | "ppt"),
        _ => false,
    }
}

/// The binary format that the magic bytes name: its usual extension and what to call it.
///
/// Some signatures are two letters (`BM`, `MZ`) that a sentence can start with, so a clean text is
/// taken for a binary format only on the signatures of formats that are themselves written in text.
fn magic(bytes: &[u8], textual: bool) -> Option<(&'static str, String)> {
    let written_in_text = [
        ("%PDF-", "pdf", "a PDF document"),
        ("{\\rtf", "rtf", "a Rich Text document"),
        ("%!PS-Adobe", "ps", "a PostScript document"),
    ];
    for (signature, extension, what) in written_in_text {
        if bytes.starts_with(signature.as_bytes()) {
            return Some((extension, what.to_owned()));
        }
    }
    if textual {
        return None;
    }
    let kind = infer::get(bytes)?;
    // Byte-order marks are also the start of some audio and of UTF-16 text.
    if kind.matcher_type() == infer::MatcherType::Text || bytes.starts_with(&[0xff, 0xfe]) {
        return None;
    }
    let what = match unread(kind.extension()) {
        Some((what, _)) => what.to_owned(),
        None if kind.extension() == "elf" => "an ELF program".to_owned(),
        None => format!("{} data", kind.mime_type()),
    };
    Some((kind.extension(), what))
}

/// Whether the head of the file is UTF-8 without control characters that no text has.
fn looks_textual(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let clean = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character may be cut at the head's end.
        Err(error) => error.error_len().is_none() && head.len() == HEAD_BYTES,
    };
    clean
        && !head
            .iter()
            .any(|b| matches!(b, 0..=7 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f))
}

/// The text format that an extension promises, if it promises one.
pub(crate) fn text_format(extension: &str) -> Option<Format> {
    Some(match extension {
        "txt" | "text" | "log" => Format::Text,
        "md" | "markdown" => Format::Markdown,
        "html" | "htm" | "xhtml" => Format::Html,
        "json" | "jsonl" | "ndjson" => Format::Json,
        "csv" | "tsv" | "tab" => Format::Csv,
        _ => return None,
    })
}

/// Which of the text formats a decoded text is.
pub(crate) fn of_text(text: &str, file_name: &str) -> Format {
    let hint = text_format(&extension(file_name));
    if is_html_page(text) {
        return Format::Html;
    }
    match hint {
        Some(Format::Markdown) => Format::Markdown,
        Some(Format::Json) => Format::Json,
        Some(Format::Html) if has_tag(text) => Format::Html,
        _ if json::is_json(text) => Format::Json,
        Some(Format::Csv) => Format::Csv,
        _ => Format::Text,
    }
}

/// Whether a text declares itself an HTML page, after comments and an XML declaration.
fn is_html_page(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        let end = if rest.starts_with("<!--") {
            "-->"
        } else if rest.starts_with("<?xml") {
            "?>"
        } else {
            break;
        };
        match rest.split_once(end) {
            Some((_, after)) => rest = after.trim_start(),
            None => return false,
        }
    }
    ["<!doctype html", "<html"].iter().any(|opening| {
        rest.get(..opening.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(opening))
            && rest[opening.len()..].starts_with(|c: char| c == '>' || c.is_whitespace())
    })
}

/// Whether a text has anything that reads as a tag.
fn has_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).any(|pair| {
        pair[0] == b'<' && (pair[1].is_ascii_alphabetic() || matches!(pair[1], b'!' | b'/'))
    })
}

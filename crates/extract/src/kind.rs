//! What a document is: by its content first, with the file name's extension as a hint.
//!
//! Magic bytes settle binary formats. Among the text formats a name is believed unless the content
//! says plainly otherwise, because every one of them is also valid plain text.

use crate::{ExtractError, Format, json, mail, package};

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
        "eml" => "message/rfc822",
        "mbox" => "application/mbox",
        extension => binary(extension).map_or("application/octet-stream", |(_, media)| media),
    }
}

/// Extensions of well-known binary formats: what they are called, and their media type.
fn binary(extension: &str) -> Option<(&'static str, &'static str)> {
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

/// How far before its mark a PDF file may have something else, as readers allow.
const PDF_MARK_BYTES: usize = 1_024;

/// The format that the bytes themselves name, or none for text. A message is named by its header.
///
/// # Errors
/// What is certainly neither text nor a format with a reader is refused, naming what it really is.
pub(crate) fn of_bytes(bytes: &[u8], file_name: &str) -> Result<Option<Format>, ExtractError> {
    let named = extension(file_name);
    if is_pdf(bytes, &named) {
        return Ok(Some(Format::Pdf));
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return of_archive(bytes, &named).map(Some);
    }
    if bytes.starts_with(&OLE) && has_utf16(bytes, "EncryptedPackage") {
        return Err(ExtractError::EncryptedDocument {
            format: "Office document",
        });
    }
    refuse_binary(bytes, &named)?;
    // A name of another text format is believed: a page may quote a message.
    let named_message = matches!(named.as_str(), "eml" | "mht" | "mhtml" | "mbox");
    let may_be_message = named_message || matches!(text_format(&named), None | Some(Format::Text));
    if may_be_message && mail::is_message(bytes, named_message) {
        return Ok(Some(Format::Email));
    }
    Ok(None)
}

/// The mark of files in Microsoft's older container, which also holds encrypted documents of the newer ones.
const OLE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

fn has_utf16(bytes: &[u8], word: &str) -> bool {
    let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    memchr::memmem::find(bytes, &wide).is_some()
}

fn is_pdf(bytes: &[u8], named: &str) -> bool {
    let mark = b"%PDF-";
    if bytes.starts_with(mark) || bytes.trim_ascii_start().starts_with(mark) {
        return true;
    }
    let head = &bytes[..bytes.len().min(PDF_MARK_BYTES)];
    named == "pdf" && memchr::memmem::find(head, mark).is_some()
}

/// What an archive is by its parts.
fn of_archive(bytes: &[u8], named: &str) -> Result<Format, ExtractError> {
    let names = package::names(bytes);
    let holds = |part: &str| names.iter().any(|name| name == part);
    // Some writers number the main part.
    let numbered = |name: &String| {
        let number = name.strip_prefix("word/document")?.strip_suffix(".xml")?;
        Some(number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if names.iter().any(|name| numbered(name) == Some(true)) {
        return Ok(Format::Docx);
    }
    if holds("ppt/presentation.xml") {
        return Ok(Format::Pptx);
    }
    if holds("xl/workbook.xml") {
        return Ok(Format::Xlsx);
    }
    let declared = package::small_part(bytes, "mimetype").unwrap_or_default();
    if declared.trim() == "application/epub+zip"
        || holds("META-INF/container.xml") && named == "epub"
    {
        return Ok(Format::Epub);
    }
    let promised = [
        ("docx", "DOCX"),
        ("pptx", "PPTX"),
        ("xlsx", "XLSX"),
        ("epub", "EPUB"),
    ];
    if let Some((_, format)) = promised.iter().find(|(extension, _)| *extension == named) {
        return Err(ExtractError::MalformedDocument {
            format,
            reason: if names.is_empty() {
                "its archive is damaged".to_owned()
            } else {
                "its archive holds something else".to_owned()
            },
        });
    }
    let found = match declared.trim() {
        "application/vnd.oasis.opendocument.text" => "an OpenDocument text",
        mime if mime.starts_with("application/vnd.oasis.opendocument") => "an OpenDocument file",
        _ => "a ZIP archive",
    };
    Err(refusal(named, "zip", found.to_owned()))
}

/// Refuses what is certainly not text, naming what it really is.
fn refuse_binary(bytes: &[u8], named: &str) -> Result<(), ExtractError> {
    let named = named.to_owned();
    let promised = binary(&named);
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
        || binary(named).is_some_and(|(what, _)| what == found || is_container(named, actual))
        || (binary(named).is_none() && text_format(named).is_none());
    if honest {
        let found = binary(named).map_or(found, |(what, _)| what.to_owned());
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
    let what = match binary(kind.extension()) {
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

//! Bytes to text: what a file says, with the positions of its headings.
//!
//! A document arrives as bytes and a file name. The content decides what it is and the name is only a
//! hint, because names lie: a picture called `notes.txt` is refused by name instead of being indexed
//! as noise. Everything here is arithmetic on bytes. No reader recurses into its input, so nesting can
//! never exhaust the stack.

mod decode;
mod epub;
mod html;
mod json;
mod kind;
mod mail;
mod markdown;
mod office;
mod outline;
mod package;
mod pdf;
mod plain;
mod refusal;
mod tabular;
mod xml;

pub(crate) use outline::Outline;

use serde::{Deserialize, Serialize};

pub use html::links::{Links, Sitemap, links, sitemap};
pub use kind::content_type;
pub use refusal::{ExtractError, SUPPORTED_FORMATS};

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Plain text, and every text format without a reader of its own (source code, YAML, logs).
    Text,
    /// CommonMark with tables, footnotes and front matter.
    Markdown,
    /// HTML and XHTML.
    Html,
    /// One JSON value, or JSON Lines.
    Json,
    /// Comma-, semicolon-, tab- or pipe-separated values.
    Csv,
    /// PDF with a layer of text.
    Pdf,
    /// A Word document (Office Open XML).
    Docx,
    /// A PowerPoint presentation (Office Open XML).
    Pptx,
    /// An Excel workbook (Office Open XML).
    Xlsx,
    /// An EPUB book.
    Epub,
    /// An e-mail message (RFC 5322).
    Email,
}

impl Format {
    /// The format's name in prose.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "plain text",
            Self::Markdown => "Markdown",
            Self::Html => "HTML",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Pdf => "PDF",
            Self::Docx => "DOCX",
            Self::Pptx => "PPTX",
            Self::Xlsx => "XLSX",
            Self::Epub => "EPUB",
            Self::Email => "e-mail",
        }
    }
}

/// A heading of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 (outermost) to 6.
    pub level: u8,
    /// The heading's words on one line, without markup.
    pub title: String,
    /// Byte offset of the heading in [`Extracted::text`]: the first `#` or the first letter.
    pub start: usize,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The text. Plain text and Markdown are kept as written, except that a byte-order mark is removed
    /// and CRLF and lone CR become LF. The other formats are laid out as readable lines.
    pub text: String,
    /// The title that the document gives itself, if any; of at most 300 characters, as those of headings.
    pub title: Option<String>,
    /// What the content turned out to be.
    pub format: Format,
    /// The headings in document order, at most 50,000; of more the deepest levels are left out.
    pub headings: Vec<Heading>,
    /// Byte offsets at which the pages of a PDF document or the slides of a presentation begin, in order; none in other
    /// formats. A page without text begins where the next one does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<usize>,
}

/// How much one document may ask of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes. The default, 50 MB, is also Bedrock Knowledge Bases' limit per source file.
    pub max_bytes: usize,
    /// Largest extracted text, in bytes of UTF-8. Default 50 MB.
    pub max_text_bytes: usize,
    /// Deepest nesting of HTML blocks, JSON values or XML elements. Default 512, where browsers stop nesting too.
    pub max_nesting: usize,
    /// Most pages of a PDF document or slides of a presentation. Default 5,000.
    pub max_pages: usize,
    /// Most bytes that the parts of an Office file or a book may have once unpacked. Default 150 MB.
    pub max_unpacked_bytes: usize,
    /// Most bytes that a stream of a PDF document may have at any of its filters, a page's content, or a font; an eighth for
    /// a character map, whose entries take several times their text. Default 64 MB.
    pub max_stream_bytes: usize,
    /// Most drawing operators and characters of a PDF document. Default 60 million; the longest manuals have 15.
    pub max_operators: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 50_000_000,
            max_text_bytes: 50_000_000,
            max_nesting: 512,
            max_pages: 5_000,
            max_unpacked_bytes: 150_000_000,
            max_stream_bytes: 64_000_000,
            max_operators: 60_000_000,
        }
    }
}

/// Reads a document: finds out what it is, decodes it and lays its text out.
///
/// # Errors
/// An [`ExtractError`] that says what is wrong with the document and what to do about it.
pub fn extract(bytes: &[u8], file_name: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    if bytes.len() > limits.max_bytes {
        return Err(ExtractError::DocumentTooLarge {
            what: "file",
            size: bytes.len(),
            limit: limits.max_bytes,
        });
    }
    if bytes.is_empty() {
        return Err(ExtractError::EmptyDocument);
    }
    let extracted = match kind::of_bytes(bytes, file_name)? {
        Some(format) => read_binary(format, bytes, limits)?,
        None => read_text(bytes, file_name, limits)?,
    };
    if is_blank(&extracted.text) {
        return Err(ExtractError::EmptyDocument);
    }
    refuse_long(extracted.text.len(), limits)?;
    let title = extracted.title.as_deref().and_then(outline::title);
    Ok(Extracted { title, ..extracted })
}

fn read_text(bytes: &[u8], file_name: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = decode::decode(bytes, file_name)?;
    if is_blank(&text) {
        return Err(ExtractError::EmptyDocument);
    }
    refuse_long(text.len(), limits)?;
    match kind::of_text(&text, file_name) {
        Format::Markdown => markdown::read(text),
        Format::Html => html::read(&text, limits),
        Format::Json => json::read(&text, limits),
        Format::Csv => tabular::read(&text, file_name, limits),
        _ => Ok(plain::read(text)),
    }
}

/// Reads a format that is recognised by its bytes.
fn read_binary(format: Format, bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    match format {
        Format::Docx => office::docx::read(bytes, limits),
        Format::Pptx => office::pptx::read(bytes, limits),
        Format::Xlsx => office::xlsx::read(bytes, limits),
        Format::Epub => epub::read(bytes, limits),
        Format::Email => mail::read(bytes, limits),
        _ => pdf::read(bytes, limits),
    }
}

/// Whether nothing in the text can be seen: white space, byte-order marks and zero-width characters.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}')
    })
}

/// Refuses a text beyond the limit; readers that can blow a file up call it while they write.
fn refuse_long(size: usize, limits: &Limits) -> Result<(), ExtractError> {
    if size <= limits.max_text_bytes {
        return Ok(());
    }
    Err(ExtractError::DocumentTooLarge {
        what: "text",
        size,
        limit: limits.max_text_bytes,
    })
}

/// The words of a title on one line, or nothing when there are none.
fn one_line(words: &str) -> Option<String> {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!is_blank(&line)).then_some(line)
}

//! Why a document was not read. Each refusal has a name that a machine may match and a sentence that
//! tells its owner what to do; none repeats the document's content.

use thiserror::Error;

/// The formats that can be read, as they are named to a user.
pub const SUPPORTED_FORMATS: &str = "plain text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, EPUB, e-mail (EML), JSON, JSON Lines, CSV and TSV";

/// Why a document was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExtractError {
    /// Nothing to index.
    #[error("the document holds no text; upload one that does, or leave it out")]
    EmptyDocument,
    /// A format without a reader.
    #[error("{found} cannot be read; convert it to one of {SUPPORTED_FORMATS}")]
    UnsupportedFormat {
        /// What the document is.
        found: String,
    },
    /// The name promises one thing and the content is another.
    #[error(
        "the file is named .{named} but its content is {found}; upload the right file or name it for what it is"
    )]
    ContentMismatch {
        /// The file name's extension, in lower case.
        named: String,
        /// What the content is.
        found: String,
    },
    /// The bytes are no text in any encoding that is known.
    #[error("the text cannot be decoded: {reason}; save it as UTF-8")]
    UndecodableText {
        /// What was found.
        reason: String,
    },
    /// Beyond one of the size limits.
    #[error(
        "the document's {what} has {size} bytes or more and the limit is {limit}; split the document"
    )]
    DocumentTooLarge {
        /// `file`, `text`, or what became too large when it was unpacked.
        what: &'static str,
        /// The size reached, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The content breaks its format's grammar where it cannot be tolerated.
    #[error("the document is not valid {format}: {reason}; mend it and upload it again")]
    MalformedDocument {
        /// The format that was expected.
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// Nested deeper than the limit.
    #[error("the {format} is nested deeper than {limit} levels; flatten it and upload it again")]
    TooDeeplyNested {
        /// The document's format.
        format: &'static str,
        /// The limit, in levels.
        limit: usize,
    },
    /// Nobody but who knows the password can read it.
    #[error("the {format} is protected by a password; save it without one and upload it again")]
    EncryptedDocument {
        /// What the document is.
        format: &'static str,
    },
    /// Pages that are pictures.
    #[error(
        "none of the document's {pages} pages holds text, they are probably scans; run text recognition (OCR) over it and upload the result"
    )]
    NoTextLayer {
        /// How many pages it has.
        pages: usize,
    },
    /// Text whose characters nobody can name.
    #[error(
        "the document's fonts do not say which characters {unknown} of its {total} are; export it again with Unicode text, or run text recognition (OCR) over it"
    )]
    UnknownCharacters {
        /// Characters without a meaning.
        unknown: usize,
        /// All characters drawn.
        total: usize,
    },
    /// More pages than the limit.
    #[error("the document has {pages} pages and the limit is {limit}; split the document")]
    TooManyPages {
        /// Its pages or slides.
        pages: usize,
        /// The limit.
        limit: usize,
    },
    /// More work than any honest document makes.
    #[error(
        "the {format} document has more than {limit} {what}; print it into a new file, or split it"
    )]
    DocumentTooComplex {
        /// The document's format.
        format: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl ExtractError {
    /// The error's name, for machines.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::EmptyDocument => "EmptyDocument",
            Self::UnsupportedFormat { .. } => "UnsupportedFormat",
            Self::ContentMismatch { .. } => "ContentMismatch",
            Self::UndecodableText { .. } => "UndecodableText",
            Self::DocumentTooLarge { .. } => "DocumentTooLarge",
            Self::MalformedDocument { .. } => "MalformedDocument",
            Self::TooDeeplyNested { .. } => "TooDeeplyNested",
            Self::EncryptedDocument { .. } => "EncryptedDocument",
            Self::NoTextLayer { .. } => "NoTextLayer",
            Self::UnknownCharacters { .. } => "UnknownCharacters",
            Self::TooManyPages { .. } => "TooManyPages",
            Self::DocumentTooComplex { .. } => "DocumentTooComplex",
        }
    }
}

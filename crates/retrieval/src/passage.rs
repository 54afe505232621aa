//! Passages and the documents that they come from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A heading of a document, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// 1 is the highest.
    pub level: u8,
    pub title: String,
    /// Byte offset of the heading in the text.
    pub start: usize,
}

/// A piece of a document's extracted text: `text` is byte for byte what stands at `start..end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Counted from 0 within the document.
    pub ordinal: u32,
    pub start: u64,
    pub end: u64,
    /// The headings above, highest first.
    pub heading_path: Vec<String>,
    pub text: String,
}

/// What is embedded of a passage: its document's title, the headings above it, its text. A paragraph in the middle of a
/// document seldom names its subject again.
pub fn embedded_text(title: &str, passage: &Passage) -> String {
    let mut text = title.to_owned();
    for heading in &passage.heading_path {
        if heading != title {
            text.push_str(" > ");
            text.push_str(heading);
        }
    }
    text.push('\n');
    text.push_str(&passage.text);
    text
}

/// A passage with its embedding; empty while it has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddedPassage {
    pub passage: Passage,
    pub vector: Vec<f32>,
}

/// A document as it goes into a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentDocument {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    /// SHA-256 of the extracted text, in hex.
    pub content_hash: String,
    /// Principals that may read the document; with none it is read by nobody.
    pub readers: Vec<String>,
    pub metadata: BTreeMap<String, serde_json::Value>,
    pub passages: Vec<EmbeddedPassage>,
}

/// Hex digits of the content hash in a passage id: a changed document's passages are other passages.
const HASH_DIGITS: usize = 8;

/// The id of a passage: `<document id>.<first 8 digits of the content hash>.<ordinal>`.
pub fn passage_id(document_id: &str, content_hash: &str, ordinal: u32) -> String {
    let hash = content_hash.get(..HASH_DIGITS).unwrap_or(content_hash);
    format!("{document_id}.{hash}.{ordinal}")
}

/// Document id, first digits of the content hash, and ordinal of a passage id; `None` when it is none.
pub fn parse_passage_id(id: &str) -> Option<(&str, &str, u32)> {
    let (rest, ordinal) = id.rsplit_once('.')?;
    let (document_id, hash) = rest.rsplit_once('.')?;
    let ordinal = ordinal.parse().ok()?;
    (!document_id.is_empty() && !hash.is_empty()).then_some((document_id, hash, ordinal))
}

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
    /// The pages that it stands on, in order; none where the document has no pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageMark>,
    /// The passages of the same document that are answered with when this one is found, itself among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Siblings>,
    pub text: String,
}

/// Where a page begins within a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMark {
    /// Bytes from the passage's start; 0 for the page that it begins on.
    pub at: u32,
    /// Counted from 1.
    pub page: u32,
}

/// Passages in a row, which together are one larger passage: each ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Siblings {
    /// The ordinal of the first.
    pub first: u32,
    pub count: u32,
}

/// Tells each passage the pages that it stands on. `starts` are the byte offsets at which the document's pages begin.
pub fn mark_pages(passages: &mut [Passage], starts: &[usize]) {
    for passage in passages {
        let (start, end) = (passage.start as usize, passage.end as usize);
        // Pages without text begin where the next one does: of several, the last one holds the passage.
        let first = starts.partition_point(|page| *page <= start);
        let later = starts.partition_point(|page| *page < end);
        let mark = |index: usize| PageMark {
            at: starts[index - 1].saturating_sub(start) as u32,
            page: index as u32,
        };
        passage.pages = (first.max(1)..=later).map(mark).collect();
    }
}

/// The page that a byte of a passage stands on, counted from 1.
pub fn page_at(pages: &[PageMark], at: u64) -> Option<u32> {
    let after = pages.partition_point(|mark| u64::from(mark.at) <= at);
    Some(pages.get(after.checked_sub(1)?)?.page)
}

/// What is embedded of a passage: its document's title, the headings above it, its text. A paragraph in the middle of a
/// document seldom names its subject again.
pub fn embedded_text(title: &str, passage: &Passage) -> String {
    titled_text(title, &passage.heading_path, &passage.text)
}

/// The same of a text and the headings above it.
pub fn titled_text(title: &str, heading_path: &[String], passage: &str) -> String {
    let mut text = title.to_owned();
    for heading in heading_path {
        if heading != title {
            text.push_str(" > ");
            text.push_str(heading);
        }
    }
    text.push('\n');
    text.push_str(passage);
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

//! Passages: compressed in blocks of a few, decoded when one of them is asked for.

use std::cell::RefCell;

use super::format::{part, u32_at, u64_at};
use super::{SegmentError, StoredPassage};
use crate::passage::{PageMark, Passage, Siblings};

/// Passages in one compressed block: enough to compress well, few enough to decode for one result.
pub(super) const BLOCK_PASSAGES: usize = 8;
/// zstd's level: above it the blocks hardly shrink.
const COMPRESSION: i32 = 9;
/// A block of more plain bytes is not one of ours.
const BLOCK_BYTES: u64 = 1 << 30;
/// Start and end in the document's text, length of the text, counts.
const FIXED_BYTES: usize = 24;
/// Of the counts the lower half is the number of headings; of the upper half one bit is for a parent, the rest the number
/// of page marks. Passages of earlier releases have nothing there.
const PARENT: u32 = 1 << 31;
/// A passage on more pages keeps the marks of the first.
const MAX_PAGES: usize = 0x7fff;
/// A page mark, or a parent: two numbers.
const PAIR_BYTES: usize = 8;

/// Collects passages.
pub(super) struct Writer {
    compressor: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    waiting: usize,
    blocks: Vec<u8>,
    offsets: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Result<Self, SegmentError> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(COMPRESSION).map_err(SegmentError::build)?,
            plain: Vec::new(),
            waiting: 0,
            blocks: Vec::new(),
            offsets: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, passage: &Passage) -> Result<(), SegmentError> {
        let length = |text: &str| u32::try_from(text.len()).map_err(SegmentError::build);
        self.plain.extend_from_slice(&passage.start.to_le_bytes());
        self.plain.extend_from_slice(&passage.end.to_le_bytes());
        self.plain
            .extend_from_slice(&length(&passage.text)?.to_le_bytes());
        let headings = &passage.heading_path;
        let headings = &headings[..headings.len().min(usize::from(u16::MAX))];
        let pages = &passage.pages[..passage.pages.len().min(MAX_PAGES)];
        let parent = passage.parent.map_or(0, |_| PARENT);
        let counts = headings.len() as u32 | (pages.len() as u32) << 16 | parent;
        self.plain.extend_from_slice(&counts.to_le_bytes());
        let parents = passage
            .parent
            .iter()
            .map(|parent| (parent.first, parent.count));
        for (first, second) in parents.chain(pages.iter().map(|mark| (mark.at, mark.page))) {
            self.plain.extend_from_slice(&first.to_le_bytes());
            self.plain.extend_from_slice(&second.to_le_bytes());
        }
        for heading in headings {
            self.plain
                .extend_from_slice(&length(heading)?.to_le_bytes());
            self.plain.extend_from_slice(heading.as_bytes());
        }
        self.plain.extend_from_slice(passage.text.as_bytes());
        self.waiting += 1;
        if self.waiting == BLOCK_PASSAGES {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), SegmentError> {
        self.offsets
            .extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
        let packed = self
            .compressor
            .compress(&self.plain)
            .map_err(SegmentError::build)?;
        self.blocks.extend(packed);
        self.plain.clear();
        self.waiting = 0;
        Ok(())
    }

    /// The sections passage offsets and passages.
    pub(super) fn finish(mut self) -> Result<[Vec<u8>; 2], SegmentError> {
        if self.waiting > 0 {
            self.close_block()?;
        }
        self.offsets
            .extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
        Ok([self.offsets, self.blocks])
    }
}

/// Bytes of the section of offsets.
pub(super) fn offsets_bytes(passages: u32) -> usize {
    ((passages as usize).div_ceil(BLOCK_PASSAGES) + 1) * 8
}

/// The bytes of a passage's block within the section of passages.
pub(super) fn block_range(offsets: &[u8], passage: u32) -> Option<std::ops::Range<u64>> {
    let block = passage as usize / BLOCK_PASSAGES;
    let (start, end) = (u64_at(offsets, block)?, u64_at(offsets, block + 1)?);
    (start <= end).then_some(start..end)
}

thread_local! {
    /// zstd's working memory, made once for a thread.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The plain bytes of a block.
pub(super) fn plain(packed: &[u8]) -> Option<Vec<u8>> {
    let length = zstd::zstd_safe::get_frame_content_size(packed).ok()??;
    if length > BLOCK_BYTES {
        return None;
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        kept.as_mut()?.decompress(packed, length as usize).ok()
    })
}

/// A passage of a block's plain bytes. `None`: they are not what was written, or the block has fewer.
pub(super) fn read(plain: &[u8], within: usize) -> Option<StoredPassage> {
    let mut rest = plain;
    for _ in 0..within {
        let (_, length) = headings_and_length(rest)?;
        rest = rest.get(length..)?;
    }
    let (headings, length) = headings_and_length(rest)?;
    let mut pairs = pairs(rest)?;
    let has_parent = u32_at(rest, 5)? & PARENT != 0;
    let parent = has_parent.then(|| pairs.next()).flatten();
    let text_bytes = u32_at(rest, 4)? as usize;
    let text = rest.get(length.checked_sub(text_bytes)?..length)?;
    Some(StoredPassage {
        start: u64_at(rest, 0)?,
        end: u64_at(rest, 1)?,
        heading_path: headings.into_iter().map(str::to_owned).collect(),
        parent: parent.map(|(first, count)| Siblings { first, count }),
        pages: pairs.map(|(at, page)| PageMark { at, page }).collect(),
        text: std::str::from_utf8(text).ok()?.to_owned(),
    })
}

/// The bytes of the first passage's parent and page marks.
fn pairs_bytes(bytes: &[u8]) -> Option<usize> {
    let counts = u32_at(bytes, 5)?;
    let pairs = (counts >> 16 & MAX_PAGES as u32) + (counts >> 31);
    Some(pairs as usize * PAIR_BYTES)
}

fn pairs(bytes: &[u8]) -> Option<impl Iterator<Item = (u32, u32)>> {
    let pairs = bytes.get(FIXED_BYTES..FIXED_BYTES + pairs_bytes(bytes)?)?;
    let pair = |pair: &[u8]| Some((u32_at(pair, 0)?, u32_at(pair, 1)?));
    Some(pairs.chunks_exact(PAIR_BYTES).filter_map(pair))
}

/// The headings of the first passage and its length in bytes.
fn headings_and_length(bytes: &[u8]) -> Option<(Vec<&str>, usize)> {
    let (text_bytes, counts) = (u32_at(bytes, 4)?, u32_at(bytes, 5)?);
    let mut at = (FIXED_BYTES + pairs_bytes(bytes)?) as u64;
    let mut headings = Vec::new();
    for _ in 0..counts & 0xffff {
        let length = u32_at(bytes.get(usize::try_from(at).ok()?..)?, 0)?;
        let end = at + 4 + u64::from(length);
        headings.push(std::str::from_utf8(part(bytes, at + 4, end)?).ok()?);
        at = end;
    }
    Some((headings, usize::try_from(at + u64::from(text_bytes)).ok()?))
}

//! What a PDF document may ask of the machine: bounds that a small file can otherwise break a thousandfold.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use hayro_syntax::object::Stream;

use crate::{ExtractError, Limits, refuse_long};

/// Largest content stream or object stream, unpacked.
pub(super) const MAX_STREAM_BYTES: u64 = 64_000_000;
/// Deflate packs no more into a byte.
const DEFLATE_RATIO: u64 = 1_032;
/// What is left of the bounds, and what was seen.
pub(super) struct Budget {
    work: usize,
    limits: Limits,
    /// Bytes of the pages before.
    pub text_before: usize,
    /// Characters drawn, and those among them of which the fonts do not say what they are.
    pub glyphs: usize,
    pub unnamed: usize,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            work: limits.max_operators,
            limits,
            text_before: 0,
            glyphs: 0,
            unnamed: 0,
        }
    }

    pub(super) fn spend(&mut self, work: usize) -> Result<(), ExtractError> {
        match self.work.checked_sub(work) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => Err(ExtractError::DocumentTooComplex {
                format: "PDF",
                what: "drawing operators and characters",
                limit: self.limits.max_operators,
            }),
        }
    }

    pub(super) fn glyph(&mut self, named: bool) {
        self.glyphs += 1;
        self.unnamed += usize::from(!named);
    }

    pub(super) fn text(&self, page: usize) -> Result<(), ExtractError> {
        refuse_long(self.text_before + page, &self.limits)
    }

    /// A stream's bytes; `None` where they cannot be unpacked, which leaves a page without that part as readers do.
    pub(super) fn decode(&mut self, stream: &Stream<'_>) -> Result<Option<Vec<u8>>, ExtractError> {
        // The library shows its filters, but does not let them be named.
        let filters: Vec<String> = stream
            .filters()
            .iter()
            .map(|filter| format!("{filter:?}"))
            .collect();
        let packed = filters.iter().filter(|filter| {
            matches!(
                filter.as_str(),
                "FlateDecode" | "LzwDecode" | "RunLengthDecode"
            )
        });
        if packed.count() > 1 {
            return Err(too_large(MAX_STREAM_BYTES));
        }
        let raw = stream.raw_data();
        if raw.len() as u64 > MAX_STREAM_BYTES / DEFLATE_RATIO
            && filters.first().is_some_and(|first| first == "FlateDecode")
        {
            refuse_large(&raw)?;
        }
        let decoded = stream.decoded_data().ok();
        Ok(decoded.map(std::borrow::Cow::into_owned))
    }
}

/// Refuses a file of which one stream would fill the memory. Looks only at streams that could.
pub(super) fn refuse_bombs(file: &[u8]) -> Result<(), ExtractError> {
    let smallest = (MAX_STREAM_BYTES / DEFLATE_RATIO) as usize;
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&file[at..], b"stream") {
        let keyword = at + found;
        at = keyword + b"stream".len();
        let data = &file[at..];
        let data = data.strip_prefix(b"\r").unwrap_or(data);
        let data = data.strip_prefix(b"\n").unwrap_or(data);
        let is_zlib = matches!(data, [first, second, ..]
            if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31));
        if !is_zlib || data.len() < smallest {
            continue;
        }
        let end = memchr::memmem::find(data, b"endstream").unwrap_or(data.len());
        if end >= smallest && !is_image(&file[..keyword]) {
            refuse_large(&data[..end])?;
        }
        at += end.min(file.len() - at);
    }
    Ok(())
}

/// Whether the dictionary before a stream says that it is an image, which is never unpacked here.
fn is_image(before: &[u8]) -> bool {
    let dictionary = &before[before.len().saturating_sub(1_024)..];
    let start = memchr::memmem::rfind(dictionary, b" obj").unwrap_or(0);
    let dictionary = &dictionary[start..];
    memchr::memmem::find(dictionary, b"/Image").is_some()
        && memchr::memmem::find(dictionary, b"/ObjStm").is_none()
}

fn refuse_large(packed: &[u8]) -> Result<(), ExtractError> {
    let mut unpacked = ZlibDecoder::new(packed).take(MAX_STREAM_BYTES + 1);
    // What cannot be unpacked is the reader's to judge.
    match io::copy(&mut unpacked, &mut io::sink()) {
        Ok(bytes) if bytes > MAX_STREAM_BYTES => Err(too_large(bytes)),
        _ => Ok(()),
    }
}

fn too_large(bytes: u64) -> ExtractError {
    ExtractError::DocumentTooLarge {
        what: "unpacked stream",
        size: bytes as usize,
        limit: MAX_STREAM_BYTES as usize,
    }
}

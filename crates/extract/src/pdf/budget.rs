//! What a PDF document may ask of the machine: bounds that a small file can otherwise break a thousandfold.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hayro_syntax::object::dict::keys;
use hayro_syntax::object::{Array, Dict, FromBytes, MaybeRef, Object, ObjectIdentifier, Stream};

use super::unpack::{Unpacked, at_most, beginning, filters, measure};
use crate::{ExtractError, Limits, refuse_long};

/// A stream's limit is so many times that of a character map.
const CMAP_SHARE: u64 = 8;
/// Unpacked bytes that cost as much as an operator.
const BYTES_PER_OPERATOR: usize = 16;
/// What it costs to begin unpacking, in operators.
const OPERATORS_PER_STREAM: usize = 100;
/// Bytes of unfinished objects that are read again and again, for each byte of the file.
const REREAD: usize = 64;

/// What is left of the bounds, and what was seen.
pub(super) struct Budget {
    work: usize,
    limits: Limits,
    /// Bytes that fonts may still unpack to: they stay in memory.
    font_bytes: u64,
    /// Streams of fonts that were counted, and fonts, and whether they may be read.
    admitted: BTreeMap<(u32, i32), bool>,
    fonts: BTreeMap<(usize, usize), bool>,
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
            font_bytes: limits.max_unpacked_bytes as u64,
            admitted: BTreeMap::new(),
            fonts: BTreeMap::new(),
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

    /// What looking something up in a dictionary costs: the library reads it anew.
    pub(super) fn look_up(&mut self, dict: &Dict<'_>) -> Result<(), ExtractError> {
        self.spend(dict.data().len() / BYTES_PER_OPERATOR)
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
        let limit = self.limits.max_stream_bytes as u64;
        let (filters, packed) = (filters(stream), stream.raw_data());
        let known = match at_most(&filters, packed.len()) {
            most if most <= limit => Unpacked::Within(most),
            _ => measure(&filters, &packed, limit),
        };
        let decoded = match known {
            Unpacked::Within(_) => stream.decoded_data().ok().map(Cow::into_owned),
            Unpacked::Unknown => beginning(&filters, &packed, limit),
            Unpacked::TooLarge => return Err(too_large(limit)),
        };
        let made = decoded.as_ref().map_or(packed.len(), Vec::len);
        self.spend(OPERATORS_PER_STREAM + made / BYTES_PER_OPERATOR)?;
        Ok(decoded)
    }

    /// Refuses what a page's streams make together.
    pub(super) fn page(&self, length: usize) -> Result<(), ExtractError> {
        match length > self.limits.max_stream_bytes {
            true => Err(too_large(self.limits.max_stream_bytes as u64)),
            false => Ok(()),
        }
    }

    /// Whether a font may be read: the library unpacks its program and its character maps, and keeps them.
    pub(super) fn admit_font(&mut self, font: &Dict<'_>) -> Result<bool, ExtractError> {
        self.look_up(font)?;
        // Its place in the file: dictionaries within others have no number of their own.
        let place = (font.data().as_ptr() as usize, font.data().len());
        if let Some(admitted) = self.fonts.get(&place) {
            return Ok(*admitted);
        }
        let mut dicts = vec![font.clone()];
        let descendants = font.get::<Array<'_>>(keys::DESCENDANT_FONTS);
        dicts.extend(descendants.and_then(|fonts| fonts.iter::<Dict<'_>>().next()));
        let mut admitted = true;
        let limit = self.limits.max_stream_bytes as u64;
        for dict in dicts {
            let descriptor = dict.get::<Dict<'_>>(keys::FONT_DESC).unwrap_or_default();
            let programs = [keys::FONT_FILE, keys::FONT_FILE2, keys::FONT_FILE3]
                .map(|key| (descriptor.get::<Stream<'_>>(key), limit));
            let maps = [keys::TO_UNICODE, keys::ENCODING, keys::CID_TO_GID_MAP]
                .map(|key| (dict.get::<Stream<'_>>(key), limit / CMAP_SHARE));
            for (stream, limit) in programs.into_iter().chain(maps) {
                if let Some(stream) = stream {
                    admitted &= self.admit(&stream, limit)?;
                }
            }
        }
        self.fonts.insert(place, admitted);
        Ok(admitted)
    }

    fn admit(&mut self, stream: &Stream<'_>, limit: u64) -> Result<bool, ExtractError> {
        let ObjectIdentifier {
            obj_number,
            gen_number,
        } = stream.obj_id();
        let id = (obj_number, gen_number);
        if let Some(admitted) = self.admitted.get(&id) {
            return Ok(*admitted);
        }
        let admitted = match measure(&filters(stream), &stream.raw_data(), limit) {
            Unpacked::Within(length) => match self.font_bytes.checked_sub(length) {
                Some(left) => {
                    self.font_bytes = left;
                    true
                }
                None => return Err(too_large(self.limits.max_unpacked_bytes as u64)),
            },
            Unpacked::TooLarge => return Err(too_large(limit)),
            Unpacked::Unknown => false,
        };
        self.admitted.insert(id, admitted);
        Ok(admitted)
    }
}

/// Refuses a file whose objects the library would fill the memory with, or search for without end, before it is opened:
/// streams of objects and of their table are unpacked and kept as soon as one of them is asked for.
pub(super) fn refuse_bombs(file: &[u8], limits: &Limits) -> Result<(), ExtractError> {
    let limit = limits.max_unpacked_bytes as u64;
    let (mut left, mut reread) = (limit, file.len().saturating_mul(REREAD));
    for keyword in memchr::memmem::find_iter(file, b"obj") {
        if file[..keyword].ends_with(b"end") {
            continue;
        }
        let object = file[keyword + 3..].trim_ascii_start();
        let Some(dict) = Dict::from_bytes(object) else {
            // Readers that look for lost objects read such a one to the file's end, each time.
            if object.starts_with(b"(") || object.starts_with(b"<") || object.starts_with(b"[") {
                let parsed = Object::from_bytes(object).is_some();
                let again = if parsed { 0 } else { object.len() };
                reread = reread.checked_sub(again).ok_or(unfinished())?;
            }
            continue;
        };
        reread = reread.checked_sub(dict.data().len()).ok_or(unfinished())?;
        let packs_objects = dict.contains_key(keys::N) && dict.contains_key(keys::FIRST)
            || dict.contains_key(keys::W) && dict.contains_key(keys::SIZE);
        if !packs_objects {
            continue;
        }
        let after = object[dict.data().len()..].trim_ascii_start();
        let Some(data) = after.strip_prefix(b"stream") else {
            continue;
        };
        let data = data.strip_prefix(b"\r").unwrap_or(data);
        let data = data.strip_prefix(b"\n").unwrap_or(data);
        match object_stream(&dict, data, left) {
            Unpacked::Within(length) => left -= length.min(left),
            Unpacked::TooLarge => return Err(too_large(limit)),
            Unpacked::Unknown => {}
        }
    }
    Ok(())
}

/// How long a stream of objects becomes. Its end is where its packing ends: its length may lie.
fn object_stream(dict: &Dict<'_>, data: &[u8], left: u64) -> Unpacked {
    let filter = dict
        .get_raw::<Object<'_>>(keys::F)
        .or_else(|| dict.get_raw::<Object<'_>>(keys::FILTER));
    let name = |object: Object<'_>| object.into_name().map(|name| name.as_str().to_owned());
    let names = match filter {
        None => return Unpacked::Within(0),
        // No writer keeps the name of a filter elsewhere.
        Some(MaybeRef::Ref(_)) => return Unpacked::TooLarge,
        Some(MaybeRef::NotRef(Object::Array(array))) => {
            array.iter::<Object<'_>>().map(name).collect()
        }
        Some(MaybeRef::NotRef(object)) => vec![name(object)],
    };
    let filters: Vec<String> = names
        .into_iter()
        .flatten()
        .map(|name| match name.as_str() {
            "FlateDecode" | "Fl" => "FlateDecode".to_owned(),
            "LZWDecode" | "LZW" => "LzwDecode".to_owned(),
            "RunLengthDecode" | "RL" => "RunLengthDecode".to_owned(),
            "ASCIIHexDecode" | "AHx" => "AsciiHexDecode".to_owned(),
            "ASCII85Decode" | "A85" => "Ascii85Decode".to_owned(),
            _ => name,
        })
        .collect();
    match filters.is_empty() {
        true => Unpacked::Within(0),
        false => measure(&filters, data, left),
    }
}

fn too_large(limit: u64) -> ExtractError {
    ExtractError::DocumentTooLarge {
        what: "unpacked stream",
        size: limit as usize + 1,
        limit: limit as usize,
    }
}

fn unfinished() -> ExtractError {
    ExtractError::MalformedDocument {
        format: "PDF",
        reason: "too many of its objects have no end".to_owned(),
    }
}

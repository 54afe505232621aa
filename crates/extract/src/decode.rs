//! Bytes to characters: byte-order marks, UTF-8, UTF-16, then the legacy encodings.
//!
//! Valid UTF-8 is almost never anything else, so it is tried before any guess. What is neither UTF-8
//! nor UTF-16 is what an HTML page declares, or else what `chardetng` (Firefox's detector) thinks most
//! likely. Any single-byte encoding "decodes" noise, so the outcome is judged by its control and
//! replacement characters.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

use crate::{ExtractError, Format, kind};

/// One control or replacement character in this many is still a text with a blemish; random bytes
/// have about one in ten.
const CHARACTERS_PER_BLEMISH: usize = 50;
/// Where an HTML page must declare its encoding, by the HTML standard.
const DECLARATION_BYTES: usize = 1_024;

/// Decodes a document, without its byte-order mark and with LF line ends.
pub(crate) fn decode(bytes: &[u8], file_name: &str) -> Result<String, ExtractError> {
    if bytes.starts_with(&[0xff, 0xfe, 0, 0]) || bytes.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(ExtractError::UndecodableText {
            reason: "UTF-32 is not supported".to_owned(),
        });
    }
    let encoding = encoding_of(bytes, file_name);
    let (text, _, _) = encoding.decode(bytes);
    refuse_noise(&text, encoding)?;
    Ok(with_line_feeds(text))
}

fn encoding_of(bytes: &[u8], file_name: &str) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    if let Some(encoding) = unmarked_utf16(bytes) {
        return encoding;
    }
    if std::str::from_utf8(bytes).is_ok() {
        return if is_iso_2022_jp(bytes) {
            ISO_2022_JP
        } else {
            UTF_8
        };
    }
    if mostly_utf8(bytes) {
        return UTF_8;
    }
    let is_html = kind::text_format(&kind::extension(file_name)) == Some(Format::Html);
    if let Some(encoding) = is_html.then(|| declared(bytes)).flatten() {
        return encoding;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Allow)
}

/// A file with a few broken bytes among many correct multi-byte characters is damaged UTF-8, which
/// would be garbled whole by a legacy encoding.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut right, mut broken) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        right += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    right > broken.saturating_mul(10)
}

/// UTF-16 without a mark: Latin text has a NUL in every second byte, always on the same side.
fn unmarked_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES)];
    let pairs = head.len() / 2;
    if pairs < 2 {
        return None;
    }
    let nuls = |side: usize| head.chunks_exact(2).filter(|pair| pair[side] == 0).count();
    match (nuls(0), nuls(1)) {
        (0, low) if low * 10 >= pairs * 4 => Some(UTF_16LE),
        (high, 0) if high * 10 >= pairs * 4 => Some(UTF_16BE),
        _ => None,
    }
}

/// ISO-2022-JP is ASCII bytes with escape sequences that switch the character set.
fn is_iso_2022_jp(bytes: &[u8]) -> bool {
    let switches = bytes.windows(3).any(|w| w == b"\x1b$B" || w == b"\x1b$@");
    switches && !ISO_2022_JP.decode_without_bom_handling(bytes).1
}

/// The encoding that an HTML page or XML declaration names.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    for key in [&b"charset="[..], b"encoding="] {
        let Some(at) = head.windows(key.len()).position(|window| window == key) else {
            continue;
        };
        let label: Vec<u8> = head[at + key.len()..]
            .iter()
            .copied()
            .skip_while(|b| matches!(b, b'"' | b'\'' | b' '))
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'))
            .collect();
        // The page was just read as ASCII, so a claim of UTF-16 cannot be true; UTF-8 was tried.
        let found = Encoding::for_label(&label);
        if let Some(encoding) = found.filter(|e| ![UTF_8, UTF_16LE, UTF_16BE].contains(e)) {
            return Some(encoding);
        }
    }
    None
}

fn refuse_noise(text: &str, encoding: &'static Encoding) -> Result<(), ExtractError> {
    let (mut total, mut blemishes) = (0_usize, 0_usize);
    for character in text.chars() {
        total += 1;
        blemishes += usize::from(is_blemish(character));
    }
    if blemishes == 0 || blemishes * CHARACTERS_PER_BLEMISH <= total {
        return Ok(());
    }
    let reason = format!(
        "read as {}, {blemishes} of {total} characters are control or replacement characters",
        encoding.name()
    );
    Err(ExtractError::UndecodableText { reason })
}

/// Characters that text does not have. Backspace (overstruck manual pages) and escape (coloured
/// logs) occur in real text.
fn is_blemish(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | '\x08' | '\x0b' | '\x0c' | '\x1b' => false,
        '\u{fffd}' | '\u{fffe}' | '\u{ffff}' => true,
        // NEXT LINE is a line end on some mainframes.
        '\u{85}' => false,
        other => other.is_control(),
    }
}

fn with_line_feeds(text: Cow<'_, str>) -> String {
    if !text.contains('\r') {
        return text.into_owned();
    }
    text.replace("\r\n", "\n").replace('\r', "\n")
}

//! How long a stream becomes when its filters unpack it, found without keeping what they make.
//!
//! The library unpacks a stream whole and into as much memory as that takes, so that whoever asks it must know first.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::DeflateDecoder;
use hayro_syntax::object::Stream;

/// Deflate, LZW and run lengths pack no more into a byte.
const DEFLATE_RATIO: u64 = 1_032;
const LZW_RATIO: u64 = 3_412;
const RUN_LENGTH_RATIO: u64 = 64;
/// Base 85 writes four zeros as one byte.
const BASE_85_RATIO: u64 = 4;

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// No stage makes more than so many bytes.
    Within(u64),
    /// A stage makes more than the limit.
    TooLarge,
    /// It breaks off, and how much a forgiving reader makes of the rest is not known.
    Unknown,
}

/// The names of a stream's filters. The library shows them, but does not let them be named.
pub(super) fn filters(stream: &Stream<'_>) -> Vec<String> {
    let filters = stream.filters();
    filters.iter().map(|filter| format!("{filter:?}")).collect()
}

/// The most bytes that filters make of so many.
pub(super) fn at_most(filters: &[String], packed: usize) -> u64 {
    let ratio = |filter: &String| match filter.as_str() {
        "FlateDecode" => DEFLATE_RATIO,
        "LzwDecode" => LZW_RATIO,
        "RunLengthDecode" => RUN_LENGTH_RATIO,
        "Ascii85Decode" => BASE_85_RATIO,
        _ => 1,
    };
    let ratios = filters.iter().map(ratio);
    ratios.fold(packed as u64, u64::saturating_mul)
}

/// How long the largest stage of what filters make becomes.
pub(super) fn measure(filters: &[String], packed: &[u8], limit: u64) -> Unpacked {
    match stages(filters, packed, limit) {
        Unpacked::Unknown => match at_most(filters, packed.len()) {
            most if most <= limit => Unpacked::Within(most),
            _ => Unpacked::Unknown,
        },
        known => known,
    }
}

/// What can be unpacked of a stream that breaks off, if only one filter packed it.
pub(super) fn beginning(filters: &[String], packed: &[u8], limit: u64) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    (filters == ["FlateDecode"]).then(|| inflated(packed, &mut made, limit))?;
    Some(made)
}

fn stages(filters: &[String], packed: &[u8], limit: u64) -> Unpacked {
    if filters.is_empty() {
        return within(packed.len() as u64, limit);
    }
    // What is packed may have more behind it.
    let (mut data, mut largest) = (Cow::Borrowed(packed), 0);
    for (position, filter) in filters.iter().enumerate() {
        let is_last = position + 1 == filters.len();
        let made = match filter.as_str() {
            "FlateDecode" if is_last => match inflated(&data, &mut io::sink(), limit) {
                Unpacked::Within(length) => return Unpacked::Within(length.max(largest)),
                other => return other,
            },
            "FlateDecode" => {
                let mut made = Vec::new();
                match inflated(&data, &mut made, limit) {
                    Unpacked::Within(_) => made,
                    other => return other,
                }
            }
            // No writer packs what they packed once more.
            "LzwDecode" | "RunLengthDecode" if !is_last => return Unpacked::TooLarge,
            "LzwDecode" => return within(lzw_length(&data).max(largest), limit),
            "RunLengthDecode" => return within(run_length(&data).max(largest), limit),
            "AsciiHexDecode" => base_16(&data),
            "Ascii85Decode" => base_85(&data),
            // Encryption is off by now, and images are not unpacked here.
            _ => continue,
        };
        largest = largest.max(made.len() as u64);
        if largest > limit {
            return Unpacked::TooLarge;
        }
        data = Cow::Owned(made);
    }
    within(largest, limit)
}

fn within(length: u64, limit: u64) -> Unpacked {
    match length > limit {
        true => Unpacked::TooLarge,
        false => Unpacked::Within(length),
    }
}

/// Deflate with a zlib header or without one, whatever its checksum.
fn inflated(packed: &[u8], made: &mut impl io::Write, limit: u64) -> Unpacked {
    let headed = matches!(packed, [first, second, ..]
        if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31));
    let data = if headed { &packed[2..] } else { packed };
    let mut unpacked = DeflateDecoder::new(data).take(limit + 1);
    match io::copy(&mut unpacked, made) {
        Ok(length) => within(length, limit),
        Err(_) => Unpacked::Unknown,
    }
}

/// The bytes that LZW makes, counted by the lengths of its table's entries: PDF 32000-1, 7.4.4.
fn lzw_length(packed: &[u8]) -> u64 {
    let early = lzw_length_with(packed, 1);
    early.max(lzw_length_with(packed, 0))
}

fn lzw_length_with(packed: &[u8], early: usize) -> u64 {
    const CLEAR: usize = 256;
    const END: usize = 257;
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut bytes = packed.iter();
    let mut lengths: Vec<u64> = vec![1; END + 1];
    let (mut total, mut before) = (0_u64, None::<u64>);
    loop {
        let width = match lengths.len() + early {
            0..512 => 9,
            512..1_024 => 10,
            1_024..2_048 => 11,
            _ => 12,
        };
        while held < width {
            let Some(byte) = bytes.next() else {
                return total;
            };
            bits = bits << 8 | u32::from(*byte);
            held += 8;
        }
        held -= width;
        let code = (bits >> held) as usize & ((1 << width) - 1);
        bits &= (1 << held) - 1;
        match code {
            CLEAR => {
                lengths.truncate(END + 1);
                before = None;
                continue;
            }
            END => return total,
            _ => {}
        }
        let length = match (lengths.get(code), before) {
            (Some(length), _) => *length,
            (None, Some(before)) => before + 1,
            (None, None) => return total,
        };
        total += length;
        if let Some(before) = before.filter(|_| lengths.len() < 4_096) {
            lengths.push(before + 1);
        }
        before = Some(length);
    }
}

fn run_length(packed: &[u8]) -> u64 {
    let (mut at, mut total) = (0, 0);
    while let Some(length) = packed.get(at) {
        match length {
            128 => break,
            0..=127 => {
                at += usize::from(*length) + 2;
                total += u64::from(*length) + 1;
            }
            129.. => {
                at += 2;
                total += 257 - u64::from(*length);
            }
        }
    }
    total
}

fn base_16(packed: &[u8]) -> Vec<u8> {
    let digits = packed.iter().take_while(|byte| **byte != b'>');
    let digits = digits.filter_map(|byte| char::from(*byte).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0))
        .collect()
}

fn base_85(packed: &[u8]) -> Vec<u8> {
    let (mut made, mut group) = (Vec::new(), Vec::with_capacity(5));
    for byte in packed.iter().take_while(|byte| **byte != b'~') {
        match byte {
            b'z' if group.is_empty() => made.extend([0; 4]),
            b'!'..=b'u' => group.push(byte - b'!'),
            _ => {}
        }
        if group.len() == 5 {
            made.extend(base_85_group(&group));
            group.clear();
        }
    }
    if group.len() > 1 {
        let bytes = group.len() - 1;
        group.resize(5, 84);
        made.extend(&base_85_group(&group)[..bytes]);
    }
    made
}

fn base_85_group(digits: &[u8]) -> [u8; 4] {
    let value = digits.iter().fold(0_u32, |value, digit| {
        value.wrapping_mul(85).wrapping_add(u32::from(*digit))
    });
    value.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn deflated(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// The largest stage of each chain.
    #[test]
    fn every_stage_counts() {
        let check = |filters: &[&str], packed: &[u8], limit: u64, expected: Unpacked| {
            let filters: Vec<String> = filters.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(measure(&filters, packed, limit), expected, "{filters:?}");
        };
        let flate = "FlateDecode";
        let zeros = deflated(&[0; 100_000]);
        let twice = deflated(&zeros);
        check(&[flate], &zeros, 100_000, Unpacked::Within(100_000));
        check(&[flate], &zeros, 99_999, Unpacked::TooLarge);
        check(&[flate, flate], &twice, 99_999, Unpacked::TooLarge);
        check(&[flate, flate], &twice, 100_000, Unpacked::Within(100_000));
        // What the outer stage makes counts too.
        check(
            &[flate, "RunLengthDecode"],
            &zeros,
            90_000,
            Unpacked::TooLarge,
        );
        let hex: String = zeros.iter().map(|byte| format!("{byte:02X} ")).collect();
        check(
            &["AsciiHexDecode", flate],
            hex.as_bytes(),
            99_999,
            Unpacked::TooLarge,
        );
        check(
            &["AsciiHexDecode", flate],
            hex.as_bytes(),
            100_000,
            Unpacked::Within(100_000),
        );
        check(&["Ascii85Decode"], &[b'z'; 100], 399, Unpacked::TooLarge);
        check(
            &["RunLengthDecode"],
            &[129, 0, 129, 0, 128],
            200,
            Unpacked::TooLarge,
        );
        check(
            &["RunLengthDecode"],
            &[129, 0, 2, 1, 2, 3, 128],
            131,
            Unpacked::Within(131),
        );
        // The example of PDF 32000-1, 7.4.4.2: ten bytes.
        let lzw = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        check(&["LzwDecode"], &lzw, 10, Unpacked::Within(10));
        check(&["LzwDecode"], &lzw, 9, Unpacked::TooLarge);
        check(&["LzwDecode", flate], &lzw, 9, Unpacked::TooLarge);
        let mut broken = deflated(
            &(0..60_000_u32)
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<u8>>(),
        );
        broken.truncate(broken.len() / 2);
        check(&[flate], &broken, 200_000, Unpacked::Unknown);
        let most = at_most(&[flate.to_owned()], broken.len());
        check(&[flate], &broken, most, Unpacked::Within(most));
        let begun = beginning(&[flate.to_owned()], &broken, 200_000).unwrap();
        assert_eq!(begun[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn text_filters_are_undone() {
        assert_eq!(base_16(b"48 65 6C6c6F7>x"), b"Hellop");
        assert_eq!(base_85(b"87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(base_85(b"z87cUR\n~>"), b"\0\0\0\0Hell");
    }
}

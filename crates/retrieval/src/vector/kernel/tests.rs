//! Every kernel of this processor computes what plain Rust computes.

use proptest::prelude::*;

use super::*;

struct Differences<'a>(&'a [u8], &'a [u64]);
struct Sums<'a>(&'a [u8], &'a [[u64; PLANES]]);
struct Dot<'a>(&'a [u8], &'a Coded);

impl Task for Differences<'_> {
    type Output = [u32; LANES];

    #[inline(always)]
    unsafe fn run<K: Kernel>(self) -> Self::Output {
        // SAFETY: by the caller.
        unsafe { K::differences(self.0, self.1) }
    }
}

impl Task for Sums<'_> {
    type Output = [i32; LANES];

    #[inline(always)]
    unsafe fn run<K: Kernel>(self) -> Self::Output {
        // SAFETY: by the caller.
        unsafe { K::sums(self.0, self.1) }
    }
}

impl Task for Dot<'_> {
    type Output = i32;

    #[inline(always)]
    unsafe fn run<K: Kernel>(self) -> i32 {
        // SAFETY: by the caller.
        unsafe { K::dot(self.0, self.1) }
    }
}

/// Bytes that are all set are the most that a byte-wide sum must hold.
fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let extreme = prop::sample::select(vec![0x00, 0xFF, 0x80, 0x7F]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), length),
        extreme.prop_map(move |byte| vec![byte; length]),
    ]
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .collect()
}

proptest! {
    #[test]
    fn codes_are_compared_alike(
        (block, query, planes) in (0usize..70).prop_flat_map(|words| {
            (bytes(words * 64 + 64), bytes(words * 8), bytes(words * 8 * PLANES))
        }),
    ) {
        let (query, planes) = (words_of(&query), words_of(&planes));
        let (planes, _) = planes.as_chunks::<PLANES>();
        let differences = Choice::Portable.run(Differences(&block, &query));
        let sums = Choice::Portable.run(Sums(&block, planes));
        for choice in Choice::available() {
            prop_assert_eq!(choice.run(Differences(&block, &query)), differences, "{:?}", choice);
            prop_assert_eq!(choice.run(Sums(&block, planes)), sums, "{:?}", choice);
        }
    }

    #[test]
    fn rows_are_scored_alike(
        (row, query) in (0usize..700).prop_flat_map(|length| {
            (bytes(length), prop::collection::vec(-16_256i16..=16_256, length))
        }),
    ) {
        let query = Coded::new(query);
        for ((whole, high), low) in query.whole.iter().zip(&query.high).zip(&query.low) {
            prop_assert_eq!(i16::from(*high) * 128 + i16::from(*low), *whole);
        }
        let expected = Choice::Portable.run(Dot(&row, &query));
        for choice in Choice::available() {
            prop_assert_eq!(choice.run(Dot(&row, &query)), expected, "{:?}", choice);
        }
    }
}

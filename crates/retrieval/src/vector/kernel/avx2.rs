//! AVX2: bits are counted by looking up half bytes. Source: Muła, Kurz, Lemire, "Faster Population Counts Using AVX2
//! Instructions", 2018.

#![expect(
    clippy::needless_range_loop,
    reason = "the number of a register is also its place in the block"
)]

use std::arch::x86_64::*;

use super::{Coded, Kernel, PLANES, Task};
use crate::vector::LANES;

pub(super) struct Avx2;

/// So many counts of up to 8 fit into a byte.
const WORDS_PER_BYTE: usize = 31;

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    // SAFETY: by the caller.
    unsafe { task.run::<Avx2>() }
}

/// For each byte the number of its bits.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bits_of_bytes(bytes: __m256i) -> __m256i {
    // SAFETY: by the caller.
    unsafe {
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2,
            3, 3, 4,
        );
        let halves = _mm256_set1_epi8(0x0F);
        let low = _mm256_and_si256(bytes, halves);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), halves);
        _mm256_add_epi8(
            _mm256_shuffle_epi8(table, low),
            _mm256_shuffle_epi8(table, high),
        )
    }
}

/// # Safety
/// The processor has AVX2; 32 bytes can be read at `address`.
#[inline(always)]
unsafe fn load(address: *const u8) -> __m256i {
    // SAFETY: by the caller.
    unsafe { _mm256_loadu_si256(address.cast()) }
}

/// The eight 64-bit sums of two registers.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn lanes(sums: [__m256i; 2]) -> [i32; LANES] {
    let mut wide = [0i64; LANES];
    // SAFETY: by the caller; eight 64-bit numbers are two registers.
    unsafe {
        _mm256_storeu_si256(wide.as_mut_ptr().cast(), sums[0]);
        _mm256_storeu_si256(wide.as_mut_ptr().add(4).cast(), sums[1]);
    }
    wide.map(|sum| sum as i32)
}

impl Kernel for Avx2 {
    #[inline(always)]
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES] {
        assert!(block.len() >= query.len() * 64);
        // SAFETY: the features are there by the caller; every load lies within the block.
        unsafe {
            let zero = _mm256_setzero_si256();
            let mut sums = [zero; 2];
            for (chunk, query) in query.chunks(WORDS_PER_BYTE).enumerate() {
                let start = block.as_ptr().add(chunk * WORDS_PER_BYTE * 64);
                let mut bytes = [zero; 2];
                for (word, wanted) in query.iter().enumerate() {
                    let wanted = _mm256_set1_epi64x(*wanted as i64);
                    for half in 0..2 {
                        let row = load(start.add(word * 64 + half * 32));
                        let counts = bits_of_bytes(_mm256_xor_si256(row, wanted));
                        bytes[half] = _mm256_add_epi8(bytes[half], counts);
                    }
                }
                for half in 0..2 {
                    sums[half] = _mm256_add_epi64(sums[half], _mm256_sad_epu8(bytes[half], zero));
                }
            }
            lanes(sums).map(|sum| sum as u32)
        }
    }

    #[inline(always)]
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES] {
        assert!(block.len() >= planes.len() * 64);
        // SAFETY: as above.
        unsafe {
            let zero = _mm256_setzero_si256();
            let mut sums = [[zero; PLANES]; 2];
            for (chunk, planes) in planes.chunks(WORDS_PER_BYTE).enumerate() {
                let start = block.as_ptr().add(chunk * WORDS_PER_BYTE * 64);
                for half in 0..2 {
                    let mut bytes = [zero; PLANES];
                    for (word, planes) in planes.iter().enumerate() {
                        let row = load(start.add(word * 64 + half * 32));
                        for plane in 0..PLANES {
                            let both =
                                _mm256_and_si256(row, _mm256_set1_epi64x(planes[plane] as i64));
                            bytes[plane] = _mm256_add_epi8(bytes[plane], bits_of_bytes(both));
                        }
                    }
                    for plane in 0..PLANES {
                        let more = _mm256_sad_epu8(bytes[plane], zero);
                        sums[half][plane] = _mm256_add_epi64(sums[half][plane], more);
                    }
                }
            }
            lanes(sums.map(|counts| {
                let low = _mm256_add_epi64(counts[0], _mm256_slli_epi64::<1>(counts[1]));
                let (four, eight) = (
                    _mm256_slli_epi64::<2>(counts[2]),
                    _mm256_slli_epi64::<3>(counts[3]),
                );
                _mm256_add_epi64(low, _mm256_sub_epi64(four, eight))
            }))
        }
    }

    #[inline(always)]
    unsafe fn dot(row: &[u8], query: &Coded) -> i32 {
        let query = query.whole.as_slice();
        assert_eq!(row.len(), query.len());
        // SAFETY: as above; a tail below a register's width is left to plain arithmetic.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 2];
            let whole = row.len() / 32;
            for part in 0..whole {
                for half in 0..2 {
                    let at = part * 32 + half * 16;
                    let codes = _mm_loadu_si128(row.as_ptr().add(at).cast());
                    let values = load(query.as_ptr().add(at).cast());
                    let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), values);
                    sums[half] = _mm256_add_epi32(sums[half], products);
                }
            }
            let mut each = [0i32; 8];
            _mm256_storeu_si256(each.as_mut_ptr().cast(), _mm256_add_epi32(sums[0], sums[1]));
            let at = whole * 32;
            each.iter().sum::<i32>() + super::portable::plain_dot(&row[at..], &query[at..])
        }
    }
}

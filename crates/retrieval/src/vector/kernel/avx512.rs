//! AVX-512 with VPOPCNTDQ: a word of all vectors of a block is one register.

use std::arch::x86_64::*;

use super::{Coded, Kernel, PLANES, Task};
use crate::vector::LANES;

pub(super) struct Avx512;

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,avx2,popcnt,bmi1,bmi2")]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    // SAFETY: by the caller.
    unsafe { task.run::<Avx512>() }
}

impl Kernel for Avx512 {
    #[inline(always)]
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES] {
        assert!(block.len() >= query.len() * 64);
        let mut counts = [0; LANES];
        // SAFETY: the features are there by the caller; every load lies within the block.
        unsafe {
            let mut sum = _mm512_setzero_si512();
            for (word, wanted) in query.iter().enumerate() {
                let row = _mm512_loadu_si512(block.as_ptr().add(word * 64).cast());
                let differing = _mm512_xor_si512(row, _mm512_set1_epi64(*wanted as i64));
                sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(differing));
            }
            _mm256_storeu_si256(counts.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(sum));
        }
        counts
    }

    #[inline(always)]
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES] {
        assert!(block.len() >= planes.len() * 64);
        let mut sums = [0; LANES];
        // SAFETY: as above.
        unsafe {
            let mut counts = [_mm512_setzero_si512(); PLANES];
            for (word, planes) in planes.iter().enumerate() {
                let row = _mm512_loadu_si512(block.as_ptr().add(word * 64).cast());
                for plane in 0..PLANES {
                    let both = _mm512_and_si512(row, _mm512_set1_epi64(planes[plane] as i64));
                    counts[plane] = _mm512_add_epi64(counts[plane], _mm512_popcnt_epi64(both));
                }
            }
            let low = _mm512_add_epi64(counts[0], _mm512_slli_epi64::<1>(counts[1]));
            let high = _mm512_sub_epi64(
                _mm512_slli_epi64::<2>(counts[2]),
                _mm512_slli_epi64::<3>(counts[3]),
            );
            let sum = _mm512_add_epi64(low, high);
            _mm256_storeu_si256(sums.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(sum));
        }
        sums
    }

    #[inline(always)]
    unsafe fn dot(row: &[u8], query: &Coded) -> i32 {
        let query = query.whole.as_slice();
        assert_eq!(row.len(), query.len());
        // SAFETY: as above; a tail below a register's width is left to plain arithmetic.
        unsafe {
            let mut sum = _mm512_setzero_si512();
            let whole = row.len() / 32;
            for part in 0..whole {
                let codes = _mm256_loadu_si256(row.as_ptr().add(part * 32).cast());
                let values = _mm512_loadu_si512(query.as_ptr().add(part * 32).cast());
                sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_cvtepi8_epi16(codes), values));
            }
            let at = whole * 32;
            _mm512_reduce_add_epi32(sum) + super::portable::plain_dot(&row[at..], &query[at..])
        }
    }
}

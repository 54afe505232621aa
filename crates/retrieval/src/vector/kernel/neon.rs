//! NEON, which every 64-bit ARM processor has; Graviton's is the one that matters.

#![allow(
    clippy::needless_range_loop,
    reason = "the number of a register is also its place in the block"
)]

use std::arch::aarch64::*;

use super::{Coded, Kernel, PLANES, Task};
use crate::vector::LANES;

pub(super) struct Neon;

/// So many counts of up to 8 fit into a byte.
const WORDS_PER_BYTE: usize = 31;
/// Registers that hold one word of all vectors of a block.
const REGISTERS: usize = 4;

/// # Safety
/// The processor has the features.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<T: Task>(task: T) -> T::Output {
    // SAFETY: by the caller.
    unsafe { task.run::<Neon>() }
}

/// NEON with the dot product of bytes.
pub(super) struct NeonDotprod;

/// # Safety
/// The processor has the features.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run_dotprod<T: Task>(task: T) -> T::Output {
    // SAFETY: by the caller.
    unsafe { task.run::<NeonDotprod>() }
}

/// Adds to each of four sums the products of four pairs of bytes.
///
/// # Safety
/// The processor has `dotprod`.
#[inline(always)]
unsafe fn add_products(mut sums: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
    // SAFETY: by the caller. The intrinsic is not stable yet.
    unsafe {
        std::arch::asm!(
            ".arch_extension dotprod",
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) left, in(vreg) right,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

impl Kernel for NeonDotprod {
    #[inline(always)]
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES] {
        // SAFETY: by the caller.
        unsafe { Neon::differences(block, query) }
    }

    #[inline(always)]
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES] {
        // SAFETY: by the caller.
        unsafe { Neon::sums(block, planes) }
    }

    #[inline(always)]
    unsafe fn dot(row: &[u8], query: &Coded) -> i32 {
        assert!(row.len() == query.high.len() && row.len() == query.low.len());
        // SAFETY: the features are there by the caller; every load lies within the slices, which are equally long.
        unsafe {
            let (mut high, mut low) = (vdupq_n_s32(0), vdupq_n_s32(0));
            let whole = row.len() / 16;
            for part in 0..whole {
                let codes = vld1q_s8(row.as_ptr().add(part * 16).cast());
                high = add_products(high, codes, vld1q_s8(query.high.as_ptr().add(part * 16)));
                low = add_products(low, codes, vld1q_s8(query.low.as_ptr().add(part * 16)));
            }
            let at = whole * 16;
            let rest = super::portable::plain_dot(&row[at..], &query.whole[at..]);
            vaddvq_s32(high) * 128 + vaddvq_s32(low) + rest
        }
    }
}

/// The sums of the bytes of each 64-bit half.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn halves(bytes: uint8x16_t) -> uint64x2_t {
    // SAFETY: by the caller.
    unsafe { vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))) }
}

/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn lanes(sums: [int64x2_t; REGISTERS]) -> [i32; LANES] {
    let mut wide = [0i64; LANES];
    for (register, sum) in sums.into_iter().enumerate() {
        // SAFETY: by the caller; four registers of two numbers are eight.
        unsafe { vst1q_s64(wide.as_mut_ptr().add(register * 2), sum) };
    }
    wide.map(|sum| sum as i32)
}

impl Kernel for Neon {
    #[inline(always)]
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES] {
        assert!(block.len() >= query.len() * 64);
        // SAFETY: the features are there by the caller; every load lies within the block.
        unsafe {
            let mut sums = [vdupq_n_u64(0); REGISTERS];
            for (chunk, query) in query.chunks(WORDS_PER_BYTE).enumerate() {
                let start = block.as_ptr().add(chunk * WORDS_PER_BYTE * 64);
                let mut bytes = [vdupq_n_u8(0); REGISTERS];
                for (word, wanted) in query.iter().enumerate() {
                    let wanted = vreinterpretq_u8_u64(vdupq_n_u64(*wanted));
                    for register in 0..REGISTERS {
                        let row = vld1q_u8(start.add(word * 64 + register * 16));
                        bytes[register] =
                            vaddq_u8(bytes[register], vcntq_u8(veorq_u8(row, wanted)));
                    }
                }
                for register in 0..REGISTERS {
                    sums[register] = vaddq_u64(sums[register], halves(bytes[register]));
                }
            }
            lanes(sums.map(|sum| vreinterpretq_s64_u64(sum))).map(|sum| sum as u32)
        }
    }

    #[inline(always)]
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES] {
        assert!(block.len() >= planes.len() * 64);
        // SAFETY: as above.
        unsafe {
            let mut sums = [vdupq_n_s64(0); REGISTERS];
            for (chunk, planes) in planes.chunks(WORDS_PER_BYTE).enumerate() {
                let start = block.as_ptr().add(chunk * WORDS_PER_BYTE * 64);
                for register in 0..REGISTERS {
                    let mut bytes = [vdupq_n_u8(0); PLANES];
                    for (word, planes) in planes.iter().enumerate() {
                        let row = vld1q_u8(start.add(word * 64 + register * 16));
                        for plane in 0..PLANES {
                            let wanted = vreinterpretq_u8_u64(vdupq_n_u64(planes[plane]));
                            bytes[plane] = vaddq_u8(bytes[plane], vcntq_u8(vandq_u8(row, wanted)));
                        }
                    }
                    let counts = bytes.map(|bytes| vreinterpretq_s64_u64(halves(bytes)));
                    let low = vaddq_s64(counts[0], vshlq_n_s64::<1>(counts[1]));
                    let high = vsubq_s64(vshlq_n_s64::<2>(counts[2]), vshlq_n_s64::<3>(counts[3]));
                    sums[register] = vaddq_s64(sums[register], vaddq_s64(low, high));
                }
            }
            lanes(sums)
        }
    }

    #[inline(always)]
    unsafe fn dot(row: &[u8], query: &Coded) -> i32 {
        let query = query.whole.as_slice();
        assert_eq!(row.len(), query.len());
        // SAFETY: as above; a tail below a register's width is left to plain arithmetic.
        unsafe {
            let mut sums = [vdupq_n_s32(0); 4];
            let whole = row.len() / 16;
            for part in 0..whole {
                let codes = vld1q_s8(row.as_ptr().add(part * 16).cast());
                let (low, high) = (vmovl_s8(vget_low_s8(codes)), vmovl_high_s8(codes));
                let first = vld1q_s16(query.as_ptr().add(part * 16));
                let second = vld1q_s16(query.as_ptr().add(part * 16 + 8));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(first));
                sums[1] = vmlal_high_s16(sums[1], low, first);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(second));
                sums[3] = vmlal_high_s16(sums[3], high, second);
            }
            let sum = vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3]));
            let at = whole * 16;
            vaddvq_s32(sum) + super::portable::plain_dot(&row[at..], &query[at..])
        }
    }
}

//! Plain Rust: for processors without a kernel of their own, and what the others are tested against.

use super::{Coded, Kernel, PLANES};
use crate::vector::LANES;

pub(super) struct Portable;

/// What a plane of the query counts: two's complement.
const WEIGHTS: [i32; PLANES] = [1, 2, 4, -8];

impl Kernel for Portable {
    #[inline(always)]
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES] {
        let mut counts = [0; LANES];
        for (row, wanted) in rows(block).zip(query) {
            for lane in 0..LANES {
                counts[lane] += (u64::from_le_bytes(row[lane]) ^ wanted).count_ones();
            }
        }
        counts
    }

    #[inline(always)]
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES] {
        let mut sums = [0; LANES];
        for (row, planes) in rows(block).zip(planes) {
            for lane in 0..LANES {
                let word = u64::from_le_bytes(row[lane]);
                for (plane, weight) in planes.iter().zip(WEIGHTS) {
                    sums[lane] += (word & plane).count_ones() as i32 * weight;
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn dot(row: &[u8], query: &Coded) -> i32 {
        plain_dot(row, &query.whole)
    }
}

#[inline(always)]
pub(super) fn plain_dot(row: &[u8], query: &[i16]) -> i32 {
    let products = row
        .iter()
        .zip(query)
        .map(|(code, value)| i32::from(*code as i8) * i32::from(*value));
    products.sum()
}

/// The rows of a block: one word of each vector.
fn rows(block: &[u8]) -> impl Iterator<Item = &[[u8; 8]; LANES]> {
    let (words, _) = block.as_chunks::<8>();
    words.as_chunks::<LANES>().0.iter()
}

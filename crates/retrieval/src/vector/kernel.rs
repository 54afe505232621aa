//! The arithmetic of the scan, for each kind of processor. All kernels compute the same whole numbers.

mod portable;

pub(super) use portable::Portable;

use super::LANES;

/// Bits of a query's component in the second look at a code: −7 to 7 in two's complement.
pub(super) const PLANES: usize = 4;

/// One way to compute.
pub(super) trait Kernel {
    /// For each vector of a block the number of bits in which its code differs from `query`. The block has at least 64
    /// bytes for each word of `query`.
    ///
    /// # Safety
    /// The processor has the features that the kernel is made for.
    unsafe fn differences(block: &[u8], query: &[u64]) -> [u32; LANES];

    /// For each vector of a block the sum of the query's components where its code is 1. `planes[w][p]` has bit `p` of
    /// the components that word `w` of a code stands for.
    ///
    /// # Safety
    /// As [`Kernel::differences`].
    unsafe fn sums(block: &[u8], planes: &[[u64; PLANES]]) -> [i32; LANES];

    /// The dot product of an 8-bit row with a query of as many components.
    ///
    /// # Safety
    /// As [`Kernel::differences`].
    unsafe fn dot(row: &[u8], query: &[i16]) -> i32;
}

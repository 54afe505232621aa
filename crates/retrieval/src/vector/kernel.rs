//! The arithmetic of the scan, for each kind of processor. All kernels compute the same whole numbers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::LazyLock;

use super::LANES;

/// Bits of a query's component in the second look at a code: −7 to 7 in two's complement.
pub(super) const PLANES: usize = 4;

/// A query's components as whole numbers of up to ±[`Coded::LARGEST`], also as `128 · high + low`.
pub(super) struct Coded {
    pub(super) whole: Vec<i16>,
    #[cfg_attr(
        not(any(test, target_arch = "aarch64")),
        expect(dead_code, reason = "only NEON multiplies bytes")
    )]
    high: Vec<i8>,
    #[cfg_attr(
        not(any(test, target_arch = "aarch64")),
        expect(dead_code, reason = "only NEON multiplies bytes")
    )]
    low: Vec<i8>,
}

impl Coded {
    /// What two signed bytes of 7 bits each hold.
    pub(super) const LARGEST: i16 = 127 * 128;

    pub(super) fn new(whole: Vec<i16>) -> Self {
        // Rounded, so that what is left is a signed number too.
        let high: Vec<i8> = whole
            .iter()
            .map(|value| ((value + 64) >> 7) as i8)
            .collect();
        let parts = whole.iter().zip(&high);
        let low = parts.map(|(value, high)| (value - i16::from(*high) * 128) as i8);
        Self {
            low: low.collect(),
            high,
            whole,
        }
    }
}

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

    /// The dot product of an 8-bit row with a query of as many components, a multiple of 64. The sum of the products'
    /// absolute values is less than 2³¹.
    ///
    /// # Safety
    /// As [`Kernel::differences`].
    unsafe fn dot(row: &[u8], query: &Coded) -> i32;

    /// Asks for bytes that will be read soon. They need not exist.
    #[inline(always)]
    fn prefetch(address: *const u8) {
        prefetch(address);
    }
}

/// What is computed by whichever kernel fits the processor.
pub(super) trait Task {
    type Output;

    /// # Safety
    /// The processor has the features that the kernel is made for. Implementations are `#[inline(always)]`, so that they
    /// are compiled for those features.
    unsafe fn run<K: Kernel>(self) -> Self::Output;
}

/// Kernels that this program has for the processor's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
}

static CHOICE: LazyLock<Choice> =
    LazyLock::new(|| Choice::available().pop().unwrap_or(Choice::Portable));

impl Choice {
    /// The kernels that this processor can run, the fastest last.
    pub(super) fn available() -> Vec<Self> {
        let mut choices = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") {
                choices.push(Self::Avx2);
            }
            if has!("avx512f") && has!("avx512bw") && has!("avx512vpopcntdq") {
                choices.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            choices.push(Self::Neon);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                choices.push(Self::NeonDotprod);
            }
        }
        choices
    }

    /// Runs a task by this kernel, which is one of [`Choice::available`].
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: `available` found the features.
        unsafe {
            match self {
                Self::Portable => task.run::<portable::Portable>(),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2::run(task),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512::run(task),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => neon::run(task),
                #[cfg(target_arch = "aarch64")]
                Self::NeonDotprod => neon::run_dotprod(task),
            }
        }
    }
}

/// Runs a task by the fastest kernel of this processor.
pub(super) fn run<T: Task>(task: T) -> T::Output {
    CHOICE.run(task)
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless, and SSE is part of the architecture.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests;

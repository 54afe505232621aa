//! The scan: a first look at every allowed code, a second at those that may be among the best, rows for the survivors.

use super::kernel::{Kernel, Portable};
use super::query::{Probe, Wanted};
use super::{Codes, LANES, block_bytes, words};
use crate::bits::Bits;

/// Up to so many allowed passages the 8-bit rows are scored one and all: the result is exact at that precision.
const EXACT_UP_TO: usize = 4_096;
/// Survivors of the scan for each result wanted, and in any case so many.
const SURVIVORS_PER_RESULT: usize = 8;
const SURVIVORS: usize = 200;

/// A segment of a search: its vectors and what of them may be seen.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub codes: Codes<'a>,
    pub allowed: &'a Bits,
}

/// A passage that may be among the best: score (estimated or by its row), part, ordinal.
pub(crate) type Scored = (f32, u32, u32);

/// The passages whose rows decide which are the best `limit`.
pub(crate) fn candidates(parts: &[Part<'_>], wanted: &Wanted, limit: usize) -> Vec<Scored> {
    let allowed: usize = parts.iter().map(|part| part.allowed.count()).sum();
    if allowed <= EXACT_UP_TO {
        let each = parts.iter().enumerate();
        return each
            .flat_map(|(number, part)| {
                part.allowed
                    .iter()
                    .map(move |at| (f32::MAX, number as u32, at))
            })
            .collect();
    }
    let survivors = limit
        .saturating_mul(SURVIVORS_PER_RESULT)
        .saturating_add(SURVIVORS);
    let mut best = Best::new(survivors);
    for (number, part) in parts.iter().enumerate() {
        let probe = Probe::new(&wanted.rotated, &part.codes);
        // SAFETY: the portable kernel needs no features.
        unsafe { scan::<Portable>(part, &probe, number as u32, &mut best) };
    }
    best.finish()
}

/// # Safety
/// The processor has the features that the kernel is made for.
#[inline(always)]
unsafe fn scan<K: Kernel>(part: &Part<'_>, probe: &Probe, number: u32, best: &mut Best) {
    let size = block_bytes(part.codes.dimension);
    let factors_at = words(part.codes.dimension) * 64;
    let masks = part
        .allowed
        .words()
        .iter()
        .flat_map(|word| word.to_le_bytes());
    for (at, (block, mask)) in part.codes.bits.chunks_exact(size).zip(masks).enumerate() {
        if mask == 0 {
            continue;
        }
        let (weights, offsets) = factors(&block[factors_at..]);
        // SAFETY: by the caller.
        let differences = unsafe { K::differences(block, &probe.signs) };
        let mut left = 0u8;
        for lane in 0..LANES {
            let bound = probe.bound(differences[lane], weights[lane], offsets[lane]);
            left |= u8::from(bound >= best.least) << lane;
        }
        left &= mask;
        if left == 0 {
            continue;
        }
        // SAFETY: by the caller.
        let sums = unsafe { K::sums(block, &probe.planes) };
        for lane in 0..LANES {
            if left >> lane & 1 == 1 {
                let estimate = probe.estimate(sums[lane], weights[lane], offsets[lane]);
                best.offer(estimate, number, (at * LANES + lane) as u32);
            }
        }
    }
}

#[inline(always)]
fn factors(bytes: &[u8]) -> ([f32; LANES], [f32; LANES]) {
    let (values, _) = bytes.as_chunks::<4>();
    let read = |from: usize| std::array::from_fn(|lane| f32::from_le_bytes(values[from + lane]));
    (read(0), read(LANES))
}

/// The best so far, with all that equal the last of them.
struct Best {
    limit: usize,
    kept: Vec<Scored>,
    shrink_at: usize,
    least: f32,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            shrink_at: limit.saturating_mul(2),
            least: f32::MIN,
        }
    }

    #[inline(always)]
    fn offer(&mut self, score: f32, part: u32, ordinal: u32) {
        if score >= self.least {
            self.kept.push((score, part, ordinal));
            if self.kept.len() >= self.shrink_at {
                self.shrink();
            }
        }
    }

    #[inline(never)]
    fn shrink(&mut self) {
        let Some(last) = self
            .limit
            .checked_sub(1)
            .filter(|last| *last < self.kept.len())
        else {
            return;
        };
        let (_, edge, _) = self
            .kept
            .select_nth_unstable_by(last, |left, right| right.0.total_cmp(&left.0));
        let least = edge.0;
        self.least = least;
        self.kept.retain(|(score, ..)| *score >= least);
        // Many equal scores are kept; twice their number keeps the work linear on the whole.
        self.shrink_at = self.kept.len().max(self.limit).saturating_mul(2);
    }

    fn finish(mut self) -> Vec<Scored> {
        self.shrink();
        self.kept
    }
}

/// The best `limit` candidates by their rows and all that equal the last of them, in no order.
pub(crate) fn rescore(
    parts: &[Part<'_>],
    wanted: &Wanted,
    candidates: &[Scored],
    limit: usize,
) -> Vec<Scored> {
    let mut best = Best::new(limit);
    for (_, part, ordinal) in candidates {
        let codes = &parts[*part as usize].codes;
        // SAFETY: the portable kernel needs no features.
        let dot = unsafe { Portable::dot(codes.row(*ordinal), &wanted.coded) };
        // Adding 0 makes a negative zero a zero: equal scores must be the same number.
        best.offer(
            dot as f32 * (codes.scale(*ordinal) * wanted.unit) + 0.0,
            *part,
            *ordinal,
        );
    }
    best.finish()
}

//! The scan: a first look at every allowed code, a second at those that may be among the best, rows for the survivors.
//!
//! Nothing is stored for a passage that is scanned. What is found does not depend on the number of cores: the pieces are
//! the same, and all but the first begin with the threshold that the first one found.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{self, Kernel, Task};
use super::query::{Probe, Wanted};
use super::{Codes, LANES, block_bytes, words};
use crate::best::{Best, Scored};
use crate::bits::Bits;

/// Up to so many allowed passages the 8-bit rows are scored one and all: the result is exact at that precision.
const EXACT_UP_TO: usize = 4_096;
/// Survivors of the scan for each result wanted, and in any case so many: 300 for ten results, which finds 0.992 of the ten
/// nearest of 100,000 made vectors with the spectrum of real embeddings, where 150 find 0.979.
const SURVIVORS_PER_RESULT: usize = 6;
const SURVIVORS: usize = 240;
/// Bytes of codes in one piece of work: about a tenth of a millisecond.
const PIECE_BYTES: usize = 4 << 20;
/// How far ahead of the scan codes are asked for: the processor's own prefetching ends at each page.
const AHEAD_BYTES: usize = 4_096;
/// How many rows ahead of the rescoring rows are asked for.
const AHEAD_ROWS: usize = 8;
const CACHE_LINE: usize = 64;

/// A segment of a search: its vectors and what of them may be seen.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub codes: Codes<'a>,
    pub allowed: &'a Bits,
}

/// The passages whose rows decide which are the best `limit`; at most so many as `rows` says, where it says so, or `limit`.
pub(crate) fn candidates(
    parts: &[Part<'_>],
    wanted: &Wanted,
    limit: usize,
    rows: Option<usize>,
) -> Vec<Scored> {
    let allowed: usize = parts.iter().map(|part| part.allowed.count()).sum();
    let rows = rows.map(|rows| rows.max(limit));
    if allowed <= rows.unwrap_or(EXACT_UP_TO) {
        let each = parts.iter().enumerate();
        let all = each.flat_map(|(number, part)| {
            let ordinals = part.allowed.iter();
            ordinals.map(move |at| (f32::MAX, number as u32, at))
        });
        return all.collect();
    }
    let survivors = limit
        .saturating_mul(SURVIVORS_PER_RESULT)
        .saturating_add(SURVIVORS);
    let survivors = rows.unwrap_or(survivors);
    let probes: Vec<Probe> = parts
        .iter()
        .map(|part| Probe::new(&wanted.rotated, &part.codes))
        .collect();
    let pieces = pieces(parts, &probes);
    let Some((first, rest)) = pieces.split_first() else {
        return Vec::new();
    };
    let mut best = scan(first, Best::new(survivors, f32::MIN));
    let least = best.least();
    let found = |piece: &Piece<'_>| scan(piece, Best::new(survivors, least)).finish();
    // Handing work over costs more than it brings where there is little of it or nobody to take it.
    let alone = rest.len() < 2 || rayon::current_num_threads() == 1;
    let more: Vec<Vec<Scored>> = if alone {
        rest.iter().map(found).collect()
    } else {
        rest.par_iter().map(found).collect()
    };
    for (score, part, ordinal) in more.into_iter().flatten() {
        best.offer(score, part, ordinal);
    }
    let mut survivors = best.finish();
    // Rows are read in the order of the file: three times faster than in any other.
    survivors.sort_unstable_by_key(|(_, part, ordinal)| (*part, *ordinal));
    survivors
}

/// Blocks of one part that are scanned in one go.
struct Piece<'a> {
    part: &'a Part<'a>,
    probe: &'a Probe,
    number: u32,
    blocks: Range<usize>,
}

fn pieces<'a>(parts: &'a [Part<'a>], probes: &'a [Probe]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for ((number, part), probe) in (0u32..).zip(parts).zip(probes) {
        let size = block_bytes(part.codes.dimension);
        let (blocks, step) = (part.codes.bits.len() / size, (PIECE_BYTES / size).max(1));
        pieces.extend((0..blocks).step_by(step).map(|start| Piece {
            part,
            probe,
            number,
            blocks: start..(start + step).min(blocks),
        }));
    }
    pieces
}

fn scan(piece: &Piece<'_>, best: Best) -> Best {
    kernel::run(Scan { piece, best })
}

struct Scan<'a> {
    piece: &'a Piece<'a>,
    best: Best,
}

impl Task for Scan<'_> {
    type Output = Best;

    #[inline(always)]
    unsafe fn run<K: Kernel>(mut self) -> Best {
        let Piece {
            part,
            probe,
            number,
            blocks,
        } = self.piece;
        let size = block_bytes(part.codes.dimension);
        let factors_at = words(part.codes.dimension) * 64;
        let codes = &part.codes.bits[blocks.start * size..blocks.end * size];
        for (at, block) in blocks.clone().zip(codes.chunks_exact(size)) {
            let mask = lanes_of(part.allowed, at);
            if mask == 0 {
                continue;
            }
            for line in (0..size).step_by(CACHE_LINE) {
                K::prefetch(block.as_ptr().wrapping_add(AHEAD_BYTES + line));
            }
            let (weights, offsets) = factors(&block[factors_at..]);
            // SAFETY: by the caller.
            let differences = unsafe { K::differences(block, &probe.signs) };
            let mut bounds = [0.0f32; LANES];
            for lane in 0..LANES {
                bounds[lane] = probe.bound(differences[lane], weights[lane], offsets[lane]);
            }
            // Mostly none is left: one comparison of the greatest tells.
            let greatest = bounds.iter().fold(f32::MIN, |most, bound| most.max(*bound));
            if greatest < self.best.least() {
                continue;
            }
            let mut left = 0u8;
            for (lane, bound) in bounds.into_iter().enumerate() {
                left |= u8::from(bound >= self.best.least()) << lane;
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
                    let ordinal = (at * LANES + lane) as u32;
                    self.best.offer(estimate, *number, ordinal);
                }
            }
        }
        self.best
    }
}

/// Which vectors of a block are allowed.
#[inline(always)]
fn lanes_of(allowed: &Bits, block: usize) -> u8 {
    const BLOCKS_PER_WORD: usize = 64 / LANES;
    let word = allowed.words().get(block / BLOCKS_PER_WORD).copied();
    (word.unwrap_or(0) >> (block % BLOCKS_PER_WORD * LANES)) as u8
}

/// The weights and offsets of a block.
#[inline(always)]
fn factors(bytes: &[u8]) -> ([f32; LANES], [f32; LANES]) {
    assert!(bytes.len() >= 2 * LANES * 4);
    // SAFETY: the bytes are there, and any bits are numbers.
    let words: [[u32; LANES]; 2] =
        unsafe { bytes.as_ptr().cast::<[[u32; LANES]; 2]>().read_unaligned() };
    words
        .map(|words| words.map(|word| f32::from_bits(u32::from_le(word))))
        .into()
}

/// The best `limit` candidates by their rows and all that equal the last of them, in no order.
pub(crate) fn rescore(
    parts: &[Part<'_>],
    wanted: &Wanted,
    candidates: &[Scored],
    limit: usize,
) -> Vec<Scored> {
    let best = Best::new(limit, f32::MIN);
    kernel::run(Rescore {
        parts,
        wanted,
        candidates,
        best,
    })
    .finish()
}

struct Rescore<'a> {
    parts: &'a [Part<'a>],
    wanted: &'a Wanted,
    candidates: &'a [Scored],
    best: Best,
}

impl Task for Rescore<'_> {
    type Output = Best;

    #[inline(always)]
    unsafe fn run<K: Kernel>(mut self) -> Best {
        let row = |(_, part, ordinal): &Scored| self.parts[*part as usize].codes.row(*ordinal);
        for (at, candidate) in self.candidates.iter().enumerate() {
            if let Some(next) = self.candidates.get(at + AHEAD_ROWS) {
                let next = row(next);
                for line in (0..next.len()).step_by(CACHE_LINE) {
                    K::prefetch(next[line..].as_ptr());
                }
            }
            // SAFETY: by the caller.
            let dot = unsafe { K::dot(row(candidate), &self.wanted.coded) };
            let (_, part, ordinal) = *candidate;
            let scale = self.parts[part as usize].codes.scale(ordinal);
            // Adding 0 makes a negative zero a zero: equal scores must be the same number.
            let score = dot as f32 * (scale * self.wanted.unit) + 0.0;
            self.best.offer(score, part, ordinal);
        }
        self.best
    }
}

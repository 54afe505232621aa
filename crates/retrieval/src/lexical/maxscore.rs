//! The best passages of a segment by BM25: MaxScore (H. Turtle, J. Flood: Query evaluation, strategies and optimizations,
//! 1995) over windows of passages.
//!
//! Words stand in descending order of the most that they can add to a score. Those at the end that together cannot lift a
//! passage to the threshold are not read for new passages: they are looked up for the passages that the others found and
//! that may still reach it. A passage's words are always added in the same order, so that its score has the same bits
//! whatever the threshold is and however the passages are spread over segments.

use std::ops::Range;

use tantivy::DocId;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::Bm25Weight;

use crate::best::Best;
use crate::bits::Bits;

/// Passages whose sums are kept at a time: 32 KiB, to stay in the processor's first cache.
const WINDOW: u32 = 1 << 13;
/// A search within a list for one passage costs about as much as reading this many of its passages.
const SEEK_COST: usize = 8;
/// More than what rounding can make of the difference between a sum of bounds and the sum of the scores below them.
const ROUNDING: f32 = 1.0 - 1e-5;

/// The passages of one word, read forwards.
pub(super) struct List<'a> {
    pub(super) block: BlockSegmentPostings,
    pub(super) weight: &'a Bm25Weight,
    /// The most that the word adds to a score.
    pub(super) bound: f32,
}

/// Sums of the passages of a window, used again for each.
pub(super) struct Window {
    start: DocId,
    end: DocId,
    sums: Vec<f32>,
    /// Passages with a sum.
    summed: Vec<u64>,
    /// Those of them that may be among the best.
    hopeful: Vec<u64>,
}

impl Window {
    pub(super) fn new() -> Self {
        let words = vec![0; WINDOW as usize / 64];
        Self {
            start: 0,
            end: 0,
            sums: vec![0.0; WINDOW as usize],
            summed: words.clone(),
            hopeful: words,
        }
    }

    fn enter(&mut self, range: Range<DocId>) {
        (self.start, self.end) = (range.start, range.end);
        for (sums, summed) in self.sums.chunks_exact_mut(64).zip(&mut self.summed) {
            if std::mem::take(summed) != 0 {
                sums.fill(0.0);
            }
        }
    }

    fn add(&mut self, ordinal: DocId, score: f32) {
        let at = (ordinal - self.start) as usize;
        self.sums[at] += score;
        self.summed[at / 64] |= 1 << (at % 64);
    }

    fn is_hopeful(&self, ordinal: DocId) -> bool {
        let at = (ordinal - self.start) as usize;
        self.hopeful[at / 64] & (1 << (at % 64)) != 0
    }

    /// The allowed passages with a sum are hopeful. The window begins at a word of the mask.
    fn hope(&mut self, mask: &Bits) {
        let allowed = &mask.words()[self.start as usize / 64..];
        let allowed = allowed.iter().copied().chain(std::iter::repeat(0));
        for ((hopeful, summed), allowed) in self.hopeful.iter_mut().zip(&self.summed).zip(allowed) {
            *hopeful = summed & allowed;
        }
    }

    /// Keeps those that reach the threshold with `rest` more; how many they are.
    fn keep_hope(&mut self, rest: f32, threshold: f32) -> usize {
        let mut kept = 0;
        for (hopeful, sums) in self.hopeful.iter_mut().zip(self.sums.chunks_exact(64)) {
            let mut left = *hopeful;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let is_kept = sums[bit as usize] + rest >= threshold;
                *hopeful &= !(u64::from(!is_kept) << bit);
                kept += usize::from(is_kept);
            }
        }
        kept
    }

    fn next_hopeful(&self, from: DocId) -> Option<DocId> {
        let at = (from - self.start) as usize;
        let mut number = at / 64;
        let mut left = self.hopeful.get(number)? & (u64::MAX << (at % 64));
        while left == 0 {
            number += 1;
            left = *self.hopeful.get(number)?;
        }
        Some(self.start + number as u32 * 64 + left.trailing_zeros())
    }
}

/// Offers the allowed passages that may be among the best. `lists` are in descending order of their bounds.
pub(super) fn offer_best(
    lists: &mut [List<'_>],
    lengths: &FieldNormReader,
    mask: &Bits,
    segment: u32,
    window: &mut Window,
    best: &mut Best,
) {
    let (rests, passages) = (rests(lists), lengths.num_docs());
    let allowed = mask.count();
    let mut next = mask.next(0);
    while let Some(first) = next.filter(|first| *first < passages) {
        let start = first / 64 * 64;
        let end = start.saturating_add(WINDOW).min(passages);
        let threshold = threshold(best);
        let leading = rests.partition_point(|rest| *rest >= threshold);
        if leading == 0 {
            return;
        }
        let (leading, others) = lists.split_at_mut(leading.min(lists.len()));
        window.enter(start..end);
        for list in leading.iter_mut() {
            if allowed.saturating_mul(SEEK_COST) < list.block.doc_freq() as usize {
                list.seek_each(lengths, window, |from, _| mask.next(from));
            } else {
                list.read(lengths, window, |_, _| true);
            }
        }
        window.hope(mask);
        let mut hopeful = window.keep_hope(rests[leading.len()], threshold);
        for (list, rest) in others.iter_mut().zip(&rests[leading.len() + 1..]) {
            if hopeful == 0 {
                break;
            }
            let read = list.block.doc_freq() as usize / (passages.div_ceil(WINDOW)) as usize;
            if hopeful.saturating_mul(SEEK_COST) < read {
                list.seek_each(lengths, window, |from, window| window.next_hopeful(from));
            } else {
                list.read(lengths, window, |ordinal, window| {
                    window.is_hopeful(ordinal)
                });
            }
            hopeful = window.keep_hope(*rest, threshold);
        }
        let mut found = window.next_hopeful(start);
        while let Some(ordinal) = found {
            best.offer(window.sums[(ordinal - start) as usize], segment, ordinal);
            found = window.next_hopeful(ordinal + 1);
        }
        best.settle();
        next = mask.next(end);
    }
}

/// What a passage must be able to reach.
fn threshold(best: &Best) -> f32 {
    if best.least() > 0.0 {
        best.least() * ROUNDING
    } else {
        f32::MIN
    }
}

/// What the words from each on can add at most; of those from the end on nothing.
fn rests(lists: &[List<'_>]) -> Vec<f32> {
    let mut rests = vec![0.0; lists.len() + 1];
    for (at, list) in lists.iter().enumerate().rev() {
        rests[at] = rests[at + 1] + list.bound;
    }
    rests
}

impl List<'_> {
    /// Adds the word's part to the sums of the window's passages that are wanted, reading all of the list there.
    fn read(
        &mut self,
        lengths: &FieldNormReader,
        window: &mut Window,
        is_wanted: impl Fn(DocId, &Window) -> bool,
    ) {
        let mut at = self.block.seek(window.start);
        while at < self.block.docs().len() {
            let block = self.block.docs().iter().zip(self.block.freqs()).skip(at);
            for (ordinal, frequency) in block {
                if *ordinal >= window.end {
                    return;
                }
                if is_wanted(*ordinal, window) {
                    let score = self
                        .weight
                        .score(lengths.fieldnorm_id(*ordinal), *frequency);
                    window.add(*ordinal, score);
                }
            }
            self.block.advance();
            at = 0;
        }
    }

    /// Adds the word's part to the sums of the wanted passages, each sought in the list: the two leap over each other.
    fn seek_each(
        &mut self,
        lengths: &FieldNormReader,
        window: &mut Window,
        next_wanted: impl Fn(DocId, &Window) -> Option<DocId>,
    ) {
        let mut next = next_wanted(window.start, window);
        while let Some(wanted) = next.filter(|wanted| *wanted < window.end) {
            let at = self.block.seek(wanted);
            let ordinal = self.block.doc(at);
            if ordinal == wanted {
                let score = self
                    .weight
                    .score(lengths.fieldnorm_id(ordinal), self.block.freq(at));
                window.add(ordinal, score);
                next = next_wanted(ordinal + 1, window);
            } else {
                // The list's end is above every window.
                next = next_wanted(ordinal.min(window.end), window);
            }
        }
    }
}

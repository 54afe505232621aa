//! The best so far of all segments of a search, and the threshold that the rest must reach.

/// More than what rounding can make of a difference between a sum of bounds and the sum of scores below them.
const ROUNDING: f32 = 1.0 - 1e-5;

/// The best so far, with all that equal the last of them: the caller breaks ties, it knows the passages' ids.
pub(super) struct Best {
    limit: usize,
    /// (score, segment, ordinal).
    kept: Vec<(f32, u32, u32)>,
    settle_at: usize,
    least: f32,
    segment: u32,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            settle_at: limit.saturating_mul(2),
            least: f32::MIN,
            segment: 0,
        }
    }

    /// What is offered from here on is of this segment.
    pub(super) fn enter(&mut self, segment: u32) {
        self.segment = segment;
    }

    pub(super) fn offer(&mut self, score: f32, ordinal: u32) {
        if score < self.least {
            return;
        }
        self.kept.push((score, self.segment, ordinal));
        if self.kept.len() >= self.settle_at {
            self.settle();
        }
    }

    /// Drops what is not among the best, which raises the threshold.
    pub(super) fn settle(&mut self) {
        if self.limit == 0 {
            self.kept.clear();
        } else if self.kept.len() > self.limit {
            let descending =
                |left: &(f32, u32, u32), right: &(f32, u32, u32)| right.0.total_cmp(&left.0);
            let (_, last, _) = self.kept.select_nth_unstable_by(self.limit - 1, descending);
            let least = last.0;
            self.least = least;
            self.kept.retain(|(score, ..)| *score >= least);
        }
        // Many equal scores are kept; twice their number keeps the work linear on the whole.
        self.settle_at = self.kept.len().max(self.limit).saturating_mul(2);
    }

    /// Passages whose bound is below this cannot be among the best.
    pub(super) fn threshold(&self) -> f32 {
        if self.least > 0.0 {
            self.least * ROUNDING
        } else {
            f32::MIN
        }
    }

    /// (score, segment, ordinal), in no order.
    pub(super) fn finish(mut self) -> Vec<(f32, u32, u32)> {
        self.settle();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_and_their_equals_are_kept(
            scores in prop::collection::vec(1u8..12, 0..200),
            limit in 1usize..20,
        ) {
            let mut best = Best::new(limit);
            for (ordinal, score) in scores.iter().enumerate() {
                if ordinal % 50 == 0 {
                    best.settle();
                    best.enter(ordinal as u32 / 50);
                }
                best.offer(f32::from(*score), ordinal as u32);
                prop_assert!(best.threshold() < best.least || best.least < 0.0);
            }
            let mut sorted: Vec<(u8, usize)> = scores.iter().copied().zip(0..).collect();
            sorted.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            let least = sorted.get(limit - 1).map_or(0, |last| last.0);
            let wanted = sorted.iter().filter(|(score, _)| *score >= least);
            let wanted: Vec<_> = wanted.map(|(score, at)| (f32::from(*score), *at as u32 / 50, *at as u32)).collect();
            let mut found = best.finish();
            found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.2.cmp(&right.2)));
            prop_assert_eq!(found, wanted);
        }
    }
}

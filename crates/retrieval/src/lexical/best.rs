//! The best so far of one segment, at a threshold that tantivy may prune by.

/// Low bits of a score's mantissa that are rounded away: a sum's last bits depend on the order of the terms, which
/// differs from one spread over segments to the next, and equal passages must score equal.
const NOISE_BITS: u32 = 7;
/// More than what the rounding can lift a score by.
const ROUNDING: f32 = 1.0 + 1e-4;

/// The best so far, with all that equal the last of them: the caller breaks ties, it knows the passages' ids.
pub(super) struct Best {
    limit: usize,
    kept: Vec<(f32, u32)>,
    shrink_at: usize,
    least: f32,
    slack: f32,
}

impl Best {
    /// `slack` (1 or more): how far a passage may score above the maximum that tantivy stores for its block.
    pub(super) fn new(limit: usize, slack: f32) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            shrink_at: limit.saturating_mul(2),
            least: f32::MIN,
            slack: slack * ROUNDING,
        }
    }

    pub(super) fn offer(&mut self, score: f32, ordinal: u32) {
        let score = rounded(score);
        if score < self.least {
            return;
        }
        self.kept.push((score, ordinal));
        if self.kept.len() >= self.shrink_at {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.kept
            .sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        let last = self.limit.checked_sub(1).and_then(|at| self.kept.get(at));
        if let Some((least, _)) = last.copied() {
            self.least = least;
            let end = self.kept.partition_point(|(score, _)| *score >= least);
            self.kept.truncate(end);
        }
        // Many equal scores are kept; twice their number keeps the sorting linear on the whole.
        self.shrink_at = self.kept.len().max(self.limit).saturating_mul(2);
    }

    /// Passages whose bound is not above this cannot be among the best.
    pub(super) fn threshold(&self) -> f32 {
        if self.least > 0.0 {
            self.least / self.slack
        } else {
            f32::MIN
        }
    }

    pub(super) fn finish(mut self) -> Vec<(f32, u32)> {
        self.shrink();
        self.kept
    }
}

fn rounded(score: f32) -> f32 {
    let half = 1u32 << (NOISE_BITS - 1);
    f32::from_bits((score.to_bits() + half) & !((1 << NOISE_BITS) - 1))
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
            let mut best = Best::new(limit, 1.0);
            for (ordinal, score) in scores.iter().enumerate() {
                best.offer(f32::from(*score), ordinal as u32);
                prop_assert!(best.threshold() < best.least || best.least < 0.0);
            }
            let mut sorted = scores.clone();
            sorted.sort_by(|left, right| right.cmp(left));
            let least = sorted.get(limit - 1).copied().unwrap_or(0);
            let wanted = scores.iter().filter(|score| **score >= least).count();
            prop_assert_eq!(best.finish().len(), wanted);
        }

        #[test]
        fn rounding_moves_a_score_by_less_than_the_slack(score in 1e-6f32..1e6) {
            let ratio = rounded(score) / score;
            prop_assert!(ratio < ROUNDING && ratio > 1.0 / ROUNDING);
            prop_assert_eq!(rounded(rounded(score)), rounded(score));
        }
    }
}

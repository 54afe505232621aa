//! The best so far of a search, and what the rest must reach.

/// A passage with its score: score, segment of the search, ordinal within the segment.
pub(crate) type Scored = (f32, u32, u32);

/// The best so far, with all that equal the last of them: the caller breaks ties, it knows the passages' ids.
pub(crate) struct Best {
    limit: usize,
    kept: Vec<Scored>,
    settle_at: usize,
    least: f32,
}

impl Best {
    /// What scores below `least` is not wanted.
    pub(crate) fn new(limit: usize, least: f32) -> Self {
        Self {
            limit,
            kept: Vec::new(),
            settle_at: limit.saturating_mul(2),
            least,
        }
    }

    /// What scores below this is not among the best.
    #[inline(always)]
    pub(crate) fn least(&self) -> f32 {
        self.least
    }

    #[inline(always)]
    pub(crate) fn offer(&mut self, score: f32, segment: u32, ordinal: u32) {
        if score >= self.least {
            self.kept.push((score, segment, ordinal));
            if self.kept.len() >= self.settle_at {
                self.settle();
            }
        }
    }

    /// Drops what is not among the best, which raises the least.
    #[inline(never)]
    pub(crate) fn settle(&mut self) {
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
        self.settle_at = self.kept.len().max(self.limit).saturating_mul(2);
    }

    /// In no order.
    pub(crate) fn finish(mut self) -> Vec<Scored> {
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
            let mut best = Best::new(limit, f32::MIN);
            for (ordinal, score) in scores.iter().enumerate() {
                if ordinal % 50 == 0 {
                    best.settle();
                }
                best.offer(f32::from(*score), ordinal as u32 / 50, ordinal as u32);
            }
            let mut sorted: Vec<(u8, usize)> = scores.iter().copied().zip(0..).collect();
            sorted.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            let least = sorted.get(limit - 1).map_or(0, |last| last.0);
            let wanted = sorted.iter().filter(|(score, _)| *score >= least);
            let wanted: Vec<_> = wanted
                .map(|(score, at)| (f32::from(*score), *at as u32 / 50, *at as u32))
                .collect();
            let mut found = best.finish();
            found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.2.cmp(&right.2)));
            prop_assert_eq!(found, wanted);
        }
    }
}

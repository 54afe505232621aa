//! Reciprocal rank fusion: Σ 1 / (k + rank) over the rankings, ranks from 1.
//!
//! Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
//! Methods", SIGIR 2009, with its k = 60.

use std::collections::HashMap;

/// The constant k of the formula.
pub const RECIPROCAL_RANK_K: f32 = 60.0;

/// A passage by segment and ordinal.
pub(crate) type Place = (u32, u32);

/// A fused passage: its place, its score, its rank in each ranking, from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fused {
    pub place: Place,
    pub score: f32,
    pub ranks: [Option<u32>; 2],
}

/// Fuses two rankings; best first. Ties stay to be broken by the caller, who knows the passages' ids.
pub(crate) fn fuse(rankings: [&[Place]; 2]) -> Vec<Fused> {
    let mut fused: HashMap<Place, Fused> = HashMap::new();
    for (which, ranking) in rankings.into_iter().enumerate() {
        for (number, place) in ranking.iter().enumerate() {
            let rank = number as u32 + 1;
            let entry = fused.entry(*place).or_insert(Fused {
                place: *place,
                score: 0.0,
                ranks: [None; 2],
            });
            entry.score += 1.0 / (RECIPROCAL_RANK_K + rank as f32);
            entry.ranks[which] = Some(rank);
        }
    }
    fused.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rankings_count() {
        let mut fused = fuse([&[(0, 1), (0, 2)], &[(0, 2), (0, 3)]]);
        fused.sort_by(|left, right| right.score.total_cmp(&left.score));
        assert_eq!(fused[0].place, (0, 2));
        assert_eq!(fused[0].ranks, [Some(2), Some(1)]);
        assert!((fused[0].score - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-7);
        assert_eq!(fused.len(), 3);
    }
}

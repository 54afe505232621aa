//! Which segments to merge: size-tiered, as in O'Neil et al., "The log-structured merge-tree", 1996, and Cassandra's
//! size-tiered strategy; and any segment with many or old deaths.
//!
//! Tiers grow by four: a passage is rewritten once in each, so that `n` passages uploaded one by one cost
//! `n · log₄(n)` writes, and at most three segments stay in a tier.

use crate::manifest::ManifestSegment;
use crate::sync::segments::SEGMENT_PASSAGES;

/// So many segments of a tier are merged into one.
const TIER_SEGMENTS: usize = 4;
/// The lowest tier holds up to this many passages.
const TIER_PASSAGES: u32 = 16;
/// A segment is rewritten when more than this share of its passages is dead, in percent.
const DEAD_PERCENT: u64 = 20;
/// Deleted text leaves the bucket at the first compaction after this time, however little it is.
const DEAD_MS: u64 = 24 * 3600 * 1000;
/// Passages that one merge takes in: bounds the time of the step. Whatever is above waits for the next merge.
const MERGE_PASSAGES: u32 = 3 * SEGMENT_PASSAGES as u32;

/// Positions of the segments to merge next, ascending; empty when all is well.
pub(super) fn choose(segments: &[ManifestSegment], now_ms: u64) -> Vec<usize> {
    let mut chosen = crowded_tier(segments);
    for (at, segment) in segments.iter().enumerate() {
        if must_be_rewritten(segment, now_ms) && !chosen.contains(&at) {
            chosen.push(at);
        }
    }
    let mut sum = 0;
    let mut fits = |at: &usize| {
        sum += segments[*at].live_passages();
        sum <= MERGE_PASSAGES
    };
    // At least one, or a segment above the bound would never be rewritten.
    let count = chosen.iter().take_while(|at| fits(at)).count().max(1);
    chosen.truncate(count);
    chosen.sort_unstable();
    chosen
}

/// The segments of the lowest tier that has too many.
fn crowded_tier(segments: &[ManifestSegment]) -> Vec<usize> {
    let mut tiers: [Vec<usize>; 16] = std::array::from_fn(|_| Vec::new());
    for (at, segment) in segments.iter().enumerate() {
        // A segment that is more than half of a full one stays as it is.
        if (segment.live_passages() as usize) <= SEGMENT_PASSAGES / 2 {
            tiers[tier(segment.live_passages())].push(at);
        }
    }
    let crowded = tiers.into_iter().find(|tier| tier.len() >= TIER_SEGMENTS);
    crowded.unwrap_or_default()
}

fn tier(passages: u32) -> usize {
    let mut bound = TIER_PASSAGES;
    let mut tier = 0;
    while passages > bound && tier < 15 {
        bound = bound.saturating_mul(TIER_SEGMENTS as u32);
        tier += 1;
    }
    tier
}

fn must_be_rewritten(segment: &ManifestSegment, now_ms: u64) -> bool {
    let dead = u64::from(segment.dead_passages) * 100;
    let much = dead > u64::from(segment.passages) * DEAD_PERCENT;
    let old = segment.dead_since_ms > 0 && now_ms.saturating_sub(segment.dead_since_ms) >= DEAD_MS;
    much || (old && !segment.dead_documents.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(passages: u32, dead: u32, dead_since_ms: u64) -> ManifestSegment {
        ManifestSegment {
            key: String::new(),
            sha256: String::new(),
            bytes: 0,
            passages,
            documents: passages,
            dead_documents: (0..dead).collect(),
            dead_passages: dead,
            dead_since_ms,
            first: Vec::new(),
        }
    }

    #[test]
    fn segments_are_chosen_by_size_and_by_their_dead() {
        let check = |segments: &[(u32, u32, u64)], now_ms: u64, expected: &[usize]| {
            let segments: Vec<_> = segments
                .iter()
                .map(|(passages, dead, since)| segment(*passages, *dead, *since))
                .collect();
            assert_eq!(choose(&segments, now_ms), expected, "{segments:?}");
        };
        check(&[], 0, &[]);
        check(&[(5, 0, 0); 3], 0, &[]);
        check(&[(5, 0, 0); 4], 0, &[0, 1, 2, 3]);
        // Different sizes do not meet.
        check(&[(5, 0, 0), (50, 0, 0), (500, 0, 0), (5_000, 0, 0)], 0, &[]);
        // The lowest crowded tier first.
        let mut mixed = vec![(5_000, 0, 0); 4];
        mixed.extend([(3, 0, 0); 4]);
        check(&mixed, 0, &[4, 5, 6, 7]);
        // Full segments stay, however many.
        check(&[(20_000, 0, 0); 9], 0, &[]);
        // Many dead, or few that died long ago.
        check(&[(20_000, 4_001, 1)], 1, &[0]);
        check(&[(20_000, 4_000, 1)], 1, &[]);
        check(&[(20_000, 1, 1)], DEAD_MS, &[]);
        check(&[(20_000, 1, 1)], DEAD_MS + 1, &[0]);
        // One merge takes in no more than it may.
        check(&[(20_000, 5_000, 1); 5], 1, &[0, 1, 2, 3]);
        check(&[(90_000, 20_000, 1); 2], 1, &[0]);
    }

    proptest! {
        /// What a merge leaves is settled after few rounds, and small segments do not pile up.
        #[test]
        fn uploads_end_in_few_segments(uploads in prop::collection::vec(1u32..40, 1..300)) {
            let mut segments = Vec::new();
            for passages in &uploads {
                segments.push(segment(*passages, 0, 0));
                for round in 0.. {
                    let chosen = choose(&segments, 0);
                    if chosen.is_empty() {
                        break;
                    }
                    prop_assert!(round < 10);
                    let sum = chosen.iter().map(|at| segments[*at].passages).sum();
                    let mut at = 0;
                    segments.retain(|_| {
                        at += 1;
                        !chosen.contains(&(at - 1))
                    });
                    segments.push(segment(sum, 0, 0));
                }
            }
            let all: u32 = segments.iter().map(|segment| segment.passages).sum();
            prop_assert_eq!(all, uploads.iter().sum::<u32>());
            prop_assert!(segments.len() <= 3 * 7, "{} segments", segments.len());
        }
    }
}

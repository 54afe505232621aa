//! What the scan finds, against an exact search.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::bits::Bits;

/// Deterministic pseudo-random vectors around a few centres, with a common mean as real embeddings have.
fn vectors(count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut state = 42u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f32 / (1u64 << 31) as f32) - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..50)
        .map(|_| (0..dimension).map(|_| next()).collect())
        .collect();
    (0..count)
        .map(|number| {
            let centre = &centres[number % centres.len()];
            let vector: Vec<f32> = centre
                .iter()
                .map(|value| value + 0.8 * next() + 0.2)
                .collect();
            normalised(&vector)
        })
        .collect()
}

/// Codes that own their bytes.
struct Stored {
    dimension: usize,
    centroid: Vec<f32>,
    encoded: Encoded,
    rotation: Rotation,
}

impl Stored {
    fn of(vectors: &[Vec<f32>], dimension: usize) -> Self {
        let mut encoder = Encoder::new(dimension);
        vectors.iter().for_each(|vector| encoder.push(vector));
        let encoded = encoder.finish();
        let (values, _) = encoded.centroid.as_chunks::<4>();
        Self {
            dimension,
            centroid: values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect(),
            encoded,
            rotation: Rotation::new(dimension),
        }
    }

    fn codes(&self) -> Codes<'_> {
        Codes {
            dimension: self.dimension,
            centroid: &self.centroid,
            bits: &self.encoded.bits,
            scales: &self.encoded.scales,
            rows: &self.encoded.rows,
        }
    }

    /// (score, ordinal), best first.
    fn search(&self, query: &[f32], allowed: &Bits, limit: usize) -> Vec<(f32, u32)> {
        let wanted = Wanted::new(query, &self.rotation);
        let parts = [Part {
            codes: self.codes(),
            allowed,
        }];
        let candidates = candidates(&parts, &wanted, limit, None);
        let found = rescore(&parts, &wanted, &candidates, limit);
        let mut found: Vec<(f32, u32)> = found
            .into_iter()
            .map(|(score, _, at)| (score, at))
            .collect();
        found.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        found
    }
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

#[test]
fn the_scan_finds_what_an_exact_search_finds() {
    for (dimension, step) in [(256, 120), (100, 300)] {
        let vectors = vectors(6_000, dimension);
        let stored = Stored::of(&vectors, dimension);
        let (mut found, mut wanted) = (0, 0);
        for query in vectors.iter().step_by(step) {
            let mut exact: Vec<(f32, u32)> = vectors
                .iter()
                .enumerate()
                .map(|(at, vector)| (dot(query, vector), at as u32))
                .collect();
            exact.sort_by(|left, right| right.0.total_cmp(&left.0));
            let got = stored.search(query, &Bits::all(6_000), 10);
            wanted += 10;
            found += exact[..10]
                .iter()
                .filter(|(_, at)| got.iter().any(|(_, other)| other == at))
                .count();
        }
        let recall = found as f64 / wanted as f64;
        assert!(recall > 0.97, "{dimension}: recall {recall}");
    }
}

proptest! {
    #[test]
    fn no_masked_passage_is_found(allowed_at in prop::collection::btree_set(0u32..300, 0..40), limit in 1usize..20) {
        static STORED: LazyLock<Stored> = LazyLock::new(|| Stored::of(&vectors(300, 64), 64));
        let stored = &*STORED;
        let mut allowed = Bits::none(300);
        allowed_at.iter().for_each(|at| allowed.add(*at));
        let found = stored.search(&vectors(1, 64)[0], &allowed, limit);
        prop_assert!(found.len() >= limit.min(allowed_at.len()));
        let edge = found.get(limit - 1).map(|last| last.0);
        prop_assert!(found.iter().skip(limit).all(|(score, _)| Some(*score) == edge));
        prop_assert!(found.iter().all(|(_, at)| allowed_at.contains(at)));
        prop_assert!(found.is_sorted_by(|left, right| left.0 >= right.0));
    }
}

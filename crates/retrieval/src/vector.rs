//! Vectors at two precisions: 1 bit per component to scan, 8 bits to rescore.
//!
//! A stored vector is normalised, so that the dot product is the cosine. Its 8-bit code is `round(127 · x / max|x|)` with
//! the scale `max|x| / 127` beside it. Its 1-bit code is the sign of `x − c`, where `c` is the mean of the segment's vectors:
//! real embeddings share a large mean, and without taking it away most signs would agree.

use crate::bits::Bits;

/// Up to so many allowed passages the 8-bit codes are scored one and all: the result is exact at that precision.
const EXACT_UP_TO: usize = 4_096;
/// Survivors of the 1-bit scan for each result wanted, and at least so many.
const SURVIVORS_PER_RESULT: usize = 20;
const SURVIVORS: usize = 400;

/// Bytes of the 1-bit code of a vector: whole 64-bit words.
pub(crate) fn bit_bytes(dimension: usize) -> usize {
    dimension.div_ceil(64) * 8
}

/// Bytes of the 8-bit row of a vector: a 32-bit scale, then one byte for each component.
pub(crate) fn row_bytes(dimension: usize) -> usize {
    4 + dimension
}

/// The vector at length 1; a vector of zeros stays.
pub(crate) fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 && length.is_finite() {
        vector.iter().map(|value| value / length).collect()
    } else {
        vec![0.0; vector.len()]
    }
}

/// The mean of vectors.
pub(crate) fn mean(vectors: &[Vec<f32>], dimension: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; dimension];
    for vector in vectors {
        for (total, value) in sum.iter_mut().zip(vector) {
            *total += value;
        }
    }
    let count = vectors.len().max(1) as f32;
    sum.into_iter().map(|total| total / count).collect()
}

/// Appends the 8-bit row of a vector.
pub(crate) fn push_row(out: &mut Vec<u8>, vector: &[f32]) {
    let largest = vector
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let scale = largest / 127.0;
    out.extend_from_slice(&scale.to_le_bytes());
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    out.extend(
        vector
            .iter()
            .map(|value| (value * factor).round() as i8 as u8),
    );
}

/// The vector of an 8-bit row.
pub(crate) fn read_row(row: &[u8]) -> Vec<f32> {
    let scale = row_scale(row);
    row[4..]
        .iter()
        .map(|code| f32::from(*code as i8) * scale)
        .collect()
}

fn row_scale(row: &[u8]) -> f32 {
    f32::from_le_bytes([row[0], row[1], row[2], row[3]])
}

/// Appends the 1-bit code of a vector.
pub(crate) fn push_bits(out: &mut Vec<u8>, vector: &[f32], mean: &[f32]) {
    for (values, means) in vector.chunks(64).zip(mean.chunks(64)) {
        let mut word = 0u64;
        for (bit, (value, mean)) in values.iter().zip(means).enumerate() {
            word |= u64::from(value > mean) << bit;
        }
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// The vectors of a segment, as slices of its file.
pub(crate) struct Codes<'a> {
    pub dimension: usize,
    pub mean: &'a [f32],
    pub rows: &'a [u8],
    pub bits: &'a [u8],
}

/// The best `limit` allowed passages for a normalised query and all that equal the last of them: (score, ordinal), best
/// first, ties by ordinal.
pub(crate) fn search(
    codes: &Codes<'_>,
    query: &[f32],
    allowed: &Bits,
    limit: usize,
) -> Vec<(f32, u32)> {
    let candidates: Vec<u32> = if allowed.count() <= EXACT_UP_TO {
        allowed.iter().collect()
    } else {
        survivors(
            codes,
            query,
            allowed,
            limit.saturating_mul(SURVIVORS_PER_RESULT).max(SURVIVORS),
        )
    };
    let mut scored: Vec<(f32, u32)> = candidates
        .into_iter()
        .map(|ordinal| (score(codes, query, ordinal), ordinal))
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    if let Some((edge, _)) = limit.checked_sub(1).and_then(|at| scored.get(at)).copied() {
        scored.truncate(scored.partition_point(|(score, _)| score.total_cmp(&edge).is_ge()));
    }
    scored
}

fn score(codes: &Codes<'_>, query: &[f32], ordinal: u32) -> f32 {
    let size = row_bytes(codes.dimension);
    let row = &codes.rows[ordinal as usize * size..][..size];
    // Eight sums side by side let the compiler use vector registers.
    let mut sums = [0.0f32; 8];
    let (values, rest) = query.as_chunks::<8>();
    let (stored, stored_rest) = row[4..].as_chunks::<8>();
    for (values, stored) in values.iter().zip(stored) {
        for lane in 0..8 {
            sums[lane] += values[lane] * f32::from(stored[lane] as i8);
        }
    }
    let tail: f32 = rest
        .iter()
        .zip(stored_rest)
        .map(|(value, code)| value * f32::from(*code as i8))
        .sum();
    // Adding 0 makes a negative zero a zero: equal scores must be the same number.
    (sums.iter().sum::<f32>() + tail) * row_scale(row) + 0.0
}

/// The allowed passages whose 1-bit codes differ least from the query's.
fn survivors(codes: &Codes<'_>, query: &[f32], allowed: &Bits, count: usize) -> Vec<u32> {
    let mut wanted = Vec::with_capacity(bit_bytes(codes.dimension));
    push_bits(&mut wanted, query, codes.mean);
    let (wanted, _) = wanted.as_chunks::<8>();
    let size = bit_bytes(codes.dimension);
    // Distances are small whole numbers: counting them finds the cut without sorting.
    let mut histogram = vec![0usize; codes.dimension + 1];
    let mut distances = Vec::with_capacity(allowed.count());
    for ordinal in allowed.iter() {
        let (code, _) = codes.bits[ordinal as usize * size..][..size].as_chunks::<8>();
        let distance: u32 = code
            .iter()
            .zip(wanted)
            .map(|(left, right)| {
                (u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right)).count_ones()
            })
            .sum();
        let distance = (distance as usize).min(codes.dimension);
        histogram[distance] += 1;
        distances.push((distance, ordinal));
    }
    let mut sum = 0;
    let cut = histogram
        .iter()
        .position(|more| {
            sum += more;
            sum >= count
        })
        .unwrap_or(codes.dimension);
    distances
        .into_iter()
        .filter(|(distance, _)| *distance <= cut)
        .map(|(_, ordinal)| ordinal)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    fn dot(left: &[f32], right: &[f32]) -> f32 {
        left.iter()
            .zip(right)
            .map(|(left, right)| left * right)
            .sum()
    }

    #[test]
    fn the_scan_finds_what_an_exact_search_finds() {
        let dimension = 256;
        let stored = vectors(6_000, dimension);
        let mean = mean(&stored, dimension);
        let (mut rows, mut bits) = (Vec::new(), Vec::new());
        for vector in &stored {
            push_row(&mut rows, vector);
            push_bits(&mut bits, vector, &mean);
        }
        let codes = Codes {
            dimension,
            mean: &mean,
            rows: &rows,
            bits: &bits,
        };
        let mut allowed = Bits::none(6_000);
        allowed.add_range(0..6_000);
        let (mut found, mut wanted) = (0, 0);
        for query in stored.iter().step_by(60) {
            let mut exact: Vec<(f32, u32)> = stored
                .iter()
                .enumerate()
                .map(|(at, vector)| (dot(query, vector), at as u32))
                .collect();
            exact.sort_by(|left, right| right.0.total_cmp(&left.0));
            let got = search(&codes, query, &allowed, 10);
            wanted += 10;
            found += exact[..10]
                .iter()
                .filter(|(_, at)| got.iter().any(|(_, other)| other == at))
                .count();
        }
        let recall = found as f64 / wanted as f64;
        assert!(recall > 0.97, "recall {recall}");
    }

    proptest! {
        #[test]
        fn eight_bits_keep_a_vector(values in prop::collection::vec(-10.0f32..10.0, 1..200)) {
            let vector = normalised(&values);
            let mut row = Vec::new();
            push_row(&mut row, &vector);
            prop_assert_eq!(row.len(), row_bytes(vector.len()));
            let largest = vector.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            for (left, right) in vector.iter().zip(read_row(&row)) {
                prop_assert!((left - right).abs() <= largest / 127.0 * 0.5 + 1e-6);
            }
        }

        #[test]
        fn no_masked_passage_is_found(allowed_at in prop::collection::btree_set(0u32..300, 0..40), limit in 1usize..20) {
            let stored = vectors(300, 64);
            let mean = mean(&stored, 64);
            let (mut rows, mut bits) = (Vec::new(), Vec::new());
            for vector in &stored {
                push_row(&mut rows, vector);
                push_bits(&mut bits, vector, &mean);
            }
            let mut allowed = Bits::none(300);
            for at in &allowed_at {
                allowed.add_range(*at..at + 1);
            }
            let codes = Codes { dimension: 64, mean: &mean, rows: &rows, bits: &bits };
            let found = search(&codes, &stored[0], &allowed, limit);
            prop_assert!(found.len() >= limit.min(allowed_at.len()));
            let edge = found.get(limit - 1).map(|last| last.0);
            prop_assert!(found.iter().skip(limit).all(|(score, _)| Some(*score) == edge));
            prop_assert!(found.iter().all(|(_, at)| allowed_at.contains(at)));
            prop_assert!(found.is_sorted_by(|left, right| left.0 >= right.0));
        }
    }
}

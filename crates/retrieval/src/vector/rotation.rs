//! A fixed rotation of all vectors: it spreads what a few components carry over all of them, so that one sign says as
//! much as any other, and one scale for all components wastes nothing.
//!
//! Signs by chance and a Walsh–Hadamard transform, three times; where the dimension is no power of two, once over the
//! first and once over the last components. Source: Ailon and Chazelle, "The Fast Johnson–Lindenstrauss Transform", 2009;
//! for other dimensions as in RaBitQ's library (Gao and Long, SIGMOD 2024).

const ROUNDS: usize = 3;
/// Part of the format: other signs are another rotation.
const SEED: u64 = 0x6F75_7463_726F_7021;

/// The rotation of a dimension; the same in every program.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    /// For each transform the first component and the signs of its components.
    steps: Vec<(usize, Vec<f32>)>,
}

impl Rotation {
    pub(crate) fn new(dimension: usize) -> Self {
        let size = match dimension {
            0 => 0,
            _ => 1 << dimension.ilog2(),
        };
        let mut state = SEED;
        let mut step = |first: usize| {
            let signs = (0..size).map(|_| {
                if next(&mut state) >> 63 == 0 {
                    1.0
                } else {
                    -1.0
                }
            });
            (first, signs.collect())
        };
        let steps = (0..ROUNDS).flat_map(|_| {
            let last = (size < dimension).then(|| step(dimension - size));
            [Some(step(0)), last]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        });
        Self {
            steps: steps.collect(),
        }
    }

    /// Rotates a vector in place.
    pub(crate) fn apply(&self, vector: &mut [f32]) {
        for (first, signs) in &self.steps {
            let part = &mut vector[*first..][..signs.len()];
            change_signs(part, signs);
            transform(part);
        }
    }

    /// Turns a rotated vector back.
    pub(crate) fn revert(&self, vector: &mut [f32]) {
        for (first, signs) in self.steps.iter().rev() {
            let part = &mut vector[*first..][..signs.len()];
            transform(part);
            change_signs(part, signs);
        }
    }
}

/// SplitMix64. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn change_signs(values: &mut [f32], signs: &[f32]) {
    for (value, sign) in values.iter_mut().zip(signs) {
        *value *= sign;
    }
}

/// The Walsh–Hadamard transform at length 1; it is its own inverse. The length is a power of two.
fn transform(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (left, right) in left.iter_mut().zip(right) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    for value in values {
        *value *= scale;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rotation_keeps_lengths_and_can_be_reverted(values in prop::collection::vec(-1.0f32..1.0, 1..700)) {
            let rotation = Rotation::new(values.len());
            let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let mut turned = values.clone();
            rotation.apply(&mut turned);
            prop_assert!((length(&turned) - length(&values)).abs() < 1e-3);
            rotation.revert(&mut turned);
            for (left, right) in values.iter().zip(&turned) {
                prop_assert!((left - right).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn what_one_component_carries_is_spread() {
        for dimension in [384, 1000, 1024] {
            let mut vector = vec![0.0; dimension];
            vector[7] = 1.0;
            Rotation::new(dimension).apply(&mut vector);
            let largest = vector
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(
                largest < 6.0 / (dimension as f32).sqrt(),
                "{dimension}: {largest}"
            );
        }
    }
}

//! A query in the forms that the scan takes.

use super::kernel::{Coded, PLANES};
use super::rotation::Rotation;
use super::{Codes, normalised, row_bytes, words};

/// A query at length 1, rotated, and as whole numbers for the 8-bit rows.
pub(crate) struct Wanted {
    pub(super) rotated: Vec<f32>,
    /// The components in units of `unit`; zeros to a whole row.
    pub(super) coded: Coded,
    pub(super) unit: f32,
}

impl Wanted {
    pub(crate) fn new(query: &[f32], rotation: &Rotation) -> Self {
        let mut rotated = normalised(query);
        rotation.apply(&mut rotated);
        let size = row_bytes(rotated.len());
        // No sum of products with an 8-bit row may leave 32 bits.
        let most = (i64::from(i32::MAX) / (127 * size.max(1) as i64)).min(Coded::LARGEST.into());
        let unit = largest(&rotated) / most as f32;
        let factor = if unit > 0.0 { 1.0 / unit } else { 0.0 };
        let mut coded: Vec<i16> = rotated
            .iter()
            .map(|value| (value * factor).round() as i16)
            .collect();
        coded.resize(size, 0);
        Self {
            rotated,
            coded: Coded::new(coded),
            unit,
        }
    }
}

/// A query as the 1-bit codes of one segment are compared with: what is left of it when the centroid is taken away.
pub(super) struct Probe {
    /// Signs of the components.
    pub(super) signs: Vec<u64>,
    /// Bits of the components in units of `unit`, by words of the codes.
    pub(super) planes: Vec<[u64; PLANES]>,
    dimension: f32,
    /// The mean of the components' absolute values.
    mean: f32,
    /// Length of what is left of the query when `signs · mean` is taken away: the first look's error for one unit of weight.
    blur: f32,
    unit: f32,
    /// Sum of the components in units.
    sum: i32,
    /// λ.
    share: f32,
    /// c·q.
    base: f32,
}

/// How many standard errors the first look may be wrong before a vector is lost.
const STANDARD_ERRORS: f32 = 2.0;
/// Largest whole number of [`PLANES`] bits.
const LARGEST_CODE: f32 = 7.0;

impl Probe {
    pub(super) fn new(query: &[f32], codes: &Codes<'_>) -> Self {
        let (dot, square) = (
            product(query, codes.centroid),
            product(codes.centroid, codes.centroid),
        );
        let share = if square > 0.0 { dot / square } else { 0.0 };
        let left: Vec<f32> = query
            .iter()
            .zip(codes.centroid)
            .map(|(value, mean)| value - share * mean)
            .collect();
        let dimension = left.len().max(1) as f32;
        let mean = left.iter().map(|value| value.abs()).sum::<f32>() / dimension;
        let blur = (product(&left, &left) - mean * mean * dimension)
            .max(0.0)
            .sqrt();
        let unit = largest(&left) / LARGEST_CODE;
        let factor = if unit > 0.0 { 1.0 / unit } else { 0.0 };
        let mut signs = vec![0u64; words(left.len())];
        let mut planes = vec![[0u64; PLANES]; signs.len()];
        let mut sum = 0;
        for (at, value) in left.iter().enumerate() {
            let (word, bit) = (at / 64, at % 64);
            signs[word] |= u64::from(*value > 0.0) << bit;
            let code = (value * factor).round() as i32;
            sum += code;
            for (number, plane) in planes[word].iter_mut().enumerate() {
                *plane |= u64::from(code as u32 >> number & 1) << bit;
            }
        }
        Self {
            signs,
            planes,
            dimension,
            mean,
            blur,
            unit,
            sum,
            share,
            base: dot,
        }
    }

    /// The most that a vector can well score, after the first look.
    #[inline(always)]
    pub(super) fn bound(&self, differences: u32, weight: f32, offset: f32) -> f32 {
        let agreement = self.dimension - 2.0 * differences as f32;
        let at_most = agreement * self.mean + STANDARD_ERRORS * self.blur;
        weight * at_most + (offset * self.share + self.base)
    }

    /// The estimated score after the second look.
    #[inline(always)]
    pub(super) fn estimate(&self, sum: i32, weight: f32, offset: f32) -> f32 {
        let agreement = (2 * sum - self.sum) as f32;
        weight * (agreement * self.unit) + (offset * self.share + self.base)
    }
}

fn product(left: &[f32], right: &[f32]) -> f32 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

fn largest(values: &[f32]) -> f32 {
    values
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()))
}

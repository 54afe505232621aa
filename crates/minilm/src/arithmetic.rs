//! Products of matrices by `gemm`, and the functions between them, written so that the compiler makes vector code of them
//! for whatever the processor has.

use std::ops::Range;

use pulp::Arch;

/// Numbers that are summed side by side, so that a sum is vector code; the order of a sum is fixed.
const LANES: usize = 16;
/// Keeps a division by the deviation finite. Source: the model's `layer_norm_eps`.
const EPSILON: f32 = 1e-12;

/// How a matrix lies in a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub offset: usize,
    pub row_step: usize,
    pub column_step: usize,
}

impl Layout {
    /// Row by row from the slice's beginning.
    pub(crate) fn rows_of(columns: usize) -> Self {
        Self {
            offset: 0,
            row_step: columns,
            column_step: 1,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// Whether a matrix of this size stands within so many numbers.
    fn fits(self, rows: usize, columns: usize, numbers: usize) -> bool {
        let last = self.offset + (rows - 1) * self.row_step + (columns - 1) * self.column_step;
        last < numbers
    }
}

/// Rows and columns of a product, and the numbers that each of its sums has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
}

/// `into = factor · left · right`, added to what stands there when `add`.
///
/// # Panics
/// When a matrix is empty or does not stand within its slice.
pub(crate) fn multiply(
    size: Size,
    (into, into_layout): (&mut [f32], Layout),
    (left, left_layout): (&[f32], Layout),
    (right, right_layout): (&[f32], Layout),
    factor: f32,
    add: bool,
) {
    let Size {
        rows,
        columns,
        inner,
    } = size;
    assert!(rows > 0 && columns > 0 && inner > 0, "an empty product");
    assert!(into_layout.fits(rows, columns, into.len()), "product");
    assert!(left_layout.fits(rows, inner, left.len()), "left");
    assert!(right_layout.fits(inner, columns, right.len()), "right");
    let gemm = gemm_f32::gemm::f32::get_gemm_fn();
    // SAFETY: the three matrices stand within their slices, as was just asserted, and `into` is borrowed alone.
    unsafe {
        gemm(
            rows,
            columns,
            inner,
            into.as_mut_ptr().add(into_layout.offset),
            into_layout.column_step as isize,
            into_layout.row_step as isize,
            add,
            left.as_ptr().add(left_layout.offset),
            left_layout.column_step as isize,
            left_layout.row_step as isize,
            right.as_ptr().add(right_layout.offset),
            right_layout.column_step as isize,
            right_layout.row_step as isize,
            1.0,
            factor,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// Each row to mean 0 and deviation 1, then scaled and shifted: layer normalisation.
pub(crate) fn normalise_rows(rows: &mut [f32], weight: &[f32], bias: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let width = weight.len();
            for row in rows.chunks_exact_mut(width) {
                let mean = sum(row, |value| value) / width as f32;
                let variance = sum(row, |value| (value - mean) * (value - mean)) / width as f32;
                let scale = 1.0 / (variance + EPSILON).sqrt();
                for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                    *value = (*value - mean) * scale * weight + bias;
                }
            }
        },
    );
}

/// Each row to positive numbers that sum to 1.
pub(crate) fn softmax_rows(rows: &mut [f32], width: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(width) {
                let largest = row
                    .iter()
                    .fold(f32::NEG_INFINITY, |most, value| most.max(*value));
                row.iter_mut()
                    .for_each(|value| *value = exp(*value - largest));
                let factor = 1.0 / sum(row, |value| value);
                row.iter_mut().for_each(|value| *value *= factor);
            }
        },
    );
}

/// The Gaussian error linear unit, `x · Φ(x)`.
pub(crate) fn gelu(values: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for value in values {
                *value = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
            }
        },
    );
}

/// The mean of rows at length 1.
pub(crate) fn unit_mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0f32; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
    // The count of rows does not matter: the length is made 1.
    let length = sum(&mean, |value| value * value)
        .sqrt()
        .max(f32::MIN_POSITIVE);
    mean.iter_mut().for_each(|value| *value /= length);
    mean
}

#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += of(*value);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

/// Beyond it the error function is 1 in single precision; also keeps [`exp`] from ranges that are not asked for.
const EXP_RANGE: Range<f32> = -87.0..88.0;

/// e^x within two units in the last place: x = n · ln 2 + r, e^r by its series.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // 1.5 · 2²³: adding it leaves a number's nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first short enough that n times it is exact. Source: Cephes, expf.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(EXP_RANGE.start, EXP_RANGE.end);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let series = 1.0 / 120.0 + r * (1.0 / 720.0);
    let series = 1.0 / 24.0 + r * series;
    let series = 1.0 / 6.0 + r * series;
    let series = 0.5 + r * series;
    let series = 1.0 + r * (1.0 + r * series);
    let exponent = rounded
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

/// The error function, to 2 · 10⁻⁷. Source: Abramowitz and Stegun, 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = -1.453_152 + t * 1.061_405_4;
    let series = 1.421_413_7 + t * series;
    let series = -0.284_496_74 + t * series;
    let series = t * (0.254_829_6 + t * series);
    (1.0 - series * exp(-x * x)).copysign(x)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exp_is_the_library_s(x in -80.0f32..80.0) {
            let wanted = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) - wanted).abs() <= wanted * 4e-7, "{} {}", exp(x), wanted);
        }

        /// erf(x) = 2/√π Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)), its own series.
        #[test]
        fn erf_is_its_series(x in -3.0f32..3.0) {
            let wide = f64::from(x);
            let (mut term, mut sum) = (wide, wide);
            for n in 1..60 {
                term *= -wide * wide / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            let wanted = sum * std::f64::consts::FRAC_2_SQRT_PI;
            prop_assert!((f64::from(erf(x)) - wanted).abs() < 1e-6, "{} {}", erf(x), wanted);
        }

        #[test]
        fn a_product_is_its_sums(
            rows in 1usize..20, columns in 1usize..20, inner in 1usize..20, add in any::<bool>(), turned in any::<bool>(),
        ) {
            let number = |at: usize| ((at * 37 % 101) as f32 - 50.0) / 50.0;
            let left: Vec<f32> = (0..rows * inner).map(number).collect();
            let right: Vec<f32> = (0..columns * inner).map(|at| number(at + 7)).collect();
            let layout = if turned { Layout::rows_of(inner).transposed() } else { Layout::rows_of(columns) };
            let mut into = vec![1.0f32; rows * columns];
            multiply(
                Size { rows, columns, inner },
                (&mut into, Layout::rows_of(columns)),
                (&left, Layout::rows_of(inner)),
                (&right, layout),
                0.5,
                add,
            );
            for row in 0..rows {
                for column in 0..columns {
                    let of = |at: usize| right[at * layout.row_step + column * layout.column_step];
                    let sum: f32 = (0..inner).map(|at| left[row * inner + at] * of(at)).sum();
                    let wanted = 0.5 * sum + if add { 1.0 } else { 0.0 };
                    prop_assert!((into[row * columns + column] - wanted).abs() < 1e-4);
                }
            }
        }

        #[test]
        fn softmax_sums_to_one(row in prop::collection::vec(-30.0f32..30.0, 1..70)) {
            let (mut rows, width) = (row.clone(), row.len());
            softmax_rows(&mut rows, width);
            prop_assert!((rows.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            for (left, right) in row.iter().zip(&rows) {
                let wanted = f64::from(*left).exp() / row.iter().map(|value| f64::from(*value).exp()).sum::<f64>();
                prop_assert!((f64::from(*right) - wanted).abs() < 1e-5);
            }
        }
    }
}

//! Making the codes of vectors.

use super::rotation::Rotation;
use super::{LANES, block_bytes, normalised, row_bytes, words};

/// Collects vectors as 8-bit rows; the 1-bit codes are made from the rows when the mean of all is known.
pub(crate) struct Encoder {
    dimension: usize,
    rotation: Rotation,
    rows: Vec<u8>,
    scales: Vec<f32>,
    sum: Vec<f64>,
}

/// The sections of a segment that hold vectors.
pub(crate) struct Encoded {
    pub centroid: Vec<u8>,
    pub bits: Vec<u8>,
    pub scales: Vec<u8>,
    pub rows: Vec<u8>,
}

impl Encoder {
    /// `dimension` is 1 or more.
    pub(crate) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            rotation: Rotation::new(dimension),
            rows: Vec::new(),
            scales: Vec::new(),
            sum: vec![0.0; dimension],
        }
    }

    /// Adds a vector of the encoder's dimension.
    pub(crate) fn push(&mut self, vector: &[f32]) {
        let mut rotated = normalised(vector);
        self.rotation.apply(&mut rotated);
        let start = self.rows.len();
        let scale = push_row(&mut self.rows, &rotated);
        self.scales.push(scale);
        for (sum, code) in self.sum.iter_mut().zip(&self.rows[start..]) {
            *sum += f64::from(*code as i8) * f64::from(scale);
        }
    }

    pub(crate) fn finish(self) -> Encoded {
        let count = self.scales.len().max(1) as f64;
        let centroid: Vec<f32> = self.sum.iter().map(|sum| (sum / count) as f32).collect();
        let mut bits =
            Vec::with_capacity(self.scales.len().div_ceil(LANES) * block_bytes(self.dimension));
        let blocks = self.rows.chunks(row_bytes(self.dimension) * LANES);
        for (rows, scales) in blocks.zip(self.scales.chunks(LANES)) {
            push_block(&mut bits, rows, scales, &centroid);
        }
        Encoded {
            centroid: centroid
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            bits,
            scales: self
                .scales
                .iter()
                .flat_map(|scale| scale.to_le_bytes())
                .collect(),
            rows: self.rows,
        }
    }
}

/// Appends `round(127 · x / max|x|)` for each component and zeros to a whole row; answers the scale that gives the row
/// length 1 (0 for a vector of zeros).
fn push_row(out: &mut Vec<u8>, vector: &[f32]) -> f32 {
    let largest = vector
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let start = out.len();
    out.extend(
        vector
            .iter()
            .map(|value| (value * factor).round() as i8 as u8),
    );
    let squares = out[start..]
        .iter()
        .map(|code| i64::from(*code as i8).pow(2))
        .sum::<i64>();
    out.resize(start + row_bytes(vector.len()), 0);
    match squares {
        0 => 0.0,
        _ => (1.0 / (squares as f64).sqrt()) as f32,
    }
}

/// Appends the block of up to [`LANES`] vectors, with zeros for those that are not there.
fn push_block(out: &mut Vec<u8>, rows: &[u8], scales: &[f32], centroid: &[f32]) {
    let dimension = centroid.len();
    let mut codes = vec![0u64; words(dimension) * LANES];
    let (mut weights, mut offsets) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (lane, (row, scale)) in rows.chunks(row_bytes(dimension)).zip(scales).enumerate() {
        let (mut squares, mut sum, mut with_centroid) = (0.0f64, 0.0f64, 0.0f64);
        for (at, (code, mean)) in row.iter().zip(centroid).enumerate() {
            let residual = f32::from(*code as i8) * scale - mean;
            codes[at / 64 * LANES + lane] |= u64::from(residual > 0.0) << (at % 64);
            squares += f64::from(residual).powi(2);
            sum += f64::from(residual.abs());
            with_centroid += f64::from(residual) * f64::from(*mean);
        }
        if sum > 0.0 {
            weights[lane] = (squares / sum) as f32;
        }
        offsets[lane] = with_centroid as f32;
    }
    out.extend(codes.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(
        weights
            .iter()
            .chain(&offsets)
            .flat_map(|value| value.to_le_bytes()),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_bits_keep_a_vector(values in prop::collection::vec(-10.0f32..10.0, 1..200)) {
            let vector = normalised(&values);
            let mut row = Vec::new();
            let scale = push_row(&mut row, &vector);
            prop_assert_eq!(row.len(), row_bytes(vector.len()));
            let largest = vector.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            // Half a step, and what the row's own length is off by.
            let bound = largest / 127.0 * 0.5 + 1e-6;
            let off = bound * (vector.len() as f32).sqrt() * largest;
            for (left, right) in vector.iter().zip(&row) {
                let right = f32::from(*right as i8) * scale;
                prop_assert!((left - right).abs() <= bound + off || length == 0.0);
            }
        }

        /// A compaction reads rows and writes them again: nothing may be lost by it, however often.
        #[test]
        fn a_row_read_and_written_again_is_the_same(values in prop::collection::vec(-10.0f32..10.0, 1..200)) {
            let encode = |vector: &[f32]| {
                let mut encoder = Encoder::new(vector.len());
                encoder.push(vector);
                encoder.finish()
            };
            let once = encode(&values);
            let scale = f32::from_le_bytes(once.scales[..4].try_into().unwrap());
            let mut back: Vec<f32> = once.rows[..values.len()].iter().map(|code| f32::from(*code as i8) * scale).collect();
            Rotation::new(values.len()).revert(&mut back);
            let twice = encode(&back);
            prop_assert_eq!(once.rows, twice.rows);
            prop_assert_eq!(once.scales, twice.scales);
        }
    }
}

//! Vectors at two precisions: 1 bit a component to scan, 8 bits to rescore.
//!
//! A stored vector is normalised, so that the dot product is the cosine, and rotated ([`rotation`]). Its 8-bit row `o` is
//! `round(127 · x / max|x|)` at the scale that gives the row length 1.
//!
//! Its 1-bit code `s` (+1 and −1) are the signs of `r = o − c`, where `c` is the mean of the segment's rows: real
//! embeddings share a large mean, and without taking it away most signs would agree. For a query `q` and any `λ`
//!
//! ```text
//! o·q = r·(q − λc) + λ r·c + c·q,   r·(q − λc) ≈ w s·(q − λc),   w = r·r / Σ|rᵢ|
//! ```
//!
//! where `w` and `r·c` are stored beside the code, and `λ = c·q / c·c` makes `q − λc`, and with it the error, least. The
//! estimate has no bias over rotations. Source: Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a
//! Theoretical Error Bound for Approximate Nearest Neighbor Search", SIGMOD 2024.

mod encode;
mod kernel;
mod query;
mod rotation;
mod scan;

#[cfg(test)]
use encode::Encoded;
pub(crate) use encode::Encoder;
pub(crate) use query::Wanted;
pub(crate) use rotation::Rotation;
pub(crate) use scan::{Part, candidates, rescore};

/// Vectors in one block of 1-bit codes: one word of each makes a cache line.
pub(crate) const LANES: usize = 8;

/// 64-bit words of a 1-bit code.
pub(crate) fn words(dimension: usize) -> usize {
    dimension.div_ceil(64)
}

/// Bytes of a block of 1-bit codes: for each word of the codes that of all vectors, then the weights `w`, then `r·c`.
pub(crate) fn block_bytes(dimension: usize) -> usize {
    (words(dimension) + 1) * 64
}

/// Bytes of an 8-bit row: whole cache lines.
pub(crate) fn row_bytes(dimension: usize) -> usize {
    dimension.next_multiple_of(64)
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

/// The vectors of a segment, as slices of its file.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    pub dimension: usize,
    pub centroid: &'a [f32],
    pub bits: &'a [u8],
    pub scales: &'a [u8],
    pub rows: &'a [u8],
}

impl Codes<'_> {
    fn row(&self, ordinal: u32) -> &[u8] {
        let size = row_bytes(self.dimension);
        &self.rows[ordinal as usize * size..][..size]
    }

    fn scale(&self, ordinal: u32) -> f32 {
        let at = ordinal as usize * 4;
        let bytes = self.scales[at..at + 4].try_into().unwrap_or_default();
        f32::from_le_bytes(bytes)
    }

    /// A vector as its row has it, turned back.
    pub(crate) fn vector(&self, ordinal: u32, rotation: &Rotation) -> Vec<f32> {
        let scale = self.scale(ordinal);
        let row = &self.row(ordinal)[..self.dimension];
        let mut vector: Vec<f32> = row
            .iter()
            .map(|code| f32::from(*code as i8) * scale)
            .collect();
        rotation.revert(&mut vector);
        vector
    }
}

#[cfg(test)]
mod tests;

//! The forward pass. Sequences of any lengths stand one below the other in one matrix, so that the linear layers, nearly all
//! of the work, know no padding; only attention goes sequence by sequence.

use crate::DIMENSIONS as WIDTH;
use crate::arithmetic::{Layout, Size, gelu, multiply, normalise_rows, softmax_rows, unit_mean};
use crate::weights::{INNER, Layer, Linear, Norm, Weights};

const HEADS: usize = 12;
const HEAD: usize = WIDTH / HEADS;

/// The embeddings of sequences of token ids, none empty and none longer than the network's positions.
pub(crate) fn embed(weights: &Weights, sequences: &[&[u32]]) -> Vec<Vec<f32>> {
    let rows: usize = sequences.iter().map(|ids| ids.len()).sum();
    let mut hidden = embedded(weights, sequences, rows);
    let mut room = Room::new(rows, sequences);
    for layer in &weights.layers {
        attend(weights, layer, sequences, &mut hidden, &mut room);
        feed_forward(weights, layer, &mut hidden, &mut room);
    }
    let mut rest = hidden.as_slice();
    let mut pooled = Vec::with_capacity(sequences.len());
    for ids in sequences {
        let (own, others) = rest.split_at(ids.len() * WIDTH);
        pooled.push(unit_mean(own, WIDTH));
        rest = others;
    }
    pooled
}

/// What the layers write into, made once.
struct Room {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    context: Vec<f32>,
    scores: Vec<f32>,
    inner: Vec<f32>,
}

impl Room {
    fn new(rows: usize, sequences: &[&[u32]]) -> Self {
        let longest = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let wide = || vec![0.0; rows * WIDTH];
        Self {
            query: wide(),
            key: wide(),
            value: wide(),
            context: wide(),
            scores: vec![0.0; longest * longest],
            inner: vec![0.0; rows * INNER],
        }
    }
}

/// Word, position and type of each token.
fn embedded(weights: &Weights, sequences: &[&[u32]], rows: usize) -> Vec<f32> {
    let (words, positions) = (
        weights.numbers(&weights.words),
        weights.numbers(&weights.positions),
    );
    let kind = &weights.numbers(&weights.types)[..WIDTH];
    let mut hidden = Vec::with_capacity(rows * WIDTH);
    for ids in sequences {
        for (id, position) in ids.iter().zip(positions.chunks_exact(WIDTH)) {
            let word = &words[*id as usize * WIDTH..][..WIDTH];
            hidden.extend((0..WIDTH).map(|at| word[at] + position[at] + kind[at]));
        }
    }
    normalise(weights, &weights.norm, &mut hidden);
    hidden
}

fn attend(
    weights: &Weights,
    layer: &Layer,
    sequences: &[&[u32]],
    hidden: &mut [f32],
    room: &mut Room,
) {
    for (linear, into) in [
        (&layer.query, &mut room.query),
        (&layer.key, &mut room.key),
        (&layer.value, &mut room.value),
    ] {
        project(weights, linear, hidden, into, false);
    }
    let mut first_row = 0;
    for ids in sequences {
        for head in 0..HEADS {
            let part = Layout {
                offset: first_row * WIDTH + head * HEAD,
                row_step: WIDTH,
                column_step: 1,
            };
            attend_with_head(ids.len(), part, room);
        }
        first_row += ids.len();
    }
    // The residual: what comes in is added to what comes out.
    project(weights, &layer.attention, &room.context, hidden, true);
    normalise(weights, &layer.attention_norm, hidden);
}

/// softmax(Q · Kᵀ / √32) · V for the part of one sequence that one head reads.
fn attend_with_head(length: usize, part: Layout, room: &mut Room) {
    let scores = &mut room.scores[..length * length];
    let square = Size {
        rows: length,
        columns: length,
        inner: HEAD,
    };
    multiply(
        square,
        (scores, Layout::rows_of(length)),
        (&room.query, part),
        (&room.key, part.transposed()),
        1.0 / (HEAD as f32).sqrt(),
        false,
    );
    softmax_rows(scores, length);
    let narrow = Size {
        columns: HEAD,
        inner: length,
        ..square
    };
    multiply(
        narrow,
        (&mut room.context, part),
        (scores, Layout::rows_of(length)),
        (&room.value, part),
        1.0,
        false,
    );
}

fn feed_forward(weights: &Weights, layer: &Layer, hidden: &mut [f32], room: &mut Room) {
    project(weights, &layer.widen, hidden, &mut room.inner, false);
    gelu(&mut room.inner);
    project(weights, &layer.narrow, &room.inner, hidden, true);
    normalise(weights, &layer.output_norm, hidden);
}

/// `into = from · Wᵀ + b`, or `into += …`.
fn project(weights: &Weights, linear: &Linear, from: &[f32], into: &mut [f32], add: bool) {
    let (weight, bias) = (
        weights.numbers(&linear.weight),
        weights.numbers(&linear.bias),
    );
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    for row in into.chunks_exact_mut(outputs) {
        if add {
            row.iter_mut()
                .zip(bias)
                .for_each(|(value, bias)| *value += bias);
        } else {
            row.copy_from_slice(bias);
        }
    }
    let size = Size {
        rows: into.len() / outputs,
        columns: outputs,
        inner: inputs,
    };
    multiply(
        size,
        (into, Layout::rows_of(outputs)),
        (from, Layout::rows_of(inputs)),
        (weight, Layout::rows_of(inputs).transposed()),
        1.0,
        true,
    );
}

fn normalise(weights: &Weights, norm: &Norm, rows: &mut [f32]) {
    normalise_rows(
        rows,
        weights.numbers(&norm.weight),
        weights.numbers(&norm.bias),
    );
}

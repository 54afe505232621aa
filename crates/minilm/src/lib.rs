//! all-MiniLM-L6-v2, a sentence embedder of 22.7 million parameters, on the processor.
//!
//! A text becomes 384 numbers of Euclidean length 1; texts that mean the same lie near one another, whatever their words.
//! The network is BERT (Devlin et al., 2019) with 6 layers of 384 components in 12 heads, as distilled by Wang et al.,
//! "MiniLM", 2020, and trained for sentences as in Reimers and Gurevych, "Sentence-BERT", 2019: the mean of the last
//! layer over all tokens. The weights are not part of this crate; they are a file of 91 MB.

mod arithmetic;
mod encoder;
mod weights;

use std::path::Path;

use retrieval::wordpiece;

use weights::Weights;
pub use weights::{SHA256, WEIGHTS_FILE, WeightsError, check_file};

/// Components of an embedding.
pub const DIMENSIONS: usize = 384;
/// Tokens of a text that count, with the two that stand for its beginning and its end: as many as the network has
/// positions. The rest of a longer text is left out.
pub const MAX_TOKENS: usize = 512;
/// Rows that go through the network together: few enough for a core's second cache, enough to keep its units busy.
const BATCH_ROWS: usize = 384;

/// The embedder with its weights.
#[derive(Debug)]
pub struct MiniLm {
    weights: Weights,
}

impl MiniLm {
    /// Maps the weights of a folder; they are read from the disk as they are used.
    ///
    /// # Errors
    /// [`WeightsError`] when the file is missing or not this network's.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        Ok(Self {
            weights: Weights::open(&folder.join(WEIGHTS_FILE))?,
        })
    }

    /// The embeddings of texts, in order, on all cores. The same text has the same embedding whatever stands beside it,
    /// up to the rounding of sums.
    pub fn embed(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| token_ids(text)).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        let shares = shares(&texts, cores);
        if let [share] = shares.as_slice() {
            self.embed_share(share, &texts)
                .into_iter()
                .for_each(|(at, vector)| vectors[at] = vector);
            return vectors;
        }
        std::thread::scope(|scope| {
            let texts = &texts;
            let running: Vec<_> = shares
                .iter()
                .map(|share| scope.spawn(move || self.embed_share(share, texts)))
                .collect();
            for share in running {
                match share.join() {
                    Ok(found) => found
                        .into_iter()
                        .for_each(|(at, vector)| vectors[at] = vector),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        vectors
    }

    /// The embeddings of texts, in order, on this thread.
    pub fn embed_here(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| token_ids(text)).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        let all: Vec<usize> = (0..texts.len()).collect();
        for (at, vector) in self.embed_share(&all, &texts) {
            vectors[at] = vector;
        }
        vectors
    }

    fn embed_share(&self, share: &[usize], texts: &[Vec<u32>]) -> Vec<(usize, Vec<f32>)> {
        let mut found = Vec::with_capacity(share.len());
        let mut rest = share;
        while !rest.is_empty() {
            let mut rows = 0;
            let fits = rest.iter().take_while(|at| {
                rows += texts[**at].len();
                rows <= BATCH_ROWS
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            let ids: Vec<&[u32]> = batch.iter().map(|at| texts[*at].as_slice()).collect();
            let vectors = encoder::embed(&self.weights, &ids);
            found.extend(batch.iter().copied().zip(vectors));
            rest = later;
        }
        found
    }
}

/// The tokens of a text that the network reads, at most [`MAX_TOKENS`].
pub fn token_count(text: &str) -> usize {
    token_ids(text).len()
}

fn token_ids(text: &str) -> Vec<u32> {
    let mut ids = vec![wordpiece::CLASSIFY];
    ids.extend(wordpiece::encode(text, MAX_TOKENS - 2));
    ids.push(wordpiece::SEPARATE);
    ids
}

/// Texts dealt out to cores, the longest first to whoever has least, so that all end together.
fn shares(texts: &[Vec<u32>], cores: usize) -> Vec<Vec<usize>> {
    let count = cores.clamp(1, texts.len().max(1));
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(texts[*at].len()));
    let mut shares = vec![(0, Vec::new()); count];
    for at in order {
        if let Some((rows, share)) = shares.iter_mut().min_by_key(|(rows, _)| *rows) {
            *rows += texts[at].len();
            share.push(at);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests;

//! What the benchmarks measure on: vectors with the shape of real embeddings, texts, and the files that both sides read.
//!
//! `vectors.f32` and `queries.f32` hold rows of little-endian floats, `shape.json` says how many and how wide,
//! `texts.jsonl` and `questions.jsonl` hold one JSON string a line. The same numbers always give the same files.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal, Zipf};

/// Topics that the synthetic vectors gather around.
const TOPICS: usize = 500;
/// How fast the variance falls from one principal component to the next: `λᵢ ∝ (i + 6)^−1.4`. Fitted to all-MiniLM-L6-v2
/// on Cranfield, where (Σλ)² / Σλ² is 42 of 384 components; here it is 48 of 1,024.
const SPECTRUM: f32 = -1.4;
const SPECTRUM_START: f32 = 6.0;
/// The common mean before vectors are brought to length 1; after it the mean's length is 0.54, as with these embeddings.
const MEAN: f32 = 0.78;

/// Makes vectors with what makes real embeddings hard for binary codes: a large common mean, topics, a falling spectrum.
pub struct Vectors {
    dimension: usize,
    deviations: Vec<f32>,
    signs: Vec<f32>,
    mean: Vec<f32>,
    topics: Vec<Vec<f32>>,
    chance: StdRng,
}

impl Vectors {
    pub fn new(dimension: usize, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let deviations: Vec<f32> = (0..dimension)
            .map(|at| (at as f32 + SPECTRUM_START).powf(SPECTRUM / 2.0))
            .collect();
        let total: f32 = deviations.iter().map(|one| one * one).sum::<f32>().sqrt();
        let deviations: Vec<f32> = deviations.iter().map(|one| one / total).collect();
        let signs = (0..dimension)
            .map(|_| if chance.random::<bool>() { 1.0 } else { -1.0 })
            .collect();
        let mean: Vec<f32> = (0..dimension).map(|_| normal(&mut chance)).collect();
        let length = mean.iter().map(|one| one * one).sum::<f32>().sqrt();
        let topics = (0..TOPICS)
            .map(|_| {
                deviations
                    .iter()
                    .map(|one| one * normal(&mut chance))
                    .collect()
            })
            .collect();
        Self {
            dimension,
            mean: mean.into_iter().map(|one| MEAN * one / length).collect(),
            deviations,
            signs,
            topics,
            chance,
        }
    }

    /// The next vector, at length 1.
    pub fn make(&mut self) -> Vec<f32> {
        let topic = self.chance.random_range(0..TOPICS);
        let latent: Vec<f32> = (0..self.dimension)
            .map(|at| 0.7 * self.topics[topic][at] + self.deviations[at] * normal(&mut self.chance))
            .collect();
        self.placed(latent)
    }

    fn placed(&self, latent: Vec<f32>) -> Vec<f32> {
        let turned = turned(latent, &self.signs);
        let vector: Vec<f32> = turned
            .iter()
            .zip(&self.mean)
            .map(|(value, mean)| value + mean)
            .collect();
        let length = vector.iter().map(|one| one * one).sum::<f32>().sqrt();
        vector.into_iter().map(|one| one / length).collect()
    }
}

fn normal(chance: &mut StdRng) -> f32 {
    StandardNormal.sample(chance)
}

/// Spreads the principal components over all coordinates: a Walsh-Hadamard transform in the largest power of two, after
/// random signs.
fn turned(mut values: Vec<f32>, signs: &[f32]) -> Vec<f32> {
    for (value, sign) in values.iter_mut().zip(signs) {
        *value *= sign;
    }
    let size = 1 << values.len().ilog2();
    let mut half = 1;
    while half < size {
        for start in (0..size).step_by(half * 2) {
            for at in start..start + half {
                let (left, right) = (values[at], values[at + half]);
                (values[at], values[at + half]) = (left + right, left - right);
            }
        }
        half *= 2;
    }
    let scale = (size as f32).sqrt().recip();
    for value in &mut values[..size] {
        *value *= scale;
    }
    values
}

/// Makes texts of words drawn by Zipf's law from a vocabulary of pronounceable words.
pub struct Texts {
    vocabulary: Vec<String>,
    law: Zipf<f64>,
    chance: StdRng,
}

impl Texts {
    /// `words`: the size of the vocabulary.
    ///
    /// # Errors
    /// A vocabulary without words.
    pub fn new(words: usize, seed: u64) -> Result<Self, rand_distr::ZipfError> {
        let mut chance = StdRng::seed_from_u64(seed);
        let vocabulary = (0..words).map(|number| word(number, &mut chance)).collect();
        Ok(Self {
            vocabulary,
            law: Zipf::new(words as f64, 1.07)?,
            chance,
        })
    }

    /// A text of so many words.
    pub fn make(&mut self, words: usize) -> String {
        let mut text = String::new();
        for at in 0..words {
            if at > 0 {
                text.push_str(if at % 14 == 0 { ". " } else { " " });
            }
            let rank = self.law.sample(&mut self.chance) as usize - 1;
            text.push_str(&self.vocabulary[rank]);
        }
        text.push('.');
        text
    }
}

/// A word of its own for each number: frequent ones are short.
fn word(mut number: usize, chance: &mut StdRng) -> String {
    const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let mut word = String::new();
    loop {
        word.push(char::from(CONSONANTS[number % CONSONANTS.len()]));
        number /= CONSONANTS.len();
        word.push(char::from(VOWELS[number % VOWELS.len()]));
        number /= VOWELS.len();
        if number == 0 {
            break;
        }
    }
    // A coda that no word of the plain form has keeps all words apart.
    if chance.random::<bool>() {
        word.push('x');
    }
    word
}

/// Rows of floats, one after the other.
///
/// # Errors
/// The file's.
pub fn append(file: &mut impl Write, vector: &[f32]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(vector.len() * 4);
    for value in vector {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    file.write_all(&bytes)
}

/// A reader of rows.
pub struct Rows {
    file: BufReader<File>,
    dimension: usize,
}

impl Rows {
    /// # Errors
    /// The file's.
    pub fn open(path: &Path, dimension: usize) -> std::io::Result<Self> {
        let file = BufReader::with_capacity(1 << 20, File::open(path)?);
        Ok(Self { file, dimension })
    }
}

impl Iterator for Rows {
    type Item = Vec<f32>;

    fn next(&mut self) -> Option<Vec<f32>> {
        let mut bytes = vec![0; self.dimension * 4];
        self.file.read_exact(&mut bytes).ok()?;
        let (values, _) = bytes.as_chunks::<4>();
        Some(
            values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect(),
        )
    }
}

/// Texts, one JSON string a line.
///
/// # Errors
/// The file's.
pub fn write_texts(path: &Path, texts: impl Iterator<Item = String>) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for text in texts {
        serde_json::to_writer(&mut file, &text)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// The texts of a file that [`write_texts`] wrote.
///
/// # Errors
/// The file's, and a line that is no JSON string.
pub fn read_texts(
    path: &Path,
) -> std::io::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
}

/// Median and 90th percentile, in milliseconds.
pub fn percentiles(mut seconds: Vec<f64>) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| {
        seconds
            .get((seconds.len() as f64 * share) as usize)
            .map_or(0.0, |one| one * 1e3)
    };
    (at(0.5), at(0.9))
}

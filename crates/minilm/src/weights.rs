//! The weights: `model.safetensors`, mapped, each tensor found by its name and checked for its shape.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

/// The file's name in its folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// SHA-256 of the file, in hex.
pub const SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

const WIDTH: usize = crate::DIMENSIONS;
const WORDS: usize = 30_522;
const LAYERS: usize = 6;
/// Components between the two halves of a layer's feed-forward network.
pub(crate) const INNER: usize = 4 * WIDTH;

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("{} cannot be read ({detail}); `outcrop models add minilm` brings the weights", .path.display())]
    Unreadable { path: PathBuf, detail: String },
    #[error("{} is not all-MiniLM-L6-v2: {detail}; `outcrop models add minilm` brings the weights", .path.display())]
    NotMiniLm { path: PathBuf, detail: String },
    #[error(
        "{} has the SHA-256 {found}, not {SHA256}; it is cut short or another model's", .path.display()
    )]
    OtherChecksum { path: PathBuf, found: String },
}

impl WeightsError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "WeightsUnreadable",
            Self::NotMiniLm { .. } => "WeightsNotMiniLm",
            Self::OtherChecksum { .. } => "WeightsChecksum",
        }
    }

    fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let (path, detail) = (path.to_owned(), error.to_string());
        Self::Unreadable { path, detail }
    }
}

/// Checks that a file is the published one, byte for byte.
///
/// # Errors
/// [`WeightsError::Unreadable`] or [`WeightsError::OtherChecksum`].
pub fn check_file(path: &Path) -> Result<(), WeightsError> {
    let unreadable = |error: std::io::Error| WeightsError::unreadable(path, &error);
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let digest = hasher.finalize();
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found == SHA256 {
        return Ok(());
    }
    let path = path.to_owned();
    Err(WeightsError::OtherChecksum { path, found })
}

/// A tensor: where its numbers stand in the file.
#[derive(Debug, Clone)]
pub(crate) struct Tensor(Range<usize>);

/// `y = x · Wᵀ + b`: the weight is outputs × inputs, row by row.
#[derive(Debug)]
pub(crate) struct Linear {
    pub weight: Tensor,
    pub bias: Tensor,
}

#[derive(Debug)]
pub(crate) struct Norm {
    pub weight: Tensor,
    pub bias: Tensor,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention: Linear,
    pub attention_norm: Norm,
    pub widen: Linear,
    pub narrow: Linear,
    pub output_norm: Norm,
}

#[derive(Debug)]
pub(crate) struct Weights {
    map: Mmap,
    pub words: Tensor,
    pub positions: Tensor,
    pub types: Tensor,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

impl Weights {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let unreadable = |error: std::io::Error| WeightsError::unreadable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the file is this program's own: `models add` moves it into place whole and nothing writes to it after.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let other = |detail: String| WeightsError::NotMiniLm {
            path: path.to_owned(),
            detail,
        };
        let tensors = SafeTensors::deserialize(&map).map_err(|error| other(error.to_string()))?;
        let finder = Finder {
            tensors: &tensors,
            base: map.as_ptr() as usize,
        };
        let (words, positions, types, norm, layers) = (
            finder
                .tensor("embeddings.word_embeddings.weight", &[WORDS, WIDTH])
                .map_err(other)?,
            finder
                .tensor(
                    "embeddings.position_embeddings.weight",
                    &[crate::MAX_TOKENS, WIDTH],
                )
                .map_err(other)?,
            finder
                .tensor("embeddings.token_type_embeddings.weight", &[2, WIDTH])
                .map_err(other)?,
            finder.norm("embeddings.LayerNorm").map_err(other)?,
            (0..LAYERS)
                .map(|number| finder.layer(number))
                .collect::<Result<_, _>>()
                .map_err(other)?,
        );
        Ok(Self {
            map,
            words,
            positions,
            types,
            norm,
            layers,
        })
    }

    /// A tensor's numbers.
    pub(crate) fn numbers(&self, tensor: &Tensor) -> &[f32] {
        bytemuck::cast_slice(&self.map[tensor.0.clone()])
    }
}

struct Finder<'a> {
    tensors: &'a SafeTensors<'a>,
    base: usize,
}

impl Finder<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, String> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| format!("it has no {name}"))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            let (dtype, found) = (view.dtype(), view.shape());
            return Err(format!("{name} is {dtype:?} {found:?}, not F32 {shape:?}"));
        }
        // Numbers are read where they stand, so they must stand at multiples of their size.
        let numbers: &[f32] = bytemuck::try_cast_slice(view.data())
            .map_err(|error| format!("{name} is not aligned: {error}"))?;
        let start = numbers.as_ptr() as usize - self.base;
        Ok(Tensor(start..start + view.data().len()))
    }

    fn norm(&self, name: &str) -> Result<Norm, String> {
        Ok(Norm {
            weight: self.tensor(&format!("{name}.weight"), &[WIDTH])?,
            bias: self.tensor(&format!("{name}.bias"), &[WIDTH])?,
        })
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, String> {
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    fn layer(&self, number: usize) -> Result<Layer, String> {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        Ok(Layer {
            query: self.linear(&name("attention.self.query"), WIDTH, WIDTH)?,
            key: self.linear(&name("attention.self.key"), WIDTH, WIDTH)?,
            value: self.linear(&name("attention.self.value"), WIDTH, WIDTH)?,
            attention: self.linear(&name("attention.output.dense"), WIDTH, WIDTH)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            widen: self.linear(&name("intermediate.dense"), INNER, WIDTH)?,
            narrow: self.linear(&name("output.dense"), WIDTH, INNER)?,
            output_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }
}

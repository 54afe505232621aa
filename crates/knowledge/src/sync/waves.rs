//! Many texts to vectors: wave by wave, each when the account's quota has room for it, in slices that a step has time for.
//! What came is kept, whatever ends a slice, so that the next pays only for the rest.

use std::time::{Duration, Instant};

use aws::bedrock::{BedrockError, EmbedPurpose, Embeddings};
use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

use super::rows::Billed;
use super::{StepError, configured_embedder};
use crate::digest::short_id;
use crate::ledger::Account;
use crate::pace::{self, Ask};

/// What a token is thought to have before the model counts it.
const BYTES_PER_TOKEN: usize = 4;
/// How often what came is kept while a slice lasts: a step that is killed loses no more.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// What a slice comes to.
pub(super) enum Embedded {
    /// A vector for each text, in order, and what was billed for all of them.
    All {
        vectors: Vec<Vec<f32>>,
        billed: Billed,
    },
    /// The step's time is up; another goes on from what is kept.
    More,
}

/// Texts that are embedded together.
pub(super) struct Texts<'a> {
    pub texts: &'a [String],
    /// Where what came of them is kept.
    pub key: &'a str,
    /// Whether it is kept when all of it is there: where the step does not end with it.
    pub keep_all: bool,
    /// When the step began.
    pub begun: Instant,
    /// Takes what is paid.
    pub account: &'a Account<'a>,
}

/// Embeds as many texts as the time of a step allows. A call that fails ends nothing: the others are made, and what is
/// missing is the next attempt's. Only where nothing of a wave comes, or the model refuses, is no further call made.
///
/// # Errors
/// Of the calls that failed, a refusal or the first; [`StepError::QuotaSpokenFor`] where the quota has no room from the
/// beginning. What came is kept before.
pub(super) async fn embed(aws: &Aws, asked: &Texts<'_>) -> Result<Embedded, StepError> {
    if asked.texts.is_empty() {
        let (vectors, billed) = (Vec::new(), Billed::default());
        return Ok(Embedded::All { vectors, billed });
    }
    let mut kept = Kept::read(aws, asked).await?;
    let before = kept.open().len();
    let ended = waves(aws, asked, &mut kept).await;
    let left = kept.open().len();
    if left < before && (left > 0 || asked.keep_all) {
        kept.write(aws, asked.key).await?;
    }
    match ended {
        Ok(true) => Ok(Embedded::All {
            billed: kept.head.billed,
            vectors: kept.vectors.into_iter().flatten().collect(),
        }),
        Ok(false) => Ok(Embedded::More),
        // Whoever got on comes back with a fresh count of attempts.
        Err(StepError::QuotaSpokenFor { .. }) if left < before => Ok(Embedded::More),
        Err(error) => Err(error),
    }
}

/// Makes one wave after the other; `false` where the time was up before all were made.
async fn waves(aws: &Aws, asked: &Texts<'_>, kept: &mut Kept) -> Result<bool, StepError> {
    let open = kept.open();
    let mut rest = open.as_slice();
    let mut kept_at = Instant::now();
    let mut failure: Option<BedrockError> = None;
    while !rest.is_empty() {
        let (wave, later) = rest.split_at(next_wave(aws, asked.texts, rest));
        let came = embed_wave(aws, asked, wave, kept).await?;
        if let Some(error) = came.failure {
            if came.vectors == 0 || !error.retry() {
                return Err(error.into());
            }
            failure.get_or_insert(error);
        }
        if kept_at.elapsed() >= KEEP_EVERY {
            kept.write(aws, asked.key).await?;
            kept_at = Instant::now();
        }
        if !later.is_empty() && asked.begun.elapsed() >= aws.settings.step_slice {
            return Ok(false);
        }
        rest = later;
    }
    failure.map_or(Ok(true), |error| Err(error.into()))
}

/// How many of the open texts are embedded before the quota is asked again.
fn next_wave(aws: &Aws, texts: &[String], open: &[usize]) -> usize {
    let per_call = aws.bedrock.texts_per_call();
    let calls = open.chunks(per_call).map(|call| tokens(texts, call));
    (pace::wave_calls(pace::quota(aws), calls) * per_call).min(open.len())
}

/// Tokens of the texts at these places, before the model counts them.
fn tokens(texts: &[String], places: &[usize]) -> u64 {
    let bytes: usize = places.iter().map(|place| texts[*place].len()).sum();
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// What came of a wave: how many vectors, and the gravest failure of its calls.
struct Came {
    vectors: usize,
    failure: Option<BedrockError>,
}

/// Embeds the texts at these places, once the quota has room for them.
async fn embed_wave(
    aws: &Aws,
    asked: &Texts<'_>,
    wave: &[usize],
    kept: &mut Kept,
) -> Result<Came, StepError> {
    let per_call = aws.bedrock.texts_per_call();
    let ask = Ask {
        requests: wave.len().div_ceil(per_call) as u64,
        tokens: tokens(asked.texts, wave),
    };
    pace::take(aws, ask).await?;
    let of_wave = wave.iter().map(|place| asked.texts[*place].clone());
    let of_wave: Vec<String> = of_wave.collect();
    let ended = aws
        .bedrock
        .embed_each(&of_wave, EmbedPurpose::Document)
        .await;
    let mut came = Came {
        vectors: 0,
        failure: None,
    };
    let mut throttled = false;
    for (places, ended) in wave.chunks(per_call).zip(ended) {
        match ended {
            Ok(embeddings) => {
                asked.account.embedded(embeddings.tokens);
                came.vectors += places.len();
                kept.take(places, embeddings);
            }
            Err(error) => {
                throttled |= matches!(error, BedrockError::Throttled { .. });
                // A refusal is told before what may pass: it will not.
                if came.failure.is_none() || !error.retry() {
                    came.failure = Some(error);
                }
            }
        }
    }
    if throttled {
        pace::slow_down(aws).await;
    }
    Ok(came)
}

/// What came of the texts. It is stored as a line of JSON and, after it, the vectors' components, four bytes each, the lowest
/// first.
struct Kept {
    head: Head,
    vectors: Vec<Option<Vec<f32>>>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Head {
    /// Of the texts and of the model.
    texts: String,
    #[serde(flatten)]
    billed: Billed,
    /// The places of the texts that have a vector.
    #[serde(default)]
    places: Vec<usize>,
}

impl Kept {
    /// What is kept for these texts; nothing where it is for others, or cannot be read.
    async fn read(aws: &Aws, asked: &Texts<'_>) -> Result<Self, StepError> {
        let none = Self {
            head: Head {
                texts: fingerprint(aws, asked.texts),
                ..Head::default()
            },
            vectors: vec![None; asked.texts.len()],
        };
        let bytes = match aws.bucket.get(asked.key).await {
            Err(AwsError::Missing { .. }) => return Ok(none),
            bytes => bytes?,
        };
        let dimensions = aws.settings.embed_dimensions as usize;
        let found = decode(&bytes, asked.texts.len(), dimensions);
        Ok(found
            .filter(|found| found.head.texts == none.head.texts)
            .unwrap_or(none))
    }

    async fn write(&mut self, aws: &Aws, key: &str) -> Result<(), StepError> {
        self.head.places = self.places(Option::is_some);
        let mut bytes = serde_json::to_vec(&self.head)?;
        bytes.push(b'\n');
        let components = self.vectors.iter().flatten().flatten();
        bytes.extend(components.flat_map(|component| component.to_le_bytes()));
        aws.bucket.put(key, bytes).await?;
        Ok(())
    }

    fn places(&self, of: impl Fn(&Option<Vec<f32>>) -> bool) -> Vec<usize> {
        let vectors = self.vectors.iter().enumerate();
        let of = vectors.filter(|(_, vector)| of(vector));
        of.map(|(place, _)| place).collect()
    }

    /// The texts without a vector.
    fn open(&self) -> Vec<usize> {
        self.places(Option::is_none)
    }

    /// Takes in what came of one call for these texts.
    fn take(&mut self, places: &[usize], embeddings: Embeddings) {
        self.head.billed.tokens += embeddings.tokens;
        for (place, vector) in places.iter().zip(embeddings.vectors) {
            self.vectors[*place] = Some(vector);
        }
    }
}

/// Of texts and of the model that embeds them.
fn fingerprint(aws: &Aws, texts: &[String]) -> String {
    let embedder = configured_embedder(aws);
    let parts = texts.iter().map(String::as_str);
    let parts: Vec<&str> = std::iter::once(embedder.as_str()).chain(parts).collect();
    short_id(&parts, 64)
}

/// Keeps vectors that came of something else than calls, for [`embed`] to go on from.
pub(super) async fn keep(
    aws: &Aws,
    texts: &[String],
    key: &str,
    vectors: Vec<Option<Vec<f32>>>,
    billed: Billed,
) -> Result<(), StepError> {
    let head = Head {
        texts: fingerprint(aws, texts),
        billed,
        ..Head::default()
    };
    Kept { head, vectors }.write(aws, key).await
}

fn decode(bytes: &[u8], texts: usize, dimensions: usize) -> Option<Kept> {
    let line = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..line]).ok()?;
    let stored = &bytes[line + 1..];
    if dimensions == 0 || stored.len() != head.places.len() * dimensions * 4 {
        return None;
    }
    let mut vectors = vec![None; texts];
    for (place, stored) in head.places.iter().zip(stored.chunks_exact(dimensions * 4)) {
        let components = stored.as_chunks().0.iter();
        let vector = components.map(|bytes| f32::from_le_bytes(*bytes));
        *vectors.get_mut(*place)? = Some(vector.collect());
    }
    Some(Kept { head, vectors })
}

/// What was billed for what is kept at `key`; nothing where nothing is.
pub(super) async fn billed(aws: &Aws, key: &str) -> Result<Billed, StepError> {
    let bytes = match aws.bucket.get(key).await {
        Err(AwsError::Missing { .. }) => return Ok(Billed::default()),
        bytes => bytes?,
    };
    let line = bytes.split(|byte| *byte == b'\n').next();
    let head: Option<Head> = line.and_then(|line| serde_json::from_slice(line).ok());
    Ok(head.map(|head| head.billed).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_what_is_damaged_is_not() {
        let head = Head {
            texts: "t".into(),
            billed: Billed {
                tokens: 7,
                by_jobs: 3,
            },
            places: vec![0, 2],
        };
        let mut bytes = serde_json::to_vec(&head).unwrap();
        bytes.push(b'\n');
        // A component may hold a byte that looks like the end of the line.
        let vectors = [[1.5f32, f32::from_le_bytes([b'\n'; 4])], [-0.25, 0.0]];
        bytes.extend(vectors.iter().flatten().flat_map(|one| one.to_le_bytes()));
        let kept = decode(&bytes, 3, 2).unwrap();
        assert_eq!(kept.head, head);
        let read: Vec<Option<&[f32]>> = kept.vectors.iter().map(Option::as_deref).collect();
        assert_eq!(read, [Some(&vectors[0][..]), None, Some(&vectors[1][..])]);
        let check = |bytes: &[u8], texts: usize, dimensions: usize| {
            assert!(decode(bytes, texts, dimensions).is_none());
        };
        check(&bytes, 2, 2);
        check(&bytes, 3, 4);
        check(&bytes, 3, 0);
        check(&bytes[..bytes.len() - 1], 3, 2);
        check(b"{}", 3, 2);
        check(b"no\n", 3, 2);
    }
}

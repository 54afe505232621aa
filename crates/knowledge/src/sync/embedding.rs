//! Embed: the passages of one extracted batch to a segment part.

use aws::bedrock::{BedrockError, EmbedPurpose, Embeddings};
use aws::dynamo::keys;
use aws::{Aws, AwsError};
use retrieval::SegmentDocument;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::{BatchRow, DocumentStatus, objects};
use super::{StepError, configured_embedder, progress};
use crate::digest::sha256_hex;
use crate::pace::{self, Ask};

/// Calls that are made before the quota is asked again.
const WAVE_CALLS: usize = 32;
/// What a token is thought to have before the model counts it.
const BYTES_PER_TOKEN: usize = 4;

pub(super) async fn embed_batch(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
) -> Result<Value, StepError> {
    let batch_key = keys::batch(run_id, batch_id);
    let batch: Option<BatchRow> = aws.table.get(&batch_key).await?;
    let batch = batch.ok_or_else(|| AwsError::Missing {
        what: format!("batch {batch_id}"),
    })?;
    if batch.part_key.is_some() {
        // The same batch of the same run has the same vectors; they were paid for once.
        return Ok(done(run_id, &batch));
    }
    let passages_key = batch.passages_key.clone();
    let passages_key = passages_key.unwrap_or_else(|| objects::passages(run_id, batch_id));
    let body = aws.bucket.get(&passages_key).await?;
    let waiting = batch
        .documents
        .iter()
        .filter(|one| !one.status.is_settled());
    let waiting = waiting.map(|one| one.document_id.as_str());
    progress::mark(aws, run_id, waiting, DocumentStatus::Embedding, None).await?;
    let mut documents: Vec<SegmentDocument> = serde_json::from_slice(&body)?;
    let texts: Vec<String> = documents
        .iter()
        .flat_map(|document| {
            document
                .passages
                .iter()
                .map(|embedded| retrieval::embedded_text(&document.title, &embedded.passage))
        })
        .collect();
    let sha256 = sha256_hex(&body);
    let Embedded { vectors, tokens } = embed(aws, run_id, batch_id, &texts, sha256).await?;
    let mut vectors = vectors.into_iter();
    for passage in documents
        .iter_mut()
        .flat_map(|document| &mut document.passages)
    {
        passage.vector = vectors.next().unwrap_or_default();
    }
    let part_key = objects::part(run_id, batch_id);
    aws.bucket
        .put(&part_key, retrieval::part::encode(&documents)?)
        .await?;
    let mut batch = BatchRow {
        part_key: Some(part_key),
        // Semantic chunking may have embedded before.
        embedding_tokens: batch.embedding_tokens + tokens,
        embedder: Some(configured_embedder(aws)),
        ..batch
    };
    for document in &mut batch.documents {
        if !document.status.is_settled() {
            document.status = DocumentStatus::Embedding;
        }
    }
    aws.table.put(&batch_key, &batch).await?;
    Ok(done(run_id, &batch))
}

/// The vectors of a batch's texts and the tokens that were billed for them.
struct Embedded {
    vectors: Vec<Vec<f32>>,
    tokens: u64,
}

/// What an attempt that failed has of a batch's vectors, for the next one to go on with.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// Of the passages that they belong to.
    passages_sha256: String,
    vectors: Vec<Option<Vec<f32>>>,
    tokens: u64,
}

impl Saved {
    /// What was saved for these passages; nothing where none was, or for others.
    async fn read(aws: &Aws, key: &str, sha256: String, texts: usize) -> Result<Self, StepError> {
        let none = Self {
            passages_sha256: sha256,
            vectors: vec![None; texts],
            tokens: 0,
        };
        let saved: Self = match aws.bucket.get(key).await {
            Err(AwsError::Missing { .. }) => return Ok(none),
            bytes => serde_json::from_slice(&bytes?)?,
        };
        let same = saved.passages_sha256 == none.passages_sha256 && saved.vectors.len() == texts;
        Ok(if same { saved } else { none })
    }

    /// The texts without a vector.
    fn open(&self) -> Vec<usize> {
        let vectors = self.vectors.iter().enumerate();
        vectors
            .filter(|(_, vector)| vector.is_none())
            .map(|(at, _)| at)
            .collect()
    }

    /// Takes in what came of one call for these texts.
    fn take(&mut self, places: &[usize], embeddings: Embeddings) {
        self.tokens += embeddings.tokens;
        for (place, vector) in places.iter().zip(embeddings.vectors) {
            self.vectors[*place] = Some(vector);
        }
    }
}

/// Embeds texts wave by wave, each when the account's quota has room for it. What came is kept when something fails, so that
/// the state machine's next attempt asks only for the rest.
async fn embed(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
    texts: &[String],
    sha256: String,
) -> Result<Embedded, StepError> {
    let key = objects::vectors(run_id, batch_id);
    let mut saved = Saved::read(aws, &key, sha256, texts.len()).await?;
    let open = saved.open();
    let before = open.len();
    let per_call = aws.bedrock.texts_per_call();
    for wave in open.chunks(per_call * WAVE_CALLS) {
        if let Err(error) = embed_wave(aws, texts, wave, &mut saved).await {
            if saved.open().len() < before {
                aws.bucket.put(&key, serde_json::to_vec(&saved)?).await?;
            }
            return Err(error);
        }
    }
    let vectors: Vec<Vec<f32>> = saved.vectors.into_iter().flatten().collect();
    if vectors.len() != texts.len() {
        let detail = format!(
            "{} vectors came back for {} passages",
            vectors.len(),
            texts.len()
        );
        return Err(StepError::SegmentUnusable { detail });
    }
    let tokens = saved.tokens;
    Ok(Embedded { vectors, tokens })
}

/// Embeds the texts at these places; the first failure of its calls, once all have ended.
async fn embed_wave(
    aws: &Aws,
    texts: &[String],
    wave: &[usize],
    saved: &mut Saved,
) -> Result<(), StepError> {
    let per_call = aws.bedrock.texts_per_call();
    let of_wave: Vec<String> = wave.iter().map(|place| texts[*place].clone()).collect();
    let bytes: usize = of_wave.iter().map(String::len).sum();
    let ask = Ask {
        requests: wave.len().div_ceil(per_call) as u64,
        tokens: bytes.div_ceil(BYTES_PER_TOKEN) as u64,
    };
    pace::take(aws, ask).await?;
    let ended = aws
        .bedrock
        .embed_each(&of_wave, EmbedPurpose::Document)
        .await;
    let mut failure: Option<BedrockError> = None;
    for (places, ended) in wave.chunks(per_call).zip(ended) {
        match ended {
            Ok(embeddings) => saved.take(places, embeddings),
            // A refusal is told before what may pass: it will not.
            Err(error)
                if failure
                    .as_ref()
                    .is_none_or(|known| known.retry() && !error.retry()) =>
            {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    match failure {
        None => Ok(()),
        Some(error) => {
            if matches!(error, BedrockError::Throttled { .. }) {
                pace::slow_down(aws).await;
            }
            Err(error.into())
        }
    }
}

fn done(run_id: &str, batch: &BatchRow) -> Value {
    let (batch_id, tokens) = (&batch.batch_id, batch.embedding_tokens);
    json!({ "run_id": run_id, "batch_id": batch_id, "embedding_tokens": tokens })
}

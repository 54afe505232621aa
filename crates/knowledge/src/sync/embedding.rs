//! Embed: the passages of one extracted batch to a segment part.

use std::time::Instant;

use aws::Aws;
use aws::dynamo::keys;
use retrieval::SegmentDocument;
use serde_json::{Value, json};

use super::rows::{BatchRow, Billed, DocumentStatus, objects};
use super::waves::{self, Embedded, Texts};
use super::{StepError, configured_embedder, progress};
use crate::ledger::Account;

/// Embeds a batch, or as much of it as the time of a step allows: then `more` is true, and the step is to be made again.
pub(super) async fn embed_batch(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
    account: &Account<'_>,
) -> Result<Value, StepError> {
    let begun = Instant::now();
    let batch = BatchRow::read(aws, run_id, batch_id).await?;
    if batch.part_key.is_some() {
        // The same batch of the same run has the same vectors; they were paid for once.
        return Ok(done(run_id, &batch));
    }
    account.ensure_held().await?;
    let (documents, texts) = read(aws, run_id, &batch).await?;
    let waiting = batch
        .documents
        .iter()
        .filter(|one| !one.status.is_settled());
    let waiting = waiting.map(|one| one.document_id.as_str());
    progress::mark(aws, run_id, waiting, DocumentStatus::Embedding, None).await?;
    let asked = Texts {
        texts: &texts,
        key: &objects::vectors(run_id, batch_id),
        keep_all: false,
        begun,
        account,
    };
    let Embedded::All { vectors, billed } = waves::embed(aws, &asked).await? else {
        return Ok(json!({ "run_id": run_id, "batch_id": batch_id, "more": true }));
    };
    let batch = write_part(aws, run_id, batch, documents, vectors, billed).await?;
    Ok(done(run_id, &batch))
}

/// Writes the segment part of a batch and, last, its row: with a vector for each passage, in order, and what was billed for
/// them.
pub(super) async fn write_part(
    aws: &Aws,
    run_id: &str,
    batch: BatchRow,
    mut documents: Vec<SegmentDocument>,
    vectors: Vec<Vec<f32>>,
    billed: Billed,
) -> Result<BatchRow, StepError> {
    let passages: usize = documents.iter().map(|one| one.passages.len()).sum();
    if vectors.len() != passages {
        let came = vectors.len();
        let detail = format!("{came} vectors came back for {passages} passages");
        return Err(StepError::SegmentUnusable { detail });
    }
    let mut vectors = vectors.into_iter();
    for passage in documents
        .iter_mut()
        .flat_map(|document| &mut document.passages)
    {
        passage.vector = vectors.next().unwrap_or_default();
    }
    let part_key = objects::part(run_id, &batch.batch_id);
    aws.bucket
        .put(&part_key, retrieval::part::encode(&documents)?)
        .await?;
    let mut batch = BatchRow {
        part_key: Some(part_key),
        // Semantic chunking may have embedded before.
        embedding_tokens: batch.embedding_tokens + billed.tokens,
        job_tokens: batch.job_tokens + billed.by_jobs,
        embedder: Some(configured_embedder(aws)),
        ..batch
    };
    for document in &mut batch.documents {
        if !document.status.is_settled() {
            document.status = DocumentStatus::Embedding;
        }
    }
    let key = keys::batch(run_id, &batch.batch_id);
    aws.table.put(&key, &batch).await?;
    Ok(batch)
}

/// The documents of a batch that are to be embedded, and the texts of their passages in order.
pub(super) async fn read(
    aws: &Aws,
    run_id: &str,
    batch: &BatchRow,
) -> Result<(Vec<SegmentDocument>, Vec<String>), StepError> {
    let key = batch.passages_key.clone();
    let key = key.unwrap_or_else(|| objects::passages(run_id, &batch.batch_id));
    let documents: Vec<SegmentDocument> = serde_json::from_slice(&aws.bucket.get(&key).await?)?;
    let texts = documents.iter().flat_map(|document| {
        let passages = document.passages.iter();
        passages.map(|one| retrieval::embedded_text(&document.title, &one.passage))
    });
    let texts = texts.collect();
    Ok((documents, texts))
}

fn done(run_id: &str, batch: &BatchRow) -> Value {
    let (batch_id, tokens) = (&batch.batch_id, batch.embedding_tokens);
    json!({ "run_id": run_id, "batch_id": batch_id, "embedding_tokens": tokens, "more": false })
}

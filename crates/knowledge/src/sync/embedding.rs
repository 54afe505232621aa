//! Embed: the passages of one extracted batch to a segment part.

use aws::bedrock::EmbedPurpose;
use aws::dynamo::keys;
use aws::{Aws, AwsError};
use retrieval::SegmentDocument;
use serde_json::{Value, json};

use super::StepError;
use super::rows::{BatchRow, objects};

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
    let body = aws.bucket.get(&objects::passages(run_id, batch_id)).await?;
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
    let embeddings = aws.bedrock.embed(&texts, EmbedPurpose::Document).await?;
    if embeddings.vectors.len() != texts.len() {
        let detail = format!(
            "{} vectors came back for {} passages",
            embeddings.vectors.len(),
            texts.len()
        );
        return Err(StepError::SegmentUnusable { detail });
    }
    let mut vectors = embeddings.vectors.into_iter();
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
    let batch = BatchRow {
        part_key: Some(part_key),
        embedding_tokens: embeddings.tokens,
        ..batch
    };
    aws.table.put(&batch_key, &batch).await?;
    Ok(done(run_id, &batch))
}

fn done(run_id: &str, batch: &BatchRow) -> Value {
    let (batch_id, tokens) = (&batch.batch_id, batch.embedding_tokens);
    json!({ "run_id": run_id, "batch_id": batch_id, "embedding_tokens": tokens })
}

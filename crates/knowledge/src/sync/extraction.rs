//! Extract: bytes to text to passages, document by document; each refusal is recorded with its reason.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use retrieval::chunk::{self, FixedSize};
use retrieval::{EmbeddedPassage, Heading, SegmentDocument};
use serde_json::{Value, json};

use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, PublishedVersion,
    objects,
};
use super::{StepError, batch_id};
use crate::digest::sha256_hex;
use crate::names::{self, Sidecar};

/// A document that went through, or the reason why not: (name, words).
type Outcome = Result<(SegmentDocument, String), (&'static str, String)>;

pub(super) async fn extract_batch(
    aws: &Aws,
    run_id: &str,
    items: &[PlannedDocument],
) -> Result<Value, StepError> {
    let batch_id = batch_id(items);
    if let Some(passages) = already_embedded(aws, run_id, &batch_id).await? {
        return Ok(json!({ "run_id": run_id, "batch_id": batch_id, "passages": passages }));
    }
    let mut documents = Vec::new();
    let mut extracted = Vec::new();
    let mut rows = Vec::new();
    for item in items {
        let space = keys::space_of(&item.document_id).unwrap_or_default();
        let (outcome, sidecar) = extract_one(aws, space, item).await?;
        let problem = outcome
            .as_ref()
            .err()
            .map(|(name, words)| (name.to_string(), words.clone()));
        rows.push(updated_row(aws, item, sidecar, problem.clone()).await?);
        match outcome {
            Ok((document, text)) => {
                aws.bucket
                    .put(
                        &names::text_key(&item.document_id, &document.content_hash),
                        text,
                    )
                    .await?;
                documents.push(accepted(item, &document));
                extracted.push(document);
            }
            Err((error, reason)) => documents.push(refused(item, error, reason)),
        }
    }
    let passages: usize = extracted
        .iter()
        .map(|document| document.passages.len())
        .sum();
    let body = serde_json::to_vec(&extracted)?;
    aws.bucket
        .put(&objects::passages(run_id, &batch_id), body)
        .await?;
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| (keys::document(&row.document_id), row))
        .collect();
    aws.table.put_many(&rows).await?;
    let batch = BatchRow {
        batch_id: batch_id.clone(),
        documents,
        part_key: None,
        embedding_tokens: 0,
    };
    aws.table
        .put(&keys::batch(run_id, &batch_id), &batch)
        .await?;
    Ok(json!({ "run_id": run_id, "batch_id": batch_id, "passages": passages }))
}

/// The passages of a batch that went through before. A run that was interrupted begins its Map anew; what it has already
/// paid for is not done again.
async fn already_embedded(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
) -> Result<Option<u64>, AwsError> {
    let batch: Option<BatchRow> = aws.table.get(&keys::batch(run_id, batch_id)).await?;
    Ok(batch.filter(|batch| batch.part_key.is_some()).map(|batch| {
        let versions = batch
            .documents
            .iter()
            .filter_map(|one| one.version.as_ref());
        versions.map(|version| u64::from(version.passages)).sum()
    }))
}

fn accepted(item: &PlannedDocument, document: &SegmentDocument) -> BatchDocument {
    BatchDocument {
        document_id: item.document_id.clone(),
        name: item.name.clone(),
        status: DocumentStatus::Embedding,
        error: None,
        reason: None,
        version: Some(PublishedVersion {
            content_hash: document.content_hash.clone(),
            source_version: item.source_version.clone(),
            title: document.title.clone(),
            uri: document.uri.clone(),
            passages: document.passages.len() as u32,
            readers: Some(document.readers.clone()),
            vectors: None,
        }),
    }
}

fn refused(item: &PlannedDocument, error: &str, reason: String) -> BatchDocument {
    BatchDocument {
        document_id: item.document_id.clone(),
        name: item.name.clone(),
        status: DocumentStatus::Refused,
        error: Some(error.to_owned()),
        reason: Some(reason),
        version: None,
    }
}

/// The document's row with its readers and metadata as the sidecar says now.
async fn updated_row(
    aws: &Aws,
    item: &PlannedDocument,
    sidecar: Sidecar,
    problem: Option<(String, String)>,
) -> Result<DocumentRow, AwsError> {
    let now_ms = clock::now_ms();
    let stored: Option<DocumentRow> = aws.table.get(&keys::document(&item.document_id)).await?;
    let row = stored
        .unwrap_or_else(|| DocumentRow::new(item.document_id.clone(), item.name.clone(), now_ms));
    let status = match problem {
        Some(_) => DocumentStatus::Refused,
        None => DocumentStatus::Embedding,
    };
    Ok(DocumentRow {
        readers: sidecar.effective_readers(),
        metadata: sidecar.metadata(),
        screening: None,
        ..row.with_status(status, problem, now_ms)
    })
}

async fn extract_one(
    aws: &Aws,
    space: &str,
    item: &PlannedDocument,
) -> Result<(Outcome, Sidecar), StepError> {
    let key = names::source_key(space, &item.name);
    let sidecar = match aws.bucket.get(&names::sidecar_key(&key)).await {
        Ok(body) => match serde_json::from_slice::<Sidecar>(&body) {
            Ok(sidecar) => sidecar,
            Err(error) => {
                let words =
                    format!("its .metadata.json cannot be read ({error}); mend it and sync again");
                return Ok((Err(("MalformedMetadata", words)), Sidecar::default()));
            }
        },
        Err(AwsError::Missing { .. }) => Sidecar::default(),
        Err(error) => return Err(error.into()),
    };
    let limits = extract::Limits::default();
    match aws.bucket.head(&key).await? {
        None => {
            let words = "the source object vanished between plan and extraction; sync again".into();
            return Ok((Err(("SourceVanished", words)), sidecar));
        }
        Some(object) if object.bytes > limits.max_bytes as u64 => {
            let words = format!(
                "the file has {} bytes, the limit is {}; split it",
                object.bytes, limits.max_bytes
            );
            return Ok((Err(("DocumentTooLarge", words)), sidecar));
        }
        Some(_) => {}
    }
    let bytes = aws.bucket.get(&key).await?;
    let (item, readers) = (item.clone(), sidecar.clone());
    let object = || format!("s3://{}/{key}", aws.bucket.name());
    let uri = sidecar.uri.clone().unwrap_or_else(object);
    let outcome = tokio::task::spawn_blocking(move || passages_of(&bytes, &item, uri, &readers))
        .await
        .unwrap_or_else(|_| {
            let words = "extraction broke off on this document; please report it".to_owned();
            Err(("ExtractionCrashed", words))
        });
    Ok((outcome, sidecar))
}

/// Bytes to passages; pure, so that it may run on a thread of its own.
fn passages_of(bytes: &[u8], item: &PlannedDocument, uri: String, sidecar: &Sidecar) -> Outcome {
    let extracted = extract::extract(bytes, &item.name, &extract::Limits::default())
        .map_err(|error| (error.name(), error.to_string()))?;
    let headings: Vec<Heading> = extracted
        .headings
        .into_iter()
        .map(|heading| Heading {
            level: heading.level,
            title: heading.title,
            start: heading.start,
        })
        .collect();
    let passages = chunk::fixed_size(&extracted.text, &headings, &FixedSize::default());
    let file_name = item.name.rsplit('/').next().unwrap_or(&item.name);
    let document = SegmentDocument {
        document_id: item.document_id.clone(),
        title: extracted.title.unwrap_or_else(|| file_name.to_owned()),
        uri,
        content_hash: sha256_hex(extracted.text.as_bytes()),
        readers: sidecar.effective_readers(),
        metadata: sidecar.metadata(),
        passages: passages
            .into_iter()
            .map(|passage| EmbeddedPassage {
                passage,
                vector: Vec::new(),
            })
            .collect(),
    };
    Ok((document, extracted.text))
}

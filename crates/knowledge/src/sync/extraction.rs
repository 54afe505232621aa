//! Extract: bytes to text to passages, document by document; each refusal is recorded with its reason.

use std::collections::BTreeMap;
use std::time::Instant;

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use extract::Extracted;
use retrieval::{EmbeddedPassage, Passage, SegmentDocument};
use serde_json::{Value, json};

use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, PublishedVersion,
    objects,
};
use super::{StepError, batch_id, chunking};
use crate::digest::sha256_hex;
use crate::ledger::Account;
use crate::names::{self, Sidecar};

/// Why a document cannot be read: a name and words.
type Refusal = (&'static str, String);

/// Extracts a batch, or as much of it as the time of a step allows: then `more` is true, and the step is to be made again,
/// `resumed`.
pub(super) async fn extract_batch(
    aws: &Aws,
    run_id: &str,
    items: &[PlannedDocument],
    resumed: bool,
    account: &Account<'_>,
) -> Result<Value, StepError> {
    let begun = Instant::now();
    let batch_id = batch_id(items);
    let key = keys::batch(run_id, &batch_id);
    let stored: Option<BatchRow> = aws.table.get(&key).await?;
    // The batch's row is written last: where it names its passages, all of this was done. What was screened meanwhile must
    // not be replaced by what was not.
    if let Some(batch) = stored.as_ref().filter(|one| one.passages_key.is_some()) {
        return Ok(done(run_id, batch));
    }
    let mut rows = begin(aws, items, resumed).await?;
    let mut documents = Vec::new();
    let mut extracted = Vec::new();
    let mut updated = Vec::new();
    let mut tokens = 0;
    for item in items {
        let (read, sidecar) = read_one(aws, item).await?;
        let outcome = match read {
            Err(refusal) => Err(refusal),
            Ok(extracted) => match chunking::cut(aws, run_id, item, &extracted, begun, account)
                .await?
            {
                None => return Ok(json!({ "run_id": run_id, "batch_id": batch_id, "more": true })),
                Some(cut) => {
                    tokens += cut.tokens;
                    Ok(document(aws, item, &sidecar, extracted, cut.passages))
                }
            },
        };
        let problem = outcome
            .as_ref()
            .err()
            .map(|(name, words)| (name.to_string(), words.clone()));
        if let Some(row) = rows.remove(&item.document_id) {
            updated.push(updated_row(row, &sidecar, problem));
        }
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
    let passages_key = objects::passages(run_id, &batch_id);
    let body = serde_json::to_vec(&extracted)?;
    aws.bucket.put(&passages_key, body).await?;
    let updated: Vec<_> = updated
        .into_iter()
        .map(|row| (keys::document(&row.document_id), row))
        .collect();
    aws.table.put_many(&updated).await?;
    let batch = BatchRow {
        passages_key: Some(passages_key),
        embedding_tokens: tokens,
        ..BatchRow::new(batch_id, documents)
    };
    let written = match stored {
        Some(_) => aws.table.put(&key, &batch).await,
        None => aws.table.create(&key, &batch).await,
    };
    match written {
        // The same step was delivered twice, and the other was first.
        Ok(()) | Err(AwsError::Conflict { .. }) => Ok(done(run_id, &batch)),
        Err(error) => Err(error.into()),
    }
}

fn done(run_id: &str, batch: &BatchRow) -> Value {
    let (batch_id, passages) = (&batch.batch_id, batch.passages());
    json!({ "run_id": run_id, "batch_id": batch_id, "passages": passages, "more": false })
}

/// The rows of the documents, each noting that an attempt has begun, unless one is `resumed`.
async fn begin(
    aws: &Aws,
    items: &[PlannedDocument],
    resumed: bool,
) -> Result<BTreeMap<String, DocumentRow>, AwsError> {
    let wanted: Vec<_> = items
        .iter()
        .map(|item| keys::document(&item.document_id))
        .collect();
    let stored: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
    let mut stored: BTreeMap<String, DocumentRow> = stored
        .into_iter()
        .map(|row| (row.document_id.clone(), row))
        .collect();
    let now_ms = clock::now_ms();
    let rows: Vec<DocumentRow> = items
        .iter()
        .map(|item| {
            let new = || DocumentRow::new(item.document_id.clone(), item.name.clone(), now_ms);
            let row = stored.remove(&item.document_id).unwrap_or_else(new);
            match resumed {
                true => row,
                false => row.with_status(DocumentStatus::Extracting, None, now_ms),
            }
        })
        .collect();
    let noted: Vec<_> = rows
        .iter()
        .map(|row| (keys::document(&row.document_id), row))
        .collect();
    aws.table.put_many(&noted).await?;
    let named = rows.into_iter().map(|row| (row.document_id.clone(), row));
    Ok(named.collect())
}

fn accepted(item: &PlannedDocument, document: &SegmentDocument) -> BatchDocument {
    BatchDocument {
        document_id: item.document_id.clone(),
        name: item.name.clone(),
        status: DocumentStatus::Screening,
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
            knowledge_base: None,
            chunking: item.chunking.clone(),
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
fn updated_row(
    row: DocumentRow,
    sidecar: &Sidecar,
    problem: Option<(String, String)>,
) -> DocumentRow {
    let status = match problem {
        Some(_) => DocumentStatus::Refused,
        None => DocumentStatus::Screening,
    };
    DocumentRow {
        readers: sidecar.effective_readers(),
        metadata: sidecar.metadata(),
        screening: None,
        ..row.with_status(status, problem, clock::now_ms())
    }
}

/// The text of a document and its sidecar as they stand in the source.
pub(super) async fn read_one(
    aws: &Aws,
    item: &PlannedDocument,
) -> Result<(Result<Extracted, Refusal>, Sidecar), StepError> {
    let key = source_key(item);
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
    let name = item.name.clone();
    let read = tokio::task::spawn_blocking(move || {
        extract::extract(&bytes, &name, &extract::Limits::default())
            .map_err(|error| (error.name(), error.to_string()))
    });
    // A library that breaks on a document unwinds to here; the next document goes on.
    let read = read.await.unwrap_or_else(|_| {
        let words = "extraction broke off on this document; please report it".to_owned();
        Err(("ExtractionCrashed", words))
    });
    Ok((read, sidecar))
}

fn source_key(item: &PlannedDocument) -> String {
    let space = keys::space_of(&item.document_id).unwrap_or_default();
    names::source_key(space, &item.name)
}

/// A document that is not embedded, and its text.
fn document(
    aws: &Aws,
    item: &PlannedDocument,
    sidecar: &Sidecar,
    extracted: Extracted,
    passages: Vec<Passage>,
) -> (SegmentDocument, String) {
    let object = || format!("s3://{}/{}", aws.bucket.name(), source_key(item));
    let document = SegmentDocument {
        document_id: item.document_id.clone(),
        title: title(item, &extracted),
        uri: sidecar.uri.clone().unwrap_or_else(object),
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
    (document, extracted.text)
}

/// A document's own title, or the name of its file.
pub(super) fn title(item: &PlannedDocument, extracted: &Extracted) -> String {
    let own = extracted.title.clone();
    own.unwrap_or_else(|| names::file_name(&item.name).to_owned())
}

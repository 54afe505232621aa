//! Extract: bytes to text to passages, document by document; each refusal is recorded with its reason.

use std::collections::BTreeMap;
use std::time::Instant;

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use extract::Extracted;
use retrieval::{EmbeddedPassage, Passage, SegmentDocument};
use serde_json::{Value, json};

use super::attempts::Attempts;
use super::rows::{BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, objects};
use super::{StepError, batch_id, chunking, progress};
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
    if items.iter().any(|item| chunking::embeds(&item.chunking)) {
        account.ensure_held().await?;
    }
    let ids = items.iter().map(|item| item.document_id.as_str());
    let mut again = resumed;
    if !resumed {
        let now_ms = clock::now_ms();
        let marked = |row: DocumentRow| {
            again |= row.status == DocumentStatus::Extracting;
            row.with_status(DocumentStatus::Extracting, None, now_ms)
        };
        progress::update(aws, run_id, ids, marked).await?;
    }
    let mut attempts = Attempts::begin(aws, run_id, &batch_id, again).await?;
    let (mut documents, mut extracted, mut sidecars) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut tokens = 0;
    for item in items {
        let cut = cut_one(aws, run_id, item, begun, account, &mut attempts).await;
        attempts.leave(aws).await?;
        let (cut, sidecar) = match cut? {
            (Ok((_, None)), _) => {
                return Ok(json!({ "run_id": run_id, "batch_id": batch_id, "more": true }));
            }
            (Ok((text, Some(cut))), sidecar) => (Ok((text, cut)), sidecar),
            (Err((error, reason)), sidecar) => (Err(refused(item, error, reason)), sidecar),
        };
        documents.push(match cut {
            Err(refused) => refused,
            Ok((text, cut)) => {
                tokens += cut.tokens;
                let (document, text) = document(aws, item, &sidecar, text, cut.passages);
                let text_key = names::text_key(&item.document_id, &document.content_hash);
                aws.bucket.put(&text_key, text).await?;
                let accepted = BatchDocument::accepted(item, &document, DocumentStatus::Screening);
                extracted.push(document);
                accepted
            }
        });
        sidecars.insert(item.document_id.as_str(), sidecar);
    }
    let passages_key = objects::passages(run_id, &batch_id);
    let body = serde_json::to_vec(&extracted)?;
    aws.bucket.put(&passages_key, body).await?;
    tell(aws, run_id, &documents, &sidecars).await?;
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

/// The documents' rows with what became of them, and with their readers and metadata as the sidecars say now.
async fn tell(
    aws: &Aws,
    run_id: &str,
    documents: &[BatchDocument],
    sidecars: &BTreeMap<&str, Sidecar>,
) -> Result<(), AwsError> {
    let told: BTreeMap<&str, &BatchDocument> = documents
        .iter()
        .map(|one| (one.document_id.as_str(), one))
        .collect();
    let now_ms = clock::now_ms();
    let changed = |row: DocumentRow| {
        let id = row.document_id.as_str();
        let (Some(one), Some(sidecar)) = (told.get(id), sidecars.get(id)) else {
            return row;
        };
        DocumentRow {
            readers: sidecar.effective_readers(),
            metadata: sidecar.metadata(),
            screening: None,
            ..row.with_status(one.status, one.problem(), now_ms)
        }
    };
    progress::update(aws, run_id, told.keys().copied(), changed).await
}

fn done(run_id: &str, batch: &BatchRow) -> Value {
    let (batch_id, passages) = (&batch.batch_id, batch.passages());
    json!({ "run_id": run_id, "batch_id": batch_id, "passages": passages, "more": false })
}

/// A document's text and its passages; no passages where the time of the step is over.
type Cut = (Extracted, Option<chunking::Cut>);

async fn cut_one(
    aws: &Aws,
    run_id: &str,
    item: &PlannedDocument,
    begun: Instant,
    account: &Account<'_>,
    attempts: &mut Attempts,
) -> Result<(Result<Cut, Refusal>, Sidecar), StepError> {
    if !attempts.enter(aws, &item.document_id).await? {
        let words = "reading it ended the process, twice: it takes more memory or time than there is; split it, or save it \
                     anew with the program that made it, and sync again";
        let sidecar = match sidecar(aws, &source_key(item)).await? {
            Ok(sidecar) => sidecar,
            Err(refusal) => return Ok((Err(refusal), Sidecar::default())),
        };
        return Ok((Err(("ExtractionCrashed", words.to_owned())), sidecar));
    }
    let (read, sidecar) = read_one(aws, item).await?;
    let extracted = match read {
        Ok(extracted) => extracted,
        Err(refusal) => return Ok((Err(refusal), sidecar)),
    };
    let cut = chunking::cut(aws, run_id, item, &extracted, begun, account).await?;
    Ok((Ok((extracted, cut)), sidecar))
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

/// The text of a document and its sidecar as they stand in the source.
pub(super) async fn read_one(
    aws: &Aws,
    item: &PlannedDocument,
) -> Result<(Result<Extracted, Refusal>, Sidecar), StepError> {
    let key = source_key(item);
    let sidecar = match sidecar(aws, &key).await? {
        Ok(sidecar) => sidecar,
        Err(refusal) => return Ok((Err(refusal), Sidecar::default())),
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

async fn sidecar(aws: &Aws, key: &str) -> Result<Result<Sidecar, Refusal>, StepError> {
    match aws.bucket.get(&names::sidecar_key(key)).await {
        Ok(body) => Ok(serde_json::from_slice(&body).map_err(|error| {
            let words =
                format!("its .metadata.json cannot be read ({error}); mend it and sync again");
            ("MalformedMetadata", words)
        })),
        Err(AwsError::Missing { .. }) => Ok(Ok(Sidecar::default())),
        Err(error) => Err(error.into()),
    }
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

//! Documents: announce, upload, list, read, delete. A document that the caller may not read looks like a missing one.

use std::collections::BTreeMap;

use aws::dynamo::Range;
use aws::dynamo::keys::{self, DOCUMENT_PREFIX};
use aws::{Aws, AwsError, clock};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::names::{self, Sidecar};
use crate::spaces;
use crate::sync::rows::{DocumentRow, DocumentStatus};

/// An upload that was announced and never came is forgotten after a day.
const ANNOUNCED_SECONDS: u64 = 24 * 3600;

/// A document as callers see it.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    pub document_id: String,
    pub name: String,
    pub title: String,
    pub uri: String,
    pub status: DocumentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub passages: u32,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    pub updated_at: String,
}

/// One page of documents in the order of their ids.
#[derive(Debug, Serialize)]
pub struct DocumentPage {
    pub documents: Vec<Document>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The extracted text that passages and citations count their bytes in.
#[derive(Debug, Serialize)]
pub struct DocumentText {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub content_hash: String,
    pub text: String,
}

/// A document to be stored: its name in the space and what goes into the sidecar.
#[derive(Debug, Clone, Default)]
pub struct NewDocument {
    pub name: String,
    pub metadata: BTreeMap<String, Value>,
    pub readers: Vec<String>,
}

impl From<DocumentRow> for Document {
    fn from(row: DocumentRow) -> Self {
        let file_name = row.name.rsplit('/').next().unwrap_or_default().to_owned();
        let (title, uri, passages, content_hash) = match row.published {
            Some(live) => (live.title, live.uri, live.passages, Some(live.content_hash)),
            None => (file_name, String::new(), 0, None),
        };
        Self {
            document_id: row.document_id,
            name: row.name,
            title,
            uri,
            status: row.status,
            error: row.error,
            reason: row.reason,
            passages,
            bytes: row.bytes,
            content_hash,
            metadata: row.metadata,
            run_id: row.run_id,
            updated_at: clock::rfc3339(row.updated_at_ms),
        }
    }
}

/// Stores a document's bytes in the source; a run then ingests it. Answers the document's id.
///
/// # Errors
/// [`KnowledgeError::InvalidDocumentName`], [`KnowledgeError::DocumentNotFound`] when the name is another's
/// document, or the services' errors.
pub async fn store(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    document: &NewDocument,
    content: Bytes,
) -> Result<String, KnowledgeError> {
    let bytes = content.len() as u64;
    let id = announce(aws, space, caller, document, bytes).await?;
    aws.bucket
        .put(&names::source_key(space, &document.name), content)
        .await?;
    Ok(id)
}

/// Prepares an upload by link: writes sidecar and row, answers the document's id and the presigned link.
///
/// # Errors
/// As [`store`]; [`KnowledgeError::PayloadTooLarge`] for more bytes than a document may have.
pub async fn upload_link(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    document: &NewDocument,
    bytes: u64,
) -> Result<(String, String), KnowledgeError> {
    let id = announce(aws, space, caller, document, bytes).await?;
    let link = aws
        .bucket
        .upload_link(&names::source_key(space, &document.name))
        .await?;
    Ok((id, link))
}

async fn announce(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    document: &NewDocument,
    bytes: u64,
) -> Result<String, KnowledgeError> {
    if let Some(problem) = names::name_problem(&document.name) {
        let name = document.name.clone();
        return Err(KnowledgeError::InvalidDocumentName { name, problem });
    }
    spaces::ensure(aws, space).await?;
    let id = names::document_id(space, &document.name);
    let key = keys::document(&id);
    let stored: Option<DocumentRow> = aws.table.get(&key).await?;
    if let Some(row) = &stored
        && row.status != DocumentStatus::Deleted
        && !caller.may_read(&row.readers)
    {
        return Err(KnowledgeError::DocumentNameTaken {
            name: document.name.clone(),
        });
    }
    let sidecar = Sidecar {
        metadata_attributes: document.metadata.clone(),
        readers: document.readers.clone(),
        owner: caller.owner().map(str::to_owned),
    };
    let body = serde_json::to_vec(&sidecar).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })?;
    let source_key = names::source_key(space, &document.name);
    aws.bucket
        .put(&names::sidecar_key(&source_key), body)
        .await?;
    let now_ms = clock::now_ms();
    let fresh = stored.is_none();
    let row = stored
        .unwrap_or_else(|| DocumentRow::new(id.clone(), document.name.clone(), now_ms))
        .with_status(DocumentStatus::Pending, None, now_ms);
    let expires_at = fresh.then_some(now_ms / 1000 + ANNOUNCED_SECONDS);
    let row = DocumentRow {
        readers: sidecar.effective_readers(),
        bytes,
        expires_at,
        ..row
    };
    aws.table.put(&key, &row).await?;
    Ok(id)
}

/// Takes a document out of the source; a run then takes it out of the index.
///
/// # Errors
/// [`KnowledgeError::DocumentNotFound`].
pub async fn remove(aws: &Aws, document_id: &str, caller: &Caller) -> Result<(), KnowledgeError> {
    let row = readable_row(aws, document_id, caller).await?;
    let space = keys::space_of(document_id).unwrap_or_default();
    let key = names::source_key(space, &row.name);
    aws.bucket.delete(&key).await?;
    aws.bucket.delete(&names::sidecar_key(&key)).await?;
    Ok(())
}

/// One document.
///
/// # Errors
/// [`KnowledgeError::DocumentNotFound`].
pub async fn get(
    aws: &Aws,
    document_id: &str,
    caller: &Caller,
) -> Result<Document, KnowledgeError> {
    Ok(readable_row(aws, document_id, caller).await?.into())
}

/// The extracted text of a document's live version.
///
/// # Errors
/// [`KnowledgeError::DocumentNotFound`], also for a document that has no live version.
pub async fn text(
    aws: &Aws,
    document_id: &str,
    caller: &Caller,
) -> Result<DocumentText, KnowledgeError> {
    let row = readable_row(aws, document_id, caller).await?;
    let Some(live) = row.published else {
        return Err(KnowledgeError::DocumentNotFound {
            document_id: document_id.to_owned(),
        });
    };
    let body = aws
        .bucket
        .get(&names::text_key(document_id, &live.content_hash))
        .await?;
    let text = String::from_utf8(body.to_vec()).map_err(|error| AwsError::Damaged {
        detail: format!("text of {document_id}: {error}"),
    })?;
    Ok(DocumentText {
        document_id: row.document_id,
        title: live.title,
        uri: live.uri,
        content_hash: live.content_hash,
        text,
    })
}

/// One page of the documents that the caller may read.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`].
pub async fn list(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    limit: usize,
    cursor: Option<&str>,
) -> Result<DocumentPage, KnowledgeError> {
    spaces::require(aws, space).await?;
    let after = cursor.map(|id| format!("{DOCUMENT_PREFIX}{id}"));
    let partition = keys::space_partition(space);
    let range = Range {
        partition: &partition,
        sort_prefix: DOCUMENT_PREFIX,
        after: after.as_deref(),
        limit,
        newest_first: false,
    };
    let page = aws.table.query::<DocumentRow>(range).await?;
    let documents = page
        .items
        .into_iter()
        .filter(|row| row.status != DocumentStatus::Deleted && caller.may_read(&row.readers))
        .map(Document::from)
        .collect();
    let next_cursor = page
        .next
        .and_then(|key| key.strip_prefix(DOCUMENT_PREFIX).map(str::to_owned));
    Ok(DocumentPage {
        documents,
        next_cursor,
    })
}

async fn readable_row(
    aws: &Aws,
    document_id: &str,
    caller: &Caller,
) -> Result<DocumentRow, KnowledgeError> {
    let missing = || KnowledgeError::DocumentNotFound {
        document_id: document_id.to_owned(),
    };
    if keys::space_of(document_id).is_none() {
        return Err(missing());
    }
    let row: Option<DocumentRow> = aws.table.get(&keys::document(document_id)).await?;
    row.filter(|row| row.status != DocumentStatus::Deleted && caller.may_read(&row.readers))
        .ok_or_else(missing)
}

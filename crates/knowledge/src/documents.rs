//! Documents: store, list, read, delete. A document that the caller may not read looks like a missing one; so does
//! every document of a space that they have no role in.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::Range;
use aws::dynamo::keys::{self, DOCUMENT_PREFIX};
use aws::{Aws, AwsError, clock};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::{self, Caller};
use crate::limits;
use crate::names::{self, Sidecar};
use crate::paging::{self, Visible};
use crate::release::{may_read, seen};
use crate::roles::Role;
use crate::sources;
use crate::spaces::{self, Entered};
use crate::sync::rows::{DocumentRow, DocumentStatus, Progress, Screening};
use crate::uploads::{ANNOUNCED_SECONDS, UploadRow};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screening: Option<Screening>,
    pub passages: u32,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// How often ingestion of the version that was last tried has begun.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Stages::is_empty")]
    pub stages: Stages,
    pub updated_at: String,
}

/// When the last attempt came to each stage, RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracting_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screening_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_at: Option<String>,
    /// Published, refused, failed or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<String>,
}

impl Stages {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Progress> for Stages {
    fn from(progress: &Progress) -> Self {
        let told = |ms: Option<u64>| ms.map(clock::rfc3339);
        Self {
            planned_at: told(progress.planned_at_ms),
            extracting_at: told(progress.extracting_at_ms),
            screening_at: told(progress.screening_at_ms),
            embedding_at: told(progress.embedding_at_ms),
            settled_at: told(progress.settled_at_ms),
        }
    }
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
            screening: row.screening,
            passages,
            bytes: row.bytes,
            content_hash,
            metadata: row.metadata,
            run_id: row.run_id,
            attempts: row.progress.attempts,
            stages: Stages::from(&row.progress),
            updated_at: clock::rfc3339(row.updated_at_ms),
        }
    }
}

/// Stores a document's bytes in the source; a run then ingests it. Answers the document's id.
///
/// # Errors
/// [`KnowledgeError::InvalidDocumentName`], [`KnowledgeError::InvalidPrincipal`], [`KnowledgeError::RoleRequired`] for
/// who is no editor, [`KnowledgeError::DocumentNameTaken`] when the name is that of a document which they may not read,
/// or the services' errors.
pub async fn store(
    aws: &Aws,
    entered: &Entered,
    caller: &Caller,
    document: &NewDocument,
    content: Bytes,
) -> Result<String, KnowledgeError> {
    let (id, sidecar) = admit(aws, entered, caller, document).await?;
    let space = entered.space.as_str();
    let row = announced_row(aws, &id, document, &sidecar, content.len() as u64).await?;
    write_sidecar(aws, space, &document.name, &sidecar).await?;
    aws.table.put(&keys::document(&id), &row).await?;
    aws.bucket
        .put(&names::source_key(space, &document.name), content)
        .await?;
    Ok(id)
}

/// Whether `caller` may store `document`; answers its id and sidecar.
pub(crate) async fn admit(
    aws: &Aws,
    entered: &Entered,
    caller: &Caller,
    document: &NewDocument,
) -> Result<(String, Sidecar), KnowledgeError> {
    if let Some(problem) = names::name_problem(&document.name) {
        let name = document.name.clone();
        return Err(KnowledgeError::InvalidDocumentName { name, problem });
    }
    access::check_principals(&document.readers)?;
    entered.require(Role::Editor)?;
    if sources::holds(aws, &entered.space, &document.name).await? {
        return Err(KnowledgeError::InvalidDocumentName {
            name: document.name.clone(),
            problem: "its first part is the name of a source of this space, whose documents come from there",
        });
    }
    let id = names::document_id(&entered.space, &document.name);
    let stored: Option<DocumentRow> = aws.table.get(&keys::document(&id)).await?;
    if let Some(row) = &stored
        && row.status != DocumentStatus::Deleted
        && !may_read(row, caller)
    {
        return Err(KnowledgeError::DocumentNameTaken {
            name: document.name.clone(),
        });
    }
    let sidecar = Sidecar {
        metadata_attributes: document.metadata.clone(),
        readers: document.readers.clone(),
        owner: caller.owner().map(str::to_owned),
        uri: None,
    }
    .with_listed_readers();
    Ok((id, sidecar))
}

/// The row of a document whose bytes come next; one that never gets them is forgotten after a day.
async fn announced_row(
    aws: &Aws,
    id: &str,
    document: &NewDocument,
    sidecar: &Sidecar,
    bytes: u64,
) -> Result<DocumentRow, AwsError> {
    let stored: Option<DocumentRow> = aws.table.get(&keys::document(id)).await?;
    let now_ms = clock::now_ms();
    let expires_at = stored
        .is_none()
        .then_some(now_ms / 1000 + ANNOUNCED_SECONDS);
    let row = stored
        .unwrap_or_else(|| DocumentRow::new(id.to_owned(), document.name.clone(), now_ms))
        .with_status(DocumentStatus::Pending, None, now_ms);
    Ok(DocumentRow {
        readers: sidecar.effective_readers(),
        bytes,
        expires_at,
        ..row
    })
}

/// Writes a document's sidecar.
pub(crate) async fn write_sidecar(
    aws: &Aws,
    space: &str,
    name: &str,
    sidecar: &Sidecar,
) -> Result<(), AwsError> {
    let body = serde_json::to_vec(sidecar).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })?;
    let key = names::sidecar_key(&names::source_key(space, name));
    aws.bucket.put(&key, body).await
}

/// Refuses ids of which the caller may neither read the document nor the announced upload: a run over them would
/// succeed and do nothing. Another's document and none at all are refused alike.
///
/// # Errors
/// [`KnowledgeError::DocumentNotFound`] naming the first of them.
pub async fn require_known(
    aws: &Aws,
    caller: &Caller,
    ids: &[String],
) -> Result<(), KnowledgeError> {
    let mut unknown: Vec<&String> = ids.iter().collect();
    unknown.sort();
    unknown.dedup();
    // The table takes no key twice in one request.
    let document_keys: Vec<_> = unknown.iter().map(|id| keys::document(id)).collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&document_keys).await?;
    let known: BTreeSet<&String> = rows
        .iter()
        .filter(|row| may_read(row, caller))
        .map(|row| &row.document_id)
        .collect();
    unknown.retain(|id| !known.contains(id));
    let upload_keys: Vec<_> = unknown.iter().map(|id| keys::upload(id)).collect();
    let uploads: Vec<UploadRow> = aws.table.get_many(&upload_keys).await?;
    let announced: BTreeSet<&String> = uploads
        .iter()
        .filter(|upload| caller.may_read(&upload.sidecar.effective_readers()))
        .map(|upload| &upload.document_id)
        .collect();
    match unknown.into_iter().find(|id| !announced.contains(id)) {
        None => Ok(()),
        Some(id) => Err(KnowledgeError::DocumentNotFound {
            document_id: id.clone(),
        }),
    }
}

/// Takes a document out of the source; a run then takes it out of the index.
///
/// # Errors
/// [`KnowledgeError::DocumentNotFound`]; [`KnowledgeError::RoleRequired`] for who is no editor;
/// [`KnowledgeError::DocumentOfSource`] for a document that a source would bring again.
pub async fn remove(aws: &Aws, document_id: &str, caller: &Caller) -> Result<(), KnowledgeError> {
    let (entered, row) = readable_row(aws, document_id, caller, Role::Editor).await?;
    limits::count(aws, &entered, caller).await?;
    let space = entered.space.as_str();
    if let Some(source_name) = sources::bringing(aws, space, &row.name).await? {
        return Err(KnowledgeError::DocumentOfSource {
            document_id: document_id.to_owned(),
            source_name,
        });
    }
    let key = names::source_key(space, &row.name);
    aws.bucket.delete(&key).await?;
    aws.bucket.delete(&names::sidecar_key(&key)).await?;
    // An upload that was announced before would bring the document back.
    aws.table.delete_many(&[keys::upload(document_id)]).await?;
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
    let (_, row) = readable_row(aws, document_id, caller, Role::Reader).await?;
    Ok(row.into())
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
    let (_, row) = readable_row(aws, document_id, caller, Role::Reader).await?;
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

/// Which documents to list, and where to begin.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub limit: usize,
    /// `next_cursor` of the page before.
    pub cursor: Option<&'a str>,
    /// Only those that stand so.
    pub status: Option<DocumentStatus>,
}

/// One page of the documents that the caller may read.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], [`KnowledgeError::InvalidCursor`].
pub async fn list(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    listing: Listing<'_>,
) -> Result<DocumentPage, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Reader).await?;
    let partition = keys::space_partition(space);
    let mut after =
        paging::after(listing.cursor, space)?.map(|id| format!("{DOCUMENT_PREFIX}{id}"));
    let mut visible = Visible::new(listing.limit);
    let wanted = |row: &DocumentRow| listing.status.is_none_or(|status| row.status == status);
    while visible.wants_more() {
        let range = Range {
            partition: &partition,
            sort_prefix: DOCUMENT_PREFIX,
            after: after.as_deref(),
            limit: visible.rows_to_read(),
            newest_first: false,
        };
        let page = aws.table.query::<DocumentRow>(range).await?;
        visible.take(page.items, |row| wanted(row) && may_read(row, caller));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (rows, next_cursor) = visible.finish(|row| row.document_id.clone());
    let seen = rows.into_iter().filter_map(|row| seen(row, caller));
    Ok(DocumentPage {
        documents: seen.map(Document::from).collect(),
        next_cursor,
    })
}

/// The row of a document that the caller may read, if their role in its space is enough for `needed`. The role is
/// looked at first: what it refuses, it refuses for every id alike.
async fn readable_row(
    aws: &Aws,
    document_id: &str,
    caller: &Caller,
    needed: Role,
) -> Result<(Entered, DocumentRow), KnowledgeError> {
    let missing = || KnowledgeError::DocumentNotFound {
        document_id: document_id.to_owned(),
    };
    let space = keys::space_of(document_id).ok_or_else(missing)?;
    let key = keys::document(document_id);
    let (entered, row) = tokio::join!(
        spaces::enter(aws, space, caller, needed),
        aws.table.get::<DocumentRow>(&key)
    );
    let entered = entered.map_err(|error| match error {
        KnowledgeError::UnknownSpace { .. } => missing(),
        error => error,
    })?;
    let row = row?.and_then(|row| seen(row, caller)).ok_or_else(missing)?;
    Ok((entered, row))
}

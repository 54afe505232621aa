//! Uploads by link: announced, sent to a place of their own, and taken over by the run that names the document.
//!
//! Until a run finds exactly the announced bytes, nothing of the document changes: neither its bytes nor who may read
//! it. Bytes, readers and metadata change together.

use aws::dynamo::keys::{self, UPLOAD_PREFIX};
use aws::{Aws, AwsError, chance, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
use crate::access::Caller;
use crate::documents::{self, NewDocument};
use crate::names::{self, Sidecar};
use crate::spaces::Entered;
use crate::sync::rows::{DocumentRow, DocumentStatus};

/// An upload that was announced and never came is forgotten after a day.
pub(crate) const ANNOUNCED_SECONDS: u64 = 24 * 3600;

/// An announced upload. A second announcement for the same document takes the first one's place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub document_id: String,
    pub name: String,
    pub upload_id: String,
    /// What the object must measure.
    pub bytes: u64,
    pub sidecar: Sidecar,
    /// Who announced it: one of them must be able to read what the upload replaces, when it does.
    #[serde(default)]
    pub announced_by: Vec<String>,
    /// DynamoDB's time to live, seconds.
    pub expires_at: u64,
}

/// What became of an announced upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The document has the new bytes and sidecar.
    Over,
    /// The document is one that who announced the upload may not read: nothing of it changes, and no run fails for it.
    Dropped,
    /// The bytes are not there, or not those announced: (name, words).
    Refused(&'static str, String),
}

/// Announces an upload; answers the document's id and the link that takes its bytes.
///
/// # Errors
/// As [`documents::store`]; [`KnowledgeError::DocumentTooLarge`] for more bytes than a document may have.
pub async fn announce(
    aws: &Aws,
    entered: &Entered,
    caller: &Caller,
    document: &NewDocument,
    bytes: u64,
) -> Result<(String, String), KnowledgeError> {
    let limit = extract::Limits::default().max_bytes as u64;
    if bytes > limit {
        return Err(KnowledgeError::DocumentTooLarge { bytes, limit });
    }
    let (document_id, sidecar) = documents::admit(aws, entered, caller, document).await?;
    let space = entered.space.as_str();
    let now_ms = clock::now_ms();
    let upload_id = chance::ulid(now_ms);
    let link = aws
        .bucket
        .upload_link(&names::staging_key(space, &upload_id), bytes)
        .await?;
    let row = UploadRow {
        document_id: document_id.clone(),
        name: document.name.clone(),
        upload_id,
        bytes,
        sidecar,
        announced_by: caller.principals.clone(),
        expires_at: now_ms / 1000 + ANNOUNCED_SECONDS,
    };
    aws.table.put(&keys::upload(&document_id), &row).await?;
    Ok((document_id, link))
}

/// The announced uploads of these documents.
pub(crate) async fn of_documents(aws: &Aws, ids: &[String]) -> Result<Vec<UploadRow>, AwsError> {
    let keys: Vec<_> = ids.iter().map(|id| keys::upload(id)).collect();
    aws.table.get_many(&keys).await
}

/// The announced uploads of a space.
pub(crate) async fn of_space(aws: &Aws, space: &str) -> Result<Vec<UploadRow>, AwsError> {
    aws.table
        .query_all(&keys::space_partition(space), UPLOAD_PREFIX)
        .await
}

/// Makes an upload its document's source. May be repeated: the announcement goes last but for the waiting bytes.
///
/// # Errors
/// The services' errors. That the bytes are not the announced ones is [`Taken::Refused`].
pub(crate) async fn take_over(aws: &Aws, upload: &UploadRow) -> Result<Taken, AwsError> {
    let space = keys::space_of(&upload.document_id).unwrap_or_default();
    let staged = names::staging_key(space, &upload.upload_id);
    let Some(object) = aws.bucket.head(&staged).await? else {
        let words = "the upload was announced and its bytes did not come; send them to the link, or announce it again";
        return Ok(Taken::Refused("UploadMissing", words.into()));
    };
    if object.bytes != upload.bytes {
        let words = format!(
            "{} bytes came where {} were announced; announce the upload again",
            object.bytes, upload.bytes
        );
        return Ok(Taken::Refused("UploadSizeMismatch", words));
    }
    let key = keys::document(&upload.document_id);
    let now_ms = clock::now_ms();
    let stored = aws.table.get::<DocumentRow>(&key).await?;
    // The document may have become another's since the link was signed.
    if let Some(row) = &stored
        && row.status != DocumentStatus::Deleted
        && !row
            .readers
            .iter()
            .any(|reader| upload.announced_by.contains(reader))
    {
        tracing::warn!(
            document_id = upload.document_id,
            "an upload was dropped: its document is another's now"
        );
        aws.table
            .delete_many(&[keys::upload(&upload.document_id)])
            .await?;
        aws.bucket.delete(&staged).await?;
        return Ok(Taken::Dropped);
    }
    let row = stored.unwrap_or_else(|| {
        DocumentRow::new(upload.document_id.clone(), upload.name.clone(), now_ms)
    });
    let row = DocumentRow {
        readers: upload.sidecar.effective_readers(),
        bytes: upload.bytes,
        expires_at: None,
        ..row.with_status(DocumentStatus::Pending, None, now_ms)
    };
    documents::write_sidecar(aws, space, &upload.name, &upload.sidecar).await?;
    let source = names::source_key(space, &upload.name);
    aws.bucket.copy(&staged, &source).await?;
    aws.table.put(&key, &row).await?;
    aws.table
        .delete_many(&[keys::upload(&upload.document_id)])
        .await?;
    aws.bucket.delete(&staged).await?;
    Ok(Taken::Over)
}

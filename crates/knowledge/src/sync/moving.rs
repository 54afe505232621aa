//! Move: a document that has another name now keeps its passages and vectors. They are taken from the segment that
//! answers for the old name and stand under the new one in a part of the run, as if they had just been embedded; the
//! publication that takes the old name out brings the new one in.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use retrieval::SegmentDocument;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compact::documents_of;
use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, PublishedVersion,
    objects,
};
use super::segments::Lists;
use super::{StepError, configured_embedder, done};
use crate::digest::short_id;
use crate::manifest::{self, ManifestSegment};
use crate::names;

/// Documents of one batch: its row is far below DynamoDB's 400 KB.
const BATCH_DOCUMENTS: usize = 200;

/// A document under its old and its new name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renamed {
    pub from: String,
    pub from_name: String,
    pub to: PlannedDocument,
}

/// What is moved out of one segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Moves {
    segment: ManifestSegment,
    /// With the ordinal of the document in the segment.
    documents: Vec<(u32, Renamed)>,
}

/// Whether a file is read alike under both names: the ending is a hint to what it is.
fn is_read_alike(renamed: &Renamed) -> bool {
    let ending = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        let ending = file.rsplit_once('.').map(|(_, ending)| ending);
        ending.map(str::to_ascii_lowercase)
    };
    ending(&renamed.from_name) == ending(&renamed.to.name)
}

/// Finds those of the renamed documents that a live segment answers for, and writes what is to be moved. Answers the ids
/// of the new names; the rest is brought in as if it were new.
pub(super) async fn choose(
    aws: &Aws,
    run_id: &str,
    space: &str,
    renamed: Vec<Renamed>,
) -> Result<BTreeSet<String>, StepError> {
    let mut wanted: BTreeMap<String, Renamed> = renamed
        .into_iter()
        .filter(is_read_alike)
        .map(|one| (one.from.clone(), one))
        .collect();
    let edition = match wanted.is_empty() {
        true => None,
        false => manifest::edition(aws, space).await?,
    };
    let Some(edition) = edition else {
        return Ok(BTreeSet::new());
    };
    let (mut lists, mut moves, mut moved) = (Lists::default(), Vec::new(), BTreeSet::new());
    for segment in &edition.manifest.segments {
        let members = edition.ledger.members.get(&segment.key);
        let may_hold = |id: &String| members.is_none_or(|members| members.may_hold(id));
        if !wanted.keys().any(may_hold) {
            continue;
        }
        let mut documents = Vec::new();
        for (ordinal, listed) in lists.of(aws, &segment.key).await?.iter().enumerate() {
            let ordinal = ordinal as u32;
            if segment.dead_documents.binary_search(&ordinal).is_err()
                && let Some(one) = wanted.remove(&listed.document_id)
            {
                moved.insert(one.to.document_id.clone());
                documents.push((ordinal, one));
            }
        }
        if !documents.is_empty() {
            moves.push(Moves {
                segment: segment.clone(),
                documents,
            });
        }
    }
    if !moves.is_empty() {
        let body = serde_json::to_vec(&moves)?;
        aws.bucket.put(&objects::moves(run_id), body).await?;
    }
    Ok(moved)
}

/// The step: segment by segment, so that memory holds one of them.
pub(super) async fn move_renamed(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let body = aws.bucket.get(&objects::moves(run_id)).await?;
    let moves: Vec<Moves> = serde_json::from_slice(&body)?;
    for one in moves {
        for part in one.documents.chunks(BATCH_DOCUMENTS) {
            move_part(aws, run_id, &one.segment, part).await?;
        }
    }
    Ok(done(run_id))
}

/// The documents under their new names that a run has set out to move.
pub(super) async fn planned(aws: &Aws, run_id: &str) -> Result<Vec<PlannedDocument>, StepError> {
    let body = match aws.bucket.get(&objects::moves(run_id)).await {
        Err(AwsError::Missing { .. }) => return Ok(Vec::new()),
        body => body?,
    };
    let moves: Vec<Moves> = serde_json::from_slice(&body)?;
    let documents = moves.into_iter().flat_map(|one| one.documents);
    Ok(documents.map(|(_, one)| one.to).collect())
}

async fn move_part(
    aws: &Aws,
    run_id: &str,
    segment: &ManifestSegment,
    part: &[(u32, Renamed)],
) -> Result<(), StepError> {
    let ids: Vec<&str> = part
        .iter()
        .map(|(_, one)| one.to.document_id.as_str())
        .collect();
    let batch_id = short_id(&ids, 16);
    let batch_key = keys::batch(run_id, &batch_id);
    let stored: Option<BatchRow> = aws.table.get(&batch_key).await?;
    if stored.is_some_and(|batch| batch.part_key.is_some()) {
        return Ok(());
    }
    let ordinals: BTreeSet<u32> = part.iter().map(|(ordinal, _)| *ordinal).collect();
    let found = documents_of(aws, segment, move |ordinal| ordinals.contains(&ordinal)).await?;
    let mut found: BTreeMap<String, SegmentDocument> = found
        .into_iter()
        .map(|document| (document.document_id.clone(), document))
        .collect();
    let keys_of: Vec<_> = part
        .iter()
        .flat_map(|(_, one)| [&one.from, &one.to.document_id])
        .map(|id| keys::document(id))
        .collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&keys_of).await?;
    let rows: BTreeMap<String, DocumentRow> = rows
        .into_iter()
        .map(|row| (row.document_id.clone(), row))
        .collect();
    let (mut documents, mut listed, mut updated) = (Vec::new(), Vec::new(), Vec::new());
    for (_, one) in part {
        let document = found.remove(&one.from).ok_or_else(|| AwsError::Missing {
            what: format!("document {} in its segment", one.from),
        })?;
        let document = renamed(aws, one, document);
        copy_text(aws, one, &document.content_hash).await?;
        listed.push(accepted(one, &document));
        if let (Some(from), Some(to)) = (rows.get(&one.from), rows.get(&one.to.document_id)) {
            let row = DocumentRow {
                readers: from.readers.clone(),
                metadata: from.metadata.clone(),
                screening: from.screening.clone(),
                ..to.clone()
                    .with_status(DocumentStatus::Embedding, None, clock::now_ms())
            };
            updated.push((keys::document(&row.document_id), row));
        }
        documents.push(document);
    }
    let part_key = objects::part(run_id, &batch_id);
    aws.bucket
        .put(&part_key, retrieval::part::encode(&documents)?)
        .await?;
    aws.table.put_many(&updated).await?;
    let batch = BatchRow {
        part_key: Some(part_key),
        embedder: Some(configured_embedder(aws)),
        ..BatchRow::new(batch_id, listed)
    };
    aws.table.put(&batch_key, &batch).await?;
    Ok(())
}

/// The document under its new name. A title or an address that came from the old one goes with it.
fn renamed(aws: &Aws, one: &Renamed, document: SegmentDocument) -> SegmentDocument {
    let space = keys::space_of(&one.from).unwrap_or_default();
    let file = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let address = |name: &str| {
        format!(
            "s3://{}/{}",
            aws.bucket.name(),
            names::source_key(space, name)
        )
    };
    let title = match document.title == file(&one.from_name) {
        true => file(&one.to.name),
        false => document.title,
    };
    let uri = match document.uri == address(&one.from_name) {
        true => address(&one.to.name),
        false => document.uri,
    };
    SegmentDocument {
        document_id: one.to.document_id.clone(),
        title,
        uri,
        ..document
    }
}

async fn copy_text(aws: &Aws, one: &Renamed, content_hash: &str) -> Result<(), AwsError> {
    let from = names::text_key(&one.from, content_hash);
    let to = names::text_key(&one.to.document_id, content_hash);
    aws.bucket.copy(&from, &to).await
}

fn accepted(one: &Renamed, document: &SegmentDocument) -> BatchDocument {
    BatchDocument {
        document_id: one.to.document_id.clone(),
        name: one.to.name.clone(),
        status: DocumentStatus::Embedding,
        error: None,
        reason: None,
        version: Some(PublishedVersion {
            content_hash: document.content_hash.clone(),
            source_version: one.to.source_version.clone(),
            title: document.title.clone(),
            uri: document.uri.clone(),
            passages: document.passages.len() as u32,
            readers: Some(document.readers.clone()),
            vectors: None,
            knowledge_base: None,
            chunking: one.to.chunking.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_how_a_file_is_read() {
        let check = |from: &str, to: &str, alike: bool| {
            let renamed = Renamed {
                from: "s.1".into(),
                from_name: from.into(),
                to: PlannedDocument {
                    document_id: "s.2".into(),
                    name: to.into(),
                    source_version: "v".into(),
                    chunking: Default::default(),
                },
            };
            assert_eq!(is_read_alike(&renamed), alike, "{from} {to}");
        };
        check("a.txt", "b/c.TXT", true);
        check("a.txt", "a.md", false);
        check("a", "b", true);
        check("a", "a.txt", false);
        check("v1.0/a", "v2.1/a", true);
    }
}

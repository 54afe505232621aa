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
use super::rows::{BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, objects};
use super::segments::Lists;
use super::{StepError, configured_embedder, done, progress};
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
    /// The title under the new name, where the one before was its file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub to: PlannedDocument,
}

impl Renamed {
    /// Whether a file is read alike under both names: the ending is a hint to what it is.
    fn is_read_alike(&self) -> bool {
        let ending = |name: &str| {
            let ending = names::file_name(name).rsplit_once('.');
            ending.map(|(_, ending)| ending.to_ascii_lowercase())
        };
        ending(&self.from_name) == ending(&self.to.name)
    }
}

/// The title of a document under its new name, where it is another: one that is its file's name goes with it.
pub(super) fn new_title(title: &str, from_name: &str, to_name: &str) -> Option<String> {
    let new = names::file_name(to_name);
    (title == names::file_name(from_name) && title != new).then(|| new.to_owned())
}

/// What is moved out of one segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Moves {
    segment: ManifestSegment,
    /// With the ordinal of the document in the segment.
    documents: Vec<(u32, Renamed)>,
}

/// What a run is to move.
#[derive(Debug, Default)]
pub(super) struct Chosen(Vec<Moves>);

impl Chosen {
    /// The ids of the new names.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        let documents = self.0.iter().flat_map(|one| &one.documents);
        documents
            .map(|(_, one)| one.to.document_id.clone())
            .collect()
    }

    /// Leaves out what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Renamed) -> bool) {
        for one in &mut self.0 {
            one.documents.retain(|(_, one)| wanted(one));
        }
        self.0.retain(|one| !one.documents.is_empty());
    }

    /// The documents, to be changed.
    pub(super) fn documents_mut(&mut self) -> impl Iterator<Item = &mut Renamed> {
        let documents = self.0.iter_mut().flat_map(|one| &mut one.documents);
        documents.map(|(_, one)| one)
    }

    /// What the plan of a run has written; nothing where nothing moves.
    pub(super) async fn read(aws: &Aws, run_id: &str) -> Result<Self, StepError> {
        let body = match aws.bucket.get(&objects::moves(run_id)).await {
            Err(AwsError::Missing { .. }) => return Ok(Self::default()),
            body => body?,
        };
        Ok(Self(serde_json::from_slice(&body)?))
    }

    /// Writes what the step is to do.
    pub(super) async fn write(&self, aws: &Aws, run_id: &str) -> Result<(), StepError> {
        let body = serde_json::to_vec(&self.0)?;
        aws.bucket.put(&objects::moves(run_id), body).await?;
        Ok(())
    }
}

/// Finds those of the renamed documents that a live segment answers for; the rest is brought in as if it were new.
pub(super) async fn choose(
    aws: &Aws,
    space: &str,
    renamed: Vec<Renamed>,
) -> Result<Chosen, StepError> {
    let mut wanted: BTreeMap<String, Renamed> = renamed
        .into_iter()
        .filter(Renamed::is_read_alike)
        .map(|one| (one.from.clone(), one))
        .collect();
    let edition = match wanted.is_empty() {
        true => None,
        false => manifest::edition(aws, space).await?,
    };
    let Some(edition) = edition else {
        return Ok(Chosen::default());
    };
    let (mut lists, mut moves) = (Lists::default(), Vec::new());
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
    Ok(Chosen(moves))
}

/// The step: segment by segment, so that memory holds one of them.
pub(super) async fn move_renamed(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    for one in Chosen::read(aws, run_id).await?.0 {
        move_segment(aws, run_id, one).await?;
    }
    Ok(done(run_id))
}

/// Moves what one segment holds. The segment is read once, and not at all where everything was moved before.
async fn move_segment(aws: &Aws, run_id: &str, moves: Moves) -> Result<(), StepError> {
    let mut open = Vec::new();
    for part in moves.documents.chunks(BATCH_DOCUMENTS) {
        let ids: Vec<&str> = part
            .iter()
            .map(|(_, one)| one.to.document_id.as_str())
            .collect();
        let batch_id = short_id(&ids, 16);
        let stored: Option<BatchRow> = aws.table.get(&keys::batch(run_id, &batch_id)).await?;
        if stored.is_none_or(|batch| batch.part_key.is_none()) {
            open.push((batch_id, part));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let parts = open.iter().flat_map(|(_, part)| part.iter());
    let ordinals: BTreeSet<u32> = parts.map(|(ordinal, _)| *ordinal).collect();
    let wanted = move |ordinal| ordinals.contains(&ordinal);
    let found = documents_of(aws, &moves.segment, wanted).await?;
    let mut found: BTreeMap<String, SegmentDocument> = found
        .into_iter()
        .map(|document| (document.document_id.clone(), document))
        .collect();
    for (batch_id, part) in open {
        move_part(aws, run_id, batch_id, part, &mut found).await?;
    }
    Ok(())
}

/// The documents under their new names that a run has set out to move.
pub(super) async fn planned(aws: &Aws, run_id: &str) -> Result<Vec<PlannedDocument>, StepError> {
    let moves = Chosen::read(aws, run_id).await?;
    let documents = moves.0.into_iter().flat_map(|one| one.documents);
    Ok(documents.map(|(_, one)| one.to).collect())
}

async fn move_part(
    aws: &Aws,
    run_id: &str,
    batch_id: String,
    part: &[(u32, Renamed)],
    found: &mut BTreeMap<String, SegmentDocument>,
) -> Result<(), StepError> {
    let (mut documents, mut listed) = (Vec::new(), Vec::new());
    for (_, one) in part {
        let document = found.remove(&one.from).ok_or_else(|| AwsError::Missing {
            what: format!("document {} in its segment", one.from),
        })?;
        let document = renamed(aws, one, document);
        copy_text(aws, one, &document.content_hash).await?;
        let status = DocumentStatus::Embedding;
        listed.push(BatchDocument::accepted(&one.to, &document, status));
        documents.push(document);
    }
    let part_key = objects::part(run_id, &batch_id);
    let encoded = retrieval::part::encode(&documents)?;
    aws.bucket.put(&part_key, encoded).await?;
    take_over(aws, run_id, part).await?;
    let batch_key = keys::batch(run_id, &batch_id);
    let batch = BatchRow {
        part_key: Some(part_key),
        embedder: Some(configured_embedder(aws)),
        ..BatchRow::new(batch_id, listed)
    };
    aws.table.put(&batch_key, &batch).await?;
    Ok(())
}

/// The rows of the new names take over what the rows of the old ones know.
async fn take_over(aws: &Aws, run_id: &str, part: &[(u32, Renamed)]) -> Result<(), StepError> {
    let of_old: Vec<_> = part
        .iter()
        .map(|(_, one)| keys::document(&one.from))
        .collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&of_old).await?;
    let mut rows: BTreeMap<String, DocumentRow> = rows
        .into_iter()
        .map(|row| (row.document_id.clone(), row))
        .collect();
    let known: BTreeMap<&str, DocumentRow> = part
        .iter()
        .filter_map(|(_, one)| Some((one.to.document_id.as_str(), rows.remove(&one.from)?)))
        .collect();
    let now_ms = clock::now_ms();
    let changed = |row: DocumentRow| {
        let Some(from) = known.get(row.document_id.as_str()) else {
            return row;
        };
        DocumentRow {
            readers: from.readers.clone(),
            metadata: from.metadata.clone(),
            screening: from.screening.clone(),
            ..row.with_status(DocumentStatus::Embedding, None, now_ms)
        }
    };
    progress::update(aws, run_id, known.keys().copied(), changed).await?;
    Ok(())
}

/// The document under its new name. A title or an address that came from the old one goes with it.
fn renamed(aws: &Aws, one: &Renamed, document: SegmentDocument) -> SegmentDocument {
    let space = keys::space_of(&one.from).unwrap_or_default();
    let address = |name: &str| {
        let key = names::source_key(space, name);
        format!("s3://{}/{key}", aws.bucket.name())
    };
    let uri = match document.uri == address(&one.from_name) {
        true => address(&one.to.name),
        false => document.uri,
    };
    SegmentDocument {
        document_id: one.to.document_id.clone(),
        title: one.title.clone().unwrap_or(document.title),
        uri,
        ..document
    }
}

async fn copy_text(aws: &Aws, one: &Renamed, content_hash: &str) -> Result<(), AwsError> {
    let from = names::text_key(&one.from, content_hash);
    let to = names::text_key(&one.to.document_id, content_hash);
    aws.bucket.copy(&from, &to).await
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
                title: None,
                to: PlannedDocument {
                    document_id: "s.2".into(),
                    name: to.into(),
                    source_version: "v".into(),
                    chunking: Default::default(),
                },
            };
            assert_eq!(renamed.is_read_alike(), alike, "{from} {to}");
        };
        check("a.txt", "b/c.TXT", true);
        check("a.txt", "a.md", false);
        check("a", "b", true);
        check("a", "a.txt", false);
        check("v1.0/a", "v2.1/a", true);
    }

    #[test]
    fn a_title_that_is_the_files_name_goes_with_it() {
        let check = |from: &str, to: &str, title: &str, new: Option<&str>| {
            let found = new_title(title, from, to);
            assert_eq!(found.as_deref(), new, "{from} {to}");
        };
        check("old/a.txt", "new/b.txt", "a.txt", Some("b.txt"));
        check("old/a.txt", "new/a.txt", "a.txt", None);
        check("old/a.txt", "new/b.txt", "Marmots", None);
    }
}

//! What a knowledge base lacks of its space, and what it holds too much.

use std::collections::BTreeSet;

use aws::dynamo::keys::{self, DOCUMENT_PREFIX};
use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::StepError;
use super::super::progress::{self, ROWS};
use super::super::rows::{DocumentRow, DocumentStatus, RunRow, objects};
use crate::digest::short_id;
use crate::knowledge_base::{Filled, State};
use crate::names::{self, READERS_KEY};
use crate::runs;

/// The metadata that tells whoever asks the knowledge base which document of ours a chunk is of.
const DOCUMENT_KEY: &str = "outcrop_document_id";
/// Hex digits of a mark.
const MARK_DIGITS: usize = 16;

/// What is to be done, decided once for a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Difference {
    pub bring_in: Vec<Coming>,
    /// Ids of documents.
    pub take_out: Vec<String>,
    /// Whether something of before may not have reached it.
    pub behind: bool,
    /// Documents that the data source is to hold in the end; `None` where only some were looked at.
    pub expected: Option<u64>,
}

/// A document that the knowledge base does not hold as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Coming {
    pub document_id: String,
    pub content_hash: String,
    /// The sidecar's `metadataAttributes`.
    pub attributes: Value,
    /// What its row says once the knowledge base holds it; [`mark`].
    pub mark: String,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.bring_in.len() + self.take_out.len()
    }
}

/// The run's difference: as it was decided before, else as the rows and objects say now.
pub(super) async fn of(aws: &Aws, run: &RunRow, state: &State) -> Result<Difference, StepError> {
    if let Some(found) = read(aws, &run.run_id).await? {
        return Ok(found);
    }
    let named = run.documents.as_ref().filter(|_| state.settled);
    let difference = match named {
        Some(ids) => of_named(aws, run, ids, &state.of).await?,
        None => of_all(aws, &run.space, &state.of).await?,
    };
    let difference = Difference {
        behind: !state.settled,
        ..difference
    };
    let key = objects::knowledge_base(&run.run_id);
    aws.bucket
        .put(&key, serde_json::to_vec(&difference)?)
        .await?;
    Ok(difference)
}

/// The difference that a run has decided on.
pub(super) async fn read(aws: &Aws, run_id: &str) -> Result<Option<Difference>, StepError> {
    match aws.bucket.get(&objects::knowledge_base(run_id)).await {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(AwsError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn of_all(aws: &Aws, space: &str, of: &Filled) -> Result<Difference, StepError> {
    let (mut live, mut bring_in) = (BTreeSet::new(), Vec::new());
    let mut pages = aws
        .table
        .pages::<DocumentRow>(&keys::space_partition(space), DOCUMENT_PREFIX);
    while let Some(rows) = pages.next().await? {
        bring_in.extend(rows.iter().filter_map(|row| coming(row, of)));
        let rows = rows.into_iter().filter(is_live);
        live.extend(rows.map(|row| row.document_id));
    }
    let prefix = names::knowledge_base_prefix(space);
    let objects = aws.bucket.list_keys(&prefix).await?;
    let take_out = objects
        .iter()
        .filter_map(|key| names::knowledge_base_document(space, &key[prefix.len()..]))
        .filter(|id| !live.contains(id.as_str()))
        .collect();
    Ok(Difference {
        bring_in,
        take_out,
        expected: Some(live.len() as u64),
        ..Difference::default()
    })
}

/// What a run has published, where it never came to compare.
pub(super) async fn of_published(
    aws: &Aws,
    run: &RunRow,
    of: &Filled,
) -> Result<Difference, StepError> {
    let mut ids: Vec<String> = Vec::new();
    let mut pages = runs::batch_pages(aws, &run.run_id);
    while let Some(batches) = pages.next().await? {
        let documents = batches.into_iter().flat_map(|batch| batch.documents);
        let published = documents.filter(|one| one.status == DocumentStatus::Published);
        ids.extend(published.map(|one| one.document_id));
    }
    let bring_in = coming_of(aws, &ids, of).await?;
    Ok(Difference {
        bring_in,
        ..Difference::default()
    })
}

async fn coming_of(aws: &Aws, ids: &[String], of: &Filled) -> Result<Vec<Coming>, AwsError> {
    let mut found = Vec::new();
    for ids in ids.chunks(ROWS) {
        let rows = progress::rows(aws, ids.iter().map(String::as_str)).await?;
        found.extend(rows.iter().filter_map(|row| coming(row, of)));
    }
    Ok(found)
}

/// The run's deletions, without the documents that another run has brought back since.
async fn going_of(aws: &Aws, run_id: &str) -> Result<Vec<String>, StepError> {
    let deletions = aws.bucket.get(&objects::deletions(run_id)).await?;
    let mut going: Vec<String> = serde_json::from_slice(&deletions)?;
    let mut live = BTreeSet::new();
    for ids in going.chunks(ROWS) {
        let rows = progress::rows(aws, ids.iter().map(String::as_str)).await?;
        live.extend(rows.into_iter().filter(is_live).map(|row| row.document_id));
    }
    going.retain(|id| !live.contains(id));
    Ok(going)
}

async fn of_named(
    aws: &Aws,
    run: &RunRow,
    ids: &[String],
    of: &Filled,
) -> Result<Difference, StepError> {
    Ok(Difference {
        bring_in: coming_of(aws, ids, of).await?,
        take_out: going_of(aws, &run.run_id).await?,
        ..Difference::default()
    })
}

fn is_live(row: &DocumentRow) -> bool {
    row.status != DocumentStatus::Deleted && row.published.is_some()
}

fn coming(row: &DocumentRow, of: &Filled) -> Option<Coming> {
    let live = row.published.as_ref().filter(|_| is_live(row))?;
    let mark = mark(row, of)?;
    (live.knowledge_base.as_ref() != Some(&mark)).then(|| Coming {
        document_id: row.document_id.clone(),
        content_hash: live.content_hash.clone(),
        attributes: attributes(row),
        mark,
    })
}

/// The digest of all that a knowledge base holds of a document: which one, its text, its metadata and readers. `None` for a
/// document that is not published.
pub(super) fn mark(row: &DocumentRow, of: &Filled) -> Option<String> {
    let live = row.published.as_ref()?;
    let attributes = attributes(row).to_string();
    let parts = [
        of.knowledge_base.as_str(),
        &of.data_source,
        &live.content_hash,
        &attributes,
    ];
    Some(short_id(&parts, MARK_DIGITS))
}

/// The metadata of a document and the readers of its live version, where Bedrock reads them, and its id for agents that ask the knowledge base
/// themselves. A document without readers has no such list, which no filter for a reader finds.
fn attributes(row: &DocumentRow) -> Value {
    let mut attributes = json!(row.metadata);
    attributes[DOCUMENT_KEY] = json!(row.document_id);
    let readers = row.live_readers();
    if !readers.is_empty() {
        attributes[READERS_KEY] = json!(readers);
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::rows::PublishedVersion;

    fn filled() -> Filled {
        Filled {
            knowledge_base: "ABCDEFGHIJ".into(),
            data_source: "KLMNOPQRST".into(),
            managed: false,
        }
    }

    fn row() -> DocumentRow {
        let mut row = DocumentRow::new("s.1".into(), "a.txt".into(), 0);
        row.status = DocumentStatus::Published;
        row.readers = vec!["user:ada".into()];
        row.published = Some(PublishedVersion {
            content_hash: "h".into(),
            ..PublishedVersion::default()
        });
        row
    }

    #[test]
    fn what_a_knowledge_base_does_not_hold_as_it_is_comes() {
        let held = |change: fn(&mut DocumentRow)| {
            let mut row = row();
            let mark = mark(&row, &filled());
            row.published.as_mut().unwrap().knowledge_base = mark;
            change(&mut row);
            coming(&row, &filled()).is_none()
        };
        assert!(held(|_| {}));
        assert!(!held(|row| row.readers = vec!["user:bob".into()]));
        assert!(!held(|row| {
            row.metadata.insert("team".into(), json!("x"));
        }));
        assert!(!held(
            |row| row.published.as_mut().unwrap().content_hash = "other".into()
        ));
        assert!(!held(
            |row| row.published.as_mut().unwrap().readers = Some(Vec::new())
        ));
        // Whom the row does not allow yet, or no longer, changes nothing.
        assert!(held(|row| {
            row.published.as_mut().unwrap().readers = Some(row.readers.clone());
            row.readers.push("user:bob".into());
        }));
        // What is not live never comes.
        assert!(held(|row| row.status = DocumentStatus::Deleted));
        let mut unpublished = row();
        unpublished.published = None;
        assert_eq!(coming(&unpublished, &filled()), None);
        let found = coming(&row(), &filled()).unwrap();
        let expected = json!({"outcrop_document_id": "s.1", "readers": ["user:ada"]});
        assert_eq!(found.attributes, expected);
        let other = Filled {
            data_source: "0123456789".into(),
            ..filled()
        };
        assert_ne!(mark(&row(), &other), Some(found.mark));
    }

    #[test]
    fn a_document_without_readers_has_no_list() {
        let mut row = row();
        row.readers.clear();
        row.metadata.insert("year".into(), json!(1890));
        let expected = json!({"year": 1890, "outcrop_document_id": "s.1"});
        assert_eq!(attributes(&row), expected);
    }
}

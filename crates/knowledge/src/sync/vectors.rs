//! Vectors in the table, as publication writes them: before the manifest names their documents, and removed after it
//! no longer does. In between they are known by their version and left out.

use aws::dynamo::VectorItem;
use aws::dynamo::keys::{self, DOCUMENT_PREFIX, VectorName};
use aws::{Aws, AwsError, RetrieverSetting};
use retrieval::{DocumentRecord, SegmentDocument};

use super::rows::DocumentRow;
use super::{StepError, configured_embedder};
use crate::spaces;
use crate::vectors::{self, VectorState};

/// The setting that a space's vectors must stand in the table for; `None` when they need not.
pub(super) async fn wanted(aws: &Aws, space: &str) -> Result<Option<RetrieverSetting>, AwsError> {
    let setting = spaces::setting(aws, space).await?;
    Ok(Some(setting).filter(|setting| matches!(setting, RetrieverSetting::Dynamodb { .. })))
}

/// Before publication: the setting to write for. A space that publishes without vectors falls behind first, so that its
/// index is not asked for documents that it does not hold.
pub(super) async fn prepare(aws: &Aws, space: &str) -> Result<Option<RetrieverSetting>, AwsError> {
    let setting = wanted(aws, space).await?;
    if let Some(state) = vectors::state(aws, space).await?
        && state.complete
        && Some(&state.setting) != setting.as_ref()
    {
        let behind = VectorState {
            complete: false,
            ..state
        };
        vectors::set_state(aws, space, &behind).await?;
    }
    Ok(setting)
}

/// Writes the vectors of documents that are about to go live; nothing for a setting that wants none.
///
/// # Errors
/// The table's.
pub async fn write<'a>(
    aws: &Aws,
    setting: Option<&RetrieverSetting>,
    documents: impl Iterator<Item = &'a SegmentDocument>,
) -> Result<(), AwsError> {
    let Some(RetrieverSetting::Dynamodb { filter_keys }) = setting else {
        return Ok(());
    };
    // No run publishes another model's.
    let embedder = configured_embedder(aws);
    let items = documents.flat_map(|document| {
        let version = version(&embedder, document, filter_keys);
        let filters = vectors::slots(filter_keys, &document.metadata);
        document
            .passages
            .iter()
            .enumerate()
            .flat_map(move |(ordinal, passage)| {
                let (version, filters) = (version.clone(), filters.clone());
                document
                    .readers
                    .iter()
                    .enumerate()
                    .map(move |(number, reader)| VectorItem {
                        name: VectorName {
                            document_id: document.document_id.clone(),
                            version: version.clone(),
                            ordinal: ordinal as u32,
                            reader: number as u32,
                        },
                        reader: reader.clone(),
                        vector: passage.vector.clone(),
                        filters: filters.clone(),
                    })
            })
    });
    aws.table.put_vectors(items).await
}

fn version(embedder: &str, document: &SegmentDocument, filter_keys: &[String]) -> String {
    vectors::version(
        embedder,
        &document.content_hash,
        &document.readers,
        &document.metadata,
        filter_keys,
        document.passages.len(),
    )
}

/// What stands in the table for one document after its publication.
pub(super) enum Standing {
    /// No vectors are wanted.
    Unwanted,
    Whole,
    /// So many of so many are there.
    Short {
        found: usize,
        expected: usize,
    },
}

/// Removes the vectors of a document's other versions and counts those of the live one.
pub(super) async fn settle_document(
    aws: &Aws,
    kept: &Kept,
    record: &DocumentRecord,
) -> Result<Standing, AwsError> {
    let Some(RetrieverSetting::Dynamodb { filter_keys }) = &kept.setting else {
        remove(aws, kept, &record.document_id).await?;
        return Ok(Standing::Unwanted);
    };
    let version = vectors::version(
        &configured_embedder(aws),
        &record.content_hash,
        &record.readers,
        &record.metadata,
        filter_keys,
        record.passage_range.len(),
    );
    let passages = (record.passage_range.end - record.passage_range.start) as usize;
    let expected = passages * record.readers.len();
    let found = aws
        .table
        .delete_vectors(&record.document_id, Some(&version))
        .await?;
    Ok(match found == expected {
        true => Standing::Whole,
        false => Standing::Short { found, expected },
    })
}

/// Removes all vectors of a document.
pub(super) async fn remove(aws: &Aws, kept: &Kept, document_id: &str) -> Result<(), AwsError> {
    if kept.ever {
        aws.table.delete_vectors(document_id, None).await?;
    }
    Ok(())
}

/// What a space keeps in the table.
pub(super) struct Kept {
    /// The setting that the run's vectors were written for, if any were.
    pub setting: Option<RetrieverSetting>,
    /// Whether the space has vectors in the table, of this run or of an earlier one.
    pub ever: bool,
}

impl Kept {
    pub(super) async fn read(
        aws: &Aws,
        space: &str,
        setting: Option<RetrieverSetting>,
    ) -> Result<Self, AwsError> {
        let ever = setting.is_some() || vectors::state(aws, space).await?.is_some();
        Ok(Self { setting, ever })
    }
}

/// After verification: notes whether every live document has its vectors in the table.
pub(super) async fn settle(
    aws: &Aws,
    space: &str,
    setting: &RetrieverSetting,
) -> Result<(), StepError> {
    let state = vectors::state(aws, space).await?;
    if state.is_some_and(|state| state.complete && state.setting == *setting) {
        return Ok(());
    }
    let mut complete = true;
    let mut pages = aws
        .table
        .pages::<DocumentRow>(&keys::space_partition(space), DOCUMENT_PREFIX);
    while let Some(rows) = pages.next().await? {
        let mut published = rows.iter().filter_map(|row| row.published.as_ref());
        complete &= published.all(|published| published.vectors.as_ref() == Some(setting));
    }
    let state = VectorState {
        setting: setting.clone(),
        complete,
    };
    vectors::set_state(aws, space, &state).await?;
    Ok(())
}

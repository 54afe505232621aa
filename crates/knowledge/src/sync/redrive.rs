//! Redrive: a new run over what an earlier one left undone. What was embedded and not published is taken over as it is,
//! as long as its source has not changed; the rest goes the whole way again.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, AwsError};

use super::plan::{SOURCES_BATCH, Work};
use super::rows::{
    BatchDocument, BatchRow, DocumentStatus, PlannedDocument, PublishedVersion, RunRow, objects,
};
use super::{StepError, configured_embedder, moving};
use crate::runs;

/// The failure of a document whose vectors are there and were not read back as published: they are not believed again.
pub(super) const VERIFICATION_FAILED: &str = "VerificationFailed";

/// What an earlier run left undone.
pub(super) struct LeftOver {
    /// Documents that neither went in nor were refused; `None` where that takes the whole source: that run had no plan, or
    /// its sources did not give all of their documents.
    pub documents: Option<Vec<String>>,
    /// Deletions that it had decided on.
    pub deletions: BTreeSet<String>,
    batches: Vec<BatchRow>,
}

/// The documents that a run over named ones left undone; those of its plan where it came so far.
///
/// # Errors
/// The stores'.
pub(crate) async fn named(aws: &Aws, of: &RunRow) -> Result<Option<Vec<String>>, StepError> {
    match of.documents {
        Some(_) => Ok(left_over(aws, &of.run_id).await?.documents),
        None => Ok(None),
    }
}

/// What the run `of` left undone.
pub(super) async fn left_over(aws: &Aws, of: &str) -> Result<LeftOver, StepError> {
    let run = runs::row(aws, of).await?;
    let batches = runs::batches(aws, of).await?;
    let undone = undone(aws, &run, &batches).await?;
    // What sources could not give is asked of them again, and that takes a run over all of them.
    let ungiven = batches
        .iter()
        .any(|batch| batch.batch_id.starts_with(SOURCES_BATCH));
    let documents = match run.plan {
        Some(_) if ungiven => None,
        Some(_) => Some(
            undone
                .documents
                .into_iter()
                .map(|one| one.document_id)
                .collect(),
        ),
        None => run.documents,
    };
    Ok(LeftOver {
        documents,
        deletions: undone.deletions,
        batches,
    })
}

/// What a run has planned and not settled.
pub(super) struct Undone {
    /// Documents in no batch, or in one and not settled, or failed; deletions too.
    pub documents: Vec<PlannedDocument>,
    pub deletions: BTreeSet<String>,
}

/// The documents of a run's plan that were neither published nor refused, and its deletions that Verify has not seen.
pub(super) async fn undone(
    aws: &Aws,
    run: &RunRow,
    batches: &[BatchRow],
) -> Result<Undone, StepError> {
    let through: BTreeSet<&str> = batches
        .iter()
        .flat_map(|batch| &batch.documents)
        .filter(|one| {
            matches!(
                one.status,
                DocumentStatus::Published | DocumentStatus::Refused
            )
        })
        .map(|one| one.document_id.as_str())
        .collect();
    // What a redrive took over stands in batches and in no work list.
    let in_batches = batches
        .iter()
        .flat_map(|batch| &batch.documents)
        .map(planned);
    let mut documents: BTreeMap<String, PlannedDocument> = in_batches
        .chain(work_list(aws, &run.run_id).await?)
        .chain(moving::planned(aws, &run.run_id).await?)
        .map(|one| (one.document_id.clone(), one))
        .collect();
    let mut deletions = BTreeSet::new();
    if !run.deletions_verified && run.deleted > 0 {
        let ids = aws.bucket.get(&objects::deletions(&run.run_id)).await?;
        let ids: Vec<String> = serde_json::from_slice(&ids)?;
        deletions.extend(ids.iter().cloned());
        let deleted = ids.into_iter().map(PlannedDocument::of_id);
        documents.extend(deleted.map(|one| (one.document_id.clone(), one)));
    }
    documents.retain(|id, _| !through.contains(id.as_str()));
    Ok(Undone {
        documents: documents.into_values().collect(),
        deletions,
    })
}

/// The work that a batch's document was.
pub(super) fn planned(document: &BatchDocument) -> PlannedDocument {
    let version = document.version.as_ref();
    PlannedDocument {
        document_id: document.document_id.clone(),
        name: document.name.clone(),
        source_version: version.map_or(String::new(), |one| one.source_version.clone()),
        chunking: version.map(|one| one.chunking.clone()).unwrap_or_default(),
    }
}

async fn work_list(aws: &Aws, run_id: &str) -> Result<Vec<PlannedDocument>, StepError> {
    let lines = match aws.bucket.get(&objects::plan(run_id)).await {
        Err(AwsError::Missing { .. }) => return Ok(Vec::new()),
        lines => lines?,
    };
    let lines = lines.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    Ok(lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?)
}

/// Takes batches of the earlier run over whose documents were embedded; answers those documents that are of the work and
/// need not be embedded.
pub(super) async fn carry_over(
    aws: &Aws,
    run_id: &str,
    left: &LeftOver,
    work: &[Work],
) -> Result<BTreeSet<String>, StepError> {
    let wanted: BTreeMap<&str, &str> = work
        .iter()
        .map(|one| &one.planned)
        .map(|one| (one.document_id.as_str(), one.source_version.as_str()))
        .collect();
    let mut carried = BTreeSet::new();
    for batch in &left.batches {
        let fits = |version: &PublishedVersion, id: &str| {
            wanted.get(id) == Some(&version.source_version.as_str())
        };
        let Some(batch) = kept(batch, &configured_embedder(aws), fits) else {
            continue;
        };
        let part_key = batch.part_key.as_deref().unwrap_or_default();
        // Files of runs are forgotten after a month.
        if aws.bucket.head(part_key).await?.is_none() {
            continue;
        }
        let key = keys::batch(run_id, &batch.batch_id);
        aws.table.put(&key, &batch).await?;
        carried.extend(batch.documents.into_iter().map(|one| one.document_id));
    }
    Ok(carried)
}

/// The batch with its documents whose vectors can be taken as they are; `None` where there are none.
fn kept(
    batch: &BatchRow,
    embedder: &str,
    fits: impl Fn(&PublishedVersion, &str) -> bool,
) -> Option<BatchRow> {
    if batch.part_key.is_none() || batch.embedder.as_deref() != Some(embedder) {
        return None;
    }
    let of_use = |document: &&BatchDocument| {
        let waits = matches!(
            document.status,
            DocumentStatus::Embedding | DocumentStatus::Failed
        );
        let version = document.version.as_ref();
        waits
            && document.error.as_deref() != Some(VERIFICATION_FAILED)
            && version.is_some_and(|version| fits(version, &document.document_id))
    };
    let documents: Vec<BatchDocument> = batch
        .documents
        .iter()
        .filter(of_use)
        .map(|document| BatchDocument {
            status: DocumentStatus::Embedding,
            error: None,
            reason: None,
            ..document.clone()
        })
        .collect();
    (!documents.is_empty()).then(|| BatchRow {
        part_key: batch.part_key.clone(),
        embedder: batch.embedder.clone(),
        // Its tokens were paid for by the run that embedded it.
        ..BatchRow::new(batch.batch_id.clone(), documents)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, status: DocumentStatus, error: Option<&str>) -> BatchDocument {
        BatchDocument {
            document_id: id.into(),
            name: id.into(),
            status,
            error: error.map(str::to_owned),
            reason: None,
            version: Some(PublishedVersion {
                source_version: "v".into(),
                ..PublishedVersion::default()
            }),
        }
    }

    #[test]
    fn only_what_was_embedded_and_not_doubted_is_taken_over() {
        use DocumentStatus::{Embedding, Failed, Published, Refused};
        let check =
            |status, error: Option<&str>, part: Option<&str>, version: &str, kept_it: bool| {
                let batch = BatchRow {
                    part_key: part.map(str::to_owned),
                    embedder: Some("m/256".into()),
                    ..BatchRow::new("b".into(), vec![document("s.a", status, error)])
                };
                let found = kept(&batch, "m/256", |found, _| found.source_version == version);
                assert_eq!(
                    found.is_some(),
                    kept_it,
                    "{status:?} {error:?} {part:?} {version}"
                );
                if let Some(batch) = found {
                    assert_eq!(batch.documents[0].status, Embedding);
                    assert_eq!(batch.embedding_tokens, 0);
                }
                assert!(kept(&batch, "other/256", |_, _| true).is_none());
            };
        check(Embedding, None, Some("p"), "v", true);
        check(Failed, Some("ManifestContended"), Some("p"), "v", true);
        check(Failed, Some(VERIFICATION_FAILED), Some("p"), "v", false);
        check(Failed, Some("ManifestContended"), Some("p"), "newer", false);
        check(Failed, Some("ModelThrottled"), None, "v", false);
        check(Published, None, Some("p"), "v", false);
        check(Refused, Some("EmptyDocument"), Some("p"), "v", false);
    }
}

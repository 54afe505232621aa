//! Verify: read back every document that the run claims, from the files that queries read.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use retrieval::Segment;
use serde_json::{Value, json};

use super::publish::Published;
use super::redrive::VERIFICATION_FAILED;
use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PublishedVersion, RunRow, objects,
};
use super::vectors::{self, Kept, Standing};
use super::{StepError, knowledge_base, progress};
use crate::digest::sha256_hex;
use crate::{manifest, names, runs};

/// What was found of the documents that a run published.
struct Found {
    /// Hash of the text, number of passages, and what stands of its vectors.
    documents: BTreeMap<String, (String, u32, Standing)>,
    vectors: Kept,
}

pub(super) async fn verify(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let found = read_back(aws, run_id, &run.space).await?;
    let mut pages = runs::batch_pages(aws, run_id);
    while let Some(batches) = pages.next().await? {
        for batch in batches {
            verify_batch(aws, run_id, batch, &found).await?;
        }
    }
    remove_deleted(aws, run_id, &found.vectors).await?;
    if !run.deletions_verified {
        runs::replace(aws, with_deletions(run.clone())).await?;
    }
    if let Some(setting) = &found.vectors.setting {
        vectors::settle(aws, &run.space, setting).await?;
    }
    let follows = knowledge_base::follows(aws, &run.space).await?;
    Ok(json!({ "run_id": run_id, "knowledge_base": follows }))
}

async fn read_back(aws: &Aws, run_id: &str, space: &str) -> Result<Found, StepError> {
    let mut published: Published =
        serde_json::from_slice(&aws.bucket.get(&objects::published(run_id)).await?)?;
    if !published.segments.is_empty() && !is_live(aws, run_id, space).await? {
        // Files that no manifest ever named answer nobody, however whole they are.
        published.segments.clear();
    }
    let vectors = Kept::read(aws, space, published.vectors).await?;
    let mut documents = BTreeMap::new();
    for segment in published.segments {
        let bytes = aws.bucket.get(&segment.key).await?;
        if sha256_hex(&bytes) != segment.sha256 {
            let detail = format!("{} does not match its checksum", segment.key);
            return Err(StepError::SegmentUnusable { detail });
        }
        let opened = Segment::from_bytes(Vec::from(bytes))?;
        for ordinal in 0..opened.document_count() {
            let record = opened.document(ordinal)?;
            let passages = record.passage_range.end - record.passage_range.start;
            let standing = vectors::settle_document(aws, &vectors, &record).await?;
            let seen = (record.content_hash, passages, standing);
            documents.insert(record.document_id, seen);
        }
    }
    Ok(Found { documents, vectors })
}

/// Whether the space's ledger remembers the run's publication.
async fn is_live(aws: &Aws, run_id: &str, space: &str) -> Result<bool, AwsError> {
    let edition = manifest::edition(aws, space).await?;
    Ok(edition.is_some_and(|edition| edition.holds(run_id)))
}

fn with_deletions(run: RunRow) -> RunRow {
    RunRow {
        deletions_verified: true,
        ..run
    }
}

async fn verify_batch(
    aws: &Aws,
    run_id: &str,
    mut batch: BatchRow,
    found: &Found,
) -> Result<(), StepError> {
    for document in &mut batch.documents {
        // What failed or was refused before the publication is no claim.
        let claims = !matches!(
            document.status,
            DocumentStatus::Failed | DocumentStatus::Refused
        );
        if let Some(version) = document.version.clone().filter(|_| claims) {
            let problem = claim_problem(aws, document, &version, found).await?;
            settle(document, problem);
        }
    }
    let claimed: BTreeMap<&str, &BatchDocument> = batch
        .documents
        .iter()
        .filter(|one| one.version.is_some())
        .map(|one| (one.document_id.as_str(), one))
        .collect();
    let now_ms = clock::now_ms();
    let changed = |row: DocumentRow| {
        let Some(document) = claimed.get(row.document_id.as_str()) else {
            return row;
        };
        let live = document.version.clone().map(|version| PublishedVersion {
            vectors: found.vectors.setting.clone(),
            ..version
        });
        let live = live.filter(|_| document.status == DocumentStatus::Published);
        let published = live.or_else(|| row.published.clone());
        DocumentRow {
            published,
            ..row.with_status(document.status, document.problem(), now_ms)
        }
    };
    progress::update(aws, run_id, claimed.keys().copied(), changed).await?;
    aws.table
        .put(&keys::batch(run_id, &batch.batch_id), &batch)
        .await?;
    Ok(())
}

fn settle(document: &mut BatchDocument, problem: Option<String>) {
    match problem {
        None => {
            document.status = DocumentStatus::Published;
            (document.error, document.reason) = (None, None);
        }
        Some(reason) => {
            document.status = DocumentStatus::Failed;
            document.error = Some(VERIFICATION_FAILED.into());
            document.reason = Some(reason);
        }
    }
}

/// Why the claim for a document does not hold; `None` when text and passages were read back as claimed.
async fn claim_problem(
    aws: &Aws,
    document: &BatchDocument,
    version: &PublishedVersion,
    found: &Found,
) -> Result<Option<String>, StepError> {
    match found.documents.get(&document.document_id) {
        None => {
            return Ok(Some(
                "the published segments do not hold it; sync again".into(),
            ));
        }
        Some((hash, passages, _))
            if *hash != version.content_hash || *passages != version.passages =>
        {
            let claimed = version.passages;
            let words = format!("{claimed} passages were claimed, {passages} read back");
            return Ok(Some(words));
        }
        Some((_, _, Standing::Short { found, expected })) => {
            let words = format!("{found} of its {expected} vectors stand in the table; sync again");
            return Ok(Some(words));
        }
        Some(_) => {}
    }
    match aws
        .bucket
        .get(&names::text_key(
            &document.document_id,
            &version.content_hash,
        ))
        .await
    {
        Ok(text) if sha256_hex(&text) == version.content_hash => Ok(None),
        Ok(_) => Ok(Some(
            "the stored text does not match its hash; sync again".into(),
        )),
        Err(AwsError::Missing { .. }) => Ok(Some("the stored text is missing; sync again".into())),
        Err(error) => Err(error.into()),
    }
}

/// Rows of deleted documents stay for 30 days as `deleted`, so that the deletion can be seen.
const DELETED_ROW_SECONDS: u64 = 30 * 24 * 3600;
/// Deletions whose texts and owners are looked up together.
const DELETIONS: usize = 100;

async fn remove_deleted(aws: &Aws, run_id: &str, kept: &Kept) -> Result<(), StepError> {
    let deletions: Vec<String> =
        serde_json::from_slice(&aws.bucket.get(&objects::deletions(run_id)).await?)?;
    let mut removed = BTreeSet::new();
    for ids in deletions.chunks(DELETIONS) {
        // Before their owners are asked for: whoever takes one over after that writes a text that is not listed here.
        let mut texts = Vec::with_capacity(ids.len());
        for id in ids {
            texts.push(aws.bucket.list(&names::texts_prefix(id)).await?);
        }
        let own = progress::own(aws, run_id, ids.iter().map(String::as_str)).await?;
        for (id, texts) in ids.iter().zip(texts).filter(|(id, _)| own.contains(*id)) {
            for text in texts {
                aws.bucket.delete(&text.key).await?;
            }
            vectors::remove(aws, kept, id).await?;
        }
        removed.extend(own);
    }
    let now_ms = clock::now_ms();
    let deleted = |row: DocumentRow| DocumentRow {
        published: None,
        expires_at: Some(now_ms / 1000 + DELETED_ROW_SECONDS),
        ..row.with_status(DocumentStatus::Deleted, None, now_ms)
    };
    let removed = removed.iter().map(String::as_str);
    progress::update(aws, run_id, removed, deleted).await?;
    Ok(())
}

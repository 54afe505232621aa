//! Which segments of a space are live: a small row in the table points to an immutable body in the bucket.
//!
//! The row is replaced by a conditional write, so that two publishers cannot both win; the body is an object, so that
//! a large list of deletions does not meet DynamoDB's 400 KB.

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;

/// What is live in a space at one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Rises by one with each publication; 0 before the first.
    pub version: u64,
    /// The embedding model whose vectors the segments hold.
    pub embedder: String,
    /// Components of a vector.
    pub dimension: u32,
    pub segments: Vec<ManifestSegment>,
    /// Live documents and passages, without the dead ones.
    pub documents: u64,
    pub passages: u64,
    /// The last runs that were published, newest last: a repeated publish step finds its run here and changes nothing.
    pub recent_runs: Vec<String>,
}

/// One live segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSegment {
    /// The segment file in the bucket.
    pub key: String,
    pub sha256: String,
    pub bytes: u64,
    pub passages: u32,
    /// Documents of this segment that were deleted or replaced since, by ordinal, ascending.
    pub dead_documents: Vec<u32>,
}

/// The row that is replaced conditionally.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ManifestRow {
    version: u64,
    body_key: String,
    body_sha256: String,
}

/// How many runs a manifest remembers.
const RECENT_RUNS: usize = 200;

/// The document list beside each segment: ids and passage counts in the order of the segment's ordinals, so that a
/// publisher can mark documents dead without opening the segment.
pub fn document_list_key(segment_key: &str) -> String {
    format!("{segment_key}.documents.json")
}

/// The manifest version of a space, by one small read; 0 when nothing was published.
///
/// # Errors
/// The table's error.
pub async fn version(aws: &Aws, space: &str) -> Result<u64, AwsError> {
    let row: Option<ManifestRow> = aws.table.get(&keys::manifest(space)).await?;
    Ok(row.map_or(0, |row| row.version))
}

/// The live manifest of a space; `None` when nothing was published.
///
/// # Errors
/// [`AwsError::Damaged`] when the body is not the one that the row promises; else the service's error.
pub async fn current(aws: &Aws, space: &str) -> Result<Option<Manifest>, AwsError> {
    let Some(row) = aws.table.get::<ManifestRow>(&keys::manifest(space)).await? else {
        return Ok(None);
    };
    let body = aws.bucket.get(&row.body_key).await?;
    if sha256_hex(&body) != row.body_sha256 {
        let detail = format!("manifest body {} does not match its checksum", row.body_key);
        return Err(AwsError::Damaged { detail });
    }
    let manifest = serde_json::from_slice(&body).map_err(|error| AwsError::Damaged {
        detail: format!("manifest body: {error}"),
    })?;
    Ok(Some(manifest))
}

/// Makes `next` the live manifest in the place of version `next.version - 1`.
///
/// # Errors
/// [`AwsError::Conflict`] when another publisher was first.
pub async fn replace(aws: &Aws, space: &str, next: &mut Manifest) -> Result<(), AwsError> {
    let excess = next.recent_runs.len().saturating_sub(RECENT_RUNS);
    next.recent_runs.drain(..excess);
    let body = serde_json::to_vec(next).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })?;
    let sha256 = sha256_hex(&body);
    let body_key = format!(
        "manifests/{space}/{:012}-{}.json",
        next.version,
        &sha256[..16]
    );
    aws.bucket.put(&body_key, body).await?;
    let row = ManifestRow {
        version: next.version,
        body_key,
        body_sha256: sha256,
    };
    aws.table
        .replace(&keys::manifest(space), next.version - 1, &row)
        .await
}

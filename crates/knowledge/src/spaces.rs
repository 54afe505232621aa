//! Spaces: the first ingestion into a name makes the space; asking one that was never made is an error.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;

/// The space of requests that name none. It always exists.
pub const DEFAULT: &str = "default";

#[derive(Debug, Serialize, Deserialize)]
struct SettingsRow {
    space: String,
    created_at_ms: u64,
}

/// Refuses a space that was never made.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], also for a name that could not be a space's.
pub async fn require(aws: &Aws, space: &str) -> Result<(), KnowledgeError> {
    if space == DEFAULT {
        return Ok(());
    }
    let unknown = || KnowledgeError::UnknownSpace {
        space: space.to_owned(),
    };
    if !keys::is_space_name(space) {
        return Err(unknown());
    }
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    row.map(|_| ()).ok_or_else(unknown)
}

/// Makes a space where there is none.
///
/// # Errors
/// [`KnowledgeError::InvalidSpaceName`] for a name that cannot be a space's.
pub async fn ensure(aws: &Aws, space: &str) -> Result<(), KnowledgeError> {
    if !keys::is_space_name(space) {
        return Err(KnowledgeError::InvalidSpaceName {
            space: space.to_owned(),
        });
    }
    if space == DEFAULT {
        return Ok(());
    }
    let row = SettingsRow {
        space: space.to_owned(),
        created_at_ms: clock::now_ms(),
    };
    match aws.table.create(&keys::settings(space), &row).await {
        Ok(()) | Err(AwsError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

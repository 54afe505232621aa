//! Spaces: the first ingestion into a name makes the space; asking one that was never made is an error.

use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting, clock};
use serde::{Deserialize, Serialize};

use crate::{KnowledgeError, vectors};

/// The space of requests that name none. It always exists.
pub const DEFAULT: &str = "default";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SettingsRow {
    space: String,
    created_at_ms: u64,
    /// `None`: what the environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retriever: Option<RetrieverSetting>,
}

/// A space as callers see it.
#[derive(Debug, Clone, Serialize)]
pub struct Space {
    pub space: String,
    /// Who finds its passages.
    pub retriever: RetrieverSetting,
    /// Whether that is the environment's default, not the space's own setting.
    pub inherited: bool,
    /// Whether that retriever holds all documents. Until it does, the embedded index answers.
    pub ready: bool,
    /// The run that fills the retriever, where one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// Refuses a space that was never made.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], also for a name that could not be a space's.
pub async fn require(aws: &Aws, space: &str) -> Result<(), KnowledgeError> {
    if space == DEFAULT {
        return Ok(());
    }
    known(aws, space).await.map(|_| ())
}

/// The row of a space; `None` for the default space while it has no setting of its own.
async fn known(aws: &Aws, space: &str) -> Result<Option<SettingsRow>, KnowledgeError> {
    let unknown = || KnowledgeError::UnknownSpace {
        space: space.to_owned(),
    };
    if !keys::is_space_name(space) {
        return Err(unknown());
    }
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    match row {
        None if space != DEFAULT => Err(unknown()),
        row => Ok(row),
    }
}

/// The setting of a space's retriever: its own, else the environment's.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`].
pub async fn retriever(aws: &Aws, space: &str) -> Result<RetrieverSetting, KnowledgeError> {
    let own = known(aws, space).await?.and_then(|row| row.retriever);
    Ok(own.unwrap_or_else(|| aws.settings.retriever.clone()))
}

/// The same for ingestion, which makes spaces.
pub(crate) async fn setting(aws: &Aws, space: &str) -> Result<RetrieverSetting, AwsError> {
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    let own = row.and_then(|row| row.retriever);
    Ok(own.unwrap_or_else(|| aws.settings.retriever.clone()))
}

/// A space with its retriever.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`].
pub async fn get(aws: &Aws, space: &str) -> Result<Space, KnowledgeError> {
    let own = known(aws, space).await?.and_then(|row| row.retriever);
    let inherited = own.is_none();
    let retriever = own.unwrap_or_else(|| aws.settings.retriever.clone());
    let ready = match &retriever {
        RetrieverSetting::Dynamodb { .. } => {
            let state = vectors::state(aws, space).await?;
            state.is_some_and(|state| state.complete && state.setting == retriever)
        }
        _ => true,
    };
    Ok(Space {
        space: space.to_owned(),
        retriever,
        inherited,
        ready,
        run_id: None,
    })
}

/// Sets the retriever of a space; `None` goes back to the environment's. Makes the space where there is none.
///
/// # Errors
/// [`KnowledgeError::InvalidSpaceName`].
pub async fn set_retriever(
    aws: &Aws,
    space: &str,
    retriever: Option<RetrieverSetting>,
) -> Result<Space, KnowledgeError> {
    ensure(aws, space).await?;
    let stored: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    let created_at_ms = stored.map_or_else(clock::now_ms, |row| row.created_at_ms);
    let row = SettingsRow {
        space: space.to_owned(),
        created_at_ms,
        retriever,
    };
    aws.table.put(&keys::settings(space), &row).await?;
    get(aws, space).await
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
        retriever: None,
    };
    match aws.table.create(&keys::settings(space), &row).await {
        Ok(()) | Err(AwsError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

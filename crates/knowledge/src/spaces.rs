//! Spaces: the first ingestion into a name makes the space; asking one that was never made is an error, and so is
//! asking one that the caller has no role in. The two look the same.

use std::time::Instant;

use aws::config::NO_RERANKER;
use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting, clock};
use retrieval::chunk::{Chunking, NoChunking};
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::batch_embedding::{self, BatchEmbedding};
use crate::ledger::{self, Budget, BudgetChange, BudgetView};
use crate::limits::{Limits, LimitsChange, OwnLimits};
use crate::manifest::Seen;
use crate::roles::{Role, Roles, RolesChange};
use crate::{KnowledgeError, knowledge_base, models, vectors};

/// The space of requests that name none. It always exists.
pub const DEFAULT: &str = "default";

/// Attempts at a change that meets other changes.
const CHANGE_ATTEMPTS: u32 = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SettingsRow {
    space: String,
    /// Rises with each change; rows of earlier releases have none.
    #[serde(default)]
    version: u64,
    created_at_ms: u64,
    /// `None`: what the environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retriever: Option<RetrieverSetting>,
    #[serde(default)]
    roles: Roles,
    /// `None`: what the environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The same; `off` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rerank_model: Option<String>,
    /// Whether answers with unsupported sentences are refused.
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    limits: OwnLimits,
    #[serde(default)]
    budget: Budget,
    #[serde(default)]
    chunking: Chunking,
    #[serde(default)]
    batch_embedding: BatchEmbedding,
}

impl SettingsRow {
    fn new(space: &str) -> Self {
        Self {
            space: space.to_owned(),
            version: 1,
            created_at_ms: clock::now_ms(),
            retriever: None,
            model: None,
            rerank_model: None,
            roles: Roles::default(),
            strict: false,
            limits: OwnLimits::default(),
            budget: Budget::default(),
            chunking: Chunking::default(),
            batch_embedding: BatchEmbedding::default(),
        }
    }
}

/// A space as callers see it.
#[derive(Debug, Clone, Serialize)]
pub struct Space {
    pub space: String,
    /// What the caller may do in it.
    pub role: Role,
    /// Who finds its passages.
    pub retriever: RetrieverSetting,
    /// Whether that is the environment's default, not the space's own setting.
    pub inherited: bool,
    /// Whether that retriever holds all documents. Until it does, the embedded index answers.
    pub ready: bool,
    /// The model that writes its answers where a question names none, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The reranker that orders what is found in it: its own or the environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_model: Option<String>,
    /// Whether answers with unsupported sentences are refused.
    pub strict: bool,
    /// How its documents are cut into passages, from the next run over its whole source on.
    pub chunking: Chunking,
    /// Whether its large runs embed by batch jobs.
    pub batch_embedding: BatchEmbedding,
    /// Who has which role; only admins see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
    /// Requests in a minute; only admins see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What it may spend; only admins see it. How it stands, `GET /v1/usage` tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetView>,
    /// The run that fills the retriever, where one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// What is to change of a space: what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct SpaceChange {
    /// `Some(None)` goes back to the environment's.
    pub retriever: Option<Option<RetrieverSetting>>,
    /// The same.
    pub model: Option<Option<String>>,
    /// The same; `off` for none.
    pub rerank_model: Option<Option<String>>,
    pub strict: Option<bool>,
    pub chunking: Option<Chunking>,
    pub batch_embedding: Option<BatchEmbedding>,
    pub roles: RolesChange,
    pub limits: LimitsChange,
    pub budget: BudgetChange,
}

/// A space that a caller has been let into.
#[derive(Debug, Clone)]
pub struct Entered {
    pub space: String,
    pub role: Role,
    /// The setting of its retriever: its own, else the environment's.
    pub retriever: RetrieverSetting,
    /// The model of its own, if it has one.
    pub model: Option<String>,
    /// Its reranker, if it has one.
    pub rerank_model: Option<String>,
    /// Whether answers with unsupported sentences are refused.
    pub strict: bool,
    /// The same of its limits.
    pub limits: Limits,
    pub budget: Budget,
    /// What its manifest was seen to be on the way in, by [`enter_to_search`].
    pub seen: Option<Seen>,
}

impl Entered {
    /// Refuses a role that is not enough.
    ///
    /// # Errors
    /// [`KnowledgeError::RoleRequired`].
    pub fn require(&self, needed: Role) -> Result<(), KnowledgeError> {
        if self.role >= needed {
            return Ok(());
        }
        Err(KnowledgeError::RoleRequired {
            space: self.space.clone(),
            needed: needed.name(),
            role: self.role.name(),
        })
    }
}

/// Lets a caller into a space, in the role that their request needs.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`] where there is none, where the name could not be a space's, and to a caller who has
/// no role there; [`KnowledgeError::RoleRequired`] to one whose role is not enough.
pub async fn enter(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    needed: Role,
) -> Result<Entered, KnowledgeError> {
    let row = known(aws, space).await?;
    let (entered, _) = admit(aws, space, row, caller, needed)?;
    Ok(entered)
}

/// The same for requests that read what is published, to readers: sees the space's manifest in the same call.
///
/// # Errors
/// As [`enter`].
pub async fn enter_to_search(
    aws: &Aws,
    space: &str,
    caller: &Caller,
) -> Result<Entered, KnowledgeError> {
    check_name(space)?;
    let since = Instant::now();
    let keys = (keys::settings(space), keys::manifest(space));
    let (row, manifest) = aws.table.get_two(keys.0, keys.1).await?;
    let (mut entered, _) = admit(aws, space, made(space, row)?, caller, Role::Reader)?;
    entered.seen = Some(Seen {
        row: manifest,
        since,
    });
    Ok(entered)
}

/// The same for requests that make the space where there is none, which only who administers the deployment may.
///
/// # Errors
/// As [`enter`]; [`KnowledgeError::InvalidSpaceName`].
pub async fn enter_or_make(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    needed: Role,
) -> Result<Entered, KnowledgeError> {
    if !keys::is_space_name(space) {
        return Err(KnowledgeError::InvalidSpaceName {
            space: space.to_owned(),
        });
    }
    match enter(aws, space, caller, needed).await {
        Err(KnowledgeError::UnknownSpace { .. })
            if caller.administers_all(&aws.settings.admins) =>
        {
            ensure(aws, space).await?;
            enter(aws, space, caller, needed).await
        }
        entered => entered,
    }
}

fn admit(
    aws: &Aws,
    space: &str,
    row: Option<SettingsRow>,
    caller: &Caller,
    needed: Role,
) -> Result<(Entered, SettingsRow), KnowledgeError> {
    let row = row.unwrap_or_else(|| SettingsRow {
        version: 0,
        ..SettingsRow::new(space)
    });
    let role = if caller.administers_all(&aws.settings.admins) {
        Some(Role::Admin)
    } else {
        row.roles.of(caller)
    };
    let space = space.to_owned();
    let Some(role) = role else {
        return Err(KnowledgeError::UnknownSpace { space });
    };
    let own = row.retriever.clone();
    let reranker = row.rerank_model.clone();
    let reranker = reranker.or_else(|| aws.settings.rerank_model.clone());
    let entered = Entered {
        space,
        role,
        retriever: own.unwrap_or_else(|| aws.settings.retriever.clone()),
        model: row.model.clone(),
        rerank_model: reranker.filter(|model| model != NO_RERANKER),
        limits: row.limits.over(aws),
        budget: row.budget.clone(),
        strict: row.strict,
        seen: None,
    };
    entered.require(needed)?;
    Ok((entered, row))
}

/// Refuses a space that was never made, whoever asks: for the parts that act for no caller.
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
    check_name(space)?;
    made(space, aws.table.get(&keys::settings(space)).await?)
}

/// Refuses a name that could not be a space's, as one that was never made.
fn check_name(space: &str) -> Result<(), KnowledgeError> {
    match keys::is_space_name(space) {
        true => Ok(()),
        false => Err(unknown(space)),
    }
}

/// Refuses a space that has no row, unless it is the default one.
fn made(space: &str, row: Option<SettingsRow>) -> Result<Option<SettingsRow>, KnowledgeError> {
    match row {
        None if space != DEFAULT => Err(unknown(space)),
        row => Ok(row),
    }
}

fn unknown(space: &str) -> KnowledgeError {
    KnowledgeError::UnknownSpace {
        space: space.to_owned(),
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

/// How a space's documents are cut.
pub(crate) async fn chunking(aws: &Aws, space: &str) -> Result<Chunking, AwsError> {
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    Ok(row.map(|row| row.chunking).unwrap_or_default())
}

/// Whether the large runs of a space embed by batch jobs.
pub(crate) async fn batch_embedding(aws: &Aws, space: &str) -> Result<BatchEmbedding, AwsError> {
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    Ok(row.map(|row| row.batch_embedding).unwrap_or_default())
}

/// What a space may spend.
pub(crate) async fn budget(aws: &Aws, space: &str) -> Result<Budget, AwsError> {
    let row: Option<SettingsRow> = aws.table.get(&keys::settings(space)).await?;
    Ok(row.map(|row| row.budget).unwrap_or_default())
}

/// Reads the text form of a chunking.
///
/// # Errors
/// [`KnowledgeError::InvalidRequest`], which says what there is.
pub fn parse_chunking(text: &str) -> Result<Chunking, KnowledgeError> {
    text.parse()
        .map_err(|error: NoChunking| KnowledgeError::InvalidRequest {
            detail: error.to_string(),
        })
}

/// A space with its retriever, and to its admins its roles.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`].
pub async fn get(aws: &Aws, space: &str, caller: &Caller) -> Result<Space, KnowledgeError> {
    let row = known(aws, space).await?;
    let (entered, row) = admit(aws, space, row, caller, Role::Reader)?;
    let ready = match &entered.retriever {
        setting @ RetrieverSetting::Dynamodb { .. } => {
            let state = vectors::state(aws, space).await?;
            state.is_some_and(|state| state.complete && state.setting == *setting)
        }
        setting @ RetrieverSetting::KnowledgeBase { .. } => {
            knowledge_base::is_ready(aws, space, setting).await?
        }
        RetrieverSetting::Embedded => true,
    };
    Ok(Space {
        space: entered.space,
        role: entered.role,
        retriever: entered.retriever,
        inherited: row.retriever.is_none(),
        ready,
        model: entered.model,
        rerank_model: entered.rerank_model,
        strict: entered.strict,
        chunking: row.chunking,
        batch_embedding: row.batch_embedding,
        roles: (entered.role == Role::Admin).then_some(row.roles),
        limits: (entered.role == Role::Admin).then_some(entered.limits),
        budget: (entered.role == Role::Admin).then(|| row.budget.view()),
        run_id: None,
    })
}

/// Changes a space. Makes it where there is none.
///
/// # Errors
/// As [`enter_or_make`]; [`KnowledgeError::InvalidPrincipal`]; [`KnowledgeError::ModelNotAllowed`];
/// [`KnowledgeError::BatchEmbeddingUnavailable`].
pub async fn change(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    change: SpaceChange,
) -> Result<Space, KnowledgeError> {
    enter_or_make(aws, space, caller, Role::Admin).await?;
    let model = match change.model {
        Some(Some(model)) => Some(Some(models::offered(&aws.settings, &model, true)?)),
        other => other,
    };
    if let Some(Some(reranker)) = &change.rerank_model {
        models::offered_reranker(&aws.settings, reranker)?;
    }
    if let Some(setting) = change.batch_embedding {
        batch_embedding::check(aws, setting)?;
    }
    let mut attempt = 1;
    loop {
        // Read again each time: between two attempts the caller may have lost the role.
        let row = known(aws, space).await?;
        let (_, row) = admit(aws, space, row, caller, Role::Admin)?;
        let expected = row.version;
        let changed = SettingsRow {
            version: expected + 1,
            roles: row.roles.clone().changed(change.roles.clone())?,
            limits: row.limits.changed(change.limits),
            budget: row.budget.changed(change.budget.clone(), &aws.settings)?,
            retriever: change.retriever.clone().unwrap_or(row.retriever),
            model: model.clone().unwrap_or(row.model),
            rerank_model: change.rerank_model.clone().unwrap_or(row.rerank_model),
            strict: change.strict.unwrap_or(row.strict),
            chunking: change.chunking.clone().unwrap_or(row.chunking),
            batch_embedding: change.batch_embedding.unwrap_or(row.batch_embedding),
            ..row
        };
        let key = keys::settings(space);
        match aws.table.replace(&key, expected, &changed).await {
            Ok(()) => {
                ledger::budget_was_set(aws, space, &changed.budget).await?;
                return get(aws, space, caller).await;
            }
            Err(AwsError::Conflict { .. }) if attempt < CHANGE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a space where there is none, whoever asks. The default space needs no row.
///
/// # Errors
/// The table's error.
pub async fn ensure(aws: &Aws, space: &str) -> Result<(), KnowledgeError> {
    let row = SettingsRow::new(space);
    match aws.table.create(&keys::settings(space), &row).await {
        Ok(()) | Err(AwsError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

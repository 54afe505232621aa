//! Which retriever answers a space now.

use std::sync::Arc;
use std::time::Instant;

use aws::{Aws, RetrieverSetting};

use super::tidying::tidied;
use super::{Embedded, KnowledgeBase, Retrieved, Retriever, VectorTable, Wanted};
use crate::snapshot::{Snapshot, Snapshots};
use crate::spaces::Entered;
use crate::{KnowledgeError, knowledge_base, spaces, vectors};

/// The retriever of a space, ready to be asked.
pub enum Chosen {
    Embedded(Embedded),
    Table(VectorTable),
    KnowledgeBase(KnowledgeBase),
}

impl Chosen {
    /// The word for it in replies.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Table(_) => "dynamodb",
            Self::KnowledgeBase(_) => "bedrock",
        }
    }

    /// The snapshot that it searches; `None` for a knowledge base, or while nothing was published.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match self {
            Self::Embedded(retriever) => retriever.snapshot.as_ref(),
            Self::Table(retriever) => retriever.snapshot.as_ref(),
            Self::KnowledgeBase(_) => None,
        }
    }

    /// Whether it wants the query's vector; a knowledge base embeds for itself.
    pub fn wants_vector(&self) -> bool {
        !matches!(self, Self::KnowledgeBase(_))
    }
}

impl Retriever for Chosen {
    async fn retrieve(&self, wanted: &Wanted<'_>) -> Result<Retrieved, KnowledgeError> {
        match self {
            Self::Embedded(retriever) => tidied(retriever, wanted).await,
            Self::Table(retriever) => tidied(retriever, wanted).await,
            Self::KnowledgeBase(retriever) => tidied(retriever, wanted).await,
        }
    }
}

/// The retriever that the space's setting names. A vector index or a knowledge base that does not hold all documents yet is
/// not asked: until it does, the embedded index answers, which always does.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], or what stands in the way of a snapshot.
pub async fn choose(
    aws: &Aws,
    snapshots: &Snapshots,
    space: &str,
) -> Result<Chosen, KnowledgeError> {
    let setting = spaces::retriever(aws, space).await?;
    choose_set(aws, snapshots, space, setting, Instant::now()).await
}

/// The retriever of a space that a caller has entered, with what was published when they did.
pub(crate) async fn choose_entered(
    aws: &Aws,
    snapshots: &Snapshots,
    entered: &Entered,
) -> Result<Chosen, KnowledgeError> {
    let seen = entered.seen.as_ref();
    let since = seen.map_or_else(Instant::now, |seen| seen.since);
    let setting = entered.retriever.clone();
    choose_set(aws, snapshots, &entered.space, setting, since).await
}

async fn choose_set(
    aws: &Aws,
    snapshots: &Snapshots,
    space: &str,
    setting: RetrieverSetting,
    since: Instant,
) -> Result<Chosen, KnowledgeError> {
    if let RetrieverSetting::KnowledgeBase {
        id,
        managed,
        data_source,
    } = &setting
    {
        if knowledge_base::is_ready(aws, space, &setting).await? {
            return Ok(Chosen::KnowledgeBase(KnowledgeBase {
                aws: aws.clone(),
                space: space.to_owned(),
                id: id.clone(),
                managed: *managed,
                data_source: data_source.clone(),
            }));
        }
        tracing::info!(
            space,
            "the knowledge base is not filled yet; the embedded index answers"
        );
    }
    let snapshot = snapshots.current_since(aws, space, since).await?;
    if let RetrieverSetting::Dynamodb { filter_keys } = &setting {
        let state = vectors::state(aws, space).await?;
        if state.is_some_and(|state| state.complete && state.setting == setting) {
            return Ok(Chosen::Table(VectorTable {
                aws: aws.clone(),
                space: space.to_owned(),
                filter_keys: filter_keys.clone(),
                snapshot,
            }));
        }
        tracing::info!(
            space,
            "the vector index is not complete; the embedded index answers"
        );
    }
    let space = space.to_owned();
    Ok(Chosen::Embedded(Embedded { space, snapshot }))
}

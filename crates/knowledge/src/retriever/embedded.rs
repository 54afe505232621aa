//! The embedded index: the snapshot that this process has mapped.

use std::sync::Arc;

use retrieval::{Mode, Query};

use super::{Retrieved, Retriever, Wanted};
use crate::KnowledgeError;
use crate::snapshot::Snapshot;

/// Searches the snapshot of a space.
pub struct Embedded {
    pub space: String,
    /// `None` while nothing was published.
    pub snapshot: Option<Arc<Snapshot>>,
}

impl Retriever for Embedded {
    async fn retrieve(&self, wanted: &Wanted<'_>) -> Result<Retrieved, KnowledgeError> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(Retrieved::default());
        };
        let query = Query {
            text: (wanted.mode != Mode::Vector).then_some(wanted.text),
            vector: wanted.vector.filter(|_| wanted.mode != Mode::Lexical),
            mode: wanted.mode,
            // One more than the page, to know whether there is another.
            limit: wanted.skip.saturating_add(wanted.limit).saturating_add(1),
            filter: wanted.filter,
            mask: wanted.mask,
        };
        let ranking = snapshot.search(&query).await?;
        Ok(Retrieved::page(ranking, wanted))
    }
}

//! Retrievers: who finds the passages of a space. The embedded index is one; others stand beside it for corpora that
//! outgrow a function, or that a managed service already holds.
//!
//! INVARIANT: whatever a service cannot express of the filter or of the mask is applied to what it gives back, and the
//! mask is checked again before a hit is released.

mod choice;
mod embedded;
mod knowledge_base;
mod table;
mod texts;
mod tidying;

use std::future::Future;

use retrieval::{Filter, Hit, Mask, Mode};

use crate::KnowledgeError;

pub(crate) use choice::choose_entered;
pub use choice::{Chosen, choose};
pub use embedded::Embedded;
pub use knowledge_base::KnowledgeBase;
pub use table::VectorTable;
pub use texts::Texts;
pub use tidying::{TIDIED, Tidying};

/// What is asked for: the best passages for a text, a vector, or both.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub text: &'a str,
    /// The text's embedding; needed unless `mode` is lexical and the retriever embeds for itself.
    pub vector: Option<&'a [f32]>,
    pub mode: Mode,
    pub filter: Option<&'a Filter>,
    pub mask: &'a Mask,
    /// Hits of one page.
    pub limit: usize,
    /// Hits of the pages before.
    pub skip: usize,
    pub tidying: Tidying,
}

/// One page of what was found, best first.
#[derive(Debug, Clone, Default)]
pub struct Retrieved {
    pub hits: Vec<Hit>,
    /// Whether there is a page after this one.
    pub more: bool,
    /// Set when the retriever stopped looking before it could know that there is nothing else.
    pub bound: Option<Bound>,
    /// Hits that are no passages of the index, for citations to be checked against.
    pub texts: Texts,
}

/// How far a retriever looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Candidates that the service gave.
    pub candidates: usize,
    /// The most that are asked of it.
    pub limit: usize,
}

/// Finds the best passages of one space.
pub trait Retriever {
    /// Equal scores stand in the order of passage ids, where the order is the retriever's own.
    ///
    /// # Errors
    /// What the index or the service says, by name.
    fn retrieve(
        &self,
        wanted: &Wanted<'_>,
    ) -> impl Future<Output = Result<Retrieved, KnowledgeError>> + Send;
}

impl Retrieved {
    /// One page of a ranking that begins with the first hit of the first page.
    pub(crate) fn page(mut ranking: Vec<Hit>, wanted: &Wanted<'_>) -> Self {
        let end = wanted.skip.saturating_add(wanted.limit);
        let more = ranking.len() > end;
        ranking.truncate(end);
        Self {
            hits: ranking.into_iter().skip(wanted.skip).collect(),
            more,
            ..Self::default()
        }
    }
}

//! What may be done with a ranking before it is cut into pages, the same for every retriever.

use retrieval::{Hit, drop_near_duplicates, merge_neighbours};

use super::{Retrieved, Retriever, Wanted};
use crate::KnowledgeError;

/// Passages that are looked at, from the best one: the pages of a tidied ranking are cut from what is left of them, so that
/// a later page does not change an earlier one.
pub const TIDIED: usize = 200;

/// What is done, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidying {
    /// Near duplicates of better passages go.
    pub drop_near_duplicates: bool,
    /// Passages of one document that touch or overlap become one.
    pub merge_neighbours: bool,
}

impl Tidying {
    pub(crate) fn is_wanted(self) -> bool {
        self != Self::default()
    }

    pub(crate) fn apply(self, mut ranking: Vec<Hit>) -> Vec<Hit> {
        if self.drop_near_duplicates {
            ranking = drop_near_duplicates(ranking);
        }
        if self.merge_neighbours {
            ranking = merge_neighbours(ranking);
        }
        ranking
    }
}

/// Asks the retriever and tidies what it found.
pub(super) async fn tidied(
    retriever: &impl Retriever,
    wanted: &Wanted<'_>,
) -> Result<Retrieved, KnowledgeError> {
    if !wanted.tidying.is_wanted() {
        return retriever.retrieve(wanted).await;
    }
    let whole = Wanted {
        limit: TIDIED,
        skip: 0,
        ..*wanted
    };
    let found = retriever.retrieve(&whole).await?;
    let page = Retrieved::page(wanted.tidying.apply(found.hits), wanted);
    Ok(Retrieved {
        bound: found.bound.filter(|_| !page.more),
        texts: found.texts,
        ..page
    })
}

//! The second look at what was found, before it is released.
//!
//! An index says who might read a document when it was published. The document's row says who may read it now: readers
//! that were taken away are gone at once, not only when the next run has published, and a retriever that let something
//! through by mistake is not believed.

use std::collections::{BTreeSet, HashMap};

use aws::dynamo::keys;
use aws::{Aws, AwsError};
use retrieval::Hit;

use crate::access::Caller;
use crate::sync::rows::{DocumentRow, DocumentStatus};

/// The hits of documents that the caller may read, in their order. A document without a row is read by nobody.
pub(crate) async fn readable_hits(
    aws: &Aws,
    caller: &Caller,
    mut hits: Vec<Hit>,
) -> Result<Vec<Hit>, AwsError> {
    if hits.is_empty() {
        return Ok(hits);
    }
    let ids: BTreeSet<&str> = hits.iter().map(|hit| hit.document_id.as_str()).collect();
    let known = ids.into_iter().filter(|id| keys::space_of(id).is_some());
    let wanted: Vec<_> = known.map(keys::document).collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
    let readable: HashMap<String, bool> = rows
        .into_iter()
        .map(|row| (row.document_id.clone(), may_read(&row, caller)))
        .collect();
    let found = hits.len();
    hits.retain(|hit| readable.get(&hit.document_id) == Some(&true));
    if hits.len() < found {
        let held_back = found - hits.len();
        tracing::warn!(
            held_back,
            "passages were found that their readers no longer include the caller"
        );
    }
    Ok(hits)
}

/// Whether the caller may read a document as its row stands.
pub(crate) fn may_read(row: &DocumentRow, caller: &Caller) -> bool {
    row.status != DocumentStatus::Deleted && caller.may_read(&row.readers)
}

/// The row of a document that the caller may read, with its live version only where they may read that too: between an
/// upload and its publication the two have readers of their own.
pub(crate) fn seen(row: DocumentRow, caller: &Caller) -> Option<DocumentRow> {
    if !may_read(&row, caller) {
        return None;
    }
    let published = row.published.filter(|live| match &live.readers {
        Some(readers) => caller.may_read(readers),
        // Published by an earlier release, whose rows have one list.
        None => true,
    });
    Some(DocumentRow { published, ..row })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::rows::PublishedVersion;

    #[test]
    fn the_row_and_its_live_version_have_readers_of_their_own() {
        let check = |row: &[&str], live: Option<&[&str]>, seen_row: bool, seen_live: bool| {
            let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let mut document = DocumentRow::new("s.a".into(), "a".into(), 0);
            document.readers = listed(row);
            document.published = Some(PublishedVersion {
                readers: live.map(listed),
                ..PublishedVersion::default()
            });
            let found = seen(document, &Caller::user("ada", &[]));
            let expected = (seen_row, seen_live);
            let found = (
                found.is_some(),
                found.is_some_and(|row| row.published.is_some()),
            );
            assert_eq!(found, expected, "{row:?} {live:?}");
        };
        check(&["everyone"], Some(&["everyone"]), true, true);
        check(&["everyone"], Some(&["user:bob"]), true, false);
        check(&["user:bob"], Some(&["everyone"]), false, false);
        check(&["user:ada"], None, true, true);
        check(&[], Some(&["user:ada"]), false, false);
    }
}

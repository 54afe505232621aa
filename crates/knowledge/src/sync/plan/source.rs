//! What the source of a space holds, as far as a comparison asks for it: of many documents all of it is in memory.

use std::collections::BTreeMap;

use aws::dynamo::keys;
use aws::s3::Listed;
use aws::{Aws, AwsError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::rows::DocumentRow;
use crate::names;

/// How many objects are looked at side by side.
pub(super) const HEADS_IN_FLIGHT: usize = 16;

/// What the source holds of one document.
#[derive(Debug, Default)]
pub(super) struct SourceObject {
    pub name: String,
    pub bytes: u64,
    pub etag: String,
    pub sidecar_etag: Option<String>,
}

impl SourceObject {
    /// Changes whenever the object or its sidecar does.
    pub(super) fn version(&self) -> String {
        let sidecar = self.sidecar_etag.as_deref().unwrap_or("none");
        format!("{}-{}-{sidecar}", self.etag, self.bytes)
    }
}

/// By document id.
pub(super) type Sources = BTreeMap<String, SourceObject>;

/// Everything below the prefix of a space.
pub(super) async fn whole(aws: &Aws, space: &str) -> Result<Sources, AwsError> {
    let prefix = names::source_prefix(space);
    let mut listing = Listing::default();
    let mut token = None;
    loop {
        // By tokens: a page may be empty and not the last, and what is left out of one would look gone.
        let (objects, next) = aws.bucket.list_part(&prefix, token).await?;
        for object in objects {
            listing.add(space, &prefix, object);
        }
        if next.is_none() {
            return Ok(listing.sources);
        }
        token = next;
    }
}

/// A listing as it comes: a sidecar may stand pages away from its object.
#[derive(Default)]
struct Listing {
    sources: Sources,
    /// ETags of sidecars whose objects have not come yet.
    sidecars: BTreeMap<String, String>,
}

impl Listing {
    fn add(&mut self, space: &str, prefix: &str, object: Listed) {
        let name = &object.key[prefix.len()..];
        if let Some(name) = name.strip_suffix(names::SIDECAR) {
            let id = names::document_id(space, name);
            match self.sources.get_mut(&id) {
                Some(source) => source.sidecar_etag = Some(object.etag),
                None => drop(self.sidecars.insert(id, object.etag)),
            }
            return;
        }
        if names::name_problem(name).is_some() {
            tracing::warn!(
                run_space = space,
                "an object whose name cannot be a document's was left out"
            );
            return;
        }
        let id = names::document_id(space, name);
        let source = SourceObject {
            name: name.to_owned(),
            bytes: object.bytes,
            sidecar_etag: self.sidecars.remove(&id),
            etag: object.etag,
        };
        self.sources.insert(id, source);
    }
}

/// What the source holds of the documents of these rows.
pub(super) async fn of_rows(aws: &Aws, rows: &[DocumentRow]) -> Result<Sources, AwsError> {
    stream::iter(rows)
        .map(|row| of_row(aws, row))
        .buffer_unordered(HEADS_IN_FLIGHT)
        .try_filter_map(async |found| Ok(found))
        .try_collect()
        .await
}

async fn of_row(aws: &Aws, row: &DocumentRow) -> Result<Option<(String, SourceObject)>, AwsError> {
    let space = keys::space_of(&row.document_id).unwrap_or_default();
    let key = names::source_key(space, &row.name);
    let Some(object) = aws.bucket.head(&key).await? else {
        return Ok(None);
    };
    let sidecar = aws.bucket.head(&names::sidecar_key(&key)).await?;
    let source = SourceObject {
        name: row.name.clone(),
        bytes: object.bytes,
        etag: object.etag,
        sidecar_etag: sidecar.map(|sidecar| sidecar.etag),
    };
    Ok(Some((row.document_id.clone(), source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecars_find_their_objects_whatever_comes_first() {
        // keys below the prefix, each with its own ETag → versions by name
        let check = |keys: &[&str], expected: &[(&str, &str)]| {
            let mut listing = Listing::default();
            for (number, key) in keys.iter().enumerate() {
                let object = Listed {
                    key: format!("sources/s/{key}"),
                    bytes: 1,
                    etag: number.to_string(),
                };
                listing.add("s", "sources/s/", object);
            }
            let mut found: Vec<_> = listing
                .sources
                .values()
                .map(|source| (source.name.clone(), source.version()))
                .collect();
            found.sort();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                .collect();
            assert_eq!(found, expected, "{keys:?}");
        };
        check(&[], &[]);
        check(&["a.md"], &[("a.md", "0-1-none")]);
        check(&["a.md", "a.md.metadata.json"], &[("a.md", "0-1-1")]);
        check(&["a.md.metadata.json", "a.md"], &[("a.md", "1-1-0")]);
        // `a` and its sidecar stand around `a.md`.
        let around = ["a", "a.md", "a.metadata.json"];
        check(&around, &[("a", "0-1-2"), ("a.md", "1-1-none")]);
        // A sidecar alone is no document, nor is the sidecar of a sidecar.
        check(&["a.metadata.json"], &[]);
        check(&["a.metadata.json.metadata.json"], &[]);
        check(&["folder/"], &[]);
    }
}

//! A Bedrock knowledge base over the published texts of a space, or over its sources: its chunks, found again in our own
//! texts.
//!
//! The knowledge base is told the filter and, as a filter on the metadata list `readers`, the mask. What it gives back
//! is believed in nothing but its order and its words: the document must be one of ours and alive, its readers and
//! metadata are those of its row, and the words must stand in its stored text, whose bytes are then what is cited.

mod locate;

use std::collections::HashMap;

use aws::bedrock::{Chunk, Chunks, Retrieve};
use aws::dynamo::keys;
use aws::{Aws, AwsError, RetrieverSetting};
use futures_util::{StreamExt, TryStreamExt, stream};
use retrieval::filter::Attribute;
use retrieval::{Filter, Hit, Mask, Mode};
use serde_json::json;

use super::{Bound, Retrieved, Retriever, Texts, Wanted};
use crate::KnowledgeError;
use crate::names::{self, READERS_KEY};
use crate::sync::rows::{DocumentRow, DocumentStatus};

/// Chunks of one request. Source: Amazon Bedrock API Reference.
const PAGE: usize = 100;
/// Pages that are read for one search at the most; quotas allow 20 requests a second in all.
const PAGES: usize = 5;
/// Stored texts that are read side by side.
const TEXTS_AT_A_TIME: usize = 8;

/// Asks a Bedrock knowledge base.
pub struct KnowledgeBase {
    pub aws: Aws,
    pub space: String,
    pub id: String,
    pub managed: bool,
    /// The data source that the space's runs fill, if they do.
    pub data_source: Option<String>,
}

/// A document of ours that may be shown, with its stored text.
struct Readable {
    row: DocumentRow,
    readers: Vec<String>,
    text: String,
}

/// What one search has learned of the documents that it met: `None` for those that may not be shown.
type Known = HashMap<String, Option<Readable>>;

impl Retriever for KnowledgeBase {
    async fn retrieve(&self, wanted: &Wanted<'_>) -> Result<Retrieved, KnowledgeError> {
        if wanted.mode == Mode::Lexical {
            return Err(KnowledgeError::ModeUnsupported {
                space: self.space.clone(),
                mode: "lexical",
                retriever: self.setting().to_string(),
            });
        }
        let need = wanted.skip.saturating_add(wanted.limit).saturating_add(1);
        let filter = expressed(wanted.filter, wanted.mask).map(|filter| filter.to_json());
        let (mut known, mut hits) = (Known::new(), Vec::<Hit>::new());
        let (mut next, mut candidates): (Option<String>, usize) = (None, 0);
        let mut texts = Texts::default();
        for _ in 0..PAGES {
            let request = Retrieve {
                knowledge_base_id: &self.id,
                managed: self.managed,
                semantic: wanted.mode == Mode::Vector,
                text: wanted.text,
                filter: filter.as_ref(),
                limit: need.min(PAGE),
                next: next.as_deref(),
            };
            let page = self.aws.knowledge_bases.retrieve(&request).await;
            let Chunks {
                chunks,
                next: after,
            } = page.map_err(|error| self.unusable(error))?;
            candidates += chunks.len();
            self.read_documents(&chunks, wanted, &mut known).await?;
            for chunk in &chunks {
                let Some((hit, readers)) = self.hit(chunk, &known) else {
                    continue;
                };
                if texts.insert(&hit, readers) {
                    hits.push(hit);
                }
            }
            next = after;
            if hits.len() >= need || next.is_none() {
                break;
            }
        }
        let short = hits.len() < need && next.is_some();
        let page = Retrieved::page(hits, wanted);
        let bound = short.then_some(Bound {
            candidates,
            limit: PAGES * need.min(PAGE),
        });
        Ok(Retrieved {
            bound,
            texts,
            ..page
        })
    }
}

impl KnowledgeBase {
    fn setting(&self) -> RetrieverSetting {
        RetrieverSetting::KnowledgeBase {
            id: self.id.clone(),
            managed: self.managed,
            data_source: self.data_source.clone(),
        }
    }

    fn unusable(&self, error: AwsError) -> KnowledgeError {
        match error {
            AwsError::Refused { detail, .. } | AwsError::Missing { what: detail } => {
                KnowledgeError::RetrieverUnusable {
                    space: self.space.clone(),
                    retriever: self.setting().to_string(),
                    detail,
                    advice: "check the knowledge base's id, its type and the function's permission bedrock:Retrieve",
                }
            }
            other => other.into(),
        }
    }

    /// The document of a chunk, by where it comes from; `None` for what is no document of this space.
    fn document_id(&self, chunk: &Chunk) -> Option<String> {
        let bucket = format!("s3://{}/", self.aws.bucket.name());
        let key = chunk.uri.as_deref()?.strip_prefix(&bucket)?;
        if self.data_source.is_some() {
            let name = key.strip_prefix(&names::knowledge_base_prefix(&self.space))?;
            return names::knowledge_base_document(&self.space, name);
        }
        let name = key.strip_prefix(&names::source_prefix(&self.space))?;
        Some(names::document_id(&self.space, name))
    }

    /// Reads the rows and the texts of documents that were not met before.
    async fn read_documents(
        &self,
        chunks: &[Chunk],
        wanted: &Wanted<'_>,
        known: &mut Known,
    ) -> Result<(), KnowledgeError> {
        let mut ids: Vec<String> = chunks
            .iter()
            .filter_map(|chunk| self.document_id(chunk))
            .filter(|id| !known.contains_key(id))
            .collect();
        ids.sort();
        ids.dedup();
        let wanted_keys: Vec<_> = ids.iter().map(|id| keys::document(id)).collect();
        let rows: Vec<DocumentRow> = self.aws.table.get_many(&wanted_keys).await?;
        let read = rows.into_iter().map(async |row| {
            let id = row.document_id.clone();
            let readers = row.live_readers();
            let shown = match may_be_shown(&row, &readers, wanted) {
                true => self.readable(row, readers).await?,
                false => None,
            };
            Ok::<_, KnowledgeError>((id, shown))
        });
        let read = stream::iter(read).buffered(TEXTS_AT_A_TIME);
        known.extend(read.try_collect::<Vec<_>>().await?);
        for id in ids {
            known.entry(id).or_insert(None);
        }
        Ok(())
    }

    async fn readable(
        &self,
        row: DocumentRow,
        readers: Vec<String>,
    ) -> Result<Option<Readable>, KnowledgeError> {
        let Some(live) = &row.published else {
            return Ok(None);
        };
        let key = names::text_key(&row.document_id, &live.content_hash);
        match self.aws.bucket.get(&key).await {
            Ok(body) => {
                let text = String::from_utf8(body.to_vec()).ok();
                Ok(text.map(|text| Readable { row, readers, text }))
            }
            Err(AwsError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A chunk as a range of a stored text, with the document's readers.
    fn hit<'a>(&self, chunk: &Chunk, known: &'a Known) -> Option<(Hit, &'a [String])> {
        let id = self.document_id(chunk)?;
        let Readable { row, readers, text } = known.get(&id)?.as_ref()?;
        let live = row.published.as_ref()?;
        let Some(range) = locate::locate(&chunk.text, text) else {
            tracing::warn!(
                document_id = id,
                "a chunk's words do not stand in the stored text"
            );
            return None;
        };
        let hash = live.content_hash.get(..8).unwrap_or(&live.content_hash);
        let hit = Hit {
            passage_id: format!("{id}.{hash}.{}-{}", range.start, range.end),
            document_id: id,
            title: live.title.clone(),
            uri: live.uri.clone(),
            content_hash: live.content_hash.clone(),
            heading_path: Vec::new(),
            pages: Vec::new(),
            parent: None,
            text: text[range.clone()].to_owned(),
            start: range.start as u64,
            end: range.end as u64,
            score: chunk.score,
            lexical_rank: None,
            vector_rank: None,
        };
        Some((hit, readers))
    }
}

/// By the row, which is ours: alive, readable under the mask, passing the filter.
fn may_be_shown(row: &DocumentRow, readers: &[String], wanted: &Wanted<'_>) -> bool {
    row.status != DocumentStatus::Deleted
        && wanted.mask.lets_see(readers)
        && wanted
            .filter
            .is_none_or(|filter| filter.passes(&row.metadata))
}

/// The filter and the mask as far as every knowledge base can express them.
fn expressed(filter: Option<&Filter>, mask: &Mask) -> Option<Filter> {
    let readable = match mask {
        Mask::Everything => None,
        Mask::Principals(principals) => Filter::any(
            principals
                .iter()
                .map(|principal| {
                    Filter::ListContains(Attribute {
                        key: READERS_KEY.to_owned(),
                        value: json!(principal),
                    })
                })
                .collect(),
        ),
    };
    let filter = filter.and_then(weakened);
    Filter::all(filter.into_iter().chain(readable).collect())
}

/// The filter without what only some stores know: it lets through no fewer documents. `startsWith` is OpenSearch
/// Serverless's alone. Source: Amazon Bedrock API Reference, `RetrievalFilter`.
fn weakened(filter: &Filter) -> Option<Filter> {
    match filter {
        Filter::StartsWith(_) => None,
        Filter::AndAll(members) => {
            Filter::all(members.as_slice().iter().filter_map(weakened).collect())
        }
        Filter::OrAll(members) => {
            let members: Option<Vec<Filter>> = members.as_slice().iter().map(weakened).collect();
            members.and_then(Filter::any)
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_as_far_as_every_store_knows_it() {
        let one = |operator: &str| json!({operator: {"key": "k", "value": "v"}});
        let readers = |name: &str| json!({"listContains": {"key": "readers", "value": name}});
        let check = |filter: serde_json::Value,
                     principals: &[&str],
                     expected: serde_json::Value| {
            let parsed = Filter::parse(&filter).ok();
            let mask = match principals {
                [] => Mask::Everything,
                names => Mask::Principals(names.iter().map(|name| (*name).to_owned()).collect()),
            };
            let told = expressed(parsed.as_ref(), &mask).map(|filter| filter.to_json());
            assert_eq!(told.unwrap_or_default(), expected, "{filter}");
        };
        let nothing = serde_json::Value::Null;
        check(nothing.clone(), &[], nothing.clone());
        check(nothing.clone(), &["user:a"], readers("user:a"));
        check(
            nothing.clone(),
            &["user:a", "everyone"],
            json!({"orAll": [readers("user:a"), readers("everyone")]}),
        );
        check(
            one("equals"),
            &["user:a"],
            json!({"andAll": [one("equals"), readers("user:a")]}),
        );
        check(one("startsWith"), &["user:a"], readers("user:a"));
        check(one("startsWith"), &[], nothing.clone());
        check(
            json!({"andAll": [one("startsWith"), one("equals")]}),
            &[],
            one("equals"),
        );
        check(
            json!({"orAll": [one("startsWith"), one("equals")]}),
            &[],
            nothing.clone(),
        );
        let nested =
            json!({"andAll": [one("equals"), {"orAll": [one("startsWith"), one("equals")]}]});
        check(nested, &[], one("equals"));
    }
}

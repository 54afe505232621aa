//! `Retrieve` of the agent runtime: a knowledge base of the laptop is one that was made here (`knowledge_bases`), or a
//! space of its own index.
//!
//! A knowledge base id has ten letters and digits. That of a space is its name with `Z` for `-`, filled up to ten with
//! `X`: `default` is `defaultXXX`. There is nobody to ask, so nothing is masked: as on AWS, whoever may call `Retrieve`
//! reads the whole knowledge base, and a caller who wants less filters by the metadata list `readers`.
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws::Aws;
use aws::bedrock::EmbedPurpose;
use knowledge::KnowledgeError;
use knowledge::retriever::{Embedded, Retriever as _, Tidying, Wanted};
use knowledge::snapshot::Snapshots;
use retrieval::{DocumentRecord, Hit, Mask};
use serde_json::{Value, json};

use super::wire::{ErrorName, WireError};
use super::{Bedrock, knowledge_bases};
use request::{RetrieveRequest, Search};
pub(super) use request::{fingerprint, skip, token};

/// Letters and digits of a knowledge base id.
const ID_CHARACTERS: usize = 10;
const READERS: &str = "readers";

/// The spaces of this laptop as knowledge bases.
#[derive(Clone)]
pub struct KnowledgeBases(Arc<Shared>);

struct Shared {
    aws: Aws,
    snapshots: Snapshots,
}

impl std::fmt::Debug for KnowledgeBases {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KnowledgeBases")
    }
}

impl KnowledgeBases {
    /// Reads the spaces that `aws` holds.
    ///
    /// # Errors
    /// When no folder for segment files can be made.
    pub fn new(aws: Aws) -> std::io::Result<Self> {
        let snapshots = Snapshots::new(&aws.settings.index)?;
        Ok(Self(Arc::new(Shared { aws, snapshots })))
    }

    /// A bucket of the laptop's S3.
    pub(super) fn bucket(&self, name: &str) -> aws::s3::Bucket {
        self.0.aws.bucket.other(name)
    }
}

/// The space behind a knowledge base id or ARN; `None` for what cannot be one.
pub(super) fn space_of(knowledge_base: &str) -> Option<String> {
    let id = match knowledge_base.split_once(":knowledge-base/") {
        Some((arn, id)) => arn.starts_with("arn:").then_some(id)?,
        None => knowledge_base,
    };
    let valid = id.len() == ID_CHARACTERS && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let space = id.trim_end_matches('X').replace('Z', "-");
    (valid && aws::dynamo::keys::is_space_name(&space)).then_some(space)
}

/// The id of the knowledge base that is the space `space`; `None` for a name of more than ten characters.
pub fn knowledge_base_id(space: &str) -> Option<String> {
    let id = space.replace('-', "Z");
    (id.len() <= ID_CHARACTERS).then(|| format!("{id:X<ID_CHARACTERS$}"))
}

/// Answers `Retrieve` for a knowledge base id or ARN, in Bedrock's form.
pub(super) async fn retrieve(
    bedrock: &Bedrock,
    knowledge_base: &str,
    request: RetrieveRequest,
) -> Result<Value, WireError> {
    let not_found = || {
        let words = format!(
            "Knowledge base {knowledge_base} does not exist. The laptop's are its spaces: the name with Z for '-', \
             filled up to ten characters with X, such as defaultXXX."
        );
        WireError::new(ErrorName::ResourceNotFound, words)
    };
    if let Some(id) = bedrock.bases.known(knowledge_base) {
        return retrieve_own(bedrock, &id, request).await;
    }
    let space = space_of(knowledge_base).ok_or_else(not_found)?;
    let search = request.check(&space)?;
    let Some(bases) = &bedrock.knowledge_bases else {
        return Err(WireError::unsupported(
            "Retrieve without a laptop cloud around it",
        ));
    };
    match bases.find(&space, &search).await {
        Ok((results, more)) => Ok(search.reply(results, more)),
        Err(KnowledgeError::UnknownSpace { .. }) => Err(not_found()),
        Err(error) => Err(failed(&error)),
    }
}

/// The same for one that was made here.
async fn retrieve_own(
    bedrock: &Bedrock,
    id: &str,
    request: RetrieveRequest,
) -> Result<Value, WireError> {
    let search = request.check(id)?;
    let found = knowledge_bases::ask(bedrock, id, &search.text, search.mode).await?;
    let found = found.into_iter().map(|one| {
        let shown = json!({
            "content": { "type": "TEXT", "text": one.hit.text },
            "documentId": one.document_id,
            "location": one.location,
            "score": one.hit.score,
        });
        (one.metadata, shown)
    });
    let (results, more) = search.page(found);
    Ok(search.reply(results, more))
}

impl Search {
    /// The page of what passes the filter, and whether there is more.
    fn page(&self, found: impl Iterator<Item = (Metadata, Value)>) -> (Vec<Value>, bool) {
        let passes = |metadata: &Metadata| {
            let filter = self.filter.as_ref();
            filter.is_none_or(|filter| filter.passes(metadata))
        };
        let mut passing = found
            .filter(|(metadata, _)| passes(metadata))
            .skip(self.skip);
        let page = passing.by_ref().take(self.limit);
        let results = page.map(|(metadata, mut shown)| {
            shown["metadata"] = json!(metadata);
            shown
        });
        (results.collect(), passing.next().is_some())
    }

    fn reply(&self, results: Vec<Value>, more: bool) -> Value {
        let mut reply = json!({ "retrievalResults": results });
        if more {
            reply["nextToken"] = json!(token(self.skip + self.limit, &self.fingerprint));
        }
        reply
    }
}

fn failed(error: &KnowledgeError) -> WireError {
    let name = match error {
        KnowledgeError::Model(inner) if inner.name() == "ModelThrottled" => ErrorName::Throttling,
        KnowledgeError::EmbedderMismatch { .. } => ErrorName::Validation,
        _ => ErrorName::InternalServer,
    };
    WireError::new(name, format!("{}: {error}", error.name()))
}

impl KnowledgeBases {
    async fn find(
        &self,
        space: &str,
        search: &Search,
    ) -> Result<(Vec<Value>, bool), KnowledgeError> {
        let Shared { aws, snapshots } = &*self.0;
        knowledge::spaces::require(aws, space).await?;
        let snapshot = snapshots.current(aws, space).await?;
        let Some(live) = &snapshot else {
            return Ok((Vec::new(), false));
        };
        knowledge::search::check_embedder(aws, space, live)?;
        live.whole().await?;
        let texts = [search.text.clone()];
        let embedded = aws.bedrock.embed(&texts, EmbedPurpose::Query).await?;
        let ranking = Embedded {
            space: space.to_owned(),
            snapshot: snapshot.clone(),
        };
        // The whole ranking: the filter may name `readers`, which the index keeps apart from the metadata.
        let wanted = Wanted {
            text: &search.text,
            vector: embedded.vectors.first().map(Vec::as_slice),
            mode: search.mode,
            filter: None,
            mask: &Mask::Everything,
            limit: usize::try_from(live.index.passage_count()).unwrap_or(usize::MAX),
            skip: 0,
            tidying: Tidying::default(),
        };
        let found = ranking.retrieve(&wanted).await?;
        let described = |hit: Hit| {
            let metadata = metadata(&hit, live.index.document(&hit.document_id)?);
            Some((metadata, shown(&hit)))
        };
        Ok(search.page(found.hits.into_iter().filter_map(described)))
    }
}

type Metadata = BTreeMap<String, Value>;

/// The document's metadata, its readers, and what Bedrock adds of its own.
fn metadata(hit: &Hit, record: DocumentRecord) -> Metadata {
    let mut metadata = record.metadata;
    metadata.insert(READERS.into(), json!(record.readers));
    metadata.insert("x-amz-bedrock-kb-source-uri".into(), json!(hit.uri));
    metadata.insert("x-amz-bedrock-kb-chunk-id".into(), json!(hit.passage_id));
    metadata
}

fn shown(hit: &Hit) -> Value {
    json!({
        "content": { "type": "TEXT", "text": hit.text },
        "documentId": hit.document_id,
        "location": { "type": "S3", "s3Location": { "uri": hit.uri } },
        "score": hit.score,
    })
}

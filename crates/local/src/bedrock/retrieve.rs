//! `Retrieve` of the agent runtime: a knowledge base of the laptop is one that was made here (`knowledge_bases`), or a
//! space of its own index.
//!
//! A knowledge base id has ten letters and digits. That of a space is its name with `Z` for `-`, filled up to ten with
//! `X`: `default` is `defaultXXX`. There is nobody to ask, so nothing is masked: as on AWS, whoever may call `Retrieve`
//! reads the whole knowledge base, and a caller who wants less filters by the metadata list `readers`.
use std::collections::BTreeMap;
use std::sync::Arc;

use aws::Aws;
use aws::bedrock::EmbedPurpose;
use knowledge::KnowledgeError;
use knowledge::retriever::{Embedded, Retriever as _, Tidying, Wanted};
use knowledge::snapshot::Snapshots;
use retrieval::{DocumentRecord, Filter, Hit, Mask, Mode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::wire::{ErrorName, WireError};
use super::{Bedrock, knowledge_bases};

/// Letters and digits of a knowledge base id.
const ID_CHARACTERS: usize = 10;
/// Results of a request that names no number. Source: Amazon Bedrock API Reference.
const DEFAULT_RESULTS: usize = 5;
const MAX_RESULTS: usize = 100;
/// Source: Amazon Bedrock API Reference, `KnowledgeBaseQuery`.
const MAX_QUERY_CHARACTERS: usize = 20_000;
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

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetrieveRequest {
    pub(super) retrieval_query: RetrievalQuery,
    #[serde(default)]
    pub(super) retrieval_configuration: RetrievalConfiguration,
    #[serde(default)]
    guardrail_configuration: Option<Value>,
    #[serde(default)]
    user_context: Option<Value>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetrievalQuery {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    image: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetrievalConfiguration {
    #[serde(default)]
    pub(super) vector_search_configuration: Option<SearchConfiguration>,
    #[serde(default)]
    managed_search_configuration: Option<SearchConfiguration>,
}

/// The fields of both configurations that the laptop knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SearchConfiguration {
    #[serde(default)]
    pub(super) number_of_results: Option<usize>,
    #[serde(default)]
    pub(super) filter: Option<Value>,
    #[serde(default)]
    pub(super) override_search_type: Option<String>,
    #[serde(default)]
    implicit_filter_configuration: Option<Value>,
    #[serde(default)]
    reranking_configuration: Option<Value>,
    #[serde(default)]
    reranking_model_type: Option<String>,
}

/// What a request comes to, checked.
struct Search {
    text: String,
    mode: Mode,
    filter: Option<Filter>,
    limit: usize,
    skip: usize,
    /// Ties a token to its request: it continues this search and no other.
    fingerprint: String,
}

impl RetrieveRequest {
    /// A plain question for `results` passages.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the agents' own searches"))]
    pub(super) fn question(text: &str, results: usize) -> Self {
        Self {
            retrieval_query: RetrievalQuery {
                text: Some(text.to_owned()),
                kind: None,
                image: None,
            },
            retrieval_configuration: RetrievalConfiguration {
                vector_search_configuration: Some(SearchConfiguration {
                    number_of_results: Some(results),
                    ..SearchConfiguration::default()
                }),
                managed_search_configuration: None,
            },
            guardrail_configuration: None,
            user_context: None,
            next_token: None,
        }
    }

    fn check(self, space: &str) -> Result<Search, WireError> {
        self.refuse_unsupported()?;
        let text = self.retrieval_query.text.unwrap_or_default();
        let characters = text.chars().count();
        if text.trim().is_empty() || characters > MAX_QUERY_CHARACTERS {
            return Err(WireError::validation(format!(
                "retrievalQuery.text must have 1 to {MAX_QUERY_CHARACTERS} characters, not {characters}."
            )));
        }
        let configuration = self.retrieval_configuration;
        let (place, configuration) = match (
            configuration.vector_search_configuration,
            configuration.managed_search_configuration,
        ) {
            (Some(_), Some(_)) => {
                return Err(WireError::validation(
                    "retrievalConfiguration takes vectorSearchConfiguration or managedSearchConfiguration, not both.",
                ));
            }
            (None, Some(managed)) => ("managedSearchConfiguration", managed),
            (vector, None) => ("vectorSearchConfiguration", vector.unwrap_or_default()),
        };
        let place = format!("retrievalConfiguration.{place}");
        configuration.refuse_unsupported(&place)?;
        let limit = configuration.number_of_results.unwrap_or(DEFAULT_RESULTS);
        if !(1..=MAX_RESULTS).contains(&limit) {
            return Err(WireError::validation(format!(
                "{place}.numberOfResults must be 1 to {MAX_RESULTS}, not {limit}."
            )));
        }
        let filter = configuration.filter.as_ref().map(Filter::parse).transpose();
        let filter = filter.map_err(|error| {
            WireError::validation(format!("{place}.filter is not valid: {error}"))
        })?;
        let mode = configuration.mode(&place)?;
        let fingerprint = fingerprint(&[
            space,
            &text,
            &configuration.filter.unwrap_or_default().to_string(),
            &format!("{mode:?}"),
        ]);
        let skip = self
            .next_token
            .map_or(Ok(0), |token| skip(&token, &fingerprint))?;
        Ok(Search {
            text,
            mode,
            filter,
            limit,
            skip,
            fingerprint,
        })
    }

    fn refuse_unsupported(&self) -> Result<(), WireError> {
        let query = &self.retrieval_query;
        let unsupported = [
            (
                self.guardrail_configuration.is_some(),
                "guardrailConfiguration",
            ),
            (self.user_context.is_some(), "userContext"),
            (query.image.is_some(), "retrievalQuery.image"),
            (
                query.kind.as_deref().is_some_and(|kind| kind != "TEXT"),
                "retrievalQuery.type other than TEXT",
            ),
        ];
        refuse(&unsupported)
    }
}

impl SearchConfiguration {
    fn refuse_unsupported(&self, place: &str) -> Result<(), WireError> {
        let managed = place.ends_with("managedSearchConfiguration");
        let model = self.reranking_model_type.as_deref();
        if (managed
            && (self.override_search_type.is_some()
                || self.implicit_filter_configuration.is_some()))
            || (!managed && model.is_some())
        {
            let field = match (managed, self.override_search_type.is_some()) {
                (true, true) => "overrideSearchType",
                (true, false) => "implicitFilterConfiguration",
                (false, _) => "rerankingModelType",
            };
            return Err(WireError::validation(format!(
                "{place} has no field {field}."
            )));
        }
        let field = |name: &str| format!("{place}.{name}");
        refuse(&[
            (
                self.implicit_filter_configuration.is_some(),
                &field("implicitFilterConfiguration"),
            ),
            (
                self.reranking_configuration.is_some(),
                &field("rerankingConfiguration"),
            ),
            (
                model.is_some_and(|model| model != "NONE"),
                &field("rerankingModelType other than NONE"),
            ),
        ])
    }

    fn mode(&self, place: &str) -> Result<Mode, WireError> {
        match self.override_search_type.as_deref() {
            None | Some("HYBRID") => Ok(Mode::Hybrid),
            Some("SEMANTIC") => Ok(Mode::Vector),
            Some(other) => Err(WireError::validation(format!(
                "{place}.overrideSearchType must be HYBRID or SEMANTIC, not {other}."
            ))),
        }
    }
}

fn refuse(fields: &[(bool, &str)]) -> Result<(), WireError> {
    match fields.iter().find(|(used, _)| *used) {
        Some((_, field)) => Err(WireError::unsupported(field)),
        None => Ok(()),
    }
}

fn fingerprint(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn token(skip: usize, fingerprint: &str) -> String {
    format!("{fingerprint}-{skip}")
}

fn skip(token: &str, fingerprint: &str) -> Result<usize, WireError> {
    let skip = token
        .split_once('-')
        .filter(|(of, _)| *of == fingerprint)
        .and_then(|(_, skip)| skip.parse().ok());
    skip.ok_or_else(|| {
        WireError::validation(
            "nextToken is not one of this request; send the token with the same query and filter.",
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_knowledge_base_is_a_space() {
        let check = |id: &str, space: Option<&str>| {
            assert_eq!(space_of(id).as_deref(), space, "{id}");
        };
        check("defaultXXX", Some("default"));
        check("teamZ7XXXX", Some("team-7"));
        check("abcdefghij", Some("abcdefghij"));
        let arn = "arn:aws:bedrock:us-east-1:000000000000:knowledge-base/legalXXXXX";
        check(arn, Some("legal"));
        check("x:knowledge-base/legalXXXXX", None);
        check("default", None);
        check("XXXXXXXXXX", None);
        check("Zminus1XXX", None);
        check("ABCDEFGHIJ", None);
        check("defaultXXXX", None);
        for space in ["default", "team-7", "a", "abcdefghij"] {
            let id = knowledge_base_id(space).unwrap_or_default();
            assert_eq!(space_of(&id).as_deref(), Some(space));
        }
        assert_eq!(knowledge_base_id("a-longer-name"), None);
    }

    #[test]
    fn a_token_continues_its_own_request_only() {
        let of = fingerprint(&["default", "question", "null", "Hybrid"]);
        assert_eq!(skip(&token(10, &of), &of).ok(), Some(10));
        let other = fingerprint(&["default", "questionn", "ull", "Hybrid"]);
        for token in [
            token(10, &other),
            "10".into(),
            format!("{of}-x"),
            String::new(),
        ] {
            assert!(skip(&token, &of).is_err(), "{token}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_refused_by_name() {
        let bedrock = Bedrock::open(crate::bedrock::Settings::default()).expect("an emulator");
        let check = async |id: &str, body: Value, name: ErrorName, part: &str| {
            let error = match serde_json::from_value::<RetrieveRequest>(body.clone()) {
                Ok(request) => retrieve(&bedrock, id, request).await.err(),
                Err(error) => Some(WireError::validation(error.to_string())),
            };
            let error = error.unwrap_or_else(|| WireError::validation("nothing refused"));
            assert_eq!(error.name, name, "{body}: {error}");
            assert!(error.message.contains(part), "{body}: {error}");
        };
        let id = "defaultXXX";
        let with = |field: &str, value: Value| {
            let mut body = json!({"retrievalQuery": {"text": "q"}});
            body[field] = value;
            body
        };
        let vector = |field: &str, value: Value| {
            with(
                "retrievalConfiguration",
                json!({"vectorSearchConfiguration": {field: value}}),
            )
        };
        let managed = |field: &str, value: Value| {
            with(
                "retrievalConfiguration",
                json!({"managedSearchConfiguration": {field: value}}),
            )
        };
        let invalid = ErrorName::Validation;
        check(
            "KB",
            with("nextToken", json!("x")),
            ErrorName::ResourceNotFound,
            "KB",
        )
        .await;
        check(
            id,
            json!({"retrievalQuery": {}}),
            invalid,
            "retrievalQuery.text",
        )
        .await;
        check(
            id,
            json!({"retrievalQuery": {"text": " "}}),
            invalid,
            "retrievalQuery.text",
        )
        .await;
        check(
            id,
            json!({"retrievalQuery": {"text": "q", "image": {}}}),
            invalid,
            "retrievalQuery.image",
        )
        .await;
        check(
            id,
            with("guardrailConfiguration", json!({})),
            invalid,
            "guardrailConfiguration",
        )
        .await;
        check(id, with("userContext", json!({})), invalid, "userContext").await;
        check(id, with("nextToken", json!("x")), invalid, "nextToken").await;
        check(id, with("surprise", json!(1)), invalid, "surprise").await;
        check(
            id,
            vector("numberOfResults", json!(0)),
            invalid,
            "numberOfResults",
        )
        .await;
        check(
            id,
            vector("numberOfResults", json!(101)),
            invalid,
            "numberOfResults",
        )
        .await;
        check(
            id,
            vector("overrideSearchType", json!("LEXICAL")),
            invalid,
            "overrideSearchType",
        )
        .await;
        check(
            id,
            vector("filter", json!({"equalz": {}})),
            invalid,
            "filter is not valid: at equalz",
        )
        .await;
        check(
            id,
            vector("rerankingConfiguration", json!({})),
            invalid,
            "rerankingConfiguration",
        )
        .await;
        check(
            id,
            vector("implicitFilterConfiguration", json!({})),
            invalid,
            "implicitFilter",
        )
        .await;
        check(
            id,
            vector("rerankingModelType", json!("NONE")),
            invalid,
            "has no field",
        )
        .await;
        check(
            id,
            managed("overrideSearchType", json!("HYBRID")),
            invalid,
            "has no field",
        )
        .await;
        check(
            id,
            managed("rerankingModelType", json!("MANAGED")),
            invalid,
            "other than NONE",
        )
        .await;
        let both = json!({"vectorSearchConfiguration": {}, "managedSearchConfiguration": {}});
        check(
            id,
            with("retrievalConfiguration", both),
            invalid,
            "not both",
        )
        .await;
        // All is well with this one but the cloud that is not there.
        let sound = serde_json::from_value(managed("rerankingModelType", json!("NONE"))).ok();
        let sound = sound.unwrap_or_else(|| RetrieveRequest::question("q", 1));
        let error = retrieve(&bedrock, id, sound)
            .await
            .map_err(|error| error.message);
        assert!(error.is_err_and(|words| words.contains("without a laptop cloud")));
    }
}

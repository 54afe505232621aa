//! What a request of `Retrieve` asks for, checked.
use retrieval::{Filter, Mode};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::wire::WireError;

/// Results of a request that names no number. Source: Amazon Bedrock API Reference.
const DEFAULT_RESULTS: usize = 5;
const MAX_RESULTS: usize = 100;
/// Source: Amazon Bedrock API Reference, `KnowledgeBaseQuery`.
const MAX_QUERY_CHARACTERS: usize = 20_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::bedrock) struct RetrieveRequest {
    retrieval_query: RetrievalQuery,
    #[serde(default)]
    retrieval_configuration: RetrievalConfiguration,
    #[serde(default)]
    guardrail_configuration: Option<Value>,
    #[serde(default)]
    user_context: Option<Value>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetrievalQuery {
    #[serde(default)]
    text: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    image: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetrievalConfiguration {
    #[serde(default)]
    vector_search_configuration: Option<SearchConfiguration>,
    #[serde(default)]
    managed_search_configuration: Option<SearchConfiguration>,
}

/// The fields of both configurations that the laptop knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SearchConfiguration {
    #[serde(default)]
    number_of_results: Option<usize>,
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    override_search_type: Option<String>,
    #[serde(default)]
    implicit_filter_configuration: Option<Value>,
    #[serde(default)]
    reranking_configuration: Option<Value>,
    #[serde(default)]
    reranking_model_type: Option<String>,
}

/// What a request comes to, checked.
pub(super) struct Search {
    pub(super) text: String,
    pub(super) mode: Mode,
    pub(super) filter: Option<Filter>,
    pub(super) limit: usize,
    pub(super) skip: usize,
    /// Ties a token to its request: it continues this search and no other.
    pub(super) fingerprint: String,
}

impl RetrieveRequest {
    pub(super) fn check(self, space: &str) -> Result<Search, WireError> {
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

pub(in crate::bedrock) fn fingerprint(parts: &[&str]) -> String {
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

pub(in crate::bedrock) fn token(skip: usize, fingerprint: &str) -> String {
    format!("{fingerprint}-{skip}")
}

pub(in crate::bedrock) fn skip(token: &str, fingerprint: &str) -> Result<usize, WireError> {
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

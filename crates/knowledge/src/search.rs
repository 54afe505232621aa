//! Search: a query's vector and words against the live snapshot, over what the caller may read.

use std::sync::Arc;
use std::time::Instant;

use aws::Aws;
use aws::bedrock::EmbedPurpose;
use retrieval::{Filter, Hit, Mask, Mode, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::snapshot::{Snapshot, Snapshots};
use crate::spaces;
use crate::sync::embedder_identity;

/// The most results of one search. Bedrock's Retrieve has the same bound.
pub const SEARCH_LIMIT: usize = 100;
/// The longest question or query, in characters.
pub const QUESTION_CHARACTERS: usize = 4_000;

/// Which rankings count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    #[default]
    Hybrid,
    Lexical,
    Vector,
}

/// What is searched for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    #[serde(default)]
    pub query: String,
    #[serde(default)]
    pub space: Option<String>,
    #[serde(default)]
    pub mode: SearchMode,
    #[serde(default)]
    pub limit: Option<usize>,
    #[serde(default)]
    pub filter: Option<Value>,
}

/// One passage that was found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchResult {
    pub passage_id: String,
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub heading_path: Vec<String>,
    pub text: String,
    pub score: f32,
    pub start: u64,
    pub end: u64,
}

impl From<Hit> for SearchResult {
    fn from(hit: Hit) -> Self {
        Self {
            passage_id: hit.passage_id,
            document_id: hit.document_id,
            title: hit.title,
            uri: hit.uri,
            heading_path: hit.heading_path,
            text: hit.text,
            score: hit.score,
            start: hit.start,
            end: hit.end,
        }
    }
}

/// What was found, best first.
#[derive(Debug, Serialize)]
pub struct SearchReply {
    pub results: Vec<SearchResult>,
    pub took_ms: f64,
}

/// Milliseconds and tokens of a search's parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchCost {
    pub embed_ms: f64,
    pub search_ms: f64,
    pub embedding_tokens: u64,
}

/// Passages with the snapshot they come from.
pub(crate) struct Found {
    pub hits: Vec<Hit>,
    pub snapshot: Option<Arc<Snapshot>>,
    pub cost: SearchCost,
}

/// Searches a space.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], [`KnowledgeError::InvalidFilter`], [`KnowledgeError::EmptyQuery`], or the
/// model's and the services' errors.
pub async fn search(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    request: &SearchRequest,
) -> Result<SearchReply, KnowledgeError> {
    let begun = Instant::now();
    let limit = request.limit.unwrap_or(10).clamp(1, SEARCH_LIMIT);
    let filter = parse_filter(request.filter.as_ref())?;
    if request.query.trim().is_empty() {
        return Err(KnowledgeError::EmptyQuery);
    }
    check_question(&request.query)?;
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let wanted = Wanted {
        text: &request.query,
        mode: request.mode,
        limit,
        filter: filter.as_ref(),
    };
    let found = find(aws, snapshots, caller, space, &wanted).await?;
    Ok(SearchReply {
        results: found.hits.into_iter().map(SearchResult::from).collect(),
        took_ms: milliseconds(begun),
    })
}

pub(crate) struct Wanted<'a> {
    pub text: &'a str,
    pub mode: SearchMode,
    pub limit: usize,
    pub filter: Option<&'a Filter>,
}

pub(crate) async fn find(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    space: &str,
    wanted: &Wanted<'_>,
) -> Result<Found, KnowledgeError> {
    spaces::require(aws, space).await?;
    let mut cost = SearchCost::default();
    // The index is brought up to date while the model embeds; the lexical ranking takes less than either.
    let (snapshot, vector) =
        tokio::join!(snapshots.current(aws, space), embed(aws, wanted, &mut cost));
    // A space without documents needs no vector: its embedding may fail unheard.
    let Some(snapshot) = snapshot? else {
        return Ok(Found {
            hits: Vec::new(),
            snapshot: None,
            cost,
        });
    };
    if wanted.mode != SearchMode::Lexical {
        check_embedder(aws, space, &snapshot)?;
    }
    let vector = vector?;
    let begun = Instant::now();
    let mask = Mask::Principals(caller.principals.clone());
    let query = Query {
        text: (wanted.mode != SearchMode::Vector).then_some(wanted.text),
        vector: vector.as_deref(),
        mode: match wanted.mode {
            SearchMode::Hybrid => Mode::Hybrid,
            SearchMode::Lexical => Mode::Lexical,
            SearchMode::Vector => Mode::Vector,
        },
        limit: wanted.limit,
        filter: wanted.filter,
        mask: &mask,
    };
    let hits = snapshot
        .index
        .search(&query)
        .map_err(|error| KnowledgeError::IndexUnreadable {
            space: space.to_owned(),
            detail: format!("{}: {error}", error.name()),
        })?;
    cost.search_ms = milliseconds(begun);
    Ok(Found {
        hits,
        snapshot: Some(snapshot),
        cost,
    })
}

async fn embed(
    aws: &Aws,
    wanted: &Wanted<'_>,
    cost: &mut SearchCost,
) -> Result<Option<Vec<f32>>, KnowledgeError> {
    if wanted.mode == SearchMode::Lexical {
        return Ok(None);
    }
    let begun = Instant::now();
    let texts = [wanted.text.to_owned()];
    let embedded = aws.bedrock.embed(&texts, EmbedPurpose::Query).await?;
    cost.embed_ms = milliseconds(begun);
    cost.embedding_tokens = embedded.tokens;
    Ok(embedded.vectors.into_iter().next())
}

/// Vectors of two models can be multiplied and mean nothing: refuses to rank a space by another model's.
///
/// # Errors
/// [`KnowledgeError::EmbedderMismatch`].
pub fn check_embedder(aws: &Aws, space: &str, snapshot: &Snapshot) -> Result<(), KnowledgeError> {
    let stored = embedder_identity(&snapshot.embedder, snapshot.dimension);
    let configured = embedder_identity(&aws.settings.embed_model, aws.settings.embed_dimensions);
    if stored == configured {
        return Ok(());
    }
    Err(KnowledgeError::EmbedderMismatch {
        space: space.to_owned(),
        stored,
        configured,
    })
}

/// Reads a filter in Bedrock's language.
pub(crate) fn parse_filter(value: Option<&Value>) -> Result<Option<Filter>, KnowledgeError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    Filter::parse(value)
        .map(Some)
        .map_err(|error| KnowledgeError::InvalidFilter {
            detail: error.to_string(),
        })
}

/// Refuses empty and overlong questions.
pub(crate) fn check_question(text: &str) -> Result<(), KnowledgeError> {
    if text.trim().is_empty() {
        return Err(KnowledgeError::EmptyQuestion);
    }
    let characters = text.chars().count();
    if characters > QUESTION_CHARACTERS {
        return Err(KnowledgeError::QuestionTooLong {
            characters,
            limit: QUESTION_CHARACTERS,
        });
    }
    Ok(())
}

pub(crate) fn milliseconds(begun: Instant) -> f64 {
    (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

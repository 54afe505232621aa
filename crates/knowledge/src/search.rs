//! Search: a query's vector and words against the live snapshot, over what the caller may read.

use std::sync::Arc;
use std::time::Instant;

use aws::bedrock::EmbedPurpose;
use aws::{Aws, RetrieverSetting};
use retrieval::{Filter, Hit, Mask, Mode, page_at, with_siblings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::cite::Library;
use crate::ledger::{Account, bound};
use crate::limits;
use crate::release;
use crate::rerank::{self, Reranking};
use crate::retriever::{self, Bound, Retriever as _, Texts, Tidying, choose_entered};
use crate::snapshot::{Snapshot, Snapshots};
use crate::spaces::{self, Entered};
use crate::sync::embedder_identity;

/// The most results of one search. Bedrock's Retrieve has the same bound.
pub const SEARCH_LIMIT: usize = 100;
/// Results that pages can reach, counted from the first.
const PAGED_RESULTS: usize = 1_000;
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
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Passages that say again what a better one says go.
    #[serde(default)]
    pub drop_near_duplicates: bool,
    /// Passages of one document that touch or overlap become one.
    #[serde(default)]
    pub merge_neighbours: bool,
}

/// One passage that was found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchResult {
    pub passage_id: String,
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub heading_path: Vec<String>,
    /// The page or slide that it begins on, counted from 1, if its document has pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
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
            page: page_at(&hit.pages, 0),
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
    /// Who found them: `embedded`, `dynamodb` or `bedrock`.
    pub retriever: &'static str,
    /// Where the next page begins; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Set when the retriever could not look further: there may be more that passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// What the space's reranker did, if it has one and it had something to order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranking: Option<Reranking>,
    pub took_ms: f64,
}

/// Milliseconds of a search's parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchTimes {
    pub embed_ms: f64,
    pub search_ms: f64,
    pub rerank_ms: f64,
}

/// Where found passages are stored.
pub(crate) enum Stored {
    Index(Arc<Snapshot>),
    Texts(Texts),
}

impl Library for Stored {
    fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        match self {
            Self::Index(snapshot) => {
                let passage = |id: &str| snapshot.index.passage(id, mask);
                Some(with_siblings(passage(id)?, passage))
            }
            Self::Texts(texts) => texts.passage(id, mask),
        }
    }
}

/// Passages with where they come from; `None` while nothing was published.
pub(crate) struct Found {
    pub hits: Vec<Hit>,
    pub stored: Option<Stored>,
    pub retriever: &'static str,
    pub more: bool,
    pub bound: Option<Bound>,
    pub reranking: Option<Reranking>,
    pub times: SearchTimes,
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
    let skip = skip(request.cursor.as_deref())?;
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let entered = spaces::enter_to_search(aws, space, caller).await?;
    limits::count(aws, &entered, caller).await?;
    let wanted = Wanted {
        text: &request.query,
        mode: request.mode,
        limit,
        filter: filter.as_ref(),
        skip,
        tidying: Tidying {
            drop_near_duplicates: request.drop_near_duplicates,
            merge_neighbours: request.merge_neighbours,
        },
        rerank: true,
    };
    let account = Account::unnamed(aws, &entered);
    let ranking = async {
        let cost = cost(aws, &entered, wanted.mode, wanted.text.len());
        if cost != Some(0) {
            account.hold(cost, &aws.settings.embed_model).await?;
        }
        snapshots.prefetch(aws, &entered);
        rank(aws, snapshots, caller, &entered, &wanted, &account).await
    };
    let ranked = ranking.await;
    let releasing = async { ranked?.released(aws, caller).await };
    // Releasing costs nothing that is counted.
    let (found, ()) = tokio::join!(releasing, account.close());
    let found = found?;
    let notice = found.bound.map(|bound| {
        format!(
            "the retriever {} gave {} candidates of at most {}, and too few of them pass; narrow the filter, or set the \
             space's retriever to embedded, which looks at every passage",
            found.retriever, bound.candidates, bound.limit
        )
    });
    Ok(SearchReply {
        next_cursor: found.more.then(|| (wanted.skip + limit).to_string()),
        retriever: found.retriever,
        notice,
        reranking: found.reranking,
        results: found.hits.into_iter().map(SearchResult::from).collect(),
        took_ms: milliseconds(begun),
    })
}

/// What finding may cost at the most: the embedding of a query of so many bytes, and the reranker. `None` without a price for
/// the embedding model; every reranker has one.
pub(crate) fn cost(
    aws: &Aws,
    entered: &Entered,
    mode: SearchMode,
    query_bytes: usize,
) -> Option<u64> {
    let embedding = match embeds(entered) && mode != SearchMode::Lexical {
        true => bound::embedding(aws, query_bytes)?,
        false => 0,
    };
    let reranking = match rerank::model(entered, mode) {
        Some(model) => rerank::bound(model, query_bytes)?,
        None => 0,
    };
    Some(embedding.saturating_add(reranking))
}

/// Whether a query of this space may be embedded here. A knowledge base embeds for itself; until one that the space fills
/// holds everything, the embedded index answers.
pub(crate) fn embeds(entered: &Entered) -> bool {
    !matches!(
        entered.retriever,
        RetrieverSetting::KnowledgeBase {
            data_source: None,
            ..
        }
    )
}

pub(crate) struct Wanted<'a> {
    pub text: &'a str,
    pub mode: SearchMode,
    pub limit: usize,
    pub filter: Option<&'a Filter>,
    /// Hits of the pages before.
    pub skip: usize,
    pub tidying: Tidying,
    /// Whether the space's reranker is asked, if it has one.
    pub rerank: bool,
}

/// The hits of the pages before, from the cursor that the page before gave.
fn skip(cursor: Option<&str>) -> Result<usize, KnowledgeError> {
    let Some(cursor) = cursor else {
        return Ok(0);
    };
    let skip = cursor.parse().ok().filter(|skip| *skip <= PAGED_RESULTS);
    skip.ok_or_else(|| KnowledgeError::InvalidRequest {
        detail: format!(
            "the cursor {cursor:?} is none; send the next_cursor of the page before, with the same query and filter"
        ),
    })
}

/// Finds what `caller` may read: the retriever ranks only that, and what it gives is checked once more. The account takes
/// the query's embedding and reranking; what a knowledge base embeds for itself, Bedrock does not tell.
pub(crate) async fn find(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    entered: &Entered,
    wanted: &Wanted<'_>,
    account: &Account<'_>,
) -> Result<Found, KnowledgeError> {
    let ranked = rank(aws, snapshots, caller, entered, wanted, account).await?;
    ranked.released(aws, caller).await
}

/// What was found and was not looked at for the second time.
struct Ranked(Found);

impl Ranked {
    async fn released(self, aws: &Aws, caller: &Caller) -> Result<Found, KnowledgeError> {
        let begun = Instant::now();
        let Self(mut found) = self;
        found.hits = release::readable_hits(aws, caller, found.hits).await?;
        found.times.search_ms += milliseconds(begun);
        Ok(found)
    }
}

async fn rank(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    entered: &Entered,
    wanted: &Wanted<'_>,
    account: &Account<'_>,
) -> Result<Ranked, KnowledgeError> {
    let mut times = SearchTimes::default();
    let space = entered.space.as_str();
    let choosing = choose_entered(aws, snapshots, entered);
    // The retriever is brought up to date while the model embeds; a knowledge base embeds for itself.
    let (chosen, vector) = match entered.retriever {
        RetrieverSetting::KnowledgeBase { .. } => {
            let chosen = choosing.await?;
            // Until it is filled, the embedded index answers.
            let vector = match chosen.wants_vector() {
                true => embed(aws, wanted, &mut times, account).await,
                false => Ok(None),
            };
            (chosen, vector)
        }
        _ => {
            let (chosen, vector) = tokio::join!(choosing, embed(aws, wanted, &mut times, account));
            (chosen?, vector)
        }
    };
    let retriever = chosen.name();
    let snapshot = chosen.snapshot().cloned();
    // A space without documents needs no vector: its embedding may fail unheard.
    if chosen.wants_vector() && snapshot.is_none() {
        return Ok(Ranked(Found {
            hits: Vec::new(),
            stored: None,
            retriever,
            more: false,
            bound: None,
            reranking: None,
            times,
        }));
    }
    if let Some(snapshot) = snapshot
        .as_ref()
        .filter(|_| wanted.mode != SearchMode::Lexical)
    {
        check_embedder(aws, space, snapshot)?;
    }
    let vector = vector?;
    let begun = Instant::now();
    let mask = Mask::Principals(caller.principals.clone());
    let asked = retriever::Wanted {
        text: wanted.text,
        vector: vector.as_deref(),
        mode: match wanted.mode {
            SearchMode::Hybrid => Mode::Hybrid,
            SearchMode::Lexical => Mode::Lexical,
            SearchMode::Vector => Mode::Vector,
        },
        filter: wanted.filter,
        mask: &mask,
        limit: wanted.limit,
        skip: wanted.skip,
        tidying: wanted.tidying,
    };
    let (found, reranking) = match rerank::model(entered, wanted.mode) {
        Some(model) if wanted.rerank && rerank::reaches(&asked) => {
            let reranker = rerank::Reranker {
                aws,
                caller,
                account,
                model,
            };
            reranker.page(&chosen, &asked).await?
        }
        _ => (chosen.retrieve(&asked).await?, None),
    };
    let hits = match &snapshot {
        Some(snapshot) => snapshot.parents(found.hits, &mask).await?,
        None => found.hits,
    };
    times.rerank_ms = reranking.as_ref().map_or(0.0, |one| one.took_ms);
    times.search_ms = milliseconds(begun) - times.rerank_ms;
    Ok(Ranked(Found {
        hits,
        stored: Some(match snapshot {
            Some(snapshot) => Stored::Index(snapshot),
            None => Stored::Texts(found.texts),
        }),
        retriever,
        more: found.more,
        bound: found.bound,
        reranking,
        times,
    }))
}

async fn embed(
    aws: &Aws,
    wanted: &Wanted<'_>,
    times: &mut SearchTimes,
    account: &Account<'_>,
) -> Result<Option<Vec<f32>>, KnowledgeError> {
    if wanted.mode == SearchMode::Lexical {
        return Ok(None);
    }
    let begun = Instant::now();
    let texts = [wanted.text.to_owned()];
    let embedded = aws.bedrock.embed(&texts, EmbedPurpose::Query).await?;
    times.embed_ms = milliseconds(begun);
    account.embedded(embedded.tokens);
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

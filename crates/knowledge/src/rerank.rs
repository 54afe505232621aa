//! Reranking: the best of what was found, in the order of a model that reads question and passage together.
//!
//! INVARIANT: the reranker sees no passage that the caller may not read. Whatever goes wrong with it costs a search its order
//! and nothing else: that of the fused rankings stands, and the reply says why. Bounds and reasons:
//! docs/decisions/042-reranking-never-fails-a-search.md.

use std::iter::repeat_n;
use std::time::Instant;

use aws::Aws;
use aws::bedrock::BedrockError;
use aws::telemetry::{Metric, Unit, metrics};
use retrieval::{Hit, titled_text};
use serde::Serialize;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::ledger::{self, Account, Line, tokens_of};
use crate::models::prices;
use crate::release;
use crate::retriever::{Chosen, Retrieved, Retriever as _, TIDIED, Tidying, Wanted};
use crate::search::{SearchMode, milliseconds};
use crate::spaces::Entered;

/// Passages that a reranker orders, from the best one of the fused rankings. With [`TEXT_BYTES`] of each they are billed as one
/// query, as long as the question is short.
pub const CANDIDATES: usize = 50;
/// Bytes of a passage that it reads, title and headings included: about 900 tokens. Passages of the default size have 512, and
/// Cohere's reranker has room for 4,096.
const TEXT_BYTES: usize = 3_600;

/// What a reranker did with what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reranking {
    pub model: String,
    /// Passages that it put into its order; their scores are its own, 0 to 1.
    pub passages: usize,
    /// The name of what went wrong; the order of the fused rankings stands then, with their scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    #[serde(skip)]
    pub took_ms: f64,
}

impl Reranking {
    /// Where it failed, so in words for a model that reads the reply.
    pub(crate) fn note(&self) -> Option<String> {
        let error = self.error?;
        Some(format!(
            "The passages were not reranked ({error}): they stand in the order in which they were found."
        ))
    }
}

/// The reranker of a search: none of one that names a single ranking, which is given as it stands.
pub(crate) fn model(entered: &Entered, mode: SearchMode) -> Option<&str> {
    let model = entered.rerank_model.as_deref();
    model.filter(|_| mode == SearchMode::Hybrid)
}

/// What it may cost at the most.
pub(crate) fn bound(model: &str, query_bytes: usize) -> Option<u64> {
    ledger::bound::rerank(model, query_bytes, CANDIDATES, TEXT_BYTES)
}

/// Whether a page holds what a reranker orders. Later pages go on with the fused rankings.
pub(crate) fn reaches(wanted: &Wanted<'_>) -> bool {
    wanted.skip < CANDIDATES || wanted.tidying.is_wanted()
}

/// A space's reranker, and for whom and on whose account it is asked.
pub(crate) struct Reranker<'a> {
    pub aws: &'a Aws,
    pub caller: &'a Caller,
    pub account: &'a Account<'a>,
    pub model: &'a str,
}

impl Reranker<'_> {
    /// A page of what is found, the best of it reranked.
    ///
    /// # Errors
    /// The retriever's and the table's; none of the reranker's.
    pub async fn page(
        &self,
        chosen: &Chosen,
        wanted: &Wanted<'_>,
    ) -> Result<(Retrieved, Option<Reranking>), KnowledgeError> {
        let end = wanted.skip.saturating_add(wanted.limit);
        let whole = Wanted {
            skip: 0,
            limit: match wanted.tidying.is_wanted() {
                true => TIDIED,
                false => end.max(CANDIDATES),
            },
            tidying: Tidying::default(),
            ..*wanted
        };
        let found = chosen.retrieve(&whole).await?;
        let mut best = found.hits;
        let rest = best.split_off(best.len().min(CANDIDATES));
        let (candidates, all) = (best.len(), best.len() + rest.len());
        let best = release::readable_hits(self.aws, self.caller, best).await?;
        let (best, reranking) = self.reranked(wanted.text, best).await;
        let page = if wanted.tidying.is_wanted() {
            let ranking = best.into_iter().chain(rest).collect();
            Retrieved::page(wanted.tidying.apply(ranking), wanted)
        } else {
            // The places of what was held back stay empty: pages begin and end where those of the fused rankings do.
            let empty = repeat_n(None, candidates - best.len());
            let places = best.into_iter().map(Some).chain(empty);
            let places = places.chain(rest.into_iter().map(Some));
            let page = places.skip(wanted.skip).take(wanted.limit);
            Retrieved {
                hits: page.flatten().collect(),
                more: all > end || found.more,
                ..Retrieved::default()
            }
        };
        let page = Retrieved {
            bound: found.bound.filter(|_| !page.more),
            texts: found.texts,
            ..page
        };
        Ok((page, reranking))
    }

    /// The hits in the reranker's order. One alone has an order already.
    async fn reranked(&self, query: &str, hits: Vec<Hit>) -> (Vec<Hit>, Option<Reranking>) {
        if hits.len() < 2 {
            return (hits, None);
        }
        let begun = Instant::now();
        let texts: Vec<String> = hits.iter().map(text).collect();
        let asked = self.ask(query, &texts).await;
        let reranking = |passages, error| Reranking {
            model: self.model.to_owned(),
            passages,
            error,
            took_ms: milliseconds(begun),
        };
        match asked {
            Ok(ranking) => {
                let (passages, hits) = (ranking.len(), in_order(hits, &ranking));
                (hits, Some(reranking(passages, None)))
            }
            Err(name) => {
                report_failure(self.model, name);
                (hits, Some(reranking(0, Some(name))))
            }
        }
    }

    /// The places of the texts by their relevance, with it; else the name of what went wrong.
    async fn ask(&self, query: &str, texts: &[String]) -> Result<Vec<(usize, f32)>, &'static str> {
        // Set by the space while the deployment offered it; its role may not ask it any more.
        if !self
            .aws
            .settings
            .rerank_models
            .iter()
            .any(|one| one == self.model)
        {
            return Err("ModelNotAllowed");
        }
        let asked = self.aws.reranker.rerank(self.model, query, texts).await;
        let line = || {
            let passages = texts.iter().map(|text| tokens_of(text.len()));
            let queries = prices::rerank_queries(tokens_of(query.len()), passages);
            Line::rerank(self.model, queries)
        };
        match asked {
            Ok(ranking) => {
                self.account.take(line());
                Ok(ranking
                    .into_iter()
                    .map(|one| (one.index, one.score))
                    .collect())
            }
            Err(error) => {
                tracing::warn!(model = self.model, %error, "nothing was reranked");
                // A call that was given up may have been answered, and is billed then.
                if let BedrockError::TimedOut { .. } = error {
                    self.account.take(Line {
                        estimated: true,
                        ..line()
                    });
                }
                Err(error.name())
            }
        }
    }
}

/// What the reranker reads of a hit: what was embedded of it, as far as there is room.
fn text(hit: &Hit) -> String {
    let mut text = titled_text(&hit.title, &hit.heading_path, &hit.text);
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}

/// The hits in an order of their places, each with its score; those that it does not name follow as they stood.
fn in_order(hits: Vec<Hit>, ranking: &[(usize, f32)]) -> Vec<Hit> {
    let mut hits: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(hits.len());
    for (place, score) in ranking {
        let hit = hits.get_mut(*place).and_then(Option::take);
        ordered.extend(hit.map(|hit| Hit {
            score: *score,
            ..hit
        }));
    }
    ordered.extend(hits.into_iter().flatten());
    ordered
}

fn report_failure(model: &str, error: &str) {
    let failure = Metric {
        name: "RerankFailures",
        unit: Unit::Count,
        value: 1.0,
    };
    metrics(&[failure], &[("model", model), ("error", error)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(title: &str, text: &str) -> Hit {
        Hit {
            passage_id: text.to_owned(),
            document_id: "s.1".into(),
            title: title.to_owned(),
            uri: String::new(),
            content_hash: String::new(),
            heading_path: vec![title.to_owned(), "Gate".into()],
            pages: Vec::new(),
            parent: None,
            text: text.to_owned(),
            start: 0,
            end: 1,
            score: 0.5,
            lexical_rank: None,
            vector_rank: None,
        }
    }

    #[test]
    fn hits_take_the_order_and_the_scores_and_none_is_lost() {
        let check = |ranking: &[(usize, f32)], expected: &[(&str, f32)]| {
            let hits = ["a", "b", "c"].map(|text| hit("t", text)).to_vec();
            let found = in_order(hits, ranking);
            let found: Vec<_> = found
                .iter()
                .map(|hit| (hit.text.as_str(), hit.score))
                .collect();
            assert_eq!(found, expected);
        };
        check(
            &[(2, 0.9), (0, 0.2), (1, 0.1)],
            &[("c", 0.9), ("a", 0.2), ("b", 0.1)],
        );
        check(&[(2, 0.9)], &[("c", 0.9), ("a", 0.5), ("b", 0.5)]);
        check(&[], &[("a", 0.5), ("b", 0.5), ("c", 0.5)]);
        check(
            &[(7, 0.9), (1, 0.4), (1, 0.3)],
            &[("b", 0.4), ("a", 0.5), ("c", 0.5)],
        );
    }

    #[test]
    fn a_passage_is_read_with_its_headings_and_as_far_as_there_is_room() {
        assert_eq!(text(&hit("Tower", "At nine.")), "Tower > Gate\nAt nine.");
        let long = text(&hit("Tower", &"ü".repeat(3_000)));
        assert!(
            (TEXT_BYTES - 1..=TEXT_BYTES).contains(&long.len()),
            "{}",
            long.len()
        );
        assert!(long.ends_with('ü'));
    }

    #[test]
    fn the_longest_candidates_are_billed_as_one_query() {
        let check = |question: usize, queries: u64| {
            let passages = repeat_n(tokens_of(TEXT_BYTES), CANDIDATES);
            let found = prices::rerank_queries(tokens_of(question), passages);
            assert_eq!(found, queries, "{question}");
        };
        check(490, 1);
        check(crate::search::QUESTION_CHARACTERS, 2);
    }
}

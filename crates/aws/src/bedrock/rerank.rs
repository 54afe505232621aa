//! `Rerank`: texts in the order of what they have to do with a query, by a model that reads both together. No SDK type
//! leaves this module.

use std::time::Duration;

use aws_sdk_bedrockagentruntime::Client;
use aws_sdk_bedrockagentruntime::types::{
    BedrockRerankingConfiguration, BedrockRerankingModelConfiguration, RerankDocument,
    RerankDocumentType, RerankQuery, RerankQueryContentType, RerankResult, RerankSource,
    RerankSourceType, RerankTextDocument, RerankingConfiguration, RerankingConfigurationType,
};

use super::{BedrockError, KnowledgeBases, classify};
use crate::Lazy;
use crate::config::{self, Settings};

/// How long a reranker is waited for, its retries and pages together. Somebody waits for the answer, and there is an order
/// without it.
const WAIT: Duration = Duration::from_secs(5);

/// The client of Bedrock's rerankers.
#[derive(Clone, Debug)]
pub struct Reranker {
    client: Lazy<Client>,
    /// What the models' ARNs begin with.
    arns: String,
}

/// What a reranker thinks of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relevance {
    /// The text's place among those that were sent.
    pub index: usize,
    /// 0 to 1; comparable within one reply.
    pub score: f32,
}

impl Reranker {
    /// Shares the client of knowledge bases: both are served by the same endpoint.
    pub(crate) fn beside(knowledge_bases: &KnowledgeBases, settings: &Settings) -> Self {
        Self {
            client: knowledge_bases.client.clone(),
            arns: config::foundation_models(settings),
        }
    }

    /// The relevance of each text to `query`, best first; of equal ones the first that was sent. Takes 1 to 1,000 texts; these
    /// and the query have 1 to 32,000 characters. Source: Amazon Bedrock API Reference, `Rerank`.
    ///
    /// # Errors
    /// Any [`BedrockError`]; [`BedrockError::TimedOut`] after five seconds.
    pub async fn rerank(
        &self,
        model: &str,
        query: &str,
        texts: &[String],
    ) -> Result<Vec<Relevance>, BedrockError> {
        let asked = tokio::time::timeout(WAIT, self.ask(model, query, texts)).await;
        let results = asked.unwrap_or_else(|_| {
            let detail = format!("it did not reply within {} s", WAIT.as_secs());
            Err(BedrockError::TimedOut {
                model: model.to_owned(),
                detail,
            })
        })?;
        ordered(&results, texts.len()).ok_or_else(|| BedrockError::Unavailable {
            model: model.to_owned(),
            detail: "its reply names a text twice or one that was not sent".into(),
        })
    }

    /// All pages of the reply.
    async fn ask(
        &self,
        model: &str,
        query: &str,
        texts: &[String],
    ) -> Result<Vec<RerankResult>, BedrockError> {
        let request = Request::of(&format!("{}{model}", self.arns), query, texts);
        let request = request.map_err(|error| BedrockError::Refused {
            model: model.to_owned(),
            detail: error.to_string(),
        })?;
        let (mut results, mut next) = (Vec::new(), None);
        loop {
            let reply = self
                .client
                .rerank()
                .queries(request.query.clone())
                .set_sources(Some(request.sources.clone()))
                .reranking_configuration(request.configuration.clone())
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| classify(model, error))?;
            // A page without results leads nowhere, whatever token it has.
            next = reply.next_token.filter(|_| !reply.results.is_empty());
            results.extend(reply.results);
            if next.is_none() {
                return Ok(results);
            }
        }
    }
}

struct Request {
    query: RerankQuery,
    sources: Vec<RerankSource>,
    configuration: RerankingConfiguration,
}

impl Request {
    fn of(
        model_arn: &str,
        query: &str,
        texts: &[String],
    ) -> Result<Self, aws_smithy_types::error::operation::BuildError> {
        let text = |text: &str| RerankTextDocument::builder().text(text).build();
        let source = |words: &String| {
            let document = RerankDocument::builder()
                .r#type(RerankDocumentType::Text)
                .text_document(text(words))
                .build()?;
            RerankSource::builder()
                .r#type(RerankSourceType::Inline)
                .inline_document_source(document)
                .build()
        };
        let model = BedrockRerankingModelConfiguration::builder()
            .model_arn(model_arn)
            .build()?;
        // No more results than sources: Bedrock refuses that.
        let wanted = i32::try_from(texts.len()).unwrap_or(i32::MAX);
        let configuration = BedrockRerankingConfiguration::builder()
            .number_of_results(wanted)
            .model_configuration(model)
            .build();
        Ok(Self {
            query: RerankQuery::builder()
                .r#type(RerankQueryContentType::Text)
                .text_query(text(query))
                .build()?,
            sources: texts.iter().map(source).collect::<Result<_, _>>()?,
            configuration: RerankingConfiguration::builder()
                .r#type(RerankingConfigurationType::BedrockRerankingModel)
                .bedrock_reranking_configuration(configuration)
                .build()?,
        })
    }
}

/// What a reply says of `sent` texts, best first; `None` for one that does not speak of them.
fn ordered(results: &[RerankResult], sent: usize) -> Option<Vec<Relevance>> {
    let mut met = vec![false; sent];
    let mut ranking = Vec::with_capacity(results.len());
    for result in results {
        let index = usize::try_from(result.index).ok()?;
        let twice = std::mem::replace(met.get_mut(index)?, true);
        let score = result.relevance_score;
        if twice || !score.is_finite() {
            return None;
        }
        ranking.push(Relevance { index, score });
    }
    ranking.sort_by(|one, other| {
        let by_score = other.score.total_cmp(&one.score);
        by_score.then(one.index.cmp(&other.index))
    });
    Some(ranking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_believed_only_of_what_was_sent() {
        let check = |results: &[(i32, f32)], expected: Option<&[usize]>| {
            let results: Vec<RerankResult> = results
                .iter()
                .map(|(index, score)| {
                    let result = RerankResult::builder().index(*index);
                    result.relevance_score(*score).build().unwrap()
                })
                .collect();
            let found = ordered(&results, 3);
            let found: Option<Vec<usize>> =
                found.map(|ranking| ranking.iter().map(|one| one.index).collect());
            assert_eq!(found.as_deref(), expected, "{results:?}");
        };
        check(&[(1, 0.9), (0, 0.5), (2, 0.1)], Some(&[1, 0, 2]));
        check(&[(2, 0.1), (1, 0.5), (0, 0.5)], Some(&[0, 1, 2]));
        check(&[(2, 0.1)], Some(&[2]));
        check(&[], Some(&[]));
        check(&[(3, 0.9)], None);
        check(&[(-1, 0.9)], None);
        check(&[(1, 0.9), (1, 0.8)], None);
        check(&[(1, f32::NAN)], None);
    }
}

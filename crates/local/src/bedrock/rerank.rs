//! `Rerank` of the agent runtime: texts by what they have to do with a query. On the laptop that is counted in words, the same on
//! every platform and for every model; it says nothing of how good Bedrock's rerankers are.
use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::retrieve::{fingerprint, skip, token};
use super::wire::{ErrorName, WireError};
use super::words::{asked_stems, content_stems};
use super::{embed, models, sentences};

/// Source: Amazon Bedrock API Reference, `Rerank`.
const MAX_SOURCES: usize = 1_000;
const MAX_CHARACTERS: usize = 32_000;
/// Results of one reply. How many AWS's have is not documented: few here, so that whoever asks is seen to go on.
const PAGE: usize = 20;
const DIMENSIONS: usize = 256;

/// How much of the score is which part: the query's words in the text, those that stand in one sentence, and the likeness of the
/// embeddings.
const IN_TEXT: f64 = 0.4;
const IN_SENTENCE: f64 = 0.4;
const LIKENESS: f64 = 0.2;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RerankRequest {
    queries: Vec<RerankQuery>,
    sources: Vec<RerankSource>,
    reranking_configuration: RerankingConfiguration,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RerankQuery {
    #[serde(rename = "type")]
    kind: QueryKind,
    text_query: TextDocument,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum QueryKind {
    Text,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextDocument {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RerankSource {
    #[serde(rename = "type")]
    kind: SourceKind,
    inline_document_source: RerankDocument,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum SourceKind {
    Inline,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RerankDocument {
    #[serde(rename = "type")]
    kind: DocumentKind,
    #[serde(default)]
    text_document: Option<TextDocument>,
    #[serde(default)]
    json_document: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum DocumentKind {
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RerankingConfiguration {
    #[serde(rename = "type")]
    kind: ConfigurationKind,
    bedrock_reranking_configuration: BedrockConfiguration,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ConfigurationKind {
    BedrockRerankingModel,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BedrockConfiguration {
    model_configuration: ModelConfiguration,
    #[serde(default)]
    number_of_results: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModelConfiguration {
    model_arn: String,
    #[serde(default)]
    additional_model_request_fields: Option<Value>,
}

/// What a request comes to, checked.
struct Wanted {
    query: String,
    texts: Vec<String>,
    limit: usize,
    skip: usize,
    fingerprint: String,
}

/// Answers `Rerank`: a page of places and scores, best first.
pub(super) async fn rerank(request: RerankRequest) -> Result<Value, WireError> {
    let wanted = request.check()?;
    let scoring = tokio::task::spawn_blocking(move || {
        let ranking = ranking(&wanted.query, &wanted.texts);
        (ranking, wanted)
    });
    let (ranking, wanted) = scoring.await.map_err(|_| {
        let words = "The reranker ended on these texts.";
        WireError::new(ErrorName::InternalServer, words)
    })?;
    let end = wanted.limit.min(wanted.skip + PAGE);
    let results: Vec<Value> = ranking
        .iter()
        .take(end)
        .skip(wanted.skip)
        .map(|(index, score)| json!({ "index": index, "relevanceScore": score }))
        .collect();
    let mut reply = json!({ "results": results });
    if end < wanted.limit {
        reply["nextToken"] = json!(token(end, &wanted.fingerprint));
    }
    Ok(reply)
}

impl RerankRequest {
    fn check(self) -> Result<Wanted, WireError> {
        let [query] = <[RerankQuery; 1]>::try_from(self.queries).map_err(|queries| {
            let count = queries.len();
            WireError::validation(format!("queries must have 1 member, not {count}."))
        })?;
        let QueryKind::Text = query.kind;
        let ConfigurationKind::BedrockRerankingModel = self.reranking_configuration.kind;
        let configuration = self.reranking_configuration.bedrock_reranking_configuration;
        let model = configuration.model_configuration;
        models::resolve_reranker(&model.model_arn)?;
        if model.additional_model_request_fields.is_some() {
            let field = "modelConfiguration.additionalModelRequestFields";
            return Err(WireError::unsupported(field));
        }
        let count = self.sources.len();
        if !(1..=MAX_SOURCES).contains(&count) {
            return Err(WireError::validation(format!(
                "sources must have 1 to {MAX_SOURCES} members, not {count}."
            )));
        }
        let limit = configuration.number_of_results.unwrap_or(count);
        if !(1..=MAX_SOURCES).contains(&limit) {
            return Err(WireError::validation(format!(
                "numberOfResults must be 1 to {MAX_SOURCES}, not {limit}."
            )));
        }
        if limit > count {
            // AWS's own words.
            return Err(WireError::validation(
                "Cannot provide numberOfResults value that exceeds the number of sources.",
            ));
        }
        let query = checked(query.text_query, "queries[0].textQuery")?;
        let sources = self.sources.into_iter().enumerate();
        let texts = sources.map(|(number, source)| source.read(number));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        let mut parts = vec![query.as_str(), model.model_arn.as_str()];
        parts.extend(texts.iter().map(String::as_str));
        let fingerprint = fingerprint(&parts);
        let skip = self
            .next_token
            .map_or(Ok(0), |token| skip(&token, &fingerprint))?;
        Ok(Wanted {
            query,
            texts,
            limit,
            skip,
            fingerprint,
        })
    }
}

impl RerankSource {
    /// The source's text; of a JSON document all texts in it.
    fn read(self, number: usize) -> Result<String, WireError> {
        let SourceKind::Inline = self.kind;
        let place = format!("sources[{number}].inlineDocumentSource");
        let document = self.inline_document_source;
        match (
            document.kind,
            document.text_document,
            document.json_document,
        ) {
            (DocumentKind::Text, Some(text), None) => {
                checked(text, &format!("{place}.textDocument"))
            }
            (DocumentKind::Json, None, Some(value)) => {
                let mut texts = Vec::new();
                strings(&value, &mut texts);
                Ok(texts.join("\n"))
            }
            _ => Err(WireError::validation(format!(
                "{place} must have the textDocument or jsonDocument that its type names, and no other."
            ))),
        }
    }
}

fn checked(document: TextDocument, place: &str) -> Result<String, WireError> {
    let text = document.text.unwrap_or_default();
    let characters = text.chars().count();
    match (1..=MAX_CHARACTERS).contains(&characters) {
        true => Ok(text),
        false => Err(WireError::validation(format!(
            "{place}.text must have 1 to {MAX_CHARACTERS} characters, not {characters}."
        ))),
    }
}

fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => {}
    }
}

/// The places of the texts with their scores, best first; of equal ones the first.
fn ranking(query: &str, texts: &[String]) -> Vec<(usize, f32)> {
    let asked = Asked::new(query);
    let mut ranking: Vec<(usize, f32)> = texts
        .iter()
        .map(|text| asked.relevance(text))
        .enumerate()
        .collect();
    ranking.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    ranking
}

struct Asked {
    stems: BTreeSet<String>,
    vector: Option<Vec<f32>>,
}

impl Asked {
    fn new(query: &str) -> Self {
        Self {
            stems: asked_stems(query).into_iter().collect(),
            vector: vector(query),
        }
    }

    /// 0 to 1, whatever the other texts are.
    fn relevance(&self, text: &str) -> f32 {
        let split = sentences::split(text);
        let nearest = split.iter().map(|sentence| self.share(sentence.text));
        let nearest = nearest.fold(0.0, f64::max);
        let likeness = self
            .vector
            .as_ref()
            .zip(vector(text))
            .map_or(0.0, |(one, other)| {
                let products = one
                    .iter()
                    .zip(other)
                    .map(|(a, b)| f64::from(*a) * f64::from(b));
                products.sum::<f64>().clamp(0.0, 1.0)
            });
        (IN_TEXT * self.share(text) + IN_SENTENCE * nearest + LIKENESS * likeness) as f32
    }

    /// The share of the query's words that stand in a text.
    fn share(&self, text: &str) -> f64 {
        let said: HashSet<String> = content_stems(text).into_iter().collect();
        let shared = self
            .stems
            .iter()
            .filter(|stem| said.contains(*stem))
            .count();
        shared as f64 / self.stems.len().max(1) as f64
    }
}

fn vector(text: &str) -> Option<Vec<f32>> {
    (!text.trim().is_empty()).then(|| embed::embed(text, DIMENSIONS, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "When does the gate of the lighthouse open?";

    fn request(change: impl FnOnce(&mut Value)) -> Result<RerankRequest, WireError> {
        let source = |text: &str| json!({"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}});
        let mut body = json!({
            "queries": [{"type": "TEXT", "textQuery": {"text": QUERY}}],
            "sources": [source("Guardrails mask personal data."), source("The gate of the lighthouse opens at nine.")],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "modelConfiguration": {"modelArn": "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"},
                },
            },
        });
        change(&mut body);
        super::super::wire::read_json(&body.to_string().into())
    }

    #[test]
    fn what_answers_is_before_what_only_shares_words() {
        let texts = [
            "The lighthouse is white. It has a keeper. Nobody paints the gate, and the office does not open.",
            "The keeper sleeps.",
            "The gate of the lighthouse opens at nine.",
        ]
        .map(str::to_owned);
        let found = ranking(QUERY, &texts);
        let order: Vec<usize> = found.iter().map(|(index, _)| *index).collect();
        assert_eq!(order, [2, 0, 1], "{found:?}");
        assert!(found.iter().all(|(_, score)| (0.0..=1.0).contains(score)));
        // The score of a text is its own.
        let alone = ranking(QUERY, &texts[2..]);
        assert_eq!(alone[0].1, found[0].1);
    }

    #[tokio::test]
    async fn results_come_in_pages() {
        let many = |body: &mut Value| {
            let one = body["sources"][1].clone();
            body["sources"] = json!(vec![one; 50]);
        };
        let first = rerank(request(many).unwrap()).await.unwrap();
        let mut pages = vec![first];
        while let Some(next) = pages.last().unwrap()["nextToken"].as_str() {
            let next = next.to_owned();
            let go_on = |body: &mut Value| {
                many(body);
                body["nextToken"] = json!(next);
            };
            pages.push(rerank(request(go_on).unwrap()).await.unwrap());
        }
        let places: Vec<u64> = pages
            .iter()
            .flat_map(|page| page["results"].as_array().unwrap())
            .map(|result| result["index"].as_u64().unwrap())
            .collect();
        // Equal texts stay in their order.
        assert_eq!(places, (0..50).collect::<Vec<u64>>());
        assert_eq!(pages.len(), 3);
    }

    #[test]
    fn requests_are_refused_in_awss_words_or_by_name() {
        let check = |change: fn(&mut Value), words: &str| {
            let error = request(change).and_then(|request| request.check().map(|_| ()));
            let error = error.unwrap_err();
            assert_eq!(error.name, ErrorName::Validation);
            assert!(error.message.contains(words), "{}", error.message);
        };
        check(|body| body["queries"] = json!([]), "1 member, not 0");
        check(
            |body| body["sources"] = json!([]),
            "1 to 1000 members, not 0",
        );
        check(
            |body| {
                let one = body["sources"][0].clone();
                body["sources"] = json!(vec![one; 1_001]);
            },
            "not 1001",
        );
        check(
            |body| body["queries"][0]["textQuery"]["text"] = json!("x".repeat(32_001)),
            "queries[0].textQuery.text must have 1 to 32000 characters, not 32001",
        );
        check(
            |body| body["sources"][1]["inlineDocumentSource"]["textDocument"]["text"] = json!(""),
            "sources[1].inlineDocumentSource.textDocument.text",
        );
        check(
            |body| body["sources"][1]["inlineDocumentSource"]["type"] = json!("JSON"),
            "sources[1].inlineDocumentSource must have",
        );
        check(|body| body["sources"][0]["type"] = json!("S3"), "S3");
        check(
            |body| settings(body)["numberOfResults"] = json!(0),
            "1 to 1000, not 0",
        );
        check(
            |body| settings(body)["numberOfResults"] = json!(3),
            "exceeds the number of sources",
        );
        check(
            |body| {
                settings(body)["modelConfiguration"]["modelArn"] = json!("amazon.nova-lite-v1:0")
            },
            "model identifier is invalid",
        );
        check(
            |body| {
                settings(body)["modelConfiguration"]["additionalModelRequestFields"] =
                    json!({"a": 1});
            },
            "additionalModelRequestFields is not supported",
        );
        check(|body| body["nextToken"] = json!("forged"), "nextToken");
        check(|body| body["more"] = json!(1), "more");
    }

    fn settings(body: &mut Value) -> &mut Value {
        &mut body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    }

    #[test]
    fn json_documents_are_read_for_their_texts() {
        let found = request(|body| {
            body["sources"][0]["inlineDocumentSource"] = json!({"type": "JSON", "jsonDocument": {"title": "Gate", "pages": [1, {"text": "Nine."}]}});
        });
        let texts = found.unwrap().check().unwrap().texts;
        assert!(
            texts[0].contains("Gate") && texts[0].contains("Nine."),
            "{texts:?}"
        );
    }
}

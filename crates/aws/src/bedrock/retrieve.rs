//! `Retrieve` of Bedrock's knowledge bases. No SDK type leaves this module; filters come in Bedrock's JSON form.

use aws_config::SdkConfig;
use aws_sdk_bedrockagentruntime::Client;
use aws_sdk_bedrockagentruntime::types::{
    FilterAttribute, KnowledgeBaseQuery, KnowledgeBaseRetrievalConfiguration,
    KnowledgeBaseRetrievalResult, KnowledgeBaseVectorSearchConfiguration,
    ManagedSearchConfiguration, RetrievalFilter, SearchType,
};
use aws_smithy_types::{Document, Number};
use serde_json::{Map, Value};

use crate::{AwsError, Lazy, classify, lazily};

const SERVICE: &str = "Bedrock Knowledge Bases";
/// Source: Amazon Bedrock API Reference, `RetrievalFilter`.
const LOGIC: [&str; 2] = ["andAll", "orAll"];

/// The client of Bedrock's knowledge bases.
#[derive(Clone, Debug)]
pub struct KnowledgeBases {
    pub(super) client: Lazy<Client>,
}

/// What is asked of a knowledge base.
#[derive(Debug, Clone)]
pub struct Retrieve<'a> {
    pub knowledge_base_id: &'a str,
    /// Whether the knowledge base is of the type MANAGED, which takes another form of request.
    pub managed: bool,
    /// Whether only meaning counts, not words; for type VECTOR, where the store could do both.
    pub semantic: bool,
    /// At most 20,000 characters.
    pub text: &'a str,
    pub filter: Option<&'a Value>,
    /// 1 to 100.
    pub limit: usize,
    pub next: Option<&'a str>,
}

/// A page of chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunks {
    pub chunks: Vec<Chunk>,
    pub next: Option<String>,
}

/// A chunk of text with where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    pub text: String,
    /// `s3://bucket/key` of its document, where it comes from S3.
    pub uri: Option<String>,
    pub metadata: Map<String, Value>,
    pub score: f32,
}

impl KnowledgeBases {
    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let sdk = sdk.clone();
        Self {
            client: lazily(move || Client::new(&sdk)),
        }
    }

    /// One page of chunks, best first. Chunks that are no text are left out.
    ///
    /// # Errors
    /// [`AwsError::Refused`] for an unknown knowledge base, a filter that its store does not take, or one that is none.
    pub async fn retrieve(&self, wanted: &Retrieve<'_>) -> Result<Chunks, AwsError> {
        let filter = wanted.filter.map(filter).transpose()?;
        let query = KnowledgeBaseQuery::builder().text(wanted.text).build();
        let reply = self
            .client
            .retrieve()
            .knowledge_base_id(wanted.knowledge_base_id)
            .retrieval_query(query)
            .retrieval_configuration(configuration(wanted, filter))
            .set_next_token(wanted.next.map(str::to_owned))
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(Chunks {
            chunks: reply
                .retrieval_results
                .into_iter()
                .filter_map(chunk)
                .collect(),
            next: reply.next_token,
        })
    }
}

fn configuration(
    wanted: &Retrieve<'_>,
    filter: Option<RetrievalFilter>,
) -> KnowledgeBaseRetrievalConfiguration {
    let limit = wanted.limit.clamp(1, 100) as i32;
    let configuration = KnowledgeBaseRetrievalConfiguration::builder();
    if wanted.managed {
        let managed = ManagedSearchConfiguration::builder()
            .number_of_results(limit)
            .set_filter(filter)
            .build();
        return configuration.managed_search_configuration(managed).build();
    }
    let vector = KnowledgeBaseVectorSearchConfiguration::builder()
        .number_of_results(limit)
        .set_filter(filter)
        .set_override_search_type(wanted.semantic.then_some(SearchType::Semantic))
        .build();
    configuration.vector_search_configuration(vector).build()
}

fn chunk(result: KnowledgeBaseRetrievalResult) -> Option<Chunk> {
    let text = result.content?.text;
    let uri = result
        .location
        .and_then(|location| location.s3_location?.uri);
    let metadata = result.metadata.unwrap_or_default().into_iter();
    (!text.is_empty()).then(|| Chunk {
        text,
        uri,
        metadata: metadata
            .map(|(name, value)| (name, to_json(value)))
            .collect(),
        score: result.score.unwrap_or_default() as f32,
    })
}

fn wrong(filter: &Value) -> AwsError {
    AwsError::Refused {
        service: SERVICE,
        detail: format!("{filter} is no filter"),
    }
}

/// A filter in the SDK's form.
fn filter(value: &Value) -> Result<RetrievalFilter, AwsError> {
    let only = value.as_object().filter(|fields| fields.len() == 1);
    let (operator, operand) = only
        .and_then(|fields| fields.iter().next())
        .ok_or_else(|| wrong(value))?;
    if LOGIC.contains(&operator.as_str()) {
        let members = operand.as_array().ok_or_else(|| wrong(value))?;
        let members = members.iter().map(filter).collect::<Result<_, _>>()?;
        return Ok(match operator.as_str() {
            "andAll" => RetrievalFilter::AndAll(members),
            _ => RetrievalFilter::OrAll(members),
        });
    }
    let attribute = FilterAttribute::builder()
        .key(operand["key"].as_str().unwrap_or_default())
        .value(to_document(&operand["value"]))
        .build()
        .map_err(|_| wrong(value))?;
    let make = match operator.as_str() {
        "equals" => RetrievalFilter::Equals,
        "notEquals" => RetrievalFilter::NotEquals,
        "greaterThan" => RetrievalFilter::GreaterThan,
        "greaterThanOrEquals" => RetrievalFilter::GreaterThanOrEquals,
        "lessThan" => RetrievalFilter::LessThan,
        "lessThanOrEquals" => RetrievalFilter::LessThanOrEquals,
        "in" => RetrievalFilter::In,
        "notIn" => RetrievalFilter::NotIn,
        "startsWith" => RetrievalFilter::StartsWith,
        "listContains" => RetrievalFilter::ListContains,
        "stringContains" => RetrievalFilter::StringContains,
        _ => return Err(wrong(value)),
    };
    Ok(make(attribute))
}

fn to_document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(flag) => Document::Bool(*flag),
        Value::Number(number) => Document::Number(match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => Number::PosInt(whole),
            (None, Some(whole)) => Number::NegInt(whole),
            (None, None) => Number::Float(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(to_document).collect()),
        Value::Object(fields) => Document::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), to_document(value)))
                .collect(),
        ),
    }
}

fn to_json(document: Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(flag) => Value::Bool(flag),
        Document::Number(Number::PosInt(whole)) => whole.into(),
        Document::Number(Number::NegInt(whole)) => whole.into(),
        Document::Number(Number::Float(number)) => number.into(),
        Document::String(text) => Value::String(text),
        Document::Array(items) => items.into_iter().map(to_json).collect(),
        Document::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, to_json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_reach_the_sdk_whole() {
        let leaf = |operator: &str, value: Value| json!({operator: {"key": "k", "value": value}});
        let whole = json!({"andAll": [
            leaf("equals", json!("text")), leaf("notEquals", json!(true)),
            leaf("greaterThan", json!(1)), leaf("greaterThanOrEquals", json!(-1)),
            leaf("lessThan", json!(1.5)), leaf("lessThanOrEquals", json!(u64::MAX)),
            leaf("in", json!(["a", 1])), leaf("notIn", json!([false])),
            {"orAll": [leaf("startsWith", json!("s")), leaf("listContains", json!("l"))]},
            leaf("stringContains", json!("c")),
        ]});
        let read = filter(&whole).unwrap();
        let members = read.as_and_all().unwrap();
        assert_eq!(members.len(), 10);
        assert!(members[8].as_or_all().unwrap()[1].is_list_contains());
        for (member, sent) in members.iter().zip(whole["andAll"].as_array().unwrap()) {
            if let RetrievalFilter::In(attribute) = member {
                assert_eq!(to_json(attribute.value.clone()), sent["in"]["value"]);
            }
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for value in [
            json!({}),
            json!([]),
            json!({"equalz": {"key": "k", "value": 1}}),
            json!({"andAll": 1}),
        ] {
            assert_eq!(
                filter(&value).unwrap_err().name(),
                "ServiceRefused",
                "{value}"
            );
        }
    }

    #[test]
    fn documents_come_back_as_they_went() {
        let value = json!({"a": [1, -2, 3.5, true, null, "text"], "b": {"c": u64::MAX}});
        assert_eq!(to_json(to_document(&value)), value);
    }
}

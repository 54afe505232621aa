//! Looking something up in an agent's knowledge base, through Retrieve.
use serde_json::{Value, json};

use super::super::wire::{ErrorName, WireError};
use super::super::{Bedrock, retrieve as knowledge_bases};
use super::request::KnowledgeConfiguration;

/// Passages that a lookup asks for if nobody says how many.
const RESULTS: usize = 5;

/// The passages for a query: as search results for the model, and as references for citations, one for one.
pub(super) struct Found {
    pub(super) parts: Vec<Value>,
    pub(super) references: Vec<Value>,
}

pub(super) async fn look_up(
    bedrock: &Bedrock,
    id: &str,
    query: &str,
    configurations: &[KnowledgeConfiguration],
) -> Result<Found, WireError> {
    let own = configurations
        .iter()
        .find(|configuration| configuration.knowledge_base_id == id);
    let configuration = match own {
        Some(own) => own.retrieval_configuration.clone(),
        None => json!({"vectorSearchConfiguration": {"numberOfResults": RESULTS}}),
    };
    let body = json!({"retrievalQuery": {"text": query}, "retrievalConfiguration": configuration});
    let reply = retrieve(bedrock, id, body).await?;
    let results = reply["retrievalResults"].as_array();
    let (mut parts, mut references) = (Vec::new(), Vec::new());
    for result in results.into_iter().flatten() {
        let Some(text) = result["content"]["text"]
            .as_str()
            .filter(|text| !text.trim().is_empty())
        else {
            continue;
        };
        let source = source(&result["location"]);
        let title = result["metadata"]["title"].as_str();
        let title = title.unwrap_or_else(|| source.rsplit('/').next().unwrap_or_default());
        parts.push(json!({"searchResult": {
            "source": source, "title": title, "content": [{"text": text}], "citations": {"enabled": true},
        }}));
        let mut reference = json!({"content": {"type": "TEXT", "text": text}});
        for member in ["location", "metadata"] {
            if let Some(value) = result.get(member) {
                reference[member] = value.clone();
            }
        }
        references.push(reference);
    }
    Ok(Found { parts, references })
}

async fn retrieve(bedrock: &Bedrock, id: &str, body: Value) -> Result<Value, WireError> {
    if let Some(retrieve) = &bedrock.services.retrieve {
        return retrieve(id.to_owned(), body).await.map_err(|error| {
            let words = format!("Knowledge base {id} cannot be searched: {error}");
            WireError::new(ErrorName::DependencyFailed, words)
        });
    }
    let request = serde_json::from_value(body).map_err(|error| {
        WireError::validation(format!(
            "The retrievalConfiguration of {id} is not valid: {error}"
        ))
    })?;
    knowledge_bases::retrieve(bedrock, id, request).await
}

/// The address of a location, whatever its kind.
fn source(location: &Value) -> String {
    let mut members = location.as_object().into_iter().flatten();
    let address = members.find_map(|(_, member)| member["uri"].as_str().or(member["url"].as_str()));
    address.unwrap_or_default().to_owned()
}

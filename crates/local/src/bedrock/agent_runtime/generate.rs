//! RetrieveAndGenerate: a lookup and an answer with its citations, without an agent. A session remembers its questions.
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::converse::Speech;
use super::super::request::ConverseRequest;
use super::super::wire::{ErrorName, WireError, json_reply, read_json, request_id};
use super::super::{Bedrock, models, routes};
use super::request::KnowledgeConfiguration;
use super::{attribution, lookup, turn};

/// Longest question (characters). Source: Amazon Bedrock API Reference, RetrieveAndGenerateInput.
const MAX_TEXT: usize = 1000;
/// Seconds until an idle session is forgotten.
const SESSION_SECONDS: u32 = 3600;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GenerateRequest {
    input: Input,
    retrieve_and_generate_configuration: Configuration,
    session_id: Option<String>,
    session_configuration: Option<Value>,
    user_context: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    r#type: Kind,
    knowledge_base_configuration: Option<BaseConfiguration>,
    external_sources_configuration: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    KnowledgeBase,
    ExternalSources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BaseConfiguration {
    knowledge_base_id: String,
    model_arn: String,
    retrieval_configuration: Option<Value>,
    #[serde(default)]
    generation_configuration: Generation,
    orchestration_configuration: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Generation {
    guardrail_configuration: Option<Guardrail>,
    inference_config: Option<Inference>,
    performance_config: Option<Value>,
    prompt_template: Option<Value>,
    additional_model_request_fields: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Guardrail {
    guardrail_id: String,
    guardrail_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inference {
    text_inference_config: Option<Value>,
}

impl GenerateRequest {
    fn check(&self) -> Result<&BaseConfiguration, WireError> {
        let configuration = &self.retrieve_and_generate_configuration;
        let base = configuration.knowledge_base_configuration.as_ref();
        let generation = base.map(|base| &base.generation_configuration);
        let of_generation = |member: fn(&Generation) -> &Option<Value>| {
            generation.is_some_and(|found| member(found).is_some())
        };
        let refused = [
            (
                configuration.r#type == Kind::ExternalSources,
                "retrieveAndGenerateConfiguration.type EXTERNAL_SOURCES",
            ),
            (
                configuration.external_sources_configuration.is_some(),
                "externalSourcesConfiguration",
            ),
            (self.session_configuration.is_some(), "sessionConfiguration"),
            (self.user_context.is_some(), "userContext"),
            (
                base.is_some_and(|base| base.orchestration_configuration.is_some()),
                "orchestrationConfiguration",
            ),
            (
                of_generation(|found| &found.prompt_template),
                "generationConfiguration.promptTemplate",
            ),
            (
                of_generation(|found| &found.additional_model_request_fields),
                "generationConfiguration.additionalModelRequestFields",
            ),
        ];
        if let Some((_, name)) = refused.iter().find(|(present, _)| *present) {
            return Err(WireError::unsupported(name));
        }
        let characters = self.input.text.chars().count();
        if self.input.text.trim().is_empty() || characters > MAX_TEXT {
            return Err(WireError::validation(format!(
                "input.text must have 1 to {MAX_TEXT} characters, not {characters}."
            )));
        }
        base.ok_or_else(|| {
            WireError::validation(
                "retrieveAndGenerateConfiguration needs a knowledgeBaseConfiguration.",
            )
        })
    }
}

pub(super) async fn retrieve_and_generate(
    State(bedrock): State<Bedrock>,
    body: Bytes,
) -> Result<Response<Body>, WireError> {
    routes::strike(&bedrock, "RetrieveAndGenerate").await?;
    let request: GenerateRequest = read_json(&body)?;
    let base = request.check()?;
    models::resolve_text(&base.model_arn)?;
    let session_id = request.session_id.clone().unwrap_or_else(request_id);
    let key = format!("{session_id}@{}", base.knowledge_base_id);
    let session = bedrock.sessions.open(&key, SESSION_SECONDS);
    let mut session = session.lock().await;
    let own: Vec<KnowledgeConfiguration> = base
        .retrieval_configuration
        .iter()
        .map(|configuration| KnowledgeConfiguration {
            knowledge_base_id: base.knowledge_base_id.clone(),
            retrieval_configuration: configuration.clone(),
        })
        .collect();
    let text = &request.input.text;
    let found = lookup::look_up(&bedrock, &base.knowledge_base_id, text, &own).await?;
    let mut messages = session.history.clone();
    let mut content = found.parts;
    content.push(json!({ "text": text }));
    messages.push(json!({"role": "user", "content": content}));
    let (message, intervened) = speak(&bedrock, base, messages).await?;
    let answer = attribution::answer(&message, &found.references, &[]);
    turn::remember(&mut session, text, &answer.text);
    let citations: Vec<Value> = answer
        .citations
        .iter()
        .map(|citation| citation.wire(0))
        .collect();
    let mut reply =
        json!({"sessionId": session_id, "output": {"text": answer.text}, "citations": citations});
    if base
        .generation_configuration
        .guardrail_configuration
        .is_some()
    {
        reply["guardrailAction"] = json!(if intervened { "INTERVENED" } else { "NONE" });
    }
    Ok(json_reply(&reply))
}

/// The content of the model's message, and whether a guardrail changed it.
async fn speak(
    bedrock: &Bedrock,
    base: &BaseConfiguration,
    messages: Vec<Value>,
) -> Result<(Vec<Value>, bool), WireError> {
    let generation = &base.generation_configuration;
    let mut body = json!({ "messages": messages });
    if let Some(guardrail) = &generation.guardrail_configuration {
        body["guardrailConfig"] = json!({
            "guardrailIdentifier": guardrail.guardrail_id, "guardrailVersion": guardrail.guardrail_version,
        });
    }
    if let Some(config) = generation
        .inference_config
        .as_ref()
        .and_then(|config| config.text_inference_config.clone())
    {
        body["inferenceConfig"] = config;
    }
    if let Some(performance) = &generation.performance_config {
        body["performanceConfig"] = performance.clone();
    }
    let request: ConverseRequest = serde_json::from_value(body).map_err(|error| {
        WireError::new(
            ErrorName::Validation,
            format!("generationConfiguration is not valid: {error}"),
        )
    })?;
    request.check()?;
    let started = Instant::now();
    let speech = Speech::begin(bedrock, &base.model_arn, request, started).await?;
    let reply = speech.whole(started).await?;
    let message = reply["output"]["message"]["content"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok((message, reply["stopReason"] == "guardrail_intervened"))
}

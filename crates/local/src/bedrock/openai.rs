//! Any OpenAI-compatible endpoint behind the Bedrock wire: Converse becomes `/chat/completions`, its stream becomes
//! ours, its errors become AWS's.
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

mod sse;

use super::Settings;
use super::content::{
    ContentBlock, GuardContent, Message, Role, SearchResult, SystemBlock, ToolResultPart,
};
use super::reply::Events;
use super::request::{ConverseRequest, ToolChoice, ToolConfig};
use super::wire::{ErrorName, WireError};

/// Longest silence of the endpoint if the settings name none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The endpoint and how it is called.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: String,
    client: reqwest::Client,
    model: Option<String>,
    key: Option<String>,
    embed_model: Option<String>,
}

impl Endpoint {
    /// The endpoint of the settings, if they name one.
    pub(super) fn new(settings: Settings) -> Option<Self> {
        let base = settings.model_url?.trim_end_matches('/').to_owned();
        let timeout = settings.model_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(timeout)
            .build();
        let client = client.unwrap_or_else(|error| {
            tracing::warn!(%error, "the model endpoint is called without time limits");
            reqwest::Client::default()
        });
        Some(Self {
            base,
            client,
            model: settings.model_name,
            key: settings.model_key,
            embed_model: settings.embed_model,
        })
    }

    /// Whether the endpoint embeds, or only chats.
    pub(super) fn embeds(&self) -> bool {
        self.embed_model.is_some()
    }

    /// Sends a checked request; the events end when they are dropped.
    pub(super) async fn speak(
        &self,
        model_id: &str,
        request: &ConverseRequest,
    ) -> Result<Events, WireError> {
        let body = chat_body(self.model.as_deref().unwrap_or(model_id), request)?;
        let response = self.post("/chat/completions", &body).await?;
        Ok(sse::events(
            response
                .bytes_stream()
                .map(|piece| piece.map_err(broken))
                .boxed(),
        ))
    }

    /// Embeds by `/embeddings`; a vector of another length is an error that names both lengths.
    pub(super) async fn embed(
        &self,
        texts: &[String],
        dimensions: usize,
    ) -> Result<Vec<Vec<f32>>, WireError> {
        #[derive(Deserialize)]
        struct Reply {
            data: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            embedding: Vec<f32>,
        }
        let body = json!({"model": self.embed_model, "input": texts, "dimensions": dimensions, "encoding_format": "float"});
        let reply: Reply = self
            .post("/embeddings", &body)
            .await?
            .json()
            .await
            .map_err(|error| failed(&error))?;
        let model_error = |message: String| Err(WireError::new(ErrorName::Model, message));
        if reply.data.len() != texts.len() {
            return model_error(format!(
                "The model endpoint gave {} embeddings for {} texts.",
                reply.data.len(),
                texts.len()
            ));
        }
        match reply
            .data
            .iter()
            .find(|item| item.embedding.len() != dimensions)
        {
            Some(item) => model_error(format!(
                "The model endpoint's embeddings have {} dimensions; {dimensions} were asked for. Set the dimensions to the model's.",
                item.embedding.len()
            )),
            None => Ok(reply.data.into_iter().map(|item| item.embedding).collect()),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response, WireError> {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let said: String = response
            .text()
            .await
            .unwrap_or_default()
            .chars()
            .take(500)
            .collect();
        let name = match status {
            429 => ErrorName::Throttling,
            401 | 403 => ErrorName::AccessDenied,
            408 | 504 => ErrorName::ModelTimeout,
            503 => ErrorName::ServiceUnavailable,
            400..=499 => ErrorName::Validation,
            _ => ErrorName::Model,
        };
        Err(WireError::new(
            name,
            format!("The model endpoint answered {status}: {said}"),
        ))
    }
}

fn failed(error: &reqwest::Error) -> WireError {
    if error.is_timeout() && !error.is_connect() {
        return WireError::new(
            ErrorName::ModelTimeout,
            "The model endpoint did not answer in time.",
        );
    }
    if error.is_connect() {
        return WireError::new(
            ErrorName::ServiceUnavailable,
            "The model endpoint cannot be reached. Is it running?",
        );
    }
    WireError::new(
        ErrorName::Model,
        format!("The model endpoint's answer cannot be read: {error}"),
    )
}

fn broken(error: reqwest::Error) -> WireError {
    match error.is_timeout() {
        true => WireError::new(
            ErrorName::ModelTimeout,
            "The model endpoint fell silent in mid-stream.",
        ),
        false => WireError::new(
            ErrorName::ModelStream,
            format!("The model endpoint's stream broke: {error}"),
        ),
    }
}

fn chat_body(model: &str, request: &ConverseRequest) -> Result<Value, WireError> {
    let mut body = json!({
        "model": model, "messages": chat_messages(request)?, "stream": true, "stream_options": {"include_usage": true}
    });
    let config = &request.inference_config;
    let settings = [
        ("max_tokens", config.max_tokens.map(|n| json!(n))),
        ("temperature", config.temperature.map(|t| json!(t))),
        ("top_p", config.top_p.map(|p| json!(p))),
        (
            "stop",
            (!config.stop_sequences.is_empty()).then(|| json!(config.stop_sequences)),
        ),
    ];
    for (name, value) in settings {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    if let Some(tools) = &request.tool_config {
        body["tools"] = tools.specs().map(|spec| json!({"type": "function", "function": {
            "name": spec.name, "description": spec.description.as_deref().unwrap_or(""), "parameters": spec.input_schema.json
        }})).collect();
        body["tool_choice"] = tool_choice(tools);
    }
    Ok(body)
}

fn tool_choice(tools: &ToolConfig) -> Value {
    match &tools.tool_choice {
        None | Some(ToolChoice::Auto {}) => json!("auto"),
        Some(ToolChoice::Any {}) => json!("required"),
        Some(ToolChoice::Tool { name }) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn chat_messages(request: &ConverseRequest) -> Result<Vec<Value>, WireError> {
    let system: Vec<&str> = request
        .system
        .iter()
        .filter_map(|block| match block {
            SystemBlock::Text(text) => Some(text.as_str()),
            SystemBlock::GuardContent(GuardContent::Text(text)) => Some(text.text.as_str()),
            _ => None,
        })
        .collect();
    let mut messages = Vec::new();
    if !system.is_empty() {
        messages.push(json!({"role": "system", "content": system.join("\n\n")}));
    }
    let mut passages = 0;
    for message in &request.messages {
        match message.role {
            Role::Assistant => messages.push(assistant_message(message)),
            _ => add_user_messages(&mut messages, message, &mut passages)?,
        }
    }
    Ok(messages)
}

fn assistant_message(message: &Message) -> Value {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for block in &message.content {
        match block {
            ContentBlock::Text(part) => text.push_str(part),
            ContentBlock::CitationsContent(cited) => cited.content.iter().for_each(|part| text.push_str(&part.text)),
            ContentBlock::ToolUse(tool) => calls.push(json!({
                "id": tool.tool_use_id, "type": "function", "function": {"name": tool.name, "arguments": tool.input.to_string()}
            })),
            _ => {}
        }
    }
    let mut json = json!({"role": "assistant", "content": text});
    if !calls.is_empty() {
        json["tool_calls"] = json!(calls);
    }
    json
}

/// Tool results come as messages of their own, before the rest of the turn.
fn add_user_messages(
    messages: &mut Vec<Value>,
    message: &Message,
    passages: &mut usize,
) -> Result<(), WireError> {
    let mut texts: Vec<String> = Vec::new();
    for block in &message.content {
        match block {
            ContentBlock::Text(text) => texts.push(text.clone()),
            ContentBlock::GuardContent(GuardContent::Text(text)) => texts.push(text.text.clone()),
            ContentBlock::SearchResult(result) => texts.push(numbered(result, passages)),
            ContentBlock::Document(document) => {
                let parts = super::passages::document_parts(document, "document")?;
                *passages += 1;
                texts.push(format!(
                    "[{passages}] {}\n{}",
                    document.name,
                    parts.join("\n")
                ));
            }
            ContentBlock::ToolResult(result) => {
                let parts: Vec<String> = result
                    .content
                    .iter()
                    .filter_map(|part| match part {
                        ToolResultPart::Text(text) => Some(text.clone()),
                        ToolResultPart::Json(value) => Some(value.to_string()),
                        ToolResultPart::SearchResult(result) => Some(numbered(result, passages)),
                        _ => None,
                    })
                    .collect();
                messages.push(json!({"role": "tool", "tool_call_id": result.tool_use_id, "content": parts.join("\n")}));
            }
            _ => {}
        }
    }
    if !texts.is_empty() {
        messages.push(json!({"role": "user", "content": texts.join("\n\n")}));
    }
    Ok(())
}

fn numbered(result: &SearchResult, passages: &mut usize) -> String {
    *passages += 1;
    let text: Vec<&str> = result
        .content
        .iter()
        .map(|part| part.text.as_str())
        .collect();
    format!("[{passages}] {}\n{}", result.title, text.join("\n"))
}

//! The body of InvokeAgent. A member that AWS has and the laptop has not is refused by name.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::wire::WireError;

/// Attributes of a session or of a prompt.
pub(super) type Attributes = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct InvokeRequest {
    pub(super) input_text: Option<String>,
    pub(super) enable_trace: bool,
    pub(super) end_session: bool,
    pub(super) session_state: SessionState,
    pub(super) bedrock_model_configurations: ModelConfigurations,
    pub(super) streaming_configurations: Streaming,
    memory_id: Option<Value>,
    prompt_creation_configurations: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SessionState {
    pub(super) session_attributes: Option<Attributes>,
    pub(super) prompt_session_attributes: Attributes,
    pub(super) invocation_id: Option<String>,
    pub(super) return_control_invocation_results: Vec<ControlResult>,
    pub(super) knowledge_base_configurations: Vec<KnowledgeConfiguration>,
    pub(super) conversation_history: Option<History>,
    files: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ModelConfigurations {
    pub(super) performance_config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Streaming {
    pub(super) stream_final_response: bool,
    apply_guardrail_interval: Option<Value>,
}

/// How one knowledge base is searched, in the request or in a function's reply.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KnowledgeConfiguration {
    pub(super) knowledge_base_id: String,
    pub(super) retrieval_configuration: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) messages: Vec<Value>,
}

/// What the caller did for the agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ControlResult {
    ApiResult(ActionResult),
    FunctionResult(ActionResult),
}

impl ControlResult {
    pub(super) fn action(&self) -> &ActionResult {
        match self {
            Self::ApiResult(result) | Self::FunctionResult(result) => result,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ActionResult {
    pub(super) action_group: String,
    pub(super) function: Option<String>,
    pub(super) api_path: Option<String>,
    pub(super) http_method: Option<String>,
    pub(super) http_status_code: Option<u16>,
    pub(super) confirmation_state: Option<ConfirmationState>,
    pub(super) response_state: Option<ResponseState>,
    #[serde(default)]
    pub(super) response_body: BTreeMap<String, ContentBody>,
    pub(super) agent_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ConfirmationState {
    Confirm,
    Deny,
}

/// How an action failed: the turn ends, or the model is told and may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ResponseState {
    Failure,
    Reprompt,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentBody {
    #[serde(default)]
    pub(super) body: String,
    #[serde(default)]
    images: Option<Value>,
}

impl InvokeRequest {
    pub(super) fn check(&self, session_id: &str) -> Result<(), WireError> {
        let state = &self.session_state;
        let mut images = state.return_control_invocation_results.iter();
        let images = images.any(|result| {
            result
                .action()
                .response_body
                .values()
                .any(|body| body.images.is_some())
        });
        let refused = [
            (self.memory_id.is_some(), "memoryId"),
            (
                self.prompt_creation_configurations.is_some(),
                "promptCreationConfigurations",
            ),
            (
                self.streaming_configurations
                    .apply_guardrail_interval
                    .is_some(),
                "streamingConfigurations.applyGuardrailInterval",
            ),
            (state.files.is_some(), "sessionState.files"),
            (
                images,
                "sessionState.returnControlInvocationResults.responseBody.images",
            ),
        ];
        if let Some((_, name)) = refused.iter().find(|(present, _)| *present) {
            return Err(WireError::unsupported(name));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        if !(2..=100).contains(&session_id.len()) || !session_id.chars().all(legal) {
            return Err(WireError::validation(
                "1 validation error detected: Value at 'sessionId' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9a-zA-Z._:-]{2,100}",
            ));
        }
        let silent = self
            .input_text
            .as_deref()
            .is_none_or(|text| text.trim().is_empty());
        if silent && !self.end_session && state.return_control_invocation_results.is_empty() {
            return Err(WireError::validation(
                "inputText is missing. Send it, or sessionState.returnControlInvocationResults, or endSession.",
            ));
        }
        Ok(())
    }
}

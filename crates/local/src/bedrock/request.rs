//! A Converse request and AWS's rules for it. What parses here and passes `check` is answered; a field that AWS
//! has and this emulator has not is refused by name.
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::{CachePoint, Message, SystemBlock};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ConverseRequest {
    pub(super) messages: Vec<Message>,
    pub(super) system: Vec<SystemBlock>,
    pub(super) inference_config: InferenceConfig,
    pub(super) tool_config: Option<ToolConfig>,
    pub(super) guardrail_config: Option<GuardrailConfig>,
    request_metadata: Option<BTreeMap<String, String>>,
    pub(super) performance_config: Option<PerformanceConfig>,
    pub(super) service_tier: Option<ServiceTier>,
    additional_model_request_fields: Option<Value>,
    additional_model_response_field_paths: Vec<String>,
    prompt_variables: Option<Value>,
    output_config: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct InferenceConfig {
    pub(super) max_tokens: Option<i64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) stop_sequences: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ToolConfig {
    pub(super) tools: Vec<Tool>,
    #[serde(default)]
    pub(super) tool_choice: Option<ToolChoice>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tool {
    #[serde(rename = "toolSpec")]
    Spec(ToolSpec),
    #[serde(rename = "systemTool")]
    System(Value),
    CachePoint(CachePoint),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ToolSpec {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    pub(super) input_schema: InputSchema,
    #[serde(default)]
    pub(super) strict: Option<bool>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSchema {
    pub(super) json: Value,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ToolChoice {
    Auto {},
    Any {},
    Tool { name: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GuardrailConfig {
    pub(super) guardrail_identifier: String,
    pub(super) guardrail_version: String,
    #[serde(default)]
    pub(super) trace: GuardrailTrace,
    /// Only ConverseStream has it.
    pub(super) stream_processing_mode: Option<StreamProcessingMode>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GuardrailTrace {
    Enabled,
    #[default]
    Disabled,
    EnabledFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StreamProcessingMode {
    Sync,
    Async,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PerformanceConfig {
    latency: Latency,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Latency {
    Standard,
    Optimized,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTier {
    pub(super) r#type: Tier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tier {
    Priority,
    Default,
    Flex,
    Reserved,
}

impl ToolConfig {
    /// The tools that can be called.
    pub(super) fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.tools.iter().filter_map(|tool| match tool {
            Tool::Spec(spec) => Some(spec),
            _ => None,
        })
    }
}

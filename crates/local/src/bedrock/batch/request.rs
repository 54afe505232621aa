//! CreateModelInvocationJob's request, with AWS's constraints.
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::models;
use super::super::wire::WireError;

static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}$").ok());
static ROLE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+$").ok());
static TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}$").ok());
static URI: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().a-z0-9A-Z]+(?:/[-!_*'().a-z0-9A-Z]+)*)?/?$").ok()
});

/// Hours after which a job is given up, unless its request says otherwise.
const TIMEOUT_HOURS: u32 = 24;

/// What the bodies of a job's records are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Invocation {
    #[default]
    InvokeModel,
    Converse,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateRequest {
    pub(super) job_name: String,
    pub(super) role_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_request_token: Option<String>,
    pub(super) model_id: String,
    pub(super) input_data_config: InputConfig,
    pub(super) output_data_config: OutputConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vpc_config: Option<Value>,
    #[serde(default = "timeout_hours")]
    pub(super) timeout_duration_in_hours: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(default)]
    pub(super) model_invocation_type: Invocation,
}

fn timeout_hours() -> u32 {
    TIMEOUT_HOURS
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InputConfig {
    pub(super) s3_input_data_config: Input,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Input {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3_input_format: Option<String>,
    pub(super) s3_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3_bucket_owner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OutputConfig {
    pub(super) s3_output_data_config: Output,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Output {
    pub(super) s3_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3_encryption_key_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3_bucket_owner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

impl CreateRequest {
    /// Refuses what AWS refuses at once; what stands in the files is looked at by the job.
    pub(super) fn check(&self) -> Result<(), WireError> {
        matches("jobName", &self.job_name, &NAME, 63)?;
        matches("roleArn", &self.role_arn, &ROLE, 2048)?;
        if let Some(token) = &self.client_request_token {
            matches("clientRequestToken", token, &TOKEN, 256)?;
        }
        let input = &self.input_data_config.s3_input_data_config;
        let output = &self.output_data_config.s3_output_data_config;
        matches("s3InputDataConfig.s3Uri", &input.s3_uri, &URI, 1024)?;
        matches("s3OutputDataConfig.s3Uri", &output.s3_uri, &URI, 1024)?;
        if input
            .s3_input_format
            .as_deref()
            .is_some_and(|it| it != "JSONL")
        {
            return Err(constraint(
                "s3InputFormat",
                "satisfy enum value set: [JSONL]",
            ));
        }
        if !(24..=168).contains(&self.timeout_duration_in_hours) {
            let words = "have value between 24 and 168";
            return Err(constraint("timeoutDurationInHours", words));
        }
        if self.vpc_config.is_some() {
            return Err(WireError::unsupported("vpcConfig"));
        }
        match self.model_invocation_type {
            Invocation::InvokeModel => models::resolve(&self.model_id).map(|_| ()),
            Invocation::Converse => models::resolve_text(&self.model_id),
        }
    }
}

fn constraint(member: &str, rule: &str) -> WireError {
    WireError::validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {rule}"
    ))
}

fn matches(
    member: &str,
    value: &str,
    pattern: &LazyLock<Option<Regex>>,
    longest: usize,
) -> Result<(), WireError> {
    if value.len() > longest {
        let rule = format!("have length less than or equal to {longest}");
        return Err(constraint(member, &rule));
    }
    match pattern.as_ref() {
        Some(regex) if !regex.is_match(value) => {
            let rule = format!("satisfy regular expression pattern: {}", regex.as_str());
            Err(constraint(member, &rule))
        }
        _ => Ok(()),
    }
}

/// Bucket and key of an `s3://` address; the key of a whole bucket is empty.
pub(super) fn place(uri: &str) -> (&str, &str) {
    let path = uri.strip_prefix("s3://").unwrap_or(uri);
    path.split_once('/').unwrap_or((path, ""))
}

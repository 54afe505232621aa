//! AWS's constraints on the members of requests, with its wording, and what all operations have in common: ids, times,
//! pages.
use std::sync::LazyLock;
use std::time::SystemTime;

use aws_smithy_types::date_time::{DateTime, Format};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::super::wire::{ErrorName, WireError};

/// Items of a page when the request does not say; the service model's bound.
const PAGE: usize = 10;

static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([0-9a-zA-Z][_-]?){1,100}$").ok());
static FUNCTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^arn:(aws[a-zA-Z-]*)?:lambda:[a-z]{2}(-gov)?-[a-z]+-\d{1}:\d{12}:function:[a-zA-Z0-9-_\.]+(:(\$LATEST|[a-zA-Z0-9-_]+))?$").ok()
});
static S3_URI: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^s3://.{1,128}$").ok());
static CLIENT_TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,256}$").ok());

fn constraint(member: &str, rule: &str) -> WireError {
    WireError::validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {rule}"
    ))
}

/// A name of an agent, action group, function, alias or collaborator.
pub(in crate::bedrock) fn name(member: &str, value: &str) -> Result<(), WireError> {
    pattern(member, value, &NAME)
}

/// The ARN of a Lambda function.
pub(in crate::bedrock) fn function_arn(member: &str, value: &str) -> Result<(), WireError> {
    pattern(member, value, &FUNCTION)
}

fn pattern(member: &str, value: &str, pattern: &LazyLock<Option<Regex>>) -> Result<(), WireError> {
    match pattern.as_ref() {
        Some(regex) if !regex.is_match(value) => Err(constraint(
            member,
            &format!("satisfy regular expression pattern: {}", regex.as_str()),
        )),
        _ => Ok(()),
    }
}

/// The length of a text (characters).
pub(in crate::bedrock) fn length(
    member: &str,
    value: Option<&str>,
    least: usize,
    most: usize,
) -> Result<(), WireError> {
    let Some(count) = value.map(|text| text.chars().count()) else {
        return Ok(());
    };
    if count < least {
        return Err(constraint(
            member,
            &format!("have length greater than or equal to {least}"),
        ));
    }
    if count > most {
        return Err(constraint(
            member,
            &format!("have length less than or equal to {most}"),
        ));
    }
    Ok(())
}

/// A number's range.
pub(in crate::bedrock) fn range(
    member: &str,
    value: u32,
    least: u32,
    most: u32,
) -> Result<(), WireError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(constraint(
        member,
        &format!("have value between {least} and {most}"),
    ))
}

/// Refuses, by name, the members that AWS has and the laptop has not.
pub(in crate::bedrock) fn unsupported(members: &[(&str, &Option<Value>)]) -> Result<(), WireError> {
    match members.iter().find(|(_, value)| value.is_some()) {
        Some((member, _)) => Err(WireError::unsupported(member)),
        None => Ok(()),
    }
}

/// Only the working draft changes.
pub(in crate::bedrock) fn draft(version: &str) -> Result<(), WireError> {
    match version {
        "DRAFT" => Ok(()),
        _ => Err(constraint(
            "agentVersion",
            "satisfy regular expression pattern: DRAFT",
        )),
    }
}

pub(in crate::bedrock) fn not_found(what: &str) -> WireError {
    WireError::new(
        ErrorName::ResourceNotFound,
        format!("{what} was not found."),
    )
}

pub(in crate::bedrock) fn conflict(message: String) -> WireError {
    WireError::new(ErrorName::Conflict, message)
}

/// A new id: ten characters of `[0-9A-Z]`.
pub(in crate::bedrock) fn new_id() -> String {
    let ulid = ulid::Ulid::new().to_string();
    ulid[ulid.len() - 10..].to_owned()
}

/// The time now, as the service writes it (RFC 3339, UTC).
pub(in crate::bedrock) fn now() -> String {
    DateTime::from(SystemTime::now())
        .fmt(Format::DateTime)
        .unwrap_or_default()
}

/// The body of a list operation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::bedrock) struct PageRequest {
    pub(in crate::bedrock) max_results: Option<usize>,
    pub(in crate::bedrock) next_token: Option<String>,
}

impl PageRequest {
    /// A page of `items` under the member `name`.
    pub(in crate::bedrock) fn page(
        &self,
        name: &str,
        items: Vec<Value>,
    ) -> Result<Value, WireError> {
        let size = self.max_results.unwrap_or(PAGE);
        if !(1..=1000).contains(&size) {
            return Err(constraint("maxResults", "have value between 1 and 1000"));
        }
        let start: usize = match &self.next_token {
            Some(token) => token.parse().map_err(|_| {
                WireError::validation("The nextToken is not one of this operation.")
            })?,
            None => 0,
        };
        let total = items.len();
        let page: Vec<Value> = items.into_iter().skip(start).take(size).collect();
        let mut reply = serde_json::json!({ name: page });
        if start.saturating_add(size) < total {
            reply["nextToken"] = (start + size).to_string().into();
        }
        Ok(reply)
    }
}

/// The URI of an object, in the length that the service model allows.
pub(in crate::bedrock) fn s3_uri(member: &str, value: &str) -> Result<(), WireError> {
    pattern(member, value, &S3_URI)
}

/// A client token, where there is one.
pub(in crate::bedrock) fn client_token(value: Option<&str>) -> Result<(), WireError> {
    length("clientToken", value, 33, 256)?;
    match value {
        Some(value) => pattern("clientToken", value, &CLIENT_TOKEN),
        None => Ok(()),
    }
}

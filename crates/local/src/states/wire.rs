//! The wire of Step Functions: JSON 1.0 requests by `X-Amz-Target`, replies and errors in AWS's
//! form. Fields and operations that are not supported are refused by name.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::arn::PREFIX;
use super::execution::Executions;

mod history;
mod machines;
mod runs;

/// Largest and, when 0 or left out, usual page.
const MAX_PAGE: usize = 1_000;
const USUAL_PAGE: usize = 100;

const OPERATIONS: &str = "StartExecution, DescribeExecution, GetExecutionHistory, ListExecutions, StopExecution, DescribeStateMachine, DescribeStateMachineForExecution, ListStateMachines and ValidateStateMachineDefinition";

/// An error as AWS names it.
struct Refusal {
    kind: &'static str,
    message: String,
    status: StatusCode,
}

type Reply = Result<Value, Refusal>;

fn refusal(kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        kind,
        message: message.into(),
        status: StatusCode::BAD_REQUEST,
    }
}

fn failure(error: &std::io::Error) -> Refusal {
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        ..refusal("InternalServerError", error.to_string())
    }
}

pub(super) async fn handle(
    executions: &Arc<Executions>,
    target: &str,
    body: &[u8],
) -> Response<Bytes> {
    let (status, reply) = match dispatch(executions, target, body).await {
        Ok(reply) => (StatusCode::OK, reply),
        Err(refused) => {
            let reply = json!({ "__type": shape(refused.kind), "message": refused.message });
            (refused.status, reply)
        }
    };
    let mut response = Response::new(Bytes::from(reply.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = http::HeaderValue::from_static("application/x-amz-json-1.0");
    headers.insert(http::header::CONTENT_TYPE, json);
    if let Ok(id) = http::HeaderValue::try_from(executions.clock.uuid()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// The error with the namespace that AWS puts before it; SDKs read what follows the `#`.
fn shape(kind: &str) -> String {
    let namespace = match kind {
        "UnknownOperationException" | "SerializationException" => "com.amazon.coral.service",
        "ValidationException" => "com.amazon.coral.validate",
        _ => "com.amazonaws.swf.service.v2.model",
    };
    format!("{namespace}#{kind}")
}

async fn dispatch(executions: &Arc<Executions>, target: &str, body: &[u8]) -> Reply {
    let operation = target.strip_prefix("AWSStepFunctions.").unwrap_or(target);
    match operation {
        "StartExecution" => runs::start(executions, request(body)?),
        "DescribeExecution" => runs::describe(executions, request(body)?).await,
        "GetExecutionHistory" => history::page(executions, request(body)?).await,
        "ListExecutions" => runs::list(executions, &request(body)?),
        "StopExecution" => runs::stop(executions, request(body)?).await,
        "DescribeStateMachine" => machines::describe(executions, &request(body)?),
        "DescribeStateMachineForExecution" => {
            machines::of_execution(executions, request(body)?).await
        }
        "ListStateMachines" => machines::list(executions, &request(body)?),
        "ValidateStateMachineDefinition" => machines::validate(&request(body)?),
        other => Err(refusal(
            "UnknownOperationException",
            format!("{other} is not supported here; supported are {OPERATIONS}"),
        )),
    }
}

fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            serde_json::error::Category::Data => "ValidationException",
            _ => "SerializationException",
        };
        refusal(kind, error.to_string())
    })
}

fn machine_name(arn: &str) -> Result<&str, Refusal> {
    let name = arn.strip_prefix(PREFIX);
    let name = name.and_then(|rest| rest.strip_prefix("stateMachine:"));
    match name {
        Some(name) => Ok(name),
        None if arn.starts_with("arn:aws:states:") => Err(no_machine(arn)),
        None => Err(refusal("InvalidArn", format!("Invalid Arn: '{arn}'"))),
    }
}

fn no_machine(arn: &str) -> Refusal {
    let message = format!("State Machine Does Not Exist: '{arn}'");
    refusal("StateMachineDoesNotExist", message)
}

fn page_size(asked: Option<usize>) -> Result<usize, Refusal> {
    match asked {
        None | Some(0) => Ok(USUAL_PAGE),
        Some(size) if size <= MAX_PAGE => Ok(size),
        Some(size) => Err(refusal(
            "ValidationException",
            format!(
                "1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to {MAX_PAGE}"
            ),
        )),
    }
}

fn token_of(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(value)
}

fn token_value(token: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid_token())?;
    String::from_utf8(bytes).map_err(|_| invalid_token())
}

fn invalid_token() -> Refusal {
    refusal("InvalidToken", "Invalid Token: 'nextToken'")
}

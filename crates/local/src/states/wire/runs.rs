//! Starting, describing, listing and stopping executions.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Refusal, Reply, failure, invalid_token, machine_name, no_machine, page_size, refusal, token_of,
    token_value,
};
use crate::states::arn::{execution_arn, machine_arn, valid_name};
use crate::states::clock::epoch_seconds;
use crate::states::execution::{Entry, Executions, NotStarted, Stop};
use crate::states::fault::MAX_DATA_BYTES;
use crate::states::store::{self, Record, Status};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Start {
    state_machine_arn: String,
    name: Option<String>,
    input: Option<String>,
}

pub(super) fn start(executions: &Executions, request: Start) -> Reply {
    let machine = machine_name(&request.state_machine_arn)?;
    let name = request.name.unwrap_or_else(|| executions.clock.uuid());
    valid_name(&name)
        .map_err(|reason| refusal("InvalidName", format!("Invalid Name: '{name}': {reason}")))?;
    let input = request.input.unwrap_or_else(|| "{}".to_owned());
    if input.len() > MAX_DATA_BYTES {
        let message = format!(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less than or equal to {MAX_DATA_BYTES}"
        );
        return Err(refusal("ValidationException", message));
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&input) {
        let message = format!("Invalid State Machine Execution Input: '{error}'");
        return Err(refusal("InvalidExecutionInput", message));
    }
    match executions.start(machine, &name, &input) {
        Ok(entry) => Ok(json!({
            "executionArn": entry.arn(),
            "startDate": epoch_seconds(entry.started_ms),
        })),
        Err(NotStarted::NoSuchMachine) => Err(no_machine(&request.state_machine_arn)),
        Err(NotStarted::AlreadyExists) => {
            let arn = execution_arn(machine, &name);
            let message = format!("Execution Already Exists: '{arn}'");
            Err(refusal("ExecutionAlreadyExists", message))
        }
        Err(NotStarted::Storage(error)) => Err(failure(&error)),
    }
}

pub(super) fn known(executions: &Executions, arn: &str) -> Result<Arc<Entry>, Refusal> {
    if !arn.starts_with("arn:aws:states:") {
        return Err(refusal("InvalidArn", format!("Invalid Arn: '{arn}'")));
    }
    executions.entry(arn).ok_or_else(|| {
        let message = format!("Execution Does Not Exist: '{arn}'");
        refusal("ExecutionDoesNotExist", message)
    })
}

/// Reads an execution's file without holding up the other requests.
pub(super) async fn record(entry: &Entry, keep_events: bool) -> Result<Record, Refusal> {
    let path = entry.path.clone();
    let read = tokio::task::spawn_blocking(move || store::read(&path, keep_events));
    let lost = || std::io::Error::other("the execution's file cannot be read");
    let record = read.await.map_err(|_| failure(&lost()))?;
    let record = record.map_err(|error| failure(&error))?;
    record.ok_or_else(|| failure(&lost()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OneExecution {
    pub execution_arn: String,
}

pub(super) async fn describe(executions: &Executions, request: OneExecution) -> Reply {
    let entry = known(executions, &request.execution_arn)?;
    let record = record(&entry, false).await?;
    let mut reply = summary(&entry);
    let input = Value::String(record.started.input);
    reply.insert("input".to_owned(), input);
    reply.insert("inputDetails".to_owned(), json!({ "included": true }));
    reply.insert("redriveCount".to_owned(), json!(record.resumes));
    reply.insert("redriveStatus".to_owned(), json!("NOT_REDRIVABLE"));
    let reason = "Executions here resume by themselves and are not redriven by request.";
    reply.insert("redriveStatusReason".to_owned(), json!(reason));
    let end = record.finished.or_else(|| entry.unwritten());
    let ended = end.filter(|_| reply.contains_key("stopDate"));
    let Some(finished) = ended else {
        return Ok(Value::Object(reply));
    };
    if let Some(output) = finished.output {
        reply.insert("output".to_owned(), json!(output.to_string()));
        reply.insert("outputDetails".to_owned(), json!({ "included": true }));
    }
    for (name, text) in [("error", finished.error), ("cause", finished.cause)] {
        if let Some(text) = text {
            reply.insert(name.to_owned(), json!(text));
        }
    }
    Ok(Value::Object(reply))
}

/// What `ListExecutions` and `DescribeExecution` both say.
fn summary(entry: &Entry) -> Map<String, Value> {
    let (status, ended) = *entry.state.borrow();
    let mut fields = Map::new();
    fields.insert("executionArn".to_owned(), json!(entry.arn()));
    let machine = machine_arn(&entry.machine);
    fields.insert("stateMachineArn".to_owned(), json!(machine));
    fields.insert("name".to_owned(), json!(entry.name));
    fields.insert("status".to_owned(), json!(status));
    let started = epoch_seconds(entry.started_ms);
    fields.insert("startDate".to_owned(), json!(started));
    if let Some(ended) = ended {
        fields.insert("stopDate".to_owned(), json!(epoch_seconds(ended)));
    }
    fields
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListRequest {
    state_machine_arn: String,
    status_filter: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Newest first, as on AWS.
pub(super) fn list(executions: &Executions, request: &ListRequest) -> Reply {
    let machine = machine_name(&request.state_machine_arn)?;
    let mut entries = executions.entries_of(machine);
    if executions.machine(machine).is_none() && entries.is_empty() {
        return Err(no_machine(&request.state_machine_arn));
    }
    if let Some(filter) = &request.status_filter {
        let message = format!(
            "Value '{filter}' at 'statusFilter' must be RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED"
        );
        let wanted: Status = serde_json::from_value(json!(filter))
            .map_err(|_| refusal("ValidationException", message))?;
        entries.retain(|entry| entry.status() == wanted);
    }
    let size = page_size(request.max_results)?;
    let key = |entry: &Arc<Entry>| (std::cmp::Reverse(entry.started_ms), entry.name.clone());
    entries.sort_by_key(key);
    if let Some(token) = &request.next_token {
        let token = token_value(token)?;
        let (started, name) = token.split_once(' ').ok_or_else(invalid_token)?;
        let started: u64 = started.parse().map_err(|_| invalid_token())?;
        let last = (std::cmp::Reverse(started), name.to_owned());
        entries.retain(|entry| key(entry) > last);
    }
    let more = entries.len() > size;
    entries.truncate(size);
    let listed: Vec<_> = entries.iter().map(|entry| summary(entry)).collect();
    let mut reply = json!({ "executions": listed });
    if let Some(last) = entries.last().filter(|_| more) {
        let token = format!("{} {}", last.started_ms, last.name);
        reply["nextToken"] = json!(token_of(&token));
    }
    Ok(reply)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StopRequest {
    execution_arn: String,
    error: Option<String>,
    cause: Option<String>,
}

pub(super) async fn stop(executions: &Executions, request: StopRequest) -> Reply {
    let entry = known(executions, &request.execution_arn)?;
    let StopRequest { error, cause, .. } = request;
    let ended = entry.stop(Stop { error, cause }).await.unwrap_or_default();
    Ok(json!({ "stopDate": epoch_seconds(ended) }))
}

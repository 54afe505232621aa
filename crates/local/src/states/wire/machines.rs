//! Describing, listing and validating state machines.

use serde::Deserialize;
use serde_json::{Value, json};

use super::runs::{OneExecution, known, record};
use super::{Reply, failure, machine_name, no_machine, page_size, token_of, token_value};
use crate::states::arn::{ROLE_ARN, machine_arn};
use crate::states::clock::epoch_seconds;
use crate::states::definition;
use crate::states::execution::{Deployed, Executions};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OneMachine {
    state_machine_arn: String,
}

pub(super) fn describe(executions: &Executions, request: &OneMachine) -> Reply {
    let name = machine_name(&request.state_machine_arn)?;
    let deployed = executions.machine(name);
    let deployed = deployed.ok_or_else(|| no_machine(&request.state_machine_arn))?;
    let mut reply = configuration(name, &deployed.definition);
    reply["status"] = json!("ACTIVE");
    reply["type"] = json!("STANDARD");
    reply["creationDate"] = json!(epoch_seconds(deployed.created_ms));
    Ok(reply)
}

fn configuration(name: &str, definition: &str) -> Value {
    json!({
        "stateMachineArn": machine_arn(name),
        "name": name,
        "definition": definition,
        "roleArn": ROLE_ARN,
        "loggingConfiguration": { "level": "OFF", "includeExecutionData": false },
        "tracingConfiguration": { "enabled": false },
    })
}

pub(super) async fn of_execution(executions: &Executions, request: OneExecution) -> Reply {
    let entry = known(executions, &request.execution_arn)?;
    let record = record(&entry, false).await?;
    let definition = executions.definition_of(&record);
    let definition = definition.map_err(|error| failure(&error))?;
    let mut reply = configuration(&entry.machine, &definition);
    reply["updateDate"] = json!(epoch_seconds(entry.started_ms));
    Ok(reply)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Page {
    max_results: Option<usize>,
    next_token: Option<String>,
}

pub(super) fn list(executions: &Executions, request: &Page) -> Reply {
    let size = page_size(request.max_results)?;
    let mut found = executions.machines();
    if let Some(token) = &request.next_token {
        let last = token_value(token)?;
        found.retain(|machine| machine.name > last);
    }
    let more = found.len() > size;
    found.truncate(size);
    let listed: Vec<_> = found.iter().map(|machine| line(machine)).collect();
    let mut reply = json!({ "stateMachines": listed });
    if let Some(last) = found.last().filter(|_| more) {
        reply["nextToken"] = json!(token_of(&last.name));
    }
    Ok(reply)
}

fn line(machine: &Deployed) -> Value {
    json!({
        "stateMachineArn": machine_arn(&machine.name),
        "name": machine.name,
        "type": "STANDARD",
        "creationDate": epoch_seconds(machine.created_ms),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Validate {
    definition: String,
}

pub(super) fn validate(request: &Validate) -> Reply {
    let findings = definition::parse(&request.definition)
        .err()
        .unwrap_or_default();
    let diagnostics = findings.iter().map(|finding| {
        json!({
            "severity": "ERROR",
            "code": finding.code,
            "message": finding.message,
            "location": finding.pointer,
        })
    });
    let diagnostics: Vec<_> = diagnostics.collect();
    let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
    Ok(json!({ "result": result, "diagnostics": diagnostics, "truncated": false }))
}

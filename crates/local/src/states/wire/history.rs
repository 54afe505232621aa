//! `GetExecutionHistory`: pages of an execution's events, read from its file.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::runs::{known, record};
use super::{Reply, invalid_token, page_size, token_of, token_value};
use crate::states::execution::Executions;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HistoryRequest {
    execution_arn: String,
    max_results: Option<usize>,
    reverse_order: Option<bool>,
    include_execution_data: Option<bool>,
    next_token: Option<String>,
}

pub(super) async fn page(executions: &Executions, request: HistoryRequest) -> Reply {
    let entry = known(executions, &request.execution_arn)?;
    let size = page_size(request.max_results)?;
    let reverse = request.reverse_order.unwrap_or(false);
    let token = request.next_token.as_deref().map(token_value).transpose()?;
    let mut events = record(&entry, true).await?.events;
    if reverse {
        events.reverse();
    }
    let id = |event: &Value| event["id"].as_u64().unwrap_or_default();
    if let Some(token) = token {
        let next: u64 = token.parse().map_err(|_| invalid_token())?;
        events.retain(|event| {
            if reverse {
                id(event) <= next
            } else {
                id(event) >= next
            }
        });
    }
    let next = events.get(size).map(id);
    events.truncate(size);
    if request.include_execution_data == Some(false) {
        events.iter_mut().for_each(without_data);
    }
    let mut reply = json!({ "events": events });
    if let Some(next) = next {
        reply["nextToken"] = json!(token_of(&next.to_string()));
    }
    Ok(reply)
}

/// Takes inputs and outputs out of an event's details.
fn without_data(event: &mut Value) {
    const DATA: [&str; 7] = [
        "input",
        "inputDetails",
        "output",
        "outputDetails",
        "parameters",
        "assignedVariables",
        "assignedVariablesDetails",
    ];
    for details in event.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Value::Object(fields) = details {
            fields.retain(|name, _| !DATA.contains(&name.as_str()));
        }
    }
}

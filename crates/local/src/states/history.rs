//! The history events, with AWS's types and members, and the trail on which they are left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::definition::State;
use super::expression::Variables;
use super::fault::{Fault, RUNTIME};
use super::store::{Checkpoint, Event, Finished, Journal, MAX_EVENTS, Status};

/// Where a run leaves its events. Those of the children of a distributed Map are only counted: on
/// AWS each child is an execution with a history of its own.
#[derive(Debug)]
pub(super) enum Trail {
    Journal(Arc<Journal>),
    Counted(AtomicU64),
}

impl Trail {
    /// Leaves an event after the event `cursor`, which then points to it.
    pub fn leave(&self, cursor: &mut u64, event: Event) -> Result<(), Fault> {
        let last = match self {
            Self::Journal(journal) => journal.last_event(),
            Self::Counted(events) => events.fetch_add(1, Ordering::Relaxed),
        };
        if last >= MAX_EVENTS {
            let cause = format!(
                "The execution reached the maximum number of history events ({MAX_EVENTS})."
            );
            return Err(Fault::fatal(RUNTIME, cause));
        }
        if let Self::Journal(journal) = self {
            *cursor = journal.event(*cursor, event)?;
        }
        Ok(())
    }

    pub fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), Fault> {
        match self {
            Self::Journal(journal) => journal.checkpoint(checkpoint),
            Self::Counted(_) => Ok(()),
        }
    }
}

fn event(kind: impl Into<String>, details_key: &'static str, details: Value) -> Event {
    Event {
        kind: kind.into(),
        details_key,
        details,
    }
}

/// The value as the string that AWS gives for inputs and outputs.
fn data(value: &Value) -> String {
    value.to_string()
}

fn whole() -> Value {
    json!({ "truncated": false })
}

pub(super) fn execution_started(input: &Value) -> Event {
    let details = json!({
        "input": data(input),
        "inputDetails": whole(),
        "roleArn": super::arn::ROLE_ARN,
    });
    event("ExecutionStarted", "executionStartedEventDetails", details)
}

/// Says that the execution goes on after an interruption. AWS has no such event, because it is
/// never interrupted; its nearest is the one for a run that goes on from where it stopped.
pub(super) fn execution_redriven(count: u32) -> Event {
    let details = json!({ "redriveCount": count });
    let key = "executionRedrivenEventDetails";
    event("ExecutionRedriven", key, details)
}

/// The last event of an execution.
pub(super) fn execution_finished(finished: &Finished) -> Option<Event> {
    let (kind, key) = match finished.status {
        Status::Running => return None,
        Status::Succeeded => ("ExecutionSucceeded", "executionSucceededEventDetails"),
        Status::Failed => ("ExecutionFailed", "executionFailedEventDetails"),
        Status::TimedOut => ("ExecutionTimedOut", "executionTimedOutEventDetails"),
        Status::Aborted => ("ExecutionAborted", "executionAbortedEventDetails"),
    };
    let mut details = Map::new();
    if let Some(output) = &finished.output {
        details.insert("output".to_owned(), json!(data(output)));
        details.insert("outputDetails".to_owned(), whole());
    }
    for (name, text) in [("error", &finished.error), ("cause", &finished.cause)] {
        if let Some(text) = text {
            details.insert(name.to_owned(), json!(text));
        }
    }
    Some(event(kind, key, Value::Object(details)))
}

pub(super) fn entered(state: &State, input: &Value) -> Event {
    let kind = format!("{}StateEntered", state.kind.name());
    let details = json!({ "name": state.name, "input": data(input), "inputDetails": whole() });
    event(kind, "stateEnteredEventDetails", details)
}

pub(super) fn exited(state: &State, output: &Value, assigned: &Variables) -> Event {
    let kind = format!("{}StateExited", state.kind.name());
    let mut details = json!({
        "name": state.name,
        "output": data(output),
        "outputDetails": whole(),
    });
    if !assigned.is_empty() {
        let shown = assigned
            .iter()
            .map(|(name, v)| (name.clone(), json!(data(v))));
        details["assignedVariables"] = Value::Object(shown.collect());
        details["assignedVariablesDetails"] = whole();
    }
    event(kind, "stateExitedEventDetails", details)
}

pub(super) fn evaluation_failed(state: &State, fault: &Fault) -> Event {
    let details = json!({ "state": state.name, "error": fault.error, "cause": fault.cause });
    event("EvaluationFailed", "evaluationFailedEventDetails", details)
}

pub(super) fn task_scheduled(arguments: &Value, timeout_seconds: Option<u64>) -> Event {
    let mut details = json!({
        "resourceType": "lambda",
        "resource": "invoke",
        "region": super::arn::REGION,
        "parameters": data(arguments),
    });
    if let Some(seconds) = timeout_seconds {
        details["timeoutInSeconds"] = json!(seconds);
    }
    event("TaskScheduled", "taskScheduledEventDetails", details)
}

pub(super) fn task_started() -> Event {
    let details = json!({ "resourceType": "lambda", "resource": "invoke" });
    event("TaskStarted", "taskStartedEventDetails", details)
}

pub(super) fn task_succeeded(output: &Value) -> Event {
    let details = json!({
        "resourceType": "lambda",
        "resource": "invoke",
        "output": data(output),
        "outputDetails": whole(),
    });
    event("TaskSucceeded", "taskSucceededEventDetails", details)
}

pub(super) fn task_failed(fault: &Fault) -> Event {
    let (kind, key) = if fault.error == super::fault::TIMEOUT {
        ("TaskTimedOut", "taskTimedOutEventDetails")
    } else {
        ("TaskFailed", "taskFailedEventDetails")
    };
    let details = json!({
        "resourceType": "lambda",
        "resource": "invoke",
        "error": fault.error,
        "cause": fault.cause,
    });
    event(kind, key, details)
}

pub(super) fn map_started(length: usize) -> Event {
    let details = json!({ "length": length });
    event("MapStateStarted", "mapStateStartedEventDetails", details)
}

/// `MapIterationStarted`, `…Succeeded` or `…Failed`.
pub(super) fn map_iteration(outcome: &str, map: &str, index: usize) -> Event {
    let details = json!({ "name": map, "index": index });
    let key = match outcome {
        "Started" => "mapIterationStartedEventDetails",
        "Succeeded" => "mapIterationSucceededEventDetails",
        _ => "mapIterationFailedEventDetails",
    };
    event(format!("MapIteration{outcome}"), key, details)
}

/// An event that says no more than its type.
pub(super) fn plain(kind: &'static str) -> Event {
    event(kind, "details", Value::Null)
}

pub(super) fn map_run_started(map_run_arn: &str) -> Event {
    let details = json!({ "mapRunArn": map_run_arn });
    event("MapRunStarted", "mapRunStartedEventDetails", details)
}

pub(super) fn map_run_failed(fault: &Fault) -> Event {
    let details = json!({ "error": fault.error, "cause": fault.cause });
    event("MapRunFailed", "mapRunFailedEventDetails", details)
}

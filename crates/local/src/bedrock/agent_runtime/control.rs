//! Control that returns to the caller: an action that the caller carries out or confirms. The turn waits in its
//! session, and goes on when InvokeAgent brings the results.
use serde_json::{Value, json};

use super::super::agents::{Collaborator, Executor, OperationKind};
use super::super::wire::{ErrorName, WireError};
use super::action::{self, Done};
use super::request::{ActionResult, ConfirmationState, ControlResult};
use super::toolbox::Action;
use super::turn::Run;

/// Most things that a caller is asked for at once. Source: the service model of `bedrock-agent-runtime`.
pub(super) const MAX_INPUTS: usize = 5;

/// A turn that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) invocation_id: String,
    pub(super) run: Run,
    /// The results that are there, and what is waited for, in the order of the calls.
    pub(super) calls: Vec<Held>,
}

/// One call of a waiting turn.
#[derive(Debug)]
pub(super) enum Held {
    /// A `toolResult` block.
    Done(Value),
    Action {
        tool_use_id: String,
        action: Action,
        input: Value,
    },
    /// A collaborator whose own turn waits.
    Collaborator {
        tool_use_id: String,
        collaborator: Collaborator,
    },
}

/// What the caller's result means for the agent.
pub(super) enum Verdict {
    /// It was done; this goes to the model.
    Done(Done),
    /// The function may be invoked.
    Confirmed,
    Denied,
}

/// The member of `invocationInputs` for an action.
pub(super) fn invocation_input(
    action: &Action,
    input: &Value,
    agent_id: &str,
    collaborator: Option<&str>,
) -> Value {
    let mut members = Value::Object(action.call(input));
    let (confirms, lambda) = (
        action.operation.confirm,
        matches!(action.executor, Executor::Lambda(_)),
    );
    members["actionInvocationType"] = json!(match (confirms, lambda) {
        (true, true) => "USER_CONFIRMATION",
        (true, false) => "USER_CONFIRMATION_AND_RESULT",
        (false, _) => "RESULT",
    });
    members["agentId"] = json!(agent_id);
    if let Some(name) = collaborator {
        members["collaboratorName"] = json!(name);
    }
    match action.operation.kind {
        OperationKind::Function => json!({ "functionInvocationInput": members }),
        OperationKind::Api { .. } => json!({ "apiInvocationInput": members }),
    }
}

/// Whether a result belongs to an action of this agent.
fn belongs(result: &ActionResult, action: &Action, agent_id: &str) -> bool {
    let same = match &action.operation.kind {
        OperationKind::Function => {
            result.function.as_deref() == Some(action.operation.name.as_str())
        }
        OperationKind::Api { path, verb, .. } => {
            let method = result.http_method.as_deref();
            result.api_path.as_deref() == Some(path.as_str())
                && method.is_none_or(|method| method.eq_ignore_ascii_case(verb))
        }
    };
    let agent = result.agent_id.as_deref();
    same && result.action_group == action.group && agent.is_none_or(|agent| agent == agent_id)
}

/// Takes the caller's result of an action out of what was brought.
pub(super) fn take(
    results: &mut Vec<ControlResult>,
    action: &Action,
    agent_id: &str,
) -> Result<Verdict, WireError> {
    let at = results
        .iter()
        .position(|result| belongs(result.action(), action, agent_id));
    let Some(at) = at else {
        return Err(WireError::validation(format!(
            "sessionState.returnControlInvocationResults has no result for {} of the action group {}.",
            action.operation.name, action.group
        )));
    };
    let result = results.remove(at).action().clone();
    if action.operation.confirm {
        match (result.confirmation_state, &action.executor) {
            (Some(ConfirmationState::Deny), _) => return Ok(Verdict::Denied),
            (Some(ConfirmationState::Confirm), Executor::Lambda(_)) => {
                return Ok(Verdict::Confirmed);
            }
            (Some(ConfirmationState::Confirm), Executor::CustomControl(_)) => {}
            (None, _) => {
                return Err(WireError::validation(format!(
                    "The result for {} needs a confirmationState: CONFIRM or DENY.",
                    action.operation.name
                )));
            }
        }
    }
    let text = result
        .response_body
        .into_values()
        .next()
        .map(|body| body.body)
        .unwrap_or_default();
    let done = action::done(result.response_state, text, result.http_status_code);
    done.map(Verdict::Done).map_err(|words| {
        WireError::new(
            ErrorName::DependencyFailed,
            format!("The action {} {words}", action.operation.name),
        )
    })
}

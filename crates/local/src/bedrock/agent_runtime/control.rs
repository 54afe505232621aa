//! Control that returns to the caller: an action that the caller carries out or confirms. The turn waits in its
//! session, and goes on when InvokeAgent brings the results.
use serde_json::{Value, json};

use super::super::agents::{Collaborator, Executor, OperationKind};
use super::super::wire::{ErrorName, WireError, request_id};
use super::action::{self, Done};
use super::request::{ActionResult, ConfirmationState, ControlResult};
use super::session::Session;
use super::toolbox::Action;
use super::turn::{self, Context, Input, Outcome, Run, Shared};
use super::{calls, supervise};

/// Most things that a caller is asked for at once. Source: the service model of `bedrock-agent-runtime`.
const MAX_INPUTS: usize = 5;

/// A turn that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) invocation_id: String,
    run: Run,
    /// The results that are there, and what is waited for, in the order of the calls.
    calls: Vec<Held>,
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
enum Verdict {
    /// It was done; this goes to the model.
    Done(Done),
    /// The function may be invoked.
    Confirmed,
    Denied,
}

/// Lets the turn wait for its caller.
pub(super) fn hold(
    session: &mut Session,
    run: Run,
    calls: Vec<Held>,
    inputs: Vec<Value>,
) -> Result<Outcome, WireError> {
    if inputs.len() > MAX_INPUTS {
        return Err(WireError::new(
            ErrorName::DependencyFailed,
            format!(
                "The model called {} actions of the caller at once; at most {} can be returned.",
                inputs.len(),
                MAX_INPUTS
            ),
        ));
    }
    let invocation_id = request_id();
    session.pending = Some(Pending {
        invocation_id: invocation_id.clone(),
        run,
        calls,
    });
    Ok(Outcome::Control {
        invocation_id,
        inputs,
    })
}

/// Goes on with what the caller brings; `Err`: the turn waits again.
pub(super) async fn resume(
    context: &Context,
    session: &mut Session,
    shared: &mut Shared,
    mut results: Vec<ControlResult>,
) -> Result<Result<Run, Outcome>, WireError> {
    let Some(Pending {
        mut run,
        calls: called,
        ..
    }) = session.pending.take()
    else {
        return Err(WireError::validation(
            "The session waits for no results: sessionState.returnControlInvocationResults must follow a returnControl.",
        ));
    };
    let (mut held, mut inputs) = (Vec::new(), Vec::new());
    for call in called {
        held.push(match call {
            Held::Done(result) => Held::Done(result),
            Held::Action {
                tool_use_id,
                action,
                input,
            } => match take(&mut results, &action, &context.agent.id)? {
                Verdict::Done(done) => calls::observed(context, &run, done, &tool_use_id).await?,
                Verdict::Confirmed => {
                    calls::invoke(context, shared, &run, &action, &input, &tool_use_id).await?
                }
                Verdict::Denied => {
                    let words = format!(
                        "The user denied {}; it was not done.",
                        action.operation.name
                    );
                    calls::tool_result(&tool_use_id, json!([{ "text": words }]), false)
                }
            },
            Held::Collaborator {
                tool_use_id,
                collaborator,
            } => {
                let input = Input::Results(results.clone());
                let id = context.tracer.id(run.steps);
                let outcome =
                    supervise::ask(context, session, shared, &collaborator, input, &id).await?;
                calls::heard(&mut run, tool_use_id, &collaborator, outcome, &mut inputs)
            }
        });
    }
    if !inputs.is_empty() {
        return hold(session, run, held, inputs).map(Err);
    }
    turn::answer_calls(&mut run, held);
    Ok(Ok(run))
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
fn take(
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

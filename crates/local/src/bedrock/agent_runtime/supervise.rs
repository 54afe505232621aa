//! Supervisors: a message to a collaborator is a turn of that agent, in a session of its own below the supervisor's.
//! A router first looks whether one collaborator alone is meant, and then gives its answer unchanged.
use serde_json::{Value, json};

use super::super::agents::{Collaborator, Relay, parse_alias_arn};
use super::super::wire::WireError;
use super::session::Session;
use super::speech::{self, Asked};
use super::toolbox::{Target, Toolbox};
use super::turn::{self, Agent, Context, Input, Outcome, Run, Shared};
use super::{calls, control};

/// How deep supervisors may lead supervisors, the first one included.
const MAX_DEPTH: usize = 3;
const ROUTING: &str = "Choose the collaborator that alone can do what the user asks, and send it the request. If it takes \
     several of them, or none, choose none.";

/// Sends something to a collaborator and waits for what comes of it.
pub(super) async fn ask(
    context: &Context,
    session: &Session,
    shared: &mut Shared,
    collaborator: &Collaborator,
    input: Input,
    trace: &str,
) -> Result<Outcome, WireError> {
    let arn = &collaborator.alias_arn;
    let input_told = match &input {
        Input::Text(text) => json!({"type": "TEXT", "text": text}),
        Input::Results(_) => json!({"type": "RETURN_CONTROL"}),
    };
    let what = json!({"agentCollaboratorName": collaborator.name, "agentCollaboratorAliasArn": arn, "input": input_told});
    context
        .tracer
        .invokes(
            trace,
            "AGENT_COLLABORATOR",
            "agentCollaboratorInvocationInput",
            what,
        )
        .await;
    let outcome = below(context, session, shared, collaborator, input).await?;
    let output = match &outcome {
        Outcome::Answer(answer) => json!({"type": "TEXT", "text": answer.text}),
        Outcome::Control {
            invocation_id,
            inputs,
        } => json!({
            "type": "RETURN_CONTROL",
            "returnControlPayload": {"invocationId": invocation_id, "invocationInputs": inputs},
        }),
    };
    let what = json!({"agentCollaboratorName": collaborator.name, "agentCollaboratorAliasArn": arn, "output": output});
    context
        .tracer
        .observes(
            trace,
            "AGENT_COLLABORATOR",
            "agentCollaboratorInvocationOutput",
            what,
        )
        .await;
    Ok(outcome)
}

async fn below(
    context: &Context,
    session: &Session,
    shared: &mut Shared,
    collaborator: &Collaborator,
    input: Input,
) -> Result<Outcome, WireError> {
    let arn = &collaborator.alias_arn;
    let Some((agent_id, alias_id)) = parse_alias_arn(arn) else {
        return Err(WireError::validation(format!(
            "{arn} is no ARN of an agent alias."
        )));
    };
    let chain = &context.tracer.chain;
    if chain.len() >= MAX_DEPTH || chain.contains(arn) {
        return Err(WireError::validation(format!(
            "The collaborator {} cannot be asked: agents lead agents at most {MAX_DEPTH} deep, and never in a circle.",
            collaborator.name
        )));
    }
    let agent = Agent::find(&context.bedrock, agent_id, alias_id)?;
    let key = format!("{}>{agent_id}/{alias_id}", context.key);
    let own = context
        .bedrock
        .sessions
        .open(&key, agent.definition.session_seconds);
    let mut own = own.lock().await;
    if collaborator.relay == Relay::ToCollaborator {
        own.history = session.history.clone();
    }
    let context = Context {
        tracer: context
            .tracer
            .below(agent_id, alias_id, &agent.version, &collaborator.name),
        agent,
        key,
        ..context.clone()
    };
    turn::take(&context, &mut own, shared, input).await
}

/// Sends the whole request to the one collaborator that it is for; nothing when it takes several, or none.
pub(super) async fn route(
    context: &Context,
    session: &mut Session,
    shared: &mut Shared,
    toolbox: &Toolbox,
    run: &Run,
) -> Result<Option<Outcome>, WireError> {
    let asked = Asked {
        kind: "ROUTING_CLASSIFIER",
        trace: "routingClassifierTrace",
        id: context.tracer.id(0),
    };
    let Some(tools) = toolbox.collaborators() else {
        return Ok(None);
    };
    let message = speech::converse(context, ROUTING, &run.messages, Some(tools), &asked).await?;
    let called = calls::of(&message);
    let [call] = &called[..] else { return Ok(None) };
    let Some(Target::Collaborator(collaborator)) = toolbox.get(&call.name).map(|tool| &tool.target)
    else {
        return Ok(None);
    };
    let told = json!({"traceId": asked.id, "invocationType": "AGENT_COLLABORATOR", "agentCollaboratorInvocationInput": {
        "agentCollaboratorName": collaborator.name, "agentCollaboratorAliasArn": collaborator.alias_arn,
        "input": {"type": "TEXT", "text": run.question},
    }});
    context
        .tracer
        .tell(asked.trace, json!({ "invocationInput": told }))
        .await;
    let input = Input::Text(run.question.clone());
    match below(context, session, shared, collaborator, input).await? {
        Outcome::Answer(answer) => {
            let told = json!({"traceId": asked.id, "type": "FINISH", "finalResponse": {"text": answer.text}});
            context
                .tracer
                .tell(asked.trace, json!({ "observation": told }))
                .await;
            turn::remember(session, &run.question, &answer.text);
            Ok(Some(Outcome::Answer(answer)))
        }
        // The turn goes on as a supervisor's when the caller has done its part.
        Outcome::Control { inputs, .. } => {
            let mut messages: Vec<Value> = run.messages.clone();
            messages.push(json!({"role": "assistant", "content": message}));
            let held = control::Held::Collaborator {
                tool_use_id: call.id.clone(),
                collaborator: collaborator.clone(),
            };
            let waiting = Run {
                question: run.question.clone(),
                messages,
                ..Run::default()
            };
            control::hold(session, waiting, vec![held], inputs).map(Some)
        }
    }
}

//! What a model called, called: actions, knowledge bases and collaborators.
use serde_json::{Value, json};

use super::super::agents::{Collaborator, Executor, OperationKind};
use super::super::wire::WireError;
use super::action::{self, Done};
use super::control::{self, Held};
use super::session::Session;
use super::toolbox::{Action, Target, Toolbox};
use super::turn::{Context, Input, Outcome, Run, Shared};
use super::{lookup, supervise};

/// One `toolUse` of the model.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) input: Value,
}

pub(super) fn of(content: &[Value]) -> Vec<Call> {
    let uses = content.iter().filter_map(|block| block.get("toolUse"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |tool: &Value| Call {
        id: text(&tool["toolUseId"]),
        name: text(&tool["name"]),
        input: tool["input"].clone(),
    };
    uses.map(call).collect()
}

pub(super) fn tool_result(id: &str, content: Value, error: bool) -> Held {
    let status = if error { "error" } else { "success" };
    Held::Done(json!({"toolResult": {"toolUseId": id, "content": content, "status": status}}))
}

/// Does what the model called; what only the caller can do goes to `inputs`.
pub(super) async fn dispatch(
    context: &Context,
    session: &mut Session,
    shared: &mut Shared,
    toolbox: &Toolbox,
    run: &mut Run,
    call: &Call,
    inputs: &mut Vec<Value>,
) -> Result<Held, WireError> {
    let Some(tool) = toolbox.get(&call.name) else {
        let words = format!("There is no tool named {}.", call.name);
        return Ok(tool_result(&call.id, json!([{ "text": words }]), true));
    };
    match &tool.target {
        Target::Action(action) => act(context, shared, run, action, call, inputs).await,
        Target::Knowledge(id) => look_up(context, shared, run, id, call).await,
        Target::Collaborator(collaborator) => {
            let content = call.input["content"]
                .as_str()
                .unwrap_or(&run.question)
                .to_owned();
            let input = Input::Text(content);
            let asked = supervise::ask(
                context,
                session,
                shared,
                collaborator,
                input,
                &context.tracer.id(run.steps),
            )
            .await?;
            Ok(heard(run, call.id.clone(), collaborator, asked, inputs))
        }
    }
}

/// What a collaborator's outcome means for its supervisor.
pub(super) fn heard(
    run: &mut Run,
    tool_use_id: String,
    collaborator: &Collaborator,
    outcome: Outcome,
    inputs: &mut Vec<Value>,
) -> Held {
    match outcome {
        Outcome::Answer(answer) => {
            run.carried.extend(answer.citations);
            tool_result(&tool_use_id, json!([{ "text": answer.text }]), false)
        }
        Outcome::Control { inputs: asked, .. } => {
            inputs.extend(asked);
            Held::Collaborator {
                tool_use_id,
                collaborator: collaborator.clone(),
            }
        }
    }
}

async fn act(
    context: &Context,
    shared: &mut Shared,
    run: &Run,
    action: &Action,
    call: &Call,
    inputs: &mut Vec<Value>,
) -> Result<Held, WireError> {
    let missing = action.missing(&call.input);
    if !missing.is_empty() {
        let words = format!("These parameters are missing: {}.", missing.join(", "));
        return Ok(tool_result(&call.id, json!([{ "text": words }]), true));
    }
    let returns = action.operation.confirm || matches!(action.executor, Executor::CustomControl(_));
    tell_action(context, run, action, &call.input, returns).await;
    if returns {
        let name = context.tracer.collaborator.as_deref();
        inputs.push(control::invocation_input(
            action,
            &call.input,
            &context.agent.id,
            name,
        ));
        return Ok(Held::Action {
            tool_use_id: call.id.clone(),
            action: action.clone(),
            input: call.input.clone(),
        });
    }
    invoke(context, shared, run, action, &call.input, &call.id).await
}

async fn tell_action(context: &Context, run: &Run, action: &Action, input: &Value, returns: bool) {
    let mut what = json!({
        "actionGroupName": action.group, "parameters": action.parameters(input, false),
        "executionType": if returns { "RETURN_CONTROL" } else { "LAMBDA" },
    });
    match &action.operation.kind {
        OperationKind::Function => what["function"] = json!(action.operation.name),
        OperationKind::Api {
            path,
            verb,
            content_type,
        } => {
            what["apiPath"] = json!(path);
            what["verb"] = json!(verb.to_lowercase());
            if let Some(content_type) = content_type {
                let properties = action.parameters(input, true);
                what["requestBody"] = json!({"content": {content_type.as_str(): properties}});
            }
        }
    }
    let id = context.tracer.id(run.steps);
    context
        .tracer
        .invokes(&id, "ACTION_GROUP", "actionGroupInvocationInput", what)
        .await;
}

pub(super) async fn invoke(
    context: &Context,
    shared: &mut Shared,
    run: &Run,
    action: &Action,
    input: &Value,
    tool_use_id: &str,
) -> Result<Held, WireError> {
    let name = &context.agent.definition.name;
    let done = action::invoke(
        &context.bedrock,
        action,
        input,
        &run.question,
        name,
        &context.tracer,
        shared,
    );
    observed(context, run, done.await?, tool_use_id).await
}

pub(super) async fn observed(
    context: &Context,
    run: &Run,
    done: Done,
    tool_use_id: &str,
) -> Result<Held, WireError> {
    let id = context.tracer.id(run.steps);
    if done.reprompt {
        let what = json!({"source": "ACTION_GROUP", "text": done.text});
        context
            .tracer
            .observes(&id, "REPROMPT", "repromptResponse", what)
            .await;
    } else {
        let what = json!({ "text": done.text });
        context
            .tracer
            .observes(&id, "ACTION_GROUP", "actionGroupInvocationOutput", what)
            .await;
    }
    let error = done.reprompt || done.failed;
    Ok(tool_result(
        tool_use_id,
        json!([{ "text": done.text }]),
        error,
    ))
}

async fn look_up(
    context: &Context,
    shared: &Shared,
    run: &mut Run,
    id: &str,
    call: &Call,
) -> Result<Held, WireError> {
    let query = call.input["query"]
        .as_str()
        .unwrap_or(&run.question)
        .to_owned();
    let trace = context.tracer.id(run.steps);
    let what = json!({"knowledgeBaseId": id, "text": query});
    context
        .tracer
        .invokes(&trace, "KNOWLEDGE_BASE", "knowledgeBaseLookupInput", what)
        .await;
    let found = lookup::look_up(&context.bedrock, id, &query, &shared.knowledge).await?;
    let what = json!({ "retrievedReferences": found.references });
    context
        .tracer
        .observes(&trace, "KNOWLEDGE_BASE", "knowledgeBaseLookupOutput", what)
        .await;
    run.references.extend(found.references);
    let parts = match found.parts.is_empty() {
        true => json!([{"text": "Nothing was found."}]),
        false => json!(found.parts),
    };
    Ok(tool_result(&call.id, parts, false))
}

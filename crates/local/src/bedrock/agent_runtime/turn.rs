//! One turn of an agent: the model speaks, what it calls is called, until it answers or control returns to the caller.
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::super::agents::{
    Collaboration, Definition, Executor, InvocationState, OperationKind, TEST_ALIAS,
};
use super::super::converse::{self, Speech};
use super::super::request::ConverseRequest;
use super::super::wire::{ErrorName, WireError};
use super::super::{Bedrock, models, routes};
use super::action::{self, Done};
use super::attribution::{self, Answer, Citation};
use super::control::{self, Held, Pending, Verdict};
use super::request::{Attributes, ControlResult, KnowledgeConfiguration};
use super::session::Session;
use super::toolbox::{Action, Target, Tool, Toolbox};
use super::trace::Tracer;
use super::{lookup, supervise};

/// Most times that the model speaks in one turn.
const MAX_STEPS: usize = 10;

/// An agent as an alias calls it.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) definition: Definition,
}

impl Agent {
    pub(super) fn find(bedrock: &Bedrock, id: &str, alias_id: &str) -> Result<Self, WireError> {
        let record = bedrock.agents.get(id)?;
        let agent = |version: &str, definition: &Definition| Self {
            id: id.to_owned(),
            version: version.to_owned(),
            definition: definition.clone(),
        };
        if alias_id == TEST_ALIAS {
            return match &record.prepared {
                Some(prepared) => Ok(agent("DRAFT", &prepared.definition)),
                None => Err(WireError::validation(format!(
                    "Agent {id} is in the state NOT_PREPARED. Prepare it first."
                ))),
            };
        }
        let not_found = || {
            let words = format!("Alias {alias_id} of agent {id} was not found.");
            WireError::new(ErrorName::ResourceNotFound, words)
        };
        let alias = record
            .aliases
            .iter()
            .find(|alias| alias.id == alias_id)
            .ok_or_else(not_found)?;
        if alias.state == InvocationState::RejectInvocations {
            return Err(WireError::validation(format!(
                "Alias {alias_id} takes no calls: its aliasInvocationState is REJECT_INVOCATIONS."
            )));
        }
        let version = alias
            .version
            .parse()
            .ok()
            .and_then(|number: u32| record.versions.get(&number));
        let version = version.ok_or_else(not_found)?;
        Ok(agent(&alias.version, &version.definition))
    }
}

/// What a turn works with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) bedrock: Bedrock,
    pub(super) agent: Agent,
    pub(super) tracer: Tracer,
    /// The key of the agent's session.
    pub(super) key: String,
    pub(super) performance: Option<Value>,
}

/// What all agents of one invocation share; functions may change it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) session_attributes: Attributes,
    pub(super) prompt_attributes: Attributes,
    pub(super) knowledge: Vec<KnowledgeConfiguration>,
}

pub(super) enum Input {
    Text(String),
    Results(Vec<ControlResult>),
}

pub(super) enum Outcome {
    Answer(Answer),
    /// `invocationInputs` for the caller.
    Control {
        invocation_id: String,
        inputs: Vec<Value>,
    },
}

/// The state of a turn.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) question: String,
    pub(super) messages: Vec<Value>,
    /// What was looked up, in the order of the search results in `messages`.
    pub(super) references: Vec<Value>,
    /// What collaborators cited.
    pub(super) carried: Vec<Citation>,
    pub(super) steps: usize,
}

impl Run {
    fn begin(session: &Session, question: String) -> Self {
        let mut messages = session.history.clone();
        messages.push(json!({"role": "user", "content": [{"text": question}]}));
        Self {
            question,
            messages,
            ..Self::default()
        }
    }
}

/// Takes an agent's turn.
pub(super) fn take<'a>(
    context: &'a Context,
    session: &'a mut Session,
    shared: &'a mut Shared,
    input: Input,
) -> BoxFuture<'a, Result<Outcome, WireError>> {
    async move {
        let toolbox = Toolbox::of(&context.agent.definition)?;
        let mut run = match input {
            Input::Text(question) => {
                session.pending = None;
                let run = Run::begin(session, question);
                if context.agent.definition.collaboration == Collaboration::SupervisorRouter
                    && let Some(outcome) =
                        supervise::route(context, session, shared, &toolbox, &run).await?
                {
                    return Ok(outcome);
                }
                run
            }
            Input::Results(results) => match resume(context, session, shared, results).await? {
                Ok(run) => run,
                Err(waiting) => return Ok(waiting),
            },
        };
        loop {
            let message = speak(context, shared, &toolbox, &mut run).await?;
            let calls = calls(&message);
            if calls.is_empty() {
                return finish(context, session, run, &message).await;
            }
            tell_rationale(context, &run, &message).await;
            run.messages
                .push(json!({"role": "assistant", "content": message}));
            let mut held = Vec::new();
            let mut inputs = Vec::new();
            for call in &calls {
                held.push(
                    dispatch(
                        context,
                        session,
                        shared,
                        &toolbox,
                        &mut run,
                        call,
                        &mut inputs,
                    )
                    .await?,
                );
            }
            if !inputs.is_empty() {
                return hold(session, run, held, inputs);
            }
            answer_calls(&mut run, held);
        }
    }
    .boxed()
}

/// One `toolUse` of the model.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) input: Value,
}

pub(super) fn calls(content: &[Value]) -> Vec<Call> {
    let uses = content.iter().filter_map(|block| block.get("toolUse"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |tool: &Value| Call {
        id: text(&tool["toolUseId"]),
        name: text(&tool["name"]),
        input: tool["input"].clone(),
    };
    uses.map(call).collect()
}

/// Lets the model speak once; the content of its message.
async fn speak(
    context: &Context,
    shared: &Shared,
    toolbox: &Toolbox,
    run: &mut Run,
) -> Result<Vec<Value>, WireError> {
    if run.steps == MAX_STEPS {
        return Err(WireError::new(
            ErrorName::DependencyFailed,
            format!("The model called tools {MAX_STEPS} times in one turn and gave no answer."),
        ));
    }
    run.steps += 1;
    let system = system(context, shared, toolbox);
    let asked = Asked {
        kind: "ORCHESTRATION",
        trace: "orchestrationTrace",
        id: context.tracer.id(run.steps),
    };
    converse(context, &system, &run.messages, toolbox.config(), &asked).await
}

fn system(context: &Context, shared: &Shared, toolbox: &Toolbox) -> String {
    let mut system = context
        .agent
        .definition
        .instruction
        .clone()
        .unwrap_or_default();
    if toolbox.asks_user {
        system.push_str("\n\nIf something that you need is missing, ask the user for it.");
    }
    for (name, value) in &shared.prompt_attributes {
        system.push_str(&format!("\n{name}: {value}"));
    }
    system
}

/// How a call of the model is traced.
pub(super) struct Asked {
    pub(super) kind: &'static str,
    pub(super) trace: &'static str,
    pub(super) id: String,
}

/// Calls the agent's model, as Converse would be called.
pub(super) async fn converse(
    context: &Context,
    system: &str,
    messages: &[Value],
    tools: Option<Value>,
    asked: &Asked,
) -> Result<Vec<Value>, WireError> {
    let model = context
        .agent
        .definition
        .foundation_model
        .clone()
        .unwrap_or_default();
    models::resolve_text(&model)?;
    let mut body = json!({"system": [{"text": system}], "messages": messages});
    let prompt = body.to_string();
    if let Some(tools) = tools {
        body["toolConfig"] = tools;
    }
    if let Some(performance) = &context.performance {
        body["performanceConfig"] = performance.clone();
    }
    if let Some(guardrail) = &context.agent.definition.guardrail {
        body["guardrailConfig"] = json!(guardrail);
    }
    let input =
        json!({"traceId": asked.id, "type": asked.kind, "text": prompt, "foundationModel": model});
    context
        .tracer
        .tell(asked.trace, json!({ "modelInvocationInput": input }))
        .await;
    let request: ConverseRequest = serde_json::from_value(body).map_err(|error| {
        WireError::validation(format!(
            "The agent's request to its model is not valid: {error}"
        ))
    })?;
    request.check()?;
    routes::strike(&context.bedrock, "Converse").await?;
    let started = Instant::now();
    let speech = Speech::begin(&context.bedrock, &model, request, started).await?;
    let reply = speech.whole(started).await?;
    let message = reply["output"]["message"]["content"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let output = json!({
        "traceId": asked.id,
        "rawResponse": {"content": json!(message).to_string()},
        "metadata": {
            "usage": {"inputTokens": reply["usage"]["inputTokens"], "outputTokens": reply["usage"]["outputTokens"]},
            "totalTimeMs": converse::milliseconds(started),
        },
    });
    context
        .tracer
        .tell(asked.trace, json!({ "modelInvocationOutput": output }))
        .await;
    if reply["stopReason"] == "guardrail_intervened" {
        let told = json!({"action": "INTERVENED", "traceId": asked.id});
        context.tracer.tell("guardrailTrace", told).await;
    }
    Ok(message)
}

async fn tell_rationale(context: &Context, run: &Run, message: &[Value]) {
    let text: Vec<&str> = message
        .iter()
        .filter_map(|block| block["text"].as_str())
        .collect();
    if !text.is_empty() {
        let rationale = json!({"traceId": context.tracer.id(run.steps), "text": text.join(" ")});
        context
            .tracer
            .tell("orchestrationTrace", json!({ "rationale": rationale }))
            .await;
    }
}

pub(super) async fn tell_input(context: &Context, id: &str, kind: &str, member: &str, what: Value) {
    let input = json!({"traceId": id, "invocationType": kind, member: what});
    context
        .tracer
        .tell("orchestrationTrace", json!({ "invocationInput": input }))
        .await;
}

pub(super) async fn tell_observation(
    context: &Context,
    id: &str,
    kind: &str,
    member: &str,
    what: Value,
) {
    let observation = json!({"traceId": id, "type": kind, member: what});
    context
        .tracer
        .tell("orchestrationTrace", json!({ "observation": observation }))
        .await;
}

pub(super) fn tool_result(id: &str, content: Value, error: bool) -> Held {
    let status = if error { "error" } else { "success" };
    Held::Done(json!({"toolResult": {"toolUseId": id, "content": content, "status": status}}))
}

/// Does what the model called; what only the caller can do goes to `inputs`.
async fn dispatch(
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
    let Tool { target, .. } = tool;
    match target {
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
fn heard(
    run: &mut Run,
    tool_use_id: String,
    collaborator: &super::super::agents::Collaborator,
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
    tell_input(
        context,
        &id,
        "ACTION_GROUP",
        "actionGroupInvocationInput",
        what,
    )
    .await;
}

async fn invoke(
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

async fn observed(
    context: &Context,
    run: &Run,
    done: Done,
    tool_use_id: &str,
) -> Result<Held, WireError> {
    let id = context.tracer.id(run.steps);
    if done.reprompt {
        let what = json!({"source": "ACTION_GROUP", "text": done.text});
        tell_observation(context, &id, "REPROMPT", "repromptResponse", what).await;
    } else {
        let what = json!({ "text": done.text });
        tell_observation(
            context,
            &id,
            "ACTION_GROUP",
            "actionGroupInvocationOutput",
            what,
        )
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
    tell_input(
        context,
        &trace,
        "KNOWLEDGE_BASE",
        "knowledgeBaseLookupInput",
        what,
    )
    .await;
    let found = lookup::look_up(&context.bedrock, id, &query, &shared.knowledge).await?;
    let what = json!({ "retrievedReferences": found.references });
    tell_observation(
        context,
        &trace,
        "KNOWLEDGE_BASE",
        "knowledgeBaseLookupOutput",
        what,
    )
    .await;
    run.references.extend(found.references);
    let parts = match found.parts.is_empty() {
        true => json!([{"text": "Nothing was found."}]),
        false => json!(found.parts),
    };
    Ok(tool_result(&call.id, parts, false))
}

fn answer_calls(run: &mut Run, held: Vec<Held>) {
    let done = held.into_iter().filter_map(|held| match held {
        Held::Done(result) => Some(result),
        _ => None,
    });
    run.messages
        .push(json!({"role": "user", "content": done.collect::<Vec<_>>()}));
}

/// Lets the turn wait for its caller.
pub(super) fn hold(
    session: &mut Session,
    run: Run,
    calls: Vec<Held>,
    inputs: Vec<Value>,
) -> Result<Outcome, WireError> {
    if inputs.len() > control::MAX_INPUTS {
        return Err(WireError::new(
            ErrorName::DependencyFailed,
            format!(
                "The model called {} actions of the caller at once; at most {} can be returned.",
                inputs.len(),
                control::MAX_INPUTS
            ),
        ));
    }
    let invocation_id = super::super::wire::request_id();
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
async fn resume(
    context: &Context,
    session: &mut Session,
    shared: &mut Shared,
    mut results: Vec<ControlResult>,
) -> Result<Result<Run, Outcome>, WireError> {
    let Some(Pending { mut run, calls, .. }) = session.pending.take() else {
        return Err(WireError::validation(
            "The session waits for no results: sessionState.returnControlInvocationResults must follow a returnControl.",
        ));
    };
    let (mut held, mut inputs) = (Vec::new(), Vec::new());
    for call in calls {
        held.push(match call {
            Held::Done(result) => Held::Done(result),
            Held::Action {
                tool_use_id,
                action,
                input,
            } => match control::take(&mut results, &action, &context.agent.id)? {
                Verdict::Done(done) => observed(context, &run, done, &tool_use_id).await?,
                Verdict::Confirmed => {
                    invoke(context, shared, &run, &action, &input, &tool_use_id).await?
                }
                Verdict::Denied => {
                    let words = format!(
                        "The user denied {}; it was not done.",
                        action.operation.name
                    );
                    tool_result(&tool_use_id, json!([{ "text": words }]), false)
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
                heard(&mut run, tool_use_id, &collaborator, outcome, &mut inputs)
            }
        });
    }
    if !inputs.is_empty() {
        return hold(session, run, held, inputs).map(Err);
    }
    answer_calls(&mut run, held);
    Ok(Ok(run))
}

async fn finish(
    context: &Context,
    session: &mut Session,
    run: Run,
    message: &[Value],
) -> Result<Outcome, WireError> {
    let answer = attribution::answer(message, &run.references, &run.carried);
    let what = json!({ "text": answer.text });
    tell_observation(
        context,
        &context.tracer.id(run.steps),
        "FINISH",
        "finalResponse",
        what,
    )
    .await;
    remember(session, &run.question, &answer.text);
    Ok(Outcome::Answer(answer))
}

/// Keeps a question and its answer for the turns that follow.
pub(super) fn remember(session: &mut Session, question: &str, answer: &str) {
    if answer.trim().is_empty() {
        return;
    }
    session
        .history
        .push(json!({"role": "user", "content": [{"text": question}]}));
    session
        .history
        .push(json!({"role": "assistant", "content": [{"text": answer}]}));
}

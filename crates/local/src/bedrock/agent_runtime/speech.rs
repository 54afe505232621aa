//! The model of an agent speaks: one call of Converse with the agent's tools and guardrail, and its traces.
use std::time::Instant;

use serde_json::{Value, json};

use super::super::converse::{self, Speech};
use super::super::request::ConverseRequest;
use super::super::wire::{ErrorName, WireError};
use super::super::{models, routes};
use super::toolbox::Toolbox;
use super::turn::{Context, Run, Shared};

/// Most times that the model speaks in one turn.
const MAX_STEPS: usize = 10;

/// Lets the model speak once; the content of its message.
pub(super) async fn speak(
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

pub(super) async fn tell_rationale(context: &Context, run: &Run, message: &[Value]) {
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

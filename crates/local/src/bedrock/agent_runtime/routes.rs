//! The routes of InvokeAgent and RetrieveAndGenerate.
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Response, StatusCode};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;

use super::super::agents::alias_arn;
use super::super::wire::{WireError, read_json, reply};
use super::super::{Bedrock, frames, routes};
use super::attribution;
use super::request::{InvokeRequest, SessionState};
use super::session::Session;
use super::trace::{Tracer, new_turn};
use super::turn::{self, Agent, Context, Input, Outcome, Shared};
use super::{events, generate};

/// Frames that may wait for a slow reader.
const WAITING_FRAMES: usize = 64;
/// What AWS says when a session was ended.
const ENDED: &str = "Session is terminated as 'endSession' flag is set in request.";

pub(in crate::bedrock) fn operations() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let generate = async |bedrock, body| {
        generate::retrieve_and_generate(bedrock, body)
            .await
            .unwrap_or_else(WireError::into_response)
    };
    [
        (
            "/agents/{agent}/agentAliases/{alias}/sessions/{session}/text",
            post(async |bedrock, path, body| {
                invoke_agent(bedrock, path, body)
                    .await
                    .unwrap_or_else(WireError::into_response)
            }),
        ),
        ("/retrieveAndGenerate", post(generate)),
    ]
}

async fn invoke_agent(
    State(bedrock): State<Bedrock>,
    Path((agent_id, alias_id, session_id)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Response<Body>, WireError> {
    routes::strike(&bedrock, "InvokeAgent").await?;
    let request: InvokeRequest = read_json(&body)?;
    request.check(&session_id)?;
    let agent = Agent::find(&bedrock, &agent_id, &alias_id)?;
    let key = format!("{session_id}@{agent_id}/{alias_id}");
    let (frames, received) = mpsc::channel(WAITING_FRAMES);
    let tracer = Tracer {
        frames: request.enable_trace.then(|| frames.clone()),
        session_id: session_id.clone(),
        chain: vec![alias_arn(&agent_id, &alias_id)],
        agent_id,
        alias_id,
        version: agent.version.clone(),
        collaborator: None,
        turn: new_turn(),
    };
    let performance = request
        .bedrock_model_configurations
        .performance_config
        .clone();
    let context = Context {
        bedrock,
        agent,
        tracer,
        key,
        performance,
    };
    tokio::spawn(async move {
        let hung_up = frames.clone();
        tokio::select! {
            () = serve(&context, request, &frames) => {}
            () = hung_up.closed() => tracing::info!("invoke_agent_abandoned"),
        }
    });
    Ok(streamed(&session_id, received))
}

fn streamed(session_id: &str, received: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = ReceiverStream::new(received).map(Ok::<_, std::convert::Infallible>);
    let mut response = reply(
        StatusCode::OK,
        frames::CONTENT_TYPE,
        Body::from_stream(frames),
    );
    let headers = response.headers_mut();
    headers.insert(
        "x-amzn-bedrock-agent-content-type",
        HeaderValue::from_static("application/json"),
    );
    if let Ok(session) = HeaderValue::from_str(session_id) {
        headers.insert("x-amz-bedrock-agent-session-id", session);
    }
    response
}

/// Takes the turn and sends what comes of it. That nobody listens any more is seen by whoever waits for it.
async fn serve(context: &Context, request: InvokeRequest, frames: &Sender<Bytes>) {
    if request.end_session {
        context.bedrock.sessions.end(&context.key);
        let _ = frames.send(events::chunk(ENDED, &[])).await;
        return;
    }
    let streams = request.streaming_configurations.stream_final_response;
    match take(context, request).await {
        Ok(Outcome::Answer(answer)) if streams => {
            for (text, citations) in attribution::pieces(&answer) {
                let _ = frames.send(events::chunk(&text, &citations)).await;
            }
        }
        Ok(Outcome::Answer(answer)) => {
            let citations: Vec<_> = answer
                .citations
                .iter()
                .map(|citation| citation.wire(0))
                .collect();
            let _ = frames.send(events::chunk(&answer.text, &citations)).await;
        }
        Ok(Outcome::Control {
            invocation_id,
            inputs,
        }) => {
            let _ = frames
                .send(events::return_control(&invocation_id, &inputs))
                .await;
        }
        Err(error) => {
            let told = serde_json::json!({"traceId": context.tracer.id(0), "failureReason": error.message});
            context.tracer.tell("failureTrace", told).await;
            let _ = frames.send(events::exception(&error)).await;
        }
    }
}

async fn take(context: &Context, request: InvokeRequest) -> Result<Outcome, WireError> {
    let idle = context.agent.definition.session_seconds;
    let session = context.bedrock.sessions.open(&context.key, idle);
    let mut session = session.lock().await;
    let input = read_state(&mut session, request.session_state, request.input_text)?;
    let (input, mut shared) = input;
    let outcome = turn::take(context, &mut session, &mut shared, input).await;
    session.attributes = shared.session_attributes;
    outcome
}

/// What the session knows and what the request brings.
fn read_state(
    session: &mut Session,
    state: SessionState,
    text: Option<String>,
) -> Result<(Input, Shared), WireError> {
    if let Some(attributes) = state.session_attributes {
        session.attributes = attributes;
    }
    if let Some(history) = state.conversation_history {
        session.history = history.messages;
    }
    let shared = Shared {
        session_attributes: session.attributes.clone(),
        prompt_attributes: state.prompt_session_attributes,
        knowledge: state.knowledge_base_configurations,
    };
    if state.return_control_invocation_results.is_empty() {
        return Ok((Input::Text(text.unwrap_or_default()), shared));
    }
    let waiting = session
        .pending
        .as_ref()
        .map(|pending| pending.invocation_id.as_str());
    if waiting.is_none() || state.invocation_id.as_deref() != waiting {
        return Err(WireError::validation(
            "sessionState.invocationId is not that of the returnControl which the session waits for.",
        ));
    }
    Ok((
        Input::Results(state.return_control_invocation_results),
        shared,
    ))
}

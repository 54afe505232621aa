//! The routes of Bedrock: the runtime's here, those of agents from their folders, and `/_local/faults` beside them. Handlers read, call and reply.
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::routing::{MethodRouter, get, post};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::converse::{self, Speech};
use super::guardrail::{self, ApplyRequest, Config, ListQuery, VersionRequest};
use super::request::ConverseRequest;
use super::rerank::RerankRequest;
use super::wire::{ErrorName, WireError, json_reply, read_json};
use super::{
    Bedrock, agent_runtime, agents, batch, embed, frames, invoke, knowledge_bases, models,
    passages, rerank, retrieve, strategy,
};

/// Largest request body (bytes): Bedrock's 25 MB for InvokeModel.
const MAX_BODY_BYTES: usize = 25_000_000;

type Reply = Result<Response<Body>, WireError>;

/// The router of Bedrock and of `/_local/faults`, for any port of the laptop cloud.
pub fn router(bedrock: Bedrock) -> Router {
    let faults = get(list_faults).post(arm_fault).delete(clear_faults);
    let mut router = Router::new().route("/_local/faults", faults);
    let all = operations()
        .into_iter()
        .chain(agents::operations())
        .chain(knowledge_bases::operations())
        .chain(agent_runtime::operations())
        .chain(batch::operations());
    for (path, operation) in all {
        // Some clients send a trailing slash.
        router = router
            .route(path, operation.clone())
            .route(&format!("{path}/"), operation);
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(bedrock)
}

fn operations() -> [(&'static str, MethodRouter<Bedrock>); 10] {
    [
        (
            "/model/{model_id}/converse",
            post(async |s, p, b| answer(converse_whole(s, p, b).await)),
        ),
        (
            "/model/{model_id}/converse-stream",
            post(async |s, p, b| answer(converse_stream(s, p, b).await)),
        ),
        (
            "/model/{model_id}/invoke",
            post(async |s, p, b| answer(invoke_model(s, p, b).await)),
        ),
        (
            "/model/{model_id}/invoke-with-response-stream",
            post(async |s| answer(invoke_stream(s).await)),
        ),
        (
            "/model/{model_id}/count-tokens",
            post(async |s, p, b| answer(count_tokens(s, p, b).await)),
        ),
        (
            "/guardrail/{id}/version/{version}/apply",
            post(async |s, p, b| answer(apply_guardrail(s, p, b).await)),
        ),
        (
            "/knowledgebases/{id}/retrieve",
            post(async |s, p, b| answer(retrieve_passages(s, p, b).await)),
        ),
        (
            "/rerank",
            post(async |s, b| answer(rerank_texts(s, b).await)),
        ),
        (
            "/guardrails",
            post(async |s, b| answer(create_guardrail(s, b).await))
                .get(async |s, q| answer(list_guardrails(s, q).await)),
        ),
        (
            "/guardrails/{id}",
            post(async |s, p, b| answer(create_guardrail_version(s, p, b).await))
                .get(async |s, p, q| answer(get_guardrail(s, p, q).await))
                .put(async |s, p, b| answer(update_guardrail(s, p, b).await))
                .delete(async |s, p, q| answer(delete_guardrail(s, p, q).await)),
        ),
    ]
}

fn answer(reply: Reply) -> Response<Body> {
    reply.unwrap_or_else(WireError::into_response)
}

async fn unknown(request: axum::extract::Request) -> Response<Body> {
    let what = format!(
        "{} {} is no operation of the laptop Bedrock",
        request.method(),
        request.uri().path()
    );
    WireError::new(ErrorName::UnknownOperation, what).into_response()
}

/// What strikes a stream after it has begun.
#[derive(Default)]
pub(super) struct Later {
    breaks: Option<frames::Break>,
    pace: std::time::Duration,
}

/// Delays and fails as the armed faults say; gives back what strikes later, in mid-stream.
pub(super) async fn strike(bedrock: &Bedrock, operation: &str) -> Result<Later, WireError> {
    let strike = bedrock.faults.strike(operation);
    if !strike.delay.is_zero() {
        tokio::time::sleep(strike.delay).await;
    }
    let pace = strike.pace;
    match (strike.error, strike.after_events) {
        (None, _) => Ok(Later { breaks: None, pace }),
        (Some(error), Some(after_events)) => Ok(Later {
            breaks: Some(frames::Break {
                after_events,
                error,
            }),
            pace,
        }),
        (Some(error), None) => Err(error),
    }
}

pub(super) fn read_converse(model_id: &str, body: &Bytes) -> Result<ConverseRequest, WireError> {
    models::resolve_text(model_id)?;
    let request: ConverseRequest = read_json(body)?;
    request.check()?;
    let invoked = strategy::invoked(model_id, &request);
    strategy::check(invoked.as_deref().unwrap_or(model_id), &request)?;
    Ok(request)
}

async fn converse_whole(
    State(bedrock): State<Bedrock>,
    Path(model_id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "Converse").await?;
    let request = read_converse(&model_id, &body)?;
    if request
        .guardrail_config
        .as_ref()
        .is_some_and(|config| config.stream_processing_mode.is_some())
    {
        return Err(WireError::validation(
            "guardrailConfig.streamProcessingMode is only for ConverseStream.",
        ));
    }
    let (started, guarded) = (Instant::now(), request.guardrail_config.is_some());
    let speech = Speech::begin(&bedrock, &model_id, request, started).await?;
    let reply = json_reply(&speech.whole(started).await?);
    Ok(if guarded { honest(reply) } else { reply })
}

async fn converse_stream(
    State(bedrock): State<Bedrock>,
    Path(model_id): Path<String>,
    body: Bytes,
) -> Reply {
    let later = strike(&bedrock, "ConverseStream").await?;
    let request = read_converse(&model_id, &body)?;
    let (started, guarded) = (Instant::now(), request.guardrail_config.is_some());
    let speech = Speech::begin(&bedrock, &model_id, request, started).await?;
    let (events, metadata) = speech.stream(started);
    let frames = frames::converse_stream(events, metadata, later.breaks, later.pace);
    let reply = super::wire::reply(
        http::StatusCode::OK,
        frames::CONTENT_TYPE,
        Body::from_stream(frames),
    );
    Ok(if guarded { honest(reply) } else { reply })
}

async fn invoke_model(
    State(bedrock): State<Bedrock>,
    Path(model_id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "InvokeModel").await?;
    let started = Instant::now();
    let request = invoke::read(models::resolve(&model_id)?, &body)?;
    let vectors = embeddings(&bedrock, &request).await?;
    let mut response = json_reply(&request.reply(&vectors));
    let headers = response.headers_mut();
    headers.insert(
        "x-amzn-bedrock-input-token-count",
        HeaderValue::from(request.tokens()),
    );
    headers.insert(
        "x-amzn-bedrock-invocation-latency",
        HeaderValue::from(converse::milliseconds(started)),
    );
    Ok(response)
}

/// A vector for each text of a checked request.
pub(super) async fn embeddings(
    bedrock: &Bedrock,
    request: &invoke::EmbedRequest,
) -> Result<Vec<Vec<f32>>, WireError> {
    let upstream = bedrock
        .endpoint
        .as_ref()
        .filter(|endpoint| endpoint.embeds());
    match upstream {
        _ if request.minilm => embed_with_minilm(bedrock, &request.texts).await,
        Some(endpoint) => endpoint.embed(&request.texts, request.dimensions).await,
        None => Ok(request
            .texts
            .iter()
            .map(|text| embed::embed(text, request.dimensions, request.normalize))
            .collect()),
    }
}

async fn embed_with_minilm(
    bedrock: &Bedrock,
    texts: &[String],
) -> Result<Vec<Vec<f32>>, WireError> {
    let workers = bedrock.sentences.as_ref().ok_or_else(|| {
        WireError::validation(format!(
            "{} has no weights here; bring them with `outcrop models add minilm`, then start again.",
            models::MINILM_MODEL
        ))
    })?;
    let ended = || {
        WireError::new(
            ErrorName::InternalServer,
            "The embedder ended on this text.",
        )
    };
    workers.embed(texts).await.ok_or_else(ended)
}

async fn invoke_stream(State(bedrock): State<Bedrock>) -> Reply {
    strike(&bedrock, "InvokeModelWithResponseStream").await?;
    Err(WireError::unsupported(
        "InvokeModelWithResponseStream (use ConverseStream)",
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountTokensBody {
    input: CountTokensInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountTokensInput {
    Converse(Box<ConverseRequest>),
    InvokeModel(InvokeModelInput),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvokeModelInput {
    body: String,
}

async fn count_tokens(
    State(bedrock): State<Bedrock>,
    Path(model_id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "CountTokens").await?;
    let model = models::resolve(&model_id)?;
    let body: CountTokensBody = read_json(&body)?;
    let tokens = match body.input {
        CountTokensInput::Converse(request) => {
            models::resolve_text(&model_id)?;
            request.check()?;
            passages::collect(&request)?;
            // A cache of its own: counting leaves no trace.
            super::cache::PromptCache::default()
                .count(&model_id, &request, Instant::now())
                .total()
        }
        CountTokensInput::InvokeModel(input) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(&input.body);
            let native = decoded
                .map_err(|_| WireError::validation("input.invokeModel.body is not base64."))?;
            invoke::read(model, &Bytes::from(native))?.tokens()
        }
    };
    Ok(json_reply(&json!({"inputTokens": tokens})))
}

async fn apply_guardrail(
    State(bedrock): State<Bedrock>,
    Path((id, version)): Path<(String, String)>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "ApplyGuardrail").await?;
    let guardrail = bedrock.guardrails.guardrail(&id, &version)?;
    let request: ApplyRequest = read_json(&body)?;
    Ok(honest(json_reply(&guardrail.apply(&request)?)))
}

/// Says in the reply what stood in for AWS's guardrails.
fn honest(mut reply: Response<Body>) -> Response<Body> {
    let value = HeaderValue::from_static(guardrail::HEADER_VALUE);
    reply.headers_mut().insert(guardrail::HEADER, value);
    reply
}

fn accepted(value: &Value) -> Response<Body> {
    let mut reply = json_reply(value);
    *reply.status_mut() = http::StatusCode::ACCEPTED;
    reply
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VersionQuery {
    guardrail_version: Option<String>,
}

async fn create_guardrail(State(bedrock): State<Bedrock>, body: Bytes) -> Reply {
    strike(&bedrock, "CreateGuardrail").await?;
    let config: Config = read_json(&body)?;
    Ok(accepted(&bedrock.guardrails.create(config)?))
}

async fn create_guardrail_version(
    State(bedrock): State<Bedrock>,
    Path(id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "CreateGuardrailVersion").await?;
    let request: VersionRequest = read_json(&body)?;
    Ok(accepted(&bedrock.guardrails.create_version(&id, request)?))
}

async fn get_guardrail(
    State(bedrock): State<Bedrock>,
    Path(id): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Reply {
    strike(&bedrock, "GetGuardrail").await?;
    let version = query.guardrail_version.as_deref();
    Ok(json_reply(&bedrock.guardrails.get(&id, version)?))
}

async fn list_guardrails(State(bedrock): State<Bedrock>, Query(query): Query<ListQuery>) -> Reply {
    strike(&bedrock, "ListGuardrails").await?;
    Ok(json_reply(&bedrock.guardrails.list(&query)?))
}

async fn update_guardrail(
    State(bedrock): State<Bedrock>,
    Path(id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "UpdateGuardrail").await?;
    let config: Config = read_json(&body)?;
    Ok(accepted(&bedrock.guardrails.update(&id, config)?))
}

async fn delete_guardrail(
    State(bedrock): State<Bedrock>,
    Path(id): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Reply {
    strike(&bedrock, "DeleteGuardrail").await?;
    let version = query.guardrail_version.as_deref();
    Ok(accepted(&bedrock.guardrails.delete(&id, version)?))
}

async fn retrieve_passages(
    State(bedrock): State<Bedrock>,
    Path(id): Path<String>,
    body: Bytes,
) -> Reply {
    strike(&bedrock, "Retrieve").await?;
    let reply = retrieve::retrieve(&bedrock, &id, read_json(&body)?).await?;
    Ok(json_reply(&reply))
}

async fn rerank_texts(State(bedrock): State<Bedrock>, body: Bytes) -> Reply {
    strike(&bedrock, "Rerank").await?;
    let request: RerankRequest = read_json(&body)?;
    Ok(json_reply(&rerank::rerank(request).await?))
}

async fn arm_fault(State(bedrock): State<Bedrock>, body: Bytes) -> Response<Body> {
    answer(
        read_json(&body)
            .and_then(|fault| bedrock.faults.arm(fault))
            .map(|()| listed(&bedrock)),
    )
}

async fn list_faults(State(bedrock): State<Bedrock>) -> Response<Body> {
    listed(&bedrock)
}

async fn clear_faults(State(bedrock): State<Bedrock>) -> Response<Body> {
    bedrock.faults.clear();
    listed(&bedrock)
}

fn listed(bedrock: &Bedrock) -> Response<Body> {
    json_reply(
        &json!({"faults": serde_json::to_value(bedrock.faults.list()).unwrap_or(Value::Null)}),
    )
}

//! The Invoke API of Lambda on the AWS port. Source: AWS Lambda API Reference, Invoke.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;

use super::{Host, Invocation, InvokeError};

/// `POST /2015-03-31/functions/{name}/invocations`.
pub fn router(host: Host) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .layer(axum::extract::DefaultBodyLimit::max(
            super::PAYLOAD_BYTES + 1,
        ))
        .with_state(host)
}

async fn invoke(
    State(host): State<Host>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response<Body> {
    let kind = headers
        .get("x-amz-invocation-type")
        .and_then(|value| value.to_str().ok());
    let payload = if payload.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        payload
    };
    match kind {
        Some("DryRun") => match host.find(&name) {
            Ok(_) => reply(StatusCode::NO_CONTENT, None, Bytes::new()),
            Err(error) => refused(&error),
        },
        Some("Event") => {
            if let Err(error) = host.find(&name) {
                return refused(&error);
            }
            tokio::spawn(async move {
                if let Err(error) = host.invoke(&name, payload).await {
                    tracing::warn!(
                        function = name,
                        error = error.name(),
                        "an event was not taken"
                    );
                }
            });
            reply(StatusCode::ACCEPTED, None, Bytes::new())
        }
        _ => match host.invoke(&name, payload).await {
            Ok(Invocation::Reply(bytes)) => reply(StatusCode::OK, None, bytes),
            Ok(Invocation::FunctionError(bytes)) => reply(StatusCode::OK, Some("Unhandled"), bytes),
            Ok(Invocation::Stream(mut pieces)) => {
                let mut whole = Vec::new();
                while let Some(piece) = pieces.recv().await {
                    whole.extend_from_slice(&piece);
                }
                reply(StatusCode::OK, None, Bytes::from(whole))
            }
            Err(error) => refused(&error),
        },
    }
}

fn reply(status: StatusCode, function_error: Option<&str>, body: Bytes) -> Response<Body> {
    let mut builder = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amz-executed-version", "$LATEST");
    if let Some(kind) = function_error {
        builder = builder.header("x-amz-function-error", kind);
    }
    builder.body(Body::from(body)).unwrap_or_default()
}

fn refused(error: &InvokeError) -> Response<Body> {
    let status = match error {
        InvokeError::NotFound { .. } => StatusCode::NOT_FOUND,
        InvokeError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        InvokeError::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let body =
        json!({ "Type": "User", "Message": error.to_string(), "message": error.to_string() });
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", error.name())
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}

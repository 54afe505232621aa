//! The Invoke API of Lambda on the AWS port. Source: AWS Lambda API Reference, Invoke and InvokeWithResponseStream.

use std::convert::Infallible;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde_json::{Value, json};

use super::instance::error;
use super::{Host, Invocation, InvokeError, PAYLOAD_BYTES, Pieces};

/// `POST /2015-03-31/functions/{name}/invocations`, `POST /2021-11-15/functions/{name}/response-streaming-invocations`.
pub fn router(host: Host) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route(
            "/2021-11-15/functions/{name}/response-streaming-invocations",
            post(invoke_streaming),
        )
        .layer(axum::extract::DefaultBodyLimit::max(PAYLOAD_BYTES + 1))
        .with_state(host)
}

/// The client context, in base64 on this wire and as it is on the function's.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(header) = headers.get("x-amz-client-context") else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(header.as_bytes()).map_err(drop)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(drop)?;
    // Escapes keep it to what a header can hold.
    let ascii = value.is_object().then(|| escaped(&value.to_string()));
    ascii.map(Some).ok_or(())
}

/// JSON text with everything beyond ASCII as `\u` escapes.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

fn context_refused() -> Response<Body> {
    let words = "Client context must be a valid Base64-encoded JSON object.";
    let body = json!({ "Type": "User", "Message": words, "message": words });
    Response::builder()
        .status(StatusCode::BAD_REQUEST)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", "InvalidRequestContentException")
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers
        .get("x-amz-invocation-type")
        .and_then(|value| value.to_str().ok())
}

async fn invoke(
    State(host): State<Host>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response<Body> {
    let payload = match json_payload(payload) {
        Ok(payload) => payload,
        Err(error) => return refused(&error),
    };
    let Ok(context) = client_context(&headers) else {
        return context_refused();
    };
    match kind(&headers) {
        Some("DryRun") => dry_run(&host, &name),
        Some("Event") => {
            if let Err(error) = host.find(&name) {
                return refused(&error);
            }
            tokio::spawn(async move {
                if let Err(error) = host.invoke_with_context(&name, payload, context).await {
                    tracing::warn!(
                        function = name,
                        error = error.name(),
                        "an event was not taken"
                    );
                }
            });
            reply(StatusCode::ACCEPTED, None, Bytes::new())
        }
        _ => match host.invoke_with_context(&name, payload, context).await {
            Ok(Invocation::Reply(bytes)) => reply(StatusCode::OK, None, bytes),
            Ok(Invocation::FunctionError(bytes)) => reply(StatusCode::OK, Some("Unhandled"), bytes),
            Ok(Invocation::Stream(pieces)) => match collect(pieces).await {
                Ok(whole) => reply(StatusCode::OK, None, whole),
                Err(cut) => reply(StatusCode::OK, Some("Unhandled"), cut),
            },
            Err(error) => refused(&error),
        },
    }
}

fn dry_run(host: &Host, name: &str) -> Response<Body> {
    match host.find(name) {
        Ok(_) => reply(StatusCode::NO_CONTENT, None, Bytes::new()),
        Err(error) => refused(&error),
    }
}

/// The payload, `{}` where there is none. Lambda refuses what is not JSON before any function sees it.
fn json_payload(payload: Bytes) -> Result<Bytes, InvokeError> {
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        Ok(_) => Ok(payload),
        Err(error) => Err(InvokeError::InvalidContent {
            detail: error.to_string(),
        }),
    }
}

/// A stream for a caller that wants it whole.
async fn collect(mut pieces: Pieces) -> Result<Bytes, Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.recv().await {
        whole.extend_from_slice(&piece.map_err(|cut| error(&cut.name, &cut.detail))?);
        if whole.len() > PAYLOAD_BYTES {
            let words = "the streamed reply is over 6 MB; invoke with a response stream";
            return Err(error("Function.ResponseSizeTooLarge", words));
        }
    }
    Ok(whole.freeze())
}

async fn invoke_streaming(
    State(host): State<Host>,
    Path(name): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response<Body> {
    if kind(&headers) == Some("DryRun") {
        return dry_run(&host, &name);
    }
    let Ok(context) = client_context(&headers) else {
        return context_refused();
    };
    let payload = match json_payload(payload) {
        Ok(payload) => payload,
        Err(error) => return refused(&error),
    };
    let invocation = match host.invoke_with_context(&name, payload, context).await {
        Ok(invocation) => invocation,
        Err(error) => return refused(&error),
    };
    let body = match invocation {
        Invocation::Reply(bytes) => Body::from([chunk(bytes), complete(None)].concat()),
        Invocation::FunctionError(bytes) => Body::from(complete(Some(&bytes))),
        Invocation::Stream(pieces) => Body::from_stream(stream::unfold(Some(pieces), next_frame)),
    };
    Response::builder()
        .header("content-type", "application/vnd.amazon.eventstream")
        .header("x-amz-executed-version", "$LATEST")
        .body(body)
        .unwrap_or_default()
}

/// The frame of the next piece; the last one is `InvokeComplete`, whatever the end.
async fn next_frame(pieces: Option<Pieces>) -> Option<(Result<Bytes, Infallible>, Option<Pieces>)> {
    let mut pieces = pieces?;
    Some(match pieces.recv().await {
        Some(Ok(piece)) => (Ok(chunk(piece)), Some(pieces)),
        Some(Err(cut)) => {
            let words = error(&cut.name, &cut.detail);
            (Ok(complete(Some(&words))), None)
        }
        None => (Ok(complete(None)), None),
    })
}

fn chunk(payload: Bytes) -> Bytes {
    frame("PayloadChunk", "application/octet-stream", payload)
}

fn complete(failure: Option<&Bytes>) -> Bytes {
    let body = match failure {
        None => json!({}),
        Some(words) => {
            let details = String::from_utf8_lossy(words);
            let value: Value = serde_json::from_str(&details).unwrap_or_default();
            let code = value["errorType"].as_str().unwrap_or("Unhandled");
            json!({ "ErrorCode": code, "ErrorDetails": details })
        }
    };
    frame(
        "InvokeComplete",
        "application/json",
        Bytes::from(body.to_string()),
    )
}

fn frame(name: &'static str, content_type: &'static str, payload: Bytes) -> Bytes {
    let text = |value: &'static str| HeaderValue::String(value.into());
    let message = Message::new(payload)
        .add_header(Header::new(":event-type", text(name)))
        .add_header(Header::new(":content-type", text(content_type)))
        .add_header(Header::new(":message-type", text("event")));
    let mut buffer = BytesMut::new();
    // Only a payload beyond 16 MB can fail; a piece is what one read of a socket gives.
    if let Err(error) = write_message_to(&message, &mut buffer) {
        tracing::error!(%error, name, "an event did not fit a frame");
    }
    buffer.freeze()
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
        InvokeError::InvalidContent { .. } => StatusCode::BAD_REQUEST,
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

//! The runtime API that a function's process speaks, on a listener of its own.
//!
//! Source: AWS Lambda Developer Guide, "Using the Lambda runtime API" and "Response streaming in custom runtimes".

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::instance::{Instance, Outcome, error};
use super::{PAYLOAD_BYTES, StreamCut};
use crate::cloud::at_once;

/// Pieces of a stream that may wait for a slow client before the function is made to wait.
const PIECES_WAITING: usize = 8;

pub(super) async fn serve(listener: TcpListener, instance: Arc<Instance>) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(failure))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::max(PAYLOAD_BYTES))
        .with_state(instance);
    if let Err(error) = axum::serve(at_once(listener), router).await {
        tracing::error!(%error, "the runtime API of an instance ended");
    }
}

type Reply = Response<Body>;

fn status(code: StatusCode) -> Reply {
    let mut reply = Response::new(Body::from(r#"{"status":"OK"}"#));
    *reply.status_mut() = code;
    reply
}

async fn next(State(instance): State<Arc<Instance>>) -> Reply {
    let Some(work) = instance.next().await else {
        return status(StatusCode::GONE);
    };
    let mut builder = Response::builder();
    if let Some(context) = &work.client_context {
        builder = builder.header("lambda-runtime-client-context", context.as_str());
    }
    builder
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &work.id)
        .header("lambda-runtime-deadline-ms", work.deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", &instance.arn)
        .header(
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Sampled=0",
        )
        .body(Body::from(work.payload))
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn response(
    State(instance): State<Arc<Instance>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let mode = headers.get("lambda-runtime-function-response-mode");
    if mode.is_some_and(|mode| mode == "streaming") {
        return stream(&instance, &id, body).await;
    }
    let outcome = match axum::body::to_bytes(body, PAYLOAD_BYTES).await {
        Ok(bytes) => Outcome::Reply(bytes),
        Err(_) => Outcome::Error(error(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        )),
    };
    instance.finished();
    instance.answer(&id, outcome);
    status(StatusCode::ACCEPTED)
}

/// Passes pieces on as they come. When the client is gone, the upload is given up: the connection closes, and the
/// function's next piece fails. A stream that breaks off ends with an error, so that nobody takes it for whole.
async fn stream(instance: &Instance, id: &str, mut body: Body) -> Reply {
    let (pieces, received) = mpsc::channel(PIECES_WAITING);
    if !instance.answer(id, Outcome::Stream(received)) {
        instance.finished();
        return closing();
    }
    let reply = loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = pieces.closed() => break closing(),
        };
        let piece = match frame {
            None => break status(StatusCode::ACCEPTED),
            Some(Err(_)) => Err(instance.cut()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(frame) => match frame.trailers_ref().and_then(reported) {
                    Some(cut) => Err(cut),
                    None => continue,
                },
            },
        };
        let broken = piece.is_err();
        if pieces.send(piece).await.is_err() || broken {
            break closing();
        }
    };
    instance.finished();
    reply
}

/// The error that a function reports in mid-stream, in the trailers of its reply.
fn reported(trailers: &HeaderMap) -> Option<StreamCut> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let name = text("lambda-runtime-function-error-type")?.to_owned();
    let detail = text("lambda-runtime-function-error-body")
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    Some(StreamCut { name, detail })
}

fn closing() -> Reply {
    let mut reply = status(StatusCode::GONE);
    reply
        .headers_mut()
        .insert("connection", HeaderValue::from_static("close"));
    reply
}

async fn failure(
    State(instance): State<Arc<Instance>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Reply {
    instance.finished();
    instance.answer(&id, Outcome::Error(body));
    status(StatusCode::ACCEPTED)
}

async fn init_error(State(instance): State<Arc<Instance>>, body: Bytes) -> Reply {
    instance.fail_init(body);
    status(StatusCode::ACCEPTED)
}

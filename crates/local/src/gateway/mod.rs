//! API Gateway on the laptop: the routes of `infra/openapi.yaml`, as REST proxy events to the functions, buffered or
//! streamed as each route's integration says.
//!
//! The authorizer vouches for the laptop's owner, `local`, and for whom a token of the laptop stands for.

mod authorizer;
pub(crate) mod caller;
mod event;
mod reply;
mod routes;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;

use crate::lambda::{Host, Invocation};
use routes::{Matched, Routes};
pub use tokens::{TokenError, Tokens};

/// API Gateway's largest request. Source: Amazon API Gateway quotas, payload size.
const REQUEST_BYTES: usize = 10 << 20;
/// Integration time-outs. Source: Amazon API Gateway quotas; a stream may last 15 minutes.
const BUFFERED_TIME: Duration = Duration::from_secs(29);

/// Why an API description cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API description: {0}")]
pub struct GatewayError(pub String);

/// The gateway: routes and the functions behind them.
#[derive(Clone)]
pub struct Gateway {
    routes: Arc<Routes>,
    tokens: Arc<Tokens>,
    host: Host,
}

impl Gateway {
    /// Reads the API description. `functions` gives the name of a logical id.
    ///
    /// # Errors
    /// [`GatewayError`] naming what cannot be served.
    pub fn new(
        openapi: &str,
        functions: &dyn Fn(&str) -> Option<String>,
        tokens: Tokens,
        host: Host,
    ) -> Result<Self, GatewayError> {
        Ok(Self {
            routes: Arc::new(Routes::read(openapi, functions)?),
            tokens: Arc::new(tokens),
            host,
        })
    }

    /// Answers a request.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        if let Err(foreign) = caller::check(request.headers()) {
            let (name, words) = (foreign.name(), foreign.to_string());
            return problem(StatusCode::FORBIDDEN, name, &words, false);
        }
        let (parts, body) = request.into_parts();
        let matched = match self.routes.find(parts.method.as_str(), parts.uri.path()) {
            Ok(matched) => matched,
            Err(refusal) => return refusal.into_reply(parts.method.as_str(), parts.uri.path()),
        };
        let Ok(claims) = authorizer::claims(&parts.headers, &self.tokens) else {
            return unauthorized();
        };
        let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES).await else {
            let words =
                "the request is over the gateway's 10 MB; use POST /v1/uploads for large files";
            return problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "PayloadTooLarge",
                words,
                false,
            );
        };
        let event = event::proxy(&parts, &body, &matched, &claims);
        self.answer(matched, event).await
    }

    async fn answer(&self, matched: Matched<'_>, event: bytes::Bytes) -> Response<Body> {
        let invoking = self.host.invoke(&matched.route.function, event);
        let invoked = if matched.route.streams {
            Ok(invoking.await)
        } else {
            tokio::time::timeout(BUFFERED_TIME, invoking).await
        };
        match invoked {
            Err(_) => {
                let words = "the function did not answer within 29 seconds; ask again, or stream";
                problem(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", words, true)
            }
            Ok(Err(error)) if error.name() == "RequestEntityTooLargeException" => {
                let words =
                    "the request is over Lambda's 6 MB; use POST /v1/uploads for large files";
                problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "PayloadTooLarge",
                    words,
                    false,
                )
            }
            Ok(Err(error)) => {
                let status = match error.name() {
                    "TooManyRequestsException" => StatusCode::TOO_MANY_REQUESTS,
                    _ => StatusCode::BAD_GATEWAY,
                };
                problem(status, "FunctionUnavailable", &error.to_string(), true)
            }
            Ok(Ok(Invocation::FunctionError(bytes))) => {
                function_failed(&String::from_utf8_lossy(&bytes))
            }
            Ok(Ok(Invocation::Reply(bytes))) => reply::buffered(&bytes),
            Ok(Ok(Invocation::Stream(pieces))) => reply::streamed(pieces).await,
        }
    }
}

fn unauthorized() -> Response<Body> {
    let words = "the Authorization header holds no token of this instance, or one that has ended; `outcrop token` makes \
                 one, and without the header the request is the laptop owner's";
    let mut reply = problem(StatusCode::UNAUTHORIZED, "InvalidToken", words, false);
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    reply
}

fn function_failed(detail: &str) -> Response<Body> {
    tracing::error!(%detail, "a function failed");
    let words = "the function failed; its log says why";
    problem(StatusCode::BAD_GATEWAY, "FunctionFailed", words, true)
}

fn problem(status: StatusCode, name: &str, detail: &str, retry: bool) -> Response<Body> {
    let body = json!({
        "type": format!("https://outcrop.dev/problems/{name}"),
        "title": status.canonical_reason().unwrap_or(name),
        "status": status.as_u16(),
        "detail": detail,
        "name": name,
        "retry": retry,
    });
    Response::builder()
        .status(status)
        .header("content-type", "application/problem+json")
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}

//! MCP over streamable HTTP without sessions, on the official SDK: each invocation is one JSON-RPC message.
//!
//! The SDK reads and checks the protocol: versions 2025-03-26 to 2026-07-28, headers, JSON-RPC. What is asked for is
//! answered in `server`.

mod consent;
mod prompts;
mod server;

use std::sync::Arc;

use aws::lambda::{Head, HttpRequest, Reply};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use knowledge::access::Caller;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::Service;
use server::McpServer;

/// Headers that the protocol answers with.
const ANSWERED: [&str; 3] = ["content-type", "allow", "mcp-protocol-version"];

pub(crate) async fn answer(
    service: Arc<Service>,
    request: HttpRequest,
    caller: Caller,
    space: String,
) -> Reply {
    let server = McpServer {
        service,
        caller,
        space,
    };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(None)
        // API Gateway, and the laptop's, let only their own host names through.
        .disable_allowed_hosts();
    let manager = Arc::new(NeverSessionManager::default());
    let http = StreamableHttpService::new(move || Ok(server.clone()), manager, config);
    let response = http.handle(to_request(request)).await;
    let (parts, body) = response.into_parts();
    // The SDK's bodies cannot fail.
    let body = body
        .collect()
        .await
        .map(|whole| whole.to_bytes())
        .unwrap_or_default();
    let mut head = Head {
        status: parts.status,
        headers: vec![("cache-control", "no-store".to_owned())],
    };
    for name in ANSWERED {
        if let Some(Ok(value)) = parts.headers.get(name).map(HeaderValue::to_str) {
            head.headers.push((name, value.to_owned()));
        }
    }
    if parts.status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!("the MCP server failed");
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Reply::Buffered { head, body }
}

fn to_request(request: HttpRequest) -> Request<Full<Bytes>> {
    let mut built = Request::new(Full::new(request.body));
    *built.method_mut() = request.method.parse().unwrap_or(http::Method::POST);
    if let Ok(uri) = request.path.parse() {
        *built.uri_mut() = uri;
    }
    for (name, value) in request.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            built.headers_mut().insert(name, value);
        }
    }
    built
}

//! The routes of this function: MCP, and where its clients get their tokens.

use std::sync::Arc;

use aws::lambda::{HttpRequest, Reply};
use http::StatusCode;
use knowledge::http::{self as web, Route};
use knowledge::roles::Role;
use knowledge::{KnowledgeError, spaces};
use serde_json::json;

use crate::{Service, mcp};

/// What this function serves; `infra/openapi.yaml` says the same, and a test holds the two together.
pub const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/mcp",
    },
    Route {
        method: "GET",
        path: PROTECTED_RESOURCE,
    },
];

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

pub(crate) async fn route(service: Arc<Service>, request: HttpRequest) -> Reply {
    match answer(service, request).await {
        Ok(reply) => reply,
        Err(error) => web::problem(&error),
    }
}

async fn answer(service: Arc<Service>, request: HttpRequest) -> Result<Reply, KnowledgeError> {
    let number = web::find(ROUTES, &request)?;
    if ROUTES[number].path == PROTECTED_RESOURCE {
        return protected_resource(&service, &request);
    }
    if request.user.is_none() && service.aws.settings.agents.oauth_issuer.is_some() {
        return Ok(token_wanted(&request));
    }
    let space = request
        .query
        .get("space")
        .map_or(spaces::DEFAULT, String::as_str);
    let caller = web::caller(&request);
    spaces::enter(&service.aws, space, &caller, Role::Reader).await?;
    let space = space.to_owned();
    Ok(mcp::answer(service, request, caller, space).await)
}

/// OAuth 2.0 Protected Resource Metadata, RFC 9728: where a client of MCP gets its token.
fn protected_resource(service: &Service, request: &HttpRequest) -> Result<Reply, KnowledgeError> {
    let Some(issuer) = &service.aws.settings.agents.oauth_issuer else {
        return Err(KnowledgeError::UnknownRoute {
            path: request.path.clone(),
            hint: "; no authorization server is configured".into(),
        });
    };
    let metadata = json!({
        "resource": format!("{}/mcp", base(request)),
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
    });
    Ok(web::json(StatusCode::OK, &metadata))
}

/// The answer to a request without a token, which says where to get one.
fn token_wanted(request: &HttpRequest) -> Reply {
    let body = json!({
        "type": "https://outcrop.dev/problems/OAuthRequired",
        "title": "OAuth required",
        "status": 401,
        "detail": "send an access token; the WWW-Authenticate header says where to get one",
        "name": "OAuthRequired",
        "retry": false,
    });
    let mut head = web::head(StatusCode::UNAUTHORIZED, "application/problem+json");
    let metadata = format!("{}{PROTECTED_RESOURCE}", base(request));
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    head.headers.push(("www-authenticate", challenge));
    Reply::Buffered {
        head,
        body: body.to_string(),
    }
}

/// Where the client sees this API. The stage stands in the path of API Gateway's own host names only.
fn base(request: &HttpRequest) -> String {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    let scheme = header("x-forwarded-proto").unwrap_or("http");
    let host = header("host").unwrap_or("localhost");
    let stage = if host.contains(".execute-api.") {
        "/live"
    } else {
        ""
    };
    format!("{scheme}://{host}{stage}")
}

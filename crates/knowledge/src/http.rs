//! What both HTTP functions share: the route table's form, replies, problems, the caller.

use aws::lambda::{Head, HttpRequest, Reply};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;

/// The largest body that an upload may have: Lambda takes 6 MB an invocation, and base64 adds a third.
/// Source: AWS Lambda quotas, invocation payload.
pub const BODY_BYTES: usize = 4_500_000;

/// One route: method and path as the API's description has them, `{name}` for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
}

/// Finds the route of a request: its number in `routes`. The gateway has matched the path; what fills the braces is in
/// the request's parameters.
///
/// # Errors
/// [`KnowledgeError::UnknownRoute`], [`KnowledgeError::MethodNotAllowed`], or [`KnowledgeError::PayloadTooLarge`] for a
/// body over [`BODY_BYTES`].
pub fn find(routes: &[Route], request: &HttpRequest) -> Result<usize, KnowledgeError> {
    let same_path = |route: &&Route| route.path == request.resource;
    let found = routes
        .iter()
        .position(|route| same_path(&route) && route.method == request.method);
    if let Some(number) = found {
        let (bytes, limit) = (request.body.len() as u64, BODY_BYTES as u64);
        return match bytes > limit {
            true => Err(KnowledgeError::PayloadTooLarge { bytes, limit }),
            false => Ok(number),
        };
    }
    let allowed: Vec<&str> = routes
        .iter()
        .filter(same_path)
        .map(|route| route.method)
        .collect();
    if allowed.is_empty() {
        return Err(KnowledgeError::UnknownRoute {
            path: request.path.clone(),
            hint: String::new(),
        });
    }
    Err(KnowledgeError::MethodNotAllowed {
        method: request.method.clone(),
        path: request.path.clone(),
        allowed: allowed.join(", "),
    })
}

/// What fills a brace of the route; empty where the gateway gave nothing.
pub fn parameter<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    request.parameters.get(name).map_or("", String::as_str)
}

/// The caller that the gateway vouches for. Without one only documents for everyone can be read.
pub fn caller(request: &HttpRequest) -> Caller {
    let groups: Vec<&str> = request.groups.iter().map(String::as_str).collect();
    match &request.user {
        Some(user) => Caller {
            of_account: request.of_account,
            ..Caller::user(user, &groups)
        },
        None => Caller::anybody(),
    }
}

/// Refuses a body that is not JSON by its content type.
///
/// # Errors
/// [`KnowledgeError::UnsupportedMediaType`].
pub fn require_json(request: &HttpRequest) -> Result<(), KnowledgeError> {
    let content_type = request
        .headers
        .get("content-type")
        .map(String::as_str)
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let content_type = content_type.to_owned();
    Err(KnowledgeError::UnsupportedMediaType {
        content_type,
        expected: "application/json",
    })
}

/// A whole number from the query string, within bounds.
///
/// # Errors
/// [`KnowledgeError::InvalidRequest`].
pub fn limit(request: &HttpRequest, default: usize, most: usize) -> Result<usize, KnowledgeError> {
    let Some(text) = request.query.get("limit") else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| {
            let detail = format!("limit is {text:?}; give a whole number from 1 to {most}");
            KnowledgeError::InvalidRequest { detail }
        })
}

/// A reply of JSON.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Reply {
    text(
        status,
        "application/json",
        serde_json::to_string(body).unwrap_or_default(),
    )
}

/// A reply of text.
pub fn text(status: StatusCode, content_type: &str, body: String) -> Reply {
    Reply::Buffered {
        head: head(status, content_type),
        body,
    }
}

/// A problem reply.
pub fn problem(error: &KnowledgeError) -> Reply {
    let body: Value = error.to_problem();
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = text(status, "application/problem+json", body.to_string());
    if let Reply::Buffered { head, .. } = &mut reply {
        match error {
            KnowledgeError::MethodNotAllowed { allowed, .. } => {
                head.headers.push(("allow", allowed.clone()));
            }
            KnowledgeError::RateLimited { seconds, .. }
            | KnowledgeError::BudgetSpent { seconds, .. } => {
                head.headers.push(("retry-after", seconds.to_string()));
            }
            error if error.retry() => head.headers.push(("retry-after", "2".into())),
            _ => {}
        }
    }
    reply
}

/// Status and headers that every reply carries.
pub fn head(status: StatusCode, content_type: &str) -> Head {
    Head {
        status,
        headers: vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route] = &[
        Route {
            method: "GET",
            path: "/v1/documents",
        },
        Route {
            method: "GET",
            path: "/v1/documents/{document_id}",
        },
        Route {
            method: "DELETE",
            path: "/v1/documents/{document_id}",
        },
    ];

    #[test]
    fn routes_are_found() {
        let check = |method: &str, resource: &str, expected: Result<usize, &str>| {
            let (method, resource) = (method.to_owned(), resource.to_owned());
            let request = HttpRequest {
                method,
                resource,
                ..HttpRequest::default()
            };
            let found = find(ROUTES, &request).map_err(|error| error.name());
            assert_eq!(found, expected, "{request:?}");
        };
        check("GET", "/v1/documents", Ok(0));
        check("GET", "/v1/documents/{document_id}", Ok(1));
        check("DELETE", "/v1/documents/{document_id}", Ok(2));
        check("POST", "/v1/documents", Err("MethodNotAllowed"));
        check("GET", "/v2", Err("UnknownRoute"));
    }

    #[test]
    fn a_body_has_a_bound_on_every_route() {
        let check = |bytes: usize, expected: Result<usize, &str>| {
            let request = HttpRequest {
                method: "GET".to_owned(),
                resource: "/v1/documents".to_owned(),
                body: vec![b'x'; bytes].into(),
                ..HttpRequest::default()
            };
            let found = find(ROUTES, &request).map_err(|error| error.name());
            assert_eq!(found, expected, "{bytes}");
        };
        check(BODY_BYTES, Ok(0));
        check(BODY_BYTES + 1, Err("PayloadTooLarge"));
    }

    #[test]
    fn a_limit_says_when_it_ends() {
        let error = KnowledgeError::RateLimited {
            scope: "caller",
            limit: 5,
            seconds: 42,
        };
        let Reply::Buffered { head, .. } = problem(&error) else {
            panic!("a problem is buffered")
        };
        assert_eq!(head.status, 429);
        assert!(head.headers.contains(&("retry-after", "42".to_owned())));
    }
}

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

impl Route {
    /// The segments that fill the braces, in order; `None` when the path is another.
    fn matches<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let mut filled = Vec::new();
        let (mut wanted, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(filled),
                (Some(want), Some(give)) if want.starts_with('{') && !give.is_empty() => filled.push(give),
                (Some(want), Some(give)) if want == give => {}
                _ => return None,
            }
        }
    }
}

/// Finds the route of a request: its number in `routes` and the segments that fill its braces.
///
/// # Errors
/// [`KnowledgeError::UnknownRoute`] or [`KnowledgeError::MethodNotAllowed`].
pub fn find<'a>(
    routes: &[Route],
    request: &'a HttpRequest,
) -> Result<(usize, Vec<&'a str>), KnowledgeError> {
    let mut allowed = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        if let Some(filled) = route.matches(&request.path) {
            if route.method == request.method {
                return Ok((number, filled));
            }
            allowed.push(route.method);
        }
    }
    if allowed.is_empty() {
        return Err(KnowledgeError::UnknownRoute { path: request.path.clone(), hint: String::new() });
    }
    Err(KnowledgeError::MethodNotAllowed {
        method: request.method.clone(),
        path: request.path.clone(),
        allowed: allowed.join(", "),
    })
}

/// The caller that the gateway vouches for. Without one only documents for everyone can be read.
pub fn caller(request: &HttpRequest) -> Caller {
    let groups: Vec<&str> = request.groups.iter().map(String::as_str).collect();
    match &request.user {
        Some(user) => Caller::user(user, &groups),
        None => Caller { principals: vec![crate::access::EVERYONE.to_owned()] },
    }
}

/// Refuses a body that is not JSON by its content type.
///
/// # Errors
/// [`KnowledgeError::UnsupportedMediaType`].
pub fn require_json(request: &HttpRequest) -> Result<(), KnowledgeError> {
    let content_type = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let content_type = content_type.to_owned();
    Err(KnowledgeError::UnsupportedMediaType { content_type, expected: "application/json" })
}

/// A whole number from the query string, within bounds.
///
/// # Errors
/// [`KnowledgeError::InvalidRequest`].
pub fn limit(request: &HttpRequest, default: usize, most: usize) -> Result<usize, KnowledgeError> {
    let Some(text) = request.query.get("limit") else { return Ok(default) };
    text.parse().ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| {
        let detail = format!("limit is {text:?}; give a whole number from 1 to {most}");
        KnowledgeError::InvalidRequest { detail }
    })
}

/// A reply of JSON.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Reply {
    text(status, "application/json", serde_json::to_string(body).unwrap_or_default())
}

/// A reply of text.
pub fn text(status: StatusCode, content_type: &str, body: String) -> Reply {
    Reply::Buffered { head: head(status, content_type), body }
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
        Route { method: "GET", path: "/v1/documents" },
        Route { method: "GET", path: "/v1/documents/{document_id}" },
        Route { method: "DELETE", path: "/v1/documents/{document_id}" },
        Route { method: "GET", path: "/v1/documents/{document_id}/text" },
    ];

    #[test]
    fn routes_are_found() {
        let check = |method: &str, path: &str, expected: Result<(usize, &[&str]), &str>| {
            let request =
                HttpRequest { method: method.into(), path: path.into(), ..HttpRequest::default() };
            match (find(ROUTES, &request), expected) {
                (Ok((number, filled)), Ok(expected)) => {
                    assert_eq!((number, filled.as_slice()), expected);
                }
                (Err(error), Err(name)) => assert_eq!(error.name(), name),
                (found, expected) => panic!("{method} {path}: {found:?}, expected {expected:?}"),
            }
        };
        check("GET", "/v1/documents", Ok((0, &[])));
        check("GET", "/v1/documents/a.b", Ok((1, &["a.b"])));
        check("DELETE", "/v1/documents/a.b", Ok((2, &["a.b"])));
        check("GET", "/v1/documents/a.b/text", Ok((3, &["a.b"])));
        check("POST", "/v1/documents/a.b", Err("MethodNotAllowed"));
        check("GET", "/v1/documents/", Err("UnknownRoute"));
        check("GET", "/v1/documents/a/b", Err("UnknownRoute"));
        check("GET", "/v2", Err("UnknownRoute"));
    }
}

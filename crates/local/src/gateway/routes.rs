//! The route table of an OpenAPI description.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{GatewayError, problem};

/// One operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub method: String,
    pub path: String,
    /// The function's name.
    pub function: String,
    /// Whether the integration streams the function's reply.
    pub streams: bool,
}

/// The operations of a description.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

/// A route with the path parameters that fill it, decoded.
#[derive(Debug)]
pub(super) struct Matched<'a> {
    pub route: &'a Route,
    pub parameters: Vec<(String, String)>,
}

/// Why there is no route.
#[derive(Debug)]
pub(super) enum Refusal {
    Unknown { near: Option<String> },
    Method { allowed: String },
}

impl Refusal {
    pub(super) fn into_reply(self, method: &str, path: &str) -> Response<Body> {
        match self {
            Self::Unknown { near } => {
                let hint = near
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                let words = format!("there is nothing at {path}{hint}");
                problem(StatusCode::NOT_FOUND, "UnknownRoute", &words, false)
            }
            Self::Method { allowed } => {
                let words = format!("{method} is not served at {path}; use {allowed}");
                let mut reply = problem(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "MethodNotAllowed",
                    &words,
                    false,
                );
                if let Ok(value) = HeaderValue::from_str(&allowed) {
                    reply.headers_mut().insert("allow", value);
                }
                reply
            }
        }
    }
}

impl Routes {
    pub(super) fn read(
        openapi: &str,
        functions: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, GatewayError> {
        let root: Value =
            serde_saphyr::from_str(openapi).map_err(|error| GatewayError(error.to_string()))?;
        let paths = root["paths"]
            .as_object()
            .ok_or_else(|| GatewayError("it has no paths".into()))?;
        let mut routes = Vec::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().into_iter().flatten() {
                if !matches!(method.as_str(), "get" | "post" | "put" | "patch" | "delete") {
                    continue;
                }
                let place = || format!("{} {path}", method.to_uppercase());
                let integration = &operation["x-amazon-apigateway-integration"];
                let uri = &integration["uri"];
                let uri = uri["Fn::Sub"].as_str().or(uri.as_str()).unwrap_or_default();
                let id = uri
                    .split_once("${")
                    .filter(|_| uri.contains(".Arn}"))
                    .and_then(|_| {
                        uri.split("${")
                            .find_map(|part| part.split_once(".Arn}").map(|(id, _)| id))
                    });
                let function = id.and_then(functions).ok_or_else(|| {
                    GatewayError(format!(
                        "{} has no integration with a function of the template",
                        place()
                    ))
                })?;
                let streams = integration["responseTransferMode"] == "STREAM";
                if streams != uri.contains("/response-streaming-invocations") {
                    let words = "its responseTransferMode and its integration's path disagree";
                    return Err(GatewayError(format!("{}: {words}", place())));
                }
                routes.push(Route {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    function,
                    streams,
                });
            }
        }
        Ok(Self(routes))
    }

    pub(super) fn find(&self, method: &str, path: &str) -> Result<Matched<'_>, Refusal> {
        let mut allowed = Vec::new();
        for route in &self.0 {
            if let Some(parameters) = fill(&route.path, path) {
                if route.method == method {
                    return Ok(Matched { route, parameters });
                }
                allowed.push(route.method.clone());
            }
        }
        if allowed.is_empty() {
            return Err(Refusal::Unknown {
                near: self.near(path),
            });
        }
        allowed.sort();
        Err(Refusal::Method {
            allowed: allowed.join(", "),
        })
    }

    /// The path that differs least, if it differs little.
    fn near(&self, path: &str) -> Option<String> {
        let scored = self
            .0
            .iter()
            .map(|route| (distance(&route.path, path), &route.path));
        let (least, nearest) = scored.min_by_key(|(distance, path)| (*distance, path.len()))?;
        (least <= 3).then(|| nearest.clone())
    }
}

/// The parameters that make `pattern` into `path`.
fn fill(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(want), Some(give)) if want.starts_with('{') && !give.is_empty() => {
                let name = want.trim_matches(['{', '}']).to_owned();
                parameters.push((
                    name,
                    percent_decode_str(give).decode_utf8_lossy().into_owned(),
                ));
            }
            (Some(want), Some(give)) if want == give => {}
            _ => return None,
        }
    }
}

/// Levenshtein's distance, in bytes; paths are short.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, byte) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (at, other) in right.bytes().enumerate() {
            let change = diagonal + usize::from(byte != other);
            diagonal = row[at + 1];
            row[at + 1] = change.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAPI: &str = "
paths:
  /v1/ask:
    post:
      x-amazon-apigateway-integration:
        uri: { Fn::Sub: 'arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2021-11-15/functions/${Query.Arn}/response-streaming-invocations' }
        responseTransferMode: STREAM
  /v1/documents/{id}:
    get:
      x-amazon-apigateway-integration:
        uri: { Fn::Sub: 'arn:aws:apigateway:x:lambda:path/2015-03-31/functions/${Query.Arn}/invocations' }
    delete:
      x-amazon-apigateway-integration:
        uri: { Fn::Sub: 'arn:aws:apigateway:x:lambda:path/2015-03-31/functions/${Ingest.Arn}/invocations' }
";

    fn functions(id: &str) -> Option<String> {
        matches!(id, "Query" | "Ingest").then(|| id.to_lowercase())
    }

    #[test]
    fn routes_are_found() {
        let routes = Routes::read(OPENAPI, &functions).unwrap();
        let check = |method: &str, path: &str, expected: Result<(&str, bool, &[&str]), &str>| match (
            routes.find(method, path),
            expected,
        ) {
            (Ok(found), Ok((function, streams, values))) => {
                assert_eq!(
                    (found.route.function.as_str(), found.route.streams),
                    (function, streams)
                );
                let given: Vec<&str> = found
                    .parameters
                    .iter()
                    .map(|(_, value)| value.as_str())
                    .collect();
                assert_eq!(given, values);
            }
            (Err(refusal), Err(part)) => {
                let words = format!("{refusal:?}");
                assert!(words.contains(part), "{words}");
            }
            (found, _) => panic!("{method} {path}: {found:?}"),
        };
        check("POST", "/v1/ask", Ok(("query", true, &[])));
        check("GET", "/v1/documents/a%20b", Ok(("query", false, &["a b"])));
        check("DELETE", "/v1/documents/a", Ok(("ingest", false, &["a"])));
        check("PUT", "/v1/documents/a", Err("DELETE, GET"));
        check("POST", "/v1/aks", Err("/v1/ask"));
        check("POST", "/elsewhere/entirely", Err("None"));
    }

    #[test]
    fn a_description_that_cannot_be_served_is_refused() {
        let check = |text: String, part: &str| {
            let error = Routes::read(&text, &functions).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        check("[".into(), "");
        check("a: 1".into(), "no paths");
        check(
            OPENAPI.replace("${Query.Arn}", "${Other.Arn}"),
            "no integration",
        );
        check(
            OPENAPI.replace("        responseTransferMode: STREAM\n", ""),
            "disagree",
        );
    }
}

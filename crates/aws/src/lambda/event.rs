//! API Gateway's REST proxy event (payload version 1.0) as an HTTP request, with the caller that the gateway vouches for.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Event;

/// A request as a handler sees it.
#[derive(Debug, Clone, Default)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path without the stage, as it came: for messages.
    pub path: String,
    /// The route that the gateway matched, as the API's description has it: `/v1/documents/{document_id}`.
    pub resource: String,
    /// What fills the braces of `resource`, decoded by the gateway.
    pub parameters: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    /// Names in lowercase.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    /// The user that the authorizer vouches for; `None` when there is none.
    pub user: Option<String>,
    /// The user's groups, from the same source.
    pub groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyEvent {
    http_method: String,
    path: String,
    resource: String,
    #[serde(default)]
    path_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    headers: Option<HashMap<String, String>>,
    #[serde(default)]
    query_string_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    #[serde(default)]
    request_context: RequestContext,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    #[serde(default)]
    authorizer: Option<Map<String, Value>>,
    #[serde(default)]
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    #[serde(default)]
    user_arn: Option<String>,
}

/// A proxy event becomes a request; whatever is none is a step's payload.
pub(super) fn parse(payload: Value) -> Event {
    let is_proxy = payload.get("httpMethod").is_some() && payload.get("requestContext").is_some();
    if !is_proxy {
        return Event::Step(payload);
    }
    match serde_json::from_value::<ProxyEvent>(payload.clone()) {
        Ok(event) => Event::Http(event.into()),
        Err(_) => Event::Step(payload),
    }
}

impl From<ProxyEvent> for HttpRequest {
    fn from(event: ProxyEvent) -> Self {
        let body = event.body.unwrap_or_default();
        let body = if event.is_base64_encoded {
            Bytes::from(STANDARD.decode(body).unwrap_or_default())
        } else {
            Bytes::from(body)
        };
        let (user, groups) = caller(event.request_context);
        Self {
            method: event.http_method,
            path: event.path,
            resource: event.resource,
            parameters: event
                .path_parameters
                .unwrap_or_default()
                .into_iter()
                .collect(),
            query: event
                .query_string_parameters
                .unwrap_or_default()
                .into_iter()
                .collect(),
            headers: event
                .headers
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            body,
            user,
            groups,
        }
    }
}

/// A JWT's subject and groups, else the IAM caller's ARN.
fn caller(context: RequestContext) -> (Option<String>, Vec<String>) {
    let claims = context
        .authorizer
        .as_ref()
        .and_then(|authorizer| authorizer.get("claims"));
    let claim = |name: &str| claims.and_then(|claims| claims.get(name));
    if let Some(subject) = claim("sub").and_then(Value::as_str) {
        return (Some(subject.to_owned()), groups(claim("cognito:groups")));
    }
    (
        context.identity.and_then(|identity| identity.user_arn),
        Vec::new(),
    )
}

/// REST APIs hand a list claim over as text, `[a b]` or `a,b`.
fn groups(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::String(text)) => text
            .trim_matches(['[', ']'])
            .split([',', ' '])
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(event: Value) -> HttpRequest {
        match parse(event) {
            Event::Http(request) => request,
            Event::Step(payload) => panic!("taken for a step: {payload}"),
        }
    }

    #[test]
    fn the_caller_is_the_one_the_gateway_vouches_for() {
        let check = |context: Value, user: Option<&str>, groups: &[&str]| {
            let event = json!({
                "httpMethod": "POST", "path": "/v1/ask", "resource": "/v1/ask", "requestContext": context,
                "headers": {"X-User": "forged", "Authorization": "forged"},
                "body": "{\"user\": \"forged\"}"
            });
            let request = request(event);
            assert_eq!(request.user.as_deref(), user);
            assert_eq!(request.groups, groups);
        };
        check(json!({}), None, &[]);
        check(
            json!({"authorizer": {"claims": {"sub": "ada"}}}),
            Some("ada"),
            &[],
        );
        let claims = json!({"sub": "ada", "cognito:groups": "[staff admins]"});
        check(
            json!({"authorizer": {"claims": claims}}),
            Some("ada"),
            &["staff", "admins"],
        );
        let claims = json!({"sub": "ada", "cognito:groups": ["staff"]});
        check(
            json!({"authorizer": {"claims": claims}}),
            Some("ada"),
            &["staff"],
        );
        let identity = json!({"userArn": "arn:aws:iam::000000000000:user/ada"});
        check(
            json!({"identity": identity}),
            Some("arn:aws:iam::000000000000:user/ada"),
            &[],
        );
    }

    #[test]
    fn bodies_are_decoded_and_header_names_lowered() {
        let request = request(json!({
            "httpMethod": "POST", "path": "/v1/documents", "resource": "/v1/documents", "requestContext": {},
            "headers": {"Content-Type": "text/plain"}, "queryStringParameters": {"limit": "5"},
            "body": "aGk=", "isBase64Encoded": true
        }));
        assert_eq!(request.headers["content-type"], "text/plain");
        assert_eq!(request.query["limit"], "5");
        assert_eq!(request.body, "hi".as_bytes());
    }

    #[test]
    fn a_step_is_not_a_request() {
        let payload = json!({"step": "plan", "run_id": "default.01"});
        assert!(matches!(parse(payload.clone()), Event::Step(value) if value == payload));
    }
}

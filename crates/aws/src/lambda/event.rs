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
    /// Whether the caller signs with IAM as a member of the account that the API belongs to.
    pub of_account: bool,
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
    account_id: Option<String>,
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
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    cognito_identity_id: Option<String>,
    #[serde(default)]
    cognito_authentication_type: Option<String>,
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
        let vouched = caller(event.request_context);
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
            user: vouched.user,
            groups: vouched.groups,
            of_account: vouched.of_account,
        }
    }
}

/// What the gateway vouches for.
#[derive(Default)]
struct Vouched {
    user: Option<String>,
    groups: Vec<String>,
    of_account: bool,
}

/// A JWT's subject and groups, else the IAM caller.
fn caller(context: RequestContext) -> Vouched {
    let claims = context
        .authorizer
        .as_ref()
        .and_then(|authorizer| authorizer.get("claims"));
    let claim = |name: &str| claims.and_then(|claims| claims.get(name));
    if let Some(subject) = claim("sub").and_then(Value::as_str) {
        return token(subject, groups(claim("cognito:groups")));
    }
    let account = context.account_id;
    context
        .identity
        .map(|identity| iam(identity, account.as_deref()))
        .unwrap_or_default()
}

/// ARNs name callers of IAM; a token that calls its user or a group so vouches for nobody of that name.
fn token(subject: &str, mut groups: Vec<String>) -> Vouched {
    let is_arn = |name: &str| name.starts_with("arn:");
    if subject.is_empty() || is_arn(subject) {
        return Vouched::default();
    }
    groups.retain(|group| !is_arn(group));
    Vouched {
        user: Some(subject.to_owned()),
        groups,
        of_account: false,
    }
}

/// A user by the ARN; a role's session also as a member of its role. All users of a Cognito identity pool share the
/// ARN of the pool's role, so they are told apart by their identity, and its guests are nobody.
fn iam(identity: Identity, account: Option<&str>) -> Vouched {
    if let Some(id) = identity.cognito_identity_id {
        let guest = identity.cognito_authentication_type.as_deref() != Some("authenticated");
        return Vouched {
            user: Some(id).filter(|_| !guest),
            ..Vouched::default()
        };
    }
    let Some(arn) = identity.user_arn.filter(|arn| arn.starts_with("arn:")) else {
        return Vouched::default();
    };
    let role = arn
        .rsplit_once('/')
        .map(|(role, _session)| role)
        .filter(|role| role.contains(":assumed-role/"));
    Vouched {
        groups: role.map(str::to_owned).into_iter().collect(),
        of_account: account.is_some() && identity.account_id.as_deref() == account,
        user: Some(arn),
    }
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
        let role = "arn:aws:sts::000000000000:assumed-role/Support";
        let session = format!("{role}/ada");
        check(
            json!({"identity": {"userArn": session}}),
            Some(&session),
            &[role],
        );
        let forged =
            json!({"sub": "arn:aws:iam::000000000000:user/ada", "cognito:groups": "staff"});
        check(json!({"authorizer": {"claims": forged}}), None, &[]);
        let claims = json!({"sub": "ada", "cognito:groups": [role, "staff"]});
        check(
            json!({"authorizer": {"claims": claims}}),
            Some("ada"),
            &["staff"],
        );
        let pool = |kind: &str| json!({"identity": {"userArn": session, "cognitoIdentityId": "eu-west-1:1", "cognitoAuthenticationType": kind}});
        check(pool("authenticated"), Some("eu-west-1:1"), &[]);
        check(pool("unauthenticated"), None, &[]);
        check(json!({"authorizer": {"claims": {"sub": ""}}}), None, &[]);
        check(json!({"authorizer": {"principalId": "ada"}}), None, &[]);
        check(json!({"identity": {"userArn": "ada"}}), None, &[]);
    }

    #[test]
    fn only_iam_callers_of_the_account_are_of_the_account() {
        let check = |context: Value, expected: bool| {
            let event = json!({
                "httpMethod": "GET", "path": "/", "resource": "/", "requestContext": context,
            });
            assert_eq!(request(event).of_account, expected, "{context}");
        };
        let arn = "arn:aws:iam::000000000000:user/ada";
        let of = |account: &str| json!({"userArn": arn, "accountId": account});
        let own = "000000000000";
        check(json!({"accountId": own, "identity": of(own)}), true);
        check(json!({"accountId": own, "identity": of("1")}), false);
        check(
            json!({"accountId": own, "identity": {"userArn": arn}}),
            false,
        );
        check(json!({"identity": {"userArn": arn}}), false);
        check(json!({"accountId": own}), false);
        let claims = json!({"claims": {"sub": "ada"}});
        let both = json!({"accountId": own, "authorizer": claims, "identity": of(own)});
        check(both, false);
        let mut pool = of(own);
        pool["cognitoIdentityId"] = json!("eu-west-1:1");
        pool["cognitoAuthenticationType"] = json!("authenticated");
        check(json!({"accountId": own, "identity": pool}), false);
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

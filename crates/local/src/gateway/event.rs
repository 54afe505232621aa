//! A request as API Gateway's REST proxy event, payload version 1.0.
//!
//! Source: Amazon API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::routes::Matched;

static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Headers that the gateway sets itself, or keeps to itself: a client's own would be taken for the gateway's word.
const OWN_HEADERS: [&str; 5] = [
    "x-amz",
    "x-forwarded-",
    "x-outcrop-",
    "x-real-ip",
    "forwarded",
];

/// `claims` are what the authorizer vouches for.
pub(super) fn proxy(parts: &Parts, body: &Bytes, matched: &Matched<'_>, claims: &Value) -> Bytes {
    let headers = header_lists(&parts.headers);
    let query = query_lists(parts.uri.query().unwrap_or_default());
    let last = |lists: &BTreeMap<String, Vec<String>>| -> BTreeMap<String, String> {
        lists
            .iter()
            .filter_map(|(name, values)| Some((name.clone(), values.last()?.clone())))
            .collect()
    };
    let path = percent_decode_str(parts.uri.path())
        .decode_utf8_lossy()
        .into_owned();
    let (text, is_base64) = body_text(&parts.headers, body);
    let parameters: BTreeMap<&str, &str> = matched
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let request_id = format!(
        "00000000-0000-4000-8000-{:012x}",
        REQUESTS.fetch_add(1, Ordering::Relaxed)
    );
    let event = json!({
        "resource": matched.route.path,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": last(&headers),
        "multiValueHeaders": headers,
        "queryStringParameters": some(last(&query)),
        "multiValueQueryStringParameters": some(query),
        "pathParameters": some(parameters),
        "stageVariables": null,
        "requestContext": {
            "accountId": crate::template::ACCOUNT,
            "apiId": "laptop",
            "authorizer": { "claims": claims },
            "httpMethod": parts.method.as_str(),
            "identity": { "sourceIp": "127.0.0.1", "userAgent": last(&headers).get("user-agent") },
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "resourcePath": matched.route.path,
            "stage": "live",
        },
        "body": text,
        "isBase64Encoded": is_base64,
    });
    Bytes::from(event.to_string())
}

/// API Gateway sends null where there is nothing.
fn some(map: impl serde::Serialize) -> Value {
    match json!(map) {
        Value::Object(fields) if fields.is_empty() => Value::Null,
        value => value,
    }
}

fn header_lists(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let kept = headers.iter().filter(|(name, _)| {
        let own = OWN_HEADERS.iter().any(|own| name.as_str().starts_with(own));
        !own && *name != AUTHORIZATION
    });
    for (name, value) in kept {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        lists
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value);
    }
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        lists.insert(name.to_owned(), vec![value.to_owned()]);
    }
    lists
}

fn query_lists(query: &str) -> BTreeMap<String, Vec<String>> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        lists.entry(decode(name)).or_default().push(decode(value));
    }
    lists
}

/// The body as text; in base64 when it is a binary media type of the API, or no text.
fn body_text(headers: &HeaderMap, body: &Bytes) -> (Value, bool) {
    if body.is_empty() {
        return (Value::Null, false);
    }
    let content_type = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match std::str::from_utf8(body) {
        Ok(text) if !content_type.starts_with("multipart/form-data") => (json!(text), false),
        _ => (json!(STANDARD.encode(body)), true),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::super::routes::Route;
    use super::*;

    #[test]
    fn a_client_cannot_speak_for_the_gateway() {
        let request = Request::builder()
            .uri("/v1/search")
            .header("authorization", "Bearer secret")
            .header("X-Amzn-Oidc-Identity", "admin")
            .header("x-amz-security-token", "t")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-proto", "https")
            .header("x-outcrop-user", "admin")
            .header("forwarded", "for=10.0.0.1")
            .header("x-request-id", "7");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let route = Route {
            method: "POST".into(),
            path: "/v1/search".into(),
            function: "f".into(),
            streams: false,
        };
        let matched = Matched {
            route: &route,
            parameters: Vec::new(),
        };
        let body = br#"{"requestContext": {"authorizer": {"claims": {"sub": "admin"}}}}"#;
        let claims = json!({"sub": "ada"});
        let event = proxy(&parts, &Bytes::from_static(body), &matched, &claims);
        let event: Value = serde_json::from_slice(&event).unwrap();
        let headers = json!({"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-request-id": "7"});
        assert_eq!(event["headers"], headers);
        assert_eq!(
            event["requestContext"]["authorizer"],
            json!({"claims": claims})
        );
    }
}

//! A request as API Gateway's REST proxy event, payload version 1.0.
//!
//! Source: Amazon API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::routes::Matched;

static REQUESTS: AtomicU64 = AtomicU64::new(1);

pub(super) fn proxy(parts: &Parts, body: &Bytes, matched: &Matched<'_>) -> Bytes {
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
            "authorizer": { "claims": { "sub": "local" } },
            "httpMethod": parts.method.as_str(),
            "identity": { "sourceIp": "127.0.0.1", "userAgent": last(&header_lists(&parts.headers)).get("user-agent") },
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
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        lists
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value);
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

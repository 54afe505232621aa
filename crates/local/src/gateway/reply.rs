//! A function's reply as an HTTP reply: whole, or a prelude, eight zero bytes, and pieces as they come.

use axum::body::Body;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;

use super::{function_failed, problem};
use crate::lambda::Pieces;

/// Between the prelude and the body. Source: AWS Lambda Developer Guide, response streaming.
const DELIMITER: [u8; 8] = [0; 8];
/// A prelude is headers; more is none.
const PRELUDE_BYTES: usize = 64 << 10;

/// `{statusCode, headers, multiValueHeaders, body, isBase64Encoded}`.
pub(super) fn buffered(bytes: &Bytes) -> Response<Body> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return malformed();
    };
    let text = value["body"].as_str().unwrap_or_default();
    let body = match value["isBase64Encoded"].as_bool() {
        Some(true) => match STANDARD.decode(text) {
            Ok(bytes) => Body::from(bytes),
            Err(_) => return malformed(),
        },
        _ => Body::from(text.to_owned()),
    };
    with_head(&value, body).unwrap_or_else(malformed)
}

/// Reads the prelude, then passes pieces on. Dropping the body drops the receiver, and the function notices; a stream that
/// breaks off breaks the connection, so that no client takes it for whole.
pub(super) async fn streamed(mut pieces: Pieces) -> Response<Body> {
    let mut head = BytesMut::new();
    let end = loop {
        if let Some(end) = head
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER)
        {
            break end;
        }
        match pieces.recv().await {
            Some(Ok(piece)) if head.len() < PRELUDE_BYTES => head.extend_from_slice(&piece),
            Some(Err(cut)) => return function_failed(&cut.to_string()),
            _ => return malformed(),
        }
    };
    let Ok(prelude) = serde_json::from_slice::<Value>(&head[..end]) else {
        return malformed();
    };
    let rest = head.split_off(end + DELIMITER.len()).freeze();
    let first = futures_util::stream::iter((!rest.is_empty()).then_some(Ok(rest)));
    let pieces = ReceiverStream::new(pieces)
        .inspect_err(|cut| tracing::error!(%cut, "a function broke its stream off"));
    with_head(&prelude, Body::from_stream(first.chain(pieces))).unwrap_or_else(malformed)
}

/// Status and headers of a reply. A name in `multiValueHeaders` outweighs the same in `headers`; `cookies` are set.
fn with_head(value: &Value, body: Body) -> Option<Response<Body>> {
    let status = value["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status?).ok()?;
    for field in ["headers", "multiValueHeaders"] {
        for (name, values) in value[field].as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            reply.headers_mut().remove(&name);
            append(&mut reply, &name, values)?;
        }
    }
    append(&mut reply, &SET_COOKIE, &value["cookies"])?;
    Some(reply)
}

/// Adds one value, or each of a list.
fn append(reply: &mut Response<Body>, name: &HeaderName, values: &Value) -> Option<()> {
    let one = std::slice::from_ref(values);
    let list = match values {
        Value::Null => &[],
        Value::Array(items) => items.as_slice(),
        _ => one,
    };
    for value in list {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let value = HeaderValue::from_str(&text).ok()?;
        reply.headers_mut().append(name.clone(), value);
    }
    Some(())
}

fn malformed() -> Response<Body> {
    let words = "the function's reply is not one that the gateway can pass on";
    problem(StatusCode::BAD_GATEWAY, "MalformedProxyReply", words, false)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::lambda::StreamCut;

    async fn check(pieces: &[&str], status: u16, body: &str) {
        let (sender, receiver) = mpsc::channel(16);
        for piece in pieces {
            let piece = Ok(Bytes::from((*piece).to_owned()));
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        let reply = streamed(receiver).await;
        assert_eq!(reply.status().as_u16(), status);
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        if status == 200 {
            assert_eq!(bytes, body.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_prelude_is_read_over_any_split() {
        let prelude = r#"{"statusCode":200,"headers":{"content-type":"text/plain"}}"#;
        let nul = "\0\0\0\0\0\0\0\0";
        check(&[prelude, nul, "a", "b"], 200, "ab").await;
        check(&[&format!("{prelude}{nul}ab")], 200, "ab").await;
        check(
            &[&prelude[..5], &prelude[5..], "\0\0\0", "\0\0\0\0\0a", "b"],
            200,
            "ab",
        )
        .await;
        check(&[prelude, nul], 200, "").await;
        check(&[prelude], 502, "").await;
        check(&["not json", nul], 502, "").await;
        check(&[], 502, "").await;
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_not_taken_for_whole() {
        let check = async |before: &str, status: u16| {
            let (sender, receiver) = mpsc::channel(2);
            let cut = StreamCut {
                name: "Runtime.ExitError".into(),
                detail: "it ended".into(),
            };
            let piece = Ok(Bytes::from(before.to_owned()));
            sender.send(piece).await.unwrap();
            sender.send(Err(cut)).await.unwrap();
            let reply = streamed(receiver).await;
            assert_eq!(reply.status().as_u16(), status);
            (status == 200).then_some(reply)
        };
        let reply = check("{\"statusCode\":200}\0\0\0\0\0\0\0\0half", 200).await;
        let error = reply.unwrap().into_body().collect().await.unwrap_err();
        assert!(error.to_string().contains("Runtime.ExitError"), "{error}");
        check("{\"statusCode\":200}", 502).await;
    }

    #[test]
    fn a_head_is_merged() {
        let check = |head: Value, expected: &[(&str, &str)]| {
            let reply = with_head(&head, Body::empty()).unwrap();
            let mut given: Vec<_> = reply
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            given.sort_unstable();
            assert_eq!(given, expected, "{head}");
        };
        check(json!({ "statusCode": 204 }), &[]);
        check(
            json!({
                "statusCode": 200,
                "headers": { "Content-Type": "text/plain", "x-one": 1 },
                "multiValueHeaders": { "content-type": ["text/html"], "via": ["a", "b"] },
                "cookies": ["a=1", "b=2"],
            }),
            &[
                ("content-type", "text/html"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("via", "a"),
                ("via", "b"),
                ("x-one", "1"),
            ],
        );
        let refused = [
            json!({}),
            json!({ "statusCode": 99 }),
            json!({ "statusCode": 200, "headers": { "a b": "c" } }),
        ];
        for head in refused {
            assert!(with_head(&head, Body::empty()).is_none(), "{head}");
        }
    }
}

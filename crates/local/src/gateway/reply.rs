//! A function's reply as an HTTP reply: whole, or a prelude, eight zero bytes, and pieces as they come.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::problem;

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

/// Reads the prelude, then passes pieces on. Dropping the body drops the receiver, and the function notices.
pub(super) async fn streamed(mut pieces: mpsc::Receiver<Bytes>) -> Response<Body> {
    let mut head = BytesMut::new();
    let end = loop {
        if let Some(end) = head
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER)
        {
            break end;
        }
        match pieces.recv().await {
            Some(piece) if head.len() < PRELUDE_BYTES => head.extend_from_slice(&piece),
            _ => return malformed(),
        }
    };
    let Ok(prelude) = serde_json::from_slice::<Value>(&head[..end]) else {
        return malformed();
    };
    let rest = head.split_off(end + DELIMITER.len()).freeze();
    let first = futures_util::stream::iter((!rest.is_empty()).then_some(rest));
    let body = first
        .chain(ReceiverStream::new(pieces))
        .map(Ok::<_, std::convert::Infallible>);
    with_head(&prelude, Body::from_stream(body)).unwrap_or_else(malformed)
}

fn with_head(value: &Value, body: Body) -> Option<Response<Body>> {
    let status = value["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status?).ok()?;
    let single = value["headers"].as_object().into_iter().flatten();
    let many = value["multiValueHeaders"].as_object().into_iter().flatten();
    for (name, values) in single.chain(many) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let list = match values {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        for value in list {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            reply
                .headers_mut()
                .append(name.clone(), HeaderValue::from_str(&text).ok()?);
        }
    }
    Some(reply)
}

fn malformed() -> Response<Body> {
    let words = "the function's reply is not one that the gateway can pass on";
    problem(StatusCode::BAD_GATEWAY, "MalformedProxyReply", words, false)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn check(pieces: &[&str], status: u16, body: &str) {
        let (sender, receiver) = mpsc::channel(16);
        for piece in pieces {
            sender.send(Bytes::from((*piece).to_owned())).await.unwrap();
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
}

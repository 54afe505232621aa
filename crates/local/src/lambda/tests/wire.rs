//! The Invoke API as its clients see it.

use aws_smithy_eventstream::frame::read_message_from;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::lambda::router;

async fn post(host: &Host, path: &str, kind: Option<&str>, payload: Value) -> Response<Body> {
    let mut request = Request::post(path);
    if let Some(kind) = kind {
        request = request.header("x-amz-invocation-type", kind);
    }
    let request = request.body(Body::from(payload.to_string())).unwrap();
    router(host.clone()).oneshot(request).await.unwrap()
}

async fn body(reply: Response<Body>) -> Bytes {
    reply.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn invocations_answer_as_lambda_does() {
    let host = host(2, MINUTE);
    let check = async |name: &str, kind: Option<&str>, payload: Value, status: u16, part: &str| {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let reply = post(&host, &path, kind, payload).await;
        assert_eq!(reply.status().as_u16(), status, "{name} {kind:?}");
        let failed = reply.headers().contains_key("x-amz-function-error");
        assert_eq!(failed, part.contains("errorType"), "{name} {kind:?}");
        let text = String::from_utf8(body(reply).await.to_vec()).unwrap();
        assert!(text.contains(part), "{text}");
    };
    let echo = json!({ "do": "echo" });
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:child";
    check("child", None, echo.clone(), 200, "echo").await;
    check(arn, Some("RequestResponse"), echo.clone(), 200, "echo").await;
    let fails = json!({ "do": "fail" });
    check("child", None, fails, 200, "\"errorType\":\"Named\"").await;
    check("child", None, json!({ "do": "stream" }), 200, "39;").await;
    let breaks = json!({ "do": "stream", "crash_at": 3 });
    check(
        "child",
        None,
        breaks,
        200,
        "\"errorType\":\"Runtime.ExitError\"",
    )
    .await;
    check("child", Some("Event"), echo.clone(), 202, "").await;
    check("child", Some("DryRun"), echo.clone(), 204, "").await;
    check("nobody", Some("DryRun"), echo.clone(), 404, "not found").await;
    check("nobody", Some("Event"), echo.clone(), 404, "not found").await;
    check("nobody", None, echo, 404, "not found").await;
}

/// A payload that is not JSON reached the function, which failed with 200 and a function error.
#[tokio::test]
async fn a_payload_that_is_not_json_is_refused() {
    let host = host(1, MINUTE);
    let check = async |path: &str, kind: Option<&str>| {
        let mut request = Request::post(path);
        if let Some(kind) = kind {
            request = request.header("x-amz-invocation-type", kind);
        }
        let request = request.body(Body::from("{not json")).unwrap();
        let reply = router(host.clone()).oneshot(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST, "{path} {kind:?}");
        let name = &reply.headers()["x-amzn-errortype"];
        assert_eq!(name, "InvalidRequestContentException", "{path} {kind:?}");
        assert!(!reply.headers().contains_key("x-amz-function-error"));
    };
    let buffered = "/2015-03-31/functions/child/invocations";
    check(buffered, None).await;
    check(buffered, Some("Event")).await;
    check(
        "/2021-11-15/functions/child/response-streaming-invocations",
        None,
    )
    .await;
}

/// Event types with their payloads.
fn frames(mut bytes: Bytes) -> Vec<(String, String)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let message = read_message_from(&mut bytes).unwrap();
        let kind = message
            .headers()
            .iter()
            .find(|header| header.name().as_str() == ":event-type");
        let kind = kind.unwrap().value().as_string().unwrap();
        let payload = String::from_utf8(message.payload().to_vec()).unwrap();
        frames.push((kind.as_str().to_owned(), payload));
    }
    frames
}

#[tokio::test]
async fn a_response_stream_comes_in_frames() {
    let host = host(1, MINUTE);
    let check = async |payload: Value, pieces: &str, last: Value| {
        let path = "/2021-11-15/functions/child/response-streaming-invocations";
        let reply = post(&host, path, None, payload).await;
        assert_eq!(reply.status(), StatusCode::OK);
        let kind = &reply.headers()["content-type"];
        assert_eq!(kind, "application/vnd.amazon.eventstream");
        let mut frames = frames(body(reply).await);
        let (name, end) = frames.pop().unwrap();
        assert_eq!(name, "InvokeComplete");
        let end: Value = serde_json::from_str(&end).unwrap();
        assert_eq!(end["ErrorCode"], last);
        assert!(frames.iter().all(|(name, _)| name == "PayloadChunk"));
        let text: String = frames.into_iter().map(|(_, text)| text).collect();
        assert!(text.ends_with(pieces), "{text}");
    };
    check(json!({ "do": "stream" }), "38;39;", Value::Null).await;
    check(json!({ "do": "echo" }), "{\"do\":\"echo\"}", Value::Null).await;
    check(json!({ "do": "fail" }), "", json!("Named")).await;
    let breaks = json!({ "do": "stream", "crash_at": 3 });
    check(breaks, "", json!("Runtime.ExitError")).await;
}

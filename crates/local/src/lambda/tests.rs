//! The host with real processes: a shell script cannot speak HTTP, so the children here are the test binary itself,
//! started again for one test that is a runtime client when a variable says so.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{FunctionConfig, Host, Invocation, InvokeError};

mod ends;
mod wire;

/// The child: asks for work and does what the payload says, until the host ends it.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the child learns its host from the variable that Lambda sets"
)]
fn child_of_the_host() {
    let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve(&format!("http://{api}/2018-06-01/runtime")));
}

async fn serve(api: &str) {
    let http = reqwest::Client::new();
    loop {
        let next = http
            .get(format!("{api}/invocation/next"))
            .send()
            .await
            .unwrap();
        let id = next.headers()["lambda-runtime-aws-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let payload: Value = next.json().await.unwrap();
        let reply = |path: &str| http.post(format!("{api}/invocation/{id}/{path}"));
        match payload["do"].as_str() {
            Some("echo") => drop(reply("response").json(&payload).send().await),
            Some("sleep") => {
                tokio::time::sleep(Duration::from_millis(payload["ms"].as_u64().unwrap())).await;
                drop(
                    reply("response")
                        .body(std::process::id().to_string())
                        .send()
                        .await,
                );
            }
            Some("fail") => {
                let error = json!({ "errorType": "Named", "errorMessage": "as asked" });
                drop(reply("error").json(&error).send().await);
            }
            Some("stream") => stream(reply("response"), &payload).await,
            _ => std::process::exit(7),
        }
    }
}

/// Streams numbers; a piece that cannot be sent any more ends it, and a file tells how far it came.
async fn stream(request: reqwest::RequestBuilder, payload: &Value) {
    let (pieces, received) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let record = payload["record"].as_str().unwrap_or("/dev/null").to_owned();
    let crash_at = payload["crash_at"].as_u64();
    let every_ms = payload["every_ms"].as_u64().unwrap_or(25);
    tokio::spawn(async move {
        for number in 0..40 {
            if crash_at == Some(number) {
                std::process::exit(7);
            }
            if pieces
                .send(Ok(Bytes::from(format!("{number};"))))
                .await
                .is_err()
            {
                std::fs::write(record, "stopped").unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(every_ms)).await;
        }
        std::fs::write(record, "whole").unwrap();
    });
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(received));
    let mode = ("lambda-runtime-function-response-mode", "streaming");
    drop(request.header(mode.0, mode.1).body(body).send().await);
}

const CHILD: [&str; 2] = ["--exact", "lambda::tests::child_of_the_host"];

fn endpoint() -> BTreeMap<String, String> {
    let (name, url) = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    [(name.to_owned(), url.to_owned())].into()
}

fn host(limit: usize, timeout: Duration) -> Host {
    host_with(limit, timeout, endpoint(), &CHILD)
}

fn host_with(
    limit: usize,
    timeout: Duration,
    environment: BTreeMap<String, String>,
    arguments: &[&str],
) -> Host {
    Host::new(vec![child(timeout, environment, arguments)], limit)
}

fn child(
    timeout: Duration,
    environment: BTreeMap<String, String>,
    arguments: &[&str],
) -> FunctionConfig {
    FunctionConfig {
        name: "child".to_owned(),
        program: std::env::current_exe().unwrap(),
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        environment,
        timeout,
        memory_mb: 128,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

async fn invoke(host: &Host, payload: Value) -> Invocation {
    host.invoke("child", Bytes::from(payload.to_string()))
        .await
        .unwrap()
}

fn error_type(invocation: Invocation) -> String {
    let Invocation::FunctionError(bytes) = invocation else {
        panic!("{invocation:?}")
    };
    let error: Value = serde_json::from_slice(&bytes).unwrap();
    error["errorType"].as_str().unwrap().to_owned()
}

fn reply(invocation: Invocation) -> Value {
    let Invocation::Reply(bytes) = invocation else {
        panic!("{invocation:?}")
    };
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_function_answers_fails_and_crashes_by_name() {
    let host = host(2, MINUTE);
    let payload = json!({ "do": "echo", "text": "größer" });
    assert_eq!(reply(invoke(&host, payload.clone()).await), payload);
    assert_eq!(
        error_type(invoke(&host, json!({ "do": "fail" })).await),
        "Named"
    );
    assert_eq!(
        error_type(invoke(&host, json!({ "do": "crash" })).await),
        "Runtime.ExitError"
    );
    assert_eq!(
        reply(invoke(&host, payload.clone()).await),
        payload,
        "a fresh process takes over"
    );
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:child:$LATEST";
    assert!(
        host.invoke(arn, Bytes::from(payload.to_string()))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_cannot_be_invoked_is_refused() {
    let host = host(1, MINUTE);
    let missing = host.invoke("nobody", Bytes::new()).await.unwrap_err();
    assert_eq!(missing.name(), "ResourceNotFoundException");
    let large = host
        .invoke("child", Bytes::from(vec![b' '; super::PAYLOAD_BYTES + 1]))
        .await
        .unwrap_err();
    assert!(matches!(large, InvokeError::PayloadTooLarge { .. }));
}

#[tokio::test]
async fn a_function_over_its_time_is_killed() {
    let host = host(1, Duration::from_secs(1));
    assert_eq!(
        error_type(invoke(&host, json!({ "do": "sleep", "ms": 60_000 })).await),
        "Sandbox.Timedout"
    );
    assert_eq!(
        reply(invoke(&host, json!({ "do": "echo" })).await)["do"],
        "echo"
    );
}

#[tokio::test]
async fn calls_run_side_by_side_in_processes_of_their_own() {
    let host = host(4, MINUTE);
    let calls = (0..4).map(|_| invoke(&host, json!({ "do": "sleep", "ms": 1500 })));
    let begun = std::time::Instant::now();
    let mut processes: Vec<String> = futures_util::future::join_all(calls)
        .await
        .into_iter()
        .map(|done| reply(done).to_string())
        .collect();
    processes.sort();
    processes.dedup();
    assert_eq!(processes.len(), 4);
    assert!(
        begun.elapsed() < Duration::from_millis(4 * 1500),
        "they ran one after the other"
    );
}

#[tokio::test]
async fn a_stream_comes_in_pieces_and_a_hang_up_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let host = host(2, MINUTE);
    let Invocation::Stream(mut pieces) =
        invoke(&host, json!({ "do": "stream", "record": whole })).await
    else {
        panic!("no stream")
    };
    let (mut count, mut text) = (0, String::new());
    while let Some(piece) = pieces.recv().await {
        count += 1;
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    assert!(
        count > 10 && text.ends_with("39;"),
        "{count} pieces: {text}"
    );
    let Invocation::Stream(mut pieces) =
        invoke(&host, json!({ "do": "stream", "record": cut })).await
    else {
        panic!("no stream")
    };
    pieces.recv().await.unwrap().unwrap();
    drop(pieces);
    for _ in 0..400 {
        if cut.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(std::fs::read_to_string(cut).unwrap(), "stopped");
    assert_eq!(
        reply(invoke(&host, json!({ "do": "echo" })).await)["do"],
        "echo",
        "the function goes on"
    );
}

#[tokio::test]
async fn a_function_that_cannot_start_says_so() {
    let no_endpoint = host_with(1, MINUTE, BTreeMap::new(), &[]);
    assert_eq!(
        error_type(invoke(&no_endpoint, json!({})).await),
        "Runtime.InvalidEntrypoint"
    );
    let ends_at_once = host_with(1, MINUTE, endpoint(), &["--list"]);
    assert_eq!(
        error_type(invoke(&ends_at_once, json!({})).await),
        "Runtime.ExitError"
    );
}

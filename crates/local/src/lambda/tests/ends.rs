//! How invocations end that do not end well, and what becomes of their processes.

use super::*;
use crate::lambda::StreamCut;

/// The pieces that came whole, and how the stream ended.
async fn drain(invocation: Invocation) -> (usize, Option<StreamCut>) {
    let Invocation::Stream(mut pieces) = invocation else {
        panic!("{invocation:?}")
    };
    let mut whole = 0;
    while let Some(piece) = pieces.recv().await {
        match piece {
            Ok(_) => whole += 1,
            Err(cut) => return (whole, Some(cut)),
        }
    }
    (whole, None)
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error() {
    let check = async |seconds: u64, payload: Value, name: &str| {
        let host = host(1, Duration::from_secs(seconds));
        let (whole, cut) = drain(invoke(&host, payload).await).await;
        assert!(whole > 0);
        assert_eq!(cut.unwrap().name, name);
        let echo = json!({ "do": "echo" });
        assert_eq!(reply(invoke(&host, echo.clone()).await), echo);
    };
    let crashes = json!({ "do": "stream", "crash_at": 4 });
    check(60, crashes, "Runtime.ExitError").await;
    // Forty pieces, one each 100 ms: four seconds of work in one.
    let slow = json!({ "do": "stream", "every_ms": 100 });
    check(1, slow, "Sandbox.Timedout").await;
}

#[tokio::test]
async fn an_invocation_that_nobody_waits_for_is_ended_at_its_time() {
    let host = host(1, Duration::from_secs(2));
    let hangs = invoke(&host, json!({ "do": "sleep", "ms": 60_000 }));
    let given_up = tokio::time::timeout(Duration::from_millis(1500), hangs).await;
    assert!(given_up.is_err(), "it answered");
    // The only instance there may be is free again only when the hanging one was killed.
    let echo = json!({ "do": "echo" });
    assert_eq!(reply(invoke(&host, echo.clone()).await), echo);
}

#[tokio::test]
async fn more_calls_than_instances_are_refused() {
    let host = host(1, MINUTE);
    let long = tokio::spawn({
        let host = host.clone();
        async move { invoke(&host, json!({ "do": "sleep", "ms": 13_000 })).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = host.invoke("child", Bytes::from_static(b"{}")).await;
    assert_eq!(refused.unwrap_err().name(), "TooManyRequestsException");
    assert!(matches!(long.await.unwrap(), Invocation::Reply(_)));
}

#[tokio::test]
async fn an_idle_instance_ends() {
    let functions = vec![child(MINUTE, endpoint(), &CHILD)];
    let host = Host::with_idle_time(functions, 1, Duration::from_millis(300));
    let process = json!({ "do": "sleep", "ms": 0 });
    let first = reply(invoke(&host, process.clone()).await);
    assert_eq!(
        reply(invoke(&host, process.clone()).await),
        first,
        "kept warm"
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
    assert_ne!(reply(invoke(&host, process).await), first);
}

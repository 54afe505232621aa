//! How errors are sorted, and how long a model is waited for: against stubs that are silent or that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Settings;

#[test]
fn codes_are_sorted_by_what_to_do() {
    let check = |code: &str, transport: bool, name: &str, retry: bool| {
        let error = by_code("m", code, "d".into(), transport);
        assert_eq!((error.name(), error.retry()), (name, retry), "{code}");
    };
    check("ThrottlingException", false, "ModelThrottled", true);
    check("ModelTimeoutException", false, "ModelTimedOut", true);
    check(
        "ServiceUnavailableException",
        false,
        "ModelUnavailable",
        true,
    );
    check(
        "ModelStreamErrorException",
        false,
        "ModelStreamBroken",
        true,
    );
    check("", true, "ModelUnavailable", true);
    check("ValidationException", false, "ModelRefused", false);
    check("AccessDeniedException", false, "ModelRefused", false);
}

#[test]
fn what_a_profile_stands_for_is_not_sent() {
    let check = |model: &str, sent: &str| assert_eq!(wire_id(model), sent);
    check("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0");
    check(
        "arn:x:profile/a=us.amazon.nova-lite-v1:0",
        "arn:x:profile/a",
    );
}

/// Takes requests, answers each with `reply` and goes silent; counts them.
async fn stub(reply: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 16 << 10];
                while connection
                    .read(&mut buffer)
                    .await
                    .is_ok_and(|read| read > 0)
                {
                    if buffer.starts_with(b"POST") {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    connection.write_all(reply.as_bytes()).await.unwrap();
                    buffer[0] = 0;
                }
            });
        }
    });
    (address, count)
}

fn bedrock(endpoint: &str, sdk_retries: u32, seconds: [&str; 3]) -> Bedrock {
    let settings = settings(endpoint, "x", seconds).with_sdk_retries(sdk_retries);
    crate::Aws::new(settings).bedrock
}

fn settings(endpoint: &str, embed_model: &str, seconds: [&str; 3]) -> Settings {
    let settings = Settings::from_lookup(|name| {
        let value = match name {
            "AWS_ENDPOINT_URL" => endpoint,
            "OUTCROP_MODEL_READ_TIMEOUT_SECONDS" => seconds[0],
            "OUTCROP_MODEL_IDLE_TIMEOUT_SECONDS" => seconds[1],
            "OUTCROP_MODEL_OPERATION_TIMEOUT_SECONDS" => seconds[2],
            "OUTCROP_EMBED_DIMENSIONS" => "256",
            "OUTCROP_TABLE" | "OUTCROP_BUCKET" | "OUTCROP_STATE_MACHINE_ARN" => "x",
            "OUTCROP_ANSWER_MODEL" => "x",
            "OUTCROP_EMBED_MODEL" => embed_model,
            "OUTCROP_BATCH_ROLE_ARN" => "arn:aws:iam::000000000000:role/batch",
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    });
    settings.unwrap()
}

fn question() -> AnswerRequest {
    AnswerRequest {
        model: "m".into(),
        system: "s".into(),
        search_results: Vec::new(),
        context: String::new(),
        message: "q".into(),
        max_tokens: 1,
        temperature: None,
        cache: None,
        tier: Default::default(),
    }
}

/// Only connecting was bounded: a model that took a request and said nothing held the function until it was killed.
#[tokio::test]
async fn a_model_that_never_replies_has_timed_out() {
    let (endpoint, _) = stub("").await;
    let check = async |seconds: [&str; 3]| {
        let bedrock = bedrock(&endpoint, 0, seconds);
        let texts = ["t".to_owned()];
        let embedded = bedrock.embed(&texts, EmbedPurpose::Query).await;
        assert_eq!(embedded.unwrap_err().name(), "ModelTimedOut", "{seconds:?}");
        let answered = bedrock.answer(&question()).await;
        let error = answered.err().map(|error| error.name());
        assert_eq!(error, Some("ModelTimedOut"), "{seconds:?}");
    };
    check(["1", "600", "600"]).await;
    check(["600", "600", "1"]).await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_has_timed_out() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let (endpoint, _) = stub(head).await;
    let check = async |seconds: [&str; 3]| {
        let bedrock = bedrock(&endpoint, 0, seconds);
        let error = match bedrock.answer(&question()).await {
            Ok(mut stream) => stream.next().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.name(), "ModelTimedOut", "{seconds:?}");
        assert!(error.retry());
    };
    check(["600", "1", "600"]).await;
    check(["600", "600", "1"]).await;
}

/// A step's retries are the state machine's: one more layer would multiply them.
#[tokio::test]
async fn without_sdk_retries_a_throttled_call_is_made_once() {
    let throttled = "HTTP/1.1 429 Too Many Requests\r\nx-amzn-errortype: ThrottlingException\r\n\
                     content-length: 2\r\n\r\n{}";
    let (endpoint, count) = stub(throttled).await;
    let bedrock = bedrock(&endpoint, 0, ["60", "60", "60"]);
    let texts = ["t".to_owned()];
    let error = bedrock.embed(&texts, EmbedPurpose::Document).await;
    assert_eq!(error.unwrap_err().name(), "ModelThrottled");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

fn of_model(embed_model: &str) -> Bedrock {
    let settings = settings("http://127.0.0.1:9", embed_model, ["60", "60", "60"]);
    crate::Aws::new(settings).bedrock
}

#[test]
fn replies_are_read_in_the_shape_of_their_model() {
    let vector = serde_json::json!(vec![0.5; 256]);
    let texts = |count: usize| vec!["t".repeat(8); count];
    let check = |model: &str, reply: serde_json::Value, count: usize, tokens: Option<u64>| {
        let bedrock = of_model(model);
        let found = bedrock
            .read_reply(&reply)
            .and_then(|read| bedrock.embeddings(&texts(count), read));
        match (found, tokens) {
            (Ok(found), Some(tokens)) => {
                assert_eq!(
                    (found.vectors.len(), found.tokens),
                    (count, tokens),
                    "{model}"
                );
            }
            (Err(error), None) => assert_eq!(error.name(), "ModelRefused"),
            (found, tokens) => panic!("{found:?} where {tokens:?} was expected"),
        }
    };
    let titan = "amazon.titan-embed-text-v2:0";
    let reply = serde_json::json!({"embedding": vector, "inputTextTokenCount": 3});
    check(titan, reply, 1, Some(3));
    check(titan, serde_json::json!({"embedding": [0.5]}), 1, None);
    check(titan, serde_json::json!({"message": "no"}), 1, None);
    let plain = serde_json::json!({"embeddings": [vector, vector]});
    check("cohere.embed-multilingual-v3", plain.clone(), 2, Some(4));
    check("cohere.embed-multilingual-v3", plain, 3, None);
    let by_type = serde_json::json!({"embeddings": {"float": [vector]}});
    check("cohere.embed-v4:0", by_type, 1, Some(2));
}

fn jobs(endpoint: &str) -> Jobs {
    let settings = settings(endpoint, "amazon.titan-embed-text-v2:0", ["60", "60", "60"]);
    crate::Aws::new(settings).jobs
}

/// What a look at jobs is told, and that it is asked once: who waits looks again anyway.
#[tokio::test]
async fn what_bedrock_says_of_jobs_is_sorted_by_what_to_do() {
    let check = async |status: &str, code: &str, start: &str, stop: Option<&str>| {
        let reply = format!(
            "HTTP/1.1 {status}\r\nx-amzn-errortype: {code}\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let (endpoint, count) = stub(reply.leak()).await;
        let jobs = jobs(&endpoint);
        let order = JobOrder {
            name: "n",
            token: "t",
            input_key: "in.jsonl",
            output_prefix: "out/",
            hours: 1,
        };
        let error = jobs.start(order).await.unwrap_err();
        assert_eq!(error.name(), start, "{code}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "{code}");
        let stopped = jobs.stop("abcdefghijkl").await;
        assert_eq!(stopped.err().map(|error| error.name()), stop, "{code}");
    };
    let busy = "ServiceBusy";
    check(
        "429 Too Many Requests",
        "ThrottlingException",
        busy,
        Some(busy),
    )
    .await;
    check(
        "400 Bad Request",
        "ServiceQuotaExceededException",
        busy,
        Some(busy),
    )
    .await;
    check(
        "500 Internal Server Error",
        "InternalServerException",
        busy,
        Some(busy),
    )
    .await;
    let refused = "ServiceRefused";
    check(
        "403 Forbidden",
        "AccessDeniedException",
        refused,
        Some(refused),
    )
    .await;
    check(
        "400 Bad Request",
        "ValidationException",
        refused,
        Some(refused),
    )
    .await;
    // A job that has ended cannot be stopped, and need not be.
    check(
        "400 Bad Request",
        "ConflictException",
        "WriteConflict",
        None,
    )
    .await;
}

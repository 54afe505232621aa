//! The functions' own binaries under the Lambda runtime protocol, with the events under `events/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use local::lambda::{FunctionConfig, Host, Invocation};
use local::template;
use serde_json::{Value, json};

use crate::instance::Instance;

/// The folder of the binaries that are deployed, built once.
fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bins"])
            .current_dir(root())
            .status()
            .unwrap();
        assert!(status.success());
        Path::new(env!("CARGO_BIN_EXE_outcrop"))
            .parent()
            .unwrap()
            .to_owned()
    })
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The functions of the template, run by their own binaries against the instance's services.
pub fn host(instance: &Instance) -> Host {
    host_with(instance, &[], 2)
}

/// As [`host`], with other variables and another number of processes for each function.
pub fn host_with(instance: &Instance, variables: &[(&str, &str)], processes: usize) -> Host {
    let parameters = [
        ("EmbedDimensions", "256"),
        ("Admins", "user:local"),
        ("CallerRequestsPerMinute", "0"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let parameters = BTreeMap::from(parameters);
    let file = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    let text = file("template.yaml").unwrap();
    let functions = template::read(&text, &parameters, file).unwrap().functions;
    let configs = functions.into_iter().map(|function| {
        let mut environment = function.environment;
        for (name, value) in [
            ("AWS_ENDPOINT_URL", instance.aws.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "outcrop"),
            ("AWS_SECRET_ACCESS_KEY", "outcrop"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        for (name, value) in variables {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        FunctionConfig {
            name: function.name,
            program: binaries().join(&function.binary),
            arguments: Vec::new(),
            environment,
            timeout: Duration::from_secs(60),
            memory_mb: function.memory_mb,
        }
    });
    Host::new(configs.collect(), processes)
}

async fn invoke(host: &Host, function: &str, event: &str) -> Invocation {
    let path = root().join("events").join(event);
    let payload =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    host.invoke(function, payload.into()).await.unwrap()
}

async fn http(host: &Host, function: &str, event: &str) -> (u64, Value) {
    match invoke(host, function, event).await {
        Invocation::Reply(bytes) => {
            let reply: Value = serde_json::from_slice(&bytes).unwrap();
            let body = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
            (reply["statusCode"].as_u64().unwrap(), body)
        }
        Invocation::Stream(pieces) => {
            let (prelude, body) = streamed(pieces).await;
            (
                prelude["statusCode"].as_u64().unwrap(),
                serde_json::from_str(&body).unwrap(),
            )
        }
        failed => panic!("{event}: {failed:?}"),
    }
}

/// Prelude and body of a streamed reply: JSON, eight zero bytes, the rest.
pub async fn streamed(mut pieces: local::lambda::Pieces) -> (Value, String) {
    let mut whole = Vec::new();
    while let Some(piece) = pieces.recv().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    let cut = whole
        .windows(8)
        .position(|window| window == [0; 8])
        .unwrap();
    let prelude = serde_json::from_slice(&whole[..cut]).unwrap();
    (
        prelude,
        String::from_utf8(whole[cut + 8..].to_vec()).unwrap(),
    )
}

/// An interrupted run began its Map anew and embedded everything a second time.
#[tokio::test]
async fn a_batch_that_is_embedded_is_not_embedded_again() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let (_, run) = instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    let run_id = run["run_id"].as_str().unwrap();
    let plan = folder
        .path()
        .join(format!("s3/outcrop-bucket/runs/{run_id}/plan.jsonl"));
    let item: Value = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
    let fault = json!({"operation": "InvokeModel", "error": "ThrottlingException", "times": 50});
    instance.fault(&fault).await;
    let host = host(&instance);
    let step = async |step: Value| -> Value {
        let payload = step.to_string().into();
        match host.invoke("outcrop-ingest", payload).await.unwrap() {
            Invocation::Reply(bytes) => serde_json::from_slice(&bytes).unwrap(),
            failed => panic!("{failed:?}"),
        }
    };
    let extracted = step(json!({"step": "extract", "run_id": run_id, "items": [item]})).await;
    assert_eq!(extracted["passages"], 1, "{extracted}");
    let batch_id = &extracted["batch_id"];
    let embedded = step(json!({"step": "embed", "run_id": run_id, "batch_id": batch_id})).await;
    assert_eq!(embedded["embedding_tokens"], run["embedding_tokens"]);
}

#[tokio::test]
async fn the_query_binary_answers_its_events() {
    let instance = Instance::start().await;
    instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    let host = host(&instance);
    let check = async |event: &str, status: u64| -> Value {
        let (found, body) = http(&host, "outcrop-query", event).await;
        assert_eq!(found, status, "{event}: {body}");
        body
    };
    let answer = check("query/ask.json", 200).await;
    assert_eq!(
        answer["citations"][0]["quote"],
        "The kept document is about marmots."
    );
    assert_eq!(
        check("query/ask-empty.json", 400).await["name"],
        "EmptyQuestion"
    );
    assert_eq!(
        check("query/search.json", 200).await["results"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        check("query/documents.json", 200).await["documents"][0]["name"],
        "kept.txt"
    );
    assert_eq!(check("query/health.json", 200).await["documents"], 1);

    let Invocation::Stream(pieces) = invoke(&host, "outcrop-query", "query/ask-stream.json").await
    else {
        panic!("the answer was not streamed")
    };
    let (prelude, body) = streamed(pieces).await;
    assert_eq!(prelude["headers"]["content-type"], "text/event-stream");
    assert!(
        body.starts_with("event: sources\n") && body.contains("event: done\n"),
        "{body}"
    );
}

#[tokio::test]
async fn the_ingest_binary_answers_its_events() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let (status, body) = http(&host, "outcrop-ingest", "ingest/upload.json").await;
    assert_eq!(status, 202, "{body}");
    let run = instance.finished(body["run_id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let (status, body) = http(&host, "outcrop-ingest", "ingest/run-missing.json").await;
    assert_eq!((status, body["name"].as_str()), (404, Some("RunNotFound")));
    for (event, name) in [
        ("ingest/step-unknown.json", "InvalidStepInput"),
        ("ingest/step-plan-missing-run.json", "StoredItemMissing"),
    ] {
        let Invocation::FunctionError(bytes) = invoke(&host, "outcrop-ingest", event).await else {
            panic!("{event} did not fail")
        };
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(error["errorType"], name, "{error}");
    }
}

#[tokio::test]
async fn the_guardrail_check_binary_answers_its_events() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let check = async |event: &str, status: u64, field: &str, value: &str| {
        let event = format!("guardrail-check/{event}");
        let (found, body) = http(&host, "outcrop-guardrail-check", &event).await;
        assert_eq!(
            (found, body[field].as_str()),
            (status, Some(value)),
            "{event}: {body}"
        );
    };
    check("mask.json", 200, "text", "Write to {EMAIL} about invoices.").await;
    check("block.json", 200, "verdict", "block").await;
    check("empty.json", 400, "name", "InvalidRequest").await;
    for (event, name) in [
        ("step-screen-missing-batch.json", "StoredItemMissing"),
        ("step-plan.json", "InvalidStepInput"),
    ] {
        let event = format!("guardrail-check/{event}");
        let invoked = invoke(&host, "outcrop-guardrail-check", &event).await;
        let Invocation::FunctionError(bytes) = invoked else {
            panic!("{event} did not fail")
        };
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(error["errorType"], name, "{error}");
    }
}

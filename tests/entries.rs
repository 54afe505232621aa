//! What starts a run: a request, once under its key; a burst of changes in the bucket; the schedule. One run over the
//! whole source is under way at a time, and what comes meanwhile is not lost.

use std::path::Path;

use local::lambda::{Host, Invocation};
use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::{Instance, Reply};
use crate::lambda_binaries::{host, host_with, root};

pub fn drop_file(folder: &Path, name: &str, text: &str) {
    let source = folder.join("s3/outcrop-bucket/sources/default");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join(name), text).unwrap();
    let sidecar = json!({"metadataAttributes": {"readers": ["everyone"]}}).to_string();
    std::fs::write(source.join(format!("{name}.metadata.json")), sidecar).unwrap();
}

/// An event as it stands under `events/`.
fn event(name: &str) -> Value {
    let path = root().join("events/ingest").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn invoke(host: &Host, event: &Value) -> Value {
    let payload = event.to_string().into();
    match host.invoke("outcrop-ingest", payload).await.unwrap() {
        Invocation::Reply(bytes) => serde_json::from_slice(&bytes).unwrap(),
        failed => panic!("{event}: {failed:?}"),
    }
}

/// Delivers an event to the function; answers the messages that the queue is to deliver again.
async fn deliver(host: &Host, name: &str) -> Vec<String> {
    let reply = invoke(host, &event(name)).await;
    let failures = reply["batchItemFailures"].as_array().unwrap().iter();
    failures
        .map(|one| one["itemIdentifier"].as_str().unwrap().to_owned())
        .collect()
}

/// A request to start a run over the whole source, as API Gateway hands it over.
fn run_request(key: Option<&str>) -> Value {
    let mut request = event("upload.json");
    request["path"] = json!("/v1/runs");
    request["resource"] = json!("/v1/runs");
    request["body"] = json!("{}");
    if let Some(key) = key {
        request["headers"]["Idempotency-Key"] = json!(key);
        request["multiValueHeaders"]["Idempotency-Key"] = json!([key]);
    }
    request
}

/// The functions, which find the table and nothing else: no execution starts.
fn cut_off(instance: &Instance) -> Host {
    // Discard, which nothing listens to here.
    let nowhere = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let table = ("AWS_ENDPOINT_URL_DYNAMODB", instance.aws.as_str());
    host_with(instance, &[nowhere, table], 1)
}

/// Ids of the runs, newest first, once all of them have ended.
pub async fn runs(instance: &Instance) -> Vec<String> {
    loop {
        let before = instance.get("/v1/runs").await.body;
        let ids: Vec<String> = before["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect();
        for id in &ids {
            instance.finished(id).await;
        }
        // A run that ends may be followed by another.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let after = instance.get("/v1/runs").await.body;
        if after["runs"].as_array().unwrap().len() == ids.len() {
            return ids;
        }
    }
}

pub async fn found(instance: &Instance, query: &str) -> usize {
    let body = json!({"query": query, "mode": "lexical"});
    let reply = instance.post("/v1/search", &body).await;
    reply.body["results"].as_array().unwrap().len()
}

async fn with_key(instance: &Instance, path: &str, key: &str, body: &Value) -> Reply {
    let request = instance.request(Method::POST, path).json(body);
    instance.send(request.header("Idempotency-Key", key)).await
}

/// Keeps runs that embed under way until the faults are cleared, however slow the machine is.
async fn hold(instance: &Instance) {
    let fault = json!({"operation": "InvokeModel", "error": "ThrottlingException"});
    instance.fault(&fault).await;
}

/// Starts a run over the whole source, which has looked at it and stays under way until the faults are cleared.
async fn held_run(instance: &Instance) -> String {
    hold(instance).await;
    let held = instance.post("/v1/runs", &json!({})).await;
    assert_eq!(held.status, 202, "{}", held.body);
    let run_id = held.body["run_id"].as_str().unwrap().to_owned();
    while instance
        .get(&format!("/v1/runs/{run_id}/changes"))
        .await
        .status
        != 200
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run_id
}

#[tokio::test]
async fn of_two_starts_at_once_one_runs_and_the_other_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    drop_file(folder.path(), "held.txt", "Marmots are held.");
    hold(&instance).await;
    let none = json!({});
    let (one, two) = tokio::join!(
        instance.post("/v1/runs", &none),
        instance.post("/v1/runs", &none)
    );
    let (started, refused) = match one.status.as_u16() {
        202 => (one, two),
        _ => (two, one),
    };
    assert_eq!(
        (started.status.as_u16(), refused.status.as_u16()),
        (202, 409)
    );
    let run_id = started.body["run_id"].as_str().unwrap();
    for refused in [
        refused,
        instance.post("/v1/runs", &json!({"dry_run": true})).await,
    ] {
        assert_eq!(
            (
                &refused.body["name"],
                &refused.body["run_id"],
                &refused.body["retry"]
            ),
            (&json!("RunUnderWay"), &json!(run_id), &json!(true))
        );
    }
    // Runs over named documents are no part of it.
    let named = json!({"name": "named.txt", "content": "Ibexes climb."});
    let named = instance.post("/v1/documents", &named).await;
    assert_eq!(named.status, 202, "{}", named.body);
    instance.clear_faults().await;
    for run_id in [named.body["run_id"].as_str().unwrap(), run_id] {
        assert_eq!(instance.finished(run_id).await["status"], "SUCCEEDED");
    }
    let next = instance.post("/v1/runs", &none).await;
    assert_eq!(next.status, 202, "{}", next.body);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_happens_once() {
    let instance = Instance::start().await;
    let body = json!({"name": "a.txt", "content": "Marmots sleep."});
    let first = with_key(&instance, "/v1/documents", "key-1", &body).await;
    assert_eq!(first.status, 202, "{}", first.body);
    instance
        .finished(first.body["run_id"].as_str().unwrap())
        .await;
    let again = with_key(&instance, "/v1/documents", "key-1", &body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let other = json!({"name": "a.txt", "content": "Ibexes climb."});
    let check = |reply: Reply, status: u16, name: &str| {
        let told = (reply.status.as_u16(), reply.body["name"].as_str());
        assert_eq!(told, (status, Some(name)), "{}", reply.body);
    };
    let reused = with_key(&instance, "/v1/documents", "key-1", &other).await;
    check(reused, 422, "IdempotencyKeyReused");
    let elsewhere = with_key(&instance, "/v1/runs", "key-1", &json!({})).await;
    check(elsewhere, 422, "IdempotencyKeyReused");
    let bad = with_key(&instance, "/v1/runs", "two words", &json!({})).await;
    check(bad, 400, "InvalidIdempotencyKey");
    // Another caller's key is another key.
    let request = instance.request(Method::POST, "/v1/documents").json(&other);
    let request = request.header("Idempotency-Key", "key-1");
    let stranger = instance
        .send(request.bearer_auth(instance.token("eve", &[])))
        .await;
    check(stranger, 403, "RoleRequired");
    // What was refused left the key free.
    let unknown = json!({"documents": ["default.00"]});
    let refused = with_key(&instance, "/v1/runs", "key-2", &unknown).await;
    check(refused, 404, "DocumentNotFound");
    let started = with_key(&instance, "/v1/runs", "key-2", &json!({})).await;
    assert_eq!(started.status, 202, "{}", started.body);
    assert_eq!(runs(&instance).await.len(), 2);
}

#[tokio::test]
async fn a_form_is_the_same_whatever_stands_between_its_parts() {
    let instance = Instance::start().await;
    let send = async || {
        let part = reqwest::multipart::Part::text("Marmots sleep.").file_name("a.txt");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = instance
            .request(Method::POST, "/v1/documents")
            .multipart(form);
        instance
            .send(request.header("Idempotency-Key", "form"))
            .await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!(first.status, 202, "{}", first.body);
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn changes_of_the_bucket_become_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let host = host(&instance);
    for number in 1..=5 {
        drop_file(
            folder.path(),
            &format!("burst-{number}.txt"),
            "A marmot of the burst.",
        );
    }
    assert!(deliver(&host, "queue-burst.json").await.is_empty());
    assert_eq!(runs(&instance).await.len(), 1);
    assert_eq!(found(&instance, "marmot").await, 5);

    // While a run is under way, another burst is not lost: one run follows, however often it was told.
    drop_file(folder.path(), "held.txt", "The run is held by this.");
    held_run(&instance).await;
    drop_file(
        folder.path(),
        "dropped.txt",
        "This ibex came in the meantime.",
    );
    for _ in 0..3 {
        assert!(deliver(&host, "queue-object-created.json").await.is_empty());
    }
    instance.clear_faults().await;
    let all = runs(&instance).await;
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(found(&instance, "ibex").await, 1);

    // An object that is gone is deleted by the run that its event starts.
    for name in ["dropped.txt", "dropped.txt.metadata.json"] {
        let source = folder.path().join("s3/outcrop-bucket/sources/default");
        std::fs::remove_file(source.join(name)).unwrap();
    }
    assert!(deliver(&host, "queue-object-deleted.json").await.is_empty());
    assert_eq!(runs(&instance).await.len(), all.len() + 1);
    assert_eq!(found(&instance, "ibex").await, 0);
    // It is known by now.
    assert!(deliver(&host, "queue-object-deleted.json").await.is_empty());
    assert_eq!(runs(&instance).await.len(), all.len() + 1);
}

#[tokio::test]
async fn the_schedule_starts_a_run_and_what_cannot_be_read_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let host = host(&instance);
    drop_file(folder.path(), "dropped.txt", "A marmot on time.");
    assert!(deliver(&host, "queue-schedule.json").await.is_empty());
    assert_eq!(runs(&instance).await.len(), 1);
    assert_eq!(found(&instance, "marmot").await, 1);
    assert!(deliver(&host, "queue-elsewhere.json").await.is_empty());
    assert_eq!(runs(&instance).await.len(), 1);
    let failed = deliver(&host, "queue-unreadable.json").await;
    let ids = ["000000000001", "000000000003"].map(|end| format!("00000000-0000-4000-8000-{end}"));
    assert_eq!(failed, ids);
}

#[tokio::test]
async fn a_request_that_broke_off_goes_on_under_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let request = run_request(Some("key"));
    // The run is claimed and has its row, and its execution does not start.
    let broken = invoke(&cut_off(&instance), &request).await;
    assert_eq!(broken["statusCode"], 503, "{broken}");
    let host = host(&instance);
    let again = invoke(&host, &request).await;
    assert_eq!(again["statusCode"], 202, "{again}");
    let third = invoke(&host, &request).await;
    assert_eq!(third["body"], again["body"]);
    assert_eq!(runs(&instance).await.len(), 1);
}

#[tokio::test]
async fn a_message_does_not_wait_for_a_run_that_may_never_begin() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    instance.ingest("first.txt", "It makes the space.").await;
    let claimed = invoke(&cut_off(&instance), &run_request(None)).await;
    assert_eq!(claimed["statusCode"], 503, "{claimed}");
    drop_file(folder.path(), "dropped.txt", "An ibex.");
    let failed = deliver(&host(&instance), "queue-object-created.json").await;
    assert_eq!(failed.len(), 1);
}

#[tokio::test]
async fn what_came_during_a_run_that_was_stopped_is_not_lost_to_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let host = host(&instance);
    drop_file(folder.path(), "held.txt", "The run is held by this.");
    assert!(deliver(&host, "queue-schedule.json").await.is_empty());
    runs(&instance).await;
    drop_file(folder.path(), "held-2.txt", "The run is held by this too.");
    let held = held_run(&instance).await;
    drop_file(
        folder.path(),
        "dropped.txt",
        "This ibex came in the meantime.",
    );
    assert!(deliver(&host, "queue-object-created.json").await.is_empty());
    instance.stop_execution(&held).await;
    instance.clear_faults().await;
    let dry = instance.post("/v1/runs", &json!({"dry_run": true})).await;
    assert_eq!(dry.status, 202, "{}", dry.body);
    // The dry run changes nothing, and is followed by one that does.
    let begun = std::time::Instant::now();
    while found(&instance, "ibex").await == 0 {
        assert!(begun.elapsed().as_secs() < 120, "{}", instance.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A delivery of the largest size asked the table once or twice for each message.
#[tokio::test]
async fn a_delivery_reads_its_rows_together() {
    let instance = Instance::start().await;
    instance.ingest("first.txt", "It makes the space.").await;
    let host = host(&instance);
    let mut delivery = event("queue-object-deleted.json");
    let one = delivery["Records"][0].clone();
    assert!(one["body"].as_str().unwrap().contains("dropped.txt"));
    let records = (0..90).map(|number| {
        let mut record = one.clone();
        let body = one["body"].as_str().unwrap();
        record["body"] = json!(body.replace("dropped.txt", &format!("gone-{number}.txt")));
        record["messageId"] = json!(format!("m-{number}"));
        record
    });
    delivery["Records"] = records.collect();
    // It strikes nothing, and counts.
    let counting = json!({"service": "dynamodb", "error": "ThrottlingException", "share": 0.0});
    instance.storage_fault(&counting).await;
    let reply = invoke(&host, &delivery).await;
    assert_eq!(reply, json!({"batchItemFailures": []}));
    let calls = &instance.storage_faults().await[0]["calls"];
    assert_eq!(*calls, 2, "the sources, and the documents");
}

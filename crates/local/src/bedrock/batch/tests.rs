//! Jobs through the router, over a store in a folder of their own.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::super::guardrail::now_ms;
use super::super::{Bedrock, Settings, router};
use super::{BatchQuotas, store};
use crate::s3::S3;

const TITAN: &str = "amazon.titan-embed-text-v2:0";
const ROLE: &str = "arn:aws:iam::000000000000:role/batch";

struct Cloud {
    folder: tempfile::TempDir,
    app: Router,
    /// Milliseconds that the jobs' clock is ahead.
    ahead: Arc<AtomicU64>,
}

impl Cloud {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (app, ahead) = open(folder.path());
        Self { folder, app, ahead }
    }

    /// What a process that was killed leaves behind, in another process.
    fn restart(self) -> Self {
        let (app, ahead) = open(self.folder.path());
        Self { app, ahead, ..self }
    }

    fn object(&self, key: &str) -> std::path::PathBuf {
        self.folder.path().join("s3/box").join(key)
    }

    fn put(&self, key: &str, text: &str) {
        let path = self.object(key);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    fn text(&self, key: &str) -> String {
        std::fs::read_to_string(self.object(key)).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = Request::builder().method(method).uri(path).body(body);
        let reply = self.app.clone().oneshot(request.expect("a request")).await;
        let reply = reply.expect("a reply");
        let status = reply.status();
        let bytes = reply
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&bytes).expect("JSON"))
    }

    async fn fault(&self, fault: Value) {
        let (status, told) = self.call("POST", "/_local/faults", fault).await;
        assert_eq!(status, StatusCode::OK, "{told}");
    }

    /// The id of a new job.
    async fn create(&self, changes: Value) -> String {
        let (status, told) = self
            .call("POST", "/model-invocation-job", request(changes))
            .await;
        assert_eq!(status, StatusCode::OK, "{told}");
        let arn = told["jobArn"].as_str().expect("an ARN");
        arn.rsplit('/').next().expect("an id").to_owned()
    }

    async fn get(&self, id: &str) -> Value {
        let (status, told) = self
            .call("GET", &format!("/model-invocation-job/{id}"), Value::Null)
            .await;
        assert_eq!(status, StatusCode::OK, "{told}");
        told
    }

    /// The job once it has come to `status`.
    async fn come_to(&self, id: &str, status: &str) -> Value {
        for _ in 0..2_000 {
            let job = self.get(id).await;
            if job["status"] == status {
                return job;
            }
            let ended = job.get("endTime").is_some();
            assert!(!ended, "{job} where {status} was expected");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} never came to {status}", self.get(id).await);
    }
}

fn open(folder: &Path) -> (Router, Arc<AtomicU64>) {
    let s3 = S3::open(&folder.join("s3"), &["box".to_owned()], None).expect("a store");
    let quotas = BatchQuotas {
        least_records: 3,
        most_records: 50,
        file_bytes: 20_000,
        job_bytes: 30_000,
        line_bytes: 5_000,
    };
    let mut bedrock = Bedrock::open(Settings::default())
        .expect("an emulator")
        .with_batch_jobs(&folder.join("jobs"), s3, quotas)
        .expect("jobs");
    let ahead = Arc::new(AtomicU64::new(0));
    let later = Arc::clone(&ahead);
    bedrock.batch.clock = Arc::new(move || now_ms() + later.load(Ordering::SeqCst));
    bedrock.resume_batch_jobs();
    (router(bedrock), ahead)
}

fn request(changes: Value) -> Value {
    let mut request = json!({
        "jobName": "embed",
        "roleArn": ROLE,
        "modelId": TITAN,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://box/in/"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://box/out/"}},
    });
    for (name, value) in changes.as_object().expect("an object") {
        request[name] = value.clone();
    }
    request
}

fn record(number: usize) -> Value {
    let input = json!({"inputText": format!("Marmot number {number}."), "dimensions": 256});
    json!({"recordId": format!("R{number:010}"), "modelInput": input})
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers
        .map(|number| format!("{}\n", record(number)))
        .collect()
}

fn parsed(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn a_job_gives_what_invoke_model_gives_and_tells_records_that_failed() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..4));
    let bad = json!({"recordId": "bad", "modelInput": {"inputText": "x", "dimensions": 7}});
    let nameless = json!({"modelInput": {"inputText": "Ibex."}});
    cloud.put("in/deep/b.jsonl", &format!("{bad}\n\n{nameless}\n"));
    cloud.put("in/notes.txt", "not of the job");
    let id = cloud.create(json!({"clientRequestToken": "once"})).await;
    let job = cloud.come_to(&id, "Completed").await;
    let mut stable = job.clone();
    assert!(
        stable["jobArn"]
            .as_str()
            .is_some_and(|arn| arn.ends_with(&id))
    );
    let times = [
        "submitTime",
        "lastModifiedTime",
        "endTime",
        "jobExpirationTime",
    ];
    for name in times.iter().chain(&["jobArn"]) {
        assert!(stable[*name].is_string(), "{name}");
        stable[*name] = json!("[drawn]");
    }
    insta::assert_json_snapshot!(stable);
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    assert_eq!(told.len(), 4);
    for (number, line) in told.iter().enumerate() {
        let (status, invoked) = cloud
            .call(
                "POST",
                &format!("/model/{TITAN}/invoke"),
                record(number)["modelInput"].clone(),
            )
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(line["modelOutput"], invoked);
        assert_eq!(line["recordId"], record(number)["recordId"]);
        assert_eq!(line["modelInput"], record(number)["modelInput"]);
    }
    let told = parsed(&cloud.text(&format!("out/{id}/deep/b.jsonl.out")));
    assert_eq!(told[0]["error"]["errorCode"], 400);
    let words = told[0]["error"]["errorMessage"].as_str().expect("words");
    assert!(
        words.contains("dimensions") && told[0].get("modelOutput").is_none(),
        "{words}"
    );
    assert_eq!(told[1]["recordId"].as_str().expect("a drawn id").len(), 11);
    let manifest: Value =
        serde_json::from_str(&cloud.text(&format!("out/{id}/manifest.json.out"))).expect("JSON");
    let tokens: u64 = [&told[1]]
        .into_iter()
        .chain(&parsed(&cloud.text(&format!("out/{id}/a.jsonl.out"))))
        .map(|line| {
            line["modelOutput"]["inputTextTokenCount"]
                .as_u64()
                .expect("a count")
        })
        .sum();
    let expected = json!({
        "totalRecordCount": 6, "processedRecordCount": 6, "successRecordCount": 5,
        "errorRecordCount": 1, "inputTokenCount": tokens, "outputTokenCount": 0,
    });
    assert_eq!(manifest, expected);
    let left = std::fs::read_dir(cloud.folder.path().join("jobs")).expect("a folder");
    assert_eq!(left.count(), 1, "only the job is left of the job");
}

#[tokio::test]
async fn text_models_answer_in_jobs_of_the_type_converse() {
    let cloud = Cloud::start();
    let record = json!({"recordId": "a", "modelInput": {
        "messages": [{"role": "user", "content": [{"text": "What is a marmot?"}]}]
    }});
    cloud.put("in/a.jsonl", &format!("{record}\n").repeat(3));
    let text = json!({"modelId": "us.amazon.nova-lite-v1:0", "modelInvocationType": "Converse"});
    let id = cloud.create(text).await;
    cloud.come_to(&id, "Completed").await;
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    assert_eq!(
        told[2]["modelOutput"]["output"]["message"]["role"],
        "assistant"
    );
    let manifest: Value =
        serde_json::from_str(&cloud.text(&format!("out/{id}/manifest.json.out"))).expect("JSON");
    assert!(
        manifest["outputTokenCount"].as_u64() > Some(0),
        "{manifest}"
    );
}

#[tokio::test]
async fn what_can_be_no_job_is_refused_at_once() {
    let cloud = Cloud::start();
    let place = |uri: &str| json!({"s3InputDataConfig": {"s3Uri": uri}});
    let rows = [
        (json!({"roleArn": "batch"}), "'roleArn' failed"),
        (json!({"roleArn": null}), "invalid type"),
        (json!({"jobName": "two words"}), "'jobName' failed"),
        (
            json!({"clientRequestToken": "a.b"}),
            "'clientRequestToken' failed",
        ),
        (
            json!({"modelId": "mars.embed"}),
            "model identifier is invalid",
        ),
        (
            json!({"timeoutDurationInHours": 23}),
            "'timeoutDurationInHours' failed",
        ),
        (json!({"inputDataConfig": place("in/")}), "s3Uri' failed"),
        (json!({"inputDataConfig": {}}), "s3InputDataConfig"),
        (json!({"vpcConfig": {}}), "vpcConfig is not supported"),
        (
            json!({"modelInvocationType": "Converse"}),
            "doesn't support the model",
        ),
        (json!({"color": "red"}), "color"),
    ];
    for (changes, part) in rows {
        let (status, told) = cloud
            .call("POST", "/model-invocation-job", request(changes.clone()))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{changes}");
        assert!(
            told["message"].as_str().expect("words").contains(part),
            "{changes}: {told}"
        );
    }
    let (status, _) = cloud
        .call("GET", "/model-invocation-job/abcdefghijkl", Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        cloud
            .call("GET", "/model-invocation-jobs", Value::Null)
            .await
            .1,
        json!({"invocationJobSummaries": []})
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_files_fails_the_job() {
    let cloud = Cloud::start();
    cloud.put("few/a.jsonl", &lines(0..2));
    cloud.put("many/a.jsonl", &lines(0..51));
    cloud.put("none/a.txt", &lines(0..5));
    cloud.put(
        "broken/a.jsonl",
        &format!("{}{{\"recordId\": 1}}\n", lines(0..5)),
    );
    cloud.put(
        "large/a.jsonl",
        &format!("{}{}", lines(0..5), " ".repeat(20_000)),
    );
    let long = "x".repeat(5_001);
    cloud.put("long/a.jsonl", &format!("{}{long}\n", lines(0..5)));
    for part in ["a", "b", "c"] {
        cloud.put(
            &format!("whole/{part}.jsonl"),
            &format!("{}{}", lines(0..5), " ".repeat(12_000)),
        );
    }
    let rows = [
        (
            "s3://box/few/",
            "s3://box/out/",
            "less records (2) than the required minimum of: 3",
        ),
        (
            "s3://box/many/a.jsonl",
            "s3://box/out/",
            "more records (51) than the allowed maximum of: 50",
        ),
        ("s3://box/none/", "s3://box/out/", "no .jsonl file"),
        (
            "s3://box/broken",
            "s3://box/out/",
            "Line 6 of broken/a.jsonl is no record",
        ),
        (
            "s3://box/large/",
            "s3://box/out/",
            "larger than 20000 bytes",
        ),
        (
            "s3://box/long/",
            "s3://box/out/",
            "long/a.jsonl cannot be read: line 6 has more than 5000 bytes",
        ),
        ("s3://box/whole/", "s3://box/out/", "a job takes 30000"),
        ("s3://elsewhere/in/", "s3://box/out/", "no .jsonl file"),
        (
            "s3://box/few/",
            "s3://elsewhere/out/",
            "output bucket elsewhere does not exist",
        ),
    ];
    for (input, output, part) in rows {
        let id = cloud
            .create(json!({
                "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input}},
                "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": output}},
            }))
            .await;
        let job = cloud.come_to(&id, "Failed").await;
        assert!(
            job["message"].as_str().expect("words").contains(part),
            "{job}"
        );
    }
}

#[tokio::test]
async fn a_token_makes_one_job_and_jobs_are_listed() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..3));
    let first = cloud
        .create(json!({"clientRequestToken": "t1", "jobName": "one"}))
        .await;
    assert_eq!(
        cloud
            .create(json!({"clientRequestToken": "t1", "jobName": "other"}))
            .await,
        first
    );
    cloud.ahead.store(1_000, Ordering::SeqCst);
    let second = cloud.create(json!({"jobName": "two"})).await;
    for id in [&first, &second] {
        cloud.come_to(id, "Completed").await;
    }
    let check = async |query: &str, expected: &[&str]| {
        let (status, page) = cloud
            .call(
                "GET",
                &format!("/model-invocation-jobs?{query}"),
                Value::Null,
            )
            .await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let names: Vec<&str> = page["invocationJobSummaries"]
            .as_array()
            .expect("jobs")
            .iter()
            .map(|job| job["jobName"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, expected, "{query}");
        page
    };
    check("", &["two", "one"]).await;
    check("sortBy=CreationTime&sortOrder=Ascending", &["one", "two"]).await;
    check("nameContains=on&statusEquals=Completed", &["one"]).await;
    check("statusEquals=Failed", &[]).await;
    let later = cloud.get(&second).await["submitTime"]
        .as_str()
        .expect("a time")
        .to_owned();
    check(&format!("submitTimeBefore={later}"), &["one"]).await;
    check("submitTimeAfter=2020-01-01T00:00:00Z", &["two", "one"]).await;
    let page = check("maxResults=1", &["two"]).await;
    let next = page["nextToken"].as_str().expect("a token");
    check(&format!("maxResults=1&nextToken={next}"), &["one"]).await;
}

#[tokio::test]
async fn faults_strike_records_or_the_job() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..10));
    cloud.fault(json!({"operation": "ModelInvocationJobRecord", "error": "ThrottlingException", "share": 0.3})).await;
    let id = cloud.create(json!({})).await;
    let job = cloud.come_to(&id, "Completed").await;
    assert_eq!(
        (&job["successRecordCount"], &job["errorRecordCount"]),
        (&json!(7), &json!(3))
    );
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    let errors: Vec<&Value> = told.iter().filter_map(|line| line.get("error")).collect();
    assert_eq!(errors.len(), 3);
    assert_eq!(errors[0]["errorCode"], 429);
    cloud.fault(json!({"operation": "ModelInvocationJob", "error": "InternalServerException", "times": 1})).await;
    let id = cloud.create(json!({})).await;
    let job = cloud.come_to(&id, "Failed").await;
    assert!(job["message"].as_str().is_some(), "{job}");
    assert!(!cloud.object(&format!("out/{id}")).exists());
}

#[tokio::test]
async fn a_stopped_job_keeps_what_it_has() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..50));
    cloud
        .fault(json!({"operation": "ModelInvocationJobRecord", "delay_ms": 20}))
        .await;
    let id = cloud.create(json!({})).await;
    while cloud.get(&id).await["processedRecordCount"]
        .as_u64()
        .is_none_or(|count| count == 0)
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let path = format!("/model-invocation-job/{id}/stop");
    assert_eq!(
        cloud.call("POST", &path, Value::Null).await.0,
        StatusCode::OK
    );
    let job = cloud.come_to(&id, "Stopped").await;
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    assert_eq!(job["processedRecordCount"], told.len());
    assert!((1..50).contains(&told.len()), "{job}");
    assert_eq!(
        cloud.call("POST", &path, Value::Null).await.0,
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn a_job_of_a_killed_process_goes_on_behind_its_last_record() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..30));
    // It stays in the queue for as long as this process lives.
    cloud
        .fault(json!({"operation": "ModelInvocationJob", "delay_ms": 600_000}))
        .await;
    let id = cloud.create(json!({})).await;
    cloud.come_to(&id, "Scheduled").await;
    // As if it had begun: two records, and a third that was cut off. A line that the models here would not write tells
    // that it was kept.
    let kept = json!({"recordId": "R0000000000", "modelInput": record(0)["modelInput"], "modelOutput": {"kept": true}});
    let failed = json!({"recordId": "R0000000001", "modelInput": {}, "error": {"errorCode": 429, "errorMessage": "slow"}});
    let draft = cloud.folder.path().join(format!("jobs/{id}-0.out"));
    std::fs::write(
        &draft,
        format!("{kept}\n{failed}\n{{\"recordId\": \"R00000"),
    )
    .expect("written");
    let cloud = cloud.restart();
    let job = cloud.come_to(&id, "Completed").await;
    assert_eq!(
        (&job["successRecordCount"], &job["errorRecordCount"]),
        (&json!(29), &json!(1))
    );
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    let ids: Vec<&str> = told
        .iter()
        .map(|line| line["recordId"].as_str().expect("an id"))
        .collect();
    let expected: Vec<String> = (0..30).map(|number| format!("R{number:010}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(told[0], kept);
    assert!(told[2]["modelOutput"]["embedding"].is_array());
}

#[tokio::test]
async fn a_job_whose_time_is_over_ends_expired_or_with_what_it_has() {
    let cloud = Cloud::start();
    cloud.put("in/a.jsonl", &lines(0..50));
    cloud
        .fault(json!({"operation": "ModelInvocationJob", "delay_ms": 50, "times": 1}))
        .await;
    let id = cloud.create(json!({})).await;
    cloud.ahead.store(25 * 3_600_000, Ordering::SeqCst);
    cloud.come_to(&id, "Expired").await;

    cloud
        .fault(json!({"operation": "ModelInvocationJobRecord", "delay_ms": 20}))
        .await;
    let id = cloud.create(json!({})).await;
    cloud.come_to(&id, "InProgress").await;
    cloud.ahead.store(50 * 3_600_000, Ordering::SeqCst);
    let job = cloud.come_to(&id, "PartiallyCompleted").await;
    let told = parsed(&cloud.text(&format!("out/{id}/a.jsonl.out")));
    assert_eq!(job["processedRecordCount"], told.len());
    assert_eq!(job["totalRecordCount"], 50);
    assert!(told.len() < 50);
}

#[test]
fn statuses_are_those_of_the_service() {
    use store::Status::{Completed, Expired, Failed, InProgress, PartiallyCompleted, Scheduled};
    use store::Status::{Stopped, Stopping, Submitted, Validating};
    let check = |status: store::Status, name: &str, is_final: bool| {
        assert_eq!(json!(status), name);
        assert_eq!(status.is_final(), is_final, "{name}");
    };
    check(Submitted, "Submitted", false);
    check(Validating, "Validating", false);
    check(Scheduled, "Scheduled", false);
    check(InProgress, "InProgress", false);
    check(Stopping, "Stopping", false);
    check(Stopped, "Stopped", true);
    check(Completed, "Completed", true);
    check(PartiallyCompleted, "PartiallyCompleted", true);
    check(Failed, "Failed", true);
    check(Expired, "Expired", true);
}

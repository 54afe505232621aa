//! A running laptop cloud for a test: the real binary, free ports, a folder that goes with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws::Aws;
use aws::config::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long anything may take before the test calls it stuck; generous for a loaded two-core machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Instance {
    child: Child,
    data: PathBuf,
    pub api: String,
    pub aws: String,
    client: reqwest::Client,
    _folder: Option<tempfile::TempDir>,
}

pub struct Reply {
    pub status: StatusCode,
    pub content_type: String,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Instance {
    /// An empty instance in a folder of its own.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut instance = Self::start_in(folder.path()).await;
        instance._folder = Some(folder);
        instance
    }

    /// An instance that has ingested its sample handbook.
    pub async fn start_with_sample() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut instance = Self::launch(folder.path(), &["--no-events"]).await;
        instance._folder = Some(folder);
        let begun = Instant::now();
        while instance.get("/v1/health").await.body["documents"] == 0 {
            assert!(begun.elapsed() < PATIENCE, "no sample: {}", instance.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        instance
    }

    /// An empty instance with flags of `outcrop dev`.
    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let usual = ["--no-sample", "--no-events"];
        let flags: Vec<&str> = usual.iter().chain(flags).copied().collect();
        let mut instance = Self::launch(folder.path(), &flags).await;
        instance._folder = Some(folder);
        instance
    }

    /// An instance on a folder that the test keeps.
    pub async fn start_in(data: &Path) -> Self {
        Self::launch(data, &["--no-sample", "--no-events"]).await
    }

    /// The same, whose bucket and schedule start runs by themselves. No other instance's do: tests count runs.
    pub async fn start_by_itself(data: &Path, flags: &[&str]) -> Self {
        let flags: Vec<&str> = ["--no-sample"].iter().chain(flags).copied().collect();
        Self::launch(data, &flags).await
    }

    /// Its table and bucket, as the functions reach them.
    pub fn services(&self) -> Aws {
        let variables = BTreeMap::from([
            ("OUTCROP_TABLE", "outcrop-table"),
            ("OUTCROP_BUCKET", "outcrop-bucket"),
            ("OUTCROP_STATE_MACHINE_ARN", "arn"),
            ("OUTCROP_ANSWER_MODEL", "m"),
            ("OUTCROP_EMBED_MODEL", "m"),
            ("OUTCROP_EMBED_DIMENSIONS", "256"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "outcrop"),
            ("AWS_SECRET_ACCESS_KEY", "outcrop"),
            ("AWS_ENDPOINT_URL", self.aws.as_str()),
        ]);
        let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        Aws::new(Settings::from_lookup(lookup).unwrap())
    }

    /// Where its functions keep their files.
    pub fn temporary_folder(&self) -> PathBuf {
        self.data.join("tmp")
    }

    async fn launch(data: &Path, flags: &[&str]) -> Self {
        let record = data.join("instance.json");
        let _ = std::fs::remove_file(&record);
        let log = std::fs::File::create(data.join("test.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_outcrop"))
            .args([
                "dev",
                "--port",
                "0",
                "--aws-port",
                "0",
                "--verbose",
                "--data",
            ])
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let addresses = loop {
            if let Ok(text) = std::fs::read_to_string(&record)
                && let Ok(addresses) = serde_json::from_str::<Value>(&text)
            {
                break addresses;
            }
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the instance ended with {status}: {}", read_log(data));
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the instance did not start: {}",
                read_log(data)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            child,
            data: data.to_owned(),
            api: addresses["api"].as_str().unwrap().to_owned(),
            aws: addresses["aws"].as_str().unwrap().to_owned(),
            client: reqwest::Client::new(),
            _folder: None,
        }
    }

    /// Ends the process without a warning, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        read_log(&self.data)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let reply = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        let status = reply.status();
        let content_type = reply
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let headers = reply.headers().clone();
        let text = reply.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Reply {
            status,
            content_type,
            headers,
            body,
        }
    }

    /// A token of this instance, as `outcrop token` prints it.
    pub fn token(&self, user: &str, groups: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outcrop"));
        command.args(["token", user, "--data"]).arg(&self.data);
        if !groups.is_empty() {
            command.args(["--groups", &groups.join(",")]);
        }
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.api))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Uploads one document and waits until its run has ended; answers the document's id and the run.
    pub async fn ingest(&self, name: &str, content: &str) -> (String, Value) {
        let reply = self
            .post("/v1/documents", &json!({"name": name, "content": content}))
            .await;
        assert_eq!(reply.status, 202, "{} {}", reply.body, self.log());
        let run = self.finished(reply.body["run_id"].as_str().unwrap()).await;
        (reply.body["document_id"].as_str().unwrap().to_owned(), run)
    }

    /// Waits until a run has ended.
    pub async fn finished(&self, run_id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let reply = self.get(&format!("/v1/runs/{run_id}")).await;
            // Where stores are made to fail, a look may fail too: it says itself that it may be repeated.
            let again = reply.status == 503 && reply.body["retry"] == true;
            assert!(
                again || reply.status == 200,
                "{} {}",
                reply.body,
                self.log()
            );
            let status = reply.body["status"].as_str().unwrap_or_default();
            if !again && !matches!(status, "QUEUED" | "RUNNING") {
                return reply.body;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} did not end: {}",
                reply.body,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the local Bedrock fail as told.
    pub async fn fault(&self, fault: &Value) {
        let reply = self
            .client
            .post(format!("{}/_local/faults", self.aws))
            .json(fault)
            .send()
            .await;
        assert!(reply.unwrap().status().is_success());
    }

    /// The faults of the local Bedrock with the calls that they saw.
    pub async fn faults(&self) -> Value {
        let url = format!("{}/_local/faults", self.aws);
        let reply = self.client.get(url).send().await.unwrap();
        let mut told: Value = reply.json().await.unwrap();
        told["faults"].take()
    }

    /// Makes the local S3 or DynamoDB fail as told.
    pub async fn storage_fault(&self, fault: &Value) {
        let url = format!("{}/_local/storage-faults", self.aws);
        let reply = self.client.post(url).json(fault).send().await.unwrap();
        assert!(reply.status().is_success(), "{:?}", reply.text().await);
    }

    /// The faults of S3 and DynamoDB with what they struck.
    pub async fn storage_faults(&self) -> Value {
        let url = format!("{}/_local/storage-faults", self.aws);
        let reply = self.client.get(url).send().await.unwrap();
        reply.json().await.unwrap()
    }

    /// Ends the execution of a run as a person does who stops it in Step Functions.
    pub async fn stop_execution(&self, run_id: &str) {
        let arn =
            format!("arn:aws:states:us-east-1:000000000000:execution:outcrop-ingest:{run_id}");
        let stop = self
            .client
            .post(&self.aws)
            .header("x-amz-target", "AWSStepFunctions.StopExecution")
            .header("content-type", "application/x-amz-json-1.0")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/states/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=0",
            )
            .header("x-amz-date", "20260101T000000Z")
            .body(json!({ "executionArn": arn }).to_string());
        let stopped = stop.send().await.unwrap();
        assert!(stopped.status().is_success(), "{:?}", stopped.text().await);
    }

    pub async fn clear_faults(&self) {
        for path in ["faults", "storage-faults"] {
            let url = format!("{}/_local/{path}", self.aws);
            let reply = self.client.delete(url).send().await.unwrap();
            assert!(reply.status().is_success());
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_log(data: &Path) -> String {
    std::fs::read_to_string(data.join("test.log")).unwrap_or_default()
}

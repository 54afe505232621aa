//! The way of a document through a deployed stack: upload, run, answer, citation, stream, guard, deletion.
//!
//! `STACK=outcrop AWS_REGION=us-east-1 cargo test --test cloud` walks it on that stack, with credentials in the environment
//! (`eval "$(aws configure export-credentials --format env)"`). Without `STACK` it is walked on a laptop cloud only, so that the walk
//! itself does not rot. Requests are curl's, which signs them; `AWS_ENDPOINT_URL` leads to an emulator.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "whoever runs it says which stack"
)]

#[expect(dead_code, reason = "the walk needs little of it")]
mod instance;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use instance::Instance;

/// Its own space: what others hold is left alone.
const SPACE: &str = "cloud-check";
const NAME: &str = "shed.txt";
const TEXT: &str = "The shed is behind the house. Its key hangs in the hall, left of the clock.\n";
const QUESTION: &str = "Where does the key of the shed hang?";
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What requests are signed with.
struct Signer {
    service: &'static str,
    region: String,
    key: String,
    secret: String,
    token: Option<String>,
}

impl Signer {
    fn from_env(service: &'static str) -> Self {
        let needed = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("STACK is set and {name} is not"))
        };
        Self {
            service,
            region: needed("AWS_REGION"),
            key: needed("AWS_ACCESS_KEY_ID"),
            secret: needed("AWS_SECRET_ACCESS_KEY"),
            token: std::env::var("AWS_SESSION_TOKEN")
                .ok()
                .filter(|token| !token.is_empty()),
        }
    }
}

/// An API, and what lets the walk into it: a signature, or nothing.
struct Door {
    base: String,
    signer: Option<Signer>,
}

impl Door {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string);
        let url = format!("{}{path}", self.base);
        let (status, text) = curl(self.signer.as_ref(), method, &url, body.as_deref(), &[]);
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    fn get(&self, path: &str) -> Value {
        let (status, reply) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {reply}");
        reply
    }

    fn post(&self, path: &str, body: &Value, expected: u16) -> Value {
        let (status, reply) = self.call("POST", path, Some(body));
        assert_eq!(status, expected, "{path}: {reply}");
        reply
    }

    fn finished(&self, run_id: &Value) -> Value {
        let path = format!("/v1/runs/{}?space={SPACE}", run_id.as_str().unwrap());
        let begun = Instant::now();
        loop {
            let run = self.get(&path);
            if !matches!(
                run["status"].as_str(),
                Some("QUEUED" | "RUNNING" | "PENDING")
            ) {
                return run;
            }
            assert!(begun.elapsed() < PATIENCE, "the run does not end: {run}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Starts curl. What is secret goes through its standard input, where no list of processes shows it.
fn start(
    signer: Option<&Signer>,
    method: &str,
    url: &str,
    body: Option<&str>,
    more: &[&str],
) -> Child {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut config = format!("url = {}\nrequest = {method}\n", quoted(url));
    if let Some(signer) = signer {
        let Signer {
            service,
            region,
            key,
            secret,
            token,
        } = signer;
        config += &format!(
            "aws-sigv4 = \"aws:amz:{region}:{service}\"\nuser = {}\n",
            quoted(&format!("{key}:{secret}"))
        );
        if let Some(token) = token {
            config += &format!(
                "header = {}\n",
                quoted(&format!("x-amz-security-token: {token}"))
            );
        }
    }
    if let Some(body) = body {
        config += &format!("data-binary = {}\n", quoted(body).replace('\n', "\\n"));
    }
    let mut child = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--no-buffer",
            "--noproxy",
            "127.0.0.1",
            "--config",
            "-",
        ])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(config.as_bytes())
        .unwrap();
    child
}

/// One request and its whole reply.
fn curl(
    signer: Option<&Signer>,
    method: &str,
    url: &str,
    body: Option<&str>,
    more: &[&str],
) -> (u16, String) {
    let json = [
        "--header",
        "content-type: application/json",
        "--write-out",
        "\n%{http_code}",
    ];
    let child = start(signer, method, url, body, &[&json, more].concat());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{method} {url}: curl ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), text.to_owned())
}

/// The way of one document. The pieces that a streamed answer came in, if anything is asked.
fn walk(door: &Door, asks: bool) -> usize {
    assert_eq!(door.get("/v1/health")["status"], "ok");
    let settings = json!({"roles": {"reader": ["everyone"]}});
    let path = format!("/v1/spaces/{SPACE}");
    let (status, space) = door.call("PUT", &path, Some(&settings));
    assert_eq!((status, &space["role"]), (200, &json!("admin")), "{space}");

    let upload =
        json!({"space": SPACE, "name": NAME, "bytes": TEXT.len(), "readers": ["everyone"]});
    let link = door.post("/v1/uploads", &upload, 200);
    let url = link["upload_url"].as_str().unwrap();
    // The link is the permission: these requests carry no signature and no type of content.
    let untyped = ["--header", "content-type:"];
    let (status, reply) = curl(None, "PUT", url, Some(TEXT), &untyped);
    assert_eq!(status, 200, "{reply}");
    let run = door.post("/v1/runs", &json!({"space": SPACE}), 202);
    let run = door.finished(&run["run_id"]);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");

    let document = link["document_id"].as_str().unwrap();
    let search = json!({"space": SPACE, "query": QUESTION});
    let found = door.post("/v1/search", &search, 200);
    assert_eq!(found["results"][0]["document_id"], document, "{found}");
    let pieces = if asks { asked(door, document) } else { 0 };

    let check = json!({"source": "OUTPUT", "text": "Write to ann@example.com.", "space": SPACE});
    let verdict = door.post("/v1/guardrail/check", &check, 200);
    assert_eq!(verdict["verdict"], "mask", "{verdict}");
    assert!(
        verdict["text"].as_str().unwrap().contains("{EMAIL}"),
        "{verdict}"
    );

    let path = format!("/v1/documents/{document}?space={SPACE}");
    let (status, removed) = door.call("DELETE", &path, None);
    assert_eq!(status, 202, "{removed}");
    let run = door.finished(&removed["run_id"]);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let found = door.post("/v1/search", &search, 200);
    assert_eq!(found["results"], json!([]), "{found}");
    pieces
}

/// Asks: the answer cites the document's own bytes. The pieces that the answer as events came in.
fn asked(door: &Door, document: &str) -> usize {
    let question = json!({"space": SPACE, "question": QUESTION});
    let answer = door.post("/v1/ask", &question, 200);
    assert_eq!(answer["answered"], true, "{answer}");
    let citation = &answer["citations"][0];
    assert_eq!(citation["document_id"], document, "{answer}");
    let text = door.get(&format!("/v1/documents/{document}/text?space={SPACE}"));
    let text = text["text"].as_str().unwrap();
    let range = |field: &str| citation[field].as_u64().unwrap() as usize;
    assert_eq!(
        &text[range("start")..range("end")],
        citation["quote"].as_str().unwrap()
    );

    streamed(door, &question)
}

/// Asks for events: the first tells the sources, the last the whole answer. How many pieces they came in.
fn streamed(door: &Door, question: &Value) -> usize {
    let headers = [
        "--header",
        "content-type: application/json",
        "--header",
        "accept: text/event-stream",
    ];
    let url = format!("{}/v1/ask", door.base);
    let mut child = start(
        door.signer.as_ref(),
        "POST",
        &url,
        Some(&question.to_string()),
        &headers,
    );
    let mut stdout = child.stdout.take().unwrap();
    let (mut text, mut pieces, mut buffer) = (Vec::new(), 0, [0; 65_536]);
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            read => text.extend_from_slice(&buffer[..read]),
        }
        pieces += 1;
    }
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(text).unwrap();
    let events: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(
        (events.first(), events.last()),
        (Some(&"sources"), Some(&"done")),
        "{text}"
    );
    pieces
}

/// What the stack says of itself.
fn outputs(stack: &str) -> BTreeMap<String, String> {
    let signer = Signer::from_env("cloudformation");
    let endpoint = std::env::var("AWS_ENDPOINT_URL")
        .unwrap_or_else(|_| format!("https://cloudformation.{}.amazonaws.com", signer.region));
    let url = format!("{endpoint}/?Action=DescribeStacks&Version=2010-05-15&StackName={stack}");
    let (status, text) = curl(Some(&signer), "GET", &url, None, &[]);
    assert_eq!(status, 200, "{text}");
    let field = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let parts = text.split("<OutputKey>").skip(1);
    parts
        .map(|part| format!("<OutputKey>{part}"))
        .filter_map(|part| Some((field(&part, "OutputKey")?, field(&part, "OutputValue")?)))
        .collect()
}

/// Where an API answers: on AWS as its output says, in an emulator below its own address.
fn base(output: &str) -> String {
    let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL") else {
        return output.to_owned();
    };
    let host = output.trim_start_matches("https://");
    let (host, stage) = host.split_once('/').unwrap();
    let api = host.split('.').next().unwrap();
    format!("{endpoint}/_aws/execute-api/{api}/{stage}")
}

#[tokio::test]
async fn the_walk_holds_on_a_laptop() {
    let instance = Instance::start().await;
    let door = Door {
        base: instance.api.clone(),
        signer: None,
    };
    walk(&door, true);
}

#[test]
fn the_walk_holds_on_the_stack() {
    let Ok(stack) = std::env::var("STACK") else {
        eprintln!(
            "skipped: set STACK to the name of a deployed stack, and AWS_REGION and credentials"
        );
        return;
    };
    let told = outputs(&stack);
    let base = |output: &str| told.get(output).map(|url| base(url));
    let open = |base: String| Door { base, signer: None };
    let api = base("ApiUrl").expect("the stack has an ApiUrl");
    let (status, reply) = open(api.clone()).call("GET", "/v1/health", None);
    assert_eq!(status, 403, "nobody signed: {reply}");
    if let Some(users) = base("UserApiUrl") {
        let (status, reply) = open(users).call("GET", "/v1/health", None);
        assert_eq!(status, 401, "nobody brought a token: {reply}");
    }
    if let Some(keys) = base("KeyApiUrl") {
        let (status, reply) = open(keys).call("GET", "/v1/health", None);
        assert_eq!(status, 403, "nobody brought a key: {reply}");
    }
    // The emulator hands no stream of a function on, and `/v1/ask` always is one.
    let asks = std::env::var("AWS_ENDPOINT_URL").is_err();
    let door = Door {
        base: api,
        signer: Some(Signer::from_env("execute-api")),
    };
    let pieces = walk(&door, asks);
    assert!(!asks || pieces > 1, "the answer came in one piece");
}

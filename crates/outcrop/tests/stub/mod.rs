//! An instance that answers from a script and keeps what it was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// How every run of the stub ends.
#[derive(Clone)]
pub struct Run {
    pub status: &'static str,
    pub failures: Value,
}

impl Run {
    pub fn succeeds() -> Self {
        Self {
            status: "SUCCEEDED",
            failures: json!([]),
        }
    }
}

#[derive(Default)]
struct Seen {
    runs: Vec<Value>,
    stored: BTreeMap<String, Vec<u8>>,
    in_flight: usize,
    most_in_flight: usize,
}

#[derive(Clone)]
struct Shared {
    url: String,
    run: Run,
    seen: Arc<Mutex<Seen>>,
    polled: Arc<Notify>,
}

pub struct Stub {
    pub url: String,
    shared: Shared,
}

impl Stub {
    pub async fn start(run: Run) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared {
            url: url.clone(),
            run,
            seen: Arc::default(),
            polled: Arc::default(),
        };
        let routes = axum::Router::new()
            .route("/v1/health", get(async || Json(json!({ "status": "ok" }))))
            .route("/v1/ask", post(ask))
            .route("/v1/uploads", post(announce))
            .route("/stored/{name}", put(store))
            .route("/v1/runs", post(start_run))
            .route("/v1/runs/{run_id}", get(show_run))
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    /// The bodies that started runs, in order.
    pub fn runs(&self) -> Vec<Value> {
        self.shared.seen.lock().unwrap().runs.clone()
    }

    pub fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.seen.lock().unwrap().stored.get(name).cloned()
    }

    pub fn most_in_flight(&self) -> usize {
        self.shared.seen.lock().unwrap().most_in_flight
    }

    pub async fn run_was_polled(&self) {
        let polled = self.shared.polled.notified();
        tokio::time::timeout(Duration::from_secs(60), polled)
            .await
            .unwrap();
    }
}

fn problem(status: StatusCode, name: &str, detail: &str, retry: bool) -> Response {
    let body = json!({ "name": name, "detail": detail, "status": status.as_u16(), "retry": retry });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

async fn ask(headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(headers[header::ACCEPT], "text/event-stream");
    assert_eq!(body["space"], "default");
    let question = body["question"].as_str().unwrap();
    let citation = json!({
        "marker": "[1]", "document_id": "default.1", "title": "Lighthouse", "passage_id": "p", "uri": "u",
        "start": 0, "end": 18, "quote": "The keeper\nclimbs.",
    });
    let done = |answer: &str, citations: &[&Value]| {
        let (delta, answered) = (json!({ "text": answer }), !citations.is_empty());
        let whole = json!({ "answer": answer, "answered": answered, "citations": citations });
        format!(
            ": keep-alive\n\n{}{}",
            event("delta", &delta),
            event("done", &whole)
        )
    };
    let started = event("delta", &json!({ "text": "The keeper" }));
    let stream = match question {
        "" => {
            return problem(
                StatusCode::BAD_REQUEST,
                "EmptyQuestion",
                "the question is empty",
                false,
            );
        }
        "answered" => done("The keeper climbs. [1]", &[&citation]),
        "unanswered" => done("The documents do not say.", &[]),
        "escapes" => done("\u{1b}[2J", &[&citation]),
        "breaks" => {
            let failed =
                json!({ "name": "ModelFailed", "detail": "the model broke off", "retry": true });
            format!("{started}{}", event("error", &failed))
        }
        _ => started,
    };
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from(stream),
    )
        .into_response()
}

async fn announce(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let name = body["name"].as_str().unwrap();
    assert!(
        body["bytes"].is_u64() && body["space"] == "default",
        "{body}"
    );
    match name {
        "refused.txt" => {
            return problem(StatusCode::BAD_REQUEST, "InvalidDocumentName", "no", false);
        }
        "throttled.txt" => {
            return problem(
                StatusCode::TOO_MANY_REQUESTS,
                "ServiceThrottled",
                "slow down",
                true,
            );
        }
        _ => {}
    }
    let link = format!("{}/stored/{name}", shared.url);
    Json(json!({ "document_id": format!("id.{name}"), "upload_url": link })).into_response()
}

async fn store(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if name == "link-refused.txt" {
        return StatusCode::FORBIDDEN;
    }
    // S3 refuses a body without its length.
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()) != Some(body.len()) {
        return StatusCode::LENGTH_REQUIRED;
    }
    {
        let mut seen = shared.seen.lock().unwrap();
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut seen = shared.seen.lock().unwrap();
    seen.in_flight -= 1;
    seen.stored.insert(name, body.to_vec());
    StatusCode::OK
}

async fn start_run(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut seen = shared.seen.lock().unwrap();
    seen.runs.push(body);
    let run_id = format!("default.run{}", seen.runs.len());
    (StatusCode::ACCEPTED, Json(json!({ "run_id": run_id }))).into_response()
}

async fn show_run(State(shared): State<Shared>, Path(run_id): Path<String>) -> Json<Value> {
    shared.polled.notify_one();
    Json(json!({
        "run_id": run_id, "status": shared.run.status, "failures": shared.run.failures,
        "counts": { "planned": 1, "published": 0, "pending": 0 },
    }))
}

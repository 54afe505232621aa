//! A door to the AWS port that fails at one chosen write, before or after it was made: what a killed process leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use tokio::sync::{Mutex, Notify};

/// Which moment of the failing write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// Who is told that another writer was first, whatever they write of a manifest.
pub async fn open_contended(behind: &str) -> String {
    serve(Door {
        left: AtomicUsize::new(usize::MAX),
        contended: true,
        ..Door::over(behind)
    })
    .await
}

struct Door {
    behind: String,
    client: reqwest::Client,
    moment: Moment,
    /// Writes until the one that fails; it and all that follow fail.
    left: AtomicUsize,
    contended: bool,
    /// Where the next write that holds these words waits.
    halt: Mutex<Option<(&'static str, Arc<Halt>)>>,
}

/// A moment that a test holds: it is told when it is there, and says when to go on.
#[derive(Default)]
pub struct Halt {
    pub reached: Notify,
    pub go_on: Notify,
}

/// What a write of a manifest holds.
pub const MANIFEST: &str = "\"MANIFEST\"";

/// Opens a door at which the first write waits that holds `words`: in its method and path, or in its body. Answers its
/// address.
pub async fn open_with_halt(behind: &str, words: &'static str, halt: &Arc<Halt>) -> String {
    serve(Door {
        left: AtomicUsize::new(usize::MAX),
        halt: Mutex::new(Some((words, halt.clone()))),
        ..Door::over(behind)
    })
    .await
}

impl Door {
    /// One that fails at the first write.
    fn over(behind: &str) -> Self {
        Self {
            behind: behind.to_owned(),
            client: reqwest::Client::new(),
            moment: Moment::Before,
            left: AtomicUsize::new(0),
            contended: false,
            halt: Mutex::default(),
        }
    }
}

/// Opens a door that lets `writes` writes through. Answers its address.
pub async fn open(behind: &str, writes: usize, moment: Moment) -> String {
    serve(Door {
        moment,
        left: AtomicUsize::new(writes),
        ..Door::over(behind)
    })
    .await
}

async fn serve(door: Door) -> String {
    let door = Arc::new(door);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(door);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn pass(State(door): State<Arc<Door>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next());
    let starts_job = head.method == Method::POST && head.uri.path() == "/model-invocation-job";
    let writes = starts_job
        || matches!(head.method, Method::PUT | Method::DELETE)
        || operation.is_some_and(|name| name.contains("Put") || name.contains("Write"));
    let fails = writes
        && door
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            })
            .is_ok_and(|left| left == 0);
    let broken = || {
        let mut reply = Response::new(Body::from("the process was killed"));
        *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        reply
    };
    if fails && door.moment == Moment::Before {
        return broken();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let line = format!("{} {}", head.method, head.uri.path());
    let holds = |words: &str| {
        let mut parts = body.windows(words.len());
        line.contains(words) || parts.any(|part| part == words.as_bytes())
    };
    if writes && door.contended && holds(MANIFEST) {
        return conflict();
    }
    let due = match writes {
        true => door.halt.lock().await.take_if(|(words, _)| holds(words)),
        false => None,
    };
    if let Some((_, halt)) = due {
        halt.reached.notify_one();
        halt.go_on.notified().await;
    }
    let reply = door
        .client
        .request(head.method, format!("{}{}", door.behind, head.uri))
        // The signature covers the host's name: what is behind must see the same.
        .headers(head.headers)
        .body(body)
        .send()
        .await
        .unwrap();
    if fails {
        return broken();
    }
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = reply.status();
    *answer.headers_mut() = reply.headers().clone();
    *answer.body_mut() = Body::from(reply.bytes().await.unwrap());
    answer
}

/// As DynamoDB says that a condition does not hold.
fn conflict() -> Response<Body> {
    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let body = serde_json::json!({"__type": kind, "message": "The conditional request failed"});
    let mut reply = Response::new(Body::from(body.to_string()));
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    let json = axum::http::HeaderValue::from_static("application/x-amz-json-1.0");
    reply.headers_mut().insert("content-type", json);
    reply
}

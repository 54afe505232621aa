//! One process of a function, and the runtime API that it speaks.
//!
//! Source of the API: AWS Lambda Developer Guide, "Using the Lambda runtime API" and "Response streaming in custom runtimes".

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{FunctionConfig, PAYLOAD_BYTES, Pool};

/// Pieces of a stream that may wait for a slow client before the function is made to wait.
const PIECES_WAITING: usize = 8;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(super) enum Outcome {
    Reply(Bytes),
    Error(Bytes),
    Stream(mpsc::Receiver<Bytes>),
}

struct Work {
    id: String,
    payload: Bytes,
    deadline_ms: u128,
}

struct Pending {
    id: String,
    answer: oneshot::Sender<Outcome>,
}

/// A running process of a function.
pub(crate) struct Instance {
    pub(super) id: u64,
    arn: String,
    pool: Arc<Pool>,
    work: mpsc::Sender<Work>,
    take: tokio::sync::Mutex<mpsc::Receiver<Work>>,
    pending: Mutex<Option<Pending>>,
    /// Ends the process.
    stop: Notify,
    asked: AtomicBool,
    init_error: Mutex<Option<Bytes>>,
    /// Invocations that have streamed to their end; a watcher of the deadline compares.
    finished: AtomicU64,
}

/// An error as Lambda words it.
pub(super) fn error(name: &str, words: &str) -> Bytes {
    Bytes::from(json!({ "errorType": name, "errorMessage": words }).to_string())
}

impl Instance {
    /// Starts the process; it is usable when it asks for its first invocation.
    pub(super) async fn start(
        config: &FunctionConfig,
        pool: Arc<Pool>,
    ) -> Result<Arc<Self>, Bytes> {
        let failed = |words: String| error("Runtime.InvalidEntrypoint", &words);
        if !config
            .environment
            .keys()
            .any(|name| name.starts_with("AWS_ENDPOINT_URL"))
        {
            return Err(failed(
                "refusing to start without AWS_ENDPOINT_URL: it would call the real cloud".into(),
            ));
        }
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|error| failed(error.to_string()))?;
        let address = listener
            .local_addr()
            .map_err(|error| failed(error.to_string()))?;
        let mut child = Command::new(&config.program)
            .args(&config.arguments)
            .env_clear()
            .envs(environment(config, &address.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", config.program.display())))?;
        forward(&config.name, child.stdout.take());
        forward(&config.name, child.stderr.take());
        let (work, take) = mpsc::channel(1);
        let instance = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            arn: format!(
                "arn:aws:lambda:us-east-1:000000000000:function:{}",
                config.name
            ),
            pool,
            work,
            take: tokio::sync::Mutex::new(take),
            pending: Mutex::new(None),
            stop: Notify::new(),
            asked: AtomicBool::new(false),
            init_error: Mutex::new(None),
            finished: AtomicU64::new(0),
        });
        let serving = tokio::spawn(serve(listener, instance.clone()));
        tokio::spawn(watch(child, instance.clone(), serving));
        Ok(instance)
    }

    /// Hands over an invocation and waits for what comes of it.
    pub(super) async fn invoke(self: &Arc<Self>, payload: Bytes, timeout: Duration) -> Outcome {
        let id = format!(
            "{:08x}-0000-4000-8000-{:012x}",
            self.id,
            NEXT_ID.fetch_add(1, Ordering::Relaxed)
        );
        let (answer, answered) = oneshot::channel();
        *lock(&self.pending) = Some(Pending {
            id: id.clone(),
            answer,
        });
        let deadline_ms = now_ms() + timeout.as_millis();
        let work = Work {
            id,
            payload,
            deadline_ms,
        };
        if self.work.send(work).await.is_err() {
            return Outcome::Error(error("Runtime.ExitError", "the process has ended"));
        }
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(outcome)) => {
                if matches!(outcome, Outcome::Stream(_)) {
                    self.watch_deadline(timeout);
                }
                outcome
            }
            Ok(Err(_)) => Outcome::Error(error(
                "Runtime.ExitError",
                "the process ended during the invocation",
            )),
            Err(_) => {
                self.kill();
                let words = format!("Task timed out after {}.00 seconds", timeout.as_secs());
                Outcome::Error(error("Sandbox.Timedout", &words))
            }
        }
    }

    /// A stream that outlives the function's time is cut with its process.
    fn watch_deadline(self: &Arc<Self>, timeout: Duration) {
        let (instance, before) = (self.clone(), self.finished.load(Ordering::Relaxed));
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if instance.finished.load(Ordering::Relaxed) == before {
                instance.kill();
            }
        });
    }

    pub(super) fn kill(&self) {
        self.stop.notify_one();
    }

    /// Why the process ended before it asked for work; `None` while it may still ask.
    pub(super) fn init_failure(&self) -> Option<Bytes> {
        lock(&self.init_error).clone()
    }

    /// Answers the invocation `id`; false when it is not the one that is waited for.
    fn answer(&self, id: &str, outcome: Outcome) -> bool {
        let pending = lock(&self.pending).take_if(|pending| pending.id == id);
        pending.is_some_and(|pending| pending.answer.send(outcome).is_ok())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_millis())
        .unwrap_or_default()
}

/// What the process sees, and nothing of the host's own environment.
fn environment(config: &FunctionConfig, address: &str) -> BTreeMap<String, String> {
    let mut environment = config.environment.clone();
    let memory = config.memory_mb.to_string();
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", address),
        ("AWS_LAMBDA_FUNCTION_NAME", &config.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            &format!("/aws/lambda/{}", config.name),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "laptop"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("_HANDLER", "bootstrap"),
        ("TMPDIR", &std::env::temp_dir().display().to_string()),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}

/// Passes the process's lines on to our log.
fn forward(name: &str, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(output) = output else { return };
    let name = name.to_owned();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tracing::info!(target: "function", function = name, "{line}");
        }
    });
}

async fn watch(mut child: Child, instance: Arc<Instance>, serving: tokio::task::JoinHandle<()>) {
    let status = tokio::select! {
        status = child.wait() => status.map(|status| status.to_string()).unwrap_or_default(),
        () = instance.stop.notified() => {
            // It may have ended by itself in the meantime.
            let _ = child.kill().await;
            "killed".to_owned()
        }
    };
    serving.abort();
    if !instance.asked.load(Ordering::Relaxed) {
        let words = format!("the process ended before its first invocation: {status}");
        lock(&instance.init_error).get_or_insert(error("Runtime.ExitError", &words));
    }
    // Whoever waits for an answer learns that none will come.
    drop(lock(&instance.pending).take());
    instance.pool.gone(instance.id);
}

async fn serve(listener: TcpListener, instance: Arc<Instance>) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(failure))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(instance);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the runtime API of an instance ended");
    }
}

type Reply = Response<Body>;

fn status(code: StatusCode) -> Reply {
    let mut reply = Response::new(Body::from(r#"{"status":"OK"}"#));
    *reply.status_mut() = code;
    reply
}

async fn next(State(instance): State<Arc<Instance>>) -> Reply {
    instance.asked.store(true, Ordering::Relaxed);
    instance.pool.idle(instance.clone());
    let Some(work) = instance.take.lock().await.recv().await else {
        return status(StatusCode::GONE);
    };
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &work.id)
        .header("lambda-runtime-deadline-ms", work.deadline_ms.to_string())
        .header("lambda-runtime-invoked-function-arn", &instance.arn)
        .header(
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Sampled=0",
        )
        .body(Body::from(work.payload))
        .unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn response(
    State(instance): State<Arc<Instance>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    let mode = headers.get("lambda-runtime-function-response-mode");
    if mode.is_some_and(|mode| mode == "streaming") {
        return stream(&instance, &id, body).await;
    }
    let outcome = match axum::body::to_bytes(body, PAYLOAD_BYTES).await {
        Ok(bytes) => Outcome::Reply(bytes),
        Err(_) => Outcome::Error(error(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        )),
    };
    instance.answer(&id, outcome);
    status(StatusCode::ACCEPTED)
}

/// Passes pieces on as they come. When the client is gone, the upload is given up: the connection closes, and the
/// function's next piece fails.
async fn stream(instance: &Instance, id: &str, body: Body) -> Reply {
    let (pieces, received) = mpsc::channel(PIECES_WAITING);
    if !instance.answer(id, Outcome::Stream(received)) {
        return status(StatusCode::GONE);
    }
    let mut body = body.into_data_stream();
    let reply = loop {
        let piece = tokio::select! {
            piece = body.next() => piece,
            () = pieces.closed() => break closing(),
        };
        match piece {
            None => break status(StatusCode::ACCEPTED),
            Some(Err(_)) => break closing(),
            Some(Ok(piece)) => {
                if pieces.send(piece).await.is_err() {
                    break closing();
                }
            }
        }
    };
    instance.finished.fetch_add(1, Ordering::Relaxed);
    reply
}

fn closing() -> Reply {
    let mut reply = status(StatusCode::GONE);
    reply
        .headers_mut()
        .insert("connection", axum::http::HeaderValue::from_static("close"));
    reply
}

async fn failure(
    State(instance): State<Arc<Instance>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Reply {
    instance.answer(&id, Outcome::Error(body));
    status(StatusCode::ACCEPTED)
}

async fn init_error(State(instance): State<Arc<Instance>>, body: Bytes) -> Reply {
    *lock(&instance.init_error) = Some(body);
    status(StatusCode::ACCEPTED)
}

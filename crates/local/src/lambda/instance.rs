//! One process of a function: started, given one invocation at a time, killed when it runs over its time.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::{FunctionConfig, Pieces, Pool, StreamCut, runtime};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(super) enum Outcome {
    Reply(Bytes),
    Error(Bytes),
    Stream(Pieces),
}

pub(super) struct Work {
    pub id: String,
    pub payload: Bytes,
    /// What the invoker says beside the payload, as the text of a JSON object.
    pub client_context: Option<String>,
    pub deadline_ms: u128,
}

struct Pending {
    id: String,
    answer: oneshot::Sender<Outcome>,
}

/// A running process of a function.
pub(crate) struct Instance {
    pub(super) id: u64,
    pub(super) arn: String,
    pub(super) pool: Arc<Pool>,
    work: mpsc::Sender<Work>,
    take: tokio::sync::Mutex<mpsc::Receiver<Work>>,
    pending: Mutex<Option<Pending>>,
    /// Ends the process when the invocation under way runs over its time.
    deadline: Mutex<Option<AbortHandle>>,
    timed_out: AtomicBool,
    /// Ends the process.
    stop: Notify,
    asked: AtomicBool,
    init_error: Mutex<Option<Bytes>>,
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
            deadline: Mutex::new(None),
            timed_out: AtomicBool::new(false),
            stop: Notify::new(),
            asked: AtomicBool::new(false),
            init_error: Mutex::new(None),
        });
        let serving = tokio::spawn(runtime::serve(listener, instance.clone()));
        tokio::spawn(watch(child, instance.clone(), serving));
        Ok(instance)
    }

    /// Hands over an invocation and waits for what comes of it.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        payload: Bytes,
        client_context: Option<String>,
        timeout: Duration,
    ) -> Outcome {
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
            client_context,
            deadline_ms,
        };
        self.watch_deadline(timeout);
        if self.work.send(work).await.is_err() {
            return Outcome::Error(error("Runtime.ExitError", "the process has ended"));
        }
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) if self.timed_out.load(Ordering::Relaxed) => {
                let words = format!("Task timed out after {}.00 seconds", timeout.as_secs());
                Outcome::Error(error("Sandbox.Timedout", &words))
            }
            Err(_) => Outcome::Error(error(
                "Runtime.ExitError",
                "the process ended during the invocation",
            )),
        }
    }

    /// Ends the process when the invocation, its stream included, takes longer; also when nobody waits for it any more.
    fn watch_deadline(self: &Arc<Self>, timeout: Duration) {
        let instance = self.clone();
        let watching = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            instance.timed_out.store(true, Ordering::Relaxed);
            instance.kill();
        });
        *lock(&self.deadline) = Some(watching.abort_handle());
    }

    /// The invocation under way has ended.
    pub(super) fn finished(&self) {
        if let Some(watching) = lock(&self.deadline).take() {
            watching.abort();
        }
    }

    /// Why a stream ended before its time.
    pub(super) fn cut(&self) -> StreamCut {
        let (name, detail) = if self.timed_out.load(Ordering::Relaxed) {
            ("Sandbox.Timedout", "the function ran over its time")
        } else {
            (
                "Runtime.ExitError",
                "the function broke its reply off before the end",
            )
        };
        StreamCut {
            name: name.to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// The process asks for work: it is idle until there is some. `None` when it is to end, having waited too long.
    pub(super) async fn next(self: &Arc<Self>) -> Option<Work> {
        self.asked.store(true, Ordering::Relaxed);
        self.pool.idle(self.clone());
        let mut take = self.take.lock().await;
        loop {
            match tokio::time::timeout(self.pool.idle_time(), take.recv()).await {
                Ok(work) => return work,
                // Whoever has taken it from the pool is about to hand work over.
                Err(_) if !self.pool.retire(self.id) => {}
                Err(_) => {
                    self.kill();
                    return None;
                }
            }
        }
    }

    /// Whether it has ever asked for work: from then on, others may be using it.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self) {
        self.stop.notify_one();
    }

    /// Why the process ended before it asked for work; `None` while it may still ask.
    pub(super) fn init_failure(&self) -> Option<Bytes> {
        lock(&self.init_error).clone()
    }

    pub(super) fn fail_init(&self, words: Bytes) {
        *lock(&self.init_error) = Some(words);
    }

    /// Answers the invocation `id`; false when nobody waits for it.
    pub(super) fn answer(&self, id: &str, outcome: Outcome) -> bool {
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
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let temporary = || std::env::temp_dir().display().to_string();
    environment
        .entry("TMPDIR".to_owned())
        .or_insert_with(temporary);
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
    instance.finished();
    // Whoever waits for an answer learns that none will come.
    drop(lock(&instance.pending).take());
    instance.pool.gone(instance.id);
}

//! Lambda on the laptop: each function instance is a process of its own that speaks the real runtime API.
//!
//! An instance is idle when it asks for its next invocation. Instances are kept warm, started when none is idle, and
//! killed when an invocation runs over its time. Differences from AWS: nothing is frozen between invocations, and
//! memory is not limited.

mod api;
mod instance;
mod runtime;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

pub use api::router;
use instance::{Instance, Outcome};

/// The largest payload of a synchronous invocation. Source: AWS Lambda quotas.
pub const PAYLOAD_BYTES: usize = 6 << 20;
/// How long a process may take to ask for its first invocation. Source: AWS Lambda, init phase.
const INIT_TIME: Duration = Duration::from_secs(10);
/// How long an instance may wait for work before it ends; Lambda keeps them warm for minutes too.
const IDLE_TIME: Duration = Duration::from_secs(300);

/// A function as the template describes it.
#[derive(Debug, Clone)]
pub struct FunctionConfig {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub timeout: Duration,
    pub memory_mb: u32,
}

/// Why an invocation was not made, with the name that AWS gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    #[error("Function not found: {name}")]
    NotFound { name: String },
    #[error("{name} has {limit} instances, all busy")]
    TooManyRequests { name: String, limit: usize },
    #[error("the payload has {bytes} bytes, the limit is {PAYLOAD_BYTES}")]
    PayloadTooLarge { bytes: usize },
    #[error("Could not parse request body into json: {detail}")]
    InvalidContent { detail: String },
}

impl InvokeError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "ResourceNotFoundException",
            Self::TooManyRequests { .. } => "TooManyRequestsException",
            Self::PayloadTooLarge { .. } => "RequestEntityTooLargeException",
            Self::InvalidContent { .. } => "InvalidRequestContentException",
        }
    }
}

/// What came of an invocation.
#[derive(Debug)]
pub enum Invocation {
    /// The function's reply, whole.
    Reply(Bytes),
    /// The function failed: JSON with `errorType` and `errorMessage`.
    FunctionError(Bytes),
    /// The reply in pieces, as the function sends them. Dropping the receiver stops the function's sending.
    Stream(Pieces),
}

/// A streamed reply. An error is the last piece: without one, the stream is whole.
pub type Pieces = mpsc::Receiver<Result<Bytes, StreamCut>>;

/// Why a stream ended before its end: the function's own report, `Runtime.ExitError` or `Sandbox.Timedout`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {detail}")]
pub struct StreamCut {
    pub name: String,
    pub detail: String,
}

/// The functions and their instances. Clones share everything; the processes end with the last clone.
#[derive(Clone)]
pub struct Host {
    functions: Arc<HashMap<String, Function>>,
}

pub(crate) struct Function {
    config: FunctionConfig,
    limit: usize,
    pool: Arc<Pool>,
}

/// The instances of a function.
pub(crate) struct Pool {
    idle_time: Duration,
    state: Mutex<PoolState>,
    changed: Notify,
}

#[derive(Default)]
struct PoolState {
    idle: Vec<Arc<Instance>>,
    alive: usize,
}

impl Pool {
    fn new(idle_time: Duration) -> Self {
        Self {
            idle_time,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn idle_time(&self) -> Duration {
        self.idle_time
    }

    fn with<T>(&self, change: impl FnOnce(&mut PoolState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The instance asks for work.
    pub(crate) fn idle(&self, instance: Arc<Instance>) {
        self.with(|state| state.idle.push(instance));
        self.changed.notify_one();
    }

    /// Takes an idle instance out of use; false when somebody has just taken it.
    fn retire(&self, id: u64) -> bool {
        self.with(|state| {
            let before = state.idle.len();
            state.idle.retain(|instance| instance.id != id);
            state.idle.len() < before
        })
    }

    /// The instance's process has ended.
    pub(crate) fn gone(&self, id: u64) {
        self.with(|state| {
            state.idle.retain(|instance| instance.id != id);
            state.alive = state.alive.saturating_sub(1);
        });
        self.changed.notify_waiters();
    }
}

impl Host {
    /// Knows the functions; starts nothing yet. `limit` bounds the instances of each function.
    pub fn new(functions: Vec<FunctionConfig>, limit: usize) -> Self {
        Self::with_idle_time(functions, limit, IDLE_TIME)
    }

    fn with_idle_time(functions: Vec<FunctionConfig>, limit: usize, idle_time: Duration) -> Self {
        let functions = functions.into_iter().map(|config| {
            let function = Function {
                limit,
                pool: Arc::new(Pool::new(idle_time)),
                config,
            };
            (function.config.name.clone(), function)
        });
        Self {
            functions: Arc::new(functions.collect()),
        }
    }

    /// Invokes a function by name or ARN and waits for its reply, or for the beginning of its stream.
    ///
    /// # Errors
    /// [`InvokeError`], when no function was invoked.
    pub async fn invoke(&self, name: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        self.invoke_with_context(name, payload, None).await
    }

    /// As [`Host::invoke`], with a client context: the text of a JSON object.
    ///
    /// # Errors
    /// [`InvokeError`], when no function was invoked.
    pub async fn invoke_with_context(
        &self,
        name: &str,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Result<Invocation, InvokeError> {
        if payload.len() > PAYLOAD_BYTES {
            return Err(InvokeError::PayloadTooLarge {
                bytes: payload.len(),
            });
        }
        let function = self.find(name)?;
        let instance = match function.acquire().await {
            Ok(instance) => instance,
            Err(Unavailable::Busy) => {
                let (name, limit) = (function.config.name.clone(), function.limit);
                return Err(InvokeError::TooManyRequests { name, limit });
            }
            Err(Unavailable::InitFailed(error)) => return Ok(Invocation::FunctionError(error)),
        };
        let timeout = function.config.timeout;
        let outcome = instance.invoke(payload, client_context, timeout).await;
        Ok(match outcome {
            Outcome::Reply(bytes) => Invocation::Reply(bytes),
            Outcome::Error(bytes) => Invocation::FunctionError(bytes),
            Outcome::Stream(pieces) => Invocation::Stream(pieces),
        })
    }

    fn find(&self, name: &str) -> Result<&Function, InvokeError> {
        let short = name
            .rsplit_once(":function:")
            .map_or(name, |(_, rest)| rest);
        let short = short.split(':').next().unwrap_or(short);
        self.functions
            .get(short)
            .ok_or_else(|| InvokeError::NotFound {
                name: name.to_owned(),
            })
    }
}

enum Unavailable {
    Busy,
    /// The process ended or failed before its first invocation.
    InitFailed(Bytes),
}

impl Function {
    async fn acquire(&self) -> Result<Arc<Instance>, Unavailable> {
        let patience = tokio::time::Instant::now() + INIT_TIME;
        let mut mine: Option<Arc<Instance>> = None;
        loop {
            let changed = self.pool.changed.notified();
            if let Some(idle) = self.pool.with(|state| state.idle.pop()) {
                return Ok(idle);
            }
            if mine.is_none() {
                let room = self.pool.with(|state| {
                    let room = state.alive < self.limit;
                    state.alive += usize::from(room);
                    room
                });
                if room {
                    match Instance::start(&self.config, self.pool.clone()).await {
                        Ok(instance) => mine = Some(instance),
                        Err(error) => {
                            self.pool.gone(0);
                            return Err(Unavailable::InitFailed(error));
                        }
                    }
                    continue;
                }
            }
            if let Some(error) = mine.as_ref().and_then(|instance| instance.init_failure()) {
                return Err(Unavailable::InitFailed(error));
            }
            let waited = tokio::time::timeout_at(patience, changed).await;
            if waited.is_err() {
                return Err(match mine {
                    // One that has asked for work may be at somebody else's.
                    Some(instance) if !instance.has_asked() => {
                        instance.kill();
                        let words = "the function did not ask for an invocation within 10 seconds";
                        Unavailable::InitFailed(instance::error("Sandbox.Timedout", words))
                    }
                    _ => Unavailable::Busy,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;

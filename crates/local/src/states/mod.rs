//! Step Functions on the laptop: an interpreter of the Amazon States Language for what this
//! project's state machines use, behind the AWS wire.
//!
//! Machines are written in JSONata. Whatever the interpreter cannot do is refused when a machine is
//! created, with the list of everything that is wrong with it. Executions survive a restart: each
//! has a file, and an interrupted one goes on from the top-level state it was in. A state may
//! therefore run more than once, as it may on AWS when its task is retried.
//!
//! What differs from AWS: at most 40 children of a Map run at a time unless `MaxConcurrency` asks
//! for more; the children of a distributed Map leave no histories; `$hash` knows SHA-256, SHA-384
//! and SHA-512; a resume shows in the history as `ExecutionRedriven`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

mod arn;
mod clock;
mod definition;
mod drive;
mod execution;
mod expression;
mod fault;
mod history;
mod map;
mod parallel;
mod reader;
mod retry;
mod run;
mod store;
mod task;
mod wire;

pub use clock::Clock;
pub(crate) use clock::hexadecimal;
pub use definition::Finding;
use execution::Executions;

/// What a state machine reaches outside itself.
#[derive(Clone)]
pub struct Services {
    /// Invokes a Lambda function by name or ARN with a JSON event and gives its JSON reply.
    #[expect(clippy::type_complexity, reason = "a function, written out once")]
    pub invoke_lambda:
        Arc<dyn Fn(String, Value) -> BoxFuture<'static, Result<Value, TaskError>> + Send + Sync>,
    /// Reads a whole S3 object by bucket and key.
    #[expect(clippy::type_complexity, reason = "a function, written out once")]
    pub read_object:
        Arc<dyn Fn(String, String) -> BoxFuture<'static, Result<Bytes, TaskError>> + Send + Sync>,
}

/// How a service call failed: the name that `ErrorEquals` matches, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    /// For a Lambda function the `errorType` of its reply.
    pub error: String,
    /// For a Lambda function the whole error reply as JSON text.
    pub cause: String,
}

/// Why the state machines cannot be opened or one of them cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum StatesError {
    /// The name breaks AWS's rules for names.
    #[error("`{name}` is no name for a state machine: {reason}")]
    InvalidName {
        /// The refused name.
        name: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The definition holds something that is wrong or not supported here.
    #[error("the state machine `{machine}` is refused:{}", listed(.findings))]
    InvalidDefinition {
        /// The machine's name.
        machine: String,
        /// Everything that is wrong, in no particular order.
        findings: Vec<Finding>,
    },
    /// The folder of the executions cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}

impl StatesError {
    /// A name that a program may match.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidName",
            Self::InvalidDefinition { .. } => "InvalidDefinition",
            Self::Storage { .. } => "Storage",
        }
    }
}

fn listed(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let (pointer, message) = (&finding.pointer, &finding.message);
        format!(
            "\n  {}: {message}",
            if pointer.is_empty() { "(top)" } else { pointer }
        )
    });
    lines.collect()
}

/// The state machines and their executions. Clones share everything; when the last one is
/// dropped, running executions stop where they are and are interrupted.
#[derive(Clone)]
pub struct StateMachines {
    executions: Arc<Executions>,
}

impl StateMachines {
    /// Reads back the executions under `dir`. Interrupted ones go on at
    /// [`StateMachines::resume_interrupted`] or at the first request, so that the services they
    /// need can be started in between.
    ///
    /// # Errors
    /// [`StatesError::Storage`] when the folder cannot be read or made.
    pub fn open(dir: &Path, services: Services) -> Result<Self, StatesError> {
        Self::open_with(dir, services, Clock::system())
    }

    /// The same with a clock of the caller's.
    ///
    /// # Errors
    /// As [`StateMachines::open`].
    pub fn open_with(dir: &Path, services: Services, clock: Clock) -> Result<Self, StatesError> {
        let executions = Executions::open(dir, services, clock)?;
        Ok(Self {
            executions: Arc::new(executions),
        })
    }

    /// Creates the state machine `name`, or gives it a new definition; running executions keep
    /// the one they began with. Answers its ARN.
    ///
    /// # Errors
    /// [`StatesError::InvalidName`], [`StatesError::InvalidDefinition`] with every finding, or
    /// [`StatesError::Storage`].
    pub fn create(&self, name: &str, definition: &str) -> Result<String, StatesError> {
        self.executions.create(name, definition)
    }

    /// Lets the executions go on that were running when the process ended. Needs a tokio runtime.
    /// Later calls do nothing.
    pub fn resume_interrupted(&self) {
        self.executions.resume_interrupted();
    }

    /// Answers one request: `target` is the header `X-Amz-Target`, such as
    /// `AWSStepFunctions.StartExecution`, and `body` its JSON. Needs a tokio runtime.
    pub async fn handle(&self, target: &str, body: Bytes) -> http::Response<Bytes> {
        self.resume_interrupted();
        wire::handle(&self.executions, target, &body).await
    }
}

#[cfg(test)]
mod tests;

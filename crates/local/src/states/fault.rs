//! How a state fails: the error names of the Amazon States Language and the rule that says which
//! of them a Retry or a Catch may see.

use serde_json::{Value, json};

pub(super) const ALL: &str = "States.ALL";
pub(super) const TASK_FAILED: &str = "States.TaskFailed";
pub(super) const TIMEOUT: &str = "States.Timeout";
pub(super) const RUNTIME: &str = "States.Runtime";
pub(super) const DATA_LIMIT: &str = "States.DataLimitExceeded";
pub(super) const QUERY: &str = "States.QueryEvaluationError";
pub(super) const NO_CHOICE: &str = "States.NoChoiceMatched";
pub(super) const READER_FAILED: &str = "States.ItemReaderFailed";
pub(super) const TOLERATED: &str = "States.ExceedToleratedFailureThreshold";

/// Largest input or output of a state, of an execution and of a task, in bytes of UTF-8 JSON
/// (Step Functions service quotas, "Maximum input or output size").
pub(super) const MAX_DATA_BYTES: usize = 256 * 1024;

/// The failure of a state: what `$states.errorOutput` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub error: String,
    pub cause: String,
    /// No Retry and no Catch sees it: the interpreter itself cannot go on.
    pub fatal: bool,
}

impl Fault {
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            cause: cause.into(),
            fatal: false,
        }
    }

    pub fn fatal(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::new(error, cause)
        }
    }

    pub fn query(cause: impl Into<String>) -> Self {
        Self::new(QUERY, cause)
    }

    /// What `$states.errorOutput` holds.
    pub fn output(&self) -> Value {
        json!({ "Error": self.error, "Cause": self.cause })
    }

    /// Whether an `ErrorEquals` list names this failure. `States.ALL` and `States.TaskFailed` do
    /// not see the two terminal errors, and `States.TaskFailed` not a timeout either.
    pub fn is_named_by(&self, errors: &[String]) -> bool {
        let terminal = self.error == RUNTIME || self.error == DATA_LIMIT;
        !self.fatal
            && errors.iter().any(|name| match name.as_str() {
                ALL => !terminal,
                TASK_FAILED => !terminal && self.error != TIMEOUT,
                name => name == self.error && self.error != RUNTIME,
            })
    }
}

/// Refuses data above the 256 KiB that a state may give on.
pub(super) fn within_limit(state: &str, value: &Value) -> Result<(), Fault> {
    let bytes = json_bytes(value);
    if bytes <= MAX_DATA_BYTES {
        return Ok(());
    }
    Err(Fault::new(
        DATA_LIMIT,
        format!(
            "The state/task '{state}' returned a result with a size of {bytes} bytes, exceeding the maximum of {MAX_DATA_BYTES} bytes. Write it to S3 and give on its key."
        ),
    ))
}

/// Bytes of the value's compact JSON, counted without writing it anywhere.
fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

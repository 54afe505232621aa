//! The `ingest` Lambda: steps of the ingestion state machine, and uploads and runs over HTTP.

mod body;
mod routes;

use aws::lambda::{Event, HttpRequest, Reply, StepFailure};
use aws::{Aws, AwsError};
use knowledge::{KnowledgeError, sync};
use serde_json::Value;

pub use routes::ROUTES;

/// Answers one invocation.
///
/// # Errors
/// A step's failure under its own name, for the state machine's `Retry` and `Catch`. HTTP never fails: it replies.
pub async fn handle(aws: &Aws, event: Event) -> Result<Reply, StepFailure> {
    match event {
        Event::Http(request) => Ok(http(aws, &request).await),
        Event::Step(payload) => step(aws, payload).await.map(Reply::Step),
    }
}

async fn step(aws: &Aws, payload: Value) -> Result<Value, StepFailure> {
    let step = sync::parse_step(payload).map_err(failure)?;
    sync::run_step(aws, step).await.map_err(failure)
}

fn failure(error: sync::StepError) -> StepFailure {
    tracing::warn!(error = error.name(), "a step failed");
    StepFailure { name: error.name().to_owned(), message: error.to_string() }
}

//! The `ingest` Lambda: steps of the ingestion state machine, uploads and runs over HTTP, and the queue of what starts
//! runs by itself.

mod body;
mod routes;
mod tickets;

use std::sync::Arc;

use aws::Aws;
use aws::lambda::{Event, Reply, StepFailure};
use knowledge::{entries, sync};
use serde_json::Value;

pub use routes::ROUTES;

/// What this function's requests use: a client for steps, whose calls to models the state machine retries; and one for HTTP.
pub struct Service {
    steps: Aws,
    http: Aws,
}

impl Service {
    pub fn new(settings: aws::config::Settings) -> Arc<Self> {
        let steps = Aws::new(settings.clone().for_steps());
        Arc::new(Self {
            steps,
            http: Aws::new(settings),
        })
    }
}

/// Answers one invocation.
///
/// # Errors
/// A step's failure under its own name, for the state machine's `Retry` and `Catch`. HTTP never fails: it replies.
pub async fn handle(service: Arc<Service>, event: Event) -> Result<Reply, StepFailure> {
    match event {
        Event::Http(request) => Ok(routes::route(&service.http, &request).await),
        Event::Step(payload) if entries::is_delivery(&payload) => {
            Ok(Reply::Step(entries::take(&service.http, &payload).await))
        }
        Event::Step(payload) => step(&service.steps, payload).await.map(Reply::Step),
    }
}

async fn step(aws: &Aws, payload: Value) -> Result<Value, StepFailure> {
    let step = sync::parse_step(payload).map_err(failure)?;
    sync::run_step(aws, step).await.map_err(failure)
}

fn failure(error: sync::StepError) -> StepFailure {
    tracing::warn!(error = error.name(), "a step failed");
    tracing::debug!(detail = %error, "the failed step");
    StepFailure {
        name: error.name().to_owned(),
        message: error.to_string(),
    }
}

/// Reads the settings and serves invocations until Lambda stops the process.
///
/// # Errors
/// Settings that are missing or wrong, or a runtime API that cannot be reached.
pub async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let settings = aws::config::Settings::from_env()?;
    knowledge::models::check(&settings)?;
    aws::telemetry::start(settings.log_level);
    let service = Service::new(settings);
    aws::lambda::run(move |event| handle(service.clone(), event)).await
}

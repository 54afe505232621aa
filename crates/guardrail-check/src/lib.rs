//! The `guardrail-check` Lambda: a verdict on a text over HTTP, and the steps `screen` and `screen_names` of the ingestion state machine.

use std::sync::Arc;

use aws::Aws;
use aws::lambda::{Event, HttpRequest, Reply, StepFailure};
use http::StatusCode;
use knowledge::KnowledgeError;
use knowledge::guard::{self, GuardCheckRequest};
use knowledge::http::{self as web, Route};
use knowledge::problem::parse_json;
use knowledge::sync::{self, StepError};
use serde_json::Value;

/// What this function serves; `infra/openapi.yaml` says the same, and a test holds the two together.
pub const ROUTES: &[Route] = &[Route {
    method: "POST",
    path: "/v1/guardrail/check",
}];

/// A client for steps, whose calls to models the state machine retries, and one for HTTP.
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
        Event::Http(request) => Ok(match answer(&service.http, &request).await {
            Ok(reply) => reply,
            Err(error) => web::problem(&error),
        }),
        Event::Step(payload) => step(&service.steps, payload).await.map(Reply::Step),
    }
}

async fn answer(aws: &Aws, request: &HttpRequest) -> Result<Reply, KnowledgeError> {
    web::find(ROUTES, request)?;
    web::require_json(request)?;
    let wanted: GuardCheckRequest = parse_json(&request.body)?;
    let found = guard::check(aws, &web::caller(request), &wanted).await?;
    Ok(web::json(StatusCode::OK, &found))
}

async fn step(aws: &Aws, payload: Value) -> Result<Value, StepFailure> {
    let step = sync::parse_step(payload).map_err(failure)?;
    sync::run_screening(aws, step).await.map_err(failure)
}

fn failure(error: StepError) -> StepFailure {
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

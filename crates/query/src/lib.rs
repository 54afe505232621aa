//! The `query` Lambda: questions, searches and documents over HTTP, and the page.

mod page;
mod routes;
mod stream;

use std::sync::Arc;

use aws::Aws;
use aws::lambda::{Event, Reply, StepFailure};
use knowledge::snapshot::Snapshots;

pub use routes::ROUTES;

/// What every request of this process shares.
pub struct Service {
    pub(crate) aws: Aws,
    pub(crate) snapshots: Snapshots,
}

impl Service {
    /// Keeps snapshots in a temporary folder of this process.
    ///
    /// # Errors
    /// When that folder cannot be made.
    pub fn new(aws: Aws) -> std::io::Result<Arc<Self>> {
        let snapshots = Snapshots::new(&aws.settings.index)?;
        Ok(Arc::new(Self { aws, snapshots }))
    }
}

/// Answers one invocation.
///
/// # Errors
/// Only for an event that is not HTTP: this function has no steps.
pub async fn handle(service: Arc<Service>, event: Event) -> Result<Reply, StepFailure> {
    match event {
        Event::Http(request) => Ok(routes::route(service, &request).await),
        Event::Step(_) => Err(StepFailure {
            name: "UnsupportedEvent".into(),
            message: "this function answers API Gateway proxy events only".into(),
        }),
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
    let service = Service::new(Aws::new(settings))?;
    aws::lambda::run(move |event| handle(service.clone(), event)).await
}

//! The `agent-action` Lambda: what agents can do, in the wire form of whoever calls.
//!
//! Bedrock Agents, AgentCore Gateway and Converse come as events of their own; MCP comes through API Gateway.

mod caller;
mod mcp;
mod routes;

use std::sync::Arc;

use agent_envelopes::{Fault, Outcome, recognise};
use aws::Aws;
use aws::lambda::{ClientContext, Event, Reply, StepFailure};
use knowledge::actions::{self, Context};
use knowledge::snapshot::Snapshots;
use serde_json::Value;

pub use routes::ROUTES;

/// What every invocation of this process shares.
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
/// For an event in no known form, and where the form has no other way to tell of a broken dependency.
pub async fn handle(
    service: Arc<Service>,
    event: Event,
    context: ClientContext,
) -> Result<Reply, StepFailure> {
    match event {
        Event::Http(request) => Ok(routes::route(service, request).await),
        Event::Step(event) => tool(&service, &event, &context).await.map(Reply::Step),
    }
}

/// Answers an agent's event.
async fn tool(
    service: &Service,
    event: &Value,
    context: &ClientContext,
) -> Result<Value, StepFailure> {
    let call = recognise(event, context).map_err(|error| StepFailure {
        name: "UnsupportedEvent".into(),
        message: error.to_string(),
    })?;
    let outcome = match caller::of(&call) {
        Ok((caller, space, actor)) => {
            let context = Context {
                aws: &service.aws,
                snapshots: &service.snapshots,
                caller: &caller,
                space: &space,
                actor: &actor,
            };
            actions::invoke(&context, &call).await
        }
        Err(detail) => Outcome::Reprompt(Fault {
            name: "InvalidSessionAttributes".into(),
            message: detail,
            status: 400,
            retry: false,
        }),
    };
    call.reply(&outcome).map_err(|error| StepFailure {
        name: error.name,
        message: error.message,
    })
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
    aws::lambda::run_with_context(move |event, context| handle(service.clone(), event, context))
        .await
}

//! The ingestion state machine: start it, ask how it stands, stop it.

use aws_config::SdkConfig;
use aws_sdk_sfn::Client;
use serde_json::Value;

use crate::{AwsError, Lazy, classify, lazily};

const SERVICE: &str = "Step Functions";

/// The service's state machine.
#[derive(Clone, Debug)]
pub struct StateMachine {
    client: Lazy<Client>,
    arn: String,
}

/// How an execution stands, in Step Functions' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED` or `PENDING_REDRIVE`.
    pub status: String,
    pub error: Option<String>,
    pub cause: Option<String>,
}

impl StateMachine {
    pub(crate) fn new(sdk: &SdkConfig, arn: &str) -> Self {
        let sdk = sdk.clone();
        Self {
            client: lazily(move || Client::new(&sdk)),
            arn: arn.to_owned(),
        }
    }

    /// Starts an execution named `name`. Starting the same name with the same input again changes nothing.
    ///
    /// # Errors
    /// [`AwsError::Conflict`] when the name was used with another input; else the service's error.
    pub async fn start(&self, name: &str, input: &Value) -> Result<(), AwsError> {
        let started = self
            .client
            .start_execution()
            .state_machine_arn(&self.arn)
            .name(name)
            .input(input.to_string())
            .send()
            .await;
        match started.map_err(|error| classify(SERVICE, error)) {
            Ok(_) => Ok(()),
            Err(AwsError::Refused { detail, .. })
                if detail.starts_with("ExecutionAlreadyExists") =>
            {
                Err(AwsError::Conflict { detail })
            }
            Err(other) => Err(other),
        }
    }

    /// How the execution named `name` stands; `None` when there is none.
    ///
    /// # Errors
    /// The service's error.
    pub async fn execution(&self, name: &str) -> Result<Option<Execution>, AwsError> {
        let arn = format!(
            "{}:{name}",
            self.arn.replacen(":stateMachine:", ":execution:", 1)
        );
        match self
            .client
            .describe_execution()
            .execution_arn(arn)
            .send()
            .await
        {
            Ok(reply) => Ok(Some(Execution {
                status: reply.status().as_str().to_owned(),
                error: reply.error().map(str::to_owned),
                cause: reply.cause().map(str::to_owned),
            })),
            Err(error) => match classify(SERVICE, error) {
                AwsError::Missing { .. } => Ok(None),
                other => Err(other),
            },
        }
    }
}

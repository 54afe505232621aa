//! The only crate that names an AWS SDK: clients, configuration, keys and items, the Lambda entry, telemetry.
//!
//! Above this crate nobody sees an SDK type, an environment variable, the clock or a random number.

pub mod bedrock;
pub mod chance;
pub mod clock;
pub mod config;
pub mod dynamo;
pub mod lambda;
mod retriever;
pub mod s3;
pub mod secrets;
pub mod states;
pub mod telemetry;
pub mod web;

use std::sync::{Arc, LazyLock};

use aws_sdk_dynamodb::config::http::HttpResponse;
use config::Settings;

pub use retriever::{FILTER_KEYS, NoRetriever, RetrieverSetting};

/// Why a call to an AWS service did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AwsError {
    /// The service asked us to slow down, or was briefly out of reach. Doing the same again later is right.
    #[error("{service} is throttling or briefly unavailable: {detail}")]
    Busy {
        service: &'static str,
        detail: String,
    },
    /// A conditional write met another writer's version.
    #[error("another writer was first: {detail}")]
    Conflict { detail: String },
    /// The object or item is not there.
    #[error("{what} does not exist")]
    Missing { what: String },
    /// What is stored does not have the shape that this version reads.
    #[error("stored data is damaged or from a newer version: {detail}")]
    Damaged { detail: String },
    /// Anything else the service refused: permissions, limits, invalid arguments.
    #[error("{service} refused the call: {detail}")]
    Refused {
        service: &'static str,
        detail: String,
    },
}

impl AwsError {
    /// The machine-readable name, used in `ErrorEquals` of the state machine and in problem replies.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "ServiceBusy",
            Self::Conflict { .. } => "WriteConflict",
            Self::Missing { .. } => "StoredItemMissing",
            Self::Damaged { .. } => "StoredDataDamaged",
            Self::Refused { .. } => "ServiceRefused",
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Conflict { .. })
    }
}

/// A client that is built with its first call: what a function does not need costs its start nothing.
pub(crate) type Lazy<C> = Arc<LazyLock<C, Box<dyn FnOnce() -> C + Send>>>;

pub(crate) fn lazily<C>(build: impl FnOnce() -> C + Send + 'static) -> Lazy<C> {
    Arc::new(LazyLock::new(Box::new(build)))
}

/// Every AWS client that the service uses, from one [`Settings`].
#[derive(Clone, Debug)]
pub struct Aws {
    pub table: dynamo::Table,
    pub bucket: s3::Bucket,
    pub bedrock: bedrock::Bedrock,
    pub knowledge_bases: bedrock::KnowledgeBases,
    pub reranker: bedrock::Reranker,
    pub data_sources: bedrock::DataSources,
    pub jobs: bedrock::Jobs,
    pub states: states::StateMachine,
    pub secrets: secrets::Secrets,
    pub web: web::Web,
    pub settings: Settings,
}

impl Aws {
    /// Makes no request: clients are built, and connections opened, with the first call.
    pub fn new(settings: Settings) -> Self {
        let sdk = config::sdk_config(&settings);
        let knowledge_bases = bedrock::KnowledgeBases::new(&sdk);
        Self {
            table: dynamo::Table::new(&sdk, &settings),
            bucket: s3::Bucket::new(&sdk, &settings.bucket, settings.sdk_retries),
            bedrock: bedrock::Bedrock::new(&sdk, &settings),
            reranker: bedrock::Reranker::beside(&knowledge_bases, &settings),
            knowledge_bases,
            data_sources: bedrock::DataSources::new(&sdk),
            jobs: bedrock::Jobs::new(&sdk, &settings),
            states: states::StateMachine::new(&sdk, &settings.state_machine_arn),
            secrets: secrets::Secrets::new(&sdk),
            web: web::Web::new(&settings),
            settings,
        }
    }
}

/// Sorts an SDK error into ours: the error's code decides, transport failures count as busy.
pub(crate) fn classify<E>(
    service: &'static str,
    error: aws_sdk_dynamodb::error::SdkError<E, HttpResponse>,
) -> AwsError
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
    let status = error.raw_response().map(|reply| reply.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let message = error.message().unwrap_or_default().to_owned();
    let transport = matches!(
        error,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
    );
    let detail = if code.is_empty() {
        DisplayErrorContext(&error).to_string()
    } else {
        format!("{code}: {message}")
    };
    match code.as_str() {
        "ConditionalCheckFailedException"
        | "TransactionConflictException"
        | "PreconditionFailed" => AwsError::Conflict { detail },
        "InvalidRange" => AwsError::Damaged { detail },
        "NoSuchKey" | "NotFound" | "ExecutionDoesNotExist" => AwsError::Missing { what: detail },
        "ThrottlingException"
        | "ThrottledException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "InternalError"
        | "InternalServerError"
        | "InternalServerException"
        | "DependencyFailedException"
        | "BadGatewayException"
        | "ServiceUnavailable"
        | "RequestTimeout" => AwsError::Busy { service, detail },
        _ if transport => AwsError::Busy { service, detail },
        // A reply to HEAD says nothing but its status.
        "" if matches!(status, Some(429 | 500..=504)) => AwsError::Busy { service, detail },
        _ => AwsError::Refused { service, detail },
    }
}

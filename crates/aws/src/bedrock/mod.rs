//! Amazon Bedrock's runtime: answers as streams, embeddings in batches, guardrails. No SDK type leaves this module.

mod data_source;
mod embed;
mod guardrail;
mod jobs;
mod rerank;
mod retrieve;
mod stream;
#[cfg(test)]
mod tests;

use aws_config::SdkConfig;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_bedrockruntime::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::config::{self, ModelTimeouts, Settings};
use crate::{Lazy, lazily};

pub use data_source::{
    DOCUMENTS_PER_CALL, DataSource, DataSources, DocumentState, IngestionCounters,
    IngestionProgress, IngestionState, Reads, Start, takes_directly,
};
pub use embed::{EmbedPurpose, EmbedReply, Embeddings};
pub use guardrail::{
    FindingAction, GuardFinding, GuardReply, GuardRole, GuardSource, GuardText, GuardUnits,
    GuardrailRef,
};
pub use jobs::{JobOrder, JobState, Jobs};
pub use rerank::{Relevance, Reranker};
pub use retrieve::{Chunk, Chunks, KnowledgeBases, Retrieve};
pub use stream::{AnswerRequest, AnswerStream, ModelEvent, ModelUsage, SearchResult, StopReason};

/// A model's id for the wire. Settings may say behind an ARN what it stands for, `ARN=ID`: profiles and routers have names that
/// say nothing of their model, and without it neither its price nor what it takes is known.
pub fn wire_id(model: &str) -> &str {
    model.split_once('=').map_or(model, |(id, _)| id)
}

/// Why a model gave no answer or embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BedrockError {
    /// The account's quota for the model is used up for the moment.
    #[error("the model {model} is throttling: {detail}")]
    Throttled { model: String, detail: String },
    /// Bedrock or the model is out of service for the moment, or out of reach.
    #[error("the model {model} is unavailable: {detail}")]
    Unavailable { model: String, detail: String },
    /// The model took longer than Bedrock, or the settings, wait.
    #[error("the model {model} timed out: {detail}")]
    TimedOut { model: String, detail: String },
    /// The stream broke after it had begun.
    #[error("the model {model} broke off in the middle of its reply: {detail}")]
    StreamBroken { model: String, detail: String },
    /// The request cannot succeed as it is: an unknown model, no access, an argument the model does not take.
    #[error("the model {model} refused the request: {detail}")]
    Refused { model: String, detail: String },
}

impl BedrockError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "ModelThrottled",
            Self::Unavailable { .. } => "ModelUnavailable",
            Self::TimedOut { .. } => "ModelTimedOut",
            Self::StreamBroken { .. } => "ModelStreamBroken",
            Self::Refused { .. } => "ModelRefused",
        }
    }

    /// Whether the same request may succeed later without any change.
    pub fn retry(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// The client of Bedrock's runtime.
#[derive(Clone, Debug)]
pub struct Bedrock {
    client: Lazy<Client>,
    embed_model: String,
    embed_dimensions: u32,
    timeouts: ModelTimeouts,
}

impl Bedrock {
    pub(crate) fn new(sdk: &SdkConfig, settings: &Settings) -> Self {
        let timeouts = settings.model_timeouts;
        let waits = TimeoutConfig::builder()
            .read_timeout(timeouts.read)
            .operation_timeout(timeouts.operation)
            .build();
        let waits = match sdk.timeout_config() {
            Some(common) => {
                let mut waits = waits;
                waits.take_defaults_from(common);
                waits
            }
            None => waits,
        };
        // The SDK's guard calls a stream of less than a byte a second broken after 20 s: a model that thinks is silent
        // for longer. Silence within a stream has its own bound here.
        let mut config = Builder::from(sdk)
            .timeout_config(waits)
            .retry_config(RetryConfig::standard().with_max_attempts(settings.model_retries + 1))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = config::bedrock_runtime_endpoint(settings) {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: lazily(|| Client::from_conf(config.build())),
            timeouts,
            embed_model: settings.embed_model.clone(),
            embed_dimensions: settings.embed_dimensions,
        }
    }
}

fn classify<E, R>(model: &str, error: SdkError<E, R>) -> BedrockError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let message = error.message().map(str::to_owned);
    let timed_out = match &error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    };
    if timed_out {
        let (model, detail) = (model.to_owned(), "it did not begin to reply in time".into());
        return BedrockError::TimedOut { model, detail };
    }
    let transport = !matches!(error, SdkError::ServiceError(_));
    let detail = message.unwrap_or_else(|| DisplayErrorContext(&error).to_string());
    if code == "AccessDeniedException" {
        // Its message names the account and the role, which are no caller's business.
        tracing::error!(model, detail, "the model refuses this function");
        let detail = "the service has no access to it; its log says more".to_owned();
        return by_code(model, &code, detail, transport);
    }
    by_code(model, &code, detail, transport)
}

/// Sorts Bedrock's error codes. Source: Amazon Bedrock API Reference, common errors of the runtime.
fn by_code(model: &str, code: &str, detail: String, transport: bool) -> BedrockError {
    let model = model.to_owned();
    match code {
        "ThrottlingException" | "TooManyRequestsException" | "ServiceQuotaExceededException" => {
            BedrockError::Throttled { model, detail }
        }
        "ModelTimeoutException" => BedrockError::TimedOut { model, detail },
        "ServiceUnavailableException"
        | "InternalServerException"
        | "ModelNotReadyException"
        | "ModelErrorException"
        | "BadGatewayException"
        | "DependencyFailedException" => BedrockError::Unavailable { model, detail },
        "ModelStreamErrorException" => BedrockError::StreamBroken { model, detail },
        _ if transport => BedrockError::Unavailable { model, detail },
        _ => BedrockError::Refused { model, detail },
    }
}

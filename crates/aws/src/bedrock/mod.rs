//! Amazon Bedrock's runtime: answers as streams, embeddings in batches. No SDK type leaves this module.

mod embed;
mod stream;

use aws_config::SdkConfig;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::config::Settings;

pub use embed::{EmbedPurpose, Embeddings};
pub use stream::{AnswerRequest, AnswerStream, ModelEvent, SearchResult, StopReason};

/// Why a model gave no answer or embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BedrockError {
    /// The account's quota for the model is used up for the moment.
    #[error("the model {model} is throttling: {detail}")]
    Throttled { model: String, detail: String },
    /// Bedrock or the model is out of service for the moment, or out of reach.
    #[error("the model {model} is unavailable: {detail}")]
    Unavailable { model: String, detail: String },
    /// The model took longer than Bedrock waits.
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
    client: Client,
    embed_model: String,
    embed_dimensions: u32,
}

impl Bedrock {
    pub(crate) fn new(sdk: &SdkConfig, settings: &Settings) -> Self {
        Self {
            client: Client::new(sdk),
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
        | "ModelErrorException" => BedrockError::Unavailable { model, detail },
        "ModelStreamErrorException" => BedrockError::StreamBroken { model, detail },
        _ if transport => BedrockError::Unavailable { model, detail },
        _ => BedrockError::Refused { model, detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_to_do() {
        let check = |code: &str, transport: bool, name: &str, retry: bool| {
            let error = by_code("m", code, "d".into(), transport);
            assert_eq!((error.name(), error.retry()), (name, retry), "{code}");
        };
        check("ThrottlingException", false, "ModelThrottled", true);
        check("ModelTimeoutException", false, "ModelTimedOut", true);
        check(
            "ServiceUnavailableException",
            false,
            "ModelUnavailable",
            true,
        );
        check(
            "ModelStreamErrorException",
            false,
            "ModelStreamBroken",
            true,
        );
        check("", true, "ModelUnavailable", true);
        check("ValidationException", false, "ModelRefused", false);
        check("AccessDeniedException", false, "ModelRefused", false);
    }
}

//! An answer as a stream of events. Dropping the stream ends the request.

use std::time::Duration;

use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::primitives::event_stream::EventReceiver;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, CacheTtl as WireTtl, CitationLocation, CitationsConfig,
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput,
    InferenceConfiguration, Message, SearchResultBlock, SearchResultContentBlock,
    ServiceTier as WireTier, SystemContentBlock,
};
use tokio::time::Instant;

use super::{Bedrock, BedrockError, by_code, classify};
use crate::config::{CacheTtl, ServiceTier};

/// A passage as the model sees it: its sentences are the units that a citation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    pub source: String,
    pub title: String,
    pub sentences: Vec<String>,
}

/// What the model is asked.
#[derive(Debug, Clone)]
pub struct AnswerRequest {
    pub model: String,
    pub system: String,
    /// Given as `searchResult` blocks with citations on; empty for models without them.
    pub search_results: Vec<SearchResult>,
    /// What the message is about, before it: passages for models that take no search results.
    pub context: String,
    /// The user's message, after all that.
    pub message: String,
    pub max_tokens: u32,
    /// `None` where the model does not take one.
    pub temperature: Option<f32>,
    /// Whether the model is to keep what stands before the message in its prompt cache.
    pub cache: Option<CacheTtl>,
    pub tier: ServiceTier,
}

impl AnswerRequest {
    /// Bytes of all that the model reads.
    pub fn bytes(&self) -> usize {
        let results = self.search_results.iter();
        let results = results.map(|one| {
            let sentences: usize = one.sentences.iter().map(String::len).sum();
            one.source.len() + one.title.len() + sentences
        });
        let own = [&self.system, &self.context, &self.message];
        own.map(String::len).iter().sum::<usize>() + results.sum::<usize>()
    }
}

/// Why the model stopped, in Bedrock's words.
pub type StopReason = String;

/// One event of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelEvent {
    Text(String),
    /// The text just sent, or about to end, rests on sentences `start..end` of a search result.
    Citation {
        search_result: usize,
        start: usize,
        end: usize,
    },
    /// A content block ended: citations before it belong to its text.
    BlockEnd,
    Stop(StopReason),
    Usage(ModelUsage),
}

/// What one call took, as the model says at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelUsage {
    /// Without what was read from a prompt cache or written to one.
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    /// The model that a prompt router chose.
    pub invoked_model: Option<String>,
    /// The tier that answered, where the reply names one that we know.
    pub tier: Option<ServiceTier>,
}

/// The events of an answer, in order.
pub struct AnswerStream {
    model: String,
    /// Whether the model said why it stopped. A stream that ends before was cut off.
    stopped: bool,
    /// The longest silence.
    idle: Duration,
    /// When the whole answer must be there.
    deadline: Instant,
    receiver: EventReceiver<ConverseStreamOutput, ConverseStreamOutputError>,
}

impl Bedrock {
    /// Asks a model. Nothing is retried once the stream has begun.
    ///
    /// # Errors
    /// Any [`BedrockError`].
    pub async fn answer(&self, request: &AnswerRequest) -> Result<AnswerStream, BedrockError> {
        let refused = |detail: String| BedrockError::Refused {
            model: request.model.clone(),
            detail,
        };
        let mut content = Vec::new();
        for result in &request.search_results {
            content.push(ContentBlock::SearchResult(
                search_result(result).map_err(refused)?,
            ));
        }
        content.extend(asked(request).map_err(refused)?);
        let message = Message::builder()
            .role(ConversationRole::User)
            .set_content(Some(content))
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let inference = InferenceConfiguration::builder()
            .max_tokens(request.max_tokens as i32)
            .set_temperature(request.temperature)
            .build();
        let deadline = Instant::now() + self.timeouts.operation;
        let tier = (request.tier != ServiceTier::Default)
            .then(|| service_tier(request.tier))
            .transpose()
            .map_err(refused)?;
        let reply = self
            .client
            .converse_stream()
            .set_service_tier(tier)
            .model_id(super::wire_id(&request.model))
            .system(SystemContentBlock::Text(request.system.clone()))
            .messages(message)
            .inference_config(inference)
            .send()
            .await
            .map_err(|error| classify(&request.model, error))?;
        Ok(AnswerStream {
            model: request.model.clone(),
            stopped: false,
            idle: self.timeouts.idle,
            deadline,
            receiver: reply.stream,
        })
    }
}

/// What the model is asked, behind the point up to which it keeps what it read.
fn asked(request: &AnswerRequest) -> Result<Vec<ContentBlock>, String> {
    let before = !request.search_results.is_empty() || !request.context.is_empty();
    let Some(ttl) = request.cache.filter(|_| before) else {
        let text = [request.context.as_str(), &request.message].concat();
        return Ok(vec![ContentBlock::Text(text)]);
    };
    let point = CachePointBlock::builder()
        .r#type(CachePointType::Default)
        .ttl(match ttl {
            CacheTtl::FiveMinutes => WireTtl::FiveMinutes,
            CacheTtl::OneHour => WireTtl::OneHour,
        })
        .build()
        .map_err(|error| error.to_string())?;
    let context = (!request.context.is_empty()).then(|| request.context.clone());
    let context = context.map(ContentBlock::Text);
    let after = [
        ContentBlock::CachePoint(point),
        ContentBlock::Text(request.message.clone()),
    ];
    Ok(context.into_iter().chain(after).collect())
}

fn service_tier(tier: ServiceTier) -> Result<WireTier, String> {
    WireTier::builder()
        .r#type(tier.as_str().into())
        .build()
        .map_err(|error| error.to_string())
}

/// The tier of a reply; one that is new at AWS is none of ours.
fn told_tier(tier: &WireTier) -> Option<ServiceTier> {
    let known = [
        ServiceTier::Default,
        ServiceTier::Flex,
        ServiceTier::Priority,
    ];
    let word = tier.r#type().as_str();
    known.into_iter().find(|known| known.as_str() == word)
}

fn search_result(result: &SearchResult) -> Result<SearchResultBlock, String> {
    let mut block = SearchResultBlock::builder()
        .source(&result.source)
        .title(&result.title);
    for sentence in &result.sentences {
        let content = SearchResultContentBlock::builder().text(sentence).build();
        block = block.content(content.map_err(|error| error.to_string())?);
    }
    let citations = CitationsConfig::builder().enabled(true).build();
    block
        .citations(citations.map_err(|error| error.to_string())?)
        .build()
        .map_err(|error| error.to_string())
}

impl AnswerStream {
    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// What Bedrock reported in mid-stream, [`BedrockError::StreamBroken`] when the connection ended early, or
    /// [`BedrockError::TimedOut`] when the model fell silent or went on for too long.
    pub async fn next(&mut self) -> Result<Option<ModelEvent>, BedrockError> {
        loop {
            let until = self.deadline.min(Instant::now() + self.idle);
            let received = tokio::time::timeout_at(until, self.receiver.recv()).await;
            let received = received.map_err(|_| self.too_late())?;
            let Some(output) = received.map_err(|error| mid_stream(&self.model, &error))? else {
                return if self.stopped {
                    Ok(None)
                } else {
                    Err(cut_off(&self.model))
                };
            };
            if let Some(event) = event(output) {
                self.stopped |= matches!(event, ModelEvent::Stop(_));
                return Ok(Some(event));
            }
        }
    }
}

impl AnswerStream {
    fn too_late(&self) -> BedrockError {
        let detail = if Instant::now() < self.deadline {
            format!("it sent nothing for {} s", self.idle.as_secs())
        } else {
            "its answer was not whole in time".into()
        };
        BedrockError::TimedOut {
            model: self.model.clone(),
            detail,
        }
    }
}

/// Sorts what arrives in mid-stream. The frame's own type decides: its payload holds a message and no code.
fn mid_stream<R>(model: &str, error: &SdkError<ConverseStreamOutputError, R>) -> BedrockError {
    use ConverseStreamOutputError as Mid;
    let Some(service) = error.as_service_error() else {
        return cut_off(model);
    };
    let code = match service {
        Mid::ThrottlingException(_) => "ThrottlingException",
        Mid::ValidationException(_) => "ValidationException",
        Mid::ServiceUnavailableException(_) => "ServiceUnavailableException",
        Mid::InternalServerException(_) => "InternalServerException",
        Mid::ModelStreamErrorException(_) => "ModelStreamErrorException",
        other => other.code().unwrap_or("ModelStreamErrorException"),
    };
    let detail = service.message().unwrap_or("it gave no reason").to_owned();
    by_code(model, code, detail, false)
}

fn cut_off(model: &str) -> BedrockError {
    BedrockError::StreamBroken {
        model: model.to_owned(),
        detail: "the connection ended early".into(),
    }
}

/// Our event for one of Bedrock's; `None` for those that carry nothing for an answer (reasoning, block starts).
fn event(output: ConverseStreamOutput) -> Option<ModelEvent> {
    match output {
        ConverseStreamOutput::ContentBlockDelta(delta) => match delta.delta? {
            ContentBlockDelta::Text(text) => Some(ModelEvent::Text(text)),
            ContentBlockDelta::Citation(citation) => located(citation.location?),
            _ => None,
        },
        ConverseStreamOutput::ContentBlockStop(_) => Some(ModelEvent::BlockEnd),
        ConverseStreamOutput::MessageStop(stop) => {
            Some(ModelEvent::Stop(stop.stop_reason.as_str().to_owned()))
        }
        ConverseStreamOutput::Metadata(metadata) => {
            let tier = metadata.service_tier.as_ref().and_then(told_tier);
            let router = metadata.trace.and_then(|trace| trace.prompt_router);
            let usage = metadata.usage?;
            let count = |tokens: i32| tokens.max(0) as u64;
            Some(ModelEvent::Usage(ModelUsage {
                input_tokens: count(usage.input_tokens),
                output_tokens: count(usage.output_tokens),
                cache_read_tokens: count(usage.cache_read_input_tokens.unwrap_or_default()),
                cache_write_tokens: count(usage.cache_write_input_tokens.unwrap_or_default()),
                invoked_model: router.and_then(|router| router.invoked_model_id),
                tier,
            }))
        }
        _ => None,
    }
}

fn located(location: CitationLocation) -> Option<ModelEvent> {
    let CitationLocation::SearchResultLocation(location) = location else {
        return None;
    };
    let at = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
    Some(ModelEvent::Citation {
        search_result: at(location.search_result_index)?,
        start: at(location.start)?,
        end: at(location.end)?,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_bedrockruntime::types::error::{
        ModelStreamErrorException, ServiceUnavailableException, ThrottlingException,
        ValidationException,
    };

    use super::*;

    #[test]
    fn errors_in_mid_stream_are_named_by_their_frame() {
        use ConverseStreamOutputError as Mid;
        let check = |error: Mid, name: &str, retry: bool| {
            let error = mid_stream("m", &SdkError::service_error(error, ()));
            assert_eq!((error.name(), error.retry()), (name, retry), "{error}");
        };
        let throttled = ThrottlingException::builder().message("slow down").build();
        check(Mid::ThrottlingException(throttled), "ModelThrottled", true);
        let invalid = ValidationException::builder().message("too long").build();
        check(Mid::ValidationException(invalid), "ModelRefused", false);
        let away = ServiceUnavailableException::builder().build();
        check(
            Mid::ServiceUnavailableException(away),
            "ModelUnavailable",
            true,
        );
        let broken = ModelStreamErrorException::builder().build();
        check(
            Mid::ModelStreamErrorException(broken),
            "ModelStreamBroken",
            true,
        );
        let cut: SdkError<Mid, ()> = SdkError::timeout_error("nothing came");
        assert_eq!(mid_stream("m", &cut).name(), "ModelStreamBroken");
    }
}

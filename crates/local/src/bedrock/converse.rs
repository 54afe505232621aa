//! One turn of Converse or ConverseStream: guardrail before, the model, guardrail after, and the account of it.
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Map, Value, json};

use super::cache::InputTokens;
use super::content::{ContentBlock, GuardContent, GuardText, SystemBlock};
use super::frames::Metadata;
use super::guardrail::{self, Assessment, Context, Guardrail, Source};
use super::reply::{Block, Counted, Events, ModelEvent, Spoken, StopReason};
use super::request::{ConverseRequest, GuardrailTrace, StreamProcessingMode};
use super::wire::WireError;
use super::words::count_tokens;
use super::{Bedrock, extractive, passages, strategy};

/// The guardrail of one turn and what it found so far.
#[derive(Clone)]
struct Watch {
    guardrail: Guardrail,
    trace: GuardrailTrace,
    mode: StreamProcessingMode,
    input: Assessment,
    /// The question was blocked: the model never hears it, and there is no output to assess.
    blocked: bool,
    output: OnceLock<Assessment>,
    /// What the answer must rest on, where the request marks it.
    context: Context,
}

/// A model that is speaking, with what the reply needs beside its words.
pub(super) struct Speech {
    events: Events,
    watch: Option<Watch>,
    tokens: InputTokens,
    echoed: Map<String, Value>,
}

/// Whole milliseconds since `started`.
pub(super) fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Speech {
    /// Begins a checked request.
    pub(super) async fn begin(
        bedrock: &Bedrock,
        model_id: &str,
        mut request: ConverseRequest,
        now: Instant,
    ) -> Result<Self, WireError> {
        let invoked = strategy::invoked(model_id, &request);
        let model_id = invoked.as_deref().unwrap_or(model_id);
        let tokens = bedrock.cache.count(model_id, &request, now);
        let mut echoed = Map::new();
        if let Some(invoked) = &invoked {
            let trace = json!({"promptRouter": {"invokedModelId": invoked}});
            echoed.insert("trace".into(), trace);
        }
        if let Some(config) = &request.performance_config {
            echoed.insert("performanceConfig".into(), json!(config));
        }
        if let Some(tier) = &request.service_tier {
            echoed.insert("serviceTier".into(), json!(tier));
        }
        let watch = watch(bedrock, &mut request)?;
        if let Some(watch) = watch.as_ref().filter(|watch| watch.blocked) {
            let message = watch.guardrail.blocked_message(Source::Input);
            let refusal = Spoken {
                counted: Some(Counted {
                    input: 0,
                    output: 0,
                }),
                ..Spoken::text(message, StopReason::GuardrailIntervened)
            };
            // A blocked question reaches no model: nothing is counted.
            return Ok(Self {
                events: refusal.into_events(),
                watch: Some(watch.clone()),
                tokens: InputTokens::default(),
                echoed,
            });
        }
        let material = passages::collect(&request)?;
        let events = match &bedrock.endpoint {
            Some(endpoint) => endpoint.speak(model_id, &request).await?,
            None => extractive::speak(&request, &material).into_events(),
        };
        Ok(Self {
            events,
            watch,
            tokens,
            echoed,
        })
    }

    /// The reply of Converse.
    pub(super) async fn whole(self, started: Instant) -> Result<Value, WireError> {
        let mut spoken = Spoken::collect(self.events).await?;
        let output = count_tokens(&spoken.said());
        if let Some(watch) = &self.watch {
            watch.guard(&mut spoken);
        }
        let mut reply = account(self.tokens, spoken.counted, output, started, self.echoed);
        reply["output"] = json!({"message": {"role": "assistant", "content": spoken.content()?}});
        reply["stopReason"] = json!(spoken.reason.as_str());
        add_trace(&mut reply, self.watch.as_ref());
        Ok(reply)
    }

    /// The events of ConverseStream and what makes its `metadata`.
    ///
    /// In `sync` mode the guardrail hears the whole answer before the client hears any of it; in `async` mode the
    /// client hears it as it is spoken, nothing is masked, and only the stop reason tells of an intervention.
    pub(super) fn stream(self, started: Instant) -> (Events, Metadata) {
        let Self {
            events,
            watch,
            tokens,
            echoed,
        } = self;
        let Some(watch) = watch else {
            return (
                events,
                Box::new(move |counted, said| {
                    account(tokens, counted, count_tokens(said), started, echoed)
                }),
            );
        };
        let watch = Arc::new(watch);
        let watching = watch.clone();
        let events = match watch.mode {
            StreamProcessingMode::Sync => guarded(events, watching),
            StreamProcessingMode::Async => overheard(events, watching),
        };
        let metadata = move |counted, said: &str| {
            let mut metadata = account(tokens, counted, count_tokens(said), started, echoed);
            add_trace(&mut metadata, Some(&watch));
            metadata
        };
        (events, Box::new(metadata))
    }
}

/// Assesses the question: `guardContent` blocks if there are any, else every text of the conversation and the system
/// prompt; passages and tool results are not assessed. Personal data is masked before the model reads it.
fn watch(bedrock: &Bedrock, request: &mut ConverseRequest) -> Result<Option<Watch>, WireError> {
    let Some(config) = &request.guardrail_config else {
        return Ok(None);
    };
    let guardrail = bedrock
        .guardrails
        .guardrail(&config.guardrail_identifier, &config.guardrail_version)?;
    let (trace, mode) = (
        config.trace,
        config
            .stream_processing_mode
            .unwrap_or(StreamProcessingMode::Sync),
    );
    let context = guardrail::context(guarded_texts(request));
    let mut texts = texts(request);
    let given = texts.iter().map(|text| text.as_str());
    let input = guardrail.assess(Source::Input, given, &Context::default());
    for (text, masked) in texts.iter_mut().zip(&input.texts) {
        text.clone_from(masked);
    }
    let blocked = input.blocked;
    Ok(Some(Watch {
        guardrail,
        trace,
        mode,
        input,
        blocked,
        output: OnceLock::new(),
        context,
    }))
}

/// The texts of all `guardContent` blocks.
fn guarded_texts(request: &ConverseRequest) -> impl Iterator<Item = &GuardText> {
    let system = request.system.iter().filter_map(|block| match block {
        SystemBlock::GuardContent(GuardContent::Text(text)) => Some(text),
        _ => None,
    });
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    system.chain(blocks.filter_map(|block| match block {
        ContentBlock::GuardContent(GuardContent::Text(text)) => Some(text),
        _ => None,
    }))
}

/// What is assessed. Where there is any `guardContent`, it alone is; a grounding source is no content of its own.
fn texts(request: &mut ConverseRequest) -> Vec<&mut String> {
    let any_guarded = guarded_texts(request).next().is_some();
    let (mut guarded, mut plain) = (Vec::new(), Vec::new());
    for block in &mut request.system {
        match block {
            SystemBlock::Text(text) => plain.push(text),
            SystemBlock::GuardContent(GuardContent::Text(text)) if guardrail::is_guarded(text) => {
                guarded.push(&mut text.text)
            }
            _ => {}
        }
    }
    for block in request
        .messages
        .iter_mut()
        .flat_map(|message| &mut message.content)
    {
        match block {
            ContentBlock::Text(text) => plain.push(text),
            ContentBlock::GuardContent(GuardContent::Text(text)) if guardrail::is_guarded(text) => {
                guarded.push(&mut text.text)
            }
            _ => {}
        }
    }
    if any_guarded { guarded } else { plain }
}

impl Watch {
    /// Assesses an answer and replaces what must not be said.
    fn guard(&self, spoken: &mut Spoken) {
        if self.blocked {
            return;
        }
        let texts = spoken.texts();
        let said = texts.iter().map(String::as_str);
        let found = self.guardrail.assess(Source::Output, said, &self.context);
        if found.blocked {
            *spoken = Spoken {
                counted: spoken.counted,
                ..Spoken::text(
                    self.guardrail.blocked_message(Source::Output),
                    StopReason::GuardrailIntervened,
                )
            };
        } else if found.masked {
            let mut masked = found.texts.iter();
            for block in &mut spoken.blocks {
                if let Block::Text { text, citations } = block
                    && let Some(masked) = masked.next()
                {
                    mask(text, citations, masked);
                }
            }
            spoken.reason = StopReason::GuardrailIntervened;
        }
        self.output.get_or_init(|| found);
    }

    /// Whether the guardrail minds what was said.
    fn minds(&self, said: &str) -> bool {
        !self.blocked
            && self
                .output
                .get_or_init(|| self.guardrail.assess(Source::Output, [said], &self.context))
                .intervened()
    }
}

/// A masked text quotes nothing any more that its citations could show unmasked.
fn mask(text: &mut String, citations: &mut [super::content::Citation], masked: &str) {
    if text != masked {
        *text = masked.to_owned();
        citations
            .iter_mut()
            .for_each(|citation| citation.source_content.clear());
    }
}

fn guarded(events: Events, watch: Arc<Watch>) -> Events {
    let whole = async move {
        match Spoken::collect(events).await {
            Ok(mut spoken) => {
                watch.guard(&mut spoken);
                spoken.into_events()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    };
    stream::once(whole).flatten().boxed()
}

fn overheard(events: Events, watch: Arc<Watch>) -> Events {
    let mut said = String::new();
    let heard = events.map(move |event| {
        Ok(match event? {
            ModelEvent::Text(text) => {
                said.push_str(&text);
                ModelEvent::Text(text)
            }
            ModelEvent::Stop { counted, .. } if watch.minds(&said) => ModelEvent::Stop {
                reason: StopReason::GuardrailIntervened,
                counted,
            },
            event => event,
        })
    });
    heard.boxed()
}

/// Usage, metrics and what the request asked to be echoed.
fn account(
    tokens: InputTokens,
    counted: Option<Counted>,
    output: usize,
    started: Instant,
    echoed: Map<String, Value>,
) -> Value {
    let output = counted.map_or(output, |counted| counted.output);
    // An endpoint counts the cached tokens with the others.
    let input = counted.map(|counted| counted.input.saturating_sub(tokens.read + tokens.written));
    let mut account = Value::Object(echoed);
    account["usage"] = tokens.usage(input, output);
    account["metrics"] = json!({"latencyMs": milliseconds(started)});
    account
}

fn add_trace(reply: &mut Value, watch: Option<&Watch>) {
    if let Some(trace) = watch.and_then(|watch| {
        watch
            .guardrail
            .trace(watch.trace, Some(&watch.input), watch.output.get())
    }) {
        reply["trace"]["guardrail"] = trace;
    }
}

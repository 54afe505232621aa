//! The endpoint's server-sent events as a model's events, one by one as they come.
use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;

use super::super::reply::{Counted, Events, ModelEvent, StopReason};
use super::super::wire::{ErrorName, WireError};

/// Longest line of the endpoint's stream (bytes); a longer one is no event stream.
const MAX_LINE_BYTES: usize = 4_000_000;

/// One piece of the endpoint's stream.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Chunk {
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolCall {
    index: usize,
    id: Option<String>,
    function: Function,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Tool(usize),
}

/// Turns server-sent events into model events.
struct Reader {
    pieces: BoxStream<'static, Result<Bytes, WireError>>,
    buffer: Vec<u8>,
    ready: VecDeque<Result<ModelEvent, WireError>>,
    open: Open,
    reason: Option<StopReason>,
    counted: Option<Counted>,
    finished: bool,
}

/// Reads the body of a streamed chat completion.
pub(super) fn events(pieces: BoxStream<'static, Result<Bytes, WireError>>) -> Events {
    let reader = Reader {
        pieces,
        buffer: Vec::new(),
        ready: VecDeque::new(),
        open: Open::Nothing,
        reason: None,
        counted: None,
        finished: false,
    };
    let stream = stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.ready.pop_front() {
                return Some((event, reader));
            }
            if reader.finished {
                return None;
            }
            match reader.pieces.next().await {
                Some(Ok(piece)) => reader.take(&piece),
                Some(Err(error)) => reader.fail(error),
                None => reader.finish(),
            }
        }
    });
    stream.boxed()
}

impl Reader {
    fn take(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(data) = line.trim().strip_prefix("data:") {
                self.data(data.trim());
            }
            if self.finished {
                return;
            }
        }
        if self.buffer.len() > MAX_LINE_BYTES {
            self.fail(WireError::new(
                ErrorName::ModelStream,
                "The model endpoint sent a line without end.",
            ));
        }
    }

    fn data(&mut self, data: &str) {
        if data == "[DONE]" {
            return self.finish();
        }
        let chunk: Chunk = match serde_json::from_str(data) {
            Ok(chunk) => chunk,
            Err(error) => {
                return self.fail(WireError::new(
                    ErrorName::ModelStream,
                    format!("The model endpoint sent an event that cannot be read: {error}"),
                ));
            }
        };
        if let Some(error) = chunk.error {
            return self.fail(WireError::new(
                ErrorName::ModelStream,
                format!("The model endpoint failed in mid-stream: {error}"),
            ));
        }
        if let Some(usage) = chunk.usage {
            self.counted = Some(Counted {
                input: usage.prompt_tokens,
                output: usage.completion_tokens,
            });
        }
        chunk
            .choices
            .into_iter()
            .take(1)
            .for_each(|choice| self.choice(choice));
    }

    fn choice(&mut self, choice: Choice) {
        if let Some(text) = choice.delta.content.filter(|text| !text.is_empty()) {
            self.turn_to(Open::Text, || ModelEvent::TextStart);
            self.ready.push_back(Ok(ModelEvent::Text(text)));
        }
        for call in choice.delta.tool_calls.into_iter().flatten() {
            let ToolCall {
                index,
                id,
                function,
            } = call;
            let name = function.name.unwrap_or_default();
            let id = id.unwrap_or_else(|| format!("tooluse_{index}"));
            self.turn_to(Open::Tool(index), || ModelEvent::ToolStart { id, name });
            if let Some(input) = function.arguments.filter(|input| !input.is_empty()) {
                self.ready.push_back(Ok(ModelEvent::ToolInput(input)));
            }
        }
        self.reason = choice
            .finish_reason
            .map(|reason| match reason.as_str() {
                "length" => StopReason::MaxTokens,
                "tool_calls" | "function_call" => StopReason::ToolUse,
                "content_filter" => StopReason::ContentFiltered,
                _ => StopReason::EndTurn,
            })
            .or(self.reason);
    }

    fn turn_to(&mut self, block: Open, start: impl FnOnce() -> ModelEvent) {
        if self.open != block {
            self.close();
            self.ready.push_back(Ok(start()));
            self.open = block;
        }
    }

    fn close(&mut self) {
        if self.open != Open::Nothing {
            self.ready.push_back(Ok(ModelEvent::BlockStop));
        }
        self.open = Open::Nothing;
    }

    /// The end of the stream: without a finish reason it broke off.
    fn finish(&mut self) {
        match self.reason {
            Some(reason) => {
                self.close();
                self.ready.push_back(Ok(ModelEvent::Stop {
                    reason,
                    counted: self.counted,
                }));
                self.finished = true;
            }
            None => self.fail(WireError::new(
                ErrorName::ModelStream,
                "The model endpoint's stream ended before its answer did.",
            )),
        }
    }

    fn fail(&mut self, error: WireError) {
        self.ready.push_back(Err(error));
        self.finished = true;
    }
}

//! `application/vnd.amazon.eventstream`: ConverseStream's events as frames with checksums, made one by one while the
//! model speaks. An error in mid-stream is an exception frame and the last one.
use std::collections::VecDeque;
use std::convert::Infallible;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};

use super::reply::{Counted, Events, ModelEvent, StopReason};
use super::wire::WireError;

pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Makes the `metadata` event when the model has stopped: given its own count and all it said.
pub(super) type Metadata = Box<dyn FnOnce(Option<Counted>, &str) -> Value + Send>;

/// An error to raise after some number of events.
pub(super) struct Break {
    pub(super) after_events: usize,
    pub(super) error: WireError,
}

struct Writer {
    events: Events,
    ready: VecDeque<Bytes>,
    metadata: Option<Metadata>,
    breaks: Option<Break>,
    index: usize,
    sent: usize,
    said: String,
    finished: bool,
    pace: std::time::Duration,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            tracing::info!(events = self.sent, "converse_stream_abandoned");
        }
    }
}

/// The frames of one ConverseStream reply.
pub(super) fn converse_stream(
    events: Events,
    metadata: Metadata,
    breaks: Option<Break>,
    pace: std::time::Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut writer = Writer {
        events,
        ready: VecDeque::new(),
        metadata: Some(metadata),
        breaks,
        index: 0,
        sent: 0,
        said: String::new(),
        finished: false,
        pace,
    };
    writer.event("messageStart", &json!({"role": "assistant"}));
    stream::unfold(writer, |mut writer| async move {
        loop {
            if let Some(frame) = writer.ready.pop_front() {
                if !writer.pace.is_zero() {
                    tokio::time::sleep(writer.pace).await;
                }
                return Some((Ok(frame), writer));
            }
            if writer.finished {
                return None;
            }
            match writer.events.next().await {
                Some(Ok(event)) => writer.model_event(event),
                Some(Err(error)) => writer.exception(&error),
                None => writer.finished = true,
            }
        }
    })
}

impl Writer {
    fn model_event(&mut self, event: ModelEvent) {
        let index = self.index;
        match event {
            ModelEvent::TextStart => {}
            ModelEvent::ToolStart { id, name } => {
                self.said.push_str(&name);
                self.event("contentBlockStart", &json!({"start": {"toolUse": {"toolUseId": id, "name": name}}, "contentBlockIndex": index}));
            }
            ModelEvent::Text(text) => {
                self.said.push_str(&text);
                self.delta(json!({"text": text}));
            }
            ModelEvent::ToolInput(input) => {
                self.said.push_str(&input);
                self.delta(json!({"toolUse": {"input": input}}));
            }
            ModelEvent::Citation(citation) => self.delta(json!({"citation": citation})),
            ModelEvent::BlockStop => {
                self.event("contentBlockStop", &json!({"contentBlockIndex": index}));
                self.index += 1;
            }
            ModelEvent::Stop { reason, counted } => self.stop(reason, counted),
        }
    }

    fn delta(&mut self, delta: Value) {
        let index = self.index;
        self.event(
            "contentBlockDelta",
            &json!({"delta": delta, "contentBlockIndex": index}),
        );
    }

    fn stop(&mut self, reason: StopReason, counted: Option<Counted>) {
        self.event("messageStop", &json!({"stopReason": reason.as_str()}));
        if let Some(metadata) = self.metadata.take() {
            let metadata = metadata(counted, &self.said);
            self.event("metadata", &metadata);
        }
        self.finished = true;
    }

    fn event(&mut self, name: &'static str, payload: &Value) {
        if let Some(found) = self.breaks.take_if(|b| self.sent >= b.after_events) {
            self.exception(&found.error);
        }
        if !self.finished {
            self.sent += 1;
            self.ready
                .push_back(frame("event", ":event-type", name, payload));
        }
    }

    fn exception(&mut self, error: &WireError) {
        self.ready.push_back(frame(
            "exception",
            ":exception-type",
            error.name.exception_type(),
            &error.body(),
        ));
        self.finished = true;
    }
}

/// One frame; `type_header` is `:event-type` or `:exception-type`.
pub(super) fn frame(
    kind: &'static str,
    type_header: &'static str,
    name: &'static str,
    payload: &Value,
) -> Bytes {
    let text = |value: &'static str| HeaderValue::String(value.into());
    let message = Message::new(payload.to_string())
        .add_header(Header::new(type_header, text(name)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text(kind)));
    let mut buffer = BytesMut::new();
    // Only a payload beyond 16 MB or a name beyond 255 bytes can fail; neither is made here.
    match write_message_to(&message, &mut buffer) {
        Ok(()) => buffer.freeze(),
        Err(error) => {
            tracing::error!(%error, name, "an event did not fit a frame");
            Bytes::new()
        }
    }
}

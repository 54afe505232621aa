//! What a model says, as events while it speaks and as a message when it has spoken. Converse collects the events;
//! ConverseStream frames them as they come.
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Value, json};

use super::content::Citation;
use super::wire::{ErrorName, WireError};

/// Why a model stopped (`stopReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    ContentFiltered,
    GuardrailIntervened,
}

impl StopReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ContentFiltered => "content_filtered",
            Self::GuardrailIntervened => "guardrail_intervened",
        }
    }
}

/// Tokens as the model behind counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) input: usize,
    pub(super) output: usize,
}

/// One event of a speaking model. Blocks do not nest; the last event is `Stop`.
#[derive(Clone, Debug)]
pub(super) enum ModelEvent {
    TextStart,
    ToolStart {
        id: String,
        name: String,
    },
    Text(String),
    ToolInput(String),
    Citation(Citation),
    BlockStop,
    Stop {
        reason: StopReason,
        counted: Option<Counted>,
    },
}

/// A speaking model; dropping it stops the work.
pub(super) type Events = BoxStream<'static, Result<ModelEvent, WireError>>;

/// A block of a finished message.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Text {
        text: String,
        citations: Vec<Citation>,
    },
    Tool {
        id: String,
        name: String,
        input: String,
    },
}

/// A finished message.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) blocks: Vec<Block>,
    pub(super) reason: StopReason,
    pub(super) counted: Option<Counted>,
}

/// Pause between two word groups of a local answer, so that each travels as a piece of its own.
const PACE: Duration = Duration::from_millis(2);
/// Words in one text delta of a local answer.
const GROUP_WORDS: usize = 4;

impl Spoken {
    pub(super) fn text(text: impl Into<String>, reason: StopReason) -> Self {
        Self {
            blocks: vec![Block::Text {
                text: text.into(),
                citations: Vec::new(),
            }],
            reason,
            counted: None,
        }
    }

    /// Listens until the model has spoken.
    pub(super) async fn collect(mut events: Events) -> Result<Self, WireError> {
        let mut spoken = Self {
            blocks: Vec::new(),
            reason: StopReason::EndTurn,
            counted: None,
        };
        while let Some(event) = events.next().await {
            spoken.push(event?);
        }
        Ok(spoken)
    }

    fn push(&mut self, event: ModelEvent) {
        match (event, self.blocks.last_mut()) {
            (ModelEvent::TextStart, _) => self.blocks.push(Block::Text {
                text: String::new(),
                citations: Vec::new(),
            }),
            (ModelEvent::ToolStart { id, name }, _) => self.blocks.push(Block::Tool {
                id,
                name,
                input: String::new(),
            }),
            (ModelEvent::Text(more), Some(Block::Text { text, .. })) => text.push_str(&more),
            (ModelEvent::Citation(citation), Some(Block::Text { citations, .. })) => {
                citations.push(citation)
            }
            (ModelEvent::ToolInput(more), Some(Block::Tool { input, .. })) => input.push_str(&more),
            (ModelEvent::Stop { reason, counted }, _) => {
                self.reason = reason;
                self.counted = counted;
            }
            _ => {}
        }
    }

    /// The message's `content` on the wire.
    pub(super) fn content(&self) -> Result<Vec<Value>, WireError> {
        self.blocks.iter().map(block_json).collect()
    }

    /// Every text of the message, block by block.
    pub(super) fn texts(&self) -> Vec<String> {
        self.blocks
            .iter()
            .filter_map(|block| match block {
                Block::Text { text, .. } => Some(text.clone()),
                Block::Tool { .. } => None,
            })
            .collect()
    }

    /// Everything that was said, for counting.
    pub(super) fn said(&self) -> String {
        let parts = self.blocks.iter().map(|block| match block {
            Block::Text { text, .. } => text.clone(),
            Block::Tool { name, input, .. } => format!("{name} {input}"),
        });
        parts.collect::<Vec<_>>().join("\n")
    }

    /// Says the message again, word group by word group.
    pub(super) fn into_events(self) -> Events {
        let mut events = Vec::new();
        for block in self.blocks {
            match block {
                Block::Text { text, citations } => {
                    events.push(ModelEvent::TextStart);
                    events.extend(word_groups(&text).into_iter().map(ModelEvent::Text));
                    events.extend(citations.into_iter().map(ModelEvent::Citation));
                }
                Block::Tool { id, name, input } => {
                    events.push(ModelEvent::ToolStart { id, name });
                    events.push(ModelEvent::ToolInput(input));
                }
            }
            events.push(ModelEvent::BlockStop);
        }
        events.push(ModelEvent::Stop {
            reason: self.reason,
            counted: self.counted,
        });
        let paced = stream::iter(events).then(|event| async move {
            if matches!(event, ModelEvent::Text(_)) {
                tokio::time::sleep(PACE).await;
            }
            Ok(event)
        });
        paced.boxed()
    }
}

fn block_json(block: &Block) -> Result<Value, WireError> {
    Ok(match block {
        Block::Text { text, citations } if citations.is_empty() => json!({"text": text}),
        Block::Text { text, citations } => {
            json!({"citationsContent": {"content": [{"text": text}], "citations": citations}})
        }
        Block::Tool { id, name, input } => {
            let input: Value = match input.trim() {
                "" => json!({}),
                input => serde_json::from_str(input).map_err(|error| {
                    WireError::new(ErrorName::Model, format!("The model called the tool {name} with an input that is not JSON: {error}"))
                })?,
            };
            json!({"toolUse": {"toolUseId": id, "name": name, "input": input}})
        }
    })
}

/// Cuts after every few words; joined, the groups are the text.
fn word_groups(text: &str) -> Vec<String> {
    let mut groups = Vec::new();
    let (mut start, mut words, mut in_word) = (0, 0, false);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && in_word {
            words += 1;
            if words == GROUP_WORDS {
                groups.push(text[start..at].to_owned());
                (start, words) = (at, 0);
            }
        }
        in_word = !c.is_whitespace();
    }
    groups.push(text[start..].to_owned());
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::word_groups;

    #[test]
    fn groups_are_of_four_words() {
        assert_eq!(
            word_groups("one two three four five"),
            ["one two three four", " five"]
        );
        assert!(word_groups("").is_empty());
    }

    proptest! {
        #[test]
        fn groups_join_to_the_text(text in "(?s).{0,200}") {
            prop_assert_eq!(word_groups(&text).concat(), text);
        }
    }
}

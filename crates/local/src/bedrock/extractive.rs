//! The local text model: turns a checked request into a message by the extractive answerer, keeping to the
//! request's token limit, stop sequences and tool choice.
use base64::Engine as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::answerer::{self, Chosen};
use super::content::{Citation, Location, TextPart};
use super::passages::{Material, Passage, Place};
use super::reply::{Block, Spoken, StopReason};
use super::request::{ConverseRequest, InferenceConfig, ToolChoice, ToolSpec};
use super::words::{content_stems, count_tokens};

/// What it says when no passage supports an answer.
pub(super) const NO_ANSWER: &str =
    "I could not find an answer to this question in the passages that were given.";
/// What it says when it was given nothing to answer from.
pub(super) const NO_PASSAGES: &str = "This is the laptop's extractive answerer: it can only answer from passages, and none were given. \
     Send searchResult blocks or numbered passages with the question, or set a model endpoint.";

/// Answers a request.
pub(super) fn speak(request: &ConverseRequest, material: &Material) -> Spoken {
    if let Some(tool) = tool_to_call(request, material) {
        return call(tool, &material.question);
    }
    let blocks = blocks(material);
    limited(blocks, &request.inference_config)
}

fn blocks(material: &Material) -> Vec<Block> {
    let text = |text: &str| {
        vec![Block::Text {
            text: text.to_owned(),
            citations: Vec::new(),
        }]
    };
    if material.passages.is_empty() {
        return text(NO_PASSAGES);
    }
    let chosen = answerer::answer(&material.question, &material.passages);
    if chosen.is_empty() {
        return text(NO_ANSWER);
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (position, chosen) in chosen.iter().enumerate() {
        add_sentence(
            &mut blocks,
            position,
            chosen,
            &material.passages[chosen.passage],
        );
    }
    blocks
}

/// A cited sentence is a block of its own; sentences without citations share one.
fn add_sentence(blocks: &mut Vec<Block>, position: usize, chosen: &Chosen, passage: &Passage) {
    let mut sentence = chosen.text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Place::Numbered { number } = passage.place {
        sentence.push_str(&format!(" [{number}]"));
    }
    if position > 0 {
        sentence.insert(0, ' ');
    }
    let citations: Vec<Citation> = citation(chosen, passage).into_iter().collect();
    match blocks.last_mut() {
        Some(Block::Text {
            text,
            citations: before,
        }) if citations.is_empty() && before.is_empty() => text.push_str(&sentence),
        _ => blocks.push(Block::Text {
            text: sentence,
            citations,
        }),
    }
}

fn citation(chosen: &Chosen, passage: &Passage) -> Option<Citation> {
    let (start, end) = (chosen.part, chosen.part + 1);
    let location = match passage.place {
        Place::SearchResult { index, cite: true } => Location::SearchResult {
            search_result_index: index,
            start,
            end,
        },
        Place::Document {
            index,
            cite: true,
            chunks: true,
        } => Location::DocumentChunk {
            document_index: index,
            start,
            end,
        },
        Place::Document {
            index,
            cite: true,
            chunks: false,
        } => {
            let text = &passage.parts[chosen.part];
            let start = text[..text.find(&chosen.text)?].chars().count();
            Location::DocumentChar {
                document_index: index,
                start,
                end: start + chosen.text.chars().count(),
            }
        }
        _ => return None,
    };
    Some(Citation {
        title: Some(passage.title.clone()),
        source: Some(passage.source.clone()),
        source_content: vec![TextPart {
            text: chosen.text.clone(),
        }],
        location: Some(location),
    })
}

/// Keeps to `stopSequences` and `maxTokens`. A block that is cut loses no citation.
fn limited(blocks: Vec<Block>, config: &InferenceConfig) -> Spoken {
    let mut spoken = Spoken {
        blocks: Vec::new(),
        reason: StopReason::EndTurn,
        counted: None,
    };
    let mut left = config
        .max_tokens
        .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    for block in blocks {
        let Block::Text {
            mut text,
            citations,
        } = block
        else {
            continue;
        };
        if let Some(at) = config
            .stop_sequences
            .iter()
            .filter_map(|stop| text.find(stop.as_str()))
            .min()
        {
            text.truncate(at);
            spoken.reason = StopReason::StopSequence;
        }
        let kept = within(&text, left);
        if kept < text.len() {
            text.truncate(kept);
            spoken.reason = StopReason::MaxTokens;
        }
        left = left.saturating_sub(count_tokens(&text));
        if !text.is_empty() {
            spoken.blocks.push(Block::Text { text, citations });
        }
        if spoken.reason != StopReason::EndTurn {
            break;
        }
    }
    spoken
}

/// Bytes of the longest beginning of `text` that ends with a word and has at most `tokens` tokens.
fn within(text: &str, tokens: usize) -> usize {
    if count_tokens(text) <= tokens {
        return text.len();
    }
    let ends = text
        .char_indices()
        .filter(|(_, c)| c.is_whitespace())
        .map(|(at, _)| at);
    ends.take_while(|end| count_tokens(&text[..*end]) <= tokens)
        .last()
        .unwrap_or(0)
}

/// The tool to call: the demanded one, the best fitting one if any is demanded, and with `auto` one that shares two
/// content words with the question when there is nothing to answer from. After tool results it answers in words.
fn tool_to_call<'a>(request: &'a ConverseRequest, material: &Material) -> Option<&'a ToolSpec> {
    let config = request.tool_config.as_ref()?;
    let asked = content_stems(&material.question);
    let fit = |spec: &ToolSpec| {
        let described = content_stems(&format!(
            "{} {}",
            spec.name.replace(['-', '_'], " "),
            spec.description.as_deref().unwrap_or("")
        ));
        asked.iter().filter(|word| described.contains(word)).count()
    };
    let best = || {
        config
            .specs()
            .enumerate()
            .max_by_key(|(index, spec)| (fit(spec), usize::MAX - index))
            .map(|(_, spec)| spec)
    };
    match &config.tool_choice {
        _ if material.after_tools => None,
        Some(ToolChoice::Tool { name }) => config.specs().find(|spec| spec.name == *name),
        Some(ToolChoice::Any {}) => best(),
        Some(ToolChoice::Auto {}) | None => {
            best().filter(|spec| material.passages.is_empty() && fit(spec) >= 2)
        }
    }
}

fn call(spec: &ToolSpec, question: &str) -> Spoken {
    let input = fill(&spec.input_schema.json, question).to_string();
    let digest = Sha256::digest(format!("{}\n{question}", spec.name));
    let id = format!(
        "tooluse_{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..16])
    );
    Spoken {
        blocks: vec![Block::Tool {
            id,
            name: spec.name.clone(),
            input,
        }],
        reason: StopReason::ToolUse,
        counted: None,
    }
}

/// Fills a schema's required properties (or, when none is required, its first one) from the question.
fn fill(schema: &Value, question: &str) -> Value {
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let wanted = match required.is_empty() {
        true => properties.keys().take(1).map(String::as_str).collect(),
        false => required,
    };
    let filled = wanted.into_iter().map(|name| {
        (
            name.to_owned(),
            fill_value(properties.get(name).unwrap_or(&Value::Null), question),
        )
    });
    Value::Object(filled.collect())
}

fn fill_value(schema: &Value, question: &str) -> Value {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let lower = question.to_lowercase();
        let named = values.iter().find(|value| {
            value
                .as_str()
                .is_some_and(|v| lower.contains(&v.to_lowercase()))
        });
        return named.or(values.first()).cloned().unwrap_or(Value::Null);
    }
    let number = || {
        question
            .split(|c: char| !c.is_ascii_digit())
            .find_map(|digits| digits.parse::<i64>().ok())
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => json!(number().unwrap_or(0)),
        Some("boolean") => json!(false),
        Some("array") => json!([question]),
        Some("object") => fill(schema, question),
        _ => json!(question),
    }
}

//! The local text model: turns a checked request into a message by the extractive answerer, keeping to the
//! request's token limit, stop sequences and tool choice.
use super::answerer::{self, Chosen};
use super::content::{Citation, Location, TextPart};
use super::follow_up;
use super::passages::{Material, Passage, Place};
use super::reply::{Block, Spoken, StopReason};
use super::request::{ConverseRequest, InferenceConfig};
use super::tools;
use super::words::count_tokens;

/// What it says when no passage supports an answer.
pub(super) const NO_ANSWER: &str =
    "I could not find an answer to this question in the passages that were given.";
/// What it says when it was given nothing to answer from.
pub(super) const NO_PASSAGES: &str = "This is the laptop's extractive answerer: it can only answer from passages, and none were given. \
     Send searchResult blocks or numbered passages with the question, or set a model endpoint.";

/// Answers a request.
pub(super) fn speak(request: &ConverseRequest, material: &Material) -> Spoken {
    if let Some(question) = follow_up::speak(request) {
        return limited(text(&question), &request.inference_config);
    }
    match tools::speak(request, material) {
        Some(spoken) if spoken.reason == StopReason::ToolUse => spoken,
        Some(spoken) => limited(spoken.blocks, &request.inference_config),
        None => limited(blocks(material), &request.inference_config),
    }
}

fn blocks(material: &Material) -> Vec<Block> {
    match material.passages.is_empty() {
        true => text(NO_PASSAGES),
        false => answer_from(&material.question, &material.passages),
    }
}

/// The answer to a question from passages, with its citations; [`NO_ANSWER`] when they hold none.
pub(super) fn answer_from(question: &str, passages: &[Passage]) -> Vec<Block> {
    let chosen = answerer::answer(question, passages);
    if chosen.is_empty() {
        return text(NO_ANSWER);
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (position, chosen) in chosen.iter().enumerate() {
        add_sentence(&mut blocks, position, chosen, &passages[chosen.passage]);
    }
    blocks
}

fn text(text: &str) -> Vec<Block> {
    vec![Block::Text {
        text: text.to_owned(),
        citations: Vec::new(),
    }]
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

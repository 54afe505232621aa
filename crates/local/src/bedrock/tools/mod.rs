//! How the local model uses tools. It is no language model: it takes a request apart into clauses, gives each to the
//! tool whose words it shares most, fills the parameters from the words of the request, asks for what is missing, and
//! says what the tools gave back. The same request always leads to the same calls. The rules are in
//! `docs/decisions/017-the-laptops-agents.md`.
mod arguments;
mod choice;
mod clauses;
mod results;

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::content::{ContentBlock, Role};
use super::passages::{self, Material};
use super::reply::{Block, Spoken, StopReason};
use super::request::{ConverseRequest, ToolChoice, ToolConfig, ToolSpec};

/// Most calls of one turn.
const MAX_CALLS: usize = 4;
/// How a question for what is missing begins; the answer to it is read together with the request before it.
const STILL_NEEDED: &str = "I still need ";

/// A call to be made.
#[derive(Clone, Debug)]
struct Call<'a> {
    tool: &'a ToolSpec,
    input: Value,
}

impl Call<'_> {
    fn is(&self, other: &Self) -> bool {
        self.tool.name == other.tool.name && self.input == other.input
    }
}

/// What a clause leads to.
enum Step<'a> {
    Call(Call<'a>),
    /// The tool fits, but these parameters are not in the request.
    Ask(String),
}

/// What the local model says because of the tools: calls, a question for what is missing, or what tools gave back.
/// Nothing when no tool fits: the request is then answered as one without tools.
pub(super) fn speak(request: &ConverseRequest, material: &Material) -> Option<Spoken> {
    let config = request.tool_config.as_ref()?;
    let asked = whole_request(request, &material.question);
    if material.after_tools {
        // Passages that came with the question are answered from together with the results.
        if material.brought {
            return None;
        }
        let mut blocks = results::blocks(request, &material.question);
        blocks.extend(asks(&plan(config, &asked)));
        return Some(end(blocks));
    }
    let forced = match &config.tool_choice {
        Some(ToolChoice::Tool { name }) => config.specs().find(|spec| spec.name == *name),
        Some(ToolChoice::Any {}) => choice::best(config, &asked),
        Some(ToolChoice::Auto {}) | None => {
            return if material.brought {
                None
            } else {
                auto(config, &asked, request)
            };
        }
    };
    let tool = forced?;
    let input = arguments::guess(&tool.input_schema.json, &asked);
    Some(calls(vec![Call { tool, input }], request))
}

fn auto(config: &ToolConfig, asked: &str, request: &ConverseRequest) -> Option<Spoken> {
    let steps = plan(config, asked);
    let mut chosen: Vec<Call> = Vec::new();
    for step in &steps {
        if let Step::Call(call) = step
            && !chosen.iter().any(|other| other.is(call))
            && chosen.len() < MAX_CALLS
        {
            chosen.push(call.clone());
        }
    }
    if !chosen.is_empty() {
        return Some(calls(chosen, request));
    }
    let asks = asks(&steps);
    (!asks.is_empty()).then(|| end(asks))
}

/// A step for each clause that a tool fits.
fn plan<'a>(config: &'a ToolConfig, asked: &str) -> Vec<Step<'a>> {
    let clauses = clauses::split(asked);
    let mut steps = Vec::new();
    for clause in &clauses {
        let candidates = choice::candidates(config, clause);
        let mut ask = None;
        for tool in candidates {
            match arguments::fill(&tool.input_schema.json, clause, asked) {
                Ok(input) => {
                    ask = None;
                    steps.push(Step::Call(Call { tool, input }));
                    break;
                }
                Err(missing) if ask.is_none() => ask = Some(missing),
                Err(_) => {}
            }
        }
        steps.extend(ask.map(Step::Ask));
    }
    steps
}

fn asks(steps: &[Step]) -> Vec<Block> {
    let mut asked: Vec<&String> = Vec::new();
    for step in steps {
        if let Step::Ask(missing) = step
            && !asked.contains(&missing)
        {
            asked.push(missing);
        }
    }
    let text = |missing: &String| Block::Text {
        text: format!("{STILL_NEEDED}{missing}."),
        citations: Vec::new(),
    };
    asked.into_iter().map(text).collect()
}

/// The question; with the questions before it, as long as the answers to those asked for something.
fn whole_request(request: &ConverseRequest, question: &str) -> String {
    let mut parts = vec![question.to_owned()];
    let mut turns = request.messages.iter().rev();
    // The question itself, and the results that came after it.
    for message in turns.by_ref() {
        if message.role == Role::User && passages::question_of(message).is_some() {
            break;
        }
    }
    while let Some(reply) = turns.next() {
        let asked_back = |block: &ContentBlock| match block {
            ContentBlock::Text(text) => text.contains(STILL_NEEDED),
            _ => false,
        };
        if reply.role != Role::Assistant || !reply.content.iter().any(asked_back) {
            break;
        }
        match turns.next().and_then(passages::question_of) {
            Some(before) => parts.push(before),
            None => break,
        }
    }
    parts.reverse();
    parts.join(" ")
}

fn calls(calls: Vec<Call>, request: &ConverseRequest) -> Spoken {
    let turn = request.messages.len();
    let block = |call: Call| {
        let input = call.input.to_string();
        let digest = Sha256::digest(format!("{turn}\n{}\n{input}", call.tool.name));
        let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..16]);
        Block::Tool {
            id: format!("tooluse_{id}"),
            name: call.tool.name.clone(),
            input,
        }
    };
    Spoken {
        blocks: calls.into_iter().map(block).collect(),
        reason: StopReason::ToolUse,
        counted: None,
    }
}

/// Blocks that say different things stand apart.
fn end(mut blocks: Vec<Block>) -> Spoken {
    for block in blocks.iter_mut().skip(1) {
        if let Block::Text { text, .. } = block
            && !text.starts_with(' ')
        {
            text.insert_str(0, "\n\n");
        }
    }
    Spoken {
        blocks,
        reason: StopReason::EndTurn,
        counted: None,
    }
}

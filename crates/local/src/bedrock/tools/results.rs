//! What tools gave back, said: passages are answered from and cited, facts are said in words, plain text is quoted.
use serde_json::Value;

use super::super::answerer;
use super::super::content::{ContentBlock, Role, ToolResult, ToolResultPart, ToolResultStatus};
use super::super::extractive::{self, NO_ANSWER};
use super::super::passages::{self, Passage, Place};
use super::super::reply::Block;
use super::super::request::ConverseRequest;

/// Longest text that is quoted whole (characters); of a longer one the sentences that answer are quoted.
const QUOTE: usize = 2000;
/// Shortest text of a JSON object that counts as a passage (characters).
const PASSAGE: usize = 20;
const TEXT_MEMBERS: [&str; 5] = ["text", "content", "snippet", "quote", "passage"];
const TITLE_MEMBERS: [&str; 4] = ["title", "document_title", "name", "heading"];
const SOURCE_MEMBERS: [&str; 5] = ["source", "uri", "url", "document_id", "id"];

/// One tool's result.
#[derive(Default)]
struct Outcome {
    passages: Vec<Passage>,
    facts: Vec<String>,
    failed: bool,
}

/// Says the results that came after the last question, in the order of the calls.
pub(super) fn blocks(request: &ConverseRequest, question: &str) -> Vec<Block> {
    let since = request
        .messages
        .iter()
        .rposition(|message| message.role == Role::User && passages::question_of(message).is_some())
        .unwrap_or(0);
    let mut said = Vec::new();
    let mut search_results = 0;
    for (turn, message) in request.messages.iter().enumerate() {
        for block in &message.content {
            match block {
                ContentBlock::SearchResult(_) => search_results += 1,
                ContentBlock::ToolResult(result) => {
                    let outcome = outcome(result, &mut search_results);
                    if turn >= since {
                        let asked = asked_of_tool(request, &result.tool_use_id);
                        said.extend(say(&outcome, asked.as_deref().unwrap_or(question)));
                    }
                }
                _ => {}
            }
        }
    }
    said
}

/// The free text that the tool was called with.
fn asked_of_tool(request: &ConverseRequest, id: &str) -> Option<String> {
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let input = blocks.rev().find_map(|block| match block {
        ContentBlock::ToolUse(tool) if tool.tool_use_id == id => Some(&tool.input),
        _ => None,
    })?;
    let texts = input.as_object()?.values().filter_map(Value::as_str);
    texts
        .filter(|text| text.contains(' '))
        .max_by_key(|text| text.len())
        .map(str::to_owned)
}

fn outcome(result: &ToolResult, search_results: &mut usize) -> Outcome {
    let mut outcome = Outcome {
        failed: result.status == Some(ToolResultStatus::Error),
        ..Outcome::default()
    };
    for part in &result.content {
        match part {
            ToolResultPart::SearchResult(found) => {
                outcome
                    .passages
                    .push(passages::of_search_result(found, *search_results));
                *search_results += 1;
            }
            ToolResultPart::Json(value) => outcome.read(value),
            ToolResultPart::Text(text) => match serde_json::from_str::<Value>(text) {
                Ok(value) if value.is_object() || value.is_array() => outcome.read(&value),
                _ => outcome.facts.push(text.trim().to_owned()),
            },
            _ => {}
        }
    }
    outcome
}

impl Outcome {
    fn read(&mut self, value: &Value) {
        if let Some(answer) = value["answer"].as_str() {
            self.facts.push(answer.to_owned());
            return;
        }
        let before = self.passages.len();
        find_passages(value, 0, &mut self.passages);
        if self.passages.len() == before {
            let mut facts = Vec::new();
            tell("", value, &mut facts);
            if !facts.is_empty() {
                self.facts.push(facts.join(" "));
            }
        }
    }
}

/// Objects with a text, in lists at most two levels down.
fn find_passages(value: &Value, depth: usize, found: &mut Vec<Passage>) {
    match value {
        Value::Array(items) => {
            for item in items {
                let text =
                    member(item, &TEXT_MEMBERS).filter(|text| text.chars().count() >= PASSAGE);
                match text {
                    Some(text) => found.push(Passage {
                        title: member(item, &TITLE_MEMBERS).unwrap_or_default().to_owned(),
                        source: member(item, &SOURCE_MEMBERS).unwrap_or_default().to_owned(),
                        parts: vec![text.to_owned()],
                        place: Place::ToolResult,
                    }),
                    None if depth < 2 => find_passages(item, depth + 1, found),
                    None => {}
                }
            }
        }
        Value::Object(members) if depth < 2 => {
            for item in members.values() {
                find_passages(item, depth + 1, found);
            }
        }
        _ => {}
    }
}

fn member<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| value[*name].as_str())
}

/// A value in words: `{"order_id": "A1", "status": "shipped"}` → `Order id: A1.`, `Status: shipped.`
fn tell(name: &str, value: &Value, facts: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                tell(format!("{name} {member}").trim(), value, facts);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for item in items {
                tell(name, item, facts);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            facts.push(sentence(name, &items.join(", ")));
        }
        plain => facts.push(sentence(name, &scalar(plain))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

fn sentence(name: &str, value: &str) -> String {
    let mut words = name.replace(['_', '-'], " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let ended = value.ends_with(['.', '!', '?']);
    let stop = if ended { "" } else { "." };
    match words.is_empty() {
        true => format!("{value}{stop}"),
        false => format!("{words}: {value}{stop}"),
    }
}

fn say(outcome: &Outcome, asked: &str) -> Vec<Block> {
    let text = |text: String| {
        vec![Block::Text {
            text,
            citations: Vec::new(),
        }]
    };
    let facts = outcome.facts.join("\n");
    if !outcome.passages.is_empty() {
        let mut blocks = extractive::answer_from(asked, &outcome.passages);
        if !facts.is_empty() {
            blocks.extend(text(facts));
        }
        return blocks;
    }
    if facts.is_empty() {
        return text(match outcome.failed {
            true => "The tool failed and said nothing.".to_owned(),
            false => NO_ANSWER.to_owned(),
        });
    }
    if facts.chars().count() <= QUOTE {
        return text(facts);
    }
    let passage = Passage {
        title: String::new(),
        source: String::new(),
        parts: vec![facts.clone()],
        place: Place::ToolResult,
    };
    match answerer::answer(asked, std::slice::from_ref(&passage)).is_empty() {
        true => text(facts.chars().take(QUOTE).collect()),
        false => extractive::answer_from(asked, &[passage]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_in_words() {
        let check = |value: Value, expected: &str| {
            let mut outcome = Outcome::default();
            outcome.read(&value);
            assert_eq!(outcome.facts.join("\n"), expected, "{value}");
        };
        check(
            json!({"order_id": "ORD-1001", "status": "shipped", "paid": true, "items": ["lamp", "oil"], "note": null,
                "carrier": {"name": "Post"}, "lines": [{"sku": "a", "count": 2}]}),
            "Order id: ORD-1001. Status: shipped. Paid: yes. Items: lamp, oil. Carrier name: Post. Lines sku: a. Lines count: 2.",
        );
        check(json!({"answer": "Because.", "citations": []}), "Because.");
    }

    #[test]
    fn passages_are_found_in_results() {
        let mut outcome = Outcome::default();
        outcome.read(&json!({"result": {"passages": [{"title": "Lamp", "text": "The lamp burns oil every night."}]}, "next_cursor": null}));
        assert_eq!(outcome.passages.len(), 1);
        assert_eq!(outcome.passages[0].title, "Lamp");
        assert!(outcome.facts.is_empty());
    }
}

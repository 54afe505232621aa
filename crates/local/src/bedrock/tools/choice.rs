//! Which tool fits a clause: the one that shares most words with it. A word counts less the more tools have it, and
//! twice in a tool's name; an identifier that belongs to one of the tool's parameters counts too.
use std::collections::BTreeSet;

use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation as _;

use super::super::request::{ToolConfig, ToolSpec};
use super::super::words::{asked_stems, content_stems};
use super::arguments;

/// Fewest points of a tool that is called, ...
const ENOUGH: f64 = 1.5;
/// ... and of one that takes nothing but words: a word that no other tool has is enough.
const ENOUGH_IN_WORDS: f64 = 1.0;
/// What an identifier that belongs to a parameter counts.
const IDENTIFIER: f64 = 1.5;
/// A tool with this share of the best one's points is tried when the best one lacks a parameter.
const NEXT_SHARE: f64 = 0.75;
/// Words of descriptions that say nothing of a tool's subject.
const EMPTY_WORDS: &str =
    "question answer agent user tool ask send request information help message action";
/// Words that deny: what a sentence with one of them says is no subject of the tool.
const DENIALS: [&str; 6] = ["no", "not", "never", "nor", "cannot", "without"];
/// Words that tell of a tool that searches; what is asked and fits no tool is looked for with the first of these.
const SEARCH_WORDS: &str =
    "search knowledge document documentation handbook manual faq passage article lookup";

struct Vocabulary<'a> {
    spec: &'a ToolSpec,
    name: BTreeSet<String>,
    all: BTreeSet<String>,
}

fn vocabularies(config: &ToolConfig) -> Vec<Vocabulary<'_>> {
    let empty: BTreeSet<String> = content_stems(EMPTY_WORDS).into_iter().collect();
    let of = |spec| {
        let spec: &ToolSpec = spec;
        let stems = |text: &str| -> BTreeSet<String> {
            let stems = content_stems(&text.replace(['-', '_'], " "));
            stems
                .into_iter()
                .filter(|stem| !empty.contains(stem))
                .collect()
        };
        let name = stems(&spec.name);
        let mut all = stems(&affirmed(spec.description.as_deref().unwrap_or_default()));
        all.extend(name.iter().cloned());
        let properties = spec.input_schema.json["properties"].as_object();
        for (property, schema) in properties.into_iter().flatten() {
            all.extend(stems(property));
            all.extend(stems(schema["description"].as_str().unwrap_or_default()));
        }
        Vocabulary { spec, name, all }
    };
    config.specs().map(of).collect()
}

/// The sentences of a description that say what the tool does, not what it does not.
fn affirmed(description: &str) -> String {
    let denies = |sentence: &&str| {
        sentence
            .unicode_words()
            .any(|word| DENIALS.contains(&word.to_lowercase().as_str()))
    };
    description
        .unicode_sentences()
        .filter(|sentence| !denies(sentence))
        .collect()
}

fn points(tools: &[Vocabulary], clause: &str) -> Vec<f64> {
    let asked: BTreeSet<String> = asked_stems(&clause.replace(['-', '_'], " "))
        .into_iter()
        .collect();
    let score = |tool: &Vocabulary| {
        let words = asked.iter().filter(|word| tool.all.contains(*word));
        let weigh = |word: &String| {
            let having = tools
                .iter()
                .filter(|other| other.all.contains(word))
                .count();
            let times = if tool.name.contains(word) { 2.0 } else { 1.0 };
            times / having.max(1) as f64
        };
        let belongs = arguments::names_an_identifier(&tool.spec.input_schema.json, clause);
        words.map(weigh).sum::<f64>() + if belongs { IDENTIFIER } else { 0.0 }
    };
    tools.iter().map(score).collect()
}

/// The tools for a clause, best first; none when none fits.
pub(super) fn candidates<'a>(config: &'a ToolConfig, clause: &str) -> Vec<&'a ToolSpec> {
    let tools = vocabularies(config);
    let points = points(&tools, clause);
    let mut order: Vec<usize> = (0..tools.len()).collect();
    order.sort_by(|a, b| points[*b].total_cmp(&points[*a]).then(a.cmp(b)));
    let enough = |tool: &usize| match takes_words(tools[*tool].spec) {
        true => points[*tool] >= ENOUGH_IN_WORDS,
        false => points[*tool] >= ENOUGH,
    };
    order.retain(enough);
    let Some(best) = order.first().map(|first| points[*first]) else {
        let searches = tools.iter().filter(|tool| searches(tool));
        return match asks(clause) {
            true => searches.map(|tool| tool.spec).take(1).collect(),
            false => Vec::new(),
        };
    };
    let near = order
        .into_iter()
        .filter(|tool| points[*tool] >= best * NEXT_SHARE);
    near.map(|tool| tools[tool].spec).collect()
}

/// The best fitting tool, however little it fits.
pub(super) fn best<'a>(config: &'a ToolConfig, asked: &str) -> Option<&'a ToolSpec> {
    let tools = vocabularies(config);
    let points = points(&tools, asked);
    let best = (0..tools.len()).max_by(|a, b| points[*a].total_cmp(&points[*b]).then(b.cmp(a)));
    best.map(|tool| tools[tool].spec)
}

/// It takes words alone, and its own say that it looks something up.
fn searches(tool: &Vocabulary) -> bool {
    let words = content_stems(SEARCH_WORDS);
    takes_words(tool.spec) && words.iter().any(|word| tool.all.contains(word))
}

/// All that it needs is one free text.
fn takes_words(spec: &ToolSpec) -> bool {
    let schema = &spec.input_schema.json;
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    match required {
        [Value::String(name)] => arguments::is_free_text(name, &schema["properties"][name]),
        _ => false,
    }
}

/// A question, or something to look for: two words with a meaning.
fn asks(clause: &str) -> bool {
    let words = content_stems(clause).len();
    words >= 2 || (words == 1 && clause.trim_end().ends_with('?'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> ToolConfig {
        let tool = |name: &str, description: &str, properties: Value, required: Value| {
            json!({"toolSpec": {"name": name, "description": description, "inputSchema": {"json": {
                "type": "object", "properties": properties, "required": required}}}})
        };
        let text = json!({"type": "string"});
        let tools = json!({"tools": [
            tool("knowledge", "Give it every question of fact or policy. It knows no orders and no tickets.", json!({"content": text}), json!(["content"])),
            tool("support", "Give it everything about an order. It knows no documents.", json!({"content": text}), json!(["content"])),
            tool("get_order_status", "Says how an order of the user stands", json!({"order_number": text}), json!(["order_number"])),
            tool("add_note", "Adds a note to a document", json!({"about": text, "text": text}), json!(["about", "text"])),
        ]});
        serde_json::from_value(tools).expect("a toolConfig")
    }

    #[test]
    fn the_tool_with_most_words_is_chosen() {
        let config = config();
        let check = |clause: &str, expected: Option<&str>| {
            let found = candidates(&config, clause)
                .first()
                .map(|spec| spec.name.as_str());
            assert_eq!(found, expected, "{clause}");
        };
        check("Where is order 10012?", Some("get_order_status"));
        check("What is the policy for pets?", Some("knowledge"));
        check("How many stairs does the keeper climb?", Some("knowledge"));
        check("Please add a note to it", Some("add_note"));
        check("hello", None);
    }
}

//! A tool's parameters, filled from the words of a request: identifiers by their form, enumerations by name, numbers
//! where they stand, and free text with the request itself.
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::super::words::stem;

/// Endings of the names of identifiers.
const IDENTIFIER_ENDINGS: [&str; 7] = ["id", "number", "no", "key", "code", "reference", "ref"];

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+").ok());
static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b\d{4}-\d{2}-\d{2}\b").ok());
static QUOTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("[\"“]([^\"”]{1,200})[\"”]|(?:^|\\s)'([^']{2,200})'").ok());

/// The parameters of one tool.
struct Parameters<'a> {
    properties: Vec<(&'a str, &'a Value)>,
    required: Vec<&'a str>,
}

impl<'a> Parameters<'a> {
    fn of(schema: &'a Value) -> Self {
        let properties = schema["properties"].as_object();
        let required = schema["required"].as_array();
        Self {
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.as_str(), schema))
                .collect(),
            required: required
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
        }
    }
}

/// Fills a tool's input from the clause, and from the whole request what the clause does not have. An optional
/// parameter is filled only with what is plainly meant for it.
///
/// # Errors
/// What is required and missing, in words.
pub(super) fn fill(schema: &Value, clause: &str, request: &str) -> Result<Value, String> {
    let parameters = Parameters::of(schema);
    let (mut input, mut missing) = (Map::new(), Vec::new());
    for (name, property) in &parameters.properties {
        let required = parameters.required.contains(name);
        let found = find(name, property, clause, required)
            .or_else(|| find(name, property, request, required));
        let found = found.or_else(|| property.get("default").filter(|_| required).cloned());
        match found {
            Some(value) => {
                input.insert((*name).to_owned(), value);
            }
            None if required => missing.push(in_words(name, property)),
            None => {}
        }
    }
    match missing.is_empty() {
        true => Ok(Value::Object(input)),
        false => Err(missing.join(", and ")),
    }
}

/// Fills what is required whatever the request says, for a caller that demands a call.
pub(super) fn guess(schema: &Value, request: &str) -> Value {
    let parameters = Parameters::of(schema);
    let mut wanted = parameters.required.clone();
    if wanted.is_empty() {
        wanted.extend(parameters.properties.first().map(|(name, _)| *name));
    }
    let filled = wanted.into_iter().map(|name| {
        let property = &schema["properties"][name];
        let found = find(name, property, request, true);
        let found = found.or_else(|| property.get("default").cloned());
        (
            name.to_owned(),
            found.unwrap_or_else(|| any(property, request)),
        )
    });
    Value::Object(filled.collect())
}

fn any(property: &Value, request: &str) -> Value {
    if let Some(first) = property["enum"]
        .as_array()
        .and_then(|values| values.first())
    {
        return first.clone();
    }
    match property["type"].as_str() {
        Some("integer" | "number") => json!(0),
        Some("boolean") => json!(false),
        Some("array") => json!([request]),
        Some("object") => guess(property, request),
        _ => json!(request),
    }
}

fn find(name: &str, property: &Value, text: &str, required: bool) -> Option<Value> {
    if let Some(values) = property["enum"].as_array() {
        let lower = format!(" {} ", plain(text));
        let named = values.iter().find(|value| {
            value
                .as_str()
                .is_some_and(|value| lower.contains(&format!(" {} ", plain(value))))
        });
        return named.cloned();
    }
    match property["type"].as_str().unwrap_or("string") {
        "integer" | "number" => number(name, text, required),
        "boolean" => boolean(name, text, required),
        "array" => list(name, property, text, required),
        "object" => required.then(|| fill(property, text, text).ok()).flatten(),
        _ => string(name, property, text, required).map(Value::from),
    }
}

/// Lower case, with single spaces for everything that is no letter or digit.
fn plain(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The words of a name: `orderId`, `order_id` → order, id.
fn name_words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_lower {
            spaced.push(' ');
        }
        before_lower = c.is_lowercase();
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
    }
    spaced.split_whitespace().map(str::to_lowercase).collect()
}

fn is_identifier(name: &str) -> bool {
    let words = name_words(name);
    words
        .last()
        .is_some_and(|last| IDENTIFIER_ENDINGS.contains(&last.as_str()))
}

/// What a parameter's name says beside its kind: `order_id` → order.
fn nouns(name: &str) -> Vec<String> {
    let mut words = name_words(name);
    words.retain(|word| !IDENTIFIER_ENDINGS.contains(&word.as_str()));
    words.iter().map(|word| stem(word)).collect()
}

/// Whether a parameter takes words as they are.
pub(super) fn is_free_text(name: &str, property: &Value) -> bool {
    let string = property["type"]
        .as_str()
        .is_none_or(|kind| kind == "string");
    string
        && property.get("enum").is_none()
        && property.get("pattern").is_none()
        && property.get("format").is_none()
        && !is_identifier(name)
        && !name_words(name)
            .iter()
            .any(|word| word == "email" || word == "date")
}

/// Whether the clause has an identifier that plainly belongs to a parameter of the tool.
pub(super) fn names_an_identifier(schema: &Value, clause: &str) -> bool {
    let parameters = Parameters::of(schema);
    let mut identifiers = parameters
        .properties
        .iter()
        .filter(|(name, _)| is_identifier(name));
    identifiers.any(|(name, _)| best_identifier(name, clause).is_some_and(|(_, points)| points > 0))
}

fn string(name: &str, property: &Value, text: &str, required: bool) -> Option<String> {
    if let Some(pattern) = property["pattern"].as_str() {
        let pattern = Regex::new(pattern).ok()?;
        let mut words = text.split_whitespace().map(trimmed);
        return words.find(|word| pattern.is_match(word)).map(str::to_owned);
    }
    let first = |pattern: &LazyLock<Option<Regex>>| {
        pattern
            .as_ref()?
            .find(text)
            .map(|found| found.as_str().to_owned())
    };
    let words = name_words(name);
    let format = property["format"].as_str().unwrap_or_default();
    if format == "email" || words.iter().any(|word| word == "email") {
        return first(&EMAIL);
    }
    if format.starts_with("date") || words.iter().any(|word| word == "date") {
        return first(&DATE);
    }
    if is_identifier(name) {
        let (word, points) = best_identifier(name, text)?;
        return (points > 0 || required).then(|| word.to_owned());
    }
    let short = ["subject", "title", "name"]
        .iter()
        .any(|short| words.iter().any(|word| word == short));
    if short && let Some(quoted) = quoted(text) {
        return Some(quoted);
    }
    required
        .then(|| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

fn quoted(text: &str) -> Option<String> {
    let found = QUOTED.as_ref()?.captures(text)?;
    let words = found.get(1).or_else(|| found.get(2))?;
    Some(words.as_str().to_owned())
}

fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The word that is most likely the identifier of this name: one with a digit in it. It gets points for standing after
/// the parameter's noun (`order 1001`) and for beginning like it (`ORD-1001`).
fn best_identifier<'a>(name: &str, text: &'a str) -> Option<(&'a str, u32)> {
    let nouns = nouns(name);
    let words: Vec<&str> = text.split_whitespace().map(trimmed).collect();
    let mut best: Option<(&str, u32)> = None;
    for (at, word) in words.iter().enumerate() {
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let short_number = digits == word.len() && digits < 3;
        if digits == 0 || short_number || !word.chars().all(legal) {
            continue;
        }
        let letters: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
        let letters = letters.to_lowercase();
        let alike = |noun: &String| {
            !letters.is_empty()
                && (noun.starts_with(&letters) || letters.starts_with(noun.as_str()))
        };
        let after = words[at.saturating_sub(2)..at]
            .iter()
            .any(|before| nouns.contains(&stem(&before.to_lowercase())));
        let points = 2 * u32::from(after) + 2 * u32::from(nouns.iter().any(alike));
        if best.is_none_or(|(_, before)| points > before) {
            best = Some((word, points));
        }
    }
    best
}

fn number(name: &str, text: &str, required: bool) -> Option<Value> {
    let nouns = nouns(name);
    let words: Vec<&str> = text.split_whitespace().map(trimmed).collect();
    let mut first = None;
    for (at, word) in words.iter().enumerate() {
        let value = match (word.parse::<i64>(), word.parse::<f64>()) {
            (Ok(whole), _) => json!(whole),
            (_, Ok(fraction)) if fraction.is_finite() => json!(fraction),
            _ => continue,
        };
        let around = words[at.saturating_sub(2)..(at + 3).min(words.len())].iter();
        if around
            .clone()
            .any(|near| nouns.contains(&stem(&near.to_lowercase())))
        {
            return Some(value);
        }
        first = first.or(Some(value));
    }
    first.filter(|_| required)
}

/// True when the request has the parameter's words; false when it has them with a `not`, `no` or `without`.
fn boolean(name: &str, text: &str, required: bool) -> Option<Value> {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| stem(&trimmed(word).to_lowercase()))
        .collect();
    let named = words.iter().position(|word| nouns(name).contains(word));
    match named {
        Some(at) => {
            let denied = words[at.saturating_sub(2)..at]
                .iter()
                .any(|word| matches!(word.as_str(), "not" | "no" | "without" | "don't"));
            Some(json!(!denied))
        }
        None => required.then(|| json!(false)),
    }
}

fn list(name: &str, property: &Value, text: &str, required: bool) -> Option<Value> {
    let item = find(name, &property["items"], text, required)?;
    Some(json!([item]))
}

fn in_words(name: &str, property: &Value) -> String {
    let words = name_words(name).join(" ");
    match property["description"].as_str() {
        Some(description) => format!("the {words} ({})", description.trim_end_matches('.')),
        None => format!("the {words}"),
    }
}

#[cfg(test)]
mod tests;

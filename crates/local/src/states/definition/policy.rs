//! The parts that several state types share: how a state is left, `Retry` and `Catch`.

use serde_json::Value;

use super::fields::{Findings, Node};
use super::{Catcher, Leave};
use crate::states::expression::{Member, Template};
use crate::states::fault::ALL;
use crate::states::retry::{MAX_WAIT_SECONDS, Retrier};

/// Longest `MaxDelaySeconds`: a year, exclusive (States Language, "Retrying after error").
const MAX_DELAY_SECONDS: u64 = 31_622_399;
/// Longest name of a variable (developer guide, "Variable naming").
const MAX_VARIABLE_NAME: usize = 80;

/// `Assign` and `Output`.
pub(super) fn leave(node: &Node<'_>, members: &[Member], findings: &mut Findings) -> Leave {
    Leave {
        assign: assign(node, members, findings),
        output: node.template("Output", members, findings),
    }
}

fn assign(node: &Node<'_>, members: &[Member], findings: &mut Findings) -> Option<Template> {
    let fields = node.child("Assign", findings)?;
    for name in fields.fields.keys() {
        if let Err(message) = variable_name(name) {
            findings.schema(&fields.pointer(name), message);
        }
    }
    node.template("Assign", members, findings)
}

fn variable_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(char::is_alphabetic);
    let rest = letters.all(|letter| letter.is_alphanumeric() || letter == '_');
    if name == "states" {
        return Err("`states` is reserved; choose another name".to_owned());
    }
    if !first || !rest || name.chars().count() > MAX_VARIABLE_NAME {
        return Err(format!(
            "`{name}` is no name for a variable: a letter, then letters, digits and _, at most {MAX_VARIABLE_NAME}"
        ));
    }
    Ok(())
}

/// A transition by `Next` or `End`, exactly one of them; nothing at the end.
pub(super) fn transition(node: &Node<'_>, what: &str, findings: &mut Findings) -> Option<String> {
    let next = node.literal("Next", findings).map(str::to_owned);
    let end = match node.fields.get("End") {
        None => false,
        Some(Value::Bool(true)) => true,
        Some(_) => {
            findings.schema(&node.pointer("End"), "`End` must be true, or left out");
            true
        }
    };
    match (node.fields.contains_key("Next"), end) {
        (false, false) => findings.schema(&node.at, format!("{what} needs `Next` or `End: true`")),
        (true, true) => findings.schema(&node.at, format!("{what} has both `Next` and `End`")),
        _ => {}
    }
    next
}

pub(super) fn retry(node: &Node<'_>, findings: &mut Findings) -> Vec<Retrier> {
    let entries = node.children("Retry", findings);
    let count = entries.len();
    let known = [
        "ErrorEquals",
        "IntervalSeconds",
        "MaxAttempts",
        "BackoffRate",
        "MaxDelaySeconds",
        "JitterStrategy",
    ];
    let read = |(index, entry): (usize, Node<'_>)| {
        entry.only("Retry", &known, findings);
        Retrier {
            errors: error_equals(&entry, index + 1 == count, findings),
            interval_seconds: entry
                .whole("IntervalSeconds", 1, MAX_WAIT_SECONDS, findings)
                .unwrap_or(1),
            backoff_rate: backoff_rate(&entry, findings),
            max_attempts: entry
                .whole("MaxAttempts", 0, MAX_WAIT_SECONDS, findings)
                .map_or(3, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            max_delay_seconds: max_delay(&entry, findings),
            full_jitter: entry.one_of("JitterStrategy", &["FULL", "NONE"], findings)
                == Some("FULL"),
        }
    };
    entries.into_iter().enumerate().map(read).collect()
}

fn backoff_rate(entry: &Node<'_>, findings: &mut Findings) -> f64 {
    let Some(value) = entry.fields.get("BackoffRate") else {
        return 2.0;
    };
    value
        .as_f64()
        .filter(|rate| *rate >= 1.0)
        .unwrap_or_else(|| {
            let message = format!("`BackoffRate` must be a number of at least 1, not {value}");
            findings.schema(&entry.pointer("BackoffRate"), message);
            2.0
        })
}

fn max_delay(entry: &Node<'_>, findings: &mut Findings) -> Option<u64> {
    let delay = entry.whole("MaxDelaySeconds", 1, MAX_DELAY_SECONDS, findings)?;
    let interval = entry.fields.get("IntervalSeconds").and_then(Value::as_u64);
    if delay <= interval.unwrap_or(1) {
        let message = "`MaxDelaySeconds` must be greater than `IntervalSeconds`";
        findings.schema(&entry.pointer("MaxDelaySeconds"), message);
    }
    Some(delay)
}

pub(super) fn catch(node: &Node<'_>, findings: &mut Findings) -> Vec<Catcher> {
    let entries = node.children("Catch", findings);
    let count = entries.len();
    let members = [Member::Input, Member::Context, Member::ErrorOutput];
    let read = |(index, entry): (usize, Node<'_>)| {
        let known = ["ErrorEquals", "Next", "Output", "Assign"];
        entry.only("Catch", &known, findings);
        entry.required("Next", "Catch", findings);
        Catcher {
            errors: error_equals(&entry, index + 1 == count, findings),
            next: entry
                .literal("Next", findings)
                .unwrap_or_default()
                .to_owned(),
            leave: leave(&entry, &members, findings),
        }
    };
    entries.into_iter().enumerate().map(read).collect()
}

fn error_equals(entry: &Node<'_>, last: bool, findings: &mut Findings) -> Vec<String> {
    let at = entry.pointer("ErrorEquals");
    let Some(Value::Array(list)) = entry.fields.get("ErrorEquals") else {
        findings.schema(&at, "`ErrorEquals` must be a list of error names");
        return Vec::new();
    };
    let mut names = Vec::new();
    for (index, name) in list.iter().enumerate() {
        match name.as_str() {
            Some(text) if !text.is_empty() && !text.contains("{%") => names.push(text.to_owned()),
            _ => findings.schema(&format!("{at}/{index}"), "must be the name of an error"),
        }
    }
    if list.is_empty() {
        findings.schema(&at, "`ErrorEquals` must name at least one error");
    }
    if names.iter().any(|name| name == ALL) && (names.len() > 1 || !last) {
        findings.schema(&at, "`States.ALL` must stand alone and in the last entry");
    }
    names
}

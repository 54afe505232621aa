//! What only shows when all states of a machine are known: targets that do not exist, states that
//! nothing leads to, names used twice, inner variables that would hide outer ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::fields::{Findings, Node, TARGET, escape};

/// Longest name of a state, in characters (Step Functions service quotas).
const MAX_STATE_NAME: usize = 80;

/// Names of states seen so far in the whole machine, with the place of each.
pub(super) type Names = BTreeMap<String, String>;

/// Checks the transitions among the `states` of one machine.
pub(super) fn transitions(machine: &Node<'_>, states: &Node<'_>, findings: &mut Findings) {
    let mut reached = BTreeSet::new();
    let start = machine.literal("StartAt", findings);
    let mut waiting = VecDeque::new();
    if let Some(start) = start {
        waiting.push_back((start.to_owned(), machine.pointer("StartAt")));
    }
    while let Some((name, from)) = waiting.pop_front() {
        let Some(state) = states.fields.get(&name) else {
            let message = format!("there is no state `{name}` in this machine");
            findings.add(TARGET, &from, message);
            continue;
        };
        if reached.insert(name.clone()) {
            targets(state, &states.pointer(&name), &mut waiting);
        }
    }
    for name in states.fields.keys() {
        if start.is_some() && !reached.contains(name) {
            let message = format!("no transition leads to the state `{name}`");
            findings.add(TARGET, &states.pointer(name), message);
        }
    }
}

/// Every `Next` and `Default` of a state, with where it stands.
fn targets(state: &Value, at: &str, into: &mut VecDeque<(String, String)>) {
    let mut add = |value: Option<&Value>, at: String| {
        if let Some(name) = value.and_then(Value::as_str) {
            into.push_back((name.to_owned(), at));
        }
    };
    add(state.get("Next"), format!("{at}/Next"));
    add(state.get("Default"), format!("{at}/Default"));
    for list in ["Choices", "Catch"] {
        let entries = state.get(list).and_then(Value::as_array);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            add(entry.get("Next"), format!("{at}/{list}/{index}/Next"));
        }
    }
}

/// A state's name must be short and stand only once in the whole machine.
pub(super) fn name(name: &str, at: &str, names: &mut Names, findings: &mut Findings) {
    let length = name.chars().count();
    if length == 0 || length > MAX_STATE_NAME {
        let message = format!("the name of a state has 1 to {MAX_STATE_NAME} characters");
        findings.schema(at, message);
    }
    if let Some(first) = names.insert(name.to_owned(), at.to_owned()) {
        let message = format!("the name `{name}` is taken by the state at {first}");
        findings.schema(at, message);
    }
}

/// The variables that the states of a machine assign, each with where.
pub(super) fn assigned(states: &Node<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, state) in states.fields {
        let at = states.pointer(name);
        collect(state, &at, &mut found);
        for list in ["Choices", "Catch"] {
            let entries = state.get(list).and_then(Value::as_array);
            for (index, entry) in entries.into_iter().flatten().enumerate() {
                collect(entry, &format!("{at}/{list}/{index}"), &mut found);
            }
        }
    }
    found
}

fn collect(holder: &Value, at: &str, into: &mut Vec<(String, String)>) {
    let fields = holder.get("Assign").and_then(Value::as_object);
    for name in fields.into_iter().flat_map(|fields| fields.keys()) {
        into.push((name.clone(), format!("{at}/Assign/{}", escape(name))));
    }
}

/// Inner states see the outer variables and may not assign to their names.
pub(super) fn shadowing(
    states: &Node<'_>,
    outer: &BTreeSet<String>,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let mut visible = outer.clone();
    for (name, at) in assigned(states) {
        if outer.contains(&name) {
            let message = format!(
                "`{name}` is a variable of the outer machine; inner states read it but cannot assign it"
            );
            findings.schema(&at, message);
        }
        visible.insert(name);
    }
    visible
}

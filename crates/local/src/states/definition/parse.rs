//! From the text of a definition to a machine, or to the list of everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::{self, Names};
use super::fields::{Finding, Findings, NOT_JSON, Node};
use super::{Kind, Leave, Machine, State, Wait, compute, policy, strict};
use crate::states::expression::Member;
use crate::states::retry::MAX_WAIT_SECONDS;

/// Largest definition, in bytes (Step Functions service quotas).
const MAX_DEFINITION_BYTES: usize = 1_048_576;

pub(super) const BEFORE: [Member; 2] = [Member::Input, Member::Context];
const AFTER: [Member; 3] = [Member::Input, Member::Context, Member::Result];

/// What nested machines share while they are read.
pub(super) struct Reading<'f> {
    pub names: &'f mut Names,
    pub findings: &'f mut Findings,
    /// Variables of the machines around this one.
    pub visible: BTreeSet<String>,
}

/// Reads a definition. Every finding is reported, not only the first.
pub fn parse(text: &str) -> Result<Machine, Vec<Finding>> {
    let mut findings = Findings::default();
    let machine = read(text, &mut findings);
    match machine {
        Some(machine) if findings.0.is_empty() => Ok(machine),
        _ => Err(findings.0),
    }
}

fn read(text: &str, findings: &mut Findings) -> Option<Machine> {
    if text.len() > MAX_DEFINITION_BYTES {
        let message = format!("a definition has at most {MAX_DEFINITION_BYTES} bytes");
        findings.schema("", message);
        return None;
    }
    let (value, repeated) = match strict::parse(text) {
        Ok(read) => read,
        Err(error) => {
            findings.add(NOT_JSON, "", format!("not JSON: {error}"));
            return None;
        }
    };
    for pointer in repeated {
        findings.schema(&pointer, "this name stands twice in its object");
    }
    let node = Node::of(&value, "", findings)?;
    let known = [
        "QueryLanguage",
        "StartAt",
        "States",
        "TimeoutSeconds",
        "Version",
    ];
    node.only("a state machine", &known, findings);
    query_language(&node, true, findings);
    node.one_of("Version", &["1.0"], findings);
    let timeout = node.whole("TimeoutSeconds", 1, MAX_WAIT_SECONDS, findings);
    let mut reading = Reading {
        names: &mut Names::new(),
        findings,
        visible: BTreeSet::new(),
    };
    let machine = machine(&node, &mut reading)?;
    Some(Machine {
        timeout_seconds: timeout,
        ..machine
    })
}

fn query_language(node: &Node<'_>, needed: bool, findings: &mut Findings) {
    match node.fields.get("QueryLanguage") {
        Some(language) if language == "JSONata" => {}
        None if !needed => {}
        None => findings.schema(
            &node.at,
            "JSONPath, the default query language, is not supported; set `\"QueryLanguage\": \"JSONata\"`",
        ),
        Some(language) => findings.schema(
            &node.pointer("QueryLanguage"),
            format!("the query language {language} is not supported; use JSONata"),
        ),
    }
}

/// `StartAt` and `States` of a machine or of an inner one.
pub(super) fn machine(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Machine> {
    let findings = &mut *reading.findings;
    node.required("StartAt", "a state machine", findings);
    node.required("States", "a state machine", findings);
    let states = node.child("States", findings)?;
    if states.fields.is_empty() {
        findings.schema(&states.at, "a state machine needs at least one state");
    }
    check::transitions(node, &states, findings);
    let outer = reading.visible.clone();
    reading.visible = check::shadowing(&states, &outer, findings);
    let mut read = BTreeMap::new();
    for name in states.fields.keys() {
        let at = states.pointer(name);
        check::name(name, &at, reading.names, reading.findings);
        if let Some(state) = state(name, &states, reading) {
            read.insert(name.clone(), Arc::new(state));
        }
    }
    reading.visible = outer;
    Some(Machine {
        start_at: node.fields.get("StartAt")?.as_str()?.to_owned(),
        states: read,
        timeout_seconds: None,
    })
}

const COMMON: [&str; 3] = ["Type", "QueryLanguage", "Output"];
const MOVING: [&str; 3] = ["Next", "End", "Assign"];
const FAILING: [&str; 2] = ["Retry", "Catch"];

fn state(name: &str, states: &Node<'_>, reading: &mut Reading<'_>) -> Option<State> {
    let node = states.child(name, reading.findings)?;
    query_language(&node, false, reading.findings);
    node.required("Type", "a state", reading.findings);
    let types = [
        "Task", "Choice", "Map", "Parallel", "Wait", "Pass", "Succeed", "Fail",
    ];
    let kind = node.one_of("Type", &types, reading.findings)?;
    known_fields(kind, &node, reading.findings);
    let moves = !matches!(kind, "Choice" | "Succeed" | "Fail");
    let fails = matches!(kind, "Task" | "Map" | "Parallel");
    let findings = &mut *reading.findings;
    let next = moves.then(|| policy::transition(&node, &format!("a {kind} state"), findings));
    let leave = match kind {
        "Fail" => Leave::default(),
        _ => policy::leave(&node, if fails { &AFTER } else { &BEFORE }, findings),
    };
    Some(State {
        name: name.to_owned(),
        next: next.flatten(),
        leave,
        retry: policy::retry(&node, findings),
        catch: policy::catch(&node, findings),
        kind: read_kind(kind, &node, reading)?,
    })
}

fn known_fields(kind: &str, node: &Node<'_>, findings: &mut Findings) {
    let own: &[&str] = match kind {
        "Task" => &["Resource", "Arguments", "TimeoutSeconds"],
        "Choice" => &["Choices", "Default", "Assign"],
        "Map" => &compute::MAP_FIELDS,
        "Parallel" => &["Arguments", "Branches"],
        "Wait" => &["Seconds", "Timestamp"],
        "Fail" => &["Error", "Cause"],
        _ => &[],
    };
    let mut known: Vec<&str> = match kind {
        "Fail" => vec!["Type", "QueryLanguage"],
        _ => COMMON.to_vec(),
    };
    if !matches!(kind, "Choice" | "Succeed" | "Fail") {
        known.extend(MOVING);
    }
    if matches!(kind, "Task" | "Map" | "Parallel") {
        known.extend(FAILING);
    }
    known.extend(own);
    node.only(&format!("a {kind} state"), &known, findings);
}

fn read_kind(kind: &str, node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Kind> {
    let findings = &mut *reading.findings;
    match kind {
        "Task" => compute::task(node, findings).map(Kind::Task),
        "Choice" => compute::choice(node, findings).map(Kind::Choice),
        "Map" => compute::map(node, reading).map(|map| Kind::Map(Box::new(map))),
        "Parallel" => compute::parallel(node, reading),
        "Wait" => wait(node, findings).map(Kind::Wait),
        "Pass" => Some(Kind::Pass),
        "Succeed" => Some(Kind::Succeed),
        _ => Some(Kind::Fail {
            error: node.template("Error", &BEFORE, findings),
            cause: node.template("Cause", &BEFORE, findings),
        }),
    }
}

fn wait(node: &Node<'_>, findings: &mut Findings) -> Option<Wait> {
    let seconds = node.fields.contains_key("Seconds");
    if seconds == node.fields.contains_key("Timestamp") {
        let message = "a Wait state needs exactly one of `Seconds` and `Timestamp`";
        findings.schema(&node.at, message);
        return None;
    }
    if seconds {
        let count = node.count("Seconds", (0, MAX_WAIT_SECONDS), &BEFORE, findings)?;
        return Some(Wait::Seconds(count));
    }
    if let Some(text) = node.fields.get("Timestamp").and_then(|at| at.as_str())
        && !text.contains("{%")
        && crate::states::clock::parse_rfc3339(text).is_none()
    {
        let message = "`Timestamp` must be an RFC 3339 time such as 2026-11-23T09:30:00Z";
        findings.schema(&node.pointer("Timestamp"), message);
    }
    let timestamp = node.template("Timestamp", &BEFORE, findings)?;
    Some(Wait::Timestamp(timestamp))
}

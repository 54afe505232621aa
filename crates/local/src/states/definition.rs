//! A state machine as it runs: parsed, checked, every expression compiled. Only what is in these
//! types can be executed, and whatever is not in them was refused when the machine was created.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::expression::{Surroundings, Template};
use super::fault::Fault;
use super::retry::Retrier;

mod check;
mod compute;
mod fields;
mod parse;
mod policy;
mod strict;

pub use fields::Finding;
pub(super) use parse::parse;

/// A machine, or the inner machine of a Map or Parallel state.
#[derive(Debug)]
pub(super) struct Machine {
    pub start_at: String,
    pub states: BTreeMap<String, Arc<State>>,
    pub timeout_seconds: Option<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub name: String,
    pub kind: Kind,
    /// Where it goes on; nothing after `End`, `Succeed` and `Fail`. A Choice has its own.
    pub next: Option<String>,
    pub leave: Leave,
    pub retry: Vec<Retrier>,
    pub catch: Vec<Catcher>,
}

/// What is computed when a state is left.
#[derive(Debug, Default)]
pub(super) struct Leave {
    pub assign: Option<Template>,
    pub output: Option<Template>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Task(Task),
    Choice(Choice),
    Map(Box<MapState>),
    Parallel {
        arguments: Option<Template>,
        branches: Vec<Arc<Machine>>,
    },
    Wait(Wait),
    Pass,
    Succeed,
    Fail {
        error: Option<Template>,
        cause: Option<Template>,
    },
}

impl Kind {
    /// The state's `Type`, which is also the first word of its history events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Task(_) => "Task",
            Self::Choice(_) => "Choice",
            Self::Map(_) => "Map",
            Self::Parallel { .. } => "Parallel",
            Self::Wait(_) => "Wait",
            Self::Pass => "Pass",
            Self::Succeed => "Succeed",
            Self::Fail { .. } => "Fail",
        }
    }
}

/// An invocation of a Lambda function.
#[derive(Debug)]
pub(super) struct Task {
    pub arguments: Template,
    pub timeout_seconds: Option<Count>,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub rules: Vec<Rule>,
    pub default: Option<String>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub condition: Template,
    pub next: String,
    pub leave: Leave,
}

#[derive(Debug)]
pub(super) enum Wait {
    Seconds(Count),
    Timestamp(Template),
}

#[derive(Debug)]
pub(super) struct Catcher {
    pub errors: Vec<String>,
    pub next: String,
    pub leave: Leave,
}

#[derive(Debug)]
pub(super) struct MapState {
    pub items: Option<Template>,
    pub item_selector: Option<Template>,
    pub max_concurrency: Option<Count>,
    pub processor: Arc<Machine>,
    pub distributed: Option<Distributed>,
}

/// What only a distributed Map has.
#[derive(Debug)]
pub(super) struct Distributed {
    pub label: String,
    pub reader: Option<ItemReader>,
    pub batcher: Option<ItemBatcher>,
    pub tolerated_count: Option<Count>,
    pub tolerated_percentage: Option<Count>,
}

#[derive(Debug)]
pub(super) struct ItemReader {
    pub arguments: Template,
    pub json_lines: bool,
    pub max_items: Option<Count>,
}

#[derive(Debug)]
pub(super) struct ItemBatcher {
    pub max_items: Count,
    pub batch_input: Option<Template>,
}

/// A whole number within bounds, written down or computed.
#[derive(Debug)]
pub(super) struct Count {
    pub template: Template,
    pub field: String,
    pub least: u64,
    pub most: u64,
}

impl Count {
    pub fn evaluate(&self, around: &Surroundings<'_>) -> Result<u64, Fault> {
        let value = self.template.evaluate(around)?;
        let within = |number: &u64| (self.least..=self.most).contains(number);
        value.as_u64().filter(within).ok_or_else(|| {
            let (field, least, most) = (&self.field, self.least, self.most);
            Fault::query(format!(
                "The value of the field '{field}' must be a whole number from {least} to {most}, but was {value}."
            ))
        })
    }
}

/// The text that a field's value must be.
pub(super) fn text(field: &str, value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Fault::query(format!(
            "The value of the field '{field}' must be a string, but was {other}."
        ))),
    }
}

#[cfg(test)]
mod tests;

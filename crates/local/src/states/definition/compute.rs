//! The state types with parts of their own: Task, Choice, Map and Parallel.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Findings, Node};
use super::parse::{BEFORE, Reading, machine};
use super::{
    Choice, Count, Distributed, ItemBatcher, ItemReader, Kind, Machine, MapState, Rule, Task,
    policy,
};
use crate::states::expression::Template;
use crate::states::retry::MAX_WAIT_SECONDS;

const INVOKE: &str = "arn:aws:states:::lambda:invoke";
const GET_OBJECT: &str = "arn:aws:states:::s3:getObject";

/// Longest `Label` (developer guide, "Map state (Distributed)").
const MAX_LABEL: usize = 40;

pub(super) const MAP_FIELDS: [&str; 9] = [
    "Items",
    "ItemSelector",
    "ItemReader",
    "ItemBatcher",
    "ItemProcessor",
    "MaxConcurrency",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
    "Label",
];
const DISTRIBUTED_FIELDS: [&str; 5] = [
    "ItemReader",
    "ItemBatcher",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
    "Label",
];

pub(super) fn task(node: &Node<'_>, findings: &mut Findings) -> Option<Task> {
    for key in ["Resource", "Arguments"] {
        node.required(key, "a Task state", findings);
    }
    node.one_of("Resource", &[INVOKE], findings);
    match node.fields.get("Arguments") {
        Some(Value::Object(_)) => {
            let arguments = node.child("Arguments", findings)?;
            let what = "the Arguments of lambda:invoke";
            arguments.only(what, &["FunctionName", "Payload"], findings);
            arguments.required("FunctionName", what, findings);
        }
        Some(Value::String(text)) if text.starts_with("{%") => {}
        Some(_) => findings.schema(
            &node.pointer("Arguments"),
            "`Arguments` must be an object or an expression for one",
        ),
        None => {}
    }
    let timeout_seconds = node.count("TimeoutSeconds", (1, MAX_WAIT_SECONDS), &BEFORE, findings);
    Some(Task {
        arguments: node.template("Arguments", &BEFORE, findings)?,
        timeout_seconds,
    })
}

pub(super) fn choice(node: &Node<'_>, findings: &mut Findings) -> Option<Choice> {
    node.required("Choices", "a Choice state", findings);
    let mut rules = Vec::new();
    for entry in node.children("Choices", findings) {
        let known = ["Condition", "Next", "Assign", "Output"];
        entry.only("a rule of a Choice state", &known, findings);
        entry.required("Next", "a rule of a Choice state", findings);
        entry.required("Condition", "a rule of a Choice state", findings);
        let next = entry.literal("Next", findings);
        let leave = policy::leave(&entry, &BEFORE, findings);
        if let (Some(condition), Some(next)) = (condition(&entry, findings), next) {
            let next = next.to_owned();
            rules.push(Rule {
                condition,
                next,
                leave,
            });
        }
    }
    Some(Choice {
        rules,
        default: node.literal("Default", findings).map(str::to_owned),
    })
}

fn condition(entry: &Node<'_>, findings: &mut Findings) -> Option<Template> {
    let wanted = "true, false";
    let template = entry.expression_or_literal("Condition", &BEFORE, findings, wanted)?;
    match template {
        Template::Expression(_) | Template::Literal(Value::Bool(_)) => Some(template),
        _ => {
            let message = "`Condition` must be true, false or an expression `{% … %}`";
            findings.schema(&entry.pointer("Condition"), message);
            None
        }
    }
}

pub(super) fn parallel(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Kind> {
    node.required("Branches", "a Parallel state", reading.findings);
    let arguments = node.template("Arguments", &BEFORE, reading.findings);
    let mut branches = Vec::new();
    for branch in node.children("Branches", reading.findings) {
        branch.only("a branch", &["StartAt", "States"], reading.findings);
        branches.extend(machine(&branch, reading).map(Arc::new));
    }
    Some(Kind::Parallel {
        arguments,
        branches,
    })
}

pub(super) fn map(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<MapState> {
    node.required("ItemProcessor", "a Map state", reading.findings);
    let processor = node.child("ItemProcessor", reading.findings)?;
    let known = ["ProcessorConfig", "StartAt", "States"];
    processor.only("an ItemProcessor", &known, reading.findings);
    let is_distributed = processor_mode(&processor, reading.findings);
    let inner = inner_machine(&processor, is_distributed, reading);
    let findings = &mut *reading.findings;
    let distributed = if is_distributed {
        Some(distributed(node, findings))
    } else {
        inline_only(node, findings);
        None
    };
    Some(MapState {
        items: node.expression_or_literal("Items", &BEFORE, findings, "a list"),
        item_selector: node.template("ItemSelector", &BEFORE, findings),
        max_concurrency: node.count("MaxConcurrency", (0, 10_000), &BEFORE, findings),
        processor: Arc::new(inner?),
        distributed,
    })
}

/// The children of a distributed Map are executions of their own and see no outer variables.
fn inner_machine(
    processor: &Node<'_>,
    is_distributed: bool,
    reading: &mut Reading<'_>,
) -> Option<Machine> {
    let outer = reading.visible.clone();
    if is_distributed {
        reading.visible.clear();
    }
    let inner = machine(processor, reading);
    reading.visible = outer;
    inner
}

/// Whether `ProcessorConfig` asks for a distributed Map.
fn processor_mode(processor: &Node<'_>, findings: &mut Findings) -> bool {
    let Some(config) = processor.child("ProcessorConfig", findings) else {
        return false;
    };
    config.only("ProcessorConfig", &["Mode", "ExecutionType"], findings);
    config.required("Mode", "ProcessorConfig", findings);
    let mode = config.one_of("Mode", &["INLINE", "DISTRIBUTED"], findings);
    let kinds = ["EXPRESS", "STANDARD"];
    config.one_of("ExecutionType", &kinds, findings);
    let typed = config.fields.contains_key("ExecutionType");
    match mode {
        Some("DISTRIBUTED") => {
            config.required("ExecutionType", "a distributed Map", findings);
            true
        }
        Some(_) if typed => {
            let message = "`ExecutionType` belongs to `\"Mode\": \"DISTRIBUTED\"`";
            findings.schema(&config.pointer("ExecutionType"), message);
            false
        }
        _ => false,
    }
}

fn inline_only(node: &Node<'_>, findings: &mut Findings) {
    for key in DISTRIBUTED_FIELDS {
        if node.fields.contains_key(key) {
            let message = format!("`{key}` needs `\"Mode\": \"DISTRIBUTED\"` in ProcessorConfig");
            findings.schema(&node.pointer(key), message);
        }
    }
}

fn distributed(node: &Node<'_>, findings: &mut Findings) -> Distributed {
    if node.fields.contains_key("Items") && node.fields.contains_key("ItemReader") {
        let message =
            "a Map state takes its items from `Items` or from `ItemReader`, not from both";
        findings.schema(&node.at, message);
    }
    let whole = (0, 10_000_000);
    Distributed {
        label: label(node, findings),
        reader: node
            .child("ItemReader", findings)
            .and_then(|reader| item_reader(&reader, findings)),
        batcher: node
            .child("ItemBatcher", findings)
            .and_then(|batcher| item_batcher(&batcher, findings)),
        tolerated_count: node.count("ToleratedFailureCount", whole, &BEFORE, findings),
        tolerated_percentage: node.count("ToleratedFailurePercentage", (0, 100), &BEFORE, findings),
    }
}

fn label(node: &Node<'_>, findings: &mut Findings) -> String {
    let label = node.literal("Label", findings).unwrap_or("Map");
    let refused = |letter: char| {
        letter.is_whitespace() || letter.is_control() || r#"?*<>{}[]:;,\|^~$#%&`""#.contains(letter)
    };
    if label.is_empty() || label.chars().count() > MAX_LABEL || label.contains(refused) {
        let message = format!("`Label` has 1 to {MAX_LABEL} characters, no spaces or wildcards");
        findings.schema(&node.pointer("Label"), message);
    }
    label.to_owned()
}

fn item_reader(node: &Node<'_>, findings: &mut Findings) -> Option<ItemReader> {
    let known = ["Resource", "ReaderConfig", "Arguments"];
    node.only("an ItemReader", &known, findings);
    for key in known {
        node.required(key, "an ItemReader", findings);
    }
    node.one_of("Resource", &[GET_OBJECT], findings);
    if let Some(arguments) = node.child("Arguments", findings) {
        arguments.only("s3:getObject", &["Bucket", "Key"], findings);
        arguments.required("Bucket", "s3:getObject", findings);
        arguments.required("Key", "s3:getObject", findings);
    }
    let config = node.child("ReaderConfig", findings)?;
    config.only("ReaderConfig", &["InputType", "MaxItems"], findings);
    config.required("InputType", "ReaderConfig", findings);
    let kind = config.one_of("InputType", &["JSONL", "JSON"], findings)?;
    Some(ItemReader {
        arguments: node.template("Arguments", &BEFORE, findings)?,
        json_lines: kind == "JSONL",
        max_items: config.count("MaxItems", (1, 100_000_000), &BEFORE, findings),
    })
}

fn item_batcher(node: &Node<'_>, findings: &mut Findings) -> Option<ItemBatcher> {
    let known = ["MaxItemsPerBatch", "BatchInput"];
    node.only("an ItemBatcher", &known, findings);
    node.required("MaxItemsPerBatch", "an ItemBatcher", findings);
    let batch_input = node.template("BatchInput", &BEFORE, findings);
    let max_items: Option<Count> =
        node.count("MaxItemsPerBatch", (1, 100_000_000), &BEFORE, findings);
    Some(ItemBatcher {
        max_items: max_items?,
        batch_input,
    })
}

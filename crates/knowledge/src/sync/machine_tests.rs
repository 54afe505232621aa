//! The state machine's names of errors against the code that raises them, step by step.

use std::collections::BTreeSet;

use aws::AwsError;
use aws::bedrock::BedrockError;
use serde_json::Value;

use super::{Step, StepError};
use crate::knowledge_base::Unfit;

const MACHINE: &str = include_str!("../../../../infra/ingest.asl.json");

/// One of each error that a step can end with, and whether the same step may succeed later. A variant that is new here
/// does not compile until it is listed.
fn errors() -> Vec<(StepError, bool)> {
    let model = || "m".to_owned();
    let detail = || "d".to_owned();
    let mut errors: Vec<StepError> = vec![
        AwsError::Busy {
            service: "S3",
            detail: detail(),
        }
        .into(),
        AwsError::Conflict { detail: detail() }.into(),
        AwsError::Missing { what: detail() }.into(),
        AwsError::Damaged { detail: detail() }.into(),
        AwsError::Refused {
            service: "S3",
            detail: detail(),
        }
        .into(),
        BedrockError::Throttled {
            model: model(),
            detail: detail(),
        }
        .into(),
        BedrockError::Unavailable {
            model: model(),
            detail: detail(),
        }
        .into(),
        BedrockError::TimedOut {
            model: model(),
            detail: detail(),
        }
        .into(),
        BedrockError::StreamBroken {
            model: model(),
            detail: detail(),
        }
        .into(),
        BedrockError::Refused {
            model: model(),
            detail: detail(),
        }
        .into(),
    ];
    errors.extend([
        StepError::EmbedderMismatch {
            space: detail(),
            stored: detail(),
            configured: detail(),
        },
        StepError::ReEmbedIncomplete {
            space: detail(),
            missing: 1,
            first: detail(),
        },
        StepError::ManifestContended {
            space: detail(),
            attempts: 1,
        },
        StepError::BudgetSpent { detail: detail() },
        StepError::QuotaSpokenFor { model: model() },
        StepError::GuardUnavailable,
        StepError::InvalidStepInput { detail: detail() },
        StepError::SegmentUnusable { detail: detail() },
        StepError::KnowledgeBaseUnfit(Box::new(Unfit {
            knowledge_base: detail(),
            data_source: detail(),
            bucket: detail(),
            prefix: detail(),
            problem: detail(),
        })),
    ]);
    let errors = errors.into_iter();
    let with_retry = errors.map(|error| {
        let retry = match &error {
            StepError::Aws(error) => error.retry(),
            // Steps embed; they read no stream.
            StepError::Bedrock(BedrockError::StreamBroken { .. }) => false,
            StepError::Bedrock(error) => error.retry(),
            StepError::QuotaSpokenFor { .. } | StepError::GuardUnavailable => true,
            StepError::EmbedderMismatch { .. }
            | StepError::ReEmbedIncomplete { .. }
            | StepError::ManifestContended { .. }
            | StepError::BudgetSpent { .. }
            | StepError::InvalidStepInput { .. }
            | StepError::KnowledgeBaseUnfit(_)
            | StepError::SegmentUnusable { .. } => false,
        };
        (error, retry)
    });
    with_retry.collect()
}

/// One of each step. A step that is new here does not compile until [`raises`] lists it.
fn steps() -> Vec<Step> {
    let run_id = || "default.01".to_owned();
    let (items, resumed) = (Vec::new(), false);
    let batch_id = || "b".to_owned();
    vec![
        Step::Plan { run_id: run_id() },
        Step::ScreenNames { run_id: run_id() },
        Step::Move { run_id: run_id() },
        Step::Extract {
            run_id: run_id(),
            items: items.clone(),
            resumed,
        },
        Step::Screen {
            run_id: run_id(),
            batch_id: batch_id(),
        },
        Step::Embed {
            run_id: run_id(),
            batch_id: batch_id(),
        },
        Step::GatherJobs { run_id: run_id() },
        Step::CheckJobs { run_id: run_id() },
        Step::CollectJobs { run_id: run_id() },
        Step::FailBatch {
            run_id: run_id(),
            items,
            batch_id: None,
            error: String::new(),
            cause: String::new(),
        },
        Step::Publish { run_id: run_id() },
        Step::Verify { run_id: run_id() },
        Step::SyncKnowledgeBase { run_id: run_id() },
        Step::FailKnowledgeBase {
            run_id: run_id(),
            error: String::new(),
            cause: String::new(),
        },
        Step::Compact { run_id: run_id() },
        Step::Report {
            run_id: run_id(),
            error: None,
            cause: None,
        },
    ]
}

const STORES: [&str; 5] = [
    "ServiceBusy",
    "WriteConflict",
    "StoredItemMissing",
    "StoredDataDamaged",
    "ServiceRefused",
];
const MODELS: [&str; 5] = [
    "QuotaSpokenFor",
    "ModelThrottled",
    "ModelUnavailable",
    "ModelTimedOut",
    "ModelRefused",
];

/// The errors that a step can end with. Any may be sent what it cannot read.
fn raises(step: &Step) -> BTreeSet<&'static str> {
    let own: &[&str] = match step {
        Step::Plan { .. } => &["EmbedderMismatch", "SegmentUnusable"],
        // Semantic chunking embeds.
        Step::Extract { .. } => &[MODELS.as_slice(), &["BudgetSpent"]].concat(),
        Step::Embed { .. } => &[MODELS.as_slice(), &["BudgetSpent", "SegmentUnusable"]].concat(),
        Step::Screen { .. } | Step::ScreenNames { .. } => &["GuardUnavailable", "BudgetSpent"],
        Step::Publish { .. } => &[
            "EmbedderMismatch",
            "ReEmbedIncomplete",
            "ManifestContended",
            "SegmentUnusable",
        ],
        Step::Move { .. }
        | Step::CollectJobs { .. }
        | Step::Verify { .. }
        | Step::Compact { .. } => &["SegmentUnusable"],
        Step::SyncKnowledgeBase { .. } => &["KnowledgeBaseUnfit"],
        // A job that cannot be asked just now is asked at the next look.
        Step::CheckJobs { .. } => &["BudgetSpent"],
        Step::GatherJobs { .. }
        | Step::FailBatch { .. }
        | Step::FailKnowledgeBase { .. }
        | Step::Report { .. } => &[],
    };
    let stores = STORES.iter().chain(&["InvalidStepInput"]);
    stores.chain(own).copied().collect()
}

/// A task of the machine: its name and its step, what it retries, and what it catches.
#[derive(Debug)]
struct Task {
    name: String,
    step: String,
    retried: BTreeSet<String>,
    caught: BTreeSet<String>,
}

fn tasks(states: &Value) -> Vec<Task> {
    let names = |rules: &Value| -> BTreeSet<String> {
        let rules = rules.as_array().into_iter().flatten();
        let lists = rules.filter_map(|rule| rule["ErrorEquals"].as_array());
        lists
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    let mut found = Vec::new();
    for (name, state) in states.as_object().into_iter().flatten() {
        if state["Type"] == "Task" {
            found.push(Task {
                name: name.clone(),
                step: state["Arguments"]["Payload"]["step"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                retried: names(&state["Retry"]),
                caught: names(&state["Catch"]),
            });
        }
        found.extend(tasks(&state["ItemProcessor"]["States"]));
    }
    found
}

#[test]
fn each_task_retries_what_may_pass_of_its_steps_errors_and_nothing_else() {
    let machine: Value = serde_json::from_str(MACHINE).unwrap();
    let tasks = tasks(&machine["States"]);
    let may_pass: BTreeSet<&str> = errors()
        .iter()
        .filter(|(_, may_pass)| *may_pass)
        .map(|(error, _)| error.name())
        .collect();
    let platform = ["States.", "Lambda.", "Sandbox.", "Runtime."];
    let all = "States.ALL".to_owned();
    let mut driven = BTreeSet::new();
    for step in steps() {
        let named = serde_json::to_value(&step).unwrap()["step"].clone();
        let raised = raises(&step);
        for task in tasks.iter().filter(|task| task.step == named) {
            driven.insert(&task.name);
            assert!(
                task.retried.contains(&all) || task.caught.contains(&all),
                "{task:?} lets errors through"
            );
            if task.retried.contains(&all) {
                continue;
            }
            let of_code = |name: &&String| !platform.iter().any(|begin| name.starts_with(begin));
            let retried: BTreeSet<&str> = task
                .retried
                .iter()
                .filter(of_code)
                .map(String::as_str)
                .collect();
            let expected: BTreeSet<&str> = raised.intersection(&may_pass).copied().collect();
            assert_eq!(retried, expected, "{}", task.name);
            let caught = task.caught.iter().filter(of_code);
            for name in caught {
                assert!(raised.contains(name.as_str()), "{task:?} raises no {name}");
            }
        }
        assert!(
            tasks.iter().any(|task| task.step == named),
            "no task makes {step:?}"
        );
    }
    assert_eq!(driven.len(), tasks.len(), "{tasks:?}");
}

#[test]
fn every_error_is_some_steps() {
    let raised: BTreeSet<&str> = steps().iter().flat_map(raises).collect();
    for (error, _) in errors() {
        // Steps embed; they read no stream.
        let of_no_step = error.name() == "ModelStreamBroken";
        assert_eq!(
            raised.contains(error.name()),
            !of_no_step,
            "{}",
            error.name()
        );
    }
    let known: BTreeSet<&str> = errors().iter().map(|(error, _)| error.name()).collect();
    assert!(raised.is_subset(&known), "{raised:?}");
}

/// A step that hands over is made again, and by the state that stands before the next one.
#[test]
fn steps_that_hand_over_are_made_again() {
    let machine: Value = serde_json::from_str(MACHINE).unwrap();
    let check = |states: &Value, step: &str, then: &str| {
        let choice = &states[states[step]["Next"].as_str().unwrap()];
        assert_eq!(choice["Type"], "Choice", "{step}");
        assert_eq!(
            choice["Choices"][0]["Condition"],
            "{% $states.input.more %}"
        );
        assert_eq!(choice["Choices"][0]["Next"], step);
        assert_eq!(choice["Default"], then);
    };
    let states = &machine["States"];
    let of_map = |name: &str| &states[name]["ItemProcessor"]["States"];
    check(of_map("Documents"), "Extract", "Screen");
    check(of_map("Documents"), "Embed", "BatchDone");
    check(of_map("LeftOver"), "EmbedLeftOver", "LeftOverDone");
    check(states, "GatherJobs", "CheckJobs");
    check(states, "CollectJobs", "AnythingLeftOver");
}

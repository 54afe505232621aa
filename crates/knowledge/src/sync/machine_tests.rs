//! The state machine's names of errors against the code that raises them.

use std::collections::BTreeSet;

use aws::AwsError;
use aws::bedrock::BedrockError;
use serde_json::Value;

use super::StepError;

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
        StepError::GuardUnavailable,
        StepError::InvalidStepInput { detail: detail() },
        StepError::SegmentUnusable { detail: detail() },
    ]);
    let errors = errors.into_iter();
    let with_retry = errors.map(|error| {
        let retry = match &error {
            StepError::Aws(error) => error.retry(),
            // Steps embed; they read no stream.
            StepError::Bedrock(BedrockError::StreamBroken { .. }) => false,
            StepError::Bedrock(error) => error.retry(),
            StepError::GuardUnavailable => true,
            StepError::EmbedderMismatch { .. }
            | StepError::ReEmbedIncomplete { .. }
            | StepError::ManifestContended { .. }
            | StepError::InvalidStepInput { .. }
            | StepError::SegmentUnusable { .. } => false,
        };
        (error, retry)
    });
    with_retry.collect()
}

/// Each task of the machine: its name, what it retries, and what it catches.
fn tasks(states: &Value) -> Vec<(String, BTreeSet<String>, BTreeSet<String>)> {
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
            found.push((name.clone(), names(&state["Retry"]), names(&state["Catch"])));
        }
        found.extend(tasks(&state["ItemProcessor"]["States"]));
    }
    found
}

#[test]
fn the_machine_names_errors_that_the_code_raises_and_retries_those_that_may_pass() {
    let machine: Value = serde_json::from_str(MACHINE).unwrap();
    let tasks = tasks(&machine["States"]);
    assert!(tasks.len() >= 9, "{tasks:?}");
    let errors = errors();
    let raised: BTreeSet<&str> = errors.iter().map(|(error, _)| error.name()).collect();
    let platform = ["States.", "Lambda.", "Sandbox.", "Runtime."];
    for (task, retried, caught) in &tasks {
        for name in retried.iter().chain(caught) {
            let of_platform = platform.iter().any(|begin| name.starts_with(begin));
            assert!(
                of_platform || raised.contains(name.as_str()),
                "{task}: nothing raises {name}"
            );
        }
        let all = "States.ALL".to_owned();
        assert!(
            retried.contains(&all) || caught.contains(&all),
            "{task} lets errors through"
        );
        for name in ["ServiceBusy", "WriteConflict"] {
            assert!(
                retried.contains(&all) || retried.contains(name),
                "{task} does not retry {name}"
            );
        }
    }
    for (error, may_pass) in &errors {
        let by_name = |(_, retried, _): &(String, BTreeSet<String>, BTreeSet<String>)| {
            retried.contains(error.name())
        };
        assert_eq!(tasks.iter().any(by_name), *may_pass, "{}", error.name());
    }
}

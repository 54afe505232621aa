//! Definitions that are refused, each with the place and the reason; and ones that are not.

use serde_json::{Value, json};

use super::parse;

/// Checks that the definition has exactly the expected findings, each a JSON pointer and a part of
/// the message.
#[track_caller]
fn check(definition: &Value, expected: &[(&str, &str)]) {
    check_text(&definition.to_string(), expected);
}

#[track_caller]
fn check_text(text: &str, expected: &[(&str, &str)]) {
    let findings = parse(text).err().unwrap_or_default();
    let listed: Vec<_> = findings
        .iter()
        .map(|f| (f.pointer.as_str(), f.message.as_str()))
        .collect();
    assert_eq!(listed.len(), expected.len(), "{text}\n{listed:#?}");
    for ((pointer, message), (place, part)) in listed.iter().zip(expected) {
        assert_eq!(pointer, place, "{listed:#?}");
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

fn machine(states: Value) -> Value {
    let first = states
        .as_object()
        .and_then(|states| states.keys().next())
        .cloned();
    json!({ "QueryLanguage": "JSONata", "StartAt": first, "States": states })
}

fn one(state: Value) -> Value {
    machine(json!({ "A": state }))
}

fn task(fields: Value) -> Value {
    let mut state = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": { "FunctionName": "f" },
        "End": true,
    });
    for (name, value) in fields.as_object().expect("an object") {
        state[name] = value.clone();
    }
    one(state)
}

fn map(fields: Value, config: Option<Value>) -> Value {
    let mut processor = json!({ "StartAt": "I", "States": { "I": { "Type": "Succeed" } } });
    if let Some(config) = config {
        processor["ProcessorConfig"] = config;
    }
    let mut state = json!({ "Type": "Map", "ItemProcessor": processor, "End": true });
    for (name, value) in fields.as_object().expect("an object") {
        state[name] = value.clone();
    }
    one(state)
}

fn distributed() -> Option<Value> {
    Some(json!({ "Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS" }))
}

#[test]
fn good_definitions_pass() {
    check(
        &one(json!({ "Type": "Pass", "End": true, "Comment": "c", "QueryLanguage": "JSONata" })),
        &[],
    );
    check(
        &task(
            json!({ "TimeoutSeconds": "{% $states.input.t %}", "Retry": [{ "ErrorEquals": ["States.ALL"], "BackoffRate": 1.5, "MaxDelaySeconds": 9, "JitterStrategy": "NONE" }] }),
        ),
        &[],
    );
    check(
        &map(json!({ "MaxConcurrency": 5, "Items": [1] }), None),
        &[],
    );
    check(
        &map(
            json!({ "Label": "docs", "ToleratedFailurePercentage": 100, "ItemBatcher": { "MaxItemsPerBatch": "{% 5 %}" } }),
            distributed(),
        ),
        &[],
    );
}

#[test]
fn machines_need_a_start_states_and_jsonata() {
    check_text("[]", &[("", "must be a JSON object")]);
    check_text("{", &[("", "not JSON")]);
    check(
        &json!({ "QueryLanguage": "JSONata" }),
        &[("", "needs `StartAt`"), ("", "needs `States`")],
    );
    check(
        &json!({ "StartAt": "A", "States": { "A": { "Type": "Succeed" } } }),
        &[("", "JSONPath")],
    );
    check(
        &json!({ "QueryLanguage": "JSONPath", "StartAt": "A", "States": { "A": { "Type": "Succeed" } } }),
        &[("/QueryLanguage", "\"JSONPath\" is not supported")],
    );
    check(
        &json!({ "QueryLanguage": "JSONata", "StartAt": "B", "States": { "A": { "Type": "Succeed" } } }),
        &[("/StartAt", "no state `B`"), ("/States/A", "no transition")],
    );
    check(
        &json!({ "QueryLanguage": "JSONata", "StartAt": "A", "States": {} }),
        &[
            ("/States", "at least one state"),
            ("/StartAt", "no state `A`"),
        ],
    );
    check(
        &json!({ "QueryLanguage": "JSONata", "StartAt": "A", "States": { "A": { "Type": "Succeed" } }, "Extra": 1, "TimeoutSeconds": "{% 1 %}" }),
        &[
            ("/Extra", "`Extra` is not supported"),
            ("/TimeoutSeconds", "whole number"),
        ],
    );
}

#[test]
fn states_need_a_known_type_known_fields_and_a_way_on() {
    check(
        &one(json!({ "Type": "Activity", "End": true })),
        &[("/States/A/Type", "Activity, which is not supported")],
    );
    check(
        &one(json!({ "End": true })),
        &[("/States/A", "needs `Type`")],
    );
    check(
        &one(json!({ "Type": "Pass", "End": true, "Result": 1, "InputPath": "$" })),
        &[
            ("/States/A/Result", "`Result`"),
            ("/States/A/InputPath", "`InputPath`"),
        ],
    );
    check(
        &one(json!({ "Type": "Pass", "End": true, "QueryLanguage": "JSONPath" })),
        &[("/States/A/QueryLanguage", "JSONPath")],
    );
    check(
        &one(json!({ "Type": "Pass" })),
        &[("/States/A", "needs `Next` or `End")],
    );
    check(
        &one(json!({ "Type": "Pass", "Next": "A", "End": true })),
        &[("/States/A", "both `Next` and `End`")],
    );
    check(
        &one(json!({ "Type": "Pass", "End": false })),
        &[("/States/A/End", "must be true")],
    );
    check(
        &one(json!({ "Type": "Pass", "Next": "{% 'A' %}" })),
        &[
            ("/States/A/Next", "no state"),
            ("/States/A/Next", "no JSONata expression"),
        ],
    );
}

#[test]
fn transitions_lead_somewhere_and_every_state_is_reached() {
    check(
        &one(json!({ "Type": "Pass", "Next": "B" })),
        &[("/States/A/Next", "no state `B`")],
    );
    let lost = json!({ "A": { "Type": "Succeed" }, "B": { "Type": "Pass", "Next": "C" }, "C": { "Type": "Succeed" } });
    check(
        &machine(lost),
        &[
            ("/States/B", "no transition"),
            ("/States/C", "no transition"),
        ],
    );
    let choice = json!({
        "A": { "Type": "Choice", "Choices": [{ "Condition": true, "Next": "X" }], "Default": "Y" },
    });
    check(
        &machine(choice),
        &[
            ("/States/A/Default", "`Y`"),
            ("/States/A/Choices/0/Next", "`X`"),
        ],
    );
    check(
        &task(json!({ "Catch": [{ "ErrorEquals": ["E"], "Next": "Z" }] })),
        &[("/States/A/Catch/0/Next", "`Z`")],
    );
}

#[test]
fn names_stand_once() {
    check_text(
        r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Succeed"},"A":{"Type":"Succeed","Type":"Succeed"}}}"#,
        &[("/States/A", "twice"), ("/States/A/Type", "twice")],
    );
    let mut nested = map(json!({}), None);
    nested["States"]["A"]["ItemProcessor"]["States"] =
        json!({ "I": { "Type": "Pass", "Next": "A" }, "A": { "Type": "Succeed" } });
    check(
        &nested,
        &[(
            "/States/A/ItemProcessor/States/A",
            "taken by the state at /States/A",
        )],
    );
    let long = "x".repeat(81);
    let pointer = format!("/States/{long}");
    check(
        &machine(json!({ long: { "Type": "Succeed" } })),
        &[(&pointer, "1 to 80 characters")],
    );
}

#[test]
fn expressions_are_compiled_and_literals_are_literal() {
    let output = |output: Value| one(json!({ "Type": "Pass", "Output": output, "End": true }));
    check(
        &output(json!({ "a/b": ["{% 1 + %}"] })),
        &[("/States/A/Output/a~1b/0", "S0")],
    );
    check(
        &output(json!(" {% 1 %}")),
        &[("/States/A/Output", "without anything around")],
    );
    check(
        &output(json!("{% 1")),
        &[("/States/A/Output", "without anything around")],
    );
    check(
        &output(json!("{% $states.result %}")),
        &[("/States/A/Output", "not available")],
    );
    check(
        &output(json!("{% $eval('1') %}")),
        &[("/States/A/Output", "$eval")],
    );
    check(
        &output(json!("{% name.x %}")),
        &[("/States/A/Output", "no context")],
    );
    check(
        &task(
            json!({ "Retry": [{ "ErrorEquals": ["E"], "IntervalSeconds": "{% 1 %}", "MaxAttempts": "3", "BackoffRate": 0.5, "MaxDelaySeconds": 1, "JitterStrategy": "SOME" }] }),
        ),
        &[
            ("/States/A/Retry/0/IntervalSeconds", "whole number"),
            ("/States/A/Retry/0/BackoffRate", "at least 1"),
            ("/States/A/Retry/0/MaxAttempts", "whole number"),
            ("/States/A/Retry/0/MaxDelaySeconds", "greater than"),
            ("/States/A/Retry/0/JitterStrategy", "SOME"),
        ],
    );
    check(
        &task(json!({ "Resource": "{% 'x' %}" })),
        &[("/States/A/Resource", "no JSONata expression")],
    );
    check(
        &task(json!({ "Resource": "arn:aws:states:::sqs:sendMessage" })),
        &[("/States/A/Resource", "not supported")],
    );
    check(
        &task(json!({ "Arguments": { "Payload": 1, "Qualifier": "1" } })),
        &[
            ("/States/A/Arguments/Qualifier", "not supported"),
            ("/States/A/Arguments", "needs `FunctionName`"),
        ],
    );
    check(
        &task(json!({ "TimeoutSeconds": 0 })),
        &[("/States/A/TimeoutSeconds", "from 1")],
    );
    check(
        &task(json!({ "TimeoutSeconds": "5" })),
        &[("/States/A/TimeoutSeconds", "or an expression")],
    );
    check(
        &task(json!({ "HeartbeatSeconds": 5 })),
        &[("/States/A/HeartbeatSeconds", "not supported")],
    );
    check(
        &task(json!({ "Credentials": {} })),
        &[("/States/A/Credentials", "not supported")],
    );
    check(
        &task(json!({ "Assign": { "states": 1, "1a": 2 } })),
        &[
            ("/States/A/Assign/states", "reserved"),
            ("/States/A/Assign/1a", "no name for a variable"),
        ],
    );
}

#[test]
fn error_names_are_lists_and_the_wildcard_stands_alone_and_last() {
    check(
        &task(json!({ "Retry": [] })),
        &[("/States/A/Retry", "at least one")],
    );
    check(
        &task(json!({ "Retry": [{}] })),
        &[("/States/A/Retry/0/ErrorEquals", "list of error names")],
    );
    check(
        &task(json!({ "Retry": [{ "ErrorEquals": [] }] })),
        &[("/States/A/Retry/0/ErrorEquals", "at least one")],
    );
    check(
        &task(json!({ "Retry": [{ "ErrorEquals": ["States.ALL", "E"] }] })),
        &[("/States/A/Retry/0/ErrorEquals", "alone")],
    );
    check(
        &task(json!({ "Retry": [{ "ErrorEquals": ["States.ALL"] }, { "ErrorEquals": ["E"] }] })),
        &[("/States/A/Retry/0/ErrorEquals", "last")],
    );
    check(
        &task(json!({ "Catch": [{ "ErrorEquals": ["{% 'E' %}"], "Next": "A" }] })),
        &[("/States/A/Catch/0/ErrorEquals/0", "name of an error")],
    );
}

#[test]
fn waits_and_choices_are_whole() {
    check(
        &one(json!({ "Type": "Wait", "End": true })),
        &[("/States/A", "exactly one")],
    );
    check(
        &one(
            json!({ "Type": "Wait", "Seconds": 1, "Timestamp": "2026-01-01T00:00:00Z", "End": true }),
        ),
        &[("/States/A", "exactly one")],
    );
    check(
        &one(json!({ "Type": "Wait", "Timestamp": "tomorrow", "End": true })),
        &[("/States/A/Timestamp", "RFC 3339")],
    );
    check(
        &one(json!({ "Type": "Wait", "SecondsPath": "$.x", "End": true })),
        &[
            ("/States/A/SecondsPath", "not supported"),
            ("/States/A", "exactly one"),
        ],
    );
    check(
        &one(json!({ "Type": "Choice", "Default": "A" })),
        &[("/States/A", "needs `Choices`")],
    );
    check(
        &one(json!({ "Type": "Choice", "Choices": [{ "Condition": "yes", "Next": "A" }] })),
        &[("/States/A/Choices/0/Condition", "expression")],
    );
    check(
        &one(json!({ "Type": "Choice", "Choices": [{ "Variable": "$.x", "Next": "A" }] })),
        &[
            ("/States/A/Choices/0/Variable", "not supported"),
            ("/States/A/Choices/0", "needs `Condition`"),
        ],
    );
    check(
        &one(
            json!({ "Type": "Choice", "Choices": [{ "Condition": true, "Next": "A" }], "End": true }),
        ),
        &[("/States/A/End", "not supported")],
    );
}

#[test]
fn maps_keep_to_their_mode() {
    check(
        &map(json!({ "Label": "x", "ToleratedFailureCount": 1 }), None),
        &[
            ("/States/A/ToleratedFailureCount", "DISTRIBUTED"),
            ("/States/A/Label", "DISTRIBUTED"),
        ],
    );
    check(
        &map(json!({ "ResultWriter": {} }), distributed()),
        &[("/States/A/ResultWriter", "not supported")],
    );
    check(
        &map(json!({ "Iterator": {} }), None),
        &[("/States/A/Iterator", "not supported")],
    );
    check(
        &map(json!({}), Some(json!({ "Mode": "DISTRIBUTED" }))),
        &[(
            "/States/A/ItemProcessor/ProcessorConfig",
            "needs `ExecutionType`",
        )],
    );
    check(
        &map(
            json!({}),
            Some(json!({ "Mode": "INLINE", "ExecutionType": "EXPRESS" })),
        ),
        &[(
            "/States/A/ItemProcessor/ProcessorConfig/ExecutionType",
            "DISTRIBUTED",
        )],
    );
    check(
        &map(
            json!({ "ToleratedFailurePercentage": 101, "Label": "a b" }),
            distributed(),
        ),
        &[
            ("/States/A/Label", "no spaces"),
            ("/States/A/ToleratedFailurePercentage", "from 0 to 100"),
        ],
    );
    check(
        &map(
            json!({ "ItemReader": { "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "CSV" }, "Arguments": { "Bucket": "b" } } }),
            distributed(),
        ),
        &[
            ("/States/A/ItemReader/Arguments", "needs `Key`"),
            ("/States/A/ItemReader/ReaderConfig/InputType", "CSV"),
        ],
    );
    check(
        &map(
            json!({ "ItemBatcher": { "MaxInputBytesPerBatch": 5 } }),
            distributed(),
        ),
        &[
            (
                "/States/A/ItemBatcher/MaxInputBytesPerBatch",
                "not supported",
            ),
            ("/States/A/ItemBatcher", "needs `MaxItemsPerBatch`"),
        ],
    );
    let mut both = map(json!({ "Items": [] }), distributed());
    both["States"]["A"]["ItemReader"] = json!({ "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" }, "Arguments": { "Bucket": "b", "Key": "k" } });
    check(&both, &[("/States/A", "not from both")]);
}

#[test]
fn inner_states_do_not_assign_outer_variables() {
    let with_variable = |config: Option<Value>| {
        let mut map = map(json!({ "Assign": { "x": 1 } }), config);
        let inner = json!({ "Type": "Pass", "Assign": { "x": 2 }, "End": true });
        map["States"]["A"]["ItemProcessor"]["States"]["I"] = inner;
        map
    };
    check(
        &with_variable(None),
        &[("/States/A/ItemProcessor/States/I/Assign/x", "outer machine")],
    );
    check(&with_variable(distributed()), &[]);
}

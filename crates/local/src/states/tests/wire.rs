//! Requests and replies as an SDK sees them.

use super::*;

const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
const EXECUTION: &str = "arn:aws:states:us-east-1:000000000000:execution:m:";

fn open_with_machine(dir: &Path, states: &Value) -> StateMachines {
    let machines = open(dir, &Arc::default());
    let created = machines.create("m", &machine(states).to_string());
    assert_eq!(
        created.unwrap_or_else(|refused| panic!("{refused}")),
        MACHINE
    );
    machines
}

fn pass() -> Value {
    json!({ "P": { "Type": "Pass", "End": true } })
}

#[tokio::test]
async fn a_history_has_the_events_of_aws() {
    let dir = tempfile::tempdir().expect("a folder");
    let retry = json!({ "Retry": [{ "ErrorEquals": ["Flaky"], "IntervalSeconds": 1 }] });
    let inner = json!({ "StartAt": "I", "States": { "I": { "Type": "Pass", "End": true } } });
    let mut flaky = with(task("flaky_1", json!({ "key": 1 })), retry);
    flaky.as_object_mut().expect("an object").remove("End");
    let flaky = with(
        flaky,
        json!({ "Assign": { "calls": "{% $states.result.Payload.calls %}" }, "Output": [1], "Next": "M" }),
    );
    let states = json!({
        "T": flaky,
        "M": { "Type": "Map", "ItemProcessor": inner, "Next": "C" },
        "C": { "Type": "Choice", "Choices": [{ "Condition": "{% $calls = 2 %}", "Next": "E" }] },
        "E": { "Type": "Pass", "Output": "{% $states.input.none %}", "End": true },
    });
    let machines = open_with_machine(dir.path(), &states);
    let arn = start(&machines, "run", &json!({ "a": 1 })).await;
    ended(&machines, &arn).await;
    let mut events = events(&machines, &arn).await;
    for event in &mut events {
        let seconds = event["timestamp"].as_f64().expect("a number");
        assert!(
            (1_763_890_601.25..1_763_900_000.0).contains(&seconds),
            "{seconds}"
        );
        event["timestamp"] = json!("[time]");
    }
    insta::assert_json_snapshot!("history", events);
}

#[tokio::test]
async fn a_distributed_map_shows_its_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" });
    let inner = json!({ "ProcessorConfig": config, "StartAt": "I", "States": { "I": { "Type": "Pass", "End": true } } });
    let states =
        json!({ "M": { "Type": "Map", "Label": "L", "ItemProcessor": inner, "End": true } });
    let machines = open_with_machine(dir.path(), &states);
    let arn = start(&machines, "run", &json!([1, 2])).await;
    ended(&machines, &arn).await;
    let events = events(&machines, &arn).await;
    let expected = [
        "ExecutionStarted",
        "MapStateEntered",
        "MapStateStarted",
        "MapRunStarted",
        "MapRunSucceeded",
        "MapStateSucceeded",
        "MapStateExited",
        "ExecutionSucceeded",
    ];
    assert_eq!(types(&events), expected);
    let run = events[3]["mapRunStartedEventDetails"]["mapRunArn"].as_str();
    let prefix = "arn:aws:states:us-east-1:000000000000:mapRun:m/L:";
    assert!(run.expect("an ARN").starts_with(prefix), "{run:?}");
}

#[tokio::test]
async fn histories_come_in_pages_in_both_directions() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open_with_machine(dir.path(), &pass());
    let arn = start(&machines, "run", &json!({ "secret": 1 })).await;
    ended(&machines, &arn).await;
    for (reverse, expected) in [(false, [1, 2, 3, 4]), (true, [4, 3, 2, 1])] {
        let mut ids = Vec::new();
        let mut request = json!({ "executionArn": arn, "maxResults": 3, "reverseOrder": reverse, "includeExecutionData": false });
        loop {
            let reply = ok(&machines, "GetExecutionHistory", request.clone()).await;
            assert!(!reply.to_string().contains("secret"), "{reply}");
            let events = reply["events"].as_array().expect("events");
            ids.extend(events.iter().filter_map(|event| event["id"].as_u64()));
            match reply.get("nextToken") {
                Some(token) => request["nextToken"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn a_repeated_start_is_the_first_one_while_it_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open_with_machine(dir.path(), &json!({ "T": task("hang", json!({})) }));
    let request =
        |input: &str| json!({ "stateMachineArn": MACHINE, "name": "run", "input": input });
    let first = ok(&machines, "StartExecution", request("{\"a\":1}")).await;
    let again = ok(&machines, "StartExecution", request("{ \"a\": 1 }")).await;
    assert_eq!(first, again);
    assert_eq!(first["executionArn"], format!("{EXECUTION}run"));
    let (_, other) = call(&machines, "StartExecution", request("{}")).await;
    assert_eq!(
        other["__type"],
        "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists"
    );
    let stop = json!({ "executionArn": first["executionArn"], "error": "Mine", "cause": "enough" });
    let stopped = ok(&machines, "StopExecution", stop).await;
    let (_, ended) = call(&machines, "StartExecution", request("{\"a\":1}")).await;
    assert_eq!(
        ended["__type"],
        "com.amazonaws.swf.service.v2.model#ExecutionAlreadyExists"
    );
    let described = ok(
        &machines,
        "DescribeExecution",
        json!({ "executionArn": first["executionArn"] }),
    )
    .await;
    assert_eq!(described["status"], "ABORTED");
    assert_eq!(described["error"], "Mine");
    assert_eq!(described["cause"], "enough");
    assert_eq!(described["stopDate"], stopped["stopDate"]);
    assert_eq!(described["input"], "{\"a\":1}");
}

#[tokio::test]
async fn executions_are_listed_newest_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let states = json!({
        "C": { "Type": "Choice", "Choices": [{ "Condition": "{% $states.input.bad %}", "Next": "F" }], "Default": "S" },
        "S": { "Type": "Succeed" },
        "F": { "Type": "Fail", "Error": "Bad" },
    });
    let machines = open_with_machine(dir.path(), &states);
    for index in 0..5 {
        let arn = start(
            &machines,
            &format!("run{index}"),
            &json!({ "bad": index == 2 }),
        )
        .await;
        ended(&machines, &arn).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let names = |reply: &Value| -> Vec<String> {
        let listed = reply["executions"].as_array().expect("a list").iter();
        listed
            .map(|run| run["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let request = json!({ "stateMachineArn": MACHINE, "maxResults": 3 });
    let first = ok(&machines, "ListExecutions", request.clone()).await;
    assert_eq!(names(&first), ["run4", "run3", "run2"]);
    let rest = with(request, json!({ "nextToken": first["nextToken"] }));
    let rest = ok(&machines, "ListExecutions", rest).await;
    assert_eq!(names(&rest), ["run1", "run0"]);
    assert!(rest.get("nextToken").is_none());
    let failed = json!({ "stateMachineArn": MACHINE, "statusFilter": "FAILED" });
    assert_eq!(
        names(&ok(&machines, "ListExecutions", failed).await),
        ["run2"]
    );
}

#[tokio::test]
async fn machines_are_described_listed_and_validated() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open_with_machine(dir.path(), &pass());
    let described = ok(
        &machines,
        "DescribeStateMachine",
        json!({ "stateMachineArn": MACHINE }),
    )
    .await;
    assert_eq!(described["definition"], machine(&pass()).to_string());
    assert_eq!(described["status"], "ACTIVE");
    let listed = ok(&machines, "ListStateMachines", json!({})).await;
    assert_eq!(listed["stateMachines"][0]["stateMachineArn"], MACHINE);
    let arn = start(&machines, "run", &json!({})).await;
    let changed = machine(&json!({ "Q": { "Type": "Succeed" } })).to_string();
    machines
        .create("m", &changed)
        .unwrap_or_else(|refused| panic!("{refused}"));
    let own = ok(
        &machines,
        "DescribeStateMachineForExecution",
        json!({ "executionArn": arn }),
    )
    .await;
    assert_eq!(own["definition"], machine(&pass()).to_string());
    let good = ok(
        &machines,
        "ValidateStateMachineDefinition",
        json!({ "definition": changed }),
    )
    .await;
    assert_eq!(
        good,
        json!({ "result": "OK", "diagnostics": [], "truncated": false })
    );
    let bad = ok(
        &machines,
        "ValidateStateMachineDefinition",
        json!({ "definition": "{" }),
    )
    .await;
    assert_eq!(bad["result"], "FAIL");
    assert_eq!(bad["diagnostics"][0]["code"], "INVALID_JSON_DESCRIPTION");
}

#[tokio::test]
async fn refusals_carry_the_names_of_aws() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open_with_machine(dir.path(), &pass());
    let start = |fields: Value| {
        (
            "StartExecution",
            with(json!({ "stateMachineArn": MACHINE }), fields),
        )
    };
    let missing = format!("{EXECUTION}none");
    let cases = [
        (("CreateActivity", json!({})), "UnknownOperationException"),
        (
            ("DescribeExecution", json!({ "executionArn": missing })),
            "ExecutionDoesNotExist",
        ),
        (
            ("StopExecution", json!({ "executionArn": missing })),
            "ExecutionDoesNotExist",
        ),
        (
            ("DescribeExecution", json!({ "executionArn": "nonsense" })),
            "InvalidArn",
        ),
        (("DescribeExecution", json!({})), "ValidationException"),
        (
            (
                "DescribeExecution",
                json!({ "executionArn": missing, "includedData": "ALL_DATA" }),
            ),
            "ValidationException",
        ),
        (
            (
                "DescribeStateMachine",
                json!({ "stateMachineArn": format!("{MACHINE}x") }),
            ),
            "StateMachineDoesNotExist",
        ),
        (
            (
                "ListExecutions",
                json!({ "stateMachineArn": format!("{MACHINE}:1") }),
            ),
            "StateMachineDoesNotExist",
        ),
        (
            (
                "ListExecutions",
                json!({ "stateMachineArn": MACHINE, "statusFilter": "GOOD" }),
            ),
            "ValidationException",
        ),
        (
            (
                "ListExecutions",
                json!({ "stateMachineArn": MACHINE, "maxResults": 1001 }),
            ),
            "ValidationException",
        ),
        (
            (
                "ListExecutions",
                json!({ "stateMachineArn": MACHINE, "nextToken": "?" }),
            ),
            "InvalidToken",
        ),
        (start(json!({ "name": "a b" })), "InvalidName"),
        (start(json!({ "name": "" })), "InvalidName"),
        (start(json!({ "name": "x".repeat(81) })), "InvalidName"),
        (start(json!({ "input": "{" })), "InvalidExecutionInput"),
        (
            start(json!({ "input": format!("\"{}\"", "x".repeat(262_143)) })),
            "ValidationException",
        ),
        (start(json!({ "traceHeader": "x" })), "ValidationException"),
        (start(json!({ "stateMachineArn": "m" })), "InvalidArn"),
    ];
    for ((operation, body), expected) in cases {
        let (status, reply) = call(&machines, operation, body.clone()).await;
        assert_eq!(status, 400, "{operation} {body}");
        let kind = reply["__type"]
            .as_str()
            .and_then(|kind| kind.rsplit('#').next());
        assert_eq!(kind, Some(expected), "{operation}: {reply}");
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{operation}");
    }
    let reply = machines
        .handle("AWSStepFunctions.ListStateMachines", Bytes::from("{"))
        .await;
    assert!(String::from_utf8_lossy(reply.body()).contains("SerializationException"));
}

#[tokio::test]
async fn names_of_machines_follow_the_rules() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open(dir.path(), &Arc::default());
    let refused = machines.create("a b", &machine(&pass()).to_string());
    assert_eq!(refused.expect_err("refused").name(), "InvalidName");
}

#[tokio::test]
async fn a_refused_machine_lists_everything_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open(dir.path(), &Arc::default());
    let text = json!({
        "StartAt": "Plan",
        "Extra": 1,
        "States": {
            "Plan": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Arguments": { "FunctionName": "{% $states.input. %}" },
                "Next": "Nowhere",
            },
            "Lost": { "Type": "Pass", "OutputPath": "$", "End": true },
        },
    });
    let refused = machines
        .create("m", &text.to_string())
        .expect_err("refused");
    assert_eq!(refused.name(), "InvalidDefinition");
    insta::assert_snapshot!("refused_machine", refused);
}

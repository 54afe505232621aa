//! One state type after the other, except Map.

use super::*;

#[tokio::test]
async fn pass_choice_wait_and_the_ends() {
    let pass = |output: Value| json!({ "Type": "Pass", "Output": output, "End": true });
    check(
        json!({ "P": { "Type": "Pass", "End": true } }),
        json!({ "a": 1 }),
        Ok(json!({ "a": 1 })),
    )
    .await;
    check(
        json!({ "P": pass(json!("{% $states.input.a + 1 %}")) }),
        json!({ "a": 1 }),
        Ok(json!(2)),
    )
    .await;
    check(
        json!({ "P": pass(json!({ "l": ["{% $states.input %}", "plain"] })) }),
        json!(5),
        Ok(json!({ "l": [5, "plain"] })),
    )
    .await;
    check(
        json!({ "P": pass(json!("{% $states.input.none %}")) }),
        json!({}),
        Err("States.QueryEvaluationError"),
    )
    .await;
    check(
        json!({ "S": { "Type": "Succeed", "Output": { "done": true } } }),
        json!({}),
        Ok(json!({ "done": true })),
    )
    .await;
    check(
        json!({ "F": { "Type": "Fail", "Error": "{% $states.input.e %}", "Cause": "c" } }),
        json!({ "e": "Mine" }),
        Err("Mine"),
    )
    .await;
    check(
        json!({ "W": { "Type": "Wait", "Seconds": "{% $states.input.s %}", "End": true } }),
        json!({ "s": 2 }),
        Ok(json!({ "s": 2 })),
    )
    .await;
    check(
        json!({ "W": { "Type": "Wait", "Seconds": "{% $states.input.s %}", "End": true } }),
        json!({ "s": 1.5 }),
        Err("States.QueryEvaluationError"),
    )
    .await;
    check(
        json!({ "W": { "Type": "Wait", "Timestamp": "2020-01-01T00:00:00+01:00", "End": true } }),
        json!({}),
        Ok(json!({})),
    )
    .await;
    check(
        json!({ "W": { "Type": "Wait", "Timestamp": "{% 'soon' %}", "End": true } }),
        json!({}),
        Err("States.QueryEvaluationError"),
    )
    .await;
}

#[tokio::test]
async fn choices_take_the_first_rule_that_holds() {
    let states = json!({
        "C": {
            "Type": "Choice",
            "Choices": [
                { "Condition": "{% $states.input.n > 10 %}", "Next": "Big", "Output": "big", "Assign": { "size": "L" } },
                { "Condition": "{% $states.input.n > 5 %}", "Next": "Big", "Output": "middle" },
            ],
            "Default": "Small",
            "Assign": { "size": "S" },
        },
        "Big": { "Type": "Pass", "End": true },
        "Small": { "Type": "Pass", "Output": "{% $size %}", "End": true },
    });
    check(states.clone(), json!({ "n": 11 }), Ok(json!("big"))).await;
    check(states.clone(), json!({ "n": 6 }), Ok(json!("middle"))).await;
    check(states, json!({ "n": 1 }), Ok(json!("S"))).await;
    let one = |condition: Value| {
        json!({
            "C": { "Type": "Choice", "Choices": [{ "Condition": condition, "Next": "E" }] },
            "E": { "Type": "Succeed" },
        })
    };
    check(one(json!(false)), json!({}), Err("States.NoChoiceMatched")).await;
    check(
        one(json!("{% 1 %}")),
        json!({}),
        Err("States.QueryEvaluationError"),
    )
    .await;
    check(one(json!(true)), json!({}), Ok(json!({}))).await;
}

#[tokio::test]
async fn variables_are_assigned_together_and_seen_later() {
    let states = json!({
        "A": { "Type": "Pass", "Assign": { "x": 1, "y": { "z": "{% $states.input.n %}" } }, "Next": "B" },
        "B": {
            "Type": "Pass",
            "Assign": { "x": "{% $x + 1 %}", "was": "{% $x %}" },
            "Output": "{% $x %}",
            "Next": "C",
        },
        "C": { "Type": "Pass", "Output": "{% [$states.input, $x, $was, $y.z] %}", "End": true },
    });
    check(states, json!({ "n": 7 }), Ok(json!([1, 2, 1, 7]))).await;
}

#[tokio::test]
async fn the_context_tells_execution_and_state() {
    let states = json!({
        "P": {
            "Type": "Pass",
            "Output": "{% [$states.context.Execution.Name, $states.context.Execution.Id, $states.context.Execution.Input.a, $substring($states.context.Execution.StartTime, 0, 13), $states.context.State.Name, $states.context.State.RetryCount, $states.context.StateMachine.Name] %}",
            "End": true,
        },
    });
    let id = "arn:aws:states:us-east-1:000000000000:execution:m:run";
    let expected = json!(["run", id, 1, "2025-11-23T09", "P", 0, "m"]);
    check(states, json!({ "a": 1 }), Ok(expected)).await;
}

#[tokio::test]
async fn tasks_give_the_reply_of_the_function() {
    check(
        json!({ "T": task("double", json!({ "n": "{% $states.input.n %}" })) }),
        json!({ "n": 4 }),
        Ok(json!({ "n": 8 })),
    )
    .await;
    let whole = with(
        task("echo", json!(1)),
        json!({ "Output": "{% $states.result %}" }),
    );
    let expected = json!({ "ExecutedVersion": "$LATEST", "Payload": 1, "StatusCode": 200 });
    check(json!({ "T": whole }), json!({}), Ok(expected)).await;
    let computed = json!({ "Arguments": "{% $states.input %}" });
    check(
        json!({ "T": with(task("", json!(0)), computed.clone()) }),
        json!({ "FunctionName": "echo" }),
        Ok(json!({})),
    )
    .await;
    check(
        json!({ "T": with(task("", json!(0)), computed) }),
        json!({ "FunctionName": "echo", "Qualifier": "1" }),
        Err("States.Runtime"),
    )
    .await;
    check(
        json!({ "T": task("fail_Mine", json!({})) }),
        json!({}),
        Err("Mine"),
    )
    .await;
    check(
        json!({ "T": task("big", json!({})) }),
        json!({}),
        Err("States.DataLimitExceeded"),
    )
    .await;
    let quick = json!({ "TimeoutSeconds": 2 });
    check(
        json!({ "T": with(task("hang", json!({})), quick.clone()) }),
        json!({}),
        Err("States.Timeout"),
    )
    .await;
    check(
        json!({ "T": with(task("echo", json!(3)), quick) }),
        json!({}),
        Ok(json!(3)),
    )
    .await;
}

#[tokio::test]
async fn retries_and_catches() {
    let retry = |errors: Value, attempts: u32| json!({ "Retry": [{ "ErrorEquals": errors, "MaxAttempts": attempts, "IntervalSeconds": 1, "JitterStrategy": "FULL" }] });
    let flaky = |times: u32| task(&format!("flaky_{times}"), json!({}));
    check(
        json!({ "T": with(flaky(2), retry(json!(["Flaky"]), 2)) }),
        json!({}),
        Ok(json!({ "calls": 3 })),
    )
    .await;
    check(
        json!({ "T": with(flaky(3), retry(json!(["Flaky"]), 2)) }),
        json!({}),
        Err("Flaky"),
    )
    .await;
    check(
        json!({ "T": with(flaky(1), retry(json!(["Other"]), 2)) }),
        json!({}),
        Err("Flaky"),
    )
    .await;
    check(
        json!({ "T": with(flaky(1), retry(json!(["States.ALL"]), 2)) }),
        json!({}),
        Ok(json!({ "calls": 2 })),
    )
    .await;
    check(
        json!({ "T": with(flaky(1), retry(json!(["States.TaskFailed"]), 2)) }),
        json!({}),
        Ok(json!({ "calls": 2 })),
    )
    .await;
    let counted = with(
        flaky(2),
        json!({ "Output": "{% $states.context.State.RetryCount %}" }),
    );
    check(
        json!({ "T": with(counted, retry(json!(["Flaky"]), 5)) }),
        json!({}),
        Ok(json!(2)),
    )
    .await;

    let catch = |errors: Value| json!({ "Catch": [{ "ErrorEquals": errors, "Next": "C", "Assign": { "was": "{% $states.errorOutput.Error %}" }, "Output": "{% [$states.input.a, $states.errorOutput.Cause] %}" }] });
    let shown = json!({ "Type": "Pass", "Output": "{% [$was, $states.input] %}", "End": true });
    let caught =
        |state: Value, errors: Value| json!({ "T": with(state, catch(errors)), "C": shown });
    let seen = json!(["Mine", 1, "Mine it is"]);
    check(
        caught(task("fail_Mine", json!({})), json!(["Other", "Mine"])),
        json!({ "a": 1 }),
        Ok(seen.clone()),
    )
    .await;
    check(
        caught(task("fail_Mine", json!({})), json!(["States.ALL"])),
        json!({ "a": 1 }),
        Ok(seen),
    )
    .await;
    check(
        caught(task("fail_Mine", json!({})), json!(["Other"])),
        json!({ "a": 1 }),
        Err("Mine"),
    )
    .await;
    check(
        caught(task("big", json!({})), json!(["States.ALL"])),
        json!({}),
        Err("States.DataLimitExceeded"),
    )
    .await;
    let bare = with(
        task("fail_Mine", json!({})),
        json!({ "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "C" }] }),
    );
    let end = json!({ "Type": "Succeed" });
    check(
        json!({ "T": bare, "C": end }),
        json!({}),
        Ok(json!({ "Error": "Mine", "Cause": "Mine it is" })),
    )
    .await;
    let undefined = with(
        task("echo", json!({})),
        json!({ "Output": "{% $states.result.none %}" }),
    );
    let undefined = with(
        undefined,
        json!({ "Catch": [{ "ErrorEquals": ["States.QueryEvaluationError"], "Next": "C", "Output": "caught" }] }),
    );
    check(
        json!({ "T": undefined, "C": end }),
        json!({}),
        Ok(json!("caught")),
    )
    .await;
}

#[tokio::test]
async fn parallel_branches_see_the_same_input_and_answer_in_order() {
    let branch = |name: &str, state: Value| json!({ "StartAt": name, "States": { name: state } });
    let branches = json!([
        branch("Slow", task("sleep_2", json!("{% $states.input %}"))),
        branch(
            "Quick",
            json!({ "Type": "Pass", "Output": "{% $x %}", "End": true })
        ),
    ]);
    let states = json!({
        "A": { "Type": "Pass", "Assign": { "x": "X" }, "Next": "P" },
        "P": { "Type": "Parallel", "Branches": branches, "End": true },
    });
    check(states, json!(1), Ok(json!([1, "X"]))).await;
    let failing = json!([
        branch("Hang", task("hang", json!({}))),
        branch("Bad", task("fail_Mine", json!({})))
    ]);
    check(
        json!({ "P": { "Type": "Parallel", "Branches": failing, "End": true } }),
        json!(1),
        Err("Mine"),
    )
    .await;
}

#[tokio::test]
async fn a_machine_ends_within_its_time() {
    let world = Arc::default();
    let slow = machine(&json!({ "T": task("hang", json!({})) }));
    let slow = with(slow, json!({ "TimeoutSeconds": 3 }));
    let found = outcome(&slow, &json!({}), &world).await;
    assert_eq!(found, Err("States.Timeout".to_owned()));
}

#[tokio::test]
async fn a_loop_without_end_fills_its_history_and_fails() {
    let turn = |next: &str| json!({ "Type": "Pass", "Next": next });
    let states = json!({ "A": turn("B"), "B": turn("A") });
    check(states, json!({}), Err("States.Runtime")).await;
}

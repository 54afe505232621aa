//! Map, inline and distributed.

use super::*;

fn inline(state: Value, map: Value) -> Value {
    let processor = json!({ "StartAt": "I", "States": { "I": state } });
    json!({ "M": with(json!({ "Type": "Map", "ItemProcessor": processor, "End": true }), map) })
}

fn distributed(state: Value, map: Value) -> Value {
    let config = json!({ "Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS" });
    let mut states = inline(state, map);
    states["M"]["ItemProcessor"]["ProcessorConfig"] = config;
    states
}

fn reader(input_type: &str, key: &str) -> Value {
    json!({
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": { "InputType": input_type },
        "Arguments": { "Bucket": "{% $states.input.bucket %}", "Key": key },
    })
}

#[tokio::test]
async fn inline_items_answer_in_order() {
    let double = || task("double", json!({ "n": "{% $states.input %}" }));
    let doubled = json!([{ "n": 2 }, { "n": 4 }, { "n": 6 }]);
    check(
        inline(double(), json!({})),
        json!([1, 2, 3]),
        Ok(doubled.clone()),
    )
    .await;
    check(
        inline(double(), json!({ "Items": "{% $states.input.l %}" })),
        json!({ "l": [1, 2, 3] }),
        Ok(doubled.clone()),
    )
    .await;
    check(
        inline(
            double(),
            json!({ "Items": [1, 2, 3], "MaxConcurrency": "{% 1 %}" }),
        ),
        json!({}),
        Ok(doubled),
    )
    .await;
    check(inline(double(), json!({})), json!([]), Ok(json!([]))).await;
    check(
        inline(double(), json!({})),
        json!({ "a": 1 }),
        Err("States.QueryEvaluationError"),
    )
    .await;
    let seen = json!({ "Type": "Pass", "Output": "{% [$states.context.Map.Item.Index, $states.context.Map.Item.Value, $states.input.of] %}", "End": true });
    let selector = json!({ "ItemSelector": { "of": "{% $states.input[1] & $states.context.Map.Item.Value %}" } });
    check(
        inline(seen, selector),
        json!(["a", "b"]),
        Ok(json!([[0, { "of": "ba" }, "ba"], [1, { "of": "bb" }, "bb"]])),
    )
    .await;
    check(
        inline(task("fail_Mine", json!({})), json!({})),
        json!([1]),
        Err("Mine"),
    )
    .await;
}

#[tokio::test]
async fn inner_states_read_outer_variables_and_keep_their_own() {
    let inner = json!({ "Type": "Pass", "Assign": { "mine": 1 }, "Output": "{% $outer + $states.input %}", "End": true });
    let mut states = json!({ "A": { "Type": "Pass", "Assign": { "outer": 10 }, "Next": "M" } });
    let map = with(
        inline(inner, json!({}))["M"].clone(),
        json!({ "Next": "Z" }),
    );
    let mut map = map;
    map.as_object_mut().expect("an object").remove("End");
    states["M"] = map;
    states["Z"] =
        json!({ "Type": "Pass", "Output": "{% [$states.input, $exists($mine)] %}", "End": true });
    check(states, json!([1, 2]), Ok(json!([11, 12, false]))).await;
}

#[tokio::test]
async fn as_many_at_a_time_as_allowed() {
    for (limit, expected) in [(2, 2), (0, 5)] {
        let world: Arc<World> = Arc::default();
        let sleeping = inline(
            task("sleep_5", json!({})),
            json!({ "MaxConcurrency": limit }),
        );
        let found = outcome(&machine(&sleeping), &json!([1, 2, 3, 4, 5]), &world).await;
        assert_eq!(found.map(|list| list.as_array().map(Vec::len)), Ok(Some(5)));
        assert_eq!(world.most_running.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn distributed_children_read_their_items_from_s3() {
    let echo = || task("echo", json!("{% $states.input %}"));
    let input = json!({ "bucket": "b", "run": "r1" });
    let jsonl = json!({ "ItemReader": reader("JSONL", "three.jsonl") });
    let three = json!([{ "n": 1 }, { "n": 2 }, { "n": 3 }]);
    check(distributed(echo(), jsonl.clone()), input.clone(), Ok(three)).await;
    let batcher = json!({ "ItemBatcher": { "MaxItemsPerBatch": 2, "BatchInput": { "run": "{% $states.input.run %}" } } });
    let batches = json!([
        { "Items": [{ "n": 1 }, { "n": 2 }], "BatchInput": { "run": "r1" } },
        { "Items": [{ "n": 3 }], "BatchInput": { "run": "r1" } },
    ]);
    check(
        distributed(echo(), with(jsonl.clone(), batcher)),
        input.clone(),
        Ok(batches),
    )
    .await;
    let selector =
        json!({ "ItemSelector": { "m": "{% $states.context.Map.Item.Value.n * 10 %}" } });
    check(
        distributed(echo(), with(jsonl, selector)),
        input.clone(),
        Ok(json!([{ "m": 10 }, { "m": 20 }, { "m": 30 }])),
    )
    .await;
    let mut limited = reader("JSON", "four.json");
    limited["ReaderConfig"]["MaxItems"] = json!(1);
    check(
        distributed(echo(), json!({ "ItemReader": limited })),
        input.clone(),
        Ok(json!([{ "n": 0 }])),
    )
    .await;
    for (kind, key) in [
        ("JSONL", "bad.jsonl"),
        ("JSON", "object.json"),
        ("JSON", "none"),
    ] {
        let states = distributed(echo(), json!({ "ItemReader": reader(kind, key) }));
        check(states, input.clone(), Err("States.ItemReaderFailed")).await;
    }
}

#[tokio::test]
async fn a_share_of_the_items_may_fail() {
    let odd = || task("odd", json!("{% $states.input %}"));
    let input = json!({ "bucket": "b" });
    let even = json!([{ "n": 0 }, { "n": 2 }]);
    let exceeded = "States.ExceedToleratedFailureThreshold";
    let cases = [
        (json!({}), Err(exceeded)),
        (json!({ "ToleratedFailurePercentage": 49 }), Err(exceeded)),
        (
            json!({ "ToleratedFailurePercentage": "{% 50 %}" }),
            Ok(even.clone()),
        ),
        (json!({ "ToleratedFailureCount": 1 }), Err(exceeded)),
        (json!({ "ToleratedFailureCount": 2 }), Ok(even.clone())),
        (
            json!({ "ToleratedFailureCount": 2, "ToleratedFailurePercentage": 10 }),
            Err(exceeded),
        ),
        (
            json!({ "ToleratedFailureCount": 2, "ToleratedFailurePercentage": 100 }),
            Ok(even),
        ),
        // Of a failed batch every item counts.
        (
            json!({ "ToleratedFailureCount": 3, "ItemBatcher": { "MaxItemsPerBatch": 4 } }),
            Ok(json!([{ "Items": [{ "n": 0 }, { "n": 1 }, { "n": 2 }, { "n": 3 }] }])),
        ),
    ];
    for (map, expected) in cases {
        let map = with(
            map,
            json!({ "ItemReader": reader("JSON", "four.json"), "Label": "Odd" }),
        );
        check(distributed(odd(), map), input.clone(), expected).await;
    }
    let failing = task("fail_Mine", json!({}));
    let map = json!({ "ToleratedFailureCount": 3, "ItemBatcher": { "MaxItemsPerBatch": 4 }, "ItemReader": reader("JSON", "four.json") });
    check(distributed(failing, map), input, Err(exceeded)).await;
}

#[tokio::test]
async fn distributed_children_are_executions_of_their_own() {
    let seen = json!({
        "Type": "Pass",
        "Output": "{% [$states.context.Execution.Input, $substringBefore($states.context.Execution.Id, ':docs') ~> $length() < 100, $exists($outer)] %}",
        "End": true,
    });
    let mut states = json!({ "A": { "Type": "Pass", "Assign": { "outer": 10 }, "Next": "M" } });
    states["M"] = distributed(seen, json!({ "Label": "docs" }))["M"].clone();
    check(states, json!([5]), Ok(json!([[5, true, false]]))).await;
}

#[tokio::test]
async fn a_child_that_loops_ends_too() {
    let turn = |next: &str| json!({ "Type": "Pass", "Next": next });
    let mut states = distributed(json!({ "Type": "Succeed" }), json!({}));
    states["M"]["ItemProcessor"]["States"] = json!({ "I": turn("J"), "J": turn("I") });
    check(
        states,
        json!([1]),
        Err("States.ExceedToleratedFailureThreshold"),
    )
    .await;
}

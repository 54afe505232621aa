//! Expressions: what they evaluate to, and which are refused.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(source: &str, expected: Result<Value, &str>) {
    let clock = Arc::new(Clock::fast(1_763_890_601_250, 7, 1));
    let variables = Variables::from([("list".to_owned(), json!([1, 2, 3, 4, 5]))]);
    let input = json!({ "name": "Ada", "n": 41, "deep": { "one": [{ "k": 1 }], "list": [{ "k": 1 }, { "k": 2 }] } });
    let result = json!({ "Payload": { "ok": true } });
    let around = Surroundings {
        input: &input,
        result: Some(&result),
        error_output: None,
        context: &|| json!({ "State": { "Name": "S" }, "Map": { "Item": { "Index": 3 } } }),
        variables: &variables,
        clock: &clock,
    };
    let every = Member::EVERY;
    let found = Expression::parse(source, "Output", &every)
        .map_err(|refused| format!("refused: {refused}"))
        .and_then(|expression| {
            let template = Template::Expression(Box::new(expression));
            template.evaluate(&around).map_err(|fault| fault.cause)
        });
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{source}"),
        (Err(found), Err(part)) => assert!(found.contains(part), "{source}: {found}"),
        (found, expected) => panic!("{source}: {found:?} is not {expected:?}"),
    }
}

#[test]
fn expressions_see_states_variables_and_functions() {
    check("$states.input.n + 1", Ok(json!(42)));
    check("$states.input.deep.list.k", Ok(json!([1, 2])));
    check("$states.input.deep.list[k = 2]", Ok(json!({ "k": 2 })));
    check("$states.result.Payload.ok", Ok(json!(true)));
    check("$states.context.Map.Item.Index", Ok(json!(3)));
    // A list of one that stands in the input stays a list: a batch of one item is still a batch.
    check("$states.input.deep.one", Ok(json!([{ "k": 1 }])));
    check(
        "{ 'items': $states.input.deep.one }",
        Ok(json!({ "items": [{ "k": 1 }] })),
    );
    check("$count($list)", Ok(json!(5)));
    check("($x := 2; $x * 1.25)", Ok(json!(2.5)));
    check("$states.input{ 'who': name }", Ok(json!({ "who": "Ada" })));
    check("$merge([$states.input.deep, {'x': 1}]).x", Ok(json!(1)));
    check("$partition($list, 2)", Ok(json!([[1, 2], [3, 4], [5]])));
    check("$range(1, 7, 3)", Ok(json!([1, 4, 7])));
    check("$range(3, 1, -1)", Ok(json!([3, 2, 1])));
    check("$parse('{\"a\": {\"b\": 1}}').a.b", Ok(json!(1)));
    check("$parse('{\"a\": [1]}')", Ok(json!({ "a": [1] })));
    check("$random(5) = $random(5)", Ok(json!(true)));
    check("$random() < 1", Ok(json!(true)));
    check("$length($uuid())", Ok(json!(36)));
    check(
        "$millis() >= 1763890601250 and $millis() < 1763890661250",
        Ok(json!(true)),
    );
    check("$substring($now(), 0, 15)", Ok(json!("2025-11-23T09:3")));
    check("$now('[Y]')", Ok(json!("2025")));
    check(
        "$hash('abc', 'SHA-256')",
        Ok(json!(
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )),
    );
    check("{ 'a': $states.input.none }", Ok(json!({})));
    check("$map($list, function($v) { $v * 2 })[0]", Ok(json!(2)));
}

#[test]
fn failures_name_the_expression_and_the_reason() {
    check("$states.input.none", Err("returned nothing (undefined)"));
    check("$missing", Err("returned nothing (undefined)"));
    check("$states.input.name * 2", Err("T200"));
    check("function($x) { $x }", Err("a function"));
    check("$range(1, 5000, 1)", Err("at most 1000"));
    check("$hash('a', 'MD5')", Err("not MD5"));
    check("$parse('{')", Err("$parse"));
    check(
        "($f := function($n) { $f($n + 1) + 1 }; $f(0))",
        Err("D1011"),
    );
    check("$count([1..5000000])", Err("D20"));
    check("($f := function($n) { $f($n + 1) }; $f(0))", Err("D1012"));
    check("$states.input.", Err("refused"));
    check("$eval('1 + 1')", Err("$eval is not supported"));
    check("($e := $eval; $e('1'))", Err("$eval is not supported"));
    check("$states.output", Err("no member `output`"));
    check("name", Err("has no context"));
    check("name.first", Err("has no context"));
    check("$", Err("has no context"));
    check("$$.name", Err("has no context"));
}

#[test]
fn members_are_refused_where_they_do_not_exist() {
    let refused = Expression::parse("$states.result.x", "Arguments", &[Member::Input]);
    let message = refused.expect_err("the result does not exist yet");
    assert_eq!(message, "$states.result is not available in this field");
}

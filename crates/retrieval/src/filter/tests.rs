use serde_json::json;

use super::*;

#[test]
fn filters_mean_what_bedrock_says() {
    let metadata: Metadata = serde_json::from_value(json!({
        "year": 2026, "team": "search", "tags": ["rust", "aws"], "draft": false,
        "account": 9_007_199_254_740_993_u64
    }))
    .unwrap();
    let check = |filter: Value, passes: bool| {
        let parsed: Filter = serde_json::from_value(filter.clone()).unwrap();
        assert_eq!(parsed.passes(&metadata), passes, "{filter}");
    };
    let one =
        |operator: &str, key: &str, value: Value| json!({operator: {"key": key, "value": value}});
    check(one("equals", "year", json!(2026)), true);
    check(one("equals", "year", json!(2026.0)), true);
    check(one("equals", "year", json!("2026")), false);
    check(one("equals", "draft", json!(false)), true);
    check(
        one("equals", "account", json!(9_007_199_254_740_993_u64)),
        true,
    );
    check(
        one("equals", "account", json!(9_007_199_254_740_992_u64)),
        false,
    );
    check(
        one("greaterThan", "account", json!(9_007_199_254_740_992_u64)),
        true,
    );
    check(one("equals", "missing", json!(1)), false);
    check(one("notEquals", "team", json!("search")), false);
    check(one("notEquals", "missing", json!("x")), true);
    check(one("greaterThan", "year", json!(2025)), true);
    check(one("greaterThan", "year", json!(2026)), false);
    check(one("greaterThanOrEquals", "year", json!(2026)), true);
    check(one("lessThan", "year", json!(2026)), false);
    check(one("lessThanOrEquals", "year", json!(2026)), true);
    check(one("lessThan", "missing", json!(1)), false);
    check(one("greaterThan", "team", json!(1)), false);
    check(one("in", "team", json!(["search", "ops"])), true);
    check(one("in", "missing", json!(["a"])), false);
    check(one("notIn", "team", json!(["ops"])), true);
    check(one("notIn", "missing", json!(["a"])), false);
    check(one("startsWith", "team", json!("sea")), true);
    check(one("startsWith", "year", json!("20")), false);
    check(one("listContains", "tags", json!("rust")), true);
    check(one("listContains", "team", json!("search")), false);
    check(one("stringContains", "team", json!("ear")), true);
    check(one("stringContains", "tags", json!("ru")), true);
    let (yes, no) = (
        one("equals", "team", json!("search")),
        one("equals", "team", json!("ops")),
    );
    check(json!({"andAll": [yes, no]}), false);
    check(json!({"orAll": [yes, no]}), true);
    check(json!({"andAll": [{"orAll": [yes, no]}, yes]}), true);
}

#[test]
fn what_is_no_filter_is_refused() {
    let check = |filter: Value, part: &str| {
        let error = serde_json::from_value::<Filter>(filter.clone())
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{filter}: {error}");
    };
    check(json!({"equalz": {"key": "a", "value": 1}}), "equalz");
    check(json!({"equals": {"key": "a"}}), "value");
    check(
        json!({"equals": {"key": "a", "value": 1, "also": 2}}),
        "also",
    );
    check(
        json!({"andAll": [{"equals": {"key": "a", "value": 1}}]}),
        "two filters",
    );
    check(json!([]), "");
}

/// The table that every retriever must pass.
#[derive(serde::Deserialize)]
struct Table {
    documents: Vec<Document>,
    cases: Vec<Case>,
    refused: Vec<Refused>,
}

#[derive(serde::Deserialize)]
struct Document {
    name: String,
    metadata: Metadata,
}

#[derive(serde::Deserialize)]
struct Case {
    says: String,
    filter: Value,
    passes: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Refused {
    filter: Value,
    place: String,
    says: String,
}

fn table() -> Table {
    serde_json::from_str(include_str!("cases.json")).unwrap()
}

#[test]
fn every_case_of_the_table_holds() {
    let table = table();
    for case in &table.cases {
        let filter = Filter::parse(&case.filter).unwrap();
        assert_eq!(filter.to_json(), case.filter, "{}", case.says);
        let passed: Vec<&str> = table
            .documents
            .iter()
            .filter(|document| filter.passes(&document.metadata))
            .map(|document| document.name.as_str())
            .collect();
        assert_eq!(passed, case.passes, "{}: {}", case.says, case.filter);
    }
}

#[test]
fn a_refusal_names_the_place_and_the_reason() {
    for refused in table().refused {
        let error = Filter::parse(&refused.filter).unwrap_err();
        assert_eq!(error.name(), "InvalidFilter");
        assert_eq!(error.place, refused.place, "{}: {error}", refused.filter);
        assert!(error.to_string().contains(&refused.says), "{error}");
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let leaf = || json!({"equals": {"key": "a", "value": 1}});
    let check = |filter: Value, problem: Option<&str>| match (Filter::parse(&filter), problem) {
        (Ok(_), None) => {}
        (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
        (parsed, expected) => panic!("{parsed:?} where {expected:?} was expected"),
    };
    let nested =
        |depth: usize| (0..depth).fold(leaf(), |inner, _| json!({"andAll": [leaf(), inner]}));
    check(nested(DEPTH), None);
    check(nested(DEPTH + 1), Some("deeper than 8"));
    check(json!({"orAll": vec![leaf(); CONDITIONS - 1]}), None);
    check(
        json!({"orAll": vec![leaf(); CONDITIONS]}),
        Some("more than 100 conditions"),
    );
    let list = |values: usize| json!({"in": {"key": "a", "value": vec![1; values]}});
    check(list(LIST_VALUES), None);
    check(list(LIST_VALUES + 1), Some("1 to 100 values, not 101"));
    let key = |characters: usize| json!({"equals": {"key": "ä".repeat(characters), "value": 1}});
    check(key(KEY_CHARACTERS), None);
    check(
        key(KEY_CHARACTERS + 1),
        Some("1 to 100 characters, not 101"),
    );
    let text = |characters: usize| json!({"equals": {"key": "a", "value": "ä".repeat(characters)}});
    check(text(TEXT_CHARACTERS), None);
    check(
        text(TEXT_CHARACTERS + 1),
        Some("at most 2048 characters, not 2049"),
    );
}

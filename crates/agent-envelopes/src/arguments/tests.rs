use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 20, "description": "Some text."},
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 100},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
            "sizes": {"type": "array", "items": {"type": "integer"}},
            "filter": {"type": "object"}
        }
    })
}

#[test]
fn each_kind_is_read_from_text_and_from_json() {
    let check = |name: &str, given: Value, expected: Option<Value>| {
        let mut map = Map::new();
        map.insert(name.to_owned(), given.clone());
        let found = fit(&map, &schema());
        match expected {
            Some(expected) => assert_eq!(found.unwrap()[name], expected, "{name} {given}"),
            None => assert_eq!(
                found.unwrap_err().name(),
                "ArgumentWrongType",
                "{name} {given}"
            ),
        }
    };
    check("text", json!("plain"), Some(json!("plain")));
    check(
        "text",
        json!("{\"count\": 5}"),
        Some(json!("{\"count\": 5}")),
    );
    check("text", json!("true"), Some(json!("true")));
    check("text", json!(1001), Some(json!("1001")));
    check("text", json!(["a"]), None);
    check("text", json!("x".repeat(21)), None);
    check("mode", json!("fast"), Some(json!("fast")));
    check("mode", json!("warp"), None);
    check("count", json!(5), Some(json!(5)));
    check("count", json!("5"), Some(json!(5)));
    check("count", json!(" 5 "), Some(json!(5)));
    check("count", json!(5.0), Some(json!(5)));
    check("count", json!("5.0"), Some(json!(5)));
    check("count", json!("5.5"), None);
    check("count", json!("five"), None);
    check("count", json!(0), None);
    check("count", json!("101"), None);
    check("count", json!(true), None);
    check("count", json!("1e300"), None);
    check("share", json!(0.5), Some(json!(0.5)));
    check("share", json!("0.5"), Some(json!(0.5)));
    check("share", json!("1"), Some(json!(1)));
    check("share", json!("NaN"), None);
    check("share", json!("inf"), None);
    check("share", json!(1.5), None);
    check("deep", json!(true), Some(json!(true)));
    check("deep", json!("False"), Some(json!(false)));
    check("deep", json!("yes"), None);
    check("deep", json!(1), None);
    check("tags", json!(["a", "b"]), Some(json!(["a", "b"])));
    check("tags", json!("[\"a\", \"b\"]"), Some(json!(["a", "b"])));
    check("tags", json!("[a, b]"), Some(json!(["a", "b"])));
    check("tags", json!("a"), Some(json!(["a"])));
    check("tags", json!([["a"]]), None);
    check("tags", json!(["a", "b", "c", "d"]), None);
    check("tags", json!({"a": 1}), None);
    check("sizes", json!("[1, 2]"), Some(json!([1, 2])));
    check("sizes", json!(["1", 2]), Some(json!([1, 2])));
    check("sizes", json!("[1, x]"), None);
    check("filter", json!({"a": 1}), Some(json!({"a": 1})));
    check("filter", json!("{\"a\": 1}"), Some(json!({"a": 1})));
    check(
        "filter",
        json!("{equals={key=team, value=blue}}"),
        Some(json!({"equals": {"key": "team", "value": "blue"}})),
    );
    check("filter", json!("a"), None);
    check("filter", json!("{broken"), None);
    check("filter", json!([1]), None);
}

#[test]
fn what_does_not_fit_is_named() {
    let mut schema = schema();
    schema["required"] = json!(["text"]);
    let check = |given: Value, name: &str, part: &str| {
        let error = fit(given.as_object().unwrap(), &schema).unwrap_err();
        assert_eq!(error.name(), name);
        assert!(error.to_string().contains(part), "{error}");
    };
    check(json!({}), "ArgumentMissing", "text is missing: a text");
    check(json!({"text": ""}), "ArgumentMissing", "ask the user");
    check(json!({"text": null}), "ArgumentMissing", "(Some text)");
    check(
        json!({"text": "a", "txet": 1}),
        "ArgumentUnknown",
        "text, mode, count",
    );
    check(
        json!({"text": "a", "count": "many"}),
        "ArgumentWrongType",
        "a whole number from 1 to 100",
    );
    check(
        json!({"text": "a", "mode": "warp"}),
        "ArgumentWrongType",
        "one of fast, slow",
    );
    check(
        json!({"text": {"$ne": 1}}),
        "ArgumentWrongType",
        "give a text",
    );
}

#[test]
fn what_is_left_out_stays_out() {
    let given = json!({"text": "", "count": null, "tags": ""});
    assert!(
        fit(given.as_object().unwrap(), &schema())
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #[test]
    fn whole_numbers_come_back_from_text(number in any::<i64>()) {
        let schema = json!({"type": "integer"});
        prop_assert_eq!(value_as(&json!(number.to_string()), &schema), Some(json!(number)));
    }

    #[test]
    fn text_is_never_looked_into(text in ".{1,60}") {
        let schema = json!({"type": "string"});
        prop_assert_eq!(value_as(&json!(text), &schema), Some(json!(text)));
    }

    #[test]
    fn lists_come_back_from_their_json(items in proptest::collection::vec(".{0,12}", 0..5)) {
        let schema = json!({"type": "array", "items": {"type": "string"}});
        prop_assert_eq!(value_as(&json!(json!(items).to_string()), &schema), Some(json!(items)));
    }
}

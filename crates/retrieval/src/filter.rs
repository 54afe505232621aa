//! The filter language of Bedrock's `Retrieve`, over a document's metadata.
//!
//! What a missing key means, by Bedrock's documentation: `notEquals` passes documents without the key, every other
//! operator (also `notIn`) needs the key.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A key and what it is compared with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    pub key: String,
    pub value: Value,
}

/// A filter as JSON has it: `{"equals": {"key": "year", "value": 2026}}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    Equals(Attribute),
    NotEquals(Attribute),
    GreaterThan(Attribute),
    GreaterThanOrEquals(Attribute),
    LessThan(Attribute),
    LessThanOrEquals(Attribute),
    In(List),
    NotIn(List),
    StartsWith(Text),
    ListContains(Attribute),
    StringContains(Text),
    AndAll(Members),
    OrAll(Members),
}

/// A key and a list of values.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    pub key: String,
    pub value: Vec<Value>,
}

/// A key and a text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub key: String,
    pub value: String,
}

/// Two filters or more, as Bedrock asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Vec<Filter>")]
pub struct Members(Vec<Filter>);

impl TryFrom<Vec<Filter>> for Members {
    type Error = &'static str;

    fn try_from(members: Vec<Filter>) -> Result<Self, Self::Error> {
        match members.len() {
            0 | 1 => Err("andAll and orAll take two filters or more"),
            _ => Ok(Self(members)),
        }
    }
}

type Metadata = BTreeMap<String, Value>;

impl Filter {
    /// Whether a document with this metadata passes.
    pub fn passes(&self, metadata: &Metadata) -> bool {
        let compare = |attribute: &Attribute, wanted: fn(Ordering) -> bool| {
            metadata
                .get(&attribute.key)
                .and_then(|found| order(found, &attribute.value))
                .is_some_and(wanted)
        };
        match self {
            Self::Equals(wanted) => metadata
                .get(&wanted.key)
                .is_some_and(|found| same(found, &wanted.value)),
            Self::NotEquals(wanted) => metadata
                .get(&wanted.key)
                .is_none_or(|found| !same(found, &wanted.value)),
            Self::GreaterThan(wanted) => compare(wanted, Ordering::is_gt),
            Self::GreaterThanOrEquals(wanted) => compare(wanted, Ordering::is_ge),
            Self::LessThan(wanted) => compare(wanted, Ordering::is_lt),
            Self::LessThanOrEquals(wanted) => compare(wanted, Ordering::is_le),
            Self::In(list) => metadata
                .get(&list.key)
                .is_some_and(|found| is_in(found, &list.value)),
            Self::NotIn(list) => metadata
                .get(&list.key)
                .is_some_and(|found| !is_in(found, &list.value)),
            Self::StartsWith(text) => metadata
                .get(&text.key)
                .and_then(Value::as_str)
                .is_some_and(|found| found.starts_with(&text.value)),
            Self::ListContains(wanted) => metadata
                .get(&wanted.key)
                .and_then(Value::as_array)
                .is_some_and(|found| is_in(&wanted.value, found)),
            Self::StringContains(text) => metadata
                .get(&text.key)
                .is_some_and(|found| contains(found, &text.value)),
            Self::AndAll(members) => members.0.iter().all(|member| member.passes(metadata)),
            Self::OrAll(members) => members.0.iter().any(|member| member.passes(metadata)),
        }
    }
}

/// 1 and 1.0 are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match order(left, right) {
        Some(order) => order.is_eq(),
        None => left == right,
    }
}

fn is_in(found: &Value, list: &[Value]) -> bool {
    list.iter().any(|value| same(found, value))
}

/// Numbers only: Bedrock's comparisons take nothing else. Whole numbers are compared whole; as floating-point numbers,
/// account 9007199254740993 would be account 9007199254740992.
fn order(found: &Value, wanted: &Value) -> Option<Ordering> {
    match (whole(found), whole(wanted)) {
        (Some(found), Some(wanted)) => Some(found.cmp(&wanted)),
        _ => found.as_f64()?.partial_cmp(&wanted.as_f64()?),
    }
}

fn whole(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    signed.or_else(|| value.as_u64().map(i128::from))
}

/// In a text as a part, in a list as a part of one of its texts.
fn contains(found: &Value, part: &str) -> bool {
    match found {
        Value::String(text) => text.contains(part),
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .any(|text| text.contains(part)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
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
        let one = |operator: &str, key: &str, value: Value| json!({operator: {"key": key, "value": value}});
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
}

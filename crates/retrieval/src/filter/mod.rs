//! The filter language of Bedrock's `Retrieve`, over a document's metadata.
//!
//! What a missing key means, by Bedrock's documentation: `notEquals` passes documents without the key, every other
//! operator (also `notIn`) needs the key. Keys are matched as they are written, dots included. `cases.json` is the
//! table of cases that every retriever must pass.
//!
//! Source: Amazon Bedrock API Reference, `RetrievalFilter` and `FilterAttribute`.

mod parse;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

pub use parse::{CONDITIONS, DEPTH, FilterError, KEY_CHARACTERS, LIST_VALUES, TEXT_CHARACTERS};

/// A key and what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    pub key: String,
    pub value: Value,
}

/// A filter as JSON has it: `{"equals": {"key": "year", "value": 2026}}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
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
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    pub key: String,
    pub value: Vec<Value>,
}

/// A key and a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    pub key: String,
    pub value: String,
}

/// Two filters or more, as Bedrock asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Members(Vec<Filter>);

impl Members {
    /// The filters, two or more.
    pub fn as_slice(&self) -> &[Filter] {
        &self.0
    }
}

impl TryFrom<Vec<Filter>> for Members {
    type Error = FilterError;

    fn try_from(members: Vec<Filter>) -> Result<Self, Self::Error> {
        match members.len() {
            0 | 1 => Err(FilterError::too_few(members.len())),
            _ => Ok(Self(members)),
        }
    }
}

type Metadata = BTreeMap<String, Value>;

/// What a filter is made of.
pub(crate) enum Shape<'a> {
    /// It asks for one key.
    Key(&'a str),
    All(&'a [Filter]),
    Any(&'a [Filter]),
}

impl Filter {
    /// All of these filters at once; `None` for none.
    pub fn all(filters: Vec<Filter>) -> Option<Self> {
        Self::joined(filters, Self::AndAll)
    }

    /// One or more of these filters; `None` for none.
    pub fn any(filters: Vec<Filter>) -> Option<Self> {
        Self::joined(filters, Self::OrAll)
    }

    fn joined(mut filters: Vec<Filter>, join: fn(Members) -> Self) -> Option<Self> {
        match filters.len() {
            0 | 1 => filters.pop(),
            _ => Some(join(Members(filters))),
        }
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        match self {
            Self::Equals(wanted)
            | Self::NotEquals(wanted)
            | Self::GreaterThan(wanted)
            | Self::GreaterThanOrEquals(wanted)
            | Self::LessThan(wanted)
            | Self::LessThanOrEquals(wanted)
            | Self::ListContains(wanted) => Shape::Key(&wanted.key),
            Self::In(list) | Self::NotIn(list) => Shape::Key(&list.key),
            Self::StartsWith(text) | Self::StringContains(text) => Shape::Key(&text.key),
            Self::AndAll(members) => Shape::All(&members.0),
            Self::OrAll(members) => Shape::Any(&members.0),
        }
    }

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

    /// The filter in Bedrock's form.
    pub fn to_json(&self) -> Value {
        let condition = |operator: &str, key: &str, value: Value| json!({ operator: { "key": key, "value": value } });
        let members = |of: &Members| of.0.iter().map(Self::to_json).collect::<Vec<_>>();
        match self {
            Self::Equals(of) => condition("equals", &of.key, of.value.clone()),
            Self::NotEquals(of) => condition("notEquals", &of.key, of.value.clone()),
            Self::GreaterThan(of) => condition("greaterThan", &of.key, of.value.clone()),
            Self::GreaterThanOrEquals(of) => {
                condition("greaterThanOrEquals", &of.key, of.value.clone())
            }
            Self::LessThan(of) => condition("lessThan", &of.key, of.value.clone()),
            Self::LessThanOrEquals(of) => condition("lessThanOrEquals", &of.key, of.value.clone()),
            Self::In(of) => condition("in", &of.key, json!(of.value)),
            Self::NotIn(of) => condition("notIn", &of.key, json!(of.value)),
            Self::StartsWith(of) => condition("startsWith", &of.key, json!(of.value)),
            Self::ListContains(of) => condition("listContains", &of.key, of.value.clone()),
            Self::StringContains(of) => condition("stringContains", &of.key, json!(of.value)),
            Self::AndAll(of) => json!({ "andAll": members(of) }),
            Self::OrAll(of) => json!({ "orAll": members(of) }),
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
mod tests;

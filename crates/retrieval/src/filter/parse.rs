//! From JSON to a filter, or the place and the reason why it is none.

use serde_json::{Map, Value};

use super::{Attribute, Filter, List, Members, Text};

/// The longest key, in characters. Source: Amazon Bedrock API Reference, `FilterAttribute`.
pub const KEY_CHARACTERS: usize = 100;
/// The longest text to compare with, in characters: as long as a string attribute of a document may be.
/// Source: Amazon Bedrock API Reference, `MetadataAttributeValue`.
pub const TEXT_CHARACTERS: usize = 2_048;
/// The most values of `in` and `notIn`.
pub const LIST_VALUES: usize = 100;
/// The most conditions of one filter, all together.
pub const CONDITIONS: usize = 100;
/// How deep `andAll` and `orAll` may stand in one another.
pub const DEPTH: usize = 8;

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if .place.is_empty() { String::new() } else { format!("at {}: ", .place) })]
pub struct FilterError {
    /// Names and numbers from the outside in, such as `andAll[1].in.value`; empty for the filter itself.
    pub place: String,
    pub problem: String,
}

impl FilterError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        "InvalidFilter"
    }

    pub(super) fn too_few(found: usize) -> Self {
        let problem = format!("andAll and orAll take two filters or more, not {found}");
        Self {
            place: String::new(),
            problem,
        }
    }

    fn within(mut self, place: &str) -> Self {
        self.place = match self.place.as_str() {
            "" => place.to_owned(),
            inner if inner.starts_with('[') => format!("{place}{inner}"),
            inner => format!("{place}.{inner}"),
        };
        self
    }
}

fn wrong<T>(problem: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError {
        place: String::new(),
        problem: problem.into(),
    })
}

impl Filter {
    /// Reads a filter in Bedrock's form.
    ///
    /// # Errors
    /// [`FilterError`] with the place: an unknown operator, a missing or an unknown field, a value that the operator
    /// cannot compare, or more than [`CONDITIONS`], [`DEPTH`], [`KEY_CHARACTERS`], [`LIST_VALUES`] or
    /// [`TEXT_CHARACTERS`].
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        let mut conditions = 0;
        filter(value, 0, &mut conditions)
    }
}

impl TryFrom<Value> for Filter {
    type Error = FilterError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        Self::parse(&value)
    }
}

const OPERATORS: &str = "equals, notEquals, greaterThan, greaterThanOrEquals, lessThan, lessThanOrEquals, in, notIn, \
                         startsWith, listContains, stringContains, andAll, orAll";

fn filter(value: &Value, depth: usize, conditions: &mut usize) -> Result<Filter, FilterError> {
    let Some(fields) = value.as_object() else {
        return wrong(format!("a filter is an object, not {}", kind(value)));
    };
    let mut fields = fields.iter();
    let (Some((operator, operand)), rest) = (fields.next(), fields.count()) else {
        return wrong("an empty object is no filter; leave the filter out to pass every document");
    };
    if rest > 0 {
        return wrong("a filter has one operator; join several with andAll or orAll");
    }
    *conditions += 1;
    if *conditions > CONDITIONS {
        return wrong(format!("the filter has more than {CONDITIONS} conditions"));
    }
    operation(operator, operand, depth, conditions).map_err(|error| error.within(operator))
}

fn operation(
    operator: &str,
    operand: &Value,
    depth: usize,
    conditions: &mut usize,
) -> Result<Filter, FilterError> {
    Ok(match operator {
        "equals" => Filter::Equals(attribute(operand, plain)?),
        "notEquals" => Filter::NotEquals(attribute(operand, plain)?),
        "greaterThan" => Filter::GreaterThan(attribute(operand, number)?),
        "greaterThanOrEquals" => Filter::GreaterThanOrEquals(attribute(operand, number)?),
        "lessThan" => Filter::LessThan(attribute(operand, number)?),
        "lessThanOrEquals" => Filter::LessThanOrEquals(attribute(operand, number)?),
        "in" => Filter::In(list(operand)?),
        "notIn" => Filter::NotIn(list(operand)?),
        "startsWith" => Filter::StartsWith(text(operand)?),
        "listContains" => Filter::ListContains(attribute(operand, plain)?),
        "stringContains" => Filter::StringContains(text(operand)?),
        "andAll" => Filter::AndAll(members(operand, depth, conditions)?),
        "orAll" => Filter::OrAll(members(operand, depth, conditions)?),
        other => {
            return wrong(format!(
                "unknown operator {other:?}; the operators are {OPERATORS}"
            ));
        }
    })
}

fn members(operand: &Value, depth: usize, conditions: &mut usize) -> Result<Members, FilterError> {
    if depth >= DEPTH {
        return wrong(format!("filters stand in one another deeper than {DEPTH}"));
    }
    let Some(items) = operand.as_array() else {
        return wrong(format!("takes a list of filters, not {}", kind(operand)));
    };
    let mut read = Vec::with_capacity(items.len().min(CONDITIONS));
    for (number, item) in items.iter().enumerate() {
        let member = filter(item, depth + 1, conditions);
        read.push(member.map_err(|error| error.within(&format!("[{number}]")))?);
    }
    read.try_into()
}

/// The key and the value of a condition, and nothing else.
fn condition(operand: &Value) -> Result<(String, &Value), FilterError> {
    let Some(fields) = operand.as_object() else {
        let found = kind(operand);
        return wrong(format!("takes an object with key and value, not {found}"));
    };
    if let Some(unknown) = fields
        .keys()
        .find(|name| !matches!(name.as_str(), "key" | "value"))
    {
        return wrong(format!(
            "unknown field {unknown:?}; there are key and value"
        ));
    }
    Ok((key(fields)?, field(fields, "value")?))
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a Value, FilterError> {
    match fields.get(name) {
        Some(value) => Ok(value),
        None => wrong(format!("the field {name:?} is missing")),
    }
}

fn key(fields: &Map<String, Value>) -> Result<String, FilterError> {
    let value = field(fields, "key")?;
    let Some(key) = value.as_str() else {
        return wrong(format!("must be a text, not {}", kind(value))).map_err(in_key);
    };
    match key.chars().count() {
        1..=KEY_CHARACTERS => Ok(key.to_owned()),
        found => {
            let problem = format!("must have 1 to {KEY_CHARACTERS} characters, not {found}");
            wrong(problem).map_err(in_key)
        }
    }
}

fn in_key(error: FilterError) -> FilterError {
    error.within("key")
}

fn in_value(error: FilterError) -> FilterError {
    error.within("value")
}

fn attribute(
    operand: &Value,
    check: fn(&Value) -> Result<(), FilterError>,
) -> Result<Attribute, FilterError> {
    let (key, value) = condition(operand)?;
    check(value).map_err(in_value)?;
    let value = value.clone();
    Ok(Attribute { key, value })
}

fn list(operand: &Value) -> Result<List, FilterError> {
    let (key, value) = condition(operand)?;
    let items = match value {
        Value::Array(items) if (1..=LIST_VALUES).contains(&items.len()) => items,
        Value::Array(items) => {
            let found = items.len();
            let problem = format!("must have 1 to {LIST_VALUES} values, not {found}");
            return wrong(problem).map_err(in_value);
        }
        other => {
            let problem = format!("must be a list of values, not {}", kind(other));
            return wrong(problem).map_err(in_value);
        }
    };
    for (number, item) in items.iter().enumerate() {
        plain(item).map_err(|error| in_value(error.within(&format!("[{number}]"))))?;
    }
    let value = items.clone();
    Ok(List { key, value })
}

fn text(operand: &Value) -> Result<Text, FilterError> {
    let (key, value) = condition(operand)?;
    plain(value).map_err(in_value)?;
    match value.as_str() {
        Some("") => wrong("must not be empty: every text holds it").map_err(in_value),
        Some(text) => Ok(Text {
            key,
            value: text.to_owned(),
        }),
        None => wrong(format!("must be a text, not {}", kind(value))).map_err(in_value),
    }
}

/// A text, a number or a truth value.
fn plain(value: &Value) -> Result<(), FilterError> {
    match value {
        Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => match text.chars().count() {
            0..=TEXT_CHARACTERS => Ok(()),
            found => wrong(format!(
                "must have at most {TEXT_CHARACTERS} characters, not {found}"
            )),
        },
        other => wrong(format!(
            "must be a text, a number, true or false, not {}",
            kind(other)
        )),
    }
}

fn number(value: &Value) -> Result<(), FilterError> {
    match value {
        Value::Number(_) => Ok(()),
        other => wrong(format!("must be a number, not {}", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

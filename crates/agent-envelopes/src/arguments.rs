//! Arguments as a tool's schema types them. Agents send numbers, flags, lists and objects as text as often as not.

use serde_json::{Map, Number, Value};

use crate::loose;

/// What is wrong with a call's arguments, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The arguments as a whole are no object.
    #[error("the arguments must be a JSON object")]
    NotAnObject,
    /// One name stands twice.
    #[error("the argument {name} was given twice; give it once")]
    Twice {
        /// The argument.
        name: String,
    },
    /// A required argument is not there.
    #[error("the argument {name} is missing: {expected}; ask the user for it")]
    Missing {
        /// The argument.
        name: String,
        /// What the schema says of it.
        expected: String,
    },
    /// An argument that the tool does not take.
    #[error("there is no argument {name}; this takes {known}")]
    Unknown {
        /// The argument.
        name: String,
        /// The arguments that there are.
        known: String,
    },
    /// A value that cannot be what the schema says.
    #[error("the argument {name} is {found}; give {expected}")]
    WrongType {
        /// The argument.
        name: String,
        /// The value, shortened.
        found: String,
        /// What the schema says of it.
        expected: String,
    },
}

impl ArgumentError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotAnObject => "ArgumentsNotAnObject",
            Self::Twice { .. } => "ArgumentGivenTwice",
            Self::Missing { .. } => "ArgumentMissing",
            Self::Unknown { .. } => "ArgumentUnknown",
            Self::WrongType { .. } => "ArgumentWrongType",
        }
    }
}

/// Types `given` by `schema`, a JSON Schema of an object with `properties`, `required`, and in each property `type`,
/// `enum`, `items`, `minimum`, `maximum`, `minLength`, `maxLength`, `maxItems`. Text becomes what the schema asks for:
/// `"5"` a number, `"true"` a flag, JSON or `[a, b]` a list, JSON or `{a=b}` an object. Text where the schema asks for
/// text is never looked into. Nothing and empty text count as left out.
///
/// # Errors
/// [`ArgumentError`], for the first argument that does not fit.
pub fn fit(
    given: &Map<String, Value>,
    schema: &Value,
) -> Result<Map<String, Value>, ArgumentError> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let mut typed = Map::new();
    for (name, value) in given {
        let Some(property) = properties.get(name) else {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            return Err(ArgumentError::Unknown {
                name: shortened(name),
                known: known.join(", "),
            });
        };
        if left_out(value) {
            continue;
        }
        let fitted = value_as(value, property).ok_or_else(|| ArgumentError::WrongType {
            name: name.clone(),
            found: shortened(&value.to_string()),
            expected: expected(property),
        })?;
        typed.insert(name.clone(), fitted);
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !typed.contains_key(name) {
            return Err(ArgumentError::Missing {
                name: name.to_owned(),
                expected: expected(&properties[name]),
            });
        }
    }
    Ok(typed)
}

fn left_out(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The value as the schema types it, within its bounds; `None` where it cannot be.
fn value_as(value: &Value, schema: &Value) -> Option<Value> {
    let typed = match schema["type"].as_str() {
        Some("string") => string(value)?,
        Some("integer") => integer(value)?,
        Some("number") => number(value)?,
        Some("boolean") => boolean(value)?,
        Some("array") => array(value, &schema["items"])?,
        Some("object") => object(value)?,
        _ => value.clone(),
    };
    within(&typed, schema).then_some(typed)
}

fn string(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        // An order number of digits comes as a number from some models.
        Value::Number(number) => Some(Value::String(number.to_string())),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<Value> {
    let whole = |float: f64| {
        // 2⁵³: beyond it a float no longer says which whole number it is.
        (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0)
            .then(|| Value::from(float as i64))
    };
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(value.clone()),
        Value::Number(number) => whole(number.as_f64()?),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Some(Value::from(number)),
            Err(_) => whole(plain_float(text)?),
        },
        _ => None,
    }
}

fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Some(Value::from(number)),
            Err(_) => Number::from_f64(plain_float(text)?).map(Value::Number),
        },
        _ => None,
    }
}

/// Digits, sign, point and exponent only: Rust would also read `inf` and `NaN`.
fn plain_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.bytes().all(plain).then(|| text.parse().ok())?
}

fn boolean(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

fn array(value: &Value, items: &Value) -> Option<Value> {
    let list = match value {
        Value::Array(list) => list.clone(),
        Value::String(text) if text.trim_start().starts_with('[') => {
            match serde_json::from_str(text)
                .ok()
                .or_else(|| loose::read(text))?
            {
                Value::Array(list) => list,
                _ => return None,
            }
        }
        // One item that nobody put into a list.
        Value::String(_) => vec![value.clone()],
        _ => return None,
    };
    let typed: Option<Vec<Value>> = list.iter().map(|item| value_as(item, items)).collect();
    typed.map(Value::Array)
}

fn object(value: &Value) -> Option<Value> {
    match value {
        Value::Object(_) => Some(value.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str::<Value>(text)
                .ok()
                .or_else(|| loose::read(text))
                .filter(Value::is_object)
        }
        _ => None,
    }
}

fn within(value: &Value, schema: &Value) -> bool {
    let count = |name: &str| schema[name].as_u64();
    match value {
        Value::String(text) => {
            let letters = text.chars().count() as u64;
            count("minLength").is_none_or(|least| letters >= least)
                && count("maxLength").is_none_or(|most| letters <= most)
                && schema["enum"]
                    .as_array()
                    .is_none_or(|allowed| allowed.contains(value))
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            schema["minimum"]
                .as_f64()
                .is_none_or(|least| number >= least)
                && schema["maximum"].as_f64().is_none_or(|most| number <= most)
        }
        Value::Array(items) => count("maxItems").is_none_or(|most| items.len() as u64 <= most),
        _ => true,
    }
}

/// What a property takes, in words for a model.
fn expected(schema: &Value) -> String {
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", allowed.join(", "));
    }
    let kind = match schema["type"].as_str() {
        Some("string") => "a text",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a JSON object",
        _ => "a value",
    };
    let bound = |name: &str, words: &str| {
        let bound = &schema[name];
        (!bound.is_null()).then(|| format!(" {words} {bound}"))
    };
    let bounds = [
        bound("minimum", "from"),
        bound("maximum", "to"),
        bound("minLength", "of at least so many characters:"),
        bound("maxLength", "of at most so many characters:"),
        bound("maxItems", "of at most so many items:"),
    ];
    let bounds: String = bounds.into_iter().flatten().collect();
    match schema["description"].as_str() {
        Some(words) => format!("{kind}{bounds} ({})", words.trim_end_matches('.')),
        None => format!("{kind}{bounds}"),
    }
}

/// At most 60 characters of a value that may be anything.
fn shortened(text: &str) -> String {
    let mut letters = text.chars();
    let begin: String = letters.by_ref().take(60).collect();
    if letters.next().is_some() {
        format!("{begin}…")
    } else {
        begin
    }
}

#[cfg(test)]
mod tests;

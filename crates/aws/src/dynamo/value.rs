//! JSON values as DynamoDB attributes and back, nothing lost on the way.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Number, Value};

use crate::AwsError;

pub(super) fn to_attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(items) => AttributeValue::L(items.into_iter().map(to_attribute).collect()),
        Value::Object(fields) => AttributeValue::M(
            fields
                .into_iter()
                .map(|(name, value)| (name, to_attribute(value)))
                .collect(),
        ),
    }
}

pub(super) fn from_attribute(attribute: AttributeValue) -> Result<Value, AwsError> {
    Ok(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(flag) => Value::Bool(flag),
        AttributeValue::N(text) => Value::Number(number(&text)?),
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::L(items) => Value::Array(
            items
                .into_iter()
                .map(from_attribute)
                .collect::<Result<_, _>>()?,
        ),
        AttributeValue::M(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| Ok((name, from_attribute(value)?)))
                .collect::<Result<_, AwsError>>()?,
        ),
        other => {
            let detail =
                format!("an attribute of a kind that this version does not write: {other:?}");
            return Err(AwsError::Damaged { detail });
        }
    })
}

fn number(text: &str) -> Result<Number, AwsError> {
    let damaged = || AwsError::Damaged {
        detail: format!("{text:?} is not a number"),
    };
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(whole.into());
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(whole.into());
    }
    text.parse()
        .ok()
        .and_then(Number::from_f64)
        .ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_comes_back() {
        let value = json!({"a": [1, -2, 3.5, true, "text", {}], "b": {"c": u64::MAX}});
        assert_eq!(from_attribute(to_attribute(value.clone())).unwrap(), value);
    }

    proptest! {
        #[test]
        fn numbers_come_back(whole in any::<i64>(), text in ".*") {
            let value = json!({"whole": whole, "text": text});
            prop_assert_eq!(from_attribute(to_attribute(value.clone())).unwrap(), value);
        }
    }
}

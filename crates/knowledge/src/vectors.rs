//! What stands in the table's vector index, and what of it counts.
//!
//! A vector is named by its document, by a digest of all that it was written for, and by its passage. The manifest says
//! which documents live, so vectors of a publication that is half done, or of a version that was replaced, are known
//! by their digest and left out.

use std::collections::BTreeMap;

use aws::dynamo::keys;
use aws::{Aws, AwsError, FILTER_KEYS, RetrieverSetting};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::short_id;

/// Hex digits of a version.
const VERSION_DIGITS: usize = 16;
/// A longer text is not compared by the index: a key attribute may have 1,024 bytes.
const SLOT_BYTES: usize = 1_000;
/// Whole numbers below are whole as floating-point numbers too. Source: IEEE 754, 53 bits of significand.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether the index holds all live documents of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VectorState {
    /// The setting that the vectors were written for.
    pub setting: RetrieverSetting,
    pub complete: bool,
}

/// The state of a space's vectors; `None` for a space that never had any.
pub(crate) async fn state(aws: &Aws, space: &str) -> Result<Option<VectorState>, AwsError> {
    aws.table.get(&keys::vector_state(space)).await
}

pub(crate) async fn set_state(aws: &Aws, space: &str, state: &VectorState) -> Result<(), AwsError> {
    aws.table.put(&keys::vector_state(space), state).await
}

/// The digest of all that a document's vectors are written for, by the embedder of that identity: vectors of two models
/// are never ranked together, not even while a space moves from one to the other. The number of passages is that of the
/// chunking: a document that is cut into fewer keeps none of the others.
pub(crate) fn version(
    embedder: &str,
    content_hash: &str,
    readers: &[String],
    metadata: &BTreeMap<String, Value>,
    filter_keys: &[String],
    passages: usize,
) -> String {
    let mut parts = vec![embedder.to_owned(), content_hash.to_owned()];
    parts.push(format!("passages {passages}"));
    parts.extend(readers.iter().map(|reader| format!("reader {reader}")));
    parts.extend(filter_keys.iter().map(|key| format!("filter {key}")));
    for (key, value) in metadata {
        parts.push(format!("key {key}"));
        push_canonical(value, &mut parts);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    short_id(&parts, VERSION_DIGITS)
}

/// A value in one form, however often it was written and read: 1.0 as 1, other numbers to ten digits.
fn push_canonical(value: &Value, parts: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            parts.push(format!("list {}", items.len()));
            items.iter().for_each(|item| push_canonical(item, parts));
        }
        Value::Object(fields) => {
            parts.push(format!("object {}", fields.len()));
            for (name, value) in fields {
                parts.push(name.clone());
                push_canonical(value, parts);
            }
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => parts.push(whole.to_string()),
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < EXACT => {
                parts.push((float as i64).to_string());
            }
            (None, float) => parts.push(format!("{:.9e}", float.unwrap_or_default())),
        },
        other => parts.push(other.to_string()),
    }
}

/// What a document holds at the filter keys, in the form that the index compares.
pub(crate) fn slots(
    filter_keys: &[String],
    metadata: &BTreeMap<String, Value>,
) -> [Option<String>; FILTER_KEYS] {
    std::array::from_fn(|number| slot(metadata.get(filter_keys.get(number)?)?))
}

/// A value in the form that the index compares: equal values have equal forms. `None` where that cannot be promised,
/// or where there is nothing to compare.
pub(crate) fn slot(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.len() <= SLOT_BYTES => Some(format!("text {text}")),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => {
            let float = number.as_f64().filter(|float| float.abs() < EXACT)?;
            match float.fract() == 0.0 {
                true => Some(format!("number {}", float as i64)),
                false => Some(format!("number {float:?}")),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_have_equal_slots() {
        let check = |value: Value, expected: Option<&str>| {
            assert_eq!(slot(&value).as_deref(), expected, "{value}");
        };
        check(json!("a"), Some("text a"));
        check(json!(""), Some("text "));
        check(json!(true), Some("true"));
        check(json!("true"), Some("text true"));
        check(json!(2026), Some("number 2026"));
        check(json!(2026.0), Some("number 2026"));
        check(json!(-0.0), Some("number 0"));
        check(json!(4.5), Some("number 4.5"));
        check(
            json!(9_007_199_254_740_991_u64),
            Some("number 9007199254740991"),
        );
        // Beyond, a whole number may equal a float that does not equal its neighbour.
        check(json!(9_007_199_254_740_992_u64), None);
        check(json!(["a"]), None);
        check(json!("a".repeat(1_001)), None);
    }

    #[test]
    fn a_version_is_of_everything_that_was_written() {
        let (readers, keys) = (["everyone".to_owned()], ["team".to_owned()]);
        let metadata = |value: Value| BTreeMap::from([("team".to_owned(), value)]);
        let base = version("m/256", "hash", &readers, &metadata(json!(1)), &keys, 3);
        assert_eq!(
            base,
            version("m/256", "hash", &readers, &metadata(json!(1.0)), &keys, 3)
        );
        let others = [
            version("m/384", "hash", &readers, &metadata(json!(1)), &keys, 3),
            version("m/256", "other", &readers, &metadata(json!(1)), &keys, 3),
            version("m/256", "hash", &[], &metadata(json!(1)), &keys, 3),
            version("m/256", "hash", &readers, &metadata(json!("1")), &keys, 3),
            version("m/256", "hash", &readers, &metadata(json!([1])), &keys, 3),
            version("m/256", "hash", &readers, &BTreeMap::new(), &keys, 3),
            version("m/256", "hash", &readers, &metadata(json!(1)), &[], 3),
            version("m/256", "hash", &readers, &metadata(json!(1)), &keys, 4),
        ];
        assert!(!others.contains(&base));
        let close = (0.1_f64 + 0.2, 0.3);
        assert_eq!(
            version(
                "m/256",
                "hash",
                &readers,
                &metadata(json!(close.0)),
                &keys,
                3
            ),
            version(
                "m/256",
                "hash",
                &readers,
                &metadata(json!(close.1)),
                &keys,
                3
            ),
            "a number is read back to within a last digit"
        );
    }
}

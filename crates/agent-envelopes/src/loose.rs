//! The notation in which Bedrock Agents hand over arrays and objects that are no JSON: `[a, b]`, `{key=value}`, nested.
//!
//! It is what Java's `toString` writes of lists and maps: nothing is quoted, so a value that holds a comma or a bracket
//! cannot be told from two values. JSON is therefore tried first, by the caller.

use serde_json::{Map, Value};

/// Nesting beyond this is refused.
const DEPTH: usize = 16;

/// Reads `[…]` or `{…}`; leaves are texts. `None` for anything else.
pub(crate) fn read(text: &str) -> Option<Value> {
    let text = text.trim();
    (text.starts_with('[') || text.starts_with('{')).then_some(())?;
    value(text, 0)
}

fn value(text: &str, depth: usize) -> Option<Value> {
    let text = text.trim();
    if depth > DEPTH {
        return None;
    }
    if let Some(inner) = bracketed(text, '[', ']') {
        let items = split(inner)?.into_iter();
        return items
            .map(|item| value(item, depth + 1))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array);
    }
    if let Some(inner) = bracketed(text, '{', '}') {
        let mut fields = Map::new();
        for field in split(inner)? {
            let (name, given) = field.split_once('=')?;
            let replaced = fields.insert(name.trim().to_owned(), value(given, depth + 1)?);
            replaced.is_none().then_some(())?;
        }
        return Some(Value::Object(fields));
    }
    // A bracket that does not close is no text.
    (!text.starts_with(['[', '{'])).then(|| Value::String(unquoted(text).to_owned()))
}

fn bracketed(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// Splits at the commas outside brackets and double quotes; `None` when they do not close.
fn split(text: &str) -> Option<Vec<&str>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let (mut parts, mut begin, mut open, mut quoted) = (Vec::new(), 0, Vec::new(), false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' => open.push(']'),
            '{' => open.push('}'),
            ']' | '}' => (open.pop()? == letter).then_some(())?,
            ',' if open.is_empty() => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (open.is_empty() && !quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_maps_without_quotes_are_read() {
        let check =
            |text: &str, expected: Option<Value>| assert_eq!(read(text), expected, "{text}");
        check("[a, b]", Some(json!(["a", "b"])));
        check("[]", Some(json!([])));
        check("[ one two ,3]", Some(json!(["one two", "3"])));
        check("{a=1, b=x y}", Some(json!({"a": "1", "b": "x y"})));
        check("[{a=1}, {a=2}]", Some(json!([{"a": "1"}, {"a": "2"}])));
        check(
            "{a=[1, 2], b={c=d=e}}",
            Some(json!({"a": ["1", "2"], "b": {"c": "d=e"}})),
        );
        check("[\"a, b\", 'c']", Some(json!(["a, b", "c"])));
        check("[a", None);
        check("[a]]", None);
        check("{a}", None);
        check("{a=1, a=2}", None);
        check("plain", None);
        check(&"[".repeat(40), None);
        check(&format!("{}{}", "[".repeat(40), "]".repeat(40)), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[\\[\\]{}=,\"' a-c]{0,40}") {
            let _ = read(&text);
        }

        #[test]
        fn plain_items_come_back(items in proptest::collection::vec("[a-z0-9.:/-]{1,8}", 0..6)) {
            prop_assert_eq!(read(&format!("[{}]", items.join(", "))), Some(json!(items)));
        }
    }
}

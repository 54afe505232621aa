//! Replies that fit: an output that is too long gives up its end, with a cursor and a note for the model.

use agent_envelopes::REPLY_BYTES;
use serde::Serialize;
use serde_json::Value;

/// An output that can be made shorter.
pub(super) trait Shorten: erased::ToValue {
    /// Gives up about a part of itself, `keep` of 1 being all; false when nothing is left to give up.
    fn shorten(&mut self, _keep: f64) -> bool {
        false
    }
}

mod erased {
    use serde::Serialize;
    use serde_json::Value;

    /// What every output can do, without its type.
    pub(in crate::actions) trait ToValue: Send {
        fn to_value(&self) -> Value;
    }

    impl<T: Serialize + Send> ToValue for T {
        fn to_value(&self) -> Value {
            serde_json::to_value(self).unwrap_or_default()
        }
    }
}

/// The output as JSON, shortened until the reply around it fits. An output that cannot be made to fit goes out as it
/// is: the actions' own limits keep those small.
pub(super) fn to_fit(output: &mut dyn Shorten, reply_bytes: impl Fn(&Value) -> usize) -> Value {
    loop {
        let value = output.to_value();
        let bytes = reply_bytes(&value);
        if bytes <= REPLY_BYTES {
            return value;
        }
        // A little under the proportion: what is escaped is not spread evenly.
        let keep = REPLY_BYTES as f64 / bytes as f64 * 0.97;
        if !output.shorten(keep) {
            return value;
        }
    }
}

/// Adds words to a reply's note, unless it says so already.
pub(super) fn add_note(note: &mut Option<String>, words: &str) {
    match note {
        Some(said) if said.contains(words) => {}
        Some(said) => *said = format!("{said} {words}"),
        None => *note = Some(words.to_owned()),
    }
}

/// Takes items off the end of a list, at least one, and leaves at least one.
pub(super) fn shorten_list<T: Serialize>(items: &mut Vec<T>, keep: f64) -> bool {
    if items.len() < 2 {
        return false;
    }
    let kept = (items.len() as f64 * keep) as usize;
    items.truncate(kept.clamp(1, items.len() - 1));
    true
}

/// Cuts a text before `keep` of its bytes, at a character's border; false when it is short already.
pub(super) fn shorten_text(text: &mut String, keep: f64) -> bool {
    if text.len() < 64 {
        return false;
    }
    let mut end = ((text.len() as f64 * keep) as usize).min(text.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Text(String);

    impl Shorten for Text {
        fn shorten(&mut self, keep: f64) -> bool {
            shorten_text(&mut self.0, keep)
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_the_reply_fits(piece in ".{1,40}", times in 1_usize..3_000) {
            let whole = piece.repeat(times);
            let mut output = Text(whole.clone());
            let reply_bytes = |value: &Value| json!({"body": value.to_string()}).to_string().len();
            let value = to_fit(&mut output, reply_bytes);
            prop_assert!(reply_bytes(&value) <= REPLY_BYTES);
            prop_assert!(whole.starts_with(value.as_str().unwrap()));
            let cut = value.as_str().unwrap().len() < whole.len();
            if cut {
                prop_assert!(reply_bytes(&value) > REPLY_BYTES / 2, "much too short");
            }
        }
    }

    #[test]
    fn a_list_keeps_its_first_item() {
        let mut items = vec![1, 2, 3];
        assert!(shorten_list(&mut items, 0.99));
        assert_eq!(items, [1, 2]);
        assert!(shorten_list(&mut items, 0.01));
        assert_eq!(items, [1]);
        assert!(!shorten_list(&mut items, 0.01));
    }
}

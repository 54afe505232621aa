//! Words for the answerer and the embedder: lowercased, lightly stemmed, the same on every platform.
use unicode_segmentation::UnicodeSegmentation;

/// Words that carry no subject matter, in stemmed form or as written.
const STOP_WORDS: &str = " a about after all also am an and any are as at be been before being but by can could did do does \
 doing done each for from get give given had has have having he her here him his how i if in into is it its just let many \
 may me mean might more most much must my no nor not of on one only or other our out over own please said same she should \
 so some such tell than that the their them then there these they this those through to too under up upon us use used \
 using very want was we were what when where which while who whom whose why will with would you your explain describe \
 happen happens possible say says list need needs work works ";

pub(super) fn is_stop_word(word: &str) -> bool {
    let spaced = format!(" {word} ");
    STOP_WORDS.contains(&spaced)
}

/// Lowercased words of `text`, unstemmed. `snake_case`, `camelCase` and dotted names give their parts too.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in text.unicode_words() {
        let lower = word.to_lowercase();
        let parts = name_parts(word);
        if parts.len() > 1 {
            found.extend(parts.into_iter().map(|part| part.to_lowercase()));
        }
        found.push(lower);
    }
    found
}

/// `inputTokens` → input, Tokens; `cache_read` → cache, read. A plain word is one part.
fn name_parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut before_lower = false;
    for (at, c) in word.char_indices() {
        let boundary = matches!(c, '_' | '.' | ':') || (c.is_uppercase() && before_lower);
        if boundary && at > start {
            parts.push(&word[start..at]);
            start = at;
        }
        if matches!(c, '_' | '.' | ':') {
            start = at + c.len_utf8();
        }
        before_lower = c.is_lowercase();
    }
    if start < word.len() {
        parts.push(&word[start..]);
    }
    parts
}

/// Removes the commonest English endings so that `throttled`, `throttling` and `throttle` meet; other languages pass
/// nearly unchanged.
pub(super) fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 {
        return word.to_owned();
    }
    let singular = match word {
        w if w.ends_with("ies") && w.len() > 4 => format!("{}y", &w[..w.len() - 3]),
        w if w.ends_with("sses") || w.ends_with("xes") || w.ends_with("ches") => {
            w[..w.len() - 2].to_owned()
        }
        w if w.ends_with('s') && !w.ends_with("ss") && !w.ends_with("us") && !w.ends_with("is") => {
            w[..w.len() - 1].to_owned()
        }
        w => w.to_owned(),
    };
    let root = ["ing", "ed", "ion", "er", "ly", "al"]
        .iter()
        .find_map(|ending| {
            singular
                .strip_suffix(ending)
                .filter(|root| root.len() >= 4 || (root.len() == 3 && ending.len() == 3))
        })
        .unwrap_or(&singular);
    let root = undouble(root);
    let root = root
        .strip_suffix('e')
        .filter(|r| r.len() >= 3)
        .unwrap_or(root);
    match root.strip_suffix('y').filter(|r| r.len() >= 3) {
        Some(start) => format!("{start}i"),
        None => root.to_owned(),
    }
}

/// `stopp` → `stop`, but `call` and `pass` stay.
fn undouble(root: &str) -> &str {
    let bytes = root.as_bytes();
    match bytes {
        [.., a, b]
            if a == b && matches!(b, b'b' | b'd' | b'g' | b'm' | b'n' | b'p' | b'r' | b't') =>
        {
            &root[..root.len() - 1]
        }
        _ => root,
    }
}

/// Stemmed content words in order, stop words left out.
pub(super) fn content_stems(text: &str) -> Vec<String> {
    words(text)
        .into_iter()
        .filter(|word| !is_stop_word(word))
        .map(|word| stem(&word))
        .collect()
}

/// Stemmed content words of a question: each name counts once, its parts do not.
pub(super) fn asked_stems(text: &str) -> Vec<String> {
    let whole = text.unicode_words().map(str::to_lowercase);
    whole
        .filter(|word| !is_stop_word(word))
        .map(|word| stem(&word))
        .collect()
}

/// A plain token count: one for each six letters or digits of a word begun, one for each other visible character.
/// No tokenizer of a model; stable, and near enough for budgets.
pub(super) fn count_tokens(text: &str) -> usize {
    let mut tokens = 0;
    let mut run = 0usize;
    for c in text.chars() {
        if c.is_alphanumeric() && c.is_ascii() {
            run += 1;
            continue;
        }
        tokens += run.div_ceil(6);
        run = 0;
        tokens += usize::from(!c.is_whitespace());
    }
    tokens + run.div_ceil(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_meet() {
        for (one, other) in [
            ("throttled", "throttling"),
            ("throttle", "throttling"),
            ("policies", "policy"),
            ("generation", "generate"),
            ("retries", "retry"),
            ("limits", "limit"),
            ("stopped", "stop"),
            ("embedding", "embeddings"),
            ("encrypted", "encrypt"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} / {other}");
        }
        for (one, other) in [("process", "proceed"), ("model", "mode"), ("bus", "bu")] {
            assert_ne!(stem(one), stem(other), "{one} / {other}");
        }
    }

    #[test]
    fn names_give_their_parts() {
        assert_eq!(
            words("cacheReadInputTokens"),
            ["cache", "read", "input", "tokens", "cachereadinputtokens"]
        );
        assert_eq!(words("max_tokens"), ["max", "tokens", "max_tokens"]);
        assert_eq!(words("Plain, words!"), ["plain", "words"]);
    }

    #[test]
    fn tokens_are_counted_plainly() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("throttling", 2),
            ("two words.", 3),
            ("日本", 2),
        ] {
            assert_eq!(count_tokens(text), tokens, "{text}");
        }
    }
}

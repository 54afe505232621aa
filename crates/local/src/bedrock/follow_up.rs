//! Follow-ups of a conversation, without a language model: a question that points back is asked together with the words of
//! the question before it. It knows no grammar: what `it` stands for is whatever the last question was about.
use super::content::{ContentBlock, Role};
use super::request::ConverseRequest;

/// How the message begins that asks for a question that stands alone. The service's prompt says the same.
const BEGINS: &str = "Conversation:\n\n";
const FOLLOW_UP: &str = "\n\nFollow-up: ";
const QUESTION: &str = "Question: ";
/// Words of earlier questions that are carried along at the most.
const CARRIED: usize = 12;
/// A question with fewer words of its own points back.
const OWN_WORDS: usize = 2;

/// Words that stand for something said before, in English and German.
const POINTING: &[&str] = &[
    "it", "its", "they", "them", "their", "theirs", "he", "him", "his", "she", "her", "hers",
    "this", "that", "these", "those", "there", "then", "one", "ones", "same", "former", "latter",
    "else", "er", "sie", "es", "ihn", "ihm", "ihr", "ihre", "ihren", "dies", "diese", "dieser",
    "dieses", "das", "dort", "davon", "dazu", "damit", "dann",
];
/// Words that say what is asked and not what about.
const ASKING: &[&str] = &[
    "what", "when", "where", "which", "who", "whom", "whose", "why", "how", "does", "did", "do",
    "is", "are", "was", "were", "can", "could", "should", "would", "will", "has", "have", "had",
    "the", "a", "an", "and", "or", "of", "for", "in", "on", "at", "to", "by", "with", "about",
    "from", "many", "much", "long", "often", "be", "been", "i", "we", "you", "me", "my", "our",
    "your", "was", "wann", "wo", "welche", "welcher", "wer", "wem", "wen", "warum", "wie", "ist",
    "sind", "war", "kann", "der", "die", "den", "dem", "des", "ein", "eine", "einer", "und",
    "oder", "von", "für", "im", "am", "zu", "mit", "über", "aus", "viele",
];

/// The question that stands alone, if the request asks for one.
pub(super) fn speak(request: &ConverseRequest) -> Option<String> {
    let message = request
        .messages
        .last()
        .filter(|message| message.role == Role::User)?;
    let [ContentBlock::Text(text)] = message.content.as_slice() else {
        return None;
    };
    let (said, follow_up) = text.strip_prefix(BEGINS)?.rsplit_once(FOLLOW_UP)?;
    let before = said
        .lines()
        .filter_map(|line| line.strip_prefix(QUESTION))
        .next_back()?;
    Some(standalone(before.trim(), follow_up.trim()))
}

fn standalone(before: &str, follow_up: &str) -> String {
    let own = carried(follow_up);
    let points = words(follow_up).any(|word| POINTING.contains(&word.as_str()));
    let begins = follow_up.to_lowercase();
    let goes_on = ["and ", "und ", "what about", "how about", "was ist mit"];
    if own.len() > OWN_WORDS && !points && !goes_on.iter().any(|start| begins.starts_with(start)) {
        return follow_up.to_owned();
    }
    let mut about: Vec<String> = carried(before)
        .into_iter()
        .filter(|word| !own.contains(word))
        .collect();
    about.truncate(CARRIED);
    match about.is_empty() {
        true => follow_up.to_owned(),
        false => format!("{follow_up} (about: {})", about.join(" ")),
    }
}

/// The words that say what a question is about, each once.
fn carried(question: &str) -> Vec<String> {
    let mut carried: Vec<String> = Vec::new();
    for word in words(question) {
        let plain = !POINTING.contains(&word.as_str()) && !ASKING.contains(&word.as_str());
        if plain && !carried.contains(&word) {
            carried.push(word);
        }
    }
    carried
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_points_back_brings_its_words_along() {
        let check = |before: &str, follow_up: &str, expected: &str| {
            assert_eq!(
                standalone(before, follow_up),
                expected,
                "{before:?} {follow_up:?}"
            );
        };
        let stairs = "How many stairs does the lighthouse keeper climb?";
        check(
            stairs,
            "And when does he sleep?",
            "And when does he sleep? (about: stairs lighthouse keeper climb)",
        );
        check(
            stairs,
            "Why?",
            "Why? (about: stairs lighthouse keeper climb)",
        );
        check(
            stairs,
            "Which invoices are due in March?",
            "Which invoices are due in March?",
        );
        check(
            "And when does he sleep? (about: stairs lighthouse keeper climb)",
            "Who pays him?",
            "Who pays him? (about: sleep stairs lighthouse keeper climb)",
        );
        check(
            "Wo steht der Leuchtturm?",
            "Wann wurde er gebaut?",
            "Wann wurde er gebaut? (about: steht leuchtturm)",
        );
        check("", "Why?", "Why?");
    }
}

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// What Hugging Face's `tokenizers` 0.23 makes of a text with `all-MiniLM-L6-v2`'s `tokenizer.json`, without special tokens.
#[derive(Deserialize)]
struct Reference {
    what: String,
    text: String,
    ids: Vec<u32>,
}

#[test]
fn the_ids_are_the_tokenizers() {
    let references: Vec<Reference> = serde_json::from_str(include_str!("reference.json")).unwrap();
    for Reference { what, text, ids } in references {
        assert_eq!(encode(&text, usize::MAX), ids, "{what}");
        assert_eq!(Counter::default().count(&text), ids.len(), "{what}");
    }
}

#[test]
fn the_vocabulary_is_whole() {
    assert_eq!(vocabulary::PLAIN.lines().count(), 30_522);
    let at = |id: usize| vocabulary::PLAIN.lines().nth(id);
    assert_eq!(at(CLASSIFY as usize), Some("[CLS]"));
    assert_eq!(at(SEPARATE as usize), Some("[SEP]"));
}

#[test]
fn no_text_is_a_command() {
    assert_eq!(encode("[SEP]", 9).len(), 3);
    assert!(!encode("a [SEP] b [CLS]", 99).contains(&SEPARATE));
}

#[test]
fn a_limit_cuts() {
    assert_eq!(encode("one two three", 2), encode("one two", 9));
    assert!(encode("one", 0).is_empty());
}

proptest! {
    /// However often a counter met a word, and whatever stands beside it.
    #[test]
    fn counting_is_cutting(texts in prop::collection::vec("(?s)([a-zA-Z]{1,20}[ ,.'\n\u{7}]{0,2}|.{0,4}){0,30}", 1..4)) {
        let mut counter = Counter::default();
        for text in texts.iter().chain(&texts) {
            // White space that BERT leaves out parts words here.
            let plain: String = text.chars().filter(|c| !matches!(c, '\u{b}' | '\u{c}' | '\u{85}')).collect();
            prop_assert_eq!(counter.count(&plain), encode(&plain, usize::MAX).len());
        }
    }

    /// A text's tokens are never more than those of the parts that it was cut into.
    #[test]
    fn parts_cover_a_run(run in "([_a-zé東。한\u{301}≠🪨]{1,300}){1,4}", from in 0usize..8, count in 1usize..9) {
        let mut parts = vec![(0, 0)];
        Counter::default().each_part(&run, 256, |end, tokens| parts.push((end, tokens)));
        prop_assert_eq!(parts.last().unwrap().0, run.len());
        prop_assert!(parts.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let from = from.min(parts.len() - 2);
        let to = (from + count).min(parts.len() - 1);
        let sum: usize = parts[from + 1..=to].iter().map(|part| part.1).sum();
        prop_assert!(Counter::default().count(&run[parts[from].0..parts[to].0]) <= sum);
    }
}

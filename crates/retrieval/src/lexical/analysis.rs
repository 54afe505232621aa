//! What a text's words are: lowercased, folded to ASCII, stemmed by the document's language.
//!
//! A query's language is not guessed, it is too short: each of its words is looked up under every stem that a language
//! gives it.

use std::collections::BTreeSet;

use rust_stemmers::{Algorithm, Stemmer};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer, TokenStream,
};

/// Words of more bytes are identifiers that nobody types; they are left out.
const WORD_BYTES: usize = 80;

/// The language of a text, as far as stemming goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Spanish,
    Other,
}

const LANGUAGES: [Language; 3] = [Language::English, Language::Spanish, Language::Other];

impl Language {
    /// Detected from the text; short and doubtful texts count as English.
    pub(crate) fn of(text: &str) -> Self {
        let mut end = text.len().min(4_000);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        match whatlang::detect(&text[..end]) {
            Some(found) if found.lang() == whatlang::Lang::Spa && found.is_reliable() => {
                Self::Spanish
            }
            Some(found) if found.lang() != whatlang::Lang::Eng && found.is_reliable() => {
                Self::Other
            }
            _ => Self::English,
        }
    }
}

/// Turns texts into terms. Made once for many texts: stemmers and tokenizer keep their memory.
pub(super) struct Analysis {
    analyzer: TextAnalyzer,
    english: Stemmer,
    spanish: Stemmer,
}

impl Analysis {
    pub(super) fn new() -> Self {
        let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .build();
        Self {
            analyzer,
            english: Stemmer::create(Algorithm::English),
            spanish: Stemmer::create(Algorithm::Spanish),
        }
    }

    /// The terms of a text in their order.
    pub(super) fn terms(&mut self, text: &str, language: Language) -> Vec<String> {
        let words = self.words(text);
        self.stemmed(words, language)
    }

    /// The words of a text, folded, not stemmed.
    fn words(&mut self, text: &str) -> Vec<String> {
        let mut stream = self.analyzer.token_stream(text);
        let mut words = Vec::new();
        while let Some(token) = stream.next() {
            push_word(&mut words, &token.text);
        }
        words
    }

    fn stemmed(&self, words: Vec<String>, language: Language) -> Vec<String> {
        let stemmer = match language {
            Language::English => &self.english,
            Language::Spanish => &self.spanish,
            Language::Other => return words,
        };
        let stems = words
            .into_iter()
            .map(|word| stemmer.stem(&word).into_owned());
        stems.collect()
    }
}

/// A word, or the pairs of characters of a run without spaces.
fn push_word(words: &mut Vec<String>, word: &str) {
    let unspaced =
        |letter: char| matches!(letter as u32, 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF);
    if !word.chars().any(unspaced) {
        words.push(word.to_owned());
        return;
    }
    let letters: Vec<char> = word.chars().collect();
    if letters.len() == 1 {
        words.push(word.to_owned());
    }
    words.extend(
        letters
            .windows(2)
            .map(|pair| pair.iter().collect::<String>()),
    );
}

/// The terms that a query looks for, each once.
pub(super) fn query_terms(text: &str) -> BTreeSet<String> {
    let mut analysis = Analysis::new();
    let words = analysis.words(text);
    LANGUAGES
        .iter()
        .flat_map(|language| analysis.stemmed(words.clone(), *language))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_and_stemmed_by_language() {
        let check = |text: &str, language: Language, expected: &[&str]| {
            assert_eq!(Analysis::new().terms(text, language), expected, "{text}");
        };
        check("Running dogs", Language::English, &["run", "dog"]);
        check("canciones rápidas", Language::Spanish, &["cancion", "rap"]);
        check(
            "Größe der Häuser",
            Language::Other,
            &["grosse", "der", "hauser"],
        );
        check("東京都", Language::Other, &["東京", "京都"]);
        check("猫", Language::Other, &["猫"]);
    }

    #[test]
    fn the_language_is_detected() {
        let check = |text: &str, language| assert_eq!(Language::of(text), language, "{text}");
        check(
            "The quick brown fox jumps over the lazy dog and runs away into the forest.",
            Language::English,
        );
        check(
            "El perro corre por la calle mientras los niños juegan en el parque con una pelota grande.",
            Language::Spanish,
        );
        check(
            "Der Hund läuft durch die Straße, während die Kinder im Park mit einem Ball spielen.",
            Language::Other,
        );
        check("", Language::English);
    }
}

//! BERT's normal form: lowercase, without accents and control characters, marks and ideographs words of their own.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// What a character does to the words around it.
enum Role {
    /// Ends a word.
    Space,
    /// Is a word.
    Alone,
    /// Belongs to a word.
    Letter,
    /// Is left out, and what stands on its sides joined.
    Nothing,
}

/// Calls `take` with each normalised word of a text. `word` is room to build words in.
pub(super) fn each_word(text: &str, word: &mut String, mut take: impl FnMut(&str)) {
    word.clear();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            take(word);
            word.clear();
        }
    };
    let mut push = |character: char, word: &mut String| match role(character) {
        Role::Letter => word.push(character),
        Role::Alone => {
            end(word);
            word.push(character);
            end(word);
        }
        Role::Space => end(word),
        Role::Nothing => {}
    };
    for character in text.chars() {
        if character.is_ascii() {
            push(character.to_ascii_lowercase(), word);
        } else if is_ideograph(character) {
            // Before it is normalised: a compatibility ideograph parts words whatever it becomes.
            push(' ', word);
            std::iter::once(character)
                .nfd()
                .for_each(|part| push(part, word));
            push(' ', word);
        } else if !matches!(role(character), Role::Nothing) {
            for part in std::iter::once(character).nfd() {
                if part.general_category() != GeneralCategory::NonspacingMark {
                    part.to_lowercase().for_each(|part| push(part, word));
                }
            }
        }
    }
    push(' ', word);
}

fn role(character: char) -> Role {
    if character.is_whitespace() {
        return Role::Space;
    }
    if character.is_ascii() {
        return match character {
            _ if character.is_ascii_punctuation() => Role::Alone,
            _ if character.is_ascii_control() => Role::Nothing,
            _ => Role::Letter,
        };
    }
    match character.general_category() {
        GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse => {
            Role::Nothing
        }
        _ if character == char::REPLACEMENT_CHARACTER => Role::Nothing,
        _ if is_ideograph(character) => Role::Alone,
        _ if character.general_category_group() == GeneralCategoryGroup::Punctuation => Role::Alone,
        _ => Role::Letter,
    }
}

/// Whether a character is a word by itself wherever it stands.
pub(super) fn stands_alone(character: char) -> bool {
    matches!(role(character), Role::Alone)
}

/// The most letters that a character has in normal form.
pub(super) fn letters(character: char) -> usize {
    std::iter::once(character).nfd().count()
}

/// BERT's Chinese characters: the blocks of unified and compatibility ideographs.
fn is_ideograph(character: char) -> bool {
    matches!(character as u32,
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

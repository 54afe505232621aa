//! WordPiece, the tokenizer of BERT and its kin: text to pieces of words out of a vocabulary of 30,522.
//!
//! One implementation for sizing passages and for the local sentence embedder. Source: Devlin et al., "BERT", 2019, with
//! the uncased vocabulary (`vocab.txt.zst`, Apache-2.0); the rules are those of Hugging Face's `BertNormalizer`,
//! `BertPreTokenizer` and `WordPiece`. Differences, on purpose: text is only text, so that "[SEP]" in a document
//! is three pieces and not a command; and form feeds, vertical tabs and U+0085 part words, as white space does
//! everywhere else here, where BERT drops them and joins the words beside. Marks that Unicode gained since 2015 are marks
//! here and letters there.

mod counter;
mod normalise;
mod vocabulary;

pub use counter::Counter;

/// Ids of the pieces that stand for no text.
pub const CLASSIFY: u32 = 101;
pub const SEPARATE: u32 = 102;

/// Letters of a word beyond which BERT does not look for its pieces: it is unknown.
const WORD_LETTERS: usize = 100;

/// The ids of a text's pieces, in order, at most `limit`; without [`CLASSIFY`] before and [`SEPARATE`] after.
pub fn encode(text: &str, limit: usize) -> Vec<u32> {
    let mut ids = Vec::new();
    normalise::each_word(text, &mut String::new(), |word| {
        if ids.len() < limit {
            vocabulary::pieces(word, |id| ids.push(id));
        }
    });
    ids.truncate(limit);
    ids
}

#[cfg(test)]
mod tests;

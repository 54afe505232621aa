//! The vocabulary, and the cutting of a word into its longest known pieces.

use std::collections::HashMap;
use std::sync::LazyLock;

use rustc_hash::FxBuildHasher;

use super::WORD_LETTERS;

/// `vocab.txt` of bert-base-uncased, a piece on each line, its number the id. Apache-2.0.
const COMPRESSED: &[u8] = include_bytes!("vocab.txt.zst");
/// Its size when it is plain.
const PLAIN_BYTES: usize = 231_508;
/// The piece for what cannot be cut into known ones.
const UNKNOWN: u32 = 100;

/// Unpacked when first asked for: a function that neither cuts nor embeds never pays for it.
pub(super) static PLAIN: LazyLock<String> = LazyLock::new(|| {
    let plain = zstd::bulk::decompress(COMPRESSED, PLAIN_BYTES).unwrap_or_default();
    String::from_utf8(plain).unwrap_or_default()
});

type Pieces = HashMap<&'static str, u32, FxBuildHasher>;

struct Vocabulary {
    /// Pieces that begin a word.
    heads: Pieces,
    /// Pieces that go on with one, without their "##".
    tails: Pieces,
    /// Bytes of the longest piece.
    longest: usize,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut vocabulary = Vocabulary {
        heads: Pieces::with_capacity_and_hasher(30_000, FxBuildHasher),
        tails: Pieces::with_capacity_and_hasher(8_000, FxBuildHasher),
        longest: 0,
    };
    for (id, piece) in (0..).zip(PLAIN.lines()) {
        let (pieces, piece) = match piece.strip_prefix("##") {
            Some(tail) if !tail.is_empty() => (&mut vocabulary.tails, tail),
            _ => (&mut vocabulary.heads, piece),
        };
        pieces.insert(piece, id);
        vocabulary.longest = vocabulary.longest.max(piece.len());
    }
    vocabulary
});

/// The pieces of a normalised word: the longest known beginning, then the longest known continuations; all of it unknown
/// when a part is.
pub(super) fn pieces(word: &str, mut take: impl FnMut(u32)) {
    let mut found = [0u32; WORD_LETTERS];
    let count = cut(word, &mut found).unwrap_or_else(|| {
        found[0] = UNKNOWN;
        1
    });
    found[..count].iter().for_each(|id| take(*id));
}

/// How many pieces a normalised word has.
pub(super) fn count(word: &str) -> usize {
    cut(word, &mut [0; WORD_LETTERS]).unwrap_or(1)
}

fn cut(word: &str, found: &mut [u32; WORD_LETTERS]) -> Option<usize> {
    let vocabulary = &*VOCABULARY;
    if word.len() > WORD_LETTERS && word.chars().count() > WORD_LETTERS {
        return None;
    }
    let (mut pieces, mut rest, mut count) = (&vocabulary.heads, word, 0);
    while !rest.is_empty() {
        let mut end = vocabulary.longest.min(rest.len());
        let id = loop {
            if rest.is_char_boundary(end)
                && let Some(id) = pieces.get(&rest[..end])
            {
                break *id;
            }
            end = end.checked_sub(1).filter(|end| *end > 0)?;
        };
        found[count] = id;
        count += 1;
        rest = &rest[end..];
        pieces = &vocabulary.tails;
    }
    Some(count)
}

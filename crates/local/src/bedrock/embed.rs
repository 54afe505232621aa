//! The hashing embedder: words, word pairs and letter groups of a text, hashed with signs into a fixed number of
//! dimensions. It knows nothing of meaning beyond shared letters, but it needs no weights and gives the same vector
//! for the same text on every platform: only additions, products and square roots, in a fixed order.

use super::words::{is_stop_word, stem, words};

const WORD_WEIGHT: f64 = 1.0;
const STOP_WORD_WEIGHT: f64 = 0.08;
const PAIR_WEIGHT: f64 = 0.5;
/// Weight of all letter groups of one word together, beside the word itself.
const LETTERS_WEIGHT: f64 = 0.6;
const LETTER_GROUPS: std::ops::RangeInclusive<usize> = 3..=5;

/// The embedding of `text` with Euclidean length 1, or without scaling if not `normalize`. `text` must not be blank
/// and `dimensions` not 0.
pub fn embed(text: &str, dimensions: usize, normalize: bool) -> Vec<f32> {
    let mut features = features(text);
    features.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut vector = vec![0.0f64; dimensions];
    for same in features.chunk_by(|a, b| a.0 == b.0) {
        // Sublinear frequency: a word said four times counts twice.
        let weight =
            same.iter().map(|(_, weight)| weight).sum::<f64>() / (same.len() as f64).sqrt();
        let hash = same[0].0;
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        vector[(hash % dimensions as u64) as usize] += sign * weight;
    }
    if vector.iter().all(|value| *value == 0.0) {
        vector[(hash("text", text) % dimensions as u64) as usize] = 1.0;
    }
    let length = if normalize {
        vector.iter().map(|value| value * value).sum::<f64>().sqrt()
    } else {
        1.0
    };
    vector
        .into_iter()
        .map(|value| (value / length) as f32)
        .collect()
}

/// Hashed features with their weights, one entry for each occurrence.
fn features(text: &str) -> Vec<(u64, f64)> {
    let mut found = Vec::new();
    let mut words = words(text);
    if words.is_empty() {
        words = text.split_whitespace().map(str::to_owned).collect();
    }
    let mut before: Option<String> = None;
    for word in &words {
        if is_stop_word(word) {
            found.push((hash("word", word), STOP_WORD_WEIGHT));
            continue;
        }
        let stem = stem(word);
        found.push((hash("word", &stem), WORD_WEIGHT));
        if let Some(before) = &before {
            found.push((hash("pair", &format!("{before} {stem}")), PAIR_WEIGHT));
        }
        let groups = letter_groups(&stem);
        let weight = LETTERS_WEIGHT / (groups.len().max(1) as f64).sqrt();
        found.extend(groups.iter().map(|group| (hash("letters", group), weight)));
        before = Some(stem);
    }
    found
}

fn letter_groups(word: &str) -> Vec<String> {
    let letters: Vec<char> = std::iter::once('<')
        .chain(word.chars().take(40))
        .chain(std::iter::once('>'))
        .collect();
    LETTER_GROUPS
        .flat_map(|size| letters.windows(size).map(|group| group.iter().collect()))
        .collect()
}

/// FNV-1a over the kind and the feature, finished with the mixer of SplitMix64 so that every bit counts.
fn hash(kind: &str, feature: &str) -> u64 {
    let bytes = kind
        .bytes()
        .chain(std::iter::once(0))
        .chain(feature.bytes());
    let mut mixed = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn likeness(one: &str, other: &str) -> f32 {
        embed(one, 1024, true)
            .iter()
            .zip(embed(other, 1024, true))
            .map(|(a, b)| a * b)
            .sum()
    }

    #[test]
    fn related_texts_are_nearer() {
        let question = "How are throttled requests retried?";
        assert!(
            likeness(question, "Retry throttled requests with backoff.")
                > likeness(question, "Guardrails mask personal data.") + 0.2
        );
        assert!(likeness("embedding", "embeddings") > 0.9);
    }

    #[test]
    fn the_vector_of_a_text_never_changes() {
        let vector = embed("Amazon Bedrock", 256, true);
        let set: Vec<(usize, String)> = vector
            .iter()
            .enumerate()
            .filter(|(_, v)| v.abs() > 0.3)
            .map(|(at, v)| (at, format!("{v:.6}")))
            .collect();
        insta::assert_debug_snapshot!(set);
    }

    proptest! {
        #[test]
        fn any_text_has_length_one(text in "(?s).{1,200}", dimensions in prop::sample::select(vec![256usize, 512, 1024, 1536])) {
            let vector = embed(&text, dimensions, true);
            let length: f32 = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            prop_assert_eq!(vector.len(), dimensions);
            prop_assert!((length - 1.0).abs() < 1e-4);
        }
    }
}

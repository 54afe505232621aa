//! Results that say again what a better one said: mirrored pages, copies with another date, the same licence in each package.
//!
//! Two texts are near duplicates when they share most of their runs of three words (shingles): the Jaccard coefficient of
//! the two sets is 0.8 or more. Source: Broder, "On the resemblance and containment of documents", 1997.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::Hit;

/// Words of a shingle.
const SHINGLE_WORDS: usize = 3;
/// The share of common shingles from which two texts are one.
const SAME_FROM: f64 = 0.8;

/// Takes results, best first, and keeps those that are no near duplicate of a better one. What is kept does not depend
/// on how many results follow.
pub fn drop_near_duplicates(hits: Vec<Hit>) -> Vec<Hit> {
    let mut kept: Vec<Vec<u64>> = Vec::new();
    let mut is_new = |hit: &Hit| {
        let shingles = shingles(&hit.text);
        let new = !kept
            .iter()
            .any(|other| resemblance(other, &shingles) >= SAME_FROM);
        if new {
            kept.push(shingles);
        }
        new
    };
    hits.into_iter().filter(|hit| is_new(hit)).collect()
}

/// The different shingles of a text as numbers, ascending. A text of fewer words is one shingle; case and punctuation do
/// not count.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<String> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut shingles: Vec<u64> = match words.len() < SHINGLE_WORDS {
        true => vec![number(&words)],
        false => words.windows(SHINGLE_WORDS).map(number).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// The same number in every process: the hasher's keys are fixed.
fn number(words: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

/// Jaccard's coefficient of two ascending lists.
fn resemblance(left: &[u64], right: &[u64]) -> f64 {
    let (shorter, longer) = (left.len().min(right.len()), left.len().max(right.len()));
    // It cannot be more than this, so most pairs need no counting.
    if (shorter as f64) < SAME_FROM * longer as f64 {
        return 0.0;
    }
    let (mut at, mut other, mut common) = (0, 0, 0);
    while at < left.len() && other < right.len() {
        match left[at].cmp(&right[other]) {
            std::cmp::Ordering::Less => at += 1,
            std::cmp::Ordering::Greater => other += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                at += 1;
                other += 1;
            }
        }
    }
    common as f64 / (left.len() + right.len() - common) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(texts: &[&str]) -> Vec<usize> {
        let hit = |(number, text): (usize, &&str)| Hit {
            passage_id: number.to_string(),
            document_id: number.to_string(),
            title: String::new(),
            uri: String::new(),
            content_hash: String::new(),
            heading_path: Vec::new(),
            pages: Vec::new(),
            parent: None,
            text: (*text).to_owned(),
            start: 0,
            end: text.len() as u64,
            score: 0.0,
            lexical_rank: None,
            vector_rank: None,
        };
        let kept = drop_near_duplicates(texts.iter().enumerate().map(hit).collect());
        kept.iter()
            .map(|hit| hit.passage_id.parse().unwrap())
            .collect()
    }

    #[test]
    fn copies_go_and_what_differs_stays() {
        let page = "The keeper climbs one hundred stairs to the lamp every evening, fills the tank with oil, trims the \
                    wick, and writes the hour into the log before the first ship passes the cape on its way north.";
        let check = |other: &str, both: bool| {
            let expected: &[usize] = if both { &[0, 1] } else { &[0] };
            assert_eq!(kept(&[page, other]), expected, "{other}");
        };
        check(page, false);
        check(&page.to_uppercase().replace(',', " –"), false);
        check(&format!("Printed in 2025. {page}"), false);
        check(&page.replace("stairs", "steps"), false);
        check(&page[..page.len() / 2], true);
        check("Bread is baked from flour, water and salt.", true);
        check("", true);
    }

    #[test]
    fn short_texts_are_compared_whole() {
        assert_eq!(kept(&["Yes.", "yes", "No.", "", "…"]), [0, 2, 3]);
    }

    #[test]
    fn what_is_kept_does_not_depend_on_what_follows() {
        let texts = [
            "a b c d e f",
            "a b c d e f",
            "g h i j",
            "a b c d e f",
            "g h i j",
            "k l m n",
        ];
        for length in 0..=texts.len() {
            let all: Vec<usize> = kept(&texts).into_iter().filter(|at| *at < length).collect();
            assert_eq!(kept(&texts[..length]), all);
        }
    }

    #[test]
    fn resemblance_is_jaccard_s() {
        let check = |left: &[u64], right: &[u64], expected: f64| {
            assert_eq!(resemblance(left, right), expected);
            assert_eq!(resemblance(right, left), expected);
        };
        check(&[1, 2, 3, 4], &[1, 2, 3, 4], 1.0);
        check(&[1, 2, 3, 4, 5], &[1, 2, 3, 4], 0.8);
        check(&[1, 2, 3, 4], &[5, 6, 7, 8], 0.0);
        check(&[1, 2, 3, 4, 5, 6], &[1], 0.0);
    }
}

//! The extractive answerer: no weights, no chance. It scores every sentence of the given passages against the question
//! and answers with the best supported ones in their own words, or says that it found no answer.
use std::collections::{BTreeMap, BTreeSet};

use super::passages::Passage;
use super::sentences;
use super::words::{asked_stems, content_stems};

/// Share of the question's weighted content words that the best sentence, with its title, heading and the sentence
/// before it, must cover for an answer to be given.
pub(super) const SUPPORT_THRESHOLD: f64 = 0.42;
/// Fewest of the question's content words that it must cover, if the question has as many.
const MIN_WORDS: usize = 2;
/// Most sentences of an answer.
const MAX_SENTENCES: usize = 4;
/// A further sentence needs this share of the best score, ...
const FURTHER_SHARE: f64 = 0.6;
/// ... or this share if it covers a word of the question that no chosen sentence covers.
const NEW_WORD_SHARE: f64 = 0.4;
/// Two sentences with more than this share of words in common say the same.
const SAME_SHARE: f64 = 0.7;
/// What a word in the title or heading, or in the sentence before, is worth beside one in the sentence itself.
const TITLE_SHARE: f64 = 0.6;
const BEFORE_SHARE: f64 = 0.3;
/// Longest gap (words) at which two neighbours of the question count as near in a sentence.
const NEAR: usize = 4;

/// A chosen sentence: `text` is verbatim in `passages[passage].parts[part]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) passage: usize,
    pub(super) part: usize,
    /// Position of the sentence among all sentences of the passages.
    order: usize,
    pub(super) text: String,
}

struct Candidate<'a> {
    passage: usize,
    part: usize,
    order: usize,
    text: &'a str,
    stems: Vec<String>,
    title: BTreeSet<String>,
    before: BTreeSet<String>,
}

/// Chooses the sentences that answer `question`; an empty list means that no passage supports an answer.
pub(super) fn answer(question: &str, passages: &[Passage]) -> Vec<Chosen> {
    let asked = asked_stems(question);
    let candidates = candidates(passages);
    let weights = weights(&asked, &candidates);
    let total: f64 = weights.values().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let numeric = asks_for_number(question);
    let mut scored: Vec<(f64, &Candidate)> = candidates
        .iter()
        .map(|candidate| (score(candidate, &asked, &weights, numeric), candidate))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.order.cmp(&b.1.order)));
    let enough = |(words, weight): (usize, f64)| {
        words >= MIN_WORDS.min(weights.len()) && weight / total >= SUPPORT_THRESHOLD
    };
    let supported = |candidate: &Candidate| enough(coverage(candidate, &weights));
    let Some(&(best, first)) = scored
        .iter()
        .take(5)
        .find(|(_, candidate)| supported(candidate))
    else {
        return Vec::new();
    };
    let chosen = choose(best, first, &scored, &weights);
    in_reading_order(first, chosen)
}

fn candidates(passages: &[Passage]) -> Vec<Candidate<'_>> {
    let mut found: Vec<Candidate> = Vec::new();
    for (passage, from) in passages.iter().enumerate() {
        let title = content_stems(&from.title);
        for (part, text) in from.parts.iter().enumerate() {
            let mut before = BTreeSet::new();
            for sentence in sentences::split(text) {
                let stems = content_stems(sentence.text);
                let title = title
                    .iter()
                    .cloned()
                    .chain(content_stems(sentence.heading))
                    .collect();
                let next: BTreeSet<String> = stems.iter().cloned().collect();
                found.push(Candidate {
                    passage,
                    part,
                    order: found.len(),
                    text: sentence.text,
                    stems,
                    title,
                    before,
                });
                before = next;
            }
        }
    }
    found
}

/// What each content word of the question weighs: more, the fewer sentences have it. A word that no sentence has
/// weighs most, so that a question about something else finds no support.
fn weights(asked: &[String], candidates: &[Candidate]) -> BTreeMap<String, f64> {
    let count = candidates.len() as f64;
    let weigh = |word: &String| {
        let having = candidates
            .iter()
            .filter(|c| c.stems.contains(word) || c.title.contains(word))
            .count() as f64;
        (word.clone(), (1.0 + (count + 8.0) / having.max(0.5)).ln())
    };
    asked.iter().map(weigh).collect()
}

fn worth(candidate: &Candidate, word: &String) -> f64 {
    if candidate.stems.contains(word) {
        1.0
    } else if candidate.title.contains(word) {
        TITLE_SHARE
    } else if candidate.before.contains(word) {
        BEFORE_SHARE
    } else {
        0.0
    }
}

/// The question's words that the candidate and its surroundings hold: how many, and their weight.
fn coverage(candidate: &Candidate, weights: &BTreeMap<String, f64>) -> (usize, f64) {
    if !weights.keys().any(|word| candidate.stems.contains(word)) {
        return (0, 0.0);
    }
    let held = weights
        .iter()
        .filter(|(word, _)| worth(candidate, word) > 0.0);
    held.fold((0, 0.0), |(words, sum), (_, weight)| {
        (words + 1, sum + weight)
    })
}

fn score(
    candidate: &Candidate,
    asked: &[String],
    weights: &BTreeMap<String, f64>,
    numeric: bool,
) -> f64 {
    let words: f64 = weights
        .iter()
        .map(|(word, weight)| weight * worth(candidate, word))
        .sum();
    let position = |word: &String| candidate.stems.iter().position(|stem| stem == word);
    let near = asked
        .windows(2)
        .filter(|pair| match (position(&pair[0]), position(&pair[1])) {
            (Some(a), Some(b)) => a.abs_diff(b) <= NEAR,
            _ => false,
        });
    let nearness = 1.0 + 0.1 * near.count() as f64;
    let length = match candidate.stems.len() {
        0..=2 => 0.6,
        3..=30 => 1.0,
        more => 30.0 / more as f64,
    };
    let number = if numeric && candidate.text.chars().any(|c| c.is_ascii_digit()) {
        1.2
    } else {
        1.0
    };
    let question = if candidate.text.ends_with('?') || candidate.text.ends_with(':') {
        0.5
    } else {
        1.0
    };
    // Passages come best first: a slight preference, so that equal sentences have an order.
    let rank = 1.0 / (1.0 + 0.02 * candidate.passage as f64);
    words * nearness * length * number * question * rank
}

fn asks_for_number(question: &str) -> bool {
    let lower = question.to_lowercase();
    [
        "how many",
        "how much",
        "how long",
        "how large",
        "how big",
        "how often",
        "maximum",
        "minimum",
        "limit",
        "when ",
    ]
    .iter()
    .any(|phrase| lower.contains(phrase))
}

fn choose<'a>(
    best: f64,
    first: &'a Candidate<'a>,
    scored: &[(f64, &'a Candidate<'a>)],
    weights: &BTreeMap<String, f64>,
) -> Vec<&'a Candidate<'a>> {
    let mut chosen = vec![first];
    for &(score, candidate) in scored {
        if chosen.len() == MAX_SENTENCES || score < best * NEW_WORD_SHARE {
            break;
        }
        let adds = |word: &String| {
            candidate.stems.contains(word) && !chosen.iter().any(|c| c.stems.contains(word))
        };
        let wanted = score >= best * FURTHER_SHARE || weights.keys().any(adds);
        if wanted
            && !chosen
                .iter()
                .any(|other| other.order == candidate.order || says_the_same(other, candidate))
        {
            chosen.push(candidate);
        }
    }
    chosen
}

fn says_the_same(one: &Candidate, other: &Candidate) -> bool {
    let a: BTreeSet<&String> = one.stems.iter().collect();
    let b: BTreeSet<&String> = other.stems.iter().collect();
    let common = a.intersection(&b).count() as f64;
    common > SAME_SHARE * a.len().min(b.len()).max(1) as f64
}

/// The best sentence's passage first, then the others as they were given; inside a passage as written.
fn in_reading_order(first: &Candidate, mut chosen: Vec<&Candidate>) -> Vec<Chosen> {
    chosen.sort_by_key(|c| (c.passage != first.passage, c.order));
    let own = |c: &Candidate| Chosen {
        passage: c.passage,
        part: c.part,
        order: c.order,
        text: c.text.to_owned(),
    };
    chosen.into_iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::passages::Place;
    use super::*;

    fn passage(index: usize, title: &str, text: &str) -> Passage {
        Passage {
            title: title.into(),
            source: String::new(),
            parts: vec![text.into()],
            place: Place::SearchResult { index, cite: true },
        }
    }

    fn shelf() -> Vec<Passage> {
        vec![
            passage(
                0,
                "Lambda quotas",
                "A response payload is limited to 6 MB. Streamed responses may reach 200 MB. Memory goes up to 10,240 MB.",
            ),
            passage(
                1,
                "Guardrails",
                "A guardrail masks personal data. It returns GUARDRAIL_INTERVENED when it blocks or masks.\n\n## Streaming\nIn async mode a guardrail cannot mask.",
            ),
            passage(
                2,
                "Throttling",
                "Retry a ThrottlingException with backoff and jitter. Throttling can arrive in mid-stream.",
            ),
        ]
    }

    #[track_caller]
    fn check(question: &str, expected_first: Option<&str>) {
        let chosen = answer(question, &shelf());
        assert_eq!(
            chosen.first().map(|c| c.text.as_str()),
            expected_first,
            "{question}: {chosen:?}"
        );
    }

    #[test]
    fn the_best_supported_sentence_leads() {
        check(
            "What is the limit of a response payload?",
            Some("A response payload is limited to 6 MB."),
        );
        check(
            "Can a guardrail mask in async mode?",
            Some("In async mode a guardrail cannot mask."),
        );
        check(
            "What should I do on a ThrottlingException?",
            Some("Retry a ThrottlingException with backoff and jitter."),
        );
    }

    #[test]
    fn no_support_no_answer() {
        check("Who won the football world cup in 1998?", None);
        check(
            "What is the response of the Danish parliament to whaling quotas?",
            None,
        );
        check("what is it?", None);
        check("", None);
    }

    /// A name of several parts once weighed three times as much as a plain word.
    #[test]
    fn a_name_in_camel_case_counts_once() {
        let shelf = [passage(
            0,
            "DynamoDB vectors",
            "A DynamoDB vector index holds up to 4,096 dimensions. Queries against a vector index use the SearchVectors operation.",
        )];
        let chosen = answer(
            "Which operation queries a vector index in DynamoDB?",
            &shelf,
        );
        assert!(
            chosen.iter().any(|c| c.text.contains("SearchVectors")),
            "{chosen:?}"
        );
    }

    #[test]
    fn every_sentence_is_verbatim() {
        for chosen in answer(
            "response payload memory limits of streamed guardrail throttling",
            &shelf(),
        ) {
            assert!(shelf()[chosen.passage].parts[chosen.part].contains(&chosen.text));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(question in "\\PC{0,80}", title in "\\PC{0,20}", text in "(?s).{0,300}") {
            let passages = [passage(0, &title, &text)];
            for chosen in answer(&question, &passages) {
                prop_assert!(passages[0].parts[0].contains(&chosen.text));
            }
        }
    }
}

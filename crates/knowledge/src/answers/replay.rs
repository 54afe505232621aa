//! A row and the documents of today make the answer that may be shown.

use std::collections::{BTreeSet, HashMap};

use aws::clock;
use serde_json::Value;

use super::row::{AnswerRow, CitationRow, PassageRow};
use super::{CitedPlace, Library, PassageState, ReplayedAnswer, ReplayedCitation, ReplayedPassage};
use crate::digest::sha256_hex;
use crate::grounding::Support;

/// What stands for a withheld sentence.
const WITHHELD: &str = "[…]";

pub(super) fn replayed(row: AnswerRow, library: &Library) -> ReplayedAnswer {
    let passages: HashMap<&str, &PassageRow> = row
        .passages
        .iter()
        .map(|passage| (passage.passage_id.as_str(), passage))
        .collect();
    let citations = row
        .citations
        .iter()
        .map(|citation| replayed_citation(citation, &passages, library))
        .collect();
    let lost: BTreeSet<&str> = row
        .passages
        .iter()
        .filter(|passage| library.find(passage).0 == PassageState::Unavailable)
        .map(|passage| passage.passage_id.as_str())
        .collect();
    let shown = withhold(&row.answer, &row.support, &lost);
    let whole = lost.is_empty();
    ReplayedAnswer {
        citations,
        passages: row
            .passages
            .iter()
            .map(|passage| replayed_passage(passage, library))
            .collect(),
        answer: shown.answer,
        support: shown.support,
        withheld: shown.withheld,
        // A follow-up was put into the words of earlier answers.
        standalone_question: row.standalone_question.filter(|_| whole),
        guard: if whole {
            row.guard
        } else {
            without_places(row.guard)
        },
        answer_id: row.answer_id,
        created_at: clock::rfc3339(row.created_at_ms),
        expires_at: clock::rfc3339(row.expires_at * 1_000),
        question: row.question,
        answered: row.answered,
        model: row.model,
        prompt_version: row.prompt_version,
        manifest_version: row.manifest_version,
        retriever: row.retriever,
        reranking: row.reranking,
        usage: row.usage,
        stop_reason: row.stop_reason,
    }
}

fn replayed_passage(passage: &PassageRow, library: &Library) -> ReplayedPassage {
    let (state, live) = library.find(passage);
    ReplayedPassage {
        state,
        passage: live.map(|_| passage.clone()),
    }
}

fn replayed_citation(
    citation: &CitationRow,
    passages: &HashMap<&str, &PassageRow>,
    library: &Library,
) -> ReplayedCitation {
    let marker = citation.marker.clone();
    let found = passages
        .get(citation.passage_id.as_str())
        .map(|passage| (*passage, library.find(passage)));
    let Some((passage, (state, Some(live)))) = found else {
        return ReplayedCitation {
            marker,
            state: PassageState::Unavailable,
            place: None,
            quote: None,
        };
    };
    let stored = library
        .quote(&passage.document_id, citation.start, citation.end)
        .filter(|text| sha256_hex(text.as_bytes()) == citation.quote_hash);
    let state = match stored {
        None => PassageState::Changed,
        Some(_) => state,
    };
    let masked = citation.masked_quote.is_some();
    let shown = citation.masked_quote.as_deref().or(stored);
    ReplayedCitation {
        marker,
        state,
        quote: shown
            .filter(|_| state == PassageState::Verified)
            .map(str::to_owned),
        place: Some(CitedPlace {
            document_id: passage.document_id.clone(),
            title: live.title.clone(),
            uri: live.uri.clone(),
            passage_id: citation.passage_id.clone(),
            start: citation.start,
            end: citation.end,
            masked,
        }),
    }
}

struct Shown {
    answer: String,
    support: Vec<Support>,
    withheld: usize,
}

/// The answer without the sentences that rest on a lost passage. Once something is lost, a sentence that rests on nothing
/// known goes too: it may have come from there.
fn withhold(answer: &str, support: &[Support], lost: &BTreeSet<&str>) -> Shown {
    if lost.is_empty() {
        return Shown {
            answer: answer.to_owned(),
            support: support.to_vec(),
            withheld: 0,
        };
    }
    let mut shown = Shown {
        answer: String::new(),
        support: Vec::new(),
        withheld: 0,
    };
    if support.is_empty() {
        shown.answer.push_str(WITHHELD);
        shown.withheld = 1;
    }
    for (number, sentence) in support.iter().enumerate() {
        let next = support.get(number + 1);
        // With the markers behind it.
        let until = next.map_or(answer.len(), |next| next.start as usize);
        let range = sentence.start as usize..until;
        let readable = sentence.supported
            && sentence
                .passage_ids
                .iter()
                .all(|id| !lost.contains(id.as_str()));
        let start = shown.answer.len() as u64;
        match answer.get(range).filter(|_| readable) {
            Some(text) => {
                shown.answer.push_str(text);
                shown.support.push(Support {
                    start,
                    end: start + (sentence.end - sentence.start),
                    ..sentence.clone()
                });
            }
            None => {
                shown.answer.push_str(WITHHELD);
                shown.answer.push(' ');
                shown.withheld += 1;
            }
        }
    }
    shown.answer.truncate(shown.answer.trim_end().len());
    shown
}

/// Places count in the answer as it was.
fn without_places(mut guard: Value) -> Value {
    let findings = guard["answer_findings"].as_array_mut();
    for finding in findings.into_iter().flatten() {
        if let Some(fields) = finding.as_object_mut() {
            fields.remove("start");
            fields.remove("end");
        }
    }
    guard
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str =
        "The gate opens at nine. [1] The word is marzipan. [2] Both are true. [1][2] So they say.";

    fn support(text: &str, passages: &[&str]) -> Support {
        let start = ANSWER.find(text).unwrap();
        Support {
            start: start as u64,
            end: (start + text.len()) as u64,
            supported: !passages.is_empty(),
            passage_ids: passages.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn sentences_of_lost_passages_are_withheld() {
        let support = [
            support("The gate opens at nine.", &["gate"]),
            support("The word is marzipan.", &["vault"]),
            support("Both are true.", &["gate", "vault"]),
            support("So they say.", &[]),
        ];
        let check = |lost: &[&str], expected: &str, withheld: usize| {
            let lost = lost.iter().copied().collect();
            let shown = withhold(ANSWER, &support, &lost);
            assert_eq!(
                (shown.answer.as_str(), shown.withheld),
                (expected, withheld)
            );
            for kept in &shown.support {
                let text = &shown.answer[kept.start as usize..kept.end as usize];
                assert!(ANSWER.contains(text), "{text}");
            }
        };
        check(&[], ANSWER, 0);
        check(&["vault"], "The gate opens at nine. [1] […] […] […]", 3);
        check(&["gate"], "[…] The word is marzipan. [2] […] […]", 3);
        check(&["gate", "vault"], "[…] […] […] […]", 4);
        // A passage that the model read and no sentence names.
        let only = ["other"].into();
        assert_eq!(withhold(ANSWER, &support, &only).withheld, 1);
        assert_eq!(withhold("Anything.", &[], &only).answer, "[…]");
    }

    #[test]
    fn places_are_taken_out() {
        let guard = serde_json::json!({"mode": "window", "answer_findings": [{"kind": "EMAIL", "start": 1, "end": 2}]});
        let expected =
            serde_json::json!({"mode": "window", "answer_findings": [{"kind": "EMAIL"}]});
        assert_eq!(without_places(guard), expected);
    }
}

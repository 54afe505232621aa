//! Which parts of an answer stand on which passages.
use serde_json::{Value, json};

use super::markers;

/// A part of an answer and what it stands on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Citation {
    pub(super) text: String,
    /// Where the part begins in the answer (characters).
    pub(super) start: usize,
    pub(super) references: Vec<Value>,
}

impl Citation {
    /// The citation as `attribution` has it, for a chunk that begins at `offset` characters of the answer. The end of
    /// a span is its last character.
    pub(super) fn wire(&self, offset: usize) -> Value {
        let start = self.start.saturating_sub(offset);
        let end = (start + self.text.chars().count()).saturating_sub(1);
        json!({
            "generatedResponsePart": {"textResponsePart": {"text": self.text, "span": {"start": start, "end": end}}},
            "retrievedReferences": self.references,
        })
    }
}

/// An answer with its citations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
}

/// Reads the message of a model: the text of its blocks, and for what it cites the passages that were looked up in
/// this turn. A model that does not cite names passages by their numbers. What a collaborator said and the answer repeats word for word keeps the collaborator's citations.
pub(super) fn answer(content: &[Value], references: &[Value], carried: &[Citation]) -> Answer {
    let mut answer = Answer::default();
    for block in content {
        if let Some(text) = block["text"].as_str() {
            for piece in markers::cut(text, references.len()) {
                let named = piece.passages.iter();
                let named = named.filter_map(|at| references.get(*at).cloned());
                add(&mut answer, &piece.text, named.collect());
            }
            continue;
        }
        let cited = &block["citationsContent"];
        let parts = cited["content"].as_array().into_iter().flatten();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        let found: Vec<Value> = cited["citations"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|citation| {
                citation["location"]["searchResultLocation"]["searchResultIndex"].as_u64()
            })
            .filter_map(|index| references.get(usize::try_from(index).ok()?).cloned())
            .collect();
        add(&mut answer, &text, found);
    }
    let leading = answer.text.len() - answer.text.trim_start().len();
    let cut = answer.text[..leading].chars().count();
    answer.text.drain(..leading);
    for citation in &mut answer.citations {
        citation.start = citation.start.saturating_sub(cut);
    }
    carry(&mut answer, carried);
    answer
}

/// White space around a cited part is no part of the citation.
fn add(answer: &mut Answer, text: &str, references: Vec<Value>) {
    let trimmed = text.trim();
    let leading = text.len() - text.trim_start().len();
    let start = answer.text.chars().count() + text[..leading].chars().count();
    if !references.is_empty() && !trimmed.is_empty() {
        answer.citations.push(Citation {
            text: trimmed.to_owned(),
            start,
            references,
        });
    }
    answer.text.push_str(text);
}

fn carry(answer: &mut Answer, carried: &[Citation]) {
    for citation in carried {
        if let Some(at) = answer.text.find(&citation.text) {
            answer.citations.push(Citation {
                start: answer.text[..at].chars().count(),
                ..citation.clone()
            });
        }
    }
    answer.citations.sort_by_key(|citation| citation.start);
}

/// The answer in pieces, each beginning with a cited part or running up to the next one.
pub(super) fn pieces(answer: &Answer) -> Vec<(String, Vec<Value>)> {
    let characters: Vec<char> = answer.text.chars().collect();
    let mut starts: Vec<usize> = vec![0];
    starts.extend(answer.citations.iter().map(|citation| citation.start));
    starts.push(characters.len());
    starts.dedup();
    let mut pieces = Vec::new();
    for pair in starts.windows(2) {
        let text: String = characters[pair[0]..pair[1]].iter().collect();
        let own = answer
            .citations
            .iter()
            .filter(|citation| citation.start == pair[0]);
        pieces.push((text, own.map(|citation| citation.wire(pair[0])).collect()));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(text: &str, index: usize) -> Value {
        json!({"citationsContent": {"content": [{"text": text}],
            "citations": [{"location": {"searchResultLocation": {"searchResultIndex": index, "start": 0, "end": 1}}}]}})
    }

    #[test]
    fn spans_point_into_the_answer() {
        let references = [json!("zero"), json!("one")];
        let content = [
            json!({"text": "\n\nÄ order. "}),
            cited(" The lamp burns.", 1),
            json!({"text": " Sent."}),
        ];
        let carried = Citation {
            text: "Sent.".into(),
            start: 90,
            references: vec![json!("carried")],
        };
        let answer = answer(&content, &references, &[carried]);
        assert_eq!(answer.text, "Ä order.  The lamp burns. Sent.");
        let spans: Vec<Value> = answer
            .citations
            .iter()
            .map(|citation| citation.wire(0))
            .collect();
        let letters: Vec<char> = answer.text.chars().collect();
        for (span, reference) in spans.iter().zip(["one", "carried"]) {
            let part = &span["generatedResponsePart"]["textResponsePart"];
            let at = |name: &str| part["span"][name].as_u64().expect("a number") as usize;
            let text: String = letters[at("start")..=at("end")].iter().collect();
            assert_eq!(part["text"], text);
            assert_eq!(span["retrievedReferences"], json!([reference]));
        }
        let joined: String = pieces(&answer).into_iter().map(|(text, _)| text).collect();
        assert_eq!(joined, answer.text);
    }
}

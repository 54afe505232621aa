//! `outcrop answers`: an answer read back, with how each citation stands today.

use serde_json::Value;

use crate::arguments::AnswersArguments;
use crate::client::Failure;
use crate::commands::{Session, encoded, text};
use crate::output::{self, DONE, INCOMPLETE};

pub async fn show(arguments: AnswersArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let path = format!("/v1/answers/{}", encoded(&arguments.answer_id));
    let found = session.api.get(&path).await;
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::json(&found);
    } else {
        output::piece(&report(&found));
        for words in [unsupported(&found), not_reranked(&found)]
            .into_iter()
            .flatten()
        {
            output::note(&words);
        }
    }
    Ok(if found["answered"] == true {
        DONE
    } else {
        INCOMPLETE
    })
}

fn report(answer: &Value) -> String {
    let mut lines = format!(
        "{}\n\n{}\n",
        text(answer, "question"),
        text(answer, "answer")
    );
    for citation in answer["citations"].as_array().into_iter().flatten() {
        let (marker, state) = (text(citation, "marker"), text(citation, "state"));
        let title = text(citation, "title");
        let quote = text(citation, "quote")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let words = match state {
            "verified" => format!("{title}: \"{quote}\""),
            "changed" => format!("{title}: the document has another text by now"),
            _ => "a document that you may not read, or that is gone".to_owned(),
        };
        lines.push_str(&format!("\n{marker} {words}\n"));
    }
    lines.push_str(&format!(
        "\nasked {}, kept until {}; model {}, prompt {}, publication {}\n",
        text(answer, "created_at"),
        text(answer, "expires_at"),
        text(answer, "model"),
        answer["prompt_version"],
        answer["manifest_version"],
    ));
    lines
}

/// What to say about sentences that no passage supports; nothing where all are supported.
pub fn unsupported(answer: &Value) -> Option<String> {
    let sentences = answer["support"].as_array().map_or(&[][..], Vec::as_slice);
    let without = sentences
        .iter()
        .filter(|sentence| sentence["supported"] == false)
        .count();
    (answer["answered"] == true && without > 0).then(|| {
        format!(
            "no passage holds the words of {without} of {} sentences",
            sentences.len()
        )
    })
}

/// What to say where a reranker failed.
pub fn not_reranked(found: &Value) -> Option<String> {
    let error = found["reranking"]["error"].as_str()?;
    let model = text(&found["reranking"], "model");
    Some(format!(
        "{model} did not rerank what was found ({error}); it stands as it was found"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_reads_with_the_state_of_its_citations() {
        let answer = json!({
            "question": "When?", "answer": "At nine. [1] At ten. [2] […]", "answered": true,
            "created_at": "2026-11-01T12:00:00.000Z", "expires_at": "2026-12-01T12:00:00.000Z",
            "model": "m", "prompt_version": 2, "manifest_version": 7,
            "citations": [
                {"marker": "[1]", "state": "verified", "title": "Gate", "quote": "At\nnine."},
                {"marker": "[2]", "state": "changed", "title": "Door"},
                {"marker": "[3]", "state": "unavailable"},
            ],
            "support": [{"supported": true}, {"supported": false}],
        });
        insta::assert_snapshot!(report(&answer));
        let words = unsupported(&answer).unwrap();
        assert_eq!(words, "no passage holds the words of 1 of 2 sentences");
        assert_eq!(unsupported(&json!({"answered": true, "support": []})), None);
    }

    #[test]
    fn a_reranker_that_failed_is_told() {
        let failed = json!({"reranking": {"model": "m", "passages": 0, "error": "ModelThrottled"}});
        let words = "m did not rerank what was found (ModelThrottled); it stands as it was found";
        assert_eq!(not_reranked(&failed).as_deref(), Some(words));
        assert_eq!(
            not_reranked(&json!({"reranking": {"model": "m", "passages": 9}})),
            None
        );
        assert_eq!(not_reranked(&json!({})), None);
    }
}

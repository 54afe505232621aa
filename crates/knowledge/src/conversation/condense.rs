//! A follow-up and what was said before make a question that stands alone.

use std::time::Instant;

use aws::Aws;
use aws::bedrock::{AnswerRequest, ModelEvent};

use super::TurnRow;
use crate::models::capabilities;
use crate::search::{QUESTION_CHARACTERS, milliseconds};
use crate::{KnowledgeError, prompt};

/// Tokens of a question.
const QUESTION_TOKENS: u32 = 256;
/// Characters of one earlier answer that are read: what a follow-up refers to stands at its beginning.
const ANSWER_CHARACTERS: usize = 600;

/// A question that stands alone, and what it took.
#[derive(Debug, Default)]
pub(crate) struct Condensed {
    pub question: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub took_ms: f64,
}

/// Asks the model for the question. Where it says nothing that could be one, the follow-up stands as it is.
///
/// # Errors
/// The model's.
pub(crate) async fn condense(
    aws: &Aws,
    model: &str,
    turns: &[TurnRow],
    question: &str,
) -> Result<Condensed, KnowledgeError> {
    let begun = Instant::now();
    let said = turns.iter().map(|turn| {
        let question = turn.standalone_question.as_ref().unwrap_or(&turn.question);
        let answer: String = turn.answer.chars().take(ANSWER_CHARACTERS).collect();
        (question.as_str(), answer)
    });
    let request = AnswerRequest {
        model: model.to_owned(),
        system: prompt::CONDENSING.to_owned(),
        search_results: Vec::new(),
        message: prompt::follow_up_message(said, question),
        max_tokens: QUESTION_TOKENS,
        temperature: capabilities(model).temperature.then_some(0.0),
    };
    let mut condensed = Condensed::default();
    let mut stream = aws.bedrock.answer(&request).await?;
    while let Some(event) = stream.next().await? {
        match event {
            ModelEvent::Text(text) => condensed.question.push_str(&text),
            ModelEvent::Usage {
                input_tokens,
                output_tokens,
            } => {
                condensed.input_tokens = input_tokens;
                condensed.output_tokens = output_tokens;
            }
            _ => {}
        }
    }
    condensed.question = usable(&condensed.question, question);
    condensed.took_ms = milliseconds(begun);
    Ok(condensed)
}

/// One line without quotes around it; the follow-up where there is none, or one that is too long for a question.
fn usable(said: &str, question: &str) -> String {
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let bare = line.trim_matches(['"', '“', '”', '«', '»']).trim();
    match bare.is_empty() || bare.chars().count() > QUESTION_CHARACTERS {
        true => question.to_owned(),
        false => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_says_becomes_a_question() {
        let check = |said: &str, expected: &str| {
            assert_eq!(usable(said, "And there?"), expected, "{said:?}");
        };
        check("Who keeps the lighthouse?", "Who keeps the lighthouse?");
        check("\n  \"Who keeps it?\"\nBecause …", "Who keeps it?");
        check("", "And there?");
        check(" \n ", "And there?");
        check("\"\"", "And there?");
        check(&"long ".repeat(2_000), "And there?");
    }
}

//! A follow-up and what was said before make a question that stands alone.

use std::time::Instant;

use aws::Aws;
use aws::bedrock::{AnswerRequest, ModelEvent};

use super::TurnRow;
use crate::ledger::{Account, ModelCall, Task};
use crate::models;
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
    account: &Account<'_>,
) -> Result<Condensed, KnowledgeError> {
    let begun = Instant::now();
    let request = request(aws, model, turns, question);
    let mut condensed = Condensed::default();
    let mut stream = aws.bedrock.answer(&request).await?;
    let mut call = ModelCall::begun(account, Task::Condense, &request);
    while let Some(event) = stream.next().await? {
        call.hear(&event);
        if let ModelEvent::Text(text) = event {
            condensed.question.push_str(&text);
        }
    }
    condensed.question = usable(&condensed.question, question);
    condensed.took_ms = milliseconds(begun);
    Ok(condensed)
}

/// The model that condenses: the settings', or else the one that answers.
pub(crate) fn condensing_model<'a>(aws: &'a Aws, answering: &'a str) -> &'a str {
    let own = aws.settings.condense_model.as_deref();
    own.unwrap_or(answering)
}

/// What the model is asked.
pub(crate) fn request(aws: &Aws, model: &str, turns: &[TurnRow], question: &str) -> AnswerRequest {
    let strategy = models::strategy(&aws.settings, model);
    let said = turns.iter().map(|turn| {
        let question = turn.standalone_question.as_ref().unwrap_or(&turn.question);
        let answer: String = turn.answer.chars().take(ANSWER_CHARACTERS).collect();
        (question.as_str(), answer)
    });
    AnswerRequest {
        model: model.to_owned(),
        system: prompt::CONDENSING.to_owned(),
        search_results: Vec::new(),
        context: String::new(),
        message: prompt::follow_up_message(said, question),
        max_tokens: QUESTION_TOKENS,
        temperature: strategy.temperature,
        // No two follow-ups begin alike for long enough.
        cache: None,
        tier: strategy.tier,
    }
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

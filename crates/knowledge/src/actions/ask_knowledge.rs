//! An answer with citations, written by the service's own model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shorten::{Shorten, add_note, shorten_list, shorten_text};
use super::{Action, ActionError, Context, Group, Tier};
use crate::KnowledgeError;
use crate::ask::{self, AskRequest};

pub(super) struct AskKnowledge;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A whole question that can be understood without the conversation.
    question: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// The answer with markers [1], [2] where the citations belong.
    answer: String,
    /// False when the documents hold no answer. Say so then; do not guess.
    answered: bool,
    /// What the markers stand for. Keep the markers and show the links.
    citations: Vec<Citation>,
    /// What to know about this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Citation {
    marker: String,
    title: String,
    /// The words of the document. What the guardrail masks in them is a placeholder such as {EMAIL}; all else is to the
    /// letter.
    quote: String,
    document_id: String,
    /// Where the quote begins in the document's text, in bytes.
    start: u64,
    /// Where it ends.
    end: u64,
    uri: String,
}

impl Action for AskKnowledge {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "ask_knowledge";
    const TITLE: &'static str = "Ask the documents";
    const DESCRIPTION: &'static str = "Answers a question from the documents that the user may read, with citations. Use \
        it when the user wants an answer rather than a list of passages.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Knowledge;
    const COUNTS_ITSELF: bool = true;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let request = AskRequest {
            question: input.question,
            space: Some(context.space.to_owned()),
            ..AskRequest::default()
        };
        let answered = ask::ask(
            context.aws,
            context.snapshots,
            context.caller,
            &request,
            None,
        );
        let answer = answered.await?.ok_or(KnowledgeError::Interrupted)?;
        let citations = answer.citations.into_iter().map(|citation| Citation {
            marker: citation.marker,
            title: citation.title,
            quote: citation.quote,
            document_id: citation.document_id,
            start: citation.start,
            end: citation.end,
            uri: citation.uri,
        });
        Ok(Output {
            answer: answer.answer,
            answered: answer.answered,
            citations: citations.collect(),
            note: answer.reranking.and_then(|reranking| reranking.note()),
        })
    }
}

impl Shorten for Output {
    fn shorten(&mut self, keep: f64) -> bool {
        let words = "Something was left out of this reply, which was too long.";
        add_note(&mut self.note, words);
        shorten_list(&mut self.citations, keep) || shorten_text(&mut self.answer, keep)
    }
}

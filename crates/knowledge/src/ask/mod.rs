//! A question's way through: find passages, ask the model, turn its citations into checkable ones, tell what it cost.
//!
//! Files: `events` the answer and what is told while it is made · `question` the guard on the way in · `draft` from what
//! is known before the model writes to the answer, and what is kept of it · `writer` the model's stream on its way out.

mod draft;
mod events;
mod question;
mod writer;

use std::time::Instant;

use aws::config::GuardMode;
use aws::{Aws, chance, clock};
use retrieval::Mask;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::answers;
use crate::cite::Source;
use crate::guard::call::Guard;
use crate::guard::gate::Gate;
use crate::guard::verdict::Verdict;
use crate::models;
use crate::retriever::Tidying;
use crate::roles::Role;
use crate::search::{self, SearchMode, Wanted};
use crate::snapshot::Snapshots;
use crate::spaces;
use draft::Draft;
pub use events::{Answer, AnswerSource, AskEvent, Timings, Usage};
use events::{HungUp, Listener};
use question::{GuardedQuestion, guarded};
use writer::{Asked, Written, write};

/// Passages that the model reads, unless the request says less.
const SOURCES: usize = 8;
/// The most passages a request may ask for.
const SOURCES_LIMIT: usize = 30;

const NOTHING_PUBLISHED: &str =
    "I could not find an answer: this space holds no documents that you may read.";

/// The stop reason of an answer that the guard ended, in Bedrock's words.
const INTERVENED: &str = "guardrail_intervened";

/// A question.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    #[serde(default)]
    pub question: String,
    #[serde(default)]
    pub space: Option<String>,
    #[serde(default)]
    pub filter: Option<Value>,
    /// Passages to read.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Another model than the settings', if they allow it.
    #[serde(default)]
    pub model: Option<String>,
}

/// Answers a question. With `events`, each step is told as it happens, the last being [`AskEvent::Done`]; `None` comes
/// back when the listener hung up, and the model's stream is dropped then.
///
/// # Errors
/// The request's problems, the model's, the services'.
pub async fn ask(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    request: &AskRequest,
    events: Option<mpsc::Sender<AskEvent>>,
) -> Result<Option<Answer>, KnowledgeError> {
    let begun = Instant::now();
    search::check_question(&request.question)?;
    let model = models::allowed(&aws.settings, request.model.as_deref())?;
    let filter = search::parse_filter(request.filter.as_ref())?;
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let entered = spaces::enter(aws, space, caller, Role::Reader).await?;
    let strict = entered.strict;
    let guard = Guard::of(aws, space);
    let mode = match strict {
        // What is not supported must not be shown first and taken back afterwards.
        true => GuardMode::Sync,
        false => guard.answer_mode(),
    };
    let question = guarded(&guard, &request.question).await?;
    let answer_id = format!("{space}.{}", chance::ulid(clock::now_ms()));
    let report = question.report(mode.as_str());
    let mut draft = Draft::new(answer_id, model, begun, strict, report);
    draft.question_ms = question.waited_ms;
    let listener = Listener(events);
    if question.verdict == Verdict::Block {
        let written = refused(&draft, &question, &listener).await.ok();
        return end(aws, caller, draft, written, &listener).await;
    }
    draft.question.clone_from(&question.text);
    let wanted = Wanted {
        text: &question.text,
        mode: SearchMode::Hybrid,
        limit: request.limit.unwrap_or(SOURCES).clamp(1, SOURCES_LIMIT),
        filter: filter.as_ref(),
        skip: 0,
        tidying: Tidying::default(),
    };
    let found = search::find(aws, snapshots, caller, &entered, &wanted).await?;
    draft.found(&found);
    let told = async {
        listener.tell(draft.sources_event()).await?;
        question.tell(&listener).await
    };
    if told.await.is_err() {
        return Ok(None);
    }
    let written = match found.stored {
        Some(stored) if !found.hits.is_empty() => {
            let sources = found.hits.into_iter().map(Source::new).collect();
            let mask = Mask::Principals(caller.principals.clone());
            let asked = Asked {
                question: question.text.as_str(),
                model: &draft.model,
                sources,
                strict,
            };
            let gate = Gate::new(guard, mode);
            write(aws, asked, &stored, &mask, gate, &listener).await?
        }
        _ => nothing_published(&listener).await.ok(),
    };
    end(aws, caller, draft, written, &listener).await
}

/// Makes the answer, keeps what it stood on and tells it; nothing when the listener hung up.
async fn end(
    aws: &Aws,
    caller: &Caller,
    draft: Draft,
    written: Option<Written>,
    listener: &Listener,
) -> Result<Option<Answer>, KnowledgeError> {
    let Some(written) = written else {
        tracing::info!(answer_id = draft.answer_id, "the client hung up");
        return Ok(None);
    };
    let (mut answer, row) = draft.finish(written, caller);
    answer.replayable = match answers::keep(aws, row).await {
        Ok(kept) => kept,
        Err(error) => {
            // The answer is made and perhaps heard; it says that it cannot be read back.
            tracing::error!(answer_id = answer.answer_id, %error, "an answer was not kept");
            false
        }
    };
    let told = async {
        listener.tell(AskEvent::Usage(answer.usage.clone())).await?;
        listener
            .tell(AskEvent::Done(Box::new(answer.clone())))
            .await
    };
    Ok(told.await.ok().map(|()| answer))
}

/// The answer to a blocked question: no model, no passage.
async fn refused(
    draft: &Draft,
    question: &GuardedQuestion,
    listener: &Listener,
) -> Result<Written, HungUp> {
    listener.tell(draft.sources_event()).await?;
    question.tell(listener).await?;
    listener.delta(&question.text).await?;
    Ok(Written {
        text: question.text.clone(),
        stop_reason: INTERVENED.into(),
        ..Written::default()
    })
}

async fn nothing_published(listener: &Listener) -> Result<Written, HungUp> {
    listener.delta(NOTHING_PUBLISHED).await?;
    Ok(Written {
        text: NOTHING_PUBLISHED.to_owned(),
        stop_reason: "end_turn".into(),
        ..Written::default()
    })
}

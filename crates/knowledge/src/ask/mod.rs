//! A question's way through: find passages, ask the model, turn its citations into checkable ones, tell what it cost.
//!
//! Files: `events` the answer and what is told while it is made · `question` the guard on the way in · `draft` from what
//! is known before the model writes to the answer, and what is kept of it · `writer` the model's stream on its way out.
//! `figures` what CloudWatch is told of it.

mod draft;
mod events;
mod figures;
mod question;
mod writer;

use std::time::Instant;

use aws::config::GuardMode;
use aws::{Aws, chance, clock};
use retrieval::{Filter, Mask};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::answers;
use crate::cite::Source;
use crate::conversation::{self, Conversation};
use crate::guard::call::Guard;
use crate::guard::gate::Gate;
use crate::guard::verdict::Verdict;
use crate::ledger::{Account, Standings, bound};
use crate::limits;
use crate::models;
use crate::retriever::Tidying;
use crate::search::{self, SearchMode, Wanted};
use crate::snapshot::Snapshots;
use crate::spaces::{self, Entered};
use draft::Draft;
pub use events::{Answer, AnswerSource, AskEvent, Timings, Usage};
use events::{HungUp, Listener};
use question::{GuardedQuestion, guarded};
use writer::{Asked, Writing, Written, write};

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
    /// The conversation that this question goes on, or `new`.
    #[serde(default)]
    pub conversation_id: Option<String>,
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
    let filter = search::parse_filter(request.filter.as_ref())?;
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let entered = spaces::enter_to_search(aws, space, caller).await?;
    let model = models::chosen(
        &aws.settings,
        request.model.as_deref(),
        entered.model.as_deref(),
    )?;
    limits::count(aws, &entered, caller).await?;
    let conversation = match request.conversation_id.as_deref() {
        Some(id) => Some(conversation::open(aws, space, caller, id).await?),
        None => None,
    };
    let answer_id = format!("{space}.{}", chance::ulid(clock::now_ms()));
    let account = Account::of(aws, &entered, &answer_id);
    let call = Call {
        aws,
        snapshots,
        caller,
        entered: &entered,
        request,
        filter,
        conversation,
        listener: Listener(events),
        account: &account,
        begun,
    };
    let answered = answer(&call, answer_id.clone(), model).await;
    // Of a whole answer all was counted before it was told; of one that broke off the rest is now.
    account.close().await;
    answered
}

/// Guards the question, finds passages, has the model write and keeps the answer.
async fn answer(
    call: &Call<'_>,
    answer_id: String,
    model: String,
) -> Result<Option<Answer>, KnowledgeError> {
    let (aws, entered, listener) = (call.aws, call.entered, &call.listener);
    let strict = entered.strict;
    let guard = Guard::of(aws, &entered.space, call.account);
    let mode = match strict {
        // What is not supported must not be shown first and taken back afterwards.
        true => GuardMode::Sync,
        false => guard.answer_mode(),
    };
    let mut draft = Draft::new(answer_id, model, call.begun, strict, mode.as_str());
    let limit = call
        .request
        .limit
        .unwrap_or(SOURCES)
        .clamp(1, SOURCES_LIMIT);
    let held = hold_question(call, &guard, &draft.model).await?;
    // The guard's look at the question takes as long as a good part of a first load.
    call.snapshots.prefetch(aws, entered);
    let stepped_down = held.step_down(aws, &draft.model, limit);
    let limit = stepped_down.as_ref().map_or(limit, |down| down.passages);
    // What is saved on the model is not spent on the order of what it reads.
    let rerank = stepped_down.is_none();
    draft.step_down(stepped_down);
    let question = understand(call, &guard, &mut draft, &call.request.question).await?;
    if question.verdict == Verdict::Block {
        let written = refused(&draft, &question, listener).await.ok();
        return end(call, draft, written).await;
    }
    let wanted = Wanted {
        text: draft.asked(),
        mode: SearchMode::Hybrid,
        limit,
        filter: call.filter.as_ref(),
        skip: 0,
        tidying: Tidying::default(),
        rerank,
    };
    let (snapshots, caller, account) = (call.snapshots, call.caller, call.account);
    let found = search::find(aws, snapshots, caller, entered, &wanted, account).await?;
    draft.found(&found);
    let ready = match found.stored {
        Some(stored) if !found.hits.is_empty() => {
            let asked = Asked {
                question: draft.asked(),
                model: &draft.model,
                sources: found.hits.into_iter().map(Source::new).collect(),
                strict,
            };
            let gate = Gate::new(guard, mode);
            // Before anything is told: what has no room in the budget is a reply of its own.
            let request = writer::ready(aws, &asked, &gate, account).await?;
            Some((asked, request, gate, stored))
        }
        _ => None,
    };
    let told = async {
        listener.tell(draft.sources_event()).await?;
        question.tell(listener).await
    };
    if told.await.is_err() {
        return Ok(None);
    }
    let written = match ready {
        Some((asked, request, gate, stored)) => {
            let mask = Mask::Principals(caller.principals.clone());
            let writing = Writing {
                asked: &asked,
                request: &request,
                stored: &stored,
                mask: &mask,
            };
            write(aws, &writing, gate, listener, account).await?
        }
        None => nothing_published(listener).await.ok(),
    };
    end(call, draft, written).await
}

/// What stays the same through one question.
struct Call<'a> {
    aws: &'a Aws,
    snapshots: &'a Snapshots,
    caller: &'a Caller,
    entered: &'a Entered,
    request: &'a AskRequest,
    filter: Option<Filter>,
    conversation: Option<Conversation>,
    listener: Listener,
    account: &'a Account<'a>,
    begun: Instant,
}

/// Holds what is asked before the passages are known: the guard's looks at the question, its embedding, the reranker, and the words
/// in which a follow-up stands alone.
async fn hold_question(
    call: &Call<'_>,
    guard: &Guard<'_>,
    model: &str,
) -> Result<Standings, KnowledgeError> {
    let (aws, question) = (call.aws, &call.request.question);
    let turns = call.conversation.as_ref().map_or(&[][..], |one| &one.turns);
    let mut unpriced = &aws.settings.embed_model;
    // What stands for a follow-up is searched for, and may be as long as a question.
    let searched = question.len().max(search::QUESTION_CHARACTERS);
    let mut cost = search::cost(aws, call.entered, SearchMode::Hybrid, searched);
    if guard.is_on() && guard.rules.question.guarded {
        cost = cost.map(|cost| cost + bound::guard(question));
    }
    if !turns.is_empty() {
        let model = conversation::condensing_model(aws, model);
        let request = conversation::request(aws, model, turns, question);
        let condensing = bound::text(&request);
        if condensing.is_none() {
            unpriced = &request.model;
            return call.account.hold(None, unpriced).await;
        }
        // The guard looks at what the model made of it, too.
        let looked_at = bound::guard(question) * 4;
        cost = cost
            .zip(condensing)
            .map(|(one, other)| one + other + looked_at);
    }
    call.account.hold(cost, unpriced).await
}

/// Guards the question and, of a follow-up, puts it into words that stand alone and guards those too: a model wrote them.
/// Answers the one that was blocked, or else the last.
async fn understand(
    call: &Call<'_>,
    guard: &Guard<'_>,
    draft: &mut Draft,
    text: &str,
) -> Result<GuardedQuestion, KnowledgeError> {
    let mut question = guarded(guard, text).await?;
    draft.guarded(&question);
    let conversation = call.conversation.as_ref();
    draft.conversation_id = conversation.map(|conversation| conversation.conversation_id.clone());
    if question.verdict == Verdict::Block {
        return Ok(question);
    }
    draft.question.clone_from(&question.text);
    let turns = conversation.map_or(&[][..], |conversation| &conversation.turns);
    if turns.is_empty() {
        return Ok(question);
    }
    let model = conversation::condensing_model(call.aws, &draft.model);
    let condensed =
        conversation::condense(call.aws, model, turns, &question.text, call.account).await?;
    if condensed.question != question.text {
        let said = guarded(guard, &condensed.question).await?;
        draft.guarded(&said);
        draft.standalone_question = (said.verdict != Verdict::Block).then(|| said.text.clone());
        // What was masked in the follow-up is told with what was masked in its new words.
        let mut findings = std::mem::take(&mut question.findings);
        findings.extend(said.findings);
        question = GuardedQuestion {
            verdict: question.verdict.max(said.verdict),
            findings,
            ..said
        };
    }
    draft.condensed(condensed);
    Ok(question)
}

/// Makes the answer, keeps what it stood on and tells it; nothing when the listener hung up.
async fn end(
    call: &Call<'_>,
    draft: Draft,
    written: Option<Written>,
) -> Result<Option<Answer>, KnowledgeError> {
    let Some(written) = written else {
        tracing::info!(answer_id = draft.answer_id, "the client hung up");
        return Ok(None);
    };
    let (mut answer, row) = draft.finish(written, call.caller, call.account.so_far());
    call.account.close().await;
    let unkept = |what: &str, error: &dyn std::fmt::Display| {
        tracing::error!(answer_id = answer.answer_id, %error, what, "was not kept");
    };
    // The answer is made and perhaps heard; it says that it cannot be read back.
    let kept = answers::keep(call.aws, row).await;
    let kept = kept.inspect_err(|error| unkept("the answer", error));
    let blocked = Verdict::Block == answer.guard.question.max(answer.guard.answer);
    if let Some(conversation) = call.conversation.as_ref().filter(|_| !blocked) {
        let added = conversation.add(call.aws, draft.turn(&answer)).await;
        added.inspect_err(|error| unkept("the turn", error)).ok();
    }
    answer.replayable = kept.unwrap_or(false);
    figures::report(&answer);
    let listener = &call.listener;
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

//! One turn of an agent: the model speaks, what it calls is called, until it answers or control returns to the caller.
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::super::Bedrock;
use super::super::agents::{Collaboration, Definition, InvocationState, TEST_ALIAS};
use super::super::wire::{ErrorName, WireError};
use super::attribution::{self, Answer, Citation};
use super::calls;
use super::control::{self, Held};
use super::request::{Attributes, ControlResult, KnowledgeConfiguration};
use super::session::Session;
use super::speech;
use super::supervise;
use super::toolbox::Toolbox;
use super::trace::Tracer;

/// An agent as an alias calls it.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) definition: Definition,
}

impl Agent {
    pub(super) fn find(bedrock: &Bedrock, id: &str, alias_id: &str) -> Result<Self, WireError> {
        let record = bedrock.agents.get(id)?;
        let agent = |version: &str, definition: &Definition| Self {
            id: id.to_owned(),
            version: version.to_owned(),
            definition: definition.clone(),
        };
        if alias_id == TEST_ALIAS {
            return match &record.prepared {
                Some(prepared) => Ok(agent("DRAFT", &prepared.definition)),
                None => Err(WireError::validation(format!(
                    "Agent {id} is in the state NOT_PREPARED. Prepare it first."
                ))),
            };
        }
        let not_found = || {
            let words = format!("Alias {alias_id} of agent {id} was not found.");
            WireError::new(ErrorName::ResourceNotFound, words)
        };
        let alias = record
            .aliases
            .iter()
            .find(|alias| alias.id == alias_id)
            .ok_or_else(not_found)?;
        if alias.state == InvocationState::RejectInvocations {
            return Err(WireError::validation(format!(
                "Alias {alias_id} takes no calls: its aliasInvocationState is REJECT_INVOCATIONS."
            )));
        }
        let version = alias
            .version
            .parse()
            .ok()
            .and_then(|number: u32| record.versions.get(&number));
        let version = version.ok_or_else(not_found)?;
        Ok(agent(&alias.version, &version.definition))
    }
}

/// What a turn works with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) bedrock: Bedrock,
    pub(super) agent: Agent,
    pub(super) tracer: Tracer,
    /// The key of the agent's session.
    pub(super) key: String,
    pub(super) performance: Option<Value>,
}

/// What all agents of one invocation share; functions may change it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) session_attributes: Attributes,
    pub(super) prompt_attributes: Attributes,
    pub(super) knowledge: Vec<KnowledgeConfiguration>,
}

pub(super) enum Input {
    Text(String),
    Results(Vec<ControlResult>),
}

pub(super) enum Outcome {
    Answer(Answer),
    /// `invocationInputs` for the caller.
    Control {
        invocation_id: String,
        inputs: Vec<Value>,
    },
}

/// The state of a turn.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) question: String,
    pub(super) messages: Vec<Value>,
    /// What was looked up, in the order of the search results in `messages`.
    pub(super) references: Vec<Value>,
    /// What collaborators cited.
    pub(super) carried: Vec<Citation>,
    pub(super) steps: usize,
}

impl Run {
    fn begin(session: &Session, question: String) -> Self {
        let mut messages = session.history.clone();
        messages.push(json!({"role": "user", "content": [{"text": question}]}));
        Self {
            question,
            messages,
            ..Self::default()
        }
    }
}

/// Takes an agent's turn.
pub(super) fn take<'a>(
    context: &'a Context,
    session: &'a mut Session,
    shared: &'a mut Shared,
    input: Input,
) -> BoxFuture<'a, Result<Outcome, WireError>> {
    async move {
        let toolbox = Toolbox::of(&context.agent.definition)?;
        let mut run = match input {
            Input::Text(question) => {
                session.pending = None;
                let run = Run::begin(session, question);
                if context.agent.definition.collaboration == Collaboration::SupervisorRouter
                    && let Some(outcome) =
                        supervise::route(context, session, shared, &toolbox, &run).await?
                {
                    return Ok(outcome);
                }
                run
            }
            Input::Results(results) => {
                match control::resume(context, session, shared, results).await? {
                    Ok(run) => run,
                    Err(waiting) => return Ok(waiting),
                }
            }
        };
        loop {
            let message = speech::speak(context, shared, &toolbox, &mut run).await?;
            let called = calls::of(&message);
            if called.is_empty() {
                return finish(context, session, run, &message).await;
            }
            speech::tell_rationale(context, &run, &message).await;
            run.messages
                .push(json!({"role": "assistant", "content": message}));
            let mut held = Vec::new();
            let mut inputs = Vec::new();
            for call in &called {
                held.push(
                    calls::dispatch(
                        context,
                        session,
                        shared,
                        &toolbox,
                        &mut run,
                        call,
                        &mut inputs,
                    )
                    .await?,
                );
            }
            if !inputs.is_empty() {
                return control::hold(session, run, held, inputs);
            }
            answer_calls(&mut run, held);
        }
    }
    .boxed()
}

pub(super) fn answer_calls(run: &mut Run, held: Vec<Held>) {
    let done = held.into_iter().filter_map(|held| match held {
        Held::Done(result) => Some(result),
        _ => None,
    });
    run.messages
        .push(json!({"role": "user", "content": done.collect::<Vec<_>>()}));
}

async fn finish(
    context: &Context,
    session: &mut Session,
    run: Run,
    message: &[Value],
) -> Result<Outcome, WireError> {
    let answer = attribution::answer(message, &run.references, &run.carried);
    let what = json!({ "text": answer.text });
    context
        .tracer
        .observes(
            &context.tracer.id(run.steps),
            "FINISH",
            "finalResponse",
            what,
        )
        .await;
    remember(session, &run.question, &answer.text);
    Ok(Outcome::Answer(answer))
}

/// Keeps a question and its answer for the turns that follow.
pub(super) fn remember(session: &mut Session, question: &str, answer: &str) {
    if answer.trim().is_empty() {
        return;
    }
    session
        .history
        .push(json!({"role": "user", "content": [{"text": question}]}));
    session
        .history
        .push(json!({"role": "assistant", "content": [{"text": answer}]}));
}

//! Walking through the states: enter, do, retry or catch, leave, go on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Services;
use super::clock::{Clock, parse_rfc3339, rfc3339};
use super::definition::{Catcher, Choice, Kind, Leave, Machine, State, Wait, text};
use super::expression::{Surroundings, Variables};
use super::fault::{Fault, NO_CHOICE, QUERY, RUNTIME, within_limit};
use super::history::{self, Trail};
use super::retry::Attempts;
use super::store::Checkpoint;
use super::{map, parallel, task};

/// What all states of one execution share.
pub(super) struct Run {
    pub clock: Arc<Clock>,
    pub services: Services,
    pub trail: Trail,
    pub execution: Identity,
}

/// The part of `$states.context` that stays the same throughout an execution.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub arn: String,
    pub name: String,
    pub machine_arn: String,
    pub machine_name: String,
    pub input: Arc<Value>,
    pub started_ms: u64,
}

/// Where one chain of states stands. A Map gives each of its children one.
pub(super) struct Frame {
    pub state: String,
    pub input: Value,
    pub variables: Variables,
    /// Index and value of the item that an inline Map is at.
    pub item: Option<(usize, Value)>,
    /// Number of the last event on this chain.
    pub cursor: u64,
    /// Whether the states of this chain are checkpoints: only the outermost ones.
    pub checkpoints: Checkpoints,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoints {
    Never,
    EachState,
    /// After a resume the first state has its checkpoint already.
    AfterThisState,
}

/// One visit of a state.
pub(super) struct Visit<'a> {
    pub run: &'a Arc<Run>,
    pub state: &'a State,
    pub frame: &'a Frame,
    entered_ms: u64,
    retries: u32,
}

/// How a state is left.
struct Left {
    next: Option<String>,
    output: Value,
    assigned: Variables,
}

/// Runs states from the frame's until one of them ends the chain; the output and the number of
/// the last event.
pub(super) fn states(
    run: Arc<Run>,
    machine: Arc<Machine>,
    mut frame: Frame,
) -> BoxFuture<'static, Result<(Value, u64), Fault>> {
    async move {
        loop {
            // States that wait for nothing would keep the thread to themselves.
            tokio::task::consume_budget().await;
            let Some(state) = machine.states.get(&frame.state) else {
                let cause = format!("The state machine has no state '{}'.", frame.state);
                return Err(Fault::fatal(RUNTIME, cause));
            };
            let left = visit(&run, state, &mut frame).await?;
            frame.variables.extend(left.assigned);
            frame.input = left.output;
            match left.next {
                Some(next) => frame.state = next,
                None => return Ok((frame.input, frame.cursor)),
            }
        }
    }
    .boxed()
}

async fn visit(run: &Arc<Run>, state: &State, frame: &mut Frame) -> Result<Left, Fault> {
    checkpoint(run, frame)?;
    let entered = history::entered(state, &frame.input);
    run.trail.leave(&mut frame.cursor, entered)?;
    let left = until_left(run, state, frame).await?;
    let exited = history::exited(state, &left.output, &left.assigned);
    run.trail.leave(&mut frame.cursor, exited)?;
    Ok(left)
}

/// Attempts a state until it is left: by success, by a Catch or, when neither Retry nor Catch
/// names the failure, not at all.
async fn until_left(run: &Arc<Run>, state: &State, frame: &mut Frame) -> Result<Left, Fault> {
    let entered_ms = run.clock.now_ms();
    let mut attempts = Attempts::new(&state.retry);
    loop {
        let mut cursor = frame.cursor;
        let visit = Visit {
            run,
            state,
            frame,
            entered_ms,
            retries: attempts.count(),
        };
        let outcome = visit.attempt(&mut cursor).await;
        let Err(fault) = outcome else {
            frame.cursor = cursor;
            return outcome;
        };
        if fault.error == QUERY {
            let failed = history::evaluation_failed(state, &fault);
            run.trail.leave(&mut cursor, failed)?;
        }
        let Some(delay) = attempts.next_delay(&fault, run.clock.fraction()) else {
            let caught = visit.caught(&fault);
            frame.cursor = cursor;
            return caught.unwrap_or(Err(fault));
        };
        frame.cursor = cursor;
        run.clock.sleep(delay).await;
    }
}

fn checkpoint(run: &Run, frame: &mut Frame) -> Result<(), Fault> {
    match frame.checkpoints {
        Checkpoints::Never => Ok(()),
        Checkpoints::AfterThisState => {
            frame.checkpoints = Checkpoints::EachState;
            Ok(())
        }
        Checkpoints::EachState => run.trail.checkpoint(Checkpoint {
            state: frame.state.clone(),
            input: frame.input.clone(),
            variables: frame.variables.clone(),
            last_event: frame.cursor,
        }),
    }
}

impl Visit<'_> {
    async fn attempt(&self, cursor: &mut u64) -> Result<Left, Fault> {
        let state = self.state;
        let next = state.next.clone();
        let result = match &state.kind {
            Kind::Pass | Kind::Succeed => None,
            Kind::Choice(choice) => return self.choose(choice),
            Kind::Fail { error, cause } => {
                let words = |field, template: &Option<super::expression::Template>| {
                    let value = template.as_ref().map(|template| self.evaluate(template));
                    let value = value.transpose()?.unwrap_or_else(|| json!(""));
                    text(field, value)
                };
                return Err(Fault::new(words("Error", error)?, words("Cause", cause)?));
            }
            Kind::Wait(wait) => {
                self.run.clock.sleep(self.pause(wait)?).await;
                None
            }
            Kind::Task(task) => Some(task::run(self, task, cursor).await?),
            Kind::Map(map) => Some(map::run(self, map, cursor).await?),
            Kind::Parallel {
                arguments,
                branches,
            } => Some(parallel::run(self, arguments.as_ref(), branches, cursor).await?),
        };
        let otherwise = result.as_ref().unwrap_or(&self.frame.input);
        self.leave(&state.leave, result.as_ref(), None, otherwise, next)
    }

    /// The first rule whose condition holds, or the default.
    fn choose(&self, choice: &Choice) -> Result<Left, Fault> {
        let input = &self.frame.input;
        for rule in &choice.rules {
            match self.evaluate(&rule.condition)? {
                Value::Bool(false) => {}
                Value::Bool(true) => {
                    return self.leave(&rule.leave, None, None, input, Some(rule.next.clone()));
                }
                other => {
                    let cause = format!(
                        "The field 'Condition' must evaluate to true or false, but was {other}."
                    );
                    return Err(Fault::query(cause));
                }
            }
        }
        match &choice.default {
            Some(next) => self.leave(&self.state.leave, None, None, input, Some(next.clone())),
            None => Err(Fault::new(
                NO_CHOICE,
                format!(
                    "No rule of the Choice state '{}' holds and it has no Default.",
                    self.state.name
                ),
            )),
        }
    }

    fn pause(&self, wait: &Wait) -> Result<Duration, Fault> {
        match wait {
            Wait::Seconds(count) => {
                let seconds = count.evaluate(&self.surroundings(None, None, &|| self.context()))?;
                Ok(Duration::from_secs(seconds))
            }
            Wait::Timestamp(template) => {
                let stamp = text("Timestamp", self.evaluate(template)?)?;
                let until = parse_rfc3339(&stamp).ok_or_else(|| {
                    Fault::query(format!(
                        "The value of the field 'Timestamp' must be an RFC 3339 time, but was '{stamp}'."
                    ))
                })?;
                let wait = until.saturating_sub(self.run.clock.now_ms());
                Ok(Duration::from_millis(wait))
            }
        }
    }

    /// What the first matching `Catch` makes of a failure.
    fn caught(&self, fault: &Fault) -> Option<Result<Left, Fault>> {
        let catches = |catcher: &&Catcher| fault.is_named_by(&catcher.errors);
        let catcher = self.state.catch.iter().find(catches)?;
        let output = fault.output();
        let next = Some(catcher.next.clone());
        Some(self.leave(&catcher.leave, None, Some(&output), &output, next))
    }

    /// `Assign` and `Output`, both seeing the variables as they were on entry.
    fn leave(
        &self,
        leave: &Leave,
        result: Option<&Value>,
        error_output: Option<&Value>,
        otherwise: &Value,
        next: Option<String>,
    ) -> Result<Left, Fault> {
        let context = || self.context();
        let around = self.surroundings(result, error_output, &context);
        let assigned = match &leave.assign {
            Some(assign) => match assign.evaluate(&around)? {
                Value::Object(fields) => fields.into_iter().collect(),
                _ => Variables::new(),
            },
            None => Variables::new(),
        };
        for value in assigned.values() {
            within_limit(&self.state.name, value)?;
        }
        let output = match &leave.output {
            Some(output) => output.evaluate(&around)?,
            None => otherwise.clone(),
        };
        within_limit(&self.state.name, &output)?;
        Ok(Left {
            next,
            output,
            assigned,
        })
    }

    /// Evaluates a field that is computed on entry.
    pub fn evaluate(&self, template: &super::expression::Template) -> Result<Value, Fault> {
        template.evaluate(&self.surroundings(None, None, &|| self.context()))
    }

    /// Evaluates a number that is computed on entry.
    pub fn count(&self, count: &super::definition::Count) -> Result<u64, Fault> {
        count.evaluate(&self.surroundings(None, None, &|| self.context()))
    }

    pub fn surroundings<'s>(
        &'s self,
        result: Option<&'s Value>,
        error_output: Option<&'s Value>,
        context: &'s dyn Fn() -> Value,
    ) -> Surroundings<'s> {
        Surroundings {
            input: &self.frame.input,
            result,
            error_output,
            context,
            variables: &self.frame.variables,
            clock: &self.run.clock,
        }
    }

    /// `$states.context`.
    pub fn context(&self) -> Value {
        let execution = &self.run.execution;
        let mut context = json!({
            "Execution": {
                "Id": execution.arn,
                "Input": *execution.input,
                "Name": execution.name,
                "RoleArn": super::arn::ROLE_ARN,
                "StartTime": rfc3339(execution.started_ms),
            },
            "StateMachine": { "Id": execution.machine_arn, "Name": execution.machine_name },
            "State": {
                "EnteredTime": rfc3339(self.entered_ms),
                "Name": self.state.name,
                "RetryCount": self.retries,
            },
        });
        if let Some((index, value)) = &self.frame.item {
            context["Map"] = json!({ "Item": { "Index": index, "Value": value } });
        }
        context
    }
}

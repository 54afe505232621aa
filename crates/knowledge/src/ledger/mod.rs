//! The ledger: what each answer, search, check and batch of documents took and cost; counters of it by space, day and model;
//! and the budgets that bound it.
//!
//! An [`Account`] is opened for a piece of work, takes a line whenever something was paid for, and is closed once. Closing
//! adds each model's lines to its counters of the day, in one write for each model, and settles what was held of the budget.
//! Costs are whole nanodollars; nothing is added up in floating point.
//!
//! Files: `line` what one call took, and its cost · `call` a call to a text model, counted however it ends · `rows` the counters ·
//! `usage` what of them is shown · `calendar` days and months · `budget` what may be spent, in figures and words · `hold` what is
//! held of it · `purse` its books · `bound` what a call may cost at the most · `runs` the budget and ingestion. `line`, `calendar`,
//! `budget`, `hold` and `bound` do arithmetic only.

pub(crate) mod bound;
mod budget;
mod calendar;
mod call;
mod hold;
mod line;
mod purse;
mod rows;
pub(crate) mod runs;
mod usage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws::bedrock::GuardUnits;
use aws::{Aws, AwsError, chance, clock};
use futures_util::future;

use crate::KnowledgeError;
use crate::spaces::Entered;
use crate::sync::StepError;
use purse::Purse;
use rows::Posting;

pub(crate) use budget::in_usd;
pub use budget::{Budget, BudgetChange, BudgetView, Span, SteppedDown};
pub use calendar::{Day, NoDay};
pub(crate) use call::{ModelCall, tokens_of};
pub(crate) use hold::Hold;
pub use line::{GUARDRAIL, Line, Sum, Task, Units};
pub use usage::{BudgetStanding, Group, UsageCounts, UsageGroup, UsagePage, UsageRequest, usage};

/// The account of one piece of work.
#[derive(Debug)]
pub struct Account<'a> {
    aws: &'a Aws,
    space: String,
    /// Names the piece of work, so that what is written again is not counted again.
    id: String,
    /// When what is counted late came to its end; it may be counted again as late.
    ended_at_ms: Option<u64>,
    lines: Mutex<Vec<Line>>,
    payer: Payer,
    /// How often it was closed with something to count.
    closings: AtomicU32,
}

/// Whose budget pays.
#[derive(Debug)]
enum Payer {
    /// A space's, for something that somebody asked for; with what is held for it.
    Caller {
        budget: Budget,
        held: tokio::sync::Mutex<Held>,
    },
    /// A run's, which holds for all its steps.
    Run { run_id: String },
}

#[derive(Debug, Default)]
struct Held {
    hold: Option<Hold>,
    /// How often it was added to.
    times: u32,
}

impl<'a> Account<'a> {
    /// An account in the space that a caller has entered, for `id`, such as an answer's.
    pub fn of(aws: &'a Aws, entered: &Entered, id: &str) -> Self {
        Self {
            aws,
            space: entered.space.clone(),
            id: id.to_owned(),
            ended_at_ms: None,
            lines: Mutex::default(),
            payer: Payer::Caller {
                budget: entered.budget.clone(),
                held: tokio::sync::Mutex::default(),
            },
            closings: AtomicU32::default(),
        }
    }

    /// An account for something without an id of its own.
    pub fn unnamed(aws: &'a Aws, entered: &Entered) -> Self {
        Self::of(aws, entered, &chance::ulid(clock::now_ms()))
    }

    /// An account of a step of a run. A step that is repeated pays again, and has another.
    pub fn of_step(aws: &'a Aws, space: &str, run_id: &str) -> Self {
        Self::of_run(aws, space, run_id, chance::ulid(clock::now_ms()))
    }

    /// An account of a batch job of a run: whoever counts what it took, and whenever, counts it under the same name and to the day
    /// that it ended.
    pub fn of_job(
        aws: &'a Aws,
        space: &str,
        run_id: &str,
        (number, ended_at_ms): (u32, u64),
    ) -> Self {
        Self {
            ended_at_ms: Some(ended_at_ms),
            ..Self::of_run(aws, space, run_id, format!("{run_id}/job/{number}"))
        }
    }

    fn of_run(aws: &'a Aws, space: &str, run_id: &str, id: String) -> Self {
        Self {
            aws,
            space: space.to_owned(),
            id,
            ended_at_ms: None,
            lines: Mutex::default(),
            payer: Payer::Run {
                run_id: run_id.to_owned(),
            },
            closings: AtomicU32::default(),
        }
    }

    /// Holds what a call may cost, before it is made; `None` is a model without a price. Without a budget nothing is held.
    /// Answers how the budget stands then, for what gives way.
    ///
    /// # Errors
    /// [`KnowledgeError::BudgetSpent`], [`KnowledgeError::BudgetUnpriced`]; the table's.
    pub(crate) async fn hold(
        &self,
        worst_case: Option<u64>,
        model: &str,
    ) -> Result<Standings, KnowledgeError> {
        let Payer::Caller { budget, held } = &self.payer else {
            return Ok(Standings::default());
        };
        if !budget.is_set() {
            return Ok(Standings::default());
        }
        let space = self.space.as_str();
        let worst_case = worst_case.ok_or_else(|| KnowledgeError::BudgetUnpriced {
            space: space.to_owned(),
            model: model.to_owned(),
        })?;
        let mut held = held.lock().await;
        held.times += 1;
        let once = format!("{}/{}", self.id, held.times);
        let hold = held
            .hold
            .get_or_insert_with(|| Hold::of_call(clock::now_ms()));
        let aws = self.aws;
        let purse = Purse { aws, space, budget };
        purse
            .hold(hold, worst_case, &once)
            .await
            .map(|standings| Standings {
                budget: budget.clone(),
                standings,
            })
    }

    /// Sees to it that a run holds what it may still cost, before one of its steps pays for something.
    ///
    /// # Errors
    /// [`StepError::BudgetSpent`]; the table's.
    pub(crate) async fn ensure_held(&self) -> Result<(), StepError> {
        match &self.payer {
            Payer::Run { run_id } => runs::ensure_held(self.aws, &self.space, run_id).await,
            Payer::Caller { .. } => Ok(()),
        }
    }

    /// Takes a line.
    pub fn take(&self, line: Line) {
        self.lines().push(line);
    }

    /// Takes a call to the embedding model of the settings.
    pub fn embedded(&self, tokens: u64) {
        let model = &self.aws.settings.embed_model;
        self.take(Line::embedding(model, tokens, false));
    }

    /// Takes what batch jobs of that model embedded, at their price.
    pub fn embedded_by_jobs(&self, tokens: u64) {
        let model = &self.aws.settings.embed_model;
        self.take(Line::embedding(model, tokens, true));
    }

    /// Takes a call to the guardrail.
    pub fn guarded(&self, units: GuardUnits) {
        self.take(Line::guard(units));
    }

    /// What was taken so far, with one line for each task and model.
    pub fn so_far(&self) -> Vec<Line> {
        merged(&self.lines())
    }

    /// Adds what was taken to the counters and settles the budget. What cannot be written is logged with its cost: the work is
    /// done and paid for. Closing once more adds only what was taken since.
    pub async fn close(&self) {
        let lines = std::mem::take(&mut *self.lines());
        let cost = Sum::of(&lines).cost_nano_usd;
        // What is counted later is no repetition of what was counted before.
        let id = match self
            .closings
            .fetch_add(u32::from(!lines.is_empty()), Ordering::Relaxed)
        {
            0 => self.id.clone(),
            before => format!("{}/{before}", self.id),
        };
        let posting = Posting {
            id,
            at_ms: self.ended_at_ms.unwrap_or_else(clock::now_ms),
            for_good: self.ended_at_ms.is_some(),
        };
        let (written, settled) =
            future::join(self.write(&lines, &posting), self.settle(cost, &posting)).await;
        if let Err(error) = written.and(settled) {
            let space = &self.space;
            tracing::error!(
                error = error.name(),
                id = posting.id,
                space,
                cost_nano_usd = cost,
                "usage was not counted"
            );
        }
    }

    async fn write(&self, lines: &[Line], posting: &Posting) -> Result<(), AwsError> {
        let mut models: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            models.entry(&line.model).or_default().push(line);
        }
        let writes = models
            .into_iter()
            .map(|(model, lines)| rows::count(self.aws, &self.space, posting, model, lines));
        future::try_join_all(writes).await.map(|_| ())
    }

    async fn settle(&self, cost: u64, posting: &Posting) -> Result<(), AwsError> {
        let (aws, space) = (self.aws, self.space.as_str());
        match &self.payer {
            Payer::Run { .. } if cost == 0 => Ok(()),
            Payer::Run { run_id } => runs::draw(aws, space, run_id, cost, posting).await,
            Payer::Caller { budget, held } => {
                let hold = held.lock().await.hold.take();
                let purse = Purse { aws, space, budget };
                match hold {
                    Some(hold) => purse.settle(&hold, cost, &posting.id).await,
                    None if cost > 0 && budget.is_set() => purse.draw(None, cost, posting).await,
                    None => Ok(()),
                }
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a budget stands once something is held.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    budget: Budget,
    standings: Vec<budget::Standing>,
}

impl Standings {
    /// The cheaper way of answering with `model` from `passages`, where the soft limit is passed.
    pub fn step_down(&self, aws: &Aws, model: &str, passages: usize) -> Option<SteppedDown> {
        let wanted = (model, passages);
        budget::stepped_down(&self.budget, &self.standings, &aws.settings, wanted)
    }
}

/// A space was given this budget: what was spent before is taken over from the counters.
///
/// # Errors
/// The table's.
pub(crate) async fn budget_was_set(
    aws: &Aws,
    space: &str,
    budget: &Budget,
) -> Result<(), AwsError> {
    match budget.is_set() {
        true => Purse { aws, space, budget }.take_over().await,
        false => Ok(()),
    }
}

/// One line for each task and model, in the order of the tasks.
fn merged(lines: &[Line]) -> Vec<Line> {
    let mut merged: BTreeMap<(Task, &str), Line> = BTreeMap::new();
    for line in lines {
        match merged.get_mut(&(line.task, line.model.as_str())) {
            None => {
                merged.insert((line.task, &line.model), line.clone());
            }
            Some(known) => {
                known.units += line.units;
                known.estimated |= line.estimated;
                let costs = known.cost_nano_usd.zip(line.cost_nano_usd);
                known.cost_nano_usd = costs.map(|(one, other)| one.saturating_add(other));
            }
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_task_and_model_are_one() {
        let guard = |content: u64| {
            Line::guard(GuardUnits {
                content,
                ..GuardUnits::default()
            })
        };
        let embedding = Line::embedding("amazon.titan-embed-text-v2:0", 5, false);
        let lines = [guard(1), embedding.clone(), guard(2)];
        let together = merged(&lines);
        assert_eq!(together, [embedding, guard(3)]);
        assert_eq!(Sum::of(&together), Sum::of(&lines));
    }
}

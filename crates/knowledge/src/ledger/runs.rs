//! The budget and ingestion: a run holds its estimate in the plan, its steps draw from that, and its report gives back the rest.
//! What was given back of a run that stood still is held again before it goes on.

use aws::{Aws, AwsError, clock};

use super::bound;
use super::budget::{Budget, in_usd};
use super::hold::{CALL_MINUTES, Hold, MINUTE_MS};
use super::purse::Purse;
use super::rows::Posting;
use crate::KnowledgeError;
use crate::runs;
use crate::spaces;
use crate::sync::rows::RunRow;
use crate::sync::{Estimate, StepError};

/// The error that the state machine gives a run whose plan has no room in the budget.
pub(crate) const BUDGET_SPENT: &str = "BudgetSpent";

/// Holds what a run is estimated to cost. A run that is planned again holds once.
///
/// # Errors
/// The inner one is the reason why the run must stop; the outer one the table's.
pub(crate) async fn hold(
    aws: &Aws,
    run: &mut RunRow,
    budget: &Budget,
    estimate: &Estimate,
) -> Result<Result<(), String>, AwsError> {
    if !budget.is_set() {
        return Ok(Ok(()));
    }
    let Some(cost) = bound::documents(aws, estimate.tokens) else {
        let unpriced = KnowledgeError::BudgetUnpriced {
            space: run.space.clone(),
            model: aws.settings.embed_model.clone(),
        };
        return Ok(Err(unpriced.to_string()));
    };
    let space = run.space.as_str();
    let purse = Purse { aws, space, budget };
    let mut hold = Hold::of_run(&run.run_id, run.started_at_ms);
    match purse.hold(&mut hold, cost, &run.run_id).await {
        Ok(_) => {
            run.budget_hold = Some(hold).filter(|hold| !hold.is_empty());
            Ok(Ok(()))
        }
        Err(KnowledgeError::Aws(error)) => Err(error),
        Err(spent) => Ok(Err(format!(
            "{} documents of about {} tokens may cost {}, and {spent}. Nothing was embedded; start a run \
             then with `outcrop sync` (POST /v1/runs)",
            estimate.documents,
            estimate.tokens,
            in_usd(cost),
        ))),
    }
}

/// Attempts at a run's row while others change it.
const ATTEMPTS: u32 = 4;

/// Sees to it that a run holds what it may still cost, before it pays for something. What it held was given back where its
/// execution stood still, and Step Functions was told to let it go on.
///
/// # Errors
/// [`StepError::BudgetSpent`] where there is no room for it any more; the table's.
pub(super) async fn ensure_held(aws: &Aws, space: &str, run_id: &str) -> Result<(), StepError> {
    let budget = &spaces::budget(aws, space).await?;
    if !budget.is_set() {
        return Ok(());
    }
    let purse = Purse { aws, space, budget };
    for _ in 0..ATTEMPTS {
        match held_by(&runs::row(aws, run_id).await?) {
            Some(hold) if !purse.holds(&hold).await? => {}
            _ => return Ok(()),
        }
        // Its row says that it stands still before what it holds is given back.
        let run = runs::row(aws, run_id).await?;
        let Some(hold) = held_by(&run) else {
            return Ok(());
        };
        if let Some(minutes) = stood_still_for(&run, clock::now_ms())
            && minutes < CALL_MINUTES
        {
            return Err(StepError::BudgetSpent {
                detail: format!(
                    "the run stood still, and what it held of the budget was given back {minutes} minutes ago, when another run began: \
                     what was under way of it then ends. Do again what it left undone with `outcrop redrive` (POST \
                     /v1/runs/{{run_id}}/redrive)"
                ),
            });
        }
        let Some(renewed) = hold.renewed(run_id, clock::now_ms()) else {
            return hold_again(&purse, &hold).await;
        };
        // The row names what is held before it is, so that it is given back whatever ends this step.
        let renewed = RunRow {
            budget_hold: Some(renewed),
            ..run
        };
        match runs::replace(aws, renewed).await {
            Ok(()) | Err(AwsError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let detail = format!("run {run_id}");
    Err(AwsError::Conflict { detail }.into())
}

/// What a run is to hold. What held nothing has nothing to hold again, and nobody would give back what is held after the report.
fn held_by(run: &RunRow) -> Option<Hold> {
    let hold = run.budget_hold.clone();
    hold.filter(|_| !run.status.is_final())
}

/// Minutes since what the run held was given back because it stood still. A function that was under way then may come as late as it
/// lives, and nobody would give back what it holds.
fn stood_still_for(run: &RunRow, now_ms: u64) -> Option<u64> {
    Some(now_ms.saturating_sub(run.suspended_at_ms?) / MINUTE_MS)
}

async fn hold_again(purse: &Purse<'_>, hold: &Hold) -> Result<(), StepError> {
    match purse.hold_again(hold).await {
        Ok(()) => Ok(()),
        Err(KnowledgeError::Aws(error)) => Err(error.into()),
        Err(spent) => Err(StepError::BudgetSpent {
            detail: format!(
                "the run stood still, what it held of the budget was given back, and {spent}. Do again what it left \
                 undone with `outcrop redrive` (POST /v1/runs/{{run_id}}/redrive) then"
            ),
        }),
    }
}

/// Takes what a step spent out of what its run holds.
///
/// # Errors
/// The table's.
pub(super) async fn draw(
    aws: &Aws,
    space: &str,
    run_id: &str,
    spent: u64,
    posting: &Posting,
) -> Result<(), AwsError> {
    let budget = spaces::budget(aws, space).await?;
    if !budget.is_set() {
        return Ok(());
    }
    let run = runs::row(aws, run_id).await?;
    let budget = &budget;
    let purse = Purse { aws, space, budget };
    purse.draw(run.budget_hold.as_ref(), spent, posting).await
}

/// Gives back what a run that has ended holds still.
///
/// # Errors
/// The table's.
pub(crate) async fn give_back(aws: &Aws, run: &RunRow) -> Result<(), AwsError> {
    let hold = match &run.budget_hold {
        Some(hold) => hold.clone(),
        // A plan that broke off may have held before it wrote so.
        None if run.plan.is_none() => Hold::of_run(&run.run_id, run.started_at_ms),
        None => return Ok(()),
    };
    let (space, budget) = (run.space.as_str(), &Budget::default());
    let purse = Purse { aws, space, budget };
    purse.give_back(&hold).await
}

/// Gives back what a run holds that stands still, and notes before how much that is: should it go on, it holds so much again.
///
/// # Errors
/// The table's.
pub(crate) async fn suspend(aws: &Aws, run: RunRow) -> Result<(), AwsError> {
    let (space, budget) = (run.space.as_str(), &Budget::default());
    let purse = Purse { aws, space, budget };
    if let Some(hold) = run.budget_hold.clone()
        && let Some(left) = purse.left(&hold).await?
    {
        let noted = RunRow {
            budget_hold: Some(hold.with_amount(left)),
            suspended_at_ms: Some(clock::now_ms()),
            ..run.clone()
        };
        match runs::replace(aws, noted).await {
            // Somebody closes its books, or suspends it too.
            Err(AwsError::Conflict { .. }) => {}
            noted => noted?,
        }
    }
    give_back(aws, &run).await
}

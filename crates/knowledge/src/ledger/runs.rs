//! The budget and ingestion: a run holds its estimate in the plan, its steps draw from that, and its report gives back the rest.

use aws::{Aws, AwsError};

use super::bound;
use super::budget::{Budget, in_usd};
use super::purse::{Hold, Purse};
use crate::KnowledgeError;
use crate::runs;
use crate::spaces;
use crate::sync::Estimate;
use crate::sync::rows::RunRow;

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

/// Takes what a step spent out of what its run holds.
///
/// # Errors
/// The table's.
pub(super) async fn draw(
    aws: &Aws,
    space: &str,
    run_id: &str,
    spent: u64,
    once: &str,
) -> Result<(), AwsError> {
    let budget = spaces::budget(aws, space).await?;
    if !budget.is_set() {
        return Ok(());
    }
    let run = runs::row(aws, run_id).await?;
    let budget = &budget;
    let purse = Purse { aws, space, budget };
    purse.draw(run.budget_hold.as_ref(), spent, once).await
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

//! Redriving a run: another one over what it left undone.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};

use super::{books, draw, in_space, launch, replace, visible_row};
use crate::KnowledgeError;
use crate::access::Caller;
use crate::ledger::runs::BUDGET_SPENT;
use crate::roles::Role;
use crate::sync::rows::{NO_STOP, RunRow, RunStatus};
use crate::sync::{StepError, redrive};
use crate::{limits, under_way};

/// The error that the state machine gives a run whose plan the brake stopped.
const BRAKE_PULLED: &str = "BrakePulled";

/// Whether the plan stopped a run before anything was touched. A run may meet the end of its budget later, too.
pub(crate) fn stopped_by_plan(row: &RunRow, error: &str) -> bool {
    let went_on = |plan: &serde_json::Value| plan["stop"] == NO_STOP;
    [BRAKE_PULLED, BUDGET_SPENT].contains(&error) && !row.plan.as_ref().is_some_and(went_on)
}

/// Starts a run over what an ended one left undone; answers its id. Asking again answers the same id: what that run leaves
/// undone is redriven from that run.
///
/// # Errors
/// [`KnowledgeError::RunNotFound`]; [`KnowledgeError::RoleRequired`] as for starting such a run;
/// [`KnowledgeError::RunNotEnded`]; [`KnowledgeError::NothingToRedrive`]; [`KnowledgeError::RunUnderWay`] where the run was
/// over the whole source; else the services' errors.
pub async fn redrive(aws: &Aws, run_id: &str, caller: &Caller) -> Result<String, KnowledgeError> {
    let (entered, row) = visible_row(aws, run_id, caller).await?;
    entered.require(match row.re_embed || row.allow_deletions {
        true => Role::Admin,
        false => Role::Editor,
    })?;
    limits::count(aws, &entered, caller).await?;
    if let Some(by) = &row.redriven_by {
        launch_redrive(aws, &row, by, caller).await?;
        return Ok(by.clone());
    }
    check_redrivable(aws, &row).await?;
    let drawn = in_space(&row.space, &draw());
    let claimed = RunRow {
        redriven_by: Some(drawn.clone()),
        ..row.clone()
    };
    let by = match replace(aws, claimed).await {
        Ok(()) => drawn,
        // Somebody else asked at the same time, and theirs is the redrive; or this was written, and its reply was lost.
        Err(AwsError::Conflict { .. }) => {
            let detail = format!("run {run_id}");
            let by = super::row(aws, run_id).await?.redriven_by;
            by.ok_or(AwsError::Conflict { detail })?
        }
        Err(error) => return Err(error.into()),
    };
    launch_redrive(aws, &row, &by, caller).await?;
    Ok(by)
}

async fn check_redrivable(aws: &Aws, row: &RunRow) -> Result<(), KnowledgeError> {
    if !row.status.is_final() {
        return Err(KnowledgeError::RunNotEnded {
            run_id: row.run_id.clone(),
        });
    }
    let nothing = |reason: &'static str| KnowledgeError::NothingToRedrive {
        run_id: row.run_id.clone(),
        reason,
    };
    if row.dry_run {
        return Err(nothing("it was a dry run"));
    }
    if row.error.as_deref() == Some(BRAKE_PULLED) {
        return Err(nothing(
            "the brake stopped it; start a run with allow_deletions if its deletions are right",
        ));
    }
    if row.error.as_deref() == Some(BUDGET_SPENT) && stopped_by_plan(row, BUDGET_SPENT) {
        return Err(nothing(
            "the budget stopped it; start a run again when there is room in it",
        ));
    }
    let counts = books(aws, row).await?.counts;
    // A run without a plan has not even looked.
    let looked = row.plan.is_some() || row.status == RunStatus::Succeeded;
    if looked && counts.failed + counts.pending == 0 {
        return Err(nothing(
            "no document of it failed; those that were refused stay so until they are changed",
        ));
    }
    Ok(())
}

/// Makes the redrive's row and starts it, each unless that was done before.
async fn launch_redrive(
    aws: &Aws,
    of: &RunRow,
    by: &str,
    caller: &Caller,
) -> Result<(), KnowledgeError> {
    let known: Option<RunRow> = aws.table.get(&keys::run(by)).await?;
    if known.is_none() && of.documents.is_none() {
        under_way::claim(aws, &of.space, by, false).await?;
    }
    let documents = match known {
        Some(_) => None,
        None => redrive::named(aws, of).await.map_err(unreadable)?,
    };
    let row = RunRow {
        documents,
        re_embed: of.re_embed,
        allow_deletions: of.allow_deletions,
        redrive_of: Some(of.run_id.clone()),
        owner: caller.owner().map(str::to_owned),
        ..RunRow::queued(by.to_owned(), of.space.clone(), clock::now_ms())
    };
    Ok(launch(aws, &row).await?)
}

/// What cannot be read of a run's books.
fn unreadable(error: StepError) -> KnowledgeError {
    match error {
        StepError::Aws(error) => error.into(),
        error => AwsError::Damaged {
            detail: error.to_string(),
        }
        .into(),
    }
}

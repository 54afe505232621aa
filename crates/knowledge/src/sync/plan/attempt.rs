//! Attempts at a plan: of a run's the last one counts.

use aws::dynamo::keys;
use aws::{Aws, AwsError};

use super::super::rows::{RunRow, objects};
use crate::runs;

/// Makes this attempt at the plan the one that counts: an earlier one that is still under way cannot end any more, and what one that
/// broke off has left in the books and in what is to be moved is removed, for the source may be another by now.
pub(super) async fn begin(aws: &Aws, run: RunRow) -> Result<RunRow, AwsError> {
    let begun = RunRow {
        plan_attempts: run.plan_attempts + 1,
        ..run
    };
    runs::replace(aws, begun.clone()).await?;
    if begun.plan_attempts > 1 {
        let run_id = begun.run_id.as_str();
        let mut left = Vec::new();
        let mut pages = runs::batch_pages(aws, run_id);
        while let Some(batches) = pages.next().await? {
            let batches = batches.iter();
            left.extend(batches.map(|batch| keys::batch(run_id, &batch.batch_id)));
        }
        aws.table.delete_many(&left).await?;
        aws.bucket.delete(&objects::moves(run_id)).await?;
    }
    Ok(RunRow {
        version: begun.version + 1,
        ..begun
    })
}

/// Ends an attempt that another has come after: Step Functions makes a task again whose function it does not hear of, and the function
/// may be there all the same. What it writes would stand in the other's plan.
///
/// # Errors
/// [`AwsError::Conflict`].
pub(super) async fn ensure_latest(aws: &Aws, run: &RunRow) -> Result<(), AwsError> {
    let now = runs::row(aws, &run.run_id).await?;
    if now.plan_attempts == run.plan_attempts && now.plan.is_none() {
        return Ok(());
    }
    let detail = format!("the plan of run {}", run.run_id);
    Err(AwsError::Conflict { detail })
}

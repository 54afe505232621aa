//! Check: starts the jobs of a run, asks how they stand, and says when to ask again. What Bedrock has no ear for just now is
//! asked at the next look; only time ends the waiting.

use aws::bedrock::JobOrder;
use aws::{Aws, AwsError, clock};
use serde_json::{Value, json};

use super::super::StepError;
use super::super::rows::{RunRow, objects};
use super::{JobRow, jobs_of, keep, limits, token};
use crate::ledger::Account;
use crate::runs;

/// The first and the longest pause between two looks.
const FIRST_SECONDS: u64 = 1;
const LONGEST_SECONDS: u64 = 900;
/// A pause is this part of the time since the jobs were gathered, so that waiting costs at most so much more time.
const PAUSE_PART: u64 = 4;
/// How long a job that was told to stop may take for it before nobody waits any more.
const STOP_MS: u64 = 15 * 60 * 1000;
const HOUR_MS: u64 = 3_600_000;

/// The end of a job that never began.
const NOT_STARTED: &str = "NotStarted";
/// The end of a job that was told to stop and did not.
pub(super) const ABANDONED: &str = "Abandoned";

/// The step: one look at each job that has not ended.
pub(in crate::sync) async fn check_jobs(
    aws: &Aws,
    run_id: &str,
    account: &Account<'_>,
) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let hours = limits(&run).map_or(0, |(_, hours)| hours);
    let now_ms = clock::now_ms();
    let (mut open, mut youngest_ms) = (0, u64::MAX);
    for mut job in jobs_of(aws, run_id).await? {
        if job.ended.is_some() {
            continue;
        }
        if job.arn.is_none() && !job.ordered && !is_late(&job, hours, now_ms) {
            account.ensure_held().await?;
            job.ordered = true;
            keep(aws, run_id, &job).await?;
        }
        let seen = look(aws, run_id, job.clone(), hours, now_ms).await;
        if seen != job {
            keep(aws, run_id, &seen).await?;
        }
        if seen.ended.is_none() {
            open += 1;
            youngest_ms = youngest_ms.min(now_ms.saturating_sub(seen.gathered_at_ms));
        }
    }
    let wait_seconds = pause(youngest_ms / 1000);
    Ok(json!({ "run_id": run_id, "open": open, "wait_seconds": wait_seconds }))
}

fn pause(age_seconds: u64) -> u64 {
    (age_seconds / PAUSE_PART).clamp(FIRST_SECONDS, LONGEST_SECONDS)
}

/// A job after one look at it.
async fn look(aws: &Aws, run_id: &str, job: JobRow, hours: u32, now_ms: u64) -> JobRow {
    let late = is_late(&job, hours, now_ms);
    let Some(arn) = &job.arn else {
        if !job.ordered {
            return ended(job, NOT_STARTED, now_ms);
        }
        let job = started(aws, run_id, job, hours, now_ms).await;
        return match (late, &job.arn, &job.ended) {
            // Its start may have been lost before; now it has a name to be stopped by.
            (true, Some(_), _) => stopped(aws, job, now_ms).await,
            (true, None, None) => ended(job, NOT_STARTED, now_ms),
            _ => job,
        };
    };
    match aws.jobs.state(arn).await {
        Ok(state) if state.ended => {
            if let Some(message) = &state.message {
                tracing::warn!(
                    run_id,
                    number = job.number,
                    why = message,
                    "an embedding job failed"
                );
            }
            ended(job, &state.status, now_ms)
        }
        Ok(_) if late => stopped(aws, job, now_ms).await,
        Ok(_) => job,
        Err(error) => {
            tracing::warn!(run_id, number = job.number, %error, "an embedding job cannot be seen");
            match late {
                true => stopped(aws, job, now_ms).await,
                false => job,
            }
        }
    }
}

/// Whether a job takes longer than the space waits.
fn is_late(job: &JobRow, hours: u32, now_ms: u64) -> bool {
    let wait_ms = u64::from(hours) * HOUR_MS;
    now_ms >= job.gathered_at_ms.saturating_add(wait_ms)
}

/// The job with its ARN; as it was where Bedrock is busy, and ended where it is refused.
async fn started(aws: &Aws, run_id: &str, job: JobRow, hours: u32, now_ms: u64) -> JobRow {
    let token = token(run_id, job.number);
    let order = JobOrder {
        name: &format!("outcrop-{token}"),
        token: &token,
        input_key: &objects::job_input(run_id, job.number),
        output_prefix: &objects::job_output(run_id, job.number),
        hours,
    };
    match aws.jobs.start(order).await {
        Ok(arn) => JobRow {
            arn: Some(arn),
            ..job
        },
        Err(error) => {
            tracing::warn!(run_id, number = job.number, %error, "an embedding job did not start");
            match error {
                AwsError::Busy { .. } => job,
                _ => ended(job, NOT_STARTED, now_ms),
            }
        }
    }
}

/// The job told to stop, and given up when it does not.
async fn stopped(aws: &Aws, job: JobRow, now_ms: u64) -> JobRow {
    let since = job.stopped_at_ms.unwrap_or(now_ms);
    if now_ms >= since.saturating_add(STOP_MS) {
        return ended(job, ABANDONED, now_ms);
    }
    if let Some(arn) = &job.arn
        && let Err(error) = aws.jobs.stop(arn).await
    {
        tracing::warn!(number = job.number, %error, "an embedding job cannot be stopped");
    }
    JobRow {
        stopped_at_ms: Some(since),
        ..job
    }
}

fn ended(job: JobRow, status: &str, now_ms: u64) -> JobRow {
    JobRow {
        ended: Some(status.to_owned()),
        ended_at_ms: Some(now_ms),
        ..job
    }
}

/// Stops what a run that broke off has under way: nobody would take what comes of it, and it would be paid for. A job that was
/// ordered and has no ARN may be under way all the same. The order is given again: its token finds the job, or makes one that
/// is stopped before it begins.
pub(in crate::sync) async fn stop_jobs(aws: &Aws, run: &RunRow) -> Result<(), StepError> {
    let run_id = run.run_id.as_str();
    let hours = limits(run).map_or(0, |(_, hours)| hours);
    let now_ms = clock::now_ms();
    for mut job in jobs_of(aws, run_id).await? {
        if job.ended.is_some() || job.arn.is_none() && !job.ordered {
            continue;
        }
        if job.arn.is_none() {
            job = started(aws, run_id, job, hours, now_ms).await;
        }
        let Some(arn) = &job.arn else { continue };
        match aws.jobs.stop(arn).await {
            Ok(()) => keep(aws, run_id, &ended(job, ABANDONED, now_ms)).await?,
            Err(error) => {
                tracing::warn!(run_id, number = job.number, %error, "an embedding job goes on for nobody");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_wait() {
        let check = |age, expected| assert_eq!(pause(age), expected, "{age}");
        check(0, 1);
        check(4, 1);
        check(60, 15);
        check(3_600, 900);
        check(86_400, 900);
        check(u64::MAX / 1000, 900);
    }

    /// A day of waiting takes few of the 25,000 events that an execution may have.
    #[test]
    fn three_days_of_waiting_are_few_looks() {
        let (mut age, mut looks) = (0, 0);
        while age < 72 * 3_600 {
            age += pause(age);
            looks += 1;
        }
        assert!(looks < 350, "{looks}");
    }
}

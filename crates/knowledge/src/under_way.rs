//! One run over the whole source of a space at a time: two of them would plan the same work twice, and each would count
//! what the other deletes. Who comes second is told which run is under way, or has it followed by another.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
use crate::ledger;
use crate::sync::rows::RunRow;

/// How long a run may be claimed before its execution is there. Whoever claimed it longer ago broke off in between.
const START_MS: u64 = 60_000;

/// Attempts at a claim that meets other claims.
const ATTEMPTS: u32 = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct UnderWayRow {
    run_id: String,
    /// Rises with each replacement.
    version: u64,
    claimed_at_ms: u64,
    /// Whether something came since that this run may not have seen.
    again: bool,
}

/// What a run that was to be followed by another is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its report will start the other.
    UnderWay,
    /// It was claimed, and its execution is not there; it may never be.
    NotBegun,
    /// Nobody would see that it is to be followed.
    Over,
}

/// Makes `run_id` the run that is under way. May be repeated. Whether another is to follow is forgotten only if this run
/// `sees_all` that came until now.
///
/// # Errors
/// [`KnowledgeError::RunUnderWay`] while another is.
pub(crate) async fn claim(
    aws: &Aws,
    space: &str,
    run_id: &str,
    sees_all: bool,
) -> Result<(), KnowledgeError> {
    let key = keys::under_way(space);
    for _ in 0..ATTEMPTS {
        let held: Option<UnderWayRow> = aws.table.get(&key).await?;
        if let Some(held) = &held {
            if held.run_id == run_id {
                return Ok(());
            }
            if standing(aws, held).await? != Standing::Over {
                return Err(KnowledgeError::RunUnderWay {
                    space: space.to_owned(),
                    run_id: held.run_id.clone(),
                });
            }
            give_back(aws, &held.run_id).await?;
        }
        let expected = held.as_ref().map_or(0, |held| held.version);
        let claimed = UnderWayRow {
            run_id: run_id.to_owned(),
            version: expected + 1,
            claimed_at_ms: clock::now_ms(),
            again: !sees_all && held.is_some_and(|held| held.again),
        };
        match aws.table.replace(&key, expected, &claimed).await {
            Err(AwsError::Conflict { .. }) => {}
            claimed => return Ok(claimed?),
        }
    }
    Err(conflict(space))
}

/// Gives back what a run holds of its budget that ended without its report: somebody has stopped it.
async fn give_back(aws: &Aws, run_id: &str) -> Result<(), AwsError> {
    let run: Option<RunRow> = aws.table.get(&keys::run(run_id)).await?;
    match run.filter(|run| !run.status.is_final()) {
        Some(run) => ledger::runs::suspend(aws, run).await,
        None => Ok(()),
    }
}

/// Has `run_id` followed by another run, if it is under way.
pub(crate) async fn ask_again(
    aws: &Aws,
    space: &str,
    run_id: &str,
) -> Result<Standing, KnowledgeError> {
    let key = keys::under_way(space);
    for _ in 0..ATTEMPTS {
        let held: Option<UnderWayRow> = aws.table.get(&key).await?;
        let Some(held) = held.filter(|held| held.run_id == run_id) else {
            return Ok(Standing::Over);
        };
        let (expected, marked) = (held.version, held.again);
        let asked = UnderWayRow {
            version: expected + 1,
            again: true,
            ..held
        };
        if !marked {
            match aws.table.replace(&key, expected, &asked).await {
                Err(AwsError::Conflict { .. }) => continue,
                replaced => replaced?,
            }
        }
        // Looked at after the mark: a run that ended before it may have looked for none.
        return Ok(standing(aws, &asked).await?);
    }
    Err(conflict(space))
}

/// Whether something came during `run_id`, which has just closed its books.
pub(crate) async fn is_to_be_followed(
    aws: &Aws,
    space: &str,
    run_id: &str,
) -> Result<bool, AwsError> {
    let held: Option<UnderWayRow> = aws.table.get(&keys::under_way(space)).await?;
    Ok(held.is_some_and(|held| held.run_id == run_id && held.again))
}

async fn standing(aws: &Aws, held: &UnderWayRow) -> Result<Standing, AwsError> {
    standing_of(aws, &held.run_id, held.claimed_at_ms).await
}

/// What a run is doing that claimed something at `claimed_at_ms`.
pub(crate) async fn standing_of(
    aws: &Aws,
    run_id: &str,
    claimed_at_ms: u64,
) -> Result<Standing, AwsError> {
    let run: Option<RunRow> = aws.table.get(&keys::run(run_id)).await?;
    if run.is_some_and(|run| run.status.is_final()) {
        return Ok(Standing::Over);
    }
    let execution = aws.states.execution(run_id).await?;
    let claimed_ago_ms = clock::now_ms().saturating_sub(claimed_at_ms);
    Ok(match execution.as_ref().map(|one| one.status.as_str()) {
        Some("RUNNING" | "PENDING_REDRIVE") => Standing::UnderWay,
        Some(_) => Standing::Over,
        None if claimed_ago_ms > START_MS => Standing::Over,
        None => Standing::NotBegun,
    })
}

fn conflict(space: &str) -> KnowledgeError {
    let detail = format!("the run under way in {space}");
    AwsError::Conflict { detail }.into()
}

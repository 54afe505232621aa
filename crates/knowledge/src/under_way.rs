//! One run over the whole source of a space at a time: two of them would plan the same work twice, and each would count
//! what the other deletes. Who comes second is told which run is under way, or has it followed by another.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
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

/// Makes `run_id` the run that is under way. May be repeated.
///
/// # Errors
/// [`KnowledgeError::RunUnderWay`] while another is.
pub(crate) async fn claim(aws: &Aws, space: &str, run_id: &str) -> Result<(), KnowledgeError> {
    let key = keys::under_way(space);
    for _ in 0..ATTEMPTS {
        let held: Option<UnderWayRow> = aws.table.get(&key).await?;
        if let Some(held) = &held {
            if held.run_id == run_id {
                return Ok(());
            }
            if !is_over(aws, held).await? {
                return Err(KnowledgeError::RunUnderWay {
                    space: space.to_owned(),
                    run_id: held.run_id.clone(),
                });
            }
        }
        let expected = held.map_or(0, |held| held.version);
        let claimed = UnderWayRow {
            run_id: run_id.to_owned(),
            version: expected + 1,
            claimed_at_ms: clock::now_ms(),
            again: false,
        };
        match aws.table.replace(&key, expected, &claimed).await {
            Err(AwsError::Conflict { .. }) => {}
            claimed => return Ok(claimed?),
        }
    }
    Err(conflict(space))
}

/// Has `run_id` followed by another run. `false`: it is over, and nobody would see that it is to be followed.
pub(crate) async fn ask_again(
    aws: &Aws,
    space: &str,
    run_id: &str,
) -> Result<bool, KnowledgeError> {
    let key = keys::under_way(space);
    for _ in 0..ATTEMPTS {
        let held: Option<UnderWayRow> = aws.table.get(&key).await?;
        let Some(held) = held.filter(|held| held.run_id == run_id) else {
            return Ok(false);
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
        return Ok(!is_over(aws, &asked).await?);
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

async fn is_over(aws: &Aws, held: &UnderWayRow) -> Result<bool, AwsError> {
    let run: Option<RunRow> = aws.table.get(&keys::run(&held.run_id)).await?;
    if run.is_some_and(|run| run.status.is_final()) {
        return Ok(true);
    }
    Ok(match aws.states.execution(&held.run_id).await? {
        Some(execution) => !matches!(execution.status.as_str(), "RUNNING" | "PENDING_REDRIVE"),
        None => clock::now_ms().saturating_sub(held.claimed_at_ms) > START_MS,
    })
}

fn conflict(space: &str) -> KnowledgeError {
    let detail = format!("the run under way in {space}");
    AwsError::Conflict { detail }.into()
}

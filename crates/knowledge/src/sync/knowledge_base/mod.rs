//! SyncKnowledgeBase: what a run has published reaches the Bedrock knowledge base that its space fills.
//!
//! ```text
//! claim → compare → write → send (direct ingestion) or start (an ingestion job) → ask until it has ended → settle
//! ```
//! The step goes as far as it can, notes how far that was in the run's row, and answers how long to wait; the state machine
//! waits and asks again. Each part may be repeated: what is written is written whole, calls carry tokens made of the run's id,
//! and a job that was started is found again by its token.
//!
//! Files: `progress` what the run's row says of it · `difference` what to bring in and take out · `copies` the objects that
//! the data source reads · `ways` direct ingestion and jobs · `books` what became of each document.

pub(super) mod books;
mod copies;
mod difference;
pub(crate) mod progress;
mod ways;

use aws::{Aws, AwsError, clock};
use serde_json::{Value, json};

use super::rows::RunRow;
use super::{StepError, done};
use crate::knowledge_base::{self, Claim, Filled, State};
use crate::runs;
use books::Outcome;
use difference::Difference;
use progress::{Phase, Sync};

/// How long a run waits for its knowledge base at the most. The state machine's own end comes later.
const LONGEST_MS: u64 = 4 * 3600 * 1000;
/// The pauses before the step looks again, in seconds: where another run or job is in the way, and where the account's
/// quota is.
const OTHERS_SECONDS: u64 = 15;
const QUOTA_SECONDS: u64 = 10;

/// The failure of documents that waited in vain.
const UNFINISHED: &str = "KnowledgeBaseSyncUnfinished";

/// The failure of documents where a service of the way does not do what it was asked for.
const UNAVAILABLE: &str = "KnowledgeBaseUnavailable";

/// What a part of the step came to.
enum Turn {
    /// Look again after so many seconds. With what is waited for, where that is somebody else's.
    Wait(u64, Option<String>),
    Ended(Outcome),
}

/// Whether Verify is to be followed by this step.
pub(super) async fn follows(aws: &Aws, space: &str) -> Result<bool, AwsError> {
    if knowledge_base::wanted(aws, space).await?.is_some() {
        return Ok(true);
    }
    knowledge_base::fall_behind(aws, space).await?;
    Ok(false)
}

/// The step.
pub(super) async fn sync(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let mut run = runs::row(aws, run_id).await?;
    let known = run.knowledge_base.as_ref().map(|sync| sync.of.clone());
    let Some(of) = (match known {
        Some(of) => Some(of),
        None => knowledge_base::wanted(aws, &run.space).await?,
    }) else {
        return Ok(answer(run_id, 0));
    };
    if run.knowledge_base.is_none() {
        run = note(aws, run, Sync::new(of.clone(), clock::now_ms())).await?;
    }
    let (run, turn) = step(aws, run, &of).await?;
    match turn {
        Turn::Wait(seconds, waiting_for) => {
            let sync = progress(&run)?;
            if sync.waiting_for != waiting_for {
                let sync = Sync {
                    waiting_for,
                    ..sync
                };
                note(aws, run, sync).await?;
            }
            Ok(answer(run_id, seconds))
        }
        Turn::Ended(outcome) => {
            books::settle(aws, run, outcome).await?;
            Ok(answer(run_id, 0))
        }
    }
}

async fn step(aws: &Aws, run: RunRow, of: &Filled) -> Result<(RunRow, Turn), StepError> {
    let sync = progress(&run)?;
    if sync.phase == Phase::Ended {
        return Ok((run, Turn::Wait(0, None)));
    }
    let state = match knowledge_base::claim(aws, &run.space, &run.run_id, of).await? {
        Claim::Ours(state) => state,
        Claim::Theirs(holder) if is_late(&sync) => {
            let difference = decided_or_published(aws, &run, of).await?;
            let outcome = unfinished(difference, &format!("run {holder}"));
            return Ok((run, Turn::Ended(outcome)));
        }
        Claim::Theirs(holder) => {
            let holder = Some(format!("run {holder}"));
            return Ok((run, Turn::Wait(OTHERS_SECONDS, holder)));
        }
    };
    let difference = difference::of(aws, &run, &state).await?;
    if difference.is_empty() && state.settled {
        return Ok((run, Turn::Ended(Outcome::nothing(difference))));
    }
    let (run, written) = write(aws, run, of, state, &difference).await?;
    let turn = match written {
        Some(wait) => wait,
        None => {
            let (run, turn) = ways::go(aws, run, of, &difference).await?;
            let late = is_late(&progress(&run)?);
            return Ok(match turn {
                Turn::Wait(_, waiting_for) if late => {
                    let what = waiting_for.unwrap_or_else(|| "its own ingestion".to_owned());
                    (run, Turn::Ended(unfinished(difference, &what)))
                }
                turn => (run, turn),
            });
        }
    };
    Ok((run, turn))
}

/// Brings the objects that the data source reads up to date. `Some`: there is more to write.
async fn write(
    aws: &Aws,
    run: RunRow,
    of: &Filled,
    state: State,
    difference: &Difference,
) -> Result<(RunRow, Option<Turn>), StepError> {
    let sync = progress(&run)?;
    if sync.phase != Phase::Begun {
        return Ok((run, None));
    }
    knowledge_base::check_filled(aws, &run.space, of).await??;
    if state.settled {
        // Told before anything is touched: whoever comes after a run that broke off here must compare everything.
        let behind = State {
            settled: false,
            ..state
        };
        knowledge_base::replace(aws, &run.space, behind).await?;
    }
    let copied = copies::write(aws, difference, sync.copied).await?;
    let finished = copied >= difference.len();
    let sync = Sync {
        copied,
        phase: if finished {
            Phase::Written
        } else {
            Phase::Begun
        },
        ..sync
    };
    let run = note(aws, run, sync).await?;
    let more = (!finished).then_some(Turn::Wait(1, None));
    Ok((run, more))
}

/// The step that the state machine takes when [`sync`] could not be finished: what was to reach the knowledge base is failed
/// for that reason, and the run goes on to its report.
pub(super) async fn fail(
    aws: &Aws,
    run_id: &str,
    error: &str,
    reason: &str,
) -> Result<Value, StepError> {
    let run = runs::row(aws, run_id).await?;
    let (run, of) = match &run.knowledge_base {
        Some(sync) => {
            let of = sync.of.clone();
            (run, of)
        }
        None => match knowledge_base::wanted(aws, &run.space).await? {
            Some(of) => {
                let begun = Sync::new(of.clone(), clock::now_ms());
                (note(aws, run, begun).await?, of)
            }
            // The setting has changed since: nothing is to reach any.
            None => return Ok(done(run_id)),
        },
    };
    if progress(&run)?.phase != Phase::Ended {
        let difference = decided_or_published(aws, &run, &of).await?;
        let outcome = match books::is_sync_failure(error) {
            true => Outcome::all_failed(difference, error, reason),
            false => Outcome::all_failed(difference, UNAVAILABLE, &format!("{error}: {reason}")),
        };
        books::settle(aws, run, outcome).await?;
    }
    Ok(done(run_id))
}

/// What the run was to bring about: all that it has published, where it never came to compare.
async fn decided_or_published(
    aws: &Aws,
    run: &RunRow,
    of: &Filled,
) -> Result<Difference, StepError> {
    match difference::read(aws, &run.run_id).await? {
        Some(found) => Ok(found),
        None => difference::of_published(aws, run, of).await,
    }
}

fn unfinished(difference: Difference, what: &str) -> Outcome {
    let reason = format!(
        "the run waited {} hours for {what}; sync again",
        LONGEST_MS / 3_600_000
    );
    Outcome::all_failed(difference, UNFINISHED, &reason)
}

fn is_late(sync: &Sync) -> bool {
    clock::now_ms().saturating_sub(sync.begun_at_ms) > LONGEST_MS
}

fn answer(run_id: &str, wait_seconds: u64) -> Value {
    json!({ "run_id": run_id, "wait_seconds": wait_seconds })
}

/// Notes how far the step has come; answers the run's row as it stands then.
async fn note(aws: &Aws, run: RunRow, sync: Sync) -> Result<RunRow, AwsError> {
    let next = RunRow {
        knowledge_base: Some(sync),
        ..run
    };
    runs::replace(aws, next.clone()).await?;
    Ok(RunRow {
        version: next.version + 1,
        ..next
    })
}

fn progress(run: &RunRow) -> Result<Sync, AwsError> {
    run.knowledge_base.clone().ok_or_else(|| AwsError::Missing {
        what: format!("what run {} has done for its knowledge base", run.run_id),
    })
}

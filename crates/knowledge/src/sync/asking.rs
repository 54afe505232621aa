//! What a plan does about the sources of its space: it asks them first.

use aws::{Aws, AwsError};
use serde_json::{Value, json};

use super::StepError;
use super::rows::{RunRow, RunStatus};
use crate::runs;
use crate::sources::{self, Fetched};

/// The sources of the space, asked on behalf of a run over the `whole` of it.
pub(super) async fn fetched(aws: &Aws, run: &RunRow, whole: bool) -> Result<Fetched, AwsError> {
    match whole {
        false => Ok(Fetched::Done(sources::Outcome::default())),
        true => sources::advance(aws, run).await,
    }
}

/// The sources are not through: the state machine waits and plans again.
pub(super) async fn still_asking(
    aws: &Aws,
    run: RunRow,
    wait_seconds: u64,
) -> Result<Value, StepError> {
    let run_id = run.run_id.clone();
    if run.status == RunStatus::Queued {
        let running = RunRow {
            status: RunStatus::Running,
            ..run
        };
        runs::replace(aws, running).await?;
    }
    Ok(json!({
        "run_id": run_id,
        "to_move": 0,
        "to_process": 0,
        "to_delete": 0,
        "unchanged": 0,
        "stop": "fetch",
        "reason": "",
        "wait_seconds": wait_seconds.max(1),
        "by_jobs": false,
    }))
}

//! What a plan does about the sources of its space: it asks them first, and leaves out what they could not give.

use std::collections::BTreeMap;

use aws::{Aws, AwsError, clock};
use serde_json::{Value, json};

use super::StepError;
use super::plan::{SourceObject, Sources};
use super::rows::{BatchDocument, DocumentRow, DocumentStatus, RunRow, RunStatus};
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

/// Documents that their source could not give stay out of the comparison, so that they stay as they are; answers their
/// rows, which say why. One whose copy is not published as it is goes its way all the same, and is no failure of this run:
/// its readers may have changed, or a run that was stopped left it behind.
pub(super) fn set_aside(
    rows: &mut Vec<DocumentRow>,
    sources: &mut Sources,
    failed: &mut Vec<BatchDocument>,
) -> Vec<DocumentRow> {
    let live: BTreeMap<&str, &str> = rows
        .iter()
        .filter_map(|row| {
            let live = row.published.as_ref()?;
            Some((row.document_id.as_str(), live.source_version.as_str()))
        })
        .collect();
    failed.retain(|one| {
        let copy = sources.get(&one.document_id).map(SourceObject::version);
        copy.is_none_or(|copy| live.get(one.document_id.as_str()) == Some(&copy.as_str()))
    });
    let failed: BTreeMap<&str, &BatchDocument> = failed
        .iter()
        .map(|one| (one.document_id.as_str(), one))
        .collect();
    sources.retain(|id, _| !failed.contains_key(id.as_str()));
    let (aside, rest) = std::mem::take(rows)
        .into_iter()
        .partition(|row| failed.contains_key(row.document_id.as_str()));
    *rows = rest;
    let now_ms = clock::now_ms();
    let told = |row: DocumentRow| {
        let one = failed.get(row.document_id.as_str())?;
        let problem = one.error.clone().zip(one.reason.clone());
        // A document that is not there yet has nothing to stay.
        let known = row.published.is_some();
        known.then(|| row.with_status(DocumentStatus::Failed, problem, now_ms))
    };
    let aside: Vec<DocumentRow> = aside;
    aside.into_iter().filter_map(told).collect()
}

//! Asking the sources of a space, slice by slice, until each has been asked in this run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::{Aws, AwsError, clock};
use tokio::time::Instant;

use super::manage;
use super::setting::{SourceRow, SourceRun};
use super::state::{self, State};
use super::sweep::{self, Turn};
use crate::names;
use crate::sync::rows::{BatchDocument, DocumentStatus, RunRow};

/// How long one invocation asks. A function has 900 s, and the plan that follows needs some of them.
const SLICE: Duration = Duration::from_secs(300);

/// How long a run asks. What its sources gave by then should not wait for a slow one.
const LONGEST_MS: u64 = 4 * 3_600_000;

/// What a document's row may say while its source cannot give it.
const FETCH_ERRORS: [&str; 10] = [
    "AddressRefused",
    "DocumentTooLarge",
    "FileUnreadable",
    "InvalidDocumentName",
    "InvalidUrl",
    "MalformedMetadata",
    "PageRefused",
    "PageUnreadable",
    "SourceRefused",
    "SourceUnreachable",
];

/// Whether a failed document failed because its source could not give it.
pub(crate) fn is_fetch_error(name: &str) -> bool {
    FETCH_ERRORS.contains(&name)
}

/// How far the sources are.
pub(crate) enum Fetched {
    /// Come again after so many seconds.
    More {
        wait_seconds: u64,
    },
    Done(Outcome),
}

/// What a plan must know of the sources.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Ids of documents whose copy is there and which their source holds no longer.
    pub gone: BTreeSet<String>,
    /// Documents that could not be had, and sources that could not be asked.
    pub failed: Vec<BatchDocument>,
}

/// Asks the sources of a space on behalf of a run: each has its share of the time, and none waits for another.
///
/// # Errors
/// Those of our own services.
pub(crate) async fn advance(aws: &Aws, run: &RunRow) -> Result<Fetched, AwsError> {
    let space = run.space.as_str();
    let slice_ends = Instant::now() + SLICE;
    let mut outcome = Outcome::default();
    let mut waits: Vec<u64> = Vec::new();
    let rows = manage::rows(aws, space).await?;
    for (number, row) in rows.iter().enumerate() {
        let mut state = State::read(aws, space, &row.name).await?;
        let begun = sweep::begin(&mut state, row, &run.run_id);
        if !state.sweep.done {
            let left = slice_ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                waits.push(0);
                continue;
            }
            let sharing = u32::try_from(rows.len() - number).unwrap_or(u32::MAX);
            let turn = Turn {
                aws,
                space,
                row,
                until: Instant::now() + left / sharing,
                ends_at_ms: run.started_at_ms + LONGEST_MS,
            };
            let asked = sweep::ask(&turn, &mut state, begun).await;
            state.write(aws, space, &row.name).await?;
            if let Some(wait_seconds) = asked? {
                waits.push(wait_seconds);
                continue;
            }
            manage::note(aws, space, row, last(&state)).await?;
        }
        outcome.take(space, row, &state);
    }
    Ok(match waits.into_iter().min() {
        Some(wait_seconds) => Fetched::More { wait_seconds },
        None => Fetched::Done(outcome),
    })
}

fn last(state: &State) -> SourceRun {
    let held = state.items.values().filter(|item| !item.gone).count() as u64;
    let mut failed = state.sweep.failed.clone();
    let whole = failed.remove("");
    SourceRun {
        run_id: state.sweep.run_id.clone(),
        ended_at: clock::rfc3339(clock::now_ms()),
        documents: held,
        failed: failed.len() as u64,
        error: whole.as_ref().map(|whole| whole.error.clone()),
        reason: whole.map(|whole| whole.reason),
    }
}

impl Outcome {
    fn take(&mut self, space: &str, row: &SourceRow, state: &State) {
        let id = |name: &String| names::document_id(space, name);
        self.gone.extend(state.gone().iter().map(id));
        let mut failed: BTreeMap<String, BatchDocument> = BTreeMap::new();
        for one in state.sweep.failed.values() {
            let name = match one.name.is_empty() {
                true => format!("{}/", row.name),
                false => one.name.clone(),
            };
            let document = BatchDocument {
                document_id: id(&name),
                name,
                status: DocumentStatus::Failed,
                error: Some(one.error.clone()),
                reason: Some(one.reason.clone()),
                version: None,
            };
            failed.insert(document.document_id.clone(), document);
        }
        self.failed.extend(failed.into_values());
    }
}

/// Takes the copies of what is gone out, once the brake has let it pass; and sources that are removed. May be repeated.
/// What was set or removed since the sources were asked is the next run's.
///
/// # Errors
/// Those of our own services.
pub(crate) async fn settle(aws: &Aws, space: &str) -> Result<(), AwsError> {
    for row in manage::rows(aws, space).await? {
        let mut state = State::read(aws, space, &row.name).await?;
        if state.setting != sweep::setting(&row) {
            continue;
        }
        let gone = state.gone();
        for name in &gone {
            let key = names::source_key(space, name);
            aws.bucket.delete(&key).await?;
            aws.bucket.delete(&names::sidecar_key(&key)).await?;
        }
        if row.removed && state.sweep.done {
            aws.bucket.delete(&state::key(space, &row.name)).await?;
            manage::forget(aws, space, &row).await?;
        } else if !gone.is_empty() {
            state.forget_gone();
            state.write(aws, space, &row.name).await?;
        }
    }
    Ok(())
}

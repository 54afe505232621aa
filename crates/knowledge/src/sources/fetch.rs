//! Asking the sources of a space, slice by slice, until each has been asked in this run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws::{Aws, AwsError, clock};
use serde_json::json;
use tokio::time::Instant;

use super::confluence::Confluence;
use super::manage;
use super::mirror::Mirror;
use super::prefix::Prefix;
use super::setting::{SourceRow, SourceRun, SourceSetting};
use super::sharepoint::Sharepoint;
use super::state::{self, Failed, State, Sweep};
use super::website::Website;
use super::{Next, Place, Source, SourceError};
use crate::digest::short_id;
use crate::names;
use crate::sync::rows::{BatchDocument, DocumentStatus, RunRow};

/// How long one invocation asks. A function has 900 s, and the plan that follows needs some of them.
const SLICE: Duration = Duration::from_secs(300);

/// How long a run asks: the state machine gives it six hours, and the documents need some of them.
const LONGEST_MS: u64 = 4 * 3_600_000;

/// Waits in a row after which a source is given up for this run.
const WAITS: u32 = 30;

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

/// Asks the sources of a space on behalf of a run.
///
/// # Errors
/// Those of our own services.
pub(crate) async fn advance(aws: &Aws, run: &RunRow) -> Result<Fetched, AwsError> {
    let (space, run_id) = (run.space.as_str(), run.run_id.as_str());
    let too_long = clock::now_ms().saturating_sub(run.started_at_ms) > LONGEST_MS;
    let until = Instant::now() + SLICE;
    let mut outcome = Outcome::default();
    for row in manage::rows(aws, space).await? {
        let mut state = State::read(aws, space, &row.name).await?;
        begin(&mut state, &row, run_id);
        if !row.removed {
            let mut mirror = mirror(aws, space, &row, &mut state, until);
            mirror.permit().await?;
        }
        if !state.sweep.done {
            let asked = match too_long {
                true => leave(&mut state),
                false => ask(aws, space, &row, &mut state, until).await,
            };
            state.write(aws, space, &row.name).await?;
            if let Some(wait_seconds) = asked? {
                return Ok(Fetched::More { wait_seconds });
            }
            manage::note(aws, space, &row, last(&state)).await?;
        }
        outcome.take(space, &row, &state);
    }
    Ok(Fetched::Done(outcome))
}

/// Another run, and another setting, begin anew; what is held stays known.
fn begin(state: &mut State, row: &SourceRow, run_id: &str) {
    let setting = setting(row);
    if state.setting != setting {
        (state.setting, state.cursor) = (setting, None);
        state.sweep = Sweep::default();
        // What was gone under the setting before, as all of a source that was removed, need not be under this one.
        for item in state.items.values_mut() {
            item.gone = false;
        }
    }
    if state.sweep.run_id != run_id {
        let before = std::mem::take(&mut state.sweep);
        state.sweep = Sweep {
            run_id: run_id.to_owned(),
            ..match before.unfinished {
                true => go_on(before),
                false => Sweep::default(),
            }
        };
    }
}

/// What took longer than a run may goes on where it stood. What failed was not seen, and is not gone for that.
fn go_on(before: Sweep) -> Sweep {
    let mut failed = before.failed;
    failed.remove("");
    Sweep {
        position: before.position,
        seen: before.seen,
        failed,
        from_anew: before.from_anew,
        ..Sweep::default()
    }
}

/// A digest of what decides which documents a source has.
fn setting(row: &SourceRow) -> String {
    short_id(&[&json!([row.source, row.removed]).to_string()], 32)
}

/// Asks one source until it is done; answers the seconds to wait where it is not.
async fn ask(
    aws: &Aws,
    space: &str,
    row: &SourceRow,
    state: &mut State,
    until: Instant,
) -> Result<Option<u64>, AwsError> {
    if row.removed {
        for item in state.items.values_mut() {
            item.gone = true;
        }
        state.sweep.done = true;
        return Ok(None);
    }
    let mirror = mirror(aws, space, row, state, until);
    match &row.source {
        SourceSetting::S3 { bucket, prefix } => {
            sweep(Prefix::new(aws, bucket, prefix), mirror).await
        }
        SourceSetting::Website { .. } => sweep(Website::new(aws, &row.source), mirror).await,
        SourceSetting::Confluence { .. } => {
            sweep(Confluence::new(aws, space, &row.source), mirror).await
        }
        SourceSetting::Sharepoint { .. } => {
            sweep(Sharepoint::new(aws, space, &row.source), mirror).await
        }
    }
}

fn mirror<'a>(
    aws: &'a Aws,
    space: &'a str,
    row: &'a SourceRow,
    state: &'a mut State,
    until: Instant,
) -> Mirror<'a> {
    Mirror {
        aws,
        space,
        source: &row.name,
        readers: &row.readers,
        state,
        until,
    }
}

async fn sweep(
    source: Option<impl Source>,
    mut mirror: Mirror<'_>,
) -> Result<Option<u64>, AwsError> {
    let Some(mut source) = source else {
        give_up(
            mirror.state,
            "InvalidSource",
            "its setting cannot be read; set it again",
        );
        return Ok(None);
    };
    loop {
        let place = Place {
            cursor: mirror.state.cursor.clone(),
            position: mirror.state.sweep.position.clone(),
        };
        let wait_seconds = match source.ask(&place, &mut mirror).await {
            Ok(Next::End { cursor, complete }) => {
                end(mirror.state, cursor, complete);
                return Ok(None);
            }
            Ok(Next::More {
                position,
                wait_seconds,
            }) => {
                mirror.state.sweep.position = Some(position);
                wait_seconds
            }
            Err(SourceError::Busy { seconds }) => seconds,
            Err(SourceError::CursorExpired) if !mirror.state.sweep.from_anew => {
                from_anew(mirror.state);
                0
            }
            Err(SourceError::CursorExpired) => {
                let reason = "it does not know the cursor that it just gave; sync again";
                give_up(mirror.state, "CursorExpired", reason);
                return Ok(None);
            }
            Err(SourceError::Failed { error, reason }) => {
                give_up(mirror.state, error, &reason);
                return Ok(None);
            }
            Err(SourceError::Aws(error)) => return Err(error),
        };
        let sweep = &mut mirror.state.sweep;
        sweep.waits = if wait_seconds > 0 { sweep.waits + 1 } else { 0 };
        if sweep.waits > WAITS {
            give_up(
                mirror.state,
                "SourceBusy",
                "it asked to come back later too often; sync again later",
            );
            return Ok(None);
        }
        if wait_seconds > 0 || mirror.is_time_up() {
            return Ok(Some(wait_seconds));
        }
    }
}

/// After everything was seen, what was not is gone.
fn end(state: &mut State, cursor: Option<String>, complete: bool) {
    if complete {
        for id in state.unmet() {
            state.set_gone(&id);
        }
    }
    // A document that failed is not told again as a change: the next run asks for everything.
    let clean = state.sweep.failed.is_empty();
    state.cursor = cursor.filter(|_| clean);
    state.sweep.done = true;
}

/// Asks for everything again: what was seen under the cursor before says nothing of the rest.
fn from_anew(state: &mut State) {
    state.cursor = None;
    state.sweep.position = None;
    state.sweep.seen.clear();
    state.sweep.from_anew = true;
}

/// The run has asked for long enough: what came is kept, and the next run goes on.
fn leave(state: &mut State) -> Result<Option<u64>, AwsError> {
    let words = "it took longer than 4 h; what came is kept, and the next run goes on from there";
    give_up(state, "SourceUnfinished", words);
    state.sweep.unfinished = true;
    Ok(None)
}

/// The source cannot be asked: nothing of it changes, and the run tells why.
fn give_up(state: &mut State, error: &str, reason: &str) {
    let failed = Failed {
        name: String::new(),
        error: error.to_owned(),
        reason: reason.to_owned(),
    };
    state.sweep.failed.insert(String::new(), failed);
    state.sweep.done = true;
}

fn last(state: &State) -> SourceRun {
    let held = state.items.values().filter(|item| !item.gone).count() as u64;
    let whole = state.sweep.failed.get("");
    let failed = state
        .sweep
        .failed
        .keys()
        .filter(|id| !id.is_empty())
        .count() as u64;
    SourceRun {
        error: whole.map(|failed| failed.error.clone()),
        reason: whole.map(|failed| failed.reason.clone()),
        ..manage::last_run(&state.sweep.run_id, held, failed)
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
        if state.setting != setting(&row) {
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
            let key = aws::dynamo::keys::source(space, &row.name);
            aws.table.delete_many(&[key]).await?;
        } else if !gone.is_empty() {
            state.forget_gone();
            state.write(aws, space, &row.name).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::state::Item;
    use super::*;

    fn row(removed: bool) -> SourceRow {
        serde_json::from_value(json!({
            "name": "site", "version": 1, "readers": [], "source": {"kind": "s3", "bucket": "b"}, "removed": removed,
        }))
        .unwrap()
    }

    fn failed(name: &str) -> Failed {
        Failed {
            name: name.into(),
            error: "PageUnreadable".into(),
            reason: "(reason)".into(),
        }
    }

    #[test]
    fn a_run_begins_anew_unless_the_one_before_did_not_finish() {
        let row = row(false);
        let check = |unfinished: bool, same_setting: bool, goes_on: bool| {
            let mut state = State::default();
            begin(&mut state, &row, "s.1");
            state.sweep.position = Some("there".into());
            state.sweep.seen.insert("a".into());
            state.cursor = Some("c".into());
            if unfinished {
                leave(&mut state).unwrap();
            }
            if !same_setting {
                state.setting.clear();
            }
            begin(&mut state, &row, "s.1");
            assert_eq!(state.sweep.done, unfinished && same_setting);
            state.sweep.failed.insert("b".into(), failed("site/b"));
            begin(&mut state, &row, "s.2");
            assert_eq!(state.sweep.position.is_some(), goes_on);
            assert_eq!(state.sweep.seen.len(), usize::from(goes_on));
            assert!(!state.sweep.done && !state.sweep.failed.contains_key(""));
            assert_eq!(state.sweep.failed.contains_key("b"), goes_on);
            assert_eq!(state.cursor.is_some(), same_setting);
        };
        check(false, true, false);
        check(true, true, true);
        check(true, false, false);
    }

    #[test]
    fn what_failed_before_a_run_was_left_is_not_gone_at_the_end_of_the_next() {
        let mut state = State::default();
        begin(&mut state, &row(false), "s.1");
        for id in ["seen", "failed", "gone"] {
            state.items.insert(id.into(), Item::default());
        }
        state.sweep.seen.insert("seen".into());
        state.sweep.failed.insert("failed".into(), failed("site/failed"));
        leave(&mut state).unwrap();
        begin(&mut state, &row(false), "s.2");
        end(&mut state, None, true);
        let gone = |id: &str| state.items[id].gone;
        assert_eq!(["seen", "failed", "gone"].map(gone), [false, false, true]);
    }

    #[test]
    fn a_source_that_is_removed_and_set_again_is_asked_for_everything() {
        let mut state = State::default();
        begin(&mut state, &row(true), "s.1");
        let gone = Item {
            gone: true,
            ..Item::default()
        };
        state.items.insert("a".into(), gone);
        state.cursor = Some("c".into());
        begin(&mut state, &row(false), "s.1");
        assert_eq!((state.items["a"].gone, state.cursor), (false, None));
    }
}

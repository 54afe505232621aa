//! One source, asked until it is done in this run: how far it is, and what its answers mean for that.

use std::time::Duration;

use aws::{Aws, AwsError, clock};
use serde_json::json;
use tokio::time::Instant;

use super::confluence::Confluence;
use super::mirror::Mirror;
use super::prefix::Prefix;
use super::setting::{SourceRow, SourceSetting};
use super::sharepoint::Sharepoint;
use super::state::{Failed, State, Sweep};
use super::website::Website;
use super::{Next, Place, Source, SourceError};
use crate::digest::short_id;

/// Waits without progress in between after which a source is left to the next run.
const WAITS: u32 = 30;

/// A wait up to so long is sat out: the state machine writes ten events for each of its own, of which it takes 25,000.
const SAT_OUT: Duration = Duration::from_secs(15);

/// Attempts at a question that fails for what may pass. After the first it waits a second, which doubles.
const ATTEMPTS: u32 = 3;

/// What a run asks of one source in one invocation.
pub(super) struct Turn<'a> {
    pub aws: &'a Aws,
    pub space: &'a str,
    pub row: &'a SourceRow,
    /// When the turn is over.
    pub until: Instant,
    /// When the run asks no more.
    pub ends_at_ms: u64,
}

/// Another run, and another setting, begin anew; what is held stays known. Answers whether they do.
pub(super) fn begin(state: &mut State, row: &SourceRow, run_id: &str) -> bool {
    let setting = setting(row);
    if state.setting != setting {
        (state.setting, state.cursor) = (setting, None);
        state.sweep = Sweep::default();
        // What was gone under the setting before, as all of a source that was removed, need not be under this one.
        for item in state.items.values_mut() {
            item.gone = false;
        }
    }
    let begins = state.sweep.run_id != run_id;
    if begins {
        let before = std::mem::take(&mut state.sweep);
        state.sweep = Sweep {
            run_id: run_id.to_owned(),
            ..match before.unfinished {
                true => go_on(before),
                false => Sweep::default(),
            }
        };
    }
    begins
}

/// What a run did not finish goes on where it stood. What failed was not seen, and is not gone for that.
fn go_on(before: Sweep) -> Sweep {
    let mut failed = before.failed;
    failed.remove("");
    Sweep {
        position: before.position,
        seen: before.seen,
        failed,
        from_anew: before.from_anew,
        wait_until_ms: before.wait_until_ms,
        ..Sweep::default()
    }
}

/// A digest of what decides which documents a source has.
pub(super) fn setting(row: &SourceRow) -> String {
    short_id(&[&json!([row.source, row.removed]).to_string()], 32)
}

/// Asks a source until it is done or its turn is over; answers the seconds until it may be asked on where it is not done.
///
/// # Errors
/// Those of our own services. What came before them is in the state.
pub(super) async fn ask(
    turn: &Turn<'_>,
    state: &mut State,
    begun: bool,
) -> Result<Option<u64>, AwsError> {
    if turn.row.removed {
        for item in state.items.values_mut() {
            item.gone = true;
        }
        state.sweep.done = true;
        return Ok(None);
    }
    let mut mirror = Mirror {
        aws: turn.aws,
        space: turn.space,
        source: &turn.row.name,
        readers: &turn.row.readers,
        state,
        until: turn.until,
    };
    mirror.permit().await?;
    if begun {
        mirror.miss_copies().await?;
    }
    let now_ms = clock::now_ms();
    if now_ms >= turn.ends_at_ms {
        let words =
            "it took longer than 4 h; what came is kept, and the next run goes on from there";
        leave(mirror.state, "SourceUnfinished", words.to_owned());
        return Ok(None);
    }
    let wait_until_ms = mirror.state.sweep.wait_until_ms;
    if wait_until_ms > now_ms {
        return Ok(put_off(mirror.state, turn, wait_until_ms));
    }
    let (aws, space) = (turn.aws, turn.space);
    let asked = match &turn.row.source {
        SourceSetting::S3(setting) => sweep(Some(Prefix::new(aws, setting)), &mut mirror).await,
        SourceSetting::Website(setting) => sweep(Website::new(aws, setting), &mut mirror).await,
        SourceSetting::Confluence(setting) => {
            sweep(Confluence::new(aws, space, setting), &mut mirror).await
        }
        SourceSetting::Sharepoint(setting) => {
            sweep(Sharepoint::new(aws, space, setting), &mut mirror).await
        }
    };
    Ok(match asked? {
        Some(seconds) => {
            let at_ms = clock::now_ms().saturating_add(seconds.saturating_mul(1000));
            put_off(mirror.state, turn, at_ms)
        }
        None => None,
    })
}

/// Has the source asked on at a time, by this run or by a later one; answers the seconds until then.
fn put_off(state: &mut State, turn: &Turn<'_>, at_ms: u64) -> Option<u64> {
    state.sweep.wait_until_ms = at_ms;
    if at_ms > turn.ends_at_ms {
        let until = clock::rfc3339(at_ms);
        let words = format!("it asks to be left alone until {until}; a run after that goes on");
        leave(state, "SourceBusy", words);
        return None;
    }
    Some(at_ms.saturating_sub(clock::now_ms()).div_ceil(1000))
}

async fn sweep(
    source: Option<impl Source>,
    mirror: &mut Mirror<'_>,
) -> Result<Option<u64>, AwsError> {
    let Some(mut source) = source else {
        let words = "its setting cannot be read; set it again";
        give_up(mirror.state, "InvalidSource", words.to_owned());
        return Ok(None);
    };
    let mut failures = 0;
    loop {
        let place = Place {
            cursor: mirror.state.cursor.clone(),
            position: mirror.state.sweep.position.clone(),
        };
        let asked = source.ask(&place, mirror).await;
        failures = match &asked {
            Err(SourceError::Failed { may_pass: true, .. }) => failures + 1,
            _ => 0,
        };
        // A source that fails may have noted itself how far it came.
        let stood = mirror.state.sweep.position.clone();
        let (position, wait_seconds) = match asked {
            Ok(Next::End { cursor, complete }) => {
                end(mirror.state, cursor, complete);
                return Ok(None);
            }
            Ok(Next::More {
                position,
                wait_seconds,
            }) => (Some(position), wait_seconds),
            Err(SourceError::Busy { seconds }) => (stood, seconds),
            Err(SourceError::CursorExpired) if !mirror.state.sweep.from_anew => {
                from_anew(mirror.state);
                continue;
            }
            Err(SourceError::CursorExpired) => {
                let words = "it does not know the cursor that it just gave; sync again";
                give_up(mirror.state, "CursorExpired", words.to_owned());
                return Ok(None);
            }
            Err(SourceError::Failed { may_pass: true, .. }) if failures < ATTEMPTS => {
                (stood, 1 << (failures - 1))
            }
            Err(SourceError::Failed { error, reason, .. }) => {
                give_up(mirror.state, error, reason);
                return Ok(None);
            }
            Err(SourceError::Aws(error)) => return Err(error),
        };
        if came_to(&mut mirror.state.sweep, position, wait_seconds) > WAITS {
            let words = "it asked to come back later too often; the next run goes on from there";
            leave(mirror.state, "SourceBusy", words.to_owned());
            return Ok(None);
        }
        let wait = Duration::from_secs(wait_seconds);
        if wait > SAT_OUT || !mirror.has_time_for(wait) {
            return Ok(Some(wait_seconds));
        }
        tokio::time::sleep(wait).await;
    }
}

/// Notes a position; answers how often the source was waited for since it came on.
fn came_to(sweep: &mut Sweep, position: Option<String>, wait_seconds: u64) -> u32 {
    let came_on = sweep.position != position;
    sweep.position = position;
    sweep.waits = match wait_seconds == 0 || came_on {
        true => 0,
        false => sweep.waits + 1,
    };
    sweep.waits
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

/// The source is asked no more in this run, which tells why: what came is kept, and the next run goes on.
fn leave(state: &mut State, error: &str, reason: String) {
    give_up(state, error, reason);
    state.sweep.unfinished = true;
}

/// The source is asked no more in this run, which tells why: what came is kept, nothing more is gone, and the next run
/// begins anew.
fn give_up(state: &mut State, error: &str, reason: String) {
    let failed = Failed {
        name: String::new(),
        error: error.to_owned(),
        reason,
    };
    state.sweep.failed.insert(String::new(), failed);
    state.sweep.done = true;
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
                leave(&mut state, "SourceUnfinished", "(reason)".into());
            }
            if !same_setting {
                state.setting.clear();
            }
            assert_eq!(begin(&mut state, &row, "s.1"), !same_setting);
            assert_eq!(state.sweep.done, unfinished && same_setting);
            state.sweep.failed.insert("b".into(), failed("site/b"));
            assert!(begin(&mut state, &row, "s.2"));
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
        let one = failed("site/failed");
        state.sweep.failed.insert("failed".into(), one);
        leave(&mut state, "SourceUnfinished", "(reason)".into());
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

    #[test]
    fn waits_count_only_while_a_source_does_not_come_on() {
        let mut sweep = Sweep::default();
        for number in 0..100 {
            assert_eq!(came_to(&mut sweep, Some(number.to_string()), 1), 0);
        }
        for number in 1..=WAITS {
            assert_eq!(came_to(&mut sweep, Some("99".into()), 1), number);
        }
        assert_eq!(came_to(&mut sweep, Some("99".into()), 0), 0);
    }
}

//! What is held of a budget, and until when: the name of it, which the books and a run's row share.

use serde::{Deserialize, Serialize};

use super::budget::names;
use super::calendar::Day;

/// How long what a call holds is held at least: a function lives for 15 minutes at the most. Source: AWS Lambda quotas.
pub(super) const CALL_MINUTES: u64 = 15;
/// Calls that began within so many minutes share the minute until which they hold.
const SHARED_MINUTES: u64 = 15;
/// How long a run holds: its machine ends it after three days and six hours (`TimeoutSeconds` of `infra/ingest.asl.json`).
const RUN_MINUTES: u64 = 78 * 60 + 15;
pub(super) const MINUTE_MS: u64 = 60_000;

/// Where something is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// Days since the epoch would do; people read this.
    day: String,
    /// The attribute that it stands under.
    pub(super) name: String,
    pub(super) amount: u64,
}

impl Hold {
    /// What a call that begins now is going to hold: nothing yet.
    pub fn of_call(now_ms: u64) -> Self {
        let minute = now_ms / MINUTE_MS + CALL_MINUTES;
        let until = (minute / SHARED_MINUTES + 1) * SHARED_MINUTES;
        let day = Day::of(now_ms);
        Self {
            day: day.to_string(),
            name: names::held(day, until, None),
            amount: 0,
        }
    }

    /// The same of a run, under its own name, whenever it is asked.
    pub fn of_run(run_id: &str, started_at_ms: u64) -> Self {
        let day = Day::of(started_at_ms);
        let until = started_at_ms / MINUTE_MS + RUN_MINUTES;
        let whom = run_id.rsplit('.').next().unwrap_or_default();
        Self {
            day: day.to_string(),
            name: names::held(day, until, Some(whom)),
            amount: 0,
        }
    }

    pub(super) fn day(&self) -> Day {
        self.day.parse().unwrap_or_else(|_| Day::of(0))
    }

    pub fn is_empty(&self) -> bool {
        self.amount == 0
    }

    /// The same, where `amount` is what there is to hold.
    pub fn with_amount(self, amount: u64) -> Self {
        Self { amount, ..self }
    }

    /// The same hold under the name of now, where its day or its time is over.
    pub fn renewed(&self, run_id: &str, now_ms: u64) -> Option<Self> {
        let is_over = names::is_over(&self.name, now_ms / MINUTE_MS);
        let renewed = || Self::of_run(run_id, now_ms).with_amount(self.amount);
        (is_over || self.day() != Day::of(now_ms)).then(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::calendar::DAY_MS;
    use super::*;

    /// A run that waited for its jobs held nothing any more after six hours.
    #[test]
    fn a_run_holds_for_as_long_as_its_machine_lets_it() {
        let machine = include_str!("../../../../infra/ingest.asl.json");
        let machine: serde_json::Value = serde_json::from_str(machine).unwrap();
        let seconds = machine["TimeoutSeconds"].as_u64().unwrap();
        assert!((seconds / 60..seconds / 60 + 60).contains(&RUN_MINUTES));
    }

    #[test]
    fn what_is_held_names_until_when() {
        let now_ms = 1_793_534_400_007;
        let minute = now_ms / MINUTE_MS;
        let check = |hold: &Hold, least: u64, most: u64| {
            let (day, until) = names::parse_held(&hold.name).unwrap();
            assert_eq!((day, hold.day.as_str()), (1, "2026-11-01"));
            assert!((minute + least..=minute + most).contains(&until), "{until}");
        };
        check(
            &Hold::of_call(now_ms),
            CALL_MINUTES,
            CALL_MINUTES + SHARED_MINUTES,
        );
        let run = Hold::of_run("default.01k9", now_ms);
        check(&run, RUN_MINUTES, RUN_MINUTES);
        assert_eq!(run, Hold::of_run("default.01k9", now_ms));
        assert_ne!(run.name, Hold::of_run("default.01ka", now_ms).name);
    }

    #[test]
    fn a_hold_has_another_name_once_its_day_or_its_time_is_over() {
        let begun_ms = 1_793_534_400_007;
        let hold = Hold::of_run("default.01k9", begun_ms).with_amount(7);
        let check = |after_ms: u64, is_renewed: bool| {
            let renewed = hold.renewed("default.01k9", begun_ms + after_ms);
            assert_eq!(renewed.is_some(), is_renewed, "{after_ms}");
            if let Some(renewed) = renewed {
                assert!(renewed.name != hold.name && renewed.amount == 7);
                assert_eq!(renewed.renewed("default.01k9", begun_ms + after_ms), None);
            }
        };
        check(0, false);
        check(MINUTE_MS, false);
        check(DAY_MS, true);
        check((RUN_MINUTES + 1) * MINUTE_MS, true);
    }
}

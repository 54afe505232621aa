//! How many requests one caller, and a whole space, may make in a minute.
//!
//! A request is counted before anything is paid for, in one conditional write: a minute's row holds the counts, and the
//! condition is that none has reached its limit. Without a limit nothing is written. When the count cannot be kept, the
//! request is refused: what it would do next needs the same table.

use aws::dynamo::Count;
use aws::dynamo::keys;
use aws::{Aws, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
use crate::access::Caller;
use crate::digest::short_id;
use crate::roles::present;
use crate::spaces::Entered;

/// The length of a window. Windows begin with the minute, the same for everybody.
const WINDOW_SECONDS: u64 = 60;
/// Hex digits that stand for a caller.
const CALLER_DIGITS: usize = 20;
/// What callers are counted as for whom nobody vouches: all of them together.
const ANYBODY: &str = "anybody";

/// Limits of a space's own: `None` is the deployment's, 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_per_minute: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_per_minute: Option<u64>,
}

/// What holds in a space: requests in a minute, 0 for any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub caller_per_minute: u64,
    pub space_per_minute: u64,
}

/// What is to change: a limit that is left out stays, null brings the deployment's back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsChange {
    #[serde(default, deserialize_with = "present")]
    pub caller_per_minute: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present")]
    pub space_per_minute: Option<Option<u64>>,
}

impl OwnLimits {
    /// The same with what `change` says.
    pub fn changed(self, change: LimitsChange) -> Self {
        Self {
            caller_per_minute: change.caller_per_minute.unwrap_or(self.caller_per_minute),
            space_per_minute: change.space_per_minute.unwrap_or(self.space_per_minute),
        }
    }

    /// What holds, with the deployment's limits where the space has none of its own.
    pub fn over(self, aws: &Aws) -> Limits {
        let deployment = aws.settings.request_limits;
        let own = |own: Option<u64>, deployment: u64| own.unwrap_or(deployment);
        Limits {
            caller_per_minute: own(self.caller_per_minute, deployment.caller_per_minute),
            space_per_minute: own(self.space_per_minute, deployment.space_per_minute),
        }
    }
}

/// Counts a request of a caller who has entered a space.
///
/// # Errors
/// [`KnowledgeError::RateLimited`] when this minute's requests are used up; the table's error.
pub async fn count(aws: &Aws, entered: &Entered, caller: &Caller) -> Result<(), KnowledgeError> {
    count_at(aws, entered, caller, clock::now_ms()).await
}

/// The same at a time in milliseconds since the epoch.
///
/// # Errors
/// As [`count`].
pub async fn count_at(
    aws: &Aws,
    entered: &Entered,
    caller: &Caller,
    now_ms: u64,
) -> Result<(), KnowledgeError> {
    let limits = entered.limits;
    let who = short_id(
        &["caller", caller.owner().unwrap_or(ANYBODY)],
        CALLER_DIGITS,
    );
    let (row, counts) = counts(limits, who);
    if counts.is_empty() {
        return Ok(());
    }
    let now_seconds = now_ms / 1000;
    let window = now_seconds / WINDOW_SECONDS;
    let ends = (window + 1) * WINDOW_SECONDS;
    let key = keys::rate(&entered.space, &row, window);
    let Some(full) = aws
        .table
        .count(&key, &counts, ends + WINDOW_SECONDS)
        .await?
    else {
        return Ok(());
    };
    let of_space = counts[full].attribute == SPACE_COUNT;
    Err(KnowledgeError::RateLimited {
        scope: if of_space { "space" } else { "caller" },
        limit: counts[full].limit,
        seconds: ends - now_seconds,
    })
}

const SPACE_COUNT: &str = "requests";
/// The row in which a space with a limit of its own counts all its callers.
const SPACE_ROW: &str = "all";

/// The row and its counts. A space with a limit counts everything in one row, so that one write looks at both limits;
/// without one each caller has a row, and none is in another's way.
fn counts(limits: Limits, who: String) -> (String, Vec<Count>) {
    let limited = |attribute: String, limit: u64| (limit > 0).then_some(Count { attribute, limit });
    let of_caller = limited(format!("caller_{who}"), limits.caller_per_minute);
    match limited(SPACE_COUNT.to_owned(), limits.space_per_minute) {
        Some(of_space) => {
            let both = of_caller.into_iter().chain([of_space]);
            (SPACE_ROW.to_owned(), both.collect())
        }
        None => (who, of_caller.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn one_row_holds_what_one_write_looks_at() {
        let check = |caller: u64, space: u64, row: &str, expected: &[(&str, u64)]| {
            let limits = Limits {
                caller_per_minute: caller,
                space_per_minute: space,
            };
            let (found, counts) = counts(limits, "ab12".into());
            let counts: Vec<_> = counts
                .iter()
                .map(|count| (count.attribute.as_str(), count.limit))
                .collect();
            assert_eq!((found.as_str(), counts.as_slice()), (row, expected));
        };
        check(0, 0, "ab12", &[]);
        check(5, 0, "ab12", &[("caller_ab12", 5)]);
        check(0, 9, "all", &[("requests", 9)]);
        check(5, 9, "all", &[("caller_ab12", 5), ("requests", 9)]);
    }

    #[test]
    fn a_change_changes_what_it_names() {
        let check = |change: Value, caller: Option<u64>, space: Option<u64>| {
            let before = OwnLimits {
                caller_per_minute: Some(5),
                space_per_minute: None,
            };
            let change: LimitsChange = serde_json::from_value(change).unwrap();
            let after = before.changed(change);
            let found = (after.caller_per_minute, after.space_per_minute);
            assert_eq!(found, (caller, space));
        };
        check(json!({}), Some(5), None);
        check(json!({"caller_per_minute": null}), None, None);
        check(json!({"space_per_minute": 0}), Some(5), Some(0));
    }
}

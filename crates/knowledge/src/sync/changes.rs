//! What a run would change, told before any document is touched; and the brake, which stops a run that would delete much.

use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

use super::rows::objects;

/// Deletions that no brake stops: one document more or less is no accident of a source.
const FREE_DELETIONS: usize = 1;

/// How a document differs from what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    New,
    Changed,
    /// New under this name, with the bytes of a document whose name is gone.
    Renamed,
    /// The same bytes, cut as the space's chunking says now.
    Rechunked,
    Deleted,
}

/// A document that a run would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    pub change: Change,
    pub document_id: String,
    pub name: String,
    /// The name that the document had, where it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// A planned change as it is written: see [`PlannedChange`].
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Told<'a> {
    pub change: Change,
    pub document_id: &'a str,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<&'a str>,
}

/// Why a run goes no further than its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    DryRun,
    /// In words, what would have been deleted and how to go on.
    Brake(String),
    /// In words, what the run may cost and when there is room for it.
    Budget(String),
}

/// Whether deleting `deleted` of the `live` documents, which answer now, is more than `percent` of them.
pub(super) fn brake(live: usize, deleted: usize, percent: u64) -> Option<Stop> {
    let share = deleted as u64 * 100;
    if deleted <= FREE_DELETIONS || share <= percent * live as u64 {
        return None;
    }
    Some(Stop::Brake(format!(
        "the run would delete {deleted} of {live} documents, more than {percent} %; none was touched. See what it would \
         do with `outcrop sync --dry-run`; if that is right, start it with `outcrop sync --allow-deletions` \
         (allow_deletions of POST /v1/runs)"
    )))
}

/// Writes what the run would change, in the order of kind and name.
pub(super) async fn write(
    aws: &Aws,
    run_id: &str,
    mut changes: Vec<Told<'_>>,
) -> Result<(), AwsError> {
    changes.sort_by_key(|told| (told.change, told.name));
    let mut lines = String::new();
    for change in &changes {
        let line = serde_json::to_string(change).map_err(|error| AwsError::Damaged {
            detail: format!("a planned change: {error}"),
        })?;
        lines.push_str(&line);
        lines.push('\n');
    }
    aws.bucket.put(&objects::changes(run_id), lines).await
}

/// Up to `limit` changes of a run from number `from` on; the number after them while there are more. `None` before the
/// run has its plan.
pub(crate) async fn read(
    aws: &Aws,
    run_id: &str,
    from: usize,
    limit: usize,
) -> Result<Option<(Vec<PlannedChange>, Option<usize>)>, AwsError> {
    let bytes = match aws.bucket.get(&objects::changes(run_id)).await {
        Err(AwsError::Missing { .. }) => return Ok(None),
        bytes => bytes?,
    };
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .skip(from);
    let mut changes = Vec::new();
    for line in lines.by_ref().take(limit) {
        let change = serde_json::from_slice(line).map_err(|error| AwsError::Damaged {
            detail: format!("a planned change of run {run_id}: {error}"),
        })?;
        changes.push(change);
    }
    let next = lines.next().is_some().then_some(from + changes.len());
    Ok(Some((changes, next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_stops_what_deletes_much() {
        let check = |live: usize, deleted: usize, percent: u64, stops: bool| {
            let stop = brake(live, deleted, percent);
            assert_eq!(stop.is_some(), stops, "{deleted} of {live}, {percent} %");
        };
        check(0, 0, 20, false);
        check(10, 2, 20, false);
        check(10, 3, 20, true);
        check(100, 20, 20, false);
        check(100, 21, 20, true);
        check(100, 100, 20, true);
        // One document is never an accident of the source.
        check(1, 1, 20, false);
        check(2, 2, 20, true);
        check(10, 2, 0, true);
        check(10, 10, 100, false);
    }
}

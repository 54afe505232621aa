//! A rule with a schedule. When it is due next stands in a file: a laptop is often off, and a rate of a day that began anew with
//! each start would never be up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Schedule, Target};
use crate::states::Clock;

/// The longest sleep: a timer of the machine may stand still while the machine sleeps, its clock does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What the file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Due {
    expression: String,
    at_ms: u64,
}

pub(crate) struct Timer {
    pub schedule: Schedule,
    pub targets: Vec<Target>,
    pub file: PathBuf,
    pub clock: Arc<Clock>,
}

impl Timer {
    /// Sends the targets their inputs whenever it is time, until there is no other. What was missed while nothing ran is sent once.
    pub(crate) async fn run(self) {
        let mut due_ms = self.first_due();
        while let Some(at_ms) = due_ms {
            let wait = Duration::from_millis(at_ms.saturating_sub(self.clock.now_ms()));
            if !wait.is_zero() {
                self.clock.sleep(wait.min(LONGEST_SLEEP)).await;
                continue;
            }
            for target in &self.targets {
                if let Some(input) = &target.input {
                    target.queue.send(input.clone());
                }
            }
            due_ms = self.next();
        }
    }

    /// As the file says, unless the schedule was another; a rate begins when its rule is made.
    pub(super) fn first_due(&self) -> Option<u64> {
        let noted = std::fs::read(&self.file).ok();
        let noted = noted.and_then(|bytes| serde_json::from_slice::<Due>(&bytes).ok());
        let latest = self.schedule.next_after(self.clock.now_ms());
        let expression = self.schedule.to_string();
        let noted = noted.filter(|due| due.expression == expression);
        // A clock that was set back must not silence the schedule.
        match noted.filter(|due| latest.is_none_or(|latest| due.at_ms <= latest)) {
            Some(due) => Some(due.at_ms),
            None => self.next(),
        }
    }

    /// The next time, as it is noted.
    fn next(&self) -> Option<u64> {
        let at_ms = self.schedule.next_after(self.clock.now_ms())?;
        let expression = self.schedule.to_string();
        let written = serde_json::to_vec(&Due { expression, at_ms })
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&self.file, bytes));
        if let Err(error) = written {
            tracing::warn!(%error, "when the schedule is due next is not kept");
        }
        Some(at_ms)
    }
}

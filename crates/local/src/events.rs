//! EventBridge on the laptop: events of the buckets meet the template's rules, and what matches goes to their queues.

mod pattern;
mod schedule;
mod timer;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::queues::Queue;
use crate::states::Clock;
use crate::template::{ACCOUNT, REGION};

use pattern::Pattern;
pub use schedule::{Schedule, ScheduleError};
pub(crate) use timer::Timer;

/// The rules that wait for events. Clones share everything.
#[derive(Clone)]
pub(crate) struct Bus {
    rules: Arc<[Rule]>,
    clock: Arc<Clock>,
}

/// A rule that waits for events.
pub(crate) struct Rule {
    pattern: Pattern,
    targets: Vec<Target>,
}

/// A queue that a rule sends to, and what it sends in place of the event.
#[derive(Clone)]
pub(crate) struct Target {
    pub queue: Arc<Queue>,
    pub input: Option<String>,
}

impl Rule {
    /// Reads a rule's pattern.
    ///
    /// # Errors
    /// What in it is not known here, in words.
    pub(crate) fn new(pattern: &Value, targets: Vec<Target>) -> Result<Self, String> {
        let pattern = Pattern::read(pattern)?;
        Ok(Self { pattern, targets })
    }
}

impl Bus {
    pub(crate) fn new(rules: Vec<Rule>, clock: Arc<Clock>) -> Self {
        let rules = rules.into();
        Self { rules, clock }
    }

    /// Takes an event of a service, `aws.s3` for one, in EventBridge's envelope, and sends it to the queues of the rules that
    /// it matches. Source: Amazon S3 User Guide, "EventBridge event message structure".
    pub(crate) fn put(&self, source: &str, kind: &str, resource: &str, detail: Value) {
        let now = aws::clock::rfc3339(self.clock.now_ms());
        let event = json!({
            "version": "0",
            "id": self.clock.uuid(),
            "detail-type": kind,
            "source": source,
            "account": ACCOUNT,
            // Whole seconds, as S3 tells them.
            "time": format!("{}Z", now.split('.').next().unwrap_or_default()),
            "region": REGION,
            "resources": [resource],
            "detail": detail,
        });
        let matched = self
            .rules
            .iter()
            .filter(|rule| rule.pattern.matches(&event));
        for target in matched.flat_map(|rule| &rule.targets) {
            let input = target.input.clone();
            target
                .queue
                .send(input.unwrap_or_else(|| event.to_string()));
        }
    }

    /// What keys of objects begin with that some rule waits for; empty text: any key.
    pub(crate) fn key_prefixes(&self) -> Vec<String> {
        let rules = self.rules.iter();
        let mut prefixes: Vec<String> =
            rules.flat_map(|rule| rule.pattern.key_prefixes()).collect();
        prefixes.sort();
        prefixes.dedup();
        prefixes
    }
}

#[cfg(test)]
mod tests;

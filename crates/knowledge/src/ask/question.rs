//! The question on its way in.

use std::time::Instant;

use aws::bedrock::GuardSource;

use super::events::{AskEvent, HungUp, Listener};
use crate::KnowledgeError;
use crate::guard::call::{BLOCKED, Guard};
use crate::guard::verdict::{self, Checked, Finding, Verdict};
use crate::search::milliseconds;

/// A question that the guard has looked at.
pub(super) struct GuardedQuestion {
    /// With what was masked replaced; blocked: what to say instead.
    pub text: String,
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    pub text_units: u64,
    pub checks: u32,
    pub waited_ms: f64,
}

impl GuardedQuestion {
    /// Tells what was found, if anything was.
    pub async fn tell(&self, listener: &Listener) -> Result<(), HungUp> {
        if self.verdict == Verdict::Allow {
            return Ok(());
        }
        let event = AskEvent::Guard {
            direction: "question",
            verdict: self.verdict,
            findings: self.findings.clone(),
        };
        listener.tell(event).await
    }
}

/// Looks at a question.
///
/// # Errors
/// [`KnowledgeError::GuardUnavailable`].
pub(super) async fn guarded(
    guard: &Guard<'_>,
    question: &str,
) -> Result<GuardedQuestion, KnowledgeError> {
    let begun = Instant::now();
    let guarded = guard.is_on() && guard.rules.question.guarded;
    let checked = match guarded {
        true => {
            let wait = guard.rules.question.wait();
            guard
                .check(GuardSource::Input, &[question], &[], wait)
                .await?
        }
        false => Checked::default(),
    };
    let text = match checked.verdict {
        Verdict::Allow => question.to_owned(),
        Verdict::Mask => verdict::masked(question, &checked.edits[0]),
        Verdict::Block => checked.message.unwrap_or_else(|| BLOCKED.to_owned()),
    };
    Ok(GuardedQuestion {
        text,
        verdict: checked.verdict,
        findings: checked
            .findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect(),
        text_units: checked.units.total(),
        checks: u32::from(guarded),
        waited_ms: if guarded { milliseconds(begun) } else { 0.0 },
    })
}

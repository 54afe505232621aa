//! The calls to the guardrail: many texts in few calls, long texts in pieces, and a bounded wait. Whatever goes wrong is an
//! error, never a pass.

use std::ops::Range;
use std::time::{Duration, Instant};

use aws::Aws;
use aws::bedrock::{GuardReply, GuardRole, GuardSource, GuardText, GuardrailRef};
use aws::config::GuardMode;
use serde::{Deserialize, Serialize};

use super::rules::{Rules, rules};
use super::verdict::{self, Checked, Finding, Verdict};
use crate::KnowledgeError;
use crate::access::Caller;
use crate::ledger::{Account, GUARDRAIL, bound};
use crate::limits;
use crate::models::prices;
use crate::roles::Role;
use crate::search::milliseconds;
use crate::spaces;

/// Characters in one call: AWS takes 25 text units of 1,000 on demand; the context for grounding counts with them.
const CALL_CHARACTERS: usize = 20_000;
/// Bytes that two pieces of one long text have in common, so that what lies across the cut is seen.
const OVERLAP: usize = 256;
/// Longest text over HTTP (characters).
const TEXT_LIMIT: usize = 200_000;

/// The guardrail of a space, if there is one.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    aws: &'a Aws,
    account: &'a Account<'a>,
    guardrail: Option<&'a GuardrailRef>,
    pub rules: &'static Rules,
}

/// `POST /v1/guardrail/check`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardCheckRequest {
    pub source: Source,
    #[serde(default)]
    pub text: String,
    #[serde(default)]
    pub space: Option<String>,
    /// What the text must rest on, of an OUTPUT.
    #[serde(default)]
    pub grounding_source: Option<String>,
    /// What the text answers, of an OUTPUT.
    #[serde(default)]
    pub query: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Source {
    Input,
    Output,
}

/// What a check says.
#[derive(Debug, Clone, Serialize)]
pub struct GuardCheckReply {
    pub verdict: Verdict,
    /// The text with what is to be masked replaced; blocked: what to say instead.
    pub text: String,
    pub findings: Vec<Finding>,
    /// Text units of 1,000 characters that the check was billed for, all policies together.
    pub text_units: u64,
    /// What they cost, in nanodollars.
    pub cost_nano_usd: u64,
    /// `on`, or `off` where no guardrail is set and everything is allowed.
    pub guard: &'static str,
    pub took_ms: f64,
}

/// A text for one call: all of a slot or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    slot: usize,
    bytes: Range<usize>,
}

impl<'a> Guard<'a> {
    /// What is checked is taken by the account.
    pub fn of(aws: &'a Aws, space: &str, account: &'a Account<'a>) -> Self {
        let on = aws.settings.guard_mode != GuardMode::Off;
        Self {
            aws,
            account,
            guardrail: aws.settings.guardrail.as_ref().filter(|_| on),
            rules: rules(space),
        }
    }

    /// Whether there is a guardrail to ask.
    pub fn is_on(&self) -> bool {
        self.guardrail.is_some()
    }

    /// How answers are guarded here.
    pub fn answer_mode(&self) -> GuardMode {
        match self.is_on() {
            true => self.rules.answer.mode(self.aws.settings.guard_mode),
            false => GuardMode::Off,
        }
    }

    /// Checks texts, the slots. `wait` bounds each call.
    ///
    /// # Errors
    /// [`KnowledgeError::GuardUnavailable`] when the guardrail gave no verdict in time.
    pub async fn check(
        &self,
        source: GuardSource,
        slots: &[&str],
        context: &[GuardText],
        wait: Duration,
    ) -> Result<Checked, KnowledgeError> {
        let mut whole = Checked {
            edits: vec![Vec::new(); slots.len()],
            ..Checked::default()
        };
        let Some(guardrail) = self.guardrail else {
            return Ok(whole);
        };
        for parts in calls(slots, room_beside(context)) {
            let texts: Vec<&str> = parts
                .iter()
                .map(|part| &slots[part.slot][part.bytes.clone()])
                .collect();
            let content = texts.iter().map(|text| GuardText {
                text: (*text).to_owned(),
                role: GuardRole::Content,
            });
            let blocks: Vec<GuardText> = context.iter().cloned().chain(content).collect();
            let reply = self.ask(guardrail, source, &blocks, wait).await?;
            self.account.guarded(reply.units);
            add(&mut whole, &parts, verdict::read(&texts, &reply));
        }
        whole.edits = whole.edits.into_iter().map(verdict::merged).collect();
        Ok(whole)
    }

    /// What checking these may cost at the most: each call looks at all of the context again.
    fn bound(slots: &[&str], context: &[GuardText]) -> u64 {
        let beside: Vec<&str> = context.iter().map(|text| text.text.as_str()).collect();
        let of_call = |parts: &Vec<Part>| -> u64 {
            let texts = parts
                .iter()
                .map(|part| &slots[part.slot][part.bytes.clone()]);
            let looked_at = texts.chain(beside.iter().copied());
            let costs = looked_at.map(|text| match beside.is_empty() {
                true => bound::guard(text),
                false => bound::guard(text).saturating_add(bound::grounding(text)),
            });
            costs.fold(0, u64::saturating_add)
        };
        let calls = calls(slots, room_beside(context));
        calls.iter().map(of_call).fold(0, u64::saturating_add)
    }

    async fn ask(
        &self,
        guardrail: &GuardrailRef,
        source: GuardSource,
        blocks: &[GuardText],
        wait: Duration,
    ) -> Result<GuardReply, KnowledgeError> {
        let asked = self.aws.bedrock.apply_guardrail(guardrail, source, blocks);
        let unavailable = |detail: String| {
            tracing::error!(detail, "the guardrail gave no verdict");
            KnowledgeError::GuardUnavailable
        };
        match tokio::time::timeout(wait, asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!(
                "nothing came in {} ms",
                wait.as_millis()
            ))),
        }
    }
}

/// Checks one text for a caller.
///
/// # Errors
/// An empty or too long text, [`KnowledgeError::UnknownSpace`], and [`KnowledgeError::GuardUnavailable`].
pub async fn check(
    aws: &Aws,
    caller: &Caller,
    request: &GuardCheckRequest,
) -> Result<GuardCheckReply, KnowledgeError> {
    let begun = Instant::now();
    let characters = request.text.chars().count();
    if request.text.trim().is_empty() || characters > TEXT_LIMIT {
        let detail = format!("the text has {characters} characters; send 1 to {TEXT_LIMIT}");
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let entered = spaces::enter(aws, space, caller, Role::Reader).await?;
    limits::count(aws, &entered, caller).await?;
    let account = Account::unnamed(aws, &entered);
    let checked = checked(aws, &account, space, request).await;
    account.close().await;
    let (guard_on, checked) = checked?;
    let text = match checked.verdict {
        Verdict::Allow => request.text.clone(),
        Verdict::Mask => verdict::masked(&request.text, &checked.edits[0]),
        Verdict::Block => checked
            .message
            .clone()
            .unwrap_or_else(|| BLOCKED.to_owned()),
    };
    Ok(GuardCheckReply {
        verdict: checked.verdict,
        text,
        findings: checked
            .findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect(),
        text_units: checked.units.total(),
        cost_nano_usd: prices::guardrail().cost(checked.units),
        guard: if guard_on { "on" } else { "off" },
        took_ms: milliseconds(begun),
    })
}

/// Whether there is a guardrail, and what it found.
async fn checked(
    aws: &Aws,
    account: &Account<'_>,
    space: &str,
    request: &GuardCheckRequest,
) -> Result<(bool, Checked), KnowledgeError> {
    let guard = Guard::of(aws, space, account);
    let beside = [
        (&request.grounding_source, GuardRole::GroundingSource),
        (&request.query, GuardRole::Query),
    ];
    let context: Vec<GuardText> = beside
        .into_iter()
        .filter_map(|(text, role)| {
            Some(GuardText {
                text: text.clone().filter(|text| !text.is_empty())?,
                role,
            })
        })
        .collect();
    let (source, wait) = match request.source {
        Source::Input => (GuardSource::Input, guard.rules.question.wait()),
        Source::Output => (GuardSource::Output, guard.rules.answer.wait()),
    };
    if guard.is_on() {
        let cost = Guard::bound(&[&request.text], &context);
        account.hold(Some(cost), GUARDRAIL).await?;
    }
    let checked = guard
        .check(source, &[&request.text], &context, wait)
        .await?;
    Ok((guard.is_on(), checked))
}

/// What stands instead of a blocked text where the guardrail gave no words.
pub(crate) const BLOCKED: &str = "The guardrail blocked this.";

/// Puts what one call found into the whole.
fn add(whole: &mut Checked, parts: &[Part], found: Checked) {
    whole.verdict = whole.verdict.max(found.verdict);
    whole.units += found.units;
    whole.message = whole.message.take().or(found.message);
    for (part, edits) in parts.iter().zip(found.edits) {
        let offset = part.bytes.start;
        whole.edits[part.slot].extend(edits.into_iter().map(|mut edit| {
            edit.range = edit.range.start + offset..edit.range.end + offset;
            edit
        }));
    }
    for (at, finding) in found.findings {
        let part = at.and_then(|at| parts.get(at));
        let offset = part.map_or(0, |part| part.bytes.start as u64);
        let finding = Finding {
            start: finding.start.map(|start| start + offset),
            end: finding.end.map(|end| end + offset),
            ..finding
        };
        let found = (part.map(|part| part.slot), finding);
        // What lies in the overlap of two parts is found twice.
        if !whole.findings.contains(&found) {
            whole.findings.push(found);
        }
    }
}

/// The characters of a call that are left beside what its texts are held against.
fn room_beside(context: &[GuardText]) -> usize {
    let beside: usize = context.iter().map(|text| text.text.chars().count()).sum();
    CALL_CHARACTERS.saturating_sub(beside).max(1_000)
}

/// The slots in as few calls as hold them, `room` characters each; a slot that is too long is cut where a word ends, and
/// each part begins [`OVERLAP`] bytes before the end of the last. Blank slots are not sent: the API refuses them.
fn calls(slots: &[&str], room: usize) -> Vec<Vec<Part>> {
    let mut calls: Vec<Vec<Part>> = Vec::new();
    let mut left = 0;
    for (slot, text) in slots
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty())
    {
        for bytes in cut(text, room) {
            let characters = text[bytes.clone()].chars().count();
            if calls.is_empty() || characters > left {
                calls.push(Vec::new());
                left = room;
            }
            left -= characters.min(left);
            if let Some(call) = calls.last_mut() {
                call.push(Part { slot, bytes });
            }
        }
    }
    calls
}

fn cut(text: &str, room: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    loop {
        let rest = &text[start..];
        let Some((limit, _)) = rest.char_indices().nth(room) else {
            parts.push(start..text.len());
            return parts;
        };
        let word_end = |within: &str| {
            within
                .rfind(char::is_whitespace)
                .filter(|at| *at > 2 * OVERLAP)
        };
        let end = start + word_end(&rest[..limit]).unwrap_or(limit);
        parts.push(start..end);
        let back = end.saturating_sub(OVERLAP).max(start + 1);
        let back = (back..=end)
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(end);
        start = text[back..end]
            .find(char::is_whitespace)
            .map_or(back, |at| back + at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_texts_share_a_call_and_long_ones_are_cut() {
        let long = "word ".repeat(500);
        let slots = ["a", "", long.as_str(), "b"];
        let calls = calls(&slots, 1_000);
        assert_eq!(
            calls[0][0],
            Part {
                slot: 0,
                bytes: 0..1
            }
        );
        assert!(
            calls.iter().flatten().all(|part| part.slot != 1),
            "blank texts are not sent"
        );
        assert!(calls.len() > 3);
        assert_eq!(
            calls.last().and_then(|call| call.last()),
            Some(&Part {
                slot: 3,
                bytes: 0..1
            })
        );
    }

    /// What was held for a long text was less than its check cost: the context goes with each of its calls.
    #[test]
    fn context_costs_once_for_each_call() {
        let (text, source) = ("word ".repeat(10_000), "source ".repeat(700));
        let context = [GuardText {
            text: source.clone(),
            role: GuardRole::GroundingSource,
        }];
        let calls = calls(&[&text], room_beside(&context)).len() as u64;
        assert!(calls > 2);
        let apart = Guard::bound(&[&text], &[]) + calls * Guard::bound(&[&source], &[]);
        assert!(Guard::bound(&[&text], &context) > apart);
    }

    proptest! {
        #[test]
        fn parts_cover_the_text_and_fit(text in "(?s)[a-zä ]{0,6000}", room in 600usize..2000) {
            let parts = cut(&text, room);
            let mut covered = 0;
            for part in &parts {
                prop_assert!(part.start <= covered && part.end >= covered);
                prop_assert!(text[part.clone()].chars().count() <= room);
                covered = part.end;
            }
            prop_assert_eq!(covered, text.len());
            for pair in parts.windows(2) {
                prop_assert!(pair[1].start < pair[0].end, "parts overlap");
            }
        }
    }
}

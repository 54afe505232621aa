//! What ApplyGuardrail's answer means. Its `action` is the same for a block and for a mask, so the assessments decide; they
//! name the words that were found and no positions, so the words are looked up in the text.

use std::ops::Range;

use aws::bedrock::{FindingAction, GuardReply, GuardUnits};
use serde::Serialize;

/// What is to be done with a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    #[default]
    Allow,
    Mask,
    Block,
}

/// One finding, without the words that were found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `topic`, `content`, `word`, `pii`, `regex`, `grounding`; `unlocated` for something to mask that is not in the text.
    pub policy: &'static str,
    /// The policy's own name for it: EMAIL, VIOLENCE, a topic's name.
    pub kind: String,
    /// `block`, `mask` or `none`.
    pub action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Bytes of the text, where the policy tells what it found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// A part of a text that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    /// Such as `{EMAIL}`.
    pub placeholder: String,
}

/// What a check of several texts, the slots, found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    pub verdict: Verdict,
    /// For each slot what is to be replaced, in order, none overlapping another.
    pub edits: Vec<Vec<Edit>>,
    /// With the slot that each stands in, where the policy tells what it found.
    pub findings: Vec<(Option<usize>, Finding)>,
    /// What the guardrail says instead of a blocked text.
    pub message: Option<String>,
    pub units: GuardUnits,
}

/// Reads a reply over the texts that were sent, one slot each.
///
/// Every place where the words of a finding stand is masked, not only the one that the guardrail meant: more than
/// necessary sometimes, less never. Something to mask that cannot be found in any slot, and an intervention without a
/// finding that explains it, block.
pub fn read(slots: &[&str], reply: &GuardReply) -> Checked {
    let mut checked = Checked {
        edits: vec![Vec::new(); slots.len()],
        units: reply.units,
        ..Checked::default()
    };
    let mut explained = false;
    for found in &reply.findings {
        let action = match found.action {
            FindingAction::Blocked => "block",
            FindingAction::Anonymized => "mask",
            FindingAction::None => "none",
        };
        explained |= found.action != FindingAction::None;
        let mut finding = Finding {
            policy: found.policy,
            kind: found.kind.clone(),
            action,
            confidence: found.confidence.clone(),
            score: found.score,
            start: None,
            end: None,
        };
        let places = places(slots, found.matched.as_deref());
        if found.action == FindingAction::Anonymized {
            for (slot, range) in &places {
                checked.edits[*slot].push(Edit {
                    range: range.clone(),
                    placeholder: format!("{{{}}}", found.kind),
                });
            }
            if places.is_empty() {
                finding.policy = "unlocated";
                finding.action = "block";
            }
        }
        checked.verdict = checked.verdict.max(verdict_of(finding.action));
        if places.is_empty() {
            checked.findings.push((None, finding));
            continue;
        }
        for (slot, range) in places {
            let located = Finding {
                start: Some(range.start as u64),
                end: Some(range.end as u64),
                ..finding.clone()
            };
            if !checked.findings.contains(&(Some(slot), located.clone())) {
                checked.findings.push((Some(slot), located));
            }
        }
    }
    if reply.intervened && !explained {
        checked.verdict = Verdict::Block;
    }
    if checked.verdict == Verdict::Block {
        // Only a blocked reply's output is the guardrail's message; a masked one's is the text.
        let blocked = reply
            .findings
            .iter()
            .any(|found| found.action == FindingAction::Blocked);
        checked.message = reply.outputs.first().filter(|_| blocked).cloned();
    }
    checked.edits = checked.edits.into_iter().map(merged).collect();
    checked
}

fn verdict_of(action: &str) -> Verdict {
    match action {
        "block" => Verdict::Block,
        "mask" => Verdict::Mask,
        _ => Verdict::Allow,
    }
}

fn places(slots: &[&str], matched: Option<&str>) -> Vec<(usize, Range<usize>)> {
    let Some(words) = matched.filter(|words| !words.is_empty()) else {
        return Vec::new();
    };
    let in_slot = |(slot, text): (usize, &&str)| {
        let hits = text.match_indices(words);
        hits.map(|(at, words)| (slot, at..at + words.len()))
            .collect::<Vec<_>>()
    };
    slots.iter().enumerate().flat_map(in_slot).collect()
}

/// In order, and those that overlap made one under the name of the first.
pub fn merged(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
    let mut merged: Vec<Edit> = Vec::new();
    for edit in edits {
        match merged.last_mut() {
            Some(last) if edit.range.start < last.range.end => {
                last.range.end = last.range.end.max(edit.range.end);
            }
            _ => merged.push(edit),
        }
    }
    merged
}

/// The text with its edits made.
pub fn masked(text: &str, edits: &[Edit]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        masked.push_str(&text[at..edit.range.start]);
        masked.push_str(&edit.placeholder);
        at = edit.range.end;
    }
    masked.push_str(&text[at..]);
    masked
}

/// Where a byte of the text stands in the masked text. A byte inside of an edit moves to the placeholder's beginning.
pub fn moved(offset: usize, edits: &[Edit]) -> usize {
    let mut moved = offset;
    for edit in edits.iter().take_while(|edit| edit.range.start < offset) {
        if offset < edit.range.end {
            return moved + edit.range.start - offset;
        }
        moved = moved + edit.placeholder.len() - edit.range.len();
    }
    moved
}

#[cfg(test)]
mod tests {
    use aws::bedrock::GuardFinding;
    use proptest::prelude::*;

    use super::*;

    fn found(kind: &str, action: FindingAction, matched: Option<&str>) -> GuardFinding {
        GuardFinding {
            policy: "pii",
            kind: kind.into(),
            action,
            confidence: None,
            score: None,
            matched: matched.map(str::to_owned),
        }
    }

    fn reply(intervened: bool, findings: Vec<GuardFinding>) -> GuardReply {
        GuardReply {
            intervened,
            outputs: vec!["No.".into()],
            findings,
            units: GuardUnits::default(),
        }
    }

    #[test]
    fn the_findings_decide() {
        use FindingAction::{Anonymized, Blocked, None as Nothing};
        let check =
            |intervened: bool, findings: Vec<GuardFinding>, verdict: Verdict, text: &str| {
                let slots = ["to ann@x.io, ann@x.io"];
                let checked = read(&slots, &reply(intervened, findings));
                assert_eq!(checked.verdict, verdict);
                assert_eq!(masked(slots[0], &checked.edits[0]), text);
            };
        let plain = "to ann@x.io, ann@x.io";
        check(false, vec![], Verdict::Allow, plain);
        check(
            false,
            vec![found("EMAIL", Nothing, Some("ann@x.io"))],
            Verdict::Allow,
            plain,
        );
        let mask = || found("EMAIL", Anonymized, Some("ann@x.io"));
        check(true, vec![mask()], Verdict::Mask, "to {EMAIL}, {EMAIL}");
        check(
            true,
            vec![mask(), mask()],
            Verdict::Mask,
            "to {EMAIL}, {EMAIL}",
        );
        check(
            true,
            vec![mask(), found("X", Blocked, None)],
            Verdict::Block,
            "to {EMAIL}, {EMAIL}",
        );
        check(
            true,
            vec![found("EMAIL", Anonymized, Some("not there"))],
            Verdict::Block,
            plain,
        );
        check(
            true,
            vec![found("EMAIL", Anonymized, None)],
            Verdict::Block,
            plain,
        );
        check(true, vec![], Verdict::Block, plain);
    }

    #[test]
    fn slots_keep_apart() {
        let slots = ["a bob b", "bob", "c"];
        let checked = read(
            &slots,
            &reply(
                true,
                vec![found("NAME", FindingAction::Anonymized, Some("bob"))],
            ),
        );
        let texts: Vec<_> = slots
            .iter()
            .zip(&checked.edits)
            .map(|(text, edits)| masked(text, edits))
            .collect();
        assert_eq!(texts, ["a {NAME} b", "{NAME}", "c"]);
        assert_eq!(checked.findings.len(), 2);
        assert_eq!(
            (checked.findings[0].0, checked.findings[0].1.start),
            (Some(0), Some(2))
        );
    }

    proptest! {
        #[test]
        fn a_moved_slice_is_the_masked_slice(text in "[a-cä@ ]{0,60}", cut in 0usize..60) {
            let reply = reply(true, vec![
                found("A", FindingAction::Anonymized, Some("a@")),
                found("BB", FindingAction::Anonymized, Some("@b c")),
            ]);
            let checked = read(&[&text], &reply);
            let edits = &checked.edits[0];
            let whole = masked(&text, edits);
            let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let inside = edits.iter().any(|edit| edit.range.start < cut && cut < edit.range.end);
            if !inside {
                let before: Vec<Edit> = edits.iter().filter(|edit| edit.range.end <= cut).cloned().collect();
                prop_assert_eq!(&whole[..moved(cut, edits)], masked(&text[..cut], &before));
            } else {
                let at = whole.as_bytes()[moved(cut, edits)];
                prop_assert_eq!(at, b'{');
            }
        }
    }
}

//! Screen: the documents of an extracted batch through the guardrail, before anything of them is embedded.
//!
//! What is masked is masked in the stored text too, so that passages, quotes and the text that citations count their bytes
//! in stay the same text. A quarantined document leaves the batch with its reason.

use std::collections::BTreeMap;

use aws::bedrock::GuardSource;
use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use retrieval::SegmentDocument;
use serde_json::{Value, json};

use super::StepError;
use super::rows::{BatchRow, DocumentRow, DocumentStatus, Screening, ScreeningFinding, objects};
use crate::digest::sha256_hex;
use crate::guard::call::Guard;
use crate::guard::rules::{DocumentRules, OnFinding};
use crate::guard::verdict::{self, Checked, Edit, Verdict};
use crate::ledger::Account;
use crate::names;

/// The filter that finds instructions to a model.
const PROMPT_ATTACK: &str = "PROMPT_ATTACK";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Allow,
    Flag,
    Mask,
    Quarantine,
}

pub(super) async fn screen_batch(
    aws: &Aws,
    run_id: &str,
    batch_id: &str,
    account: &Account<'_>,
) -> Result<Value, StepError> {
    let done = |masked: usize, quarantined: usize| json!({ "run_id": run_id, "batch_id": batch_id, "masked": masked, "quarantined": quarantined });
    let passages_key = objects::passages(run_id, batch_id);
    let screened_key = objects::screened(run_id, batch_id);
    let batch_key = keys::batch(run_id, batch_id);
    let batch: Option<BatchRow> = aws.table.get(&batch_key).await?;
    let mut batch = batch.ok_or_else(|| AwsError::Missing {
        what: format!("batch {batch_id}"),
    })?;
    // The batch's row is written last but for the removal of texts: where it names what was screened, only that is left.
    if batch.part_key.is_some() || batch.passages_key.as_ref() == Some(&screened_key) {
        remove_stale(aws, &batch).await?;
        return Ok(done(0, 0));
    }
    let documents: Vec<SegmentDocument> =
        serde_json::from_slice(&aws.bucket.get(&passages_key).await?)?;
    let (mut kept, mut rows, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    let (mut masked, mut quarantined) = (0, 0);
    for document in documents {
        let space = keys::space_of(&document.document_id).unwrap_or_default();
        let guard = Guard::of(aws, space, account);
        if !guard.is_on() {
            return Ok(done(0, 0));
        }
        let text_key = names::text_key(&document.document_id, &document.content_hash);
        let text = String::from_utf8_lossy(&aws.bucket.get(&text_key).await?).into_owned();
        let slots = slots(&document, &text);
        let found = guard
            .check(
                GuardSource::Input,
                &slots,
                &[],
                guard.rules.documents.wait(),
            )
            .await;
        let checked = found.map_err(|_| StepError::GuardUnavailable)?;
        let decision = decide(&guard.rules.documents, &checked);
        if decision == Decision::Allow {
            kept.push(document);
            continue;
        }
        let screening = screening(decision, &checked);
        rows.push(told(aws, &document.document_id, decision, &screening).await?);
        match decision {
            Decision::Quarantine => {
                quarantined += 1;
                refuse(&mut batch, &document.document_id, &screening);
                stale.push(text_key);
            }
            Decision::Mask => {
                masked += 1;
                let (document, text) = masked_document(document, &text, &checked);
                let key = names::text_key(&document.document_id, &document.content_hash);
                aws.bucket.put(&key, text).await?;
                rename(&mut batch, &document);
                if key != text_key {
                    stale.push(text_key);
                }
                kept.push(document);
            }
            Decision::Allow | Decision::Flag => kept.push(document),
        }
    }
    aws.bucket
        .put(&screened_key, serde_json::to_vec(&kept)?)
        .await?;
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    aws.table.put_many(&rows).await?;
    batch.passages_key = Some(screened_key);
    batch.stale_texts = stale;
    aws.table.put(&batch_key, &batch).await?;
    remove_stale(aws, &batch).await?;
    Ok(done(masked, quarantined))
}

/// Removes the texts that the batch replaced: last, so that a repeated step finds what its batch names.
async fn remove_stale(aws: &Aws, batch: &BatchRow) -> Result<(), AwsError> {
    for key in &batch.stale_texts {
        aws.bucket.delete(key).await?;
    }
    Ok(())
}

/// The text first, then what else of a document reaches answers: its title and headings.
fn slots<'a>(document: &'a SegmentDocument, text: &'a str) -> Vec<&'a str> {
    let mut slots = vec![text, document.title.as_str()];
    for passage in &document.passages {
        for heading in &passage.passage.heading_path {
            if !slots[1..].contains(&heading.as_str()) {
                slots.push(heading);
            }
        }
    }
    slots
}

fn decide(rules: &DocumentRules, checked: &Checked) -> Decision {
    let blocks = |attack: bool| {
        let found = checked.findings.iter().map(|(_, finding)| finding);
        found
            .filter(|finding| finding.action == "block")
            .any(|finding| (finding.kind == PROMPT_ATTACK) == attack)
    };
    let (instructions, other) = (blocks(true), blocks(false));
    let unexplained = checked.verdict == Verdict::Block && !instructions && !other;
    let personal = checked.edits.iter().any(|edits| !edits.is_empty());
    let keeps_out = (instructions && rules.instructions != OnFinding::Flag)
        || ((other || unexplained) && rules.blocked != OnFinding::Flag)
        || (personal && rules.personal_data == OnFinding::Quarantine);
    match () {
        () if keeps_out => Decision::Quarantine,
        () if personal && rules.personal_data == OnFinding::Mask => Decision::Mask,
        () if personal || instructions || other || unexplained => Decision::Flag,
        () => Decision::Allow,
    }
}

/// What the document's row tells: kinds and counts, never the words.
fn screening(decision: Decision, checked: &Checked) -> Screening {
    let mut counts: BTreeMap<(String, &'static str), u32> = BTreeMap::new();
    for (_, finding) in checked
        .findings
        .iter()
        .filter(|(_, finding)| finding.action != "none")
    {
        *counts
            .entry((finding.kind.clone(), finding.action))
            .or_default() += 1;
    }
    let verdict = match decision {
        Decision::Allow => "allow",
        Decision::Flag => "flag",
        Decision::Mask => "mask",
        Decision::Quarantine => "quarantine",
    };
    Screening {
        verdict: verdict.to_owned(),
        findings: counts
            .into_iter()
            .map(|((kind, action), count)| ScreeningFinding {
                kind,
                action: action.to_owned(),
                count,
            })
            .collect(),
    }
}

fn words(screening: &Screening) -> String {
    let kinds: Vec<&str> = screening
        .findings
        .iter()
        .map(|finding| finding.kind.as_str())
        .collect();
    format!(
        "the guardrail found {}; take it out of the document, or change infra/guards.json",
        kinds.join(", ")
    )
}

async fn told(
    aws: &Aws,
    document_id: &str,
    decision: Decision,
    screening: &Screening,
) -> Result<Option<(aws::dynamo::keys::Key, DocumentRow)>, AwsError> {
    let key = keys::document(document_id);
    let Some(row) = aws.table.get::<DocumentRow>(&key).await? else {
        return Ok(None);
    };
    let row = match decision {
        Decision::Quarantine => {
            let problem = (QUARANTINED.to_owned(), words(screening));
            row.with_status(DocumentStatus::Refused, Some(problem), clock::now_ms())
        }
        _ => row,
    };
    let screening = Some(screening.clone());
    Ok(Some((key, DocumentRow { screening, ..row })))
}

/// The name of the refusal.
const QUARANTINED: &str = "Quarantined";

fn refuse(batch: &mut BatchRow, document_id: &str, screening: &Screening) {
    for document in batch
        .documents
        .iter_mut()
        .filter(|document| document.document_id == document_id)
    {
        document.status = DocumentStatus::Refused;
        document.error = Some(QUARANTINED.to_owned());
        document.reason = Some(words(screening));
        document.version = None;
    }
}

fn rename(batch: &mut BatchRow, masked: &SegmentDocument) {
    for document in batch
        .documents
        .iter_mut()
        .filter(|document| document.document_id == masked.document_id)
    {
        if let Some(version) = &mut document.version {
            version.content_hash.clone_from(&masked.content_hash);
            version.title.clone_from(&masked.title);
        }
    }
}

/// The document over its masked text: every passage is the same slice of it that it was of the text.
fn masked_document(
    document: SegmentDocument,
    text: &str,
    checked: &Checked,
) -> (SegmentDocument, String) {
    let slots = slots(&document, text);
    let masks: BTreeMap<String, String> = slots
        .iter()
        .zip(&checked.edits)
        .skip(1)
        .filter(|(_, edits)| !edits.is_empty())
        .map(|(slot, edits)| ((*slot).to_owned(), verdict::masked(slot, edits)))
        .collect();
    let edits = &checked.edits[0];
    let whole = verdict::masked(text, edits);
    let renamed = |name: String| masks.get(&name).cloned().unwrap_or(name);
    let passages = document.passages.into_iter().map(|mut embedded| {
        let passage = &mut embedded.passage;
        let start = verdict::moved(passage.start as usize, edits);
        let end = end_of(passage.end as usize, edits).max(start);
        let before = passage.start as usize;
        for mark in &mut passage.pages {
            let moved = verdict::moved(before + mark.at as usize, edits);
            mark.at = moved.saturating_sub(start) as u32;
        }
        (passage.start, passage.end) = (start as u64, end as u64);
        passage.text = whole.get(start..end).unwrap_or_default().to_owned();
        passage.heading_path = std::mem::take(&mut passage.heading_path)
            .into_iter()
            .map(renamed)
            .collect();
        embedded
    });
    let masked = SegmentDocument {
        passages: passages.collect(),
        content_hash: sha256_hex(whole.as_bytes()),
        title: masks
            .get(&document.title)
            .cloned()
            .unwrap_or(document.title),
        ..document
    };
    (masked, whole)
}

/// Where an exclusive end stands in the masked text: inside of an edit, behind its placeholder.
fn end_of(end: usize, edits: &[Edit]) -> usize {
    let inside = edits
        .iter()
        .find(|edit| edit.range.start < end && end < edit.range.end);
    match inside {
        Some(edit) => verdict::moved(edit.range.start, edits) + edit.placeholder.len(),
        None => verdict::moved(end, edits),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use retrieval::{EmbeddedPassage, Passage};

    use super::*;
    use crate::guard::verdict::Finding;

    fn finding(kind: &str, action: &'static str) -> (Option<usize>, Finding) {
        let finding = Finding {
            policy: "pii",
            kind: kind.into(),
            action,
            confidence: None,
            score: None,
            start: None,
            end: None,
        };
        (None, finding)
    }

    fn edit(range: std::ops::Range<usize>) -> Edit {
        Edit {
            range,
            placeholder: "{EMAIL}".into(),
        }
    }

    #[test]
    fn the_rules_decide() {
        let check = |rules: [&str; 3], kinds: &[(&str, &'static str)], expected: Decision| {
            let rules: DocumentRules = serde_json::from_value(json!({
                "personal_data": rules[0], "instructions": rules[1], "blocked": rules[2], "wait_ms": 1
            }))
            .unwrap();
            let masks = kinds
                .iter()
                .filter(|(_, action)| *action == "mask")
                .map(|_| edit(0..1))
                .collect();
            let checked = Checked {
                findings: kinds
                    .iter()
                    .map(|(kind, action)| finding(kind, action))
                    .collect(),
                edits: vec![masks],
                ..Checked::default()
            };
            assert_eq!(decide(&rules, &checked), expected, "{rules:?} {kinds:?}");
        };
        let usual = ["mask", "quarantine", "quarantine"];
        check(usual, &[], Decision::Allow);
        check(usual, &[("EMAIL", "none")], Decision::Allow);
        check(usual, &[("EMAIL", "mask")], Decision::Mask);
        check(
            usual,
            &[("EMAIL", "mask"), (PROMPT_ATTACK, "block")],
            Decision::Quarantine,
        );
        check(usual, &[("AWS_ACCESS_KEY", "block")], Decision::Quarantine);
        check(
            ["mask", "flag", "quarantine"],
            &[(PROMPT_ATTACK, "block")],
            Decision::Flag,
        );
        check(
            ["mask", "flag", "quarantine"],
            &[("EMAIL", "mask"), (PROMPT_ATTACK, "block")],
            Decision::Mask,
        );
        check(
            ["flag", "flag", "flag"],
            &[("EMAIL", "mask"), ("HATE", "block")],
            Decision::Flag,
        );
        check(
            ["quarantine", "flag", "flag"],
            &[("EMAIL", "mask")],
            Decision::Quarantine,
        );
    }

    fn document(text: &str, cuts: &[usize]) -> SegmentDocument {
        let passages = cuts
            .windows(2)
            .enumerate()
            .map(|(ordinal, cut)| EmbeddedPassage {
                passage: Passage {
                    ordinal: ordinal as u32,
                    start: cut[0] as u64,
                    end: cut[1] as u64,
                    heading_path: vec!["Ask ann@x.io".into()],
                    pages: Vec::new(),
                    parent: None,
                    text: text[cut[0]..cut[1]].to_owned(),
                },
                vector: Vec::new(),
            });
        SegmentDocument {
            document_id: "default.1".into(),
            title: "Ask ann@x.io".into(),
            uri: String::new(),
            content_hash: sha256_hex(text.as_bytes()),
            readers: Vec::new(),
            metadata: BTreeMap::new(),
            passages: passages.collect(),
        }
    }

    proptest! {
        /// Passages stay slices of the stored text, and nothing that was masked is in them.
        #[test]
        fn passages_are_slices_of_the_masked_text(parts in prop::collection::vec("[a-z ä]{0,9}|ann@x.io", 1..20), first in any::<prop::sample::Index>()) {
            let text = parts.concat();
            let edits: Vec<Edit> = text.match_indices("ann@x.io").map(|(at, hit)| edit(at..at + hit.len())).collect();
            let bounds: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let document = document(&text, &[0, bounds[first.index(bounds.len())], text.len()]);
            let checked = Checked { edits: vec![edits, vec![edit(4..12)]], ..Checked::default() };
            let (masked, whole) = masked_document(document, &text, &checked);
            prop_assert!(!whole.contains("ann@x.io"));
            prop_assert_eq!(&masked.content_hash, &sha256_hex(whole.as_bytes()));
            prop_assert_eq!(masked.title.as_str(), "Ask {EMAIL}");
            for passage in masked.passages {
                let passage = passage.passage;
                prop_assert_eq!(&passage.text, &whole[passage.start as usize..passage.end as usize]);
                prop_assert_eq!(&passage.heading_path, &["Ask {EMAIL}"]);
            }
        }
    }
}

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

use super::moving::{Chosen, Renamed};
use super::rows::{
    BatchDocument, BatchRow, DocumentRow, DocumentStatus, PlannedDocument, Screening,
    ScreeningFinding, objects,
};
use super::{StepError, progress};
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
    let mut batch = BatchRow::read(aws, run_id, batch_id).await?;
    // The batch's row is written last but for the removal of texts: where it names what was screened, only that is left.
    if batch.part_key.is_some() || batch.passages_key.as_ref() == Some(&screened_key) {
        remove_stale(aws, &batch).await?;
        return Ok(done(0, 0));
    }
    account.ensure_held().await?;
    let documents: Vec<SegmentDocument> =
        serde_json::from_slice(&aws.bucket.get(&passages_key).await?)?;
    let (mut kept, mut told, mut stale) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut masked, mut quarantined) = (0, 0);
    for document in documents {
        let space = keys::space_of(&document.document_id).unwrap_or_default();
        let guard = Guard::of(aws, space, account);
        if !guard.is_on() {
            return Ok(done(0, 0));
        }
        let text_key = names::text_key(&document.document_id, &document.content_hash);
        let text = String::from_utf8_lossy(&aws.bucket.get(&text_key).await?).into_owned();
        let (decision, checked) = screened(&guard, &slots(&document, &text)).await?;
        if decision == Decision::Allow {
            kept.push(document);
            continue;
        }
        let screening = screening(decision, &checked);
        told.insert(document.document_id.clone(), (decision, screening.clone()));
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
    tell(aws, run_id, &told).await?;
    batch.passages_key = Some(screened_key);
    batch.stale_texts = stale;
    aws.table.put(&batch_key, &batch).await?;
    remove_stale(aws, &batch).await?;
    Ok(done(masked, quarantined))
}

/// Titles that are checked together; one by one only where something is found in them.
const TITLES: usize = 25;
/// The batch of documents whose new names were refused; other batches are named by a hash.
const NAMES_BATCH: &str = "names";

/// Screens what is new of documents that move: the titles that their new names give them. A title that is masked is masked, and a
/// document whose title is refused does not move.
pub(super) async fn screen_names(
    aws: &Aws,
    run_id: &str,
    account: &Account<'_>,
) -> Result<Value, StepError> {
    let space = keys::space_of(run_id).unwrap_or_default();
    let guard = Guard::of(aws, space, account);
    let mut moves = Chosen::read(aws, run_id).await?;
    let mut titled: Vec<&mut Renamed> = moves
        .documents_mut()
        .filter(|one| guard.is_on() && one.title.is_some())
        .collect();
    if !titled.is_empty() {
        account.ensure_held().await?;
    }
    let mut refused = BTreeMap::new();
    for part in titled.chunks_mut(TITLES) {
        let titles: Vec<&str> = part.iter().filter_map(|one| one.title.as_deref()).collect();
        if screened(&guard, &titles).await?.0 == Decision::Allow {
            continue;
        }
        for one in part {
            let title = one.title.clone().unwrap_or_default();
            let (decision, checked) = screened(&guard, &[&title]).await?;
            match decision {
                Decision::Quarantine => {
                    let found = (decision, screening(decision, &checked));
                    refused.insert(one.to.document_id.clone(), (one.to.clone(), found));
                }
                Decision::Mask => {
                    one.title = checked
                        .edits
                        .first()
                        .map(|edits| verdict::masked(&title, edits));
                }
                Decision::Allow | Decision::Flag => {}
            }
        }
    }
    if !refused.is_empty() {
        refuse_names(aws, run_id, &refused).await?;
        moves.retain(|one| !refused.contains_key(&one.to.document_id));
    }
    if guard.is_on() {
        moves.write(aws, run_id).await?;
    }
    Ok(json!({ "run_id": run_id, "quarantined": refused.len() }))
}

async fn screened(guard: &Guard<'_>, slots: &[&str]) -> Result<(Decision, Checked), StepError> {
    let rules = &guard.rules.documents;
    let found = guard
        .check(GuardSource::Input, slots, &[], rules.wait())
        .await;
    let checked = found.map_err(|_| StepError::GuardUnavailable)?;
    Ok((decide(rules, &checked), checked))
}

/// Documents that do not move stand in the run's books with what was found in their names.
async fn refuse_names(
    aws: &Aws,
    run_id: &str,
    refused: &BTreeMap<String, (PlannedDocument, (Decision, Screening))>,
) -> Result<(), StepError> {
    let documents = refused.values().map(|(to, (_, screening))| BatchDocument {
        document_id: to.document_id.clone(),
        name: to.name.clone(),
        status: DocumentStatus::Refused,
        error: Some(QUARANTINED.to_owned()),
        reason: Some(words(screening)),
        version: None,
    });
    let batch = BatchRow::new(NAMES_BATCH.to_owned(), documents.collect());
    let key = keys::batch(run_id, NAMES_BATCH);
    aws.table.put(&key, &batch).await?;
    let told = refused
        .iter()
        .map(|(id, (_, found))| (id.clone(), found.clone()));
    tell(aws, run_id, &told.collect()).await?;
    Ok(())
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

/// The documents' rows with what was found in them.
async fn tell(
    aws: &Aws,
    run_id: &str,
    told: &BTreeMap<String, (Decision, Screening)>,
) -> Result<(), AwsError> {
    let now_ms = clock::now_ms();
    let changed = |row: DocumentRow| {
        let Some((decision, screening)) = told.get(&row.document_id) else {
            return row;
        };
        let row = match decision {
            Decision::Quarantine => {
                let problem = (QUARANTINED.to_owned(), words(screening));
                row.with_status(DocumentStatus::Refused, Some(problem), now_ms)
            }
            _ => row,
        };
        let screening = Some(screening.clone());
        DocumentRow { screening, ..row }
    };
    progress::update(aws, run_id, told.keys().map(String::as_str), changed).await
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

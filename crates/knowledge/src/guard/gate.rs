//! An answer on its way out: text and citations go in, what may be shown comes out.

use std::collections::VecDeque;
use std::time::Instant;

use aws::bedrock::{GuardRole, GuardSource, GuardText};
use aws::config::GuardMode;
use serde::Serialize;

use super::call::{BLOCKED, Guard};
use super::verdict::{self, Checked, Finding, Verdict};
use super::window::{Piece, Probe, Sizes, Window};
use crate::KnowledgeError;
use crate::cite::Citation;
use crate::grounding;
use crate::ledger::bound;
use crate::search::milliseconds;

/// What the guard did with a question and its answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GuardReport {
    /// `window`, `sync`, `async` or `off`: how the answer was guarded.
    pub mode: &'static str,
    /// The verdict on the question; `allow` too where nobody looked.
    pub question: Verdict,
    pub answer: Verdict,
    /// What was found in the question, counted in its bytes, ...
    pub question_findings: Vec<Finding>,
    /// ... and in the answer: of what was masked, where its placeholder stands in `answer`.
    pub answer_findings: Vec<Finding>,
    pub text_units: u64,
    /// Calls to the guardrail.
    pub checks: u32,
}

/// Something that may be shown now.
#[derive(Debug, Clone)]
pub(crate) enum Released {
    Text(String),
    Citation(Citation),
    /// The guard masked or blocked.
    Verdict(Verdict, Vec<Finding>),
}

/// A citation that waits for the text before it.
struct Waiting {
    /// The byte of the raw text behind which it stands.
    at: usize,
    citation: Citation,
    checked: bool,
}

/// The way out of one answer.
pub(crate) struct Gate<'a> {
    guard: Guard<'a>,
    mode: GuardMode,
    window: Window,
    waiting: VecDeque<Waiting>,
    /// What was released.
    pub(crate) text: String,
    pub(crate) citations: Vec<Citation>,
    pub(crate) verdict: Verdict,
    pub(crate) findings: Vec<Finding>,
    pub(crate) text_units: u64,
    pub(crate) checks: u32,
    /// Milliseconds spent waiting for verdicts.
    pub(crate) waited_ms: f64,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(guard: Guard<'a>, mode: GuardMode) -> Self {
        Self {
            mode,
            guard,
            window: Window::new(Sizes::default()),
            waiting: VecDeque::new(),
            text: String::new(),
            citations: Vec::new(),
            verdict: Verdict::Allow,
            findings: Vec::new(),
            text_units: 0,
            checks: 0,
            waited_ms: 0.0,
        }
    }

    /// What looking at an answer of so many tokens, from so many characters of sources, may cost.
    pub(crate) fn costs(&self, answer_tokens: u32, strict: bool, sources: usize) -> u64 {
        if !self.guard.is_on() || self.mode == GuardMode::Off {
            return 0;
        }
        let grounded = self.guard.rules.answer.is_grounded(strict);
        bound::guard_of_answer(answer_tokens, grounded.then_some(sources))
    }

    /// Takes text that the model wrote.
    pub(crate) fn text(&mut self, text: &str) {
        self.window.push(text);
    }

    /// Takes a citation that belongs to the text so far.
    pub(crate) fn citation(&mut self, citation: Citation) {
        self.waiting.push_back(Waiting {
            at: self.window.text().len(),
            citation,
            checked: false,
        });
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.verdict == Verdict::Block
    }

    /// What may be shown now. `ended`: the model has nothing more to say.
    ///
    /// # Errors
    /// [`KnowledgeError::GuardUnavailable`]; nothing that waits is shown then.
    pub(crate) async fn open(&mut self, ended: bool) -> Result<Vec<Released>, KnowledgeError> {
        let mut released = Vec::new();
        match self.mode {
            GuardMode::Off => self.show_all(&mut released),
            // The guard hears the whole answer before the client hears any of it.
            GuardMode::Sync if !ended => {}
            GuardMode::Window | GuardMode::Sync => self.pass_all(ended, &mut released).await?,
            // The client hears it first; only a block changes anything, by ending the stream.
            GuardMode::Async => {
                self.show_all(&mut released);
                self.pass_all(ended, &mut released).await?;
            }
        }
        if self.is_blocked() && self.mode == GuardMode::Sync {
            // Nothing was shown yet, so nothing will be but the guard's own words.
            let block = |item: &Released| matches!(item, Released::Verdict(Verdict::Block, _));
            let from = released.iter().position(block).unwrap_or(0);
            released.drain(..from);
            self.citations.clear();
            self.text = released.iter().filter_map(text_of).collect();
        }
        Ok(released)
    }

    /// Shows everything as it is. In `async` mode the window goes on checking what is shown.
    fn show_all(&mut self, released: &mut Vec<Released>) {
        let shown = self.window.text()[self.text.len()..].to_owned();
        self.show_text(shown, released);
        if self.mode == GuardMode::Off {
            let whole = self.window.text().len();
            self.show_citations(whole, released);
        } else {
            for waiting in &mut self.waiting {
                if !waiting.checked {
                    waiting.checked = true;
                    self.citations.push(waiting.citation.clone());
                    released.push(Released::Citation(waiting.citation.clone()));
                }
            }
        }
    }

    async fn pass_all(
        &mut self,
        ended: bool,
        released: &mut Vec<Released>,
    ) -> Result<(), KnowledgeError> {
        while !self.is_blocked()
            && let Some(probe) = self.window.next(ended)
        {
            self.pass(Some(probe), released).await?;
        }
        if ended && !self.is_blocked() && self.waiting.iter().any(|waiting| !waiting.checked) {
            self.pass(None, released).await?;
        }
        Ok(())
    }

    /// Asks the guard about a probe, with the quotes of the citations that wait as slots of their own.
    async fn pass(
        &mut self,
        probe: Option<Probe>,
        released: &mut Vec<Released>,
    ) -> Result<(), KnowledgeError> {
        let text = probe
            .as_ref()
            .map_or("", |probe| &self.window.text()[probe.reads.clone()]);
        let fresh = || self.waiting.iter().filter(|waiting| !waiting.checked);
        let quotes = fresh().map(|waiting| waiting.citation.quote.as_str());
        let slots: Vec<&str> = std::iter::once(text).chain(quotes).collect();
        let (begun, wait) = (Instant::now(), self.guard.rules.answer.wait());
        let checked = self
            .guard
            .check(GuardSource::Output, &slots, &[], wait)
            .await?;
        self.count(begun, &checked);
        if checked.verdict == Verdict::Block {
            self.block(&checked.findings, checked.message, released);
            return Ok(());
        }
        for (waiting, edits) in self
            .waiting
            .iter_mut()
            .filter(|waiting| !waiting.checked)
            .zip(&checked.edits[1..])
        {
            waiting.checked = true;
            if !edits.is_empty() {
                waiting.citation.quote = verdict::masked(&waiting.citation.quote, edits);
                waiting.citation.masked = true;
                self.verdict = self.verdict.max(Verdict::Mask);
            }
        }
        if let Some(probe) = probe {
            match self.window.release(&probe, &checked.edits[0]) {
                Ok(pieces) => self.show_pieces(pieces, &checked.findings, released),
                Err(_) => {
                    self.block(&checked.findings, None, released);
                    return Ok(());
                }
            }
        }
        self.show_citations(self.window.released(), released);
        Ok(())
    }

    fn show_pieces(
        &mut self,
        pieces: Vec<Piece>,
        found: &[(Option<usize>, Finding)],
        released: &mut Vec<Released>,
    ) {
        let (mut text, mut masks) = (String::new(), Vec::new());
        let shows = self.mode != GuardMode::Async;
        for piece in pieces {
            let start = self.text.len() + text.len();
            text.push_str(&piece.text);
            if piece.masked && !piece.text.is_empty() {
                let kind = piece.text.trim_matches(['{', '}']);
                let policy = found.iter().find(|(_, finding)| finding.kind == kind);
                masks.push(Finding {
                    policy: policy.map_or("pii", |(_, finding)| finding.policy),
                    kind: kind.to_owned(),
                    action: "mask",
                    confidence: None,
                    score: None,
                    start: shows.then_some(start as u64),
                    end: shows.then_some((start + piece.text.len()) as u64),
                });
            }
        }
        if !masks.is_empty() {
            self.verdict = self.verdict.max(Verdict::Mask);
            self.findings.extend(masks.clone());
            released.push(Released::Verdict(Verdict::Mask, masks));
        }
        if shows {
            self.show_text(text, released);
        }
    }

    fn show_text(&mut self, text: String, released: &mut Vec<Released>) {
        if !text.is_empty() {
            self.text.push_str(&text);
            released.push(Released::Text(text));
        }
    }

    fn show_citations(&mut self, upto: usize, released: &mut Vec<Released>) {
        while self
            .waiting
            .front()
            .is_some_and(|waiting| waiting.at <= upto)
            && let Some(waiting) = self.waiting.pop_front()
        {
            if self.mode != GuardMode::Async {
                self.citations.push(waiting.citation.clone());
                released.push(Released::Citation(waiting.citation));
            }
        }
    }

    /// Asks the guardrail whether the whole answer rests on its sources, where the space's rules want to know. An answer
    /// that cites nothing claims nothing.
    ///
    /// # Errors
    /// [`KnowledgeError::GuardUnavailable`].
    pub(crate) async fn ground(
        &mut self,
        question: &str,
        sources: &[&str],
        strict: bool,
        released: &mut Vec<Released>,
    ) -> Result<(), KnowledgeError> {
        let wanted = self.guard.is_on() && self.guard.rules.answer.is_grounded(strict);
        if !wanted || self.citations.is_empty() {
            return Ok(());
        }
        let context = [
            (GuardRole::GroundingSource, sources.join("\n\n")),
            (GuardRole::Query, question.to_owned()),
        ];
        let context = context.map(|(role, text)| GuardText { text, role });
        let (answer, _) = grounding::without_markers(&self.text);
        let (begun, wait) = (Instant::now(), self.guard.rules.answer.wait());
        let checked = self
            .guard
            .check(GuardSource::Output, &[&answer], &context, wait)
            .await?;
        self.count(begun, &checked);
        if checked.verdict == Verdict::Block {
            let message = checked.message.unwrap_or_else(|| BLOCKED.to_owned());
            self.reject(blocking(&checked.findings), &message, released);
            return Ok(());
        }
        let scores = checked.findings.into_iter().map(|(_, finding)| finding);
        let scores = scores.filter(|finding| finding.policy == "grounding");
        self.findings.extend(scores);
        Ok(())
    }

    fn count(&mut self, begun: Instant, checked: &Checked) {
        if self.guard.is_on() {
            self.waited_ms += milliseconds(begun);
            self.checks += 1;
            self.text_units += checked.units.total();
        }
    }

    /// The end: what was found and the guard's words.
    fn block(
        &mut self,
        found: &[(Option<usize>, Finding)],
        message: Option<String>,
        released: &mut Vec<Released>,
    ) {
        self.waiting.clear();
        let message = message.unwrap_or_else(|| BLOCKED.to_owned());
        self.stop(blocking(found), &message, released);
    }

    /// Ends an answer that is about to be shown whole: `message` stands instead of what nobody has seen yet.
    pub(crate) fn reject(
        &mut self,
        findings: Vec<Finding>,
        message: &str,
        released: &mut Vec<Released>,
    ) {
        if self.mode == GuardMode::Sync {
            released.clear();
            self.citations.clear();
            self.text.clear();
        }
        self.stop(findings, message, released);
    }

    fn stop(&mut self, findings: Vec<Finding>, message: &str, released: &mut Vec<Released>) {
        self.verdict = Verdict::Block;
        self.findings.extend(findings.clone());
        released.push(Released::Verdict(Verdict::Block, findings));
        let apart = if self.text.is_empty() || self.mode == GuardMode::Sync {
            ""
        } else {
            "\n\n"
        };
        self.show_text(format!("{apart}{message}"), released);
    }
}

/// What blocks, without places, which would count in a text that nobody sees.
fn blocking(found: &[(Option<usize>, Finding)]) -> Vec<Finding> {
    found
        .iter()
        .map(|(_, finding)| finding)
        .filter(|finding| finding.action == "block")
        .map(|finding| Finding {
            start: None,
            end: None,
            ..finding.clone()
        })
        .collect()
}

fn text_of(item: &Released) -> Option<&str> {
    match item {
        Released::Text(text) => Some(text),
        _ => None,
    }
}

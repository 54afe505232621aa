//! From what is known before the model writes to the whole answer, and to what is kept of it.

use std::collections::BTreeSet;
use std::time::Instant;

use aws::clock;
use retrieval::{Hit, page_at};
use serde_json::json;

use super::events::{Answer, AnswerSource, AskEvent, Timings, Usage};
use super::question::GuardedQuestion;
use super::writer::Written;
use crate::access::Caller;
use crate::answers::{AnswerRow, CitationRow, PassageRow};
use crate::cite::Citation;
use crate::conversation::{Condensed, TurnRow};
use crate::digest::sha256_hex;
use crate::guard::gate::GuardReport;
use crate::guard::verdict::Verdict;
use crate::ledger::{Line, SteppedDown};
use crate::prompt;
use crate::rerank::Reranking;
use crate::search::{Found, SearchTimes, Stored, milliseconds};

/// What is known before the model writes.
pub(super) struct Draft {
    pub answer_id: String,
    pub model: String,
    /// As the guard let it through; empty where it was blocked.
    pub question: String,
    /// What stands for a follow-up.
    pub standalone_question: Option<String>,
    pub conversation_id: Option<String>,
    condensed: Condensed,
    stepped_down: Option<SteppedDown>,
    strict: bool,
    report: GuardReport,
    /// Milliseconds that the guard took over the question.
    question_ms: f64,
    begun: Instant,
    sources: Vec<AnswerSource>,
    passages: Vec<PassageRow>,
    retriever: &'static str,
    reranking: Option<Reranking>,
    manifest_version: Option<u64>,
    times: SearchTimes,
}

impl Draft {
    pub fn new(
        answer_id: String,
        model: String,
        begun: Instant,
        strict: bool,
        mode: &'static str,
    ) -> Self {
        Self {
            answer_id,
            model,
            question: String::new(),
            standalone_question: None,
            conversation_id: None,
            condensed: Condensed::default(),
            stepped_down: None,
            strict,
            report: GuardReport {
                mode,
                ..GuardReport::default()
            },
            question_ms: 0.0,
            begun,
            sources: Vec::new(),
            passages: Vec::new(),
            retriever: "",
            reranking: None,
            manifest_version: None,
            times: SearchTimes::default(),
        }
    }

    /// Takes over what the guard did with a question; of a follow-up there are two.
    pub fn guarded(&mut self, question: &GuardedQuestion) {
        let report = &mut self.report;
        report.question = report.question.max(question.verdict);
        report.question_findings.extend(question.findings.clone());
        report.text_units += question.text_units;
        report.checks += question.checks;
        self.question_ms += question.waited_ms;
    }

    /// Takes over what gives way while the budget runs low.
    pub fn step_down(&mut self, stepped_down: Option<SteppedDown>) {
        if let Some(down) = &stepped_down {
            self.model.clone_from(&down.model);
        }
        self.stepped_down = stepped_down;
    }

    /// Takes over what a follow-up took.
    pub fn condensed(&mut self, condensed: Condensed) {
        self.condensed = condensed;
    }

    /// What is searched for and answered.
    pub fn asked(&self) -> &str {
        self.standalone_question
            .as_deref()
            .unwrap_or(&self.question)
    }

    /// The turn that a conversation remembers.
    pub fn turn(&self, answer: &Answer) -> TurnRow {
        let ids: BTreeSet<&String> = self
            .passages
            .iter()
            .map(|passage| &passage.document_id)
            .collect();
        let (_, turn_id) = answer.answer_id.split_once('.').unwrap_or_default();
        TurnRow {
            turn_id: turn_id.to_owned(),
            question: self.question.clone(),
            standalone_question: self.standalone_question.clone(),
            answer: answer.answer.clone(),
            answer_id: answer.answer_id.clone(),
            document_ids: ids.into_iter().cloned().collect(),
            expires_at: 0,
        }
    }

    /// Takes over what was found.
    pub fn found(&mut self, found: &Found) {
        self.sources = found.hits.iter().map(source).collect();
        self.passages = found.hits.iter().map(passage).collect();
        self.retriever = found.retriever;
        self.reranking.clone_from(&found.reranking);
        self.manifest_version = match &found.stored {
            Some(Stored::Index(snapshot)) => Some(snapshot.version),
            _ => None,
        };
        self.times = found.times.clone();
    }

    pub fn sources_event(&self) -> AskEvent {
        AskEvent::Sources {
            answer_id: self.answer_id.clone(),
            sources: self.sources.clone(),
        }
    }

    /// The answer, and the row that keeps it for `caller`.
    pub fn finish(
        &self,
        written: Written,
        caller: &Caller,
        lines: Vec<Line>,
    ) -> (Answer, AnswerRow) {
        let passage = written.guard;
        let blocked = Verdict::Block == passage.verdict.max(self.report.question);
        if written.unresolved > 0 {
            tracing::warn!(
                answer_id = self.answer_id,
                unresolved = written.unresolved,
                "citations did not resolve"
            );
        }
        let answer = Answer {
            answer_id: self.answer_id.clone(),
            conversation_id: self.conversation_id.clone(),
            standalone_question: self.standalone_question.clone(),
            answered: !written.citations.is_empty() && !blocked,
            answer: written.text,
            citations: written.citations,
            support: written.support,
            strict: self.strict,
            sources: self.sources.clone(),
            reranking: self.reranking.clone(),
            usage: Usage::of(&self.model, lines),
            stepped_down: self.stepped_down.clone(),
            timings_ms: Timings {
                condense: self.condensed.took_ms,
                embed: self.times.embed_ms,
                search: self.times.search_ms,
                rerank: self.times.rerank_ms,
                first_token: written.first_token_ms,
                model: written.model_ms,
                guard: self.question_ms + passage.waited_ms,
                total: milliseconds(self.begun),
            },
            guard: GuardReport {
                answer: passage.verdict,
                answer_findings: passage.findings,
                text_units: self.report.text_units + passage.text_units,
                checks: self.report.checks + passage.checks,
                ..self.report.clone()
            },
            stop_reason: written.stop_reason,
            prompt_version: prompt::VERSION,
            manifest_version: self.manifest_version,
            replayable: false,
        };
        let row = AnswerRow {
            answer_id: answer.answer_id.clone(),
            owner: caller.owner().unwrap_or_default().to_owned(),
            created_at_ms: clock::now_ms(),
            expires_at: 0,
            question: self.question.clone(),
            standalone_question: self.standalone_question.clone(),
            answer: answer.answer.clone(),
            answered: answer.answered,
            passages: self.passages.clone(),
            citations: answer.citations.iter().map(citation).collect(),
            support: answer.support.clone(),
            model: answer.usage.model.clone(),
            prompt_version: answer.prompt_version,
            manifest_version: answer.manifest_version,
            retriever: self.retriever.to_owned(),
            reranking: answer.reranking.as_ref().map(|one| json!(one)),
            guard: json!(answer.guard),
            usage: json!(answer.usage),
            stop_reason: answer.stop_reason.clone(),
        };
        (answer, row)
    }
}

fn source(hit: &Hit) -> AnswerSource {
    AnswerSource {
        document_id: hit.document_id.clone(),
        title: hit.title.clone(),
        uri: hit.uri.clone(),
        passage_id: hit.passage_id.clone(),
        heading_path: hit.heading_path.clone(),
        page: page_at(&hit.pages, 0),
        start: hit.start,
        end: hit.end,
        score: hit.score,
        text: hit.text.clone(),
    }
}

fn passage(hit: &Hit) -> PassageRow {
    PassageRow {
        passage_id: hit.passage_id.clone(),
        document_id: hit.document_id.clone(),
        content_hash: hit.content_hash.clone(),
        start: hit.start,
        end: hit.end,
        text_hash: sha256_hex(hit.text.as_bytes()),
    }
}

fn citation(citation: &Citation) -> CitationRow {
    CitationRow {
        marker: citation.marker.clone(),
        passage_id: citation.passage_id.clone(),
        start: citation.start,
        end: citation.end,
        quote_hash: citation.quote_hash.clone(),
        masked_quote: citation.masked.then(|| citation.quote.clone()),
    }
}

//! An answer as callers see it, and the events while it is made.

use serde::Serialize;
use tokio::sync::mpsc;

use crate::cite::Citation;
use crate::grounding::Support;
use crate::guard::gate::GuardReport;
use crate::guard::verdict::{Finding, Verdict};
use crate::ledger::{Line, SteppedDown, Sum, Units};
use crate::rerank::Reranking;

/// A passage that the answer could rest on.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerSource {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub passage_id: String,
    pub heading_path: Vec<String>,
    /// The page or slide that it begins on, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    pub start: u64,
    pub end: u64,
    pub score: f32,
    pub text: String,
}

/// What an answer took, and what that cost.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// The model that answered.
    pub model: String,
    /// All lines together.
    #[serde(flatten)]
    pub units: Units,
    /// Nanodollars of all that has a price.
    pub cost_nano_usd: u64,
    /// Models without a price in `infra/models.json`: what they cost is not in the cost.
    pub unpriced: Vec<String>,
    /// Whether counts of a model are ours, because it was broken off before it told them.
    pub estimated: bool,
    /// What each model took for each task.
    pub lines: Vec<Line>,
}

impl Usage {
    pub(super) fn of(model: &str, lines: Vec<Line>) -> Self {
        let sum = Sum::of(&lines);
        Self {
            model: model.to_owned(),
            units: sum.units,
            cost_nano_usd: sum.cost_nano_usd,
            unpriced: sum.unpriced,
            estimated: sum.estimated,
            lines,
        }
    }
}

/// Milliseconds of an answer's parts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings {
    /// Putting a follow-up into words that stand alone.
    pub condense: f64,
    pub embed: f64,
    pub search: f64,
    /// Waiting for the reranker.
    pub rerank: f64,
    /// From asking the model to its first text.
    pub first_token: f64,
    pub model: f64,
    /// Waiting for the guardrail, question and answer together.
    pub guard: f64,
    pub total: f64,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    pub answer_id: String,
    /// The conversation that the question belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// What was searched for and answered instead of a follow-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standalone_question: Option<String>,
    /// With markers `[1]`, `[2]`, … where citations belong.
    pub answer: String,
    /// Whether the documents hold an answer. An answer without a citation that resolves is none.
    pub answered: bool,
    pub citations: Vec<Citation>,
    /// The sentences of the answer with the passages that hold their words; of a blocked answer none.
    pub support: Vec<Support>,
    /// Whether the space refuses answers with unsupported sentences.
    pub strict: bool,
    pub sources: Vec<AnswerSource>,
    /// What the space's reranker did, if it has one and it had something to order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranking: Option<Reranking>,
    pub usage: Usage,
    /// What gave way because the space's budget runs low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stepped_down: Option<SteppedDown>,
    pub timings_ms: Timings,
    /// What the guard did.
    pub guard: GuardReport,
    /// Why the model stopped, in Bedrock's words.
    pub stop_reason: String,
    /// The words that the model was told, by their version.
    pub prompt_version: u32,
    /// The publication that was searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_version: Option<u64>,
    /// Whether `GET /v1/answers/{answer_id}` reads the answer back.
    pub replayable: bool,
}

/// What happens while an answer is made.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AskEvent {
    Sources {
        answer_id: String,
        sources: Vec<AnswerSource>,
    },
    Delta {
        text: String,
    },
    Citation {
        citation: Citation,
    },
    /// The guard masked or blocked; nothing is told of what it let pass.
    Guard {
        /// `question` or `answer`.
        direction: &'static str,
        verdict: Verdict,
        findings: Vec<Finding>,
    },
    Usage(Usage),
    Done(Box<Answer>),
}

impl AskEvent {
    /// The event's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sources { .. } => "sources",
            Self::Delta { .. } => "delta",
            Self::Citation { .. } => "citation",
            Self::Guard { .. } => "guard",
            Self::Usage(_) => "usage",
            Self::Done(_) => "done",
        }
    }
}

/// Where events go, if anybody listens.
pub(super) struct Listener(pub(super) Option<mpsc::Sender<AskEvent>>);

/// The listener hung up; nothing more need be done.
pub(super) struct HungUp;

impl Listener {
    pub(super) async fn tell(&self, event: AskEvent) -> Result<(), HungUp> {
        match &self.0 {
            Some(sender) => sender.send(event).await.map_err(|_| HungUp),
            None => Ok(()),
        }
    }

    pub(super) async fn delta(&self, text: &str) -> Result<(), HungUp> {
        let text = text.to_owned();
        self.tell(AskEvent::Delta { text }).await
    }

    /// Resolves when the listener hangs up, so that a model that is silent is stopped too.
    pub(super) async fn hung_up(&self) {
        match &self.0 {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }
}

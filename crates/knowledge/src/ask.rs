//! A question's way through: find passages, ask the model, turn its citations into checkable ones, tell what it cost.

use std::time::Instant;

use aws::bedrock::{
    AnswerRequest, AnswerStream, GuardSource, ModelEvent, SearchResult as ModelSource,
};
use aws::{Aws, chance, clock};
use retrieval::{Hit, Mask};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::cite::{Citation, Citations, MarkerReader, Piece, Source};
use crate::guard::call::{BLOCKED, Guard};
use crate::guard::gate::{Gate, GuardReport, Released};
use crate::guard::verdict::{self, Checked, Finding, Verdict};
use crate::models::{self, capabilities};
use crate::prompt;
use crate::retriever::Tidying;
use crate::roles::Role;
use crate::search::Stored;
use crate::search::{self, SearchCost, SearchMode, Wanted, milliseconds};
use crate::snapshot::Snapshots;
use crate::spaces;

/// Passages that the model reads, unless the request says less.
const SOURCES: usize = 8;
/// The most passages a request may ask for.
const SOURCES_LIMIT: usize = 30;
/// Tokens of one answer at the most.
const ANSWER_TOKENS: u32 = 1_024;

const NOTHING_PUBLISHED: &str =
    "I could not find an answer: this space holds no documents that you may read.";

/// The stop reason of an answer that the guard ended, in Bedrock's words.
const INTERVENED: &str = "guardrail_intervened";

/// A question.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    #[serde(default)]
    pub question: String,
    #[serde(default)]
    pub space: Option<String>,
    #[serde(default)]
    pub filter: Option<Value>,
    /// Passages to read.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Another model than the settings', if they allow it.
    #[serde(default)]
    pub model: Option<String>,
}

/// A passage that the answer could rest on.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerSource {
    pub document_id: String,
    pub title: String,
    pub uri: String,
    pub passage_id: String,
    pub heading_path: Vec<String>,
    pub start: u64,
    pub end: u64,
    pub score: f32,
    pub text: String,
}

/// What an answer took.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    pub model: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub embedding_tokens: u64,
}

/// Milliseconds of an answer's parts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings {
    pub embed: f64,
    pub search: f64,
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
    /// With markers `[1]`, `[2]`, … where citations belong.
    pub answer: String,
    /// Whether the documents hold an answer. An answer without a citation that resolves is none.
    pub answered: bool,
    pub citations: Vec<Citation>,
    pub sources: Vec<AnswerSource>,
    pub usage: Usage,
    pub timings_ms: Timings,
    /// What the guard did.
    pub guard: GuardReport,
    /// Why the model stopped, in Bedrock's words.
    pub stop_reason: String,
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
struct Listener(Option<mpsc::Sender<AskEvent>>);

/// The listener hung up; nothing more need be done.
struct HungUp;

impl Listener {
    async fn tell(&self, event: AskEvent) -> Result<(), HungUp> {
        match &self.0 {
            Some(sender) => sender.send(event).await.map_err(|_| HungUp),
            None => Ok(()),
        }
    }
}

/// Answers a question. With `events`, each step is told as it happens, the last being [`AskEvent::Done`]; `None` comes
/// back when the listener hung up, and the model's stream is dropped then.
///
/// # Errors
/// The request's problems, the model's, the services'.
pub async fn ask(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    request: &AskRequest,
    events: Option<mpsc::Sender<AskEvent>>,
) -> Result<Option<Answer>, KnowledgeError> {
    let begun = Instant::now();
    search::check_question(&request.question)?;
    let model = models::allowed(&aws.settings, request.model.as_deref())?;
    let filter = search::parse_filter(request.filter.as_ref())?;
    let space = request.space.as_deref().unwrap_or(spaces::DEFAULT);
    let entered = spaces::enter(aws, space, caller, Role::Reader).await?;
    let guard = Guard::of(aws, space);
    let question = guard_question(&guard, &request.question).await?;
    let mut draft = Draft {
        answer_id: format!("{space}.{}", chance::ulid(clock::now_ms())),
        model,
        sources: Vec::new(),
        cost: SearchCost::default(),
        question_ms: question.waited_ms,
        report: question.report(guard.answer_mode().as_str()),
        begun,
    };
    let listener = Listener(events);
    if question.verdict == Verdict::Block {
        return Ok(refuse(draft, question, &listener).await.ok());
    }
    let wanted = Wanted {
        text: &question.text,
        mode: SearchMode::Hybrid,
        limit: request.limit.unwrap_or(SOURCES).clamp(1, SOURCES_LIMIT),
        filter: filter.as_ref(),
        skip: 0,
        tidying: Tidying::default(),
    };
    let found = search::find(aws, snapshots, caller, &entered, &wanted).await?;
    draft.sources = found.hits.iter().map(source).collect();
    draft.cost = found.cost;
    let told = async {
        listener
            .tell(AskEvent::Sources {
                answer_id: draft.answer_id.clone(),
                sources: draft.sources.clone(),
            })
            .await?;
        question.tell(&listener).await
    };
    if told.await.is_err() {
        return Ok(None);
    }
    let written = match found.stored {
        Some(stored) if !found.hits.is_empty() => {
            let sources = found.hits.into_iter().map(Source::new).collect();
            let mask = Mask::Principals(caller.principals.clone());
            let gate = Gate::new(guard);
            let question = question.text.as_str();
            let asked = Asked {
                question,
                model: &draft.model,
                sources,
            };
            write(aws, asked, &stored, &mask, gate, &listener).await?
        }
        _ => nothing_published(&listener).await,
    };
    let Some(written) = written else {
        tracing::info!(answer_id = draft.answer_id, "the client hung up");
        return Ok(None);
    };
    let answer = draft.finish(written);
    Ok(tell_last(&answer, &listener).await.ok().map(|()| answer))
}

async fn tell_last(answer: &Answer, listener: &Listener) -> Result<(), HungUp> {
    listener.tell(AskEvent::Usage(answer.usage.clone())).await?;
    listener
        .tell(AskEvent::Done(Box::new(answer.clone())))
        .await
}

/// A question that the guard has looked at.
struct GuardedQuestion {
    /// With what was masked replaced; blocked: what to say instead.
    text: String,
    verdict: Verdict,
    findings: Vec<Finding>,
    text_units: u64,
    checks: u32,
    waited_ms: f64,
}

impl GuardedQuestion {
    fn report(&self, mode: &'static str) -> GuardReport {
        GuardReport {
            mode,
            question: self.verdict,
            question_findings: self.findings.clone(),
            text_units: self.text_units,
            checks: self.checks,
            ..GuardReport::default()
        }
    }

    async fn tell(&self, listener: &Listener) -> Result<(), HungUp> {
        if self.verdict == Verdict::Allow {
            return Ok(());
        }
        let (verdict, findings) = (self.verdict, self.findings.clone());
        let direction = "question";
        listener
            .tell(AskEvent::Guard {
                direction,
                verdict,
                findings,
            })
            .await
    }
}

async fn guard_question(
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
        text_units: checked.text_units,
        checks: u32::from(guarded),
        waited_ms: if guarded { milliseconds(begun) } else { 0.0 },
    })
}

/// The answer to a blocked question: no model, no passage.
async fn refuse(
    draft: Draft,
    question: GuardedQuestion,
    listener: &Listener,
) -> Result<Answer, HungUp> {
    let sources = AskEvent::Sources {
        answer_id: draft.answer_id.clone(),
        sources: Vec::new(),
    };
    listener.tell(sources).await?;
    question.tell(listener).await?;
    let text = question.text;
    listener
        .tell(AskEvent::Delta { text: text.clone() })
        .await?;
    let answer = draft.finish(Written {
        text,
        stop_reason: INTERVENED.into(),
        ..Written::default()
    });
    tell_last(&answer, listener).await?;
    Ok(answer)
}

/// What is known before the model writes.
struct Draft {
    answer_id: String,
    model: String,
    sources: Vec<AnswerSource>,
    cost: SearchCost,
    /// Milliseconds that the guard took over the question.
    question_ms: f64,
    report: GuardReport,
    begun: Instant,
}

/// What the model wrote.
#[derive(Default)]
struct Written {
    text: String,
    citations: Vec<Citation>,
    unresolved: usize,
    input_tokens: u64,
    output_tokens: u64,
    stop_reason: String,
    first_token_ms: f64,
    model_ms: f64,
    guard: Passage,
}

/// What the gate did to an answer.
#[derive(Default)]
struct Passage {
    verdict: Verdict,
    findings: Vec<Finding>,
    text_units: u64,
    checks: u32,
    waited_ms: f64,
}

impl Draft {
    fn finish(self, written: Written) -> Answer {
        let passage = written.guard;
        let blocked = Verdict::Block == passage.verdict.max(self.report.question);
        if written.unresolved > 0 {
            tracing::warn!(
                answer_id = self.answer_id,
                unresolved = written.unresolved,
                "citations did not resolve"
            );
        }
        Answer {
            answer_id: self.answer_id,
            answered: !written.citations.is_empty() && !blocked,
            answer: written.text,
            citations: written.citations,
            sources: self.sources,
            usage: Usage {
                model: self.model,
                input_tokens: written.input_tokens,
                output_tokens: written.output_tokens,
                embedding_tokens: self.cost.embedding_tokens,
            },
            timings_ms: Timings {
                embed: self.cost.embed_ms,
                search: self.cost.search_ms,
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
                ..self.report
            },
            stop_reason: written.stop_reason,
        }
    }
}

fn source(hit: &Hit) -> AnswerSource {
    AnswerSource {
        document_id: hit.document_id.clone(),
        title: hit.title.clone(),
        uri: hit.uri.clone(),
        passage_id: hit.passage_id.clone(),
        heading_path: hit.heading_path.clone(),
        start: hit.start,
        end: hit.end,
        score: hit.score,
        text: hit.text.clone(),
    }
}

async fn nothing_published(listener: &Listener) -> Option<Written> {
    let text = NOTHING_PUBLISHED.to_owned();
    listener
        .tell(AskEvent::Delta { text: text.clone() })
        .await
        .ok()?;
    Some(Written {
        text,
        stop_reason: "end_turn".into(),
        ..Written::default()
    })
}

/// What the model is asked, and with which passages.
struct Asked<'a> {
    question: &'a str,
    model: &'a str,
    sources: Vec<Source>,
}

/// Asks the model and reads its stream to the end; `None` when the listener hung up.
async fn write(
    aws: &Aws,
    asked: Asked<'_>,
    stored: &Stored,
    mask: &Mask,
    gate: Gate<'_>,
    listener: &Listener,
) -> Result<Option<Written>, KnowledgeError> {
    let begun = Instant::now();
    let native = capabilities(asked.model).citations;
    let request = model_request(asked.question, asked.model, &asked.sources, native);
    let mut writer = Writer {
        citations: Citations::new(&asked.sources, stored, mask),
        listener,
        gate,
        markers: MarkerReader::default(),
        native,
        waiting: Vec::new(),
        claim: String::new(),
        raw_end: String::new(),
        written: Written::default(),
        begun,
    };
    let reading = async {
        let mut stream = aws.bedrock.answer(&request).await?;
        writer.read(&mut stream).await
    };
    let heard = tokio::select! {
        heard = reading => heard?,
        () = hung_up(listener) => false,
    };
    if !heard {
        return Ok(None);
    }
    Ok(Some(writer.finish()))
}

/// Resolves when the listener hangs up, so that a model that is silent is stopped too.
async fn hung_up(listener: &Listener) {
    match &listener.0 {
        Some(sender) => sender.closed().await,
        None => std::future::pending().await,
    }
}

fn model_request(question: &str, model: &str, sources: &[Source], native: bool) -> AnswerRequest {
    let temperature = capabilities(model).temperature.then_some(0.0);
    let (system, search_results, message) = if native {
        (
            prompt::CITING,
            sources.iter().map(model_source).collect(),
            question.to_owned(),
        )
    } else {
        let passages = sources
            .iter()
            .map(|source| (source.hit.title.as_str(), source.hit.text.as_str()));
        (
            prompt::NUMBERED,
            Vec::new(),
            prompt::numbered_message(passages, question),
        )
    };
    AnswerRequest {
        model: model.to_owned(),
        system: system.to_owned(),
        search_results,
        message,
        max_tokens: ANSWER_TOKENS,
        temperature,
    }
}

fn model_source(source: &Source) -> ModelSource {
    let hit = &source.hit;
    let mut title = hit.title.clone();
    for heading in hit
        .heading_path
        .iter()
        .filter(|heading| **heading != hit.title)
    {
        title.push_str(" > ");
        title.push_str(heading);
    }
    ModelSource {
        source: hit.passage_id.clone(),
        title,
        sentences: source
            .sentences
            .iter()
            .map(|range| hit.text[range.clone()].to_owned())
            .collect(),
    }
}

/// Turns the model's events into text with markers, and tells the listener.
struct Writer<'a> {
    citations: Citations<'a, Stored>,
    listener: &'a Listener,
    gate: Gate<'a>,
    markers: MarkerReader,
    native: bool,
    /// Citations of the block that is being written: source, first sentence, one past the last.
    waiting: Vec<(usize, usize, usize)>,
    /// The text since the last marker or sentence end, for models that write `[n]`.
    claim: String,
    /// The last text that was written, marker or not, whether it was released or waits.
    raw_end: String,
    written: Written,
    begun: Instant,
}

impl Writer<'_> {
    /// Reads to the end, or until the guard blocks; false when the listener hung up.
    async fn read(&mut self, stream: &mut AnswerStream) -> Result<bool, KnowledgeError> {
        while let Some(event) = stream.next().await? {
            self.take(event);
            if !self.release(false).await? {
                return Ok(false);
            }
            if self.gate.is_blocked() {
                // Dropping the stream stops the model.
                self.written.model_ms = milliseconds(self.begun) - self.gate.waited_ms;
                self.written.stop_reason = INTERVENED.into();
                return Ok(true);
            }
        }
        self.written.model_ms = milliseconds(self.begun) - self.gate.waited_ms;
        let rest = self.markers.finish();
        self.pieces(rest);
        self.block_end();
        let heard = self.release(true).await?;
        if self.gate.is_blocked() {
            self.written.stop_reason = INTERVENED.into();
        }
        Ok(heard)
    }

    /// Tells what the gate lets out; false when the listener hung up.
    async fn release(&mut self, ended: bool) -> Result<bool, KnowledgeError> {
        for item in self.gate.open(ended).await? {
            let event = match item {
                Released::Text(text) => AskEvent::Delta { text },
                Released::Citation(citation) => AskEvent::Citation { citation },
                Released::Verdict(verdict, findings) => AskEvent::Guard {
                    direction: "answer",
                    verdict,
                    findings,
                },
            };
            if self.listener.tell(event).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, event: ModelEvent) {
        match event {
            ModelEvent::Text(text) => {
                if self.written.first_token_ms == 0.0 {
                    self.written.first_token_ms = milliseconds(self.begun);
                }
                if self.native {
                    return self.text(&text);
                }
                let pieces = self.markers.push(&text);
                self.pieces(pieces);
            }
            ModelEvent::Citation {
                search_result,
                start,
                end,
            } => self.waiting.push((search_result, start, end)),
            ModelEvent::BlockEnd => self.block_end(),
            ModelEvent::Stop(reason) => self.written.stop_reason = reason,
            ModelEvent::Usage {
                input_tokens,
                output_tokens,
            } => {
                self.written.input_tokens = input_tokens;
                self.written.output_tokens = output_tokens;
            }
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // Blocks of a citing model touch: after a marker the next sentence needs its space.
        if self.raw_end.ends_with(']') && text.starts_with(char::is_alphanumeric) {
            self.gate.text(" ");
        }
        self.gate.text(text);
        text.clone_into(&mut self.raw_end);
    }

    fn pieces(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    self.claim.push_str(&text);
                    self.text(&text);
                }
                Piece::Marker(number) => {
                    let claim = std::mem::take(&mut self.claim);
                    let placed = self.citations.place_claim(number.wrapping_sub(1), &claim);
                    // A second marker of the same claim must find the claim again.
                    self.claim = claim;
                    self.mark(placed);
                }
            }
            if let Some(end) = self.claim.rfind(['.', '!', '?', '\n'])
                && self.claim[end + 1..].chars().any(char::is_alphanumeric)
            {
                self.claim.drain(..=end);
            }
        }
    }

    fn block_end(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.dedup();
        for (source, start, end) in waiting {
            let placed = self.citations.place(source, start, end);
            self.mark(placed);
        }
    }

    fn mark(&mut self, placed: Option<(Citation, bool)>) {
        let Some((citation, new)) = placed else {
            return;
        };
        let touching = self
            .raw_end
            .ends_with(|last: char| last.is_whitespace() || last == ']');
        let marker = match touching {
            true => citation.marker.clone(),
            false => format!(" {}", citation.marker),
        };
        self.gate.text(&marker);
        self.raw_end = marker;
        if new {
            self.gate.citation(citation);
        }
    }

    fn finish(self) -> Written {
        let gate = self.gate;
        Written {
            text: gate.text,
            citations: gate.citations,
            unresolved: self.citations.unresolved,
            guard: Passage {
                verdict: gate.verdict,
                findings: gate.findings,
                text_units: gate.text_units,
                checks: gate.checks,
                waited_ms: gate.waited_ms,
            },
            ..self.written
        }
    }
}

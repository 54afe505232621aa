//! The model's stream on its way out: text with markers, citations that resolve, through the guard.

use std::collections::BTreeMap;
use std::time::Instant;

use aws::Aws;
use aws::bedrock::{AnswerRequest, AnswerStream, ModelEvent, SearchResult as ModelSource};
use retrieval::Mask;

use super::INTERVENED;
use super::events::{AskEvent, Listener};
use crate::KnowledgeError;
use crate::cite::{Citation, Citations, MarkerReader, Piece, Source};
use crate::grounding::{self, Ground, Support};
use crate::guard::gate::{Gate, Released};
use crate::guard::verdict::{Finding, Verdict};
use crate::ledger::{Account, ModelCall, Task, bound};
use crate::models::{self, Strategy};
use crate::prompt;
use crate::search::{Stored, milliseconds};

/// What a strict space says instead of an answer with unsupported sentences.
const UNSUPPORTED: &str = "I could not find an answer that the documents support.";

/// What the model wrote.
#[derive(Default)]
pub(super) struct Written {
    pub text: String,
    pub citations: Vec<Citation>,
    pub support: Vec<Support>,
    pub unresolved: usize,
    pub stop_reason: String,
    pub first_token_ms: f64,
    pub model_ms: f64,
    pub guard: Passage,
}

/// What the gate did to an answer.
#[derive(Default)]
pub(super) struct Passage {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    pub text_units: u64,
    pub checks: u32,
    pub waited_ms: f64,
}

/// What the model is asked, and with which passages.
pub(super) struct Asked<'a> {
    pub question: &'a str,
    pub model: &'a str,
    pub sources: Vec<Source>,
    /// Whether an answer with unsupported sentences is refused.
    pub strict: bool,
}

/// What is written, and from what.
pub(super) struct Writing<'a> {
    pub asked: &'a Asked<'a>,
    pub request: &'a AnswerRequest,
    pub stored: &'a Stored,
    pub mask: &'a Mask,
}

/// What the model is going to be asked, once what that and the guard's looks at the answer may cost is held.
///
/// # Errors
/// Those of [`Account::hold`].
pub(super) async fn ready(
    aws: &Aws,
    asked: &Asked<'_>,
    gate: &Gate<'_>,
    account: &Account<'_>,
) -> Result<AnswerRequest, KnowledgeError> {
    let strategy = models::strategy(&aws.settings, asked.model);
    let request = model_request(asked, &strategy, aws.settings.answer_tokens);
    let characters = asked.sources.iter().map(|source| source.hit.text.len());
    let guarding = gate.costs(request.max_tokens, asked.strict, characters.sum());
    let cost = bound::text(&request).map(|cost| cost.saturating_add(guarding));
    account.hold(cost, &request.model).await?;
    Ok(request)
}

/// Asks the model and reads its stream to the end; `None` when the listener hung up.
pub(super) async fn write(
    aws: &Aws,
    writing: &Writing<'_>,
    gate: Gate<'_>,
    listener: &Listener,
    account: &Account<'_>,
) -> Result<Option<Written>, KnowledgeError> {
    let (asked, request) = (writing.asked, writing.request);
    let native = models::strategy(&aws.settings, asked.model).citations;
    let mut writer = Writer {
        citations: Citations::new(&asked.sources, writing.stored, writing.mask),
        asked,
        listener,
        gate,
        markers: MarkerReader::default(),
        native,
        waiting: Vec::new(),
        claim: String::new(),
        raw_end: String::new(),
        written: Written::default(),
        begun: Instant::now(),
    };
    let reading = async {
        let mut stream = aws.bedrock.answer(request).await?;
        let mut call = ModelCall::begun(account, Task::Answer, request);
        writer.read(&mut stream, &mut call).await
    };
    let heard = tokio::select! {
        heard = reading => heard?,
        () = listener.hung_up() => false,
    };
    if !heard {
        return Ok(None);
    }
    Ok(Some(writer.finish()))
}

fn model_request(asked: &Asked<'_>, strategy: &Strategy, max_tokens: u32) -> AnswerRequest {
    let sources = asked.sources.iter();
    let question = asked.question;
    let (system, search_results, context, message) = if strategy.citations {
        (
            prompt::CITING,
            sources.map(model_source).collect(),
            String::new(),
            question.to_owned(),
        )
    } else {
        let passages = sources.map(|source| (source.hit.title.as_str(), source.hit.text.as_str()));
        (
            prompt::NUMBERED,
            Vec::new(),
            prompt::numbered_passages(passages),
            prompt::numbered_question(question),
        )
    };
    AnswerRequest {
        model: asked.model.to_owned(),
        system: system.to_owned(),
        search_results,
        context,
        message,
        max_tokens,
        temperature: strategy.temperature,
        cache: strategy.cache,
        tier: strategy.tier,
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
    asked: &'a Asked<'a>,
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
    async fn read(
        &mut self,
        stream: &mut AnswerStream,
        call: &mut ModelCall<'_>,
    ) -> Result<bool, KnowledgeError> {
        while let Some(event) = stream.next().await? {
            call.hear(&event);
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
        let mut items = self.gate.open(ended).await?;
        if ended && !self.gate.is_blocked() {
            self.ground(&mut items).await?;
        }
        for item in items {
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

    /// Links the whole answer to its passages, before the last of it is told.
    async fn ground(&mut self, items: &mut Vec<Released>) -> Result<(), KnowledgeError> {
        let (asked, support) = (self.asked, self.support());
        if asked.strict && support.iter().any(|sentence| !sentence.supported) {
            self.gate.reject(vec![unsupported()], UNSUPPORTED, items);
            return Ok(());
        }
        let texts = asked.sources.iter().map(|source| source.hit.text.as_str());
        let texts: Vec<&str> = texts.collect();
        self.gate
            .ground(asked.question, &texts, asked.strict, items)
            .await?;
        if !self.gate.is_blocked() {
            self.written.support = support;
        }
        Ok(())
    }

    fn support(&self) -> Vec<Support> {
        let cited: BTreeMap<&str, &str> = self
            .gate
            .citations
            .iter()
            .map(|citation| (citation.marker.as_str(), citation.passage_id.as_str()))
            .collect();
        let grounds: Vec<Ground<'_>> = self
            .asked
            .sources
            .iter()
            .map(|source| Ground {
                passage_id: &source.hit.passage_id,
                text: &source.hit.text,
            })
            .collect();
        grounding::check(&self.gate.text, &cited, &grounds)
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
            ModelEvent::Usage(_) => {}
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

/// The finding of a strict space.
fn unsupported() -> Finding {
    Finding {
        policy: "grounding",
        kind: "UNSUPPORTED".to_owned(),
        action: "block",
        confidence: None,
        score: None,
        start: None,
        end: None,
    }
}

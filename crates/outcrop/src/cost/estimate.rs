//! `outcrop cost estimate`: what a folder of documents and a traffic would cost, with the arithmetic.
//!
//! Documents are read and cut as ingestion does it, and tokens counted as BERT's tokenizer counts them; a model's own count differs.

use aws::bedrock::GuardUnits;
use knowledge::models;
use knowledge::models::prices::{self, Price};
use knowledge::rerank::CANDIDATES;
use serde_json::{Value, json};

use crate::arguments::EstimateArguments;
use crate::client::Failure;
use crate::output::{self, DONE, INCOMPLETE};
use crate::walk;

use super::{NANO_USD, grouped};

/// Tokens of the words that the model is told beside passages and question.
const PROMPT_TOKENS: u64 = 200;
/// Bytes of an answer that one look of the guardrail releases; see `knowledge/src/guard/window.rs`.
const PIECE_BYTES: u64 = 240;
const BYTES_PER_TOKEN: u64 = 4;
/// Characters of a text unit.
const UNIT: usize = 1_000;

/// What the documents come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Corpus {
    files: u64,
    refused: u64,
    bytes: u64,
    passages: u64,
    tokens: u64,
    text_units: u64,
}

/// One step of the arithmetic.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    what: &'static str,
    units: u64,
    unit: &'static str,
    usd_per_million: f64,
    cost_nano_usd: u64,
}

impl Step {
    fn of(what: &'static str, units: u64, unit: &'static str, price: Price) -> Self {
        Self {
            what,
            units,
            unit,
            usd_per_million: price.usd_per_million(),
            cost_nano_usd: price.cost(units, 100),
        }
    }

    fn line(&self) -> String {
        format!(
            "  {:<9}{} {} × ${} a million = {}",
            self.what,
            grouped(self.units),
            self.unit,
            self.usd_per_million,
            dollars(self.cost_nano_usd)
        )
    }
}

/// The whole estimate.
#[derive(Debug)]
struct Estimate {
    corpus: Corpus,
    once: Vec<Step>,
    question: Vec<Step>,
    questions_per_day: u64,
    days: u64,
    prices: String,
}

pub fn run(wanted: &EstimateArguments) -> Result<u8, Failure> {
    let corpus = corpus(wanted)?;
    let refused = corpus.refused;
    let estimate = estimate(wanted, corpus)?;
    match wanted.json {
        true => output::json(&estimate.json()),
        false => output::piece(&estimate.report()),
    }
    Ok(if refused == 0 { DONE } else { INCOMPLETE })
}

fn corpus(wanted: &EstimateArguments) -> Result<Corpus, Failure> {
    let chunking = knowledge::spaces::parse_chunking(&wanted.chunking)
        .map_err(|error| Failure(error.to_string()))?;
    let found = walk::walk(&wanted.paths).map_err(Failure)?;
    let mut corpus = Corpus::default();
    for file in &found.files {
        let bytes = std::fs::read(&file.path)
            .map_err(|error| Failure(format!("{} cannot be read: {error}", file.path.display())))?;
        corpus.files += 1;
        corpus.bytes += bytes.len() as u64;
        match extract::extract(&bytes, &file.name, &extract::Limits::default()) {
            Ok(extracted) => add(&mut corpus, &extracted, &file.name, &chunking),
            Err(error) => {
                corpus.refused += 1;
                output::note(&format!("{}: {}: {error}", file.name, error.name()));
            }
        }
    }
    Ok(corpus)
}

fn add(
    corpus: &mut Corpus,
    extracted: &extract::Extracted,
    name: &str,
    chunking: &retrieval::chunk::Chunking,
) {
    let headings: Vec<retrieval::Heading> = extracted
        .headings
        .iter()
        .map(|heading| retrieval::Heading {
            level: heading.level,
            title: heading.title.clone(),
            start: heading.start,
        })
        .collect();
    let title = extracted.title.as_deref().unwrap_or(name);
    let passages = retrieval::chunk::cut(&extracted.text, &headings, chunking);
    let texts = passages.iter();
    let texts = texts.map(|passage| retrieval::embedded_text(title, passage));
    corpus.tokens += texts
        .map(|text| retrieval::chunk::count_tokens(&text) as u64)
        .sum::<u64>();
    corpus.passages += passages.len() as u64;
    corpus.text_units += extracted.text.chars().count().div_ceil(UNIT) as u64;
}

fn estimate(wanted: &EstimateArguments, corpus: Corpus) -> Result<Estimate, Failure> {
    let unpriced = |model: &str| {
        Failure(format!(
            "UnpricedModel: infra/models.json has no price for {model:?}; it is not taken for free. Add one, or name another"
        ))
    };
    let embed = &wanted.embed_model;
    let embedding = models::embedding_price(embed).ok_or_else(|| unpriced(embed))?;
    let answer = &wanted.answer_model;
    let text = prices::text(answer).ok_or_else(|| unpriced(answer))?;
    let mean = corpus
        .tokens
        .checked_div(corpus.passages)
        .unwrap_or_default();
    let input_tokens = wanted.input_tokens.unwrap_or_else(|| {
        PROMPT_TOKENS + wanted.question_tokens + wanted.passages.min(corpus.passages) * mean
    });
    let mut once = vec![Step::of("embed", corpus.tokens, "tokens", embedding)];
    let mut question = vec![
        Step::of("embed", wanted.question_tokens, "tokens", embedding),
        Step::of("read", input_tokens, "input tokens", text.input),
        Step::of("write", wanted.output_tokens, "output tokens", text.output),
    ];
    if let Some(reranker) = &wanted.rerank_model {
        let price = prices::rerank(reranker).ok_or_else(|| unpriced(reranker))?;
        let candidates = usize::try_from(corpus.passages).unwrap_or(CANDIDATES);
        let candidates = std::iter::repeat_n(mean, candidates.min(CANDIDATES));
        let queries = prices::rerank_queries(wanted.question_tokens, candidates);
        question.push(Step::of("rerank", queries, "queries", price));
    }
    if !wanted.no_guardrail {
        once.push(screened(corpus.text_units));
        let looks = (wanted.output_tokens * BYTES_PER_TOKEN).div_ceil(PIECE_BYTES);
        question.push(screened(1 + looks));
    }
    let list = models::price_list();
    Ok(Estimate {
        corpus,
        once,
        question,
        questions_per_day: wanted.questions_per_day,
        days: wanted.days,
        prices: format!("{}, {}, {}", list.source, list.region, list.as_of),
    })
}

/// Text units that the policies of `infra/guardrail.json` look at: content filters, words and personal data.
fn screened(units: u64) -> Step {
    let of = |units: u64| {
        prices::guardrail().cost(GuardUnits {
            content: units,
            word: units,
            sensitive: units,
            ..GuardUnits::default()
        })
    };
    Step {
        what: "guard",
        units,
        unit: "text units",
        usd_per_million: prices::usd(of(1_000_000)),
        cost_nano_usd: of(units),
    }
}

fn sum(steps: &[Step]) -> u64 {
    steps
        .iter()
        .fold(0, |sum, step| sum.saturating_add(step.cost_nano_usd))
}

impl Estimate {
    fn questions(&self) -> u64 {
        self.questions_per_day.saturating_mul(self.days)
    }

    fn traffic(&self) -> u64 {
        sum(&self.question).saturating_mul(self.questions())
    }

    fn report(&self) -> String {
        let corpus = &self.corpus;
        let mut lines = vec![format!(
            "{} files of {} bytes: {} passages, {} tokens, {} text units{}",
            grouped(corpus.files),
            grouped(corpus.bytes),
            grouped(corpus.passages),
            grouped(corpus.tokens),
            grouped(corpus.text_units),
            match corpus.refused {
                0 => String::new(),
                refused => format!("; {refused} refused"),
            }
        )];
        lines.push("\nonce, for the documents".to_owned());
        lines.extend(self.once.iter().map(Step::line));
        lines.push(format!("  together {}", dollars(sum(&self.once))));
        lines.push("\nfor each question".to_owned());
        lines.extend(self.question.iter().map(Step::line));
        lines.push(format!("  together {}", dollars(sum(&self.question))));
        lines.push(format!(
            "\n{} questions a day × {} days × {} = {}",
            grouped(self.questions_per_day),
            self.days,
            dollars(sum(&self.question)),
            dollars(self.traffic())
        ));
        lines.push(format!(
            "with the documents {}\n\nprices: {}; requests, functions and storage are not in it: docs/operations.md\n",
            dollars(self.traffic().saturating_add(sum(&self.once))),
            self.prices
        ));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let steps = |steps: &[Step]| -> Vec<Value> {
            let step = |step: &Step| {
                json!({
                    "what": step.what, "units": step.units, "unit": step.unit,
                    "usd_per_million": step.usd_per_million, "cost_nano_usd": step.cost_nano_usd,
                })
            };
            steps.iter().map(step).collect()
        };
        let corpus = &self.corpus;
        json!({
            "corpus": {
                "files": corpus.files, "refused": corpus.refused, "bytes": corpus.bytes, "passages": corpus.passages,
                "tokens": corpus.tokens, "text_units": corpus.text_units,
            },
            "once": steps(&self.once),
            "once_nano_usd": sum(&self.once),
            "question": steps(&self.question),
            "question_nano_usd": sum(&self.question),
            "questions": self.questions(),
            "traffic_nano_usd": self.traffic(),
            "prices": self.prices,
        })
    }
}

fn dollars(nano_usd: u64) -> String {
    let text = format!("{:.9}", nano_usd as f64 / NANO_USD);
    format!("${}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Cli, Command, CostAction};

    fn arguments(line: &str) -> EstimateArguments {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        match cli.command {
            Some(Command::Cost(cost)) => match cost.action {
                Some(CostAction::Estimate(wanted)) => wanted,
                None => panic!("{line}"),
            },
            _ => panic!("{line}"),
        }
    }

    fn thousand_passages() -> Corpus {
        Corpus {
            files: 100,
            refused: 0,
            bytes: 2_000_000,
            passages: 1_000,
            tokens: 500_000,
            text_units: 2_000,
        }
    }

    #[test]
    fn the_arithmetic_is_shown_and_right() {
        let wanted = arguments("outcrop cost estimate d --questions-per-day 1000");
        let estimate = estimate(&wanted, thousand_passages()).unwrap();
        insta::assert_snapshot!(estimate.report());
        // 500,000 × 0.02 $ a million, and 2,000 × 250 $ a million.
        assert_eq!(sum(&estimate.once), 10_000_000 + 500_000_000);
        let told = estimate.json();
        assert_eq!(told["questions"], 30_000);
        let each = told["question_nano_usd"].as_u64().unwrap();
        assert_eq!(told["traffic_nano_usd"], each * 30_000);
    }

    #[test]
    fn what_is_told_is_taken_and_what_has_no_price_is_no_gift() {
        let line = "outcrop cost estimate d --input-tokens 4000 --output-tokens 300 --no-guardrail";
        let told = estimate(&arguments(line), thousand_passages()).unwrap();
        // 20 × 0.02 + 4,000 × 3.3 + 300 × 16.5 millionths of a dollar.
        assert_eq!(sum(&told.question), 400 + 13_200_000 + 4_950_000);
        for flag in ["--answer-model", "--embed-model", "--rerank-model"] {
            let line = format!("outcrop cost estimate d {flag} nobody.knows-v1");
            let Failure(words) = estimate(&arguments(&line), thousand_passages()).unwrap_err();
            assert!(
                words.starts_with("UnpricedModel") && words.contains("nobody.knows-v1"),
                "{words}"
            );
        }
    }

    #[test]
    fn a_reranker_is_one_query_for_each_question() {
        let line = "outcrop cost estimate d --no-guardrail --rerank-model cohere.rerank-v3-5:0";
        let with = estimate(&arguments(line), thousand_passages()).unwrap();
        let without = line.replace(" --rerank-model cohere.rerank-v3-5:0", "");
        let without = estimate(&arguments(&without), thousand_passages()).unwrap();
        assert_eq!(sum(&with.question) - sum(&without.question), 2_000_000);
        assert_eq!(with.once, without.once);
        let said = with.report();
        assert!(
            said.contains("rerank   1 queries × $2000 a million"),
            "{said}"
        );
        // Without passages there is nothing to order.
        let empty = estimate(&arguments(line), Corpus::default()).unwrap();
        let without = "outcrop cost estimate d --no-guardrail";
        let plain = estimate(&arguments(without), Corpus::default()).unwrap();
        assert_eq!(sum(&empty.question), sum(&plain.question));
    }

    #[test]
    fn a_folder_is_read_as_ingestion_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("a.md"),
            "# Gate\n\nThe gate opens at nine.\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("b.bin"), [0u8, 159, 146, 150]).unwrap();
        let mut wanted = arguments("outcrop cost estimate d");
        wanted.paths = vec![folder.path().to_owned()];
        let found = corpus(&wanted).unwrap();
        assert_eq!(
            (found.files, found.refused, found.passages),
            (2, 1, 1),
            "{found:?}"
        );
        assert!(found.tokens > 5 && found.text_units == 1, "{found:?}");
    }
}

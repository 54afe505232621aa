//! `outcrop eval`: lexical, vector and hybrid search on a judged collection, measured side by side.

mod collection;
mod dataset;
mod plot;

use std::collections::{BTreeMap, BTreeSet};

use collection::{Collection, DEPTH, GROUPS, Sentences, groups};
use dataset::{Dataset, Question};
use retrieval::{Mode, measure};
use serde::Serialize;
use serde_json::json;

use crate::arguments::EvalArguments;
use crate::client::Failure;
use crate::models;
use crate::output::{self, DONE, FAILED};

/// Results that nDCG and the reciprocal rank look at.
const TOP: usize = 10;
const MODES: [(&str, Mode); 3] = [
    ("lexical", Mode::Lexical),
    ("vector", Mode::Vector),
    ("hybrid", Mode::Hybrid),
];

/// Means over all questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct Measures {
    ndcg_at_10: f64,
    recall_at_10: f64,
    recall_at_100: f64,
    mrr_at_10: f64,
}

/// Milliseconds over all questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Outcome {
    dataset: String,
    embedder: &'static str,
    results: BTreeMap<&'static str, Measures>,
    /// Of the search in each mode, and of embedding the question.
    latency_ms: BTreeMap<&'static str, Latency>,
    documents: usize,
    passages: usize,
    questions: usize,
    /// Results of searches under a mask or a filter that these should have kept out.
    leaks: usize,
}

/// Runs the command to its exit code.
pub fn run(arguments: &EvalArguments) -> Result<u8, Failure> {
    let dataset = Dataset::read(&arguments.dataset, arguments.split.as_deref())
        .map_err(|error| Failure(format!("{}: {error}", error.name())))?;
    let sentences = match models::chosen(&arguments.data, arguments.embedder)? {
        Some(model) => Sentences::MiniLm(model),
        None => Sentences::Hashing,
    };
    let outcome = measured(&dataset, &sentences).map_err(Failure)?;
    if let Some(path) = &arguments.plot {
        plot::write(path, &outcome).map_err(|detail| {
            Failure(format!(
                "PlotUnwritable: {} cannot be written ({detail})",
                path.display()
            ))
        })?;
    }
    match arguments.json {
        true => output::json(&json!(outcome)),
        false => output::piece(&report(&outcome)),
    }
    if outcome.leaks > 0 {
        output::error_line(&format!(
            "SearchLeaks: {} results came past a mask or a filter",
            outcome.leaks
        ));
        return Ok(FAILED);
    }
    Ok(DONE)
}

/// Builds the collection's index and asks it every question in every mode.
fn measured(dataset: &Dataset, sentences: &Sentences) -> Result<Outcome, String> {
    let bar = output::progress(1, "embedding");
    let collection = Collection::build(dataset, sentences, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let collection = collection?;
    let bar = output::progress(dataset.questions.len() as u64, "asking");
    let mut sums = [Measures::default(); MODES.len()];
    let mut times: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let (groups, mut leaks) = (groups(dataset), 0);
    for (number, question) in dataset.questions.iter().enumerate() {
        let begun = std::time::Instant::now();
        let vector = sentences.embed(&[&question.text]).pop().unwrap_or_default();
        times
            .entry("embedding")
            .or_default()
            .push(begun.elapsed().as_secs_f64() * 1e3);
        for ((name, mode), sum) in MODES.iter().zip(&mut sums) {
            let (ranking, took) = collection.search(&question.text, &vector, *mode)?;
            times.entry(name).or_default().push(took);
            add(sum, &ranking, question);
        }
        leaks += collection.leaks(&question.text, &vector, number % GROUPS.len(), &groups)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = dataset.questions.len() as f64;
    let results = MODES
        .iter()
        .zip(sums)
        .map(|((name, _), sum)| (*name, mean(sum, count)));
    Ok(Outcome {
        dataset: dataset.name.clone(),
        embedder: sentences.name(),
        results: results.collect(),
        latency_ms: times
            .into_iter()
            .map(|(name, times)| (name, latency(times)))
            .collect(),
        documents: dataset.documents.len(),
        passages: collection.passages,
        questions: dataset.questions.len(),
        leaks,
    })
}

fn add(sum: &mut Measures, ranking: &[String], question: &Question) {
    let ranking: Vec<&str> = ranking.iter().map(String::as_str).collect();
    let grades: BTreeMap<&str, u32> = question
        .grades
        .iter()
        .map(|(id, grade)| (id.as_str(), *grade))
        .collect();
    let relevant: BTreeSet<&str> = grades.keys().copied().collect();
    sum.ndcg_at_10 += measure::graded_ndcg_at(&ranking, &grades, TOP);
    sum.recall_at_10 += measure::recall_at(&ranking, &relevant, TOP);
    sum.recall_at_100 += measure::recall_at(&ranking, &relevant, DEPTH);
    sum.mrr_at_10 += measure::reciprocal_rank_at(&ranking, &relevant, TOP);
}

fn mean(sum: Measures, count: f64) -> Measures {
    // Four decimals: what differs beyond is chance.
    let rounded = |sum: f64| (sum / count * 1e4).round() / 1e4;
    Measures {
        ndcg_at_10: rounded(sum.ndcg_at_10),
        recall_at_10: rounded(sum.recall_at_10),
        recall_at_100: rounded(sum.recall_at_100),
        mrr_at_10: rounded(sum.mrr_at_10),
    }
}

fn latency(mut times: Vec<f64>) -> Latency {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times
            .get(place)
            .map_or(0.0, |time| (time * 1e3).round() / 1e3)
    };
    Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
    }
}

fn report(outcome: &Outcome) -> String {
    let mut rows = vec![
        [
            "",
            "nDCG@10",
            "recall@10",
            "recall@100",
            "MRR@10",
            "p50 ms",
            "p99 ms",
            "",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (name, _) in MODES {
        let (found, took) = (outcome.results[name], outcome.latency_ms[name]);
        let shares = [
            found.ndcg_at_10,
            found.recall_at_10,
            found.recall_at_100,
            found.mrr_at_10,
        ];
        let mut row = vec![name.to_owned()];
        row.extend(shares.map(|share| format!("{share:.3}")));
        row.extend([took.p50, took.p99].map(|time| format!("{time:.2}")));
        row.push(bar(found.ndcg_at_10));
        rows.push(row);
    }
    format!(
        "{}: {} documents, {} passages, {} questions, embedded by {}\n\n{}\nleaks past masks and filters: {}\n",
        outcome.dataset,
        outcome.documents,
        outcome.passages,
        outcome.questions,
        outcome.embedder,
        output::table(&rows),
        outcome.leaks
    )
}

/// A share from 0 to 1 as a bar of up to 24 cells, in eighths of a cell.
fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * 24.0 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    let parts = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if let Some(part) = (eighths % 8).checked_sub(1).and_then(|at| parts.get(at)) {
        bar.push(*part);
    }
    bar
}

#[cfg(test)]
mod tests;

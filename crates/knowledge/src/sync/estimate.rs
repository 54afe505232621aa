//! What a run will embed, told before it does: some of its documents are extracted and cut as they will be, and what their
//! bytes came to is carried over to the others of their kind.

use std::collections::BTreeMap;

use aws::Aws;
use retrieval::chunk;
use serde::{Deserialize, Serialize};

use super::plan::Work;
use super::rows::{PlannedDocument, RunRow};
use super::{StepError, chunking, extraction};
use crate::{batch_embedding, spaces};

/// Documents of one kind that are looked at, and how many kinds at the most.
const SAMPLES: usize = 4;
const KINDS: usize = 6;
/// Larger documents are not looked at: a plan is not an extraction.
const SAMPLE_BYTES: u64 = 4 << 20;

/// What a run will embed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    pub documents: u64,
    pub passages: u64,
    /// As BERT's tokenizer counts; the model has its own, and its bill says so.
    pub tokens: u64,
    /// Those of them that batch jobs will embed; 0 where calls do.
    #[serde(default, skip_serializing_if = "super::rows::is_zero")]
    pub job_tokens: u64,
    /// How many documents were looked at for it.
    pub sampled: u64,
}

/// What bytes came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Yield {
    documents: u64,
    bytes: u64,
    passages: u64,
    tokens: u64,
    /// Those of them that are in passages; the others find out where to cut.
    passage_tokens: u64,
}

/// Notes in a run's row whether it is large enough to embed by batch jobs, where its space wants that, and what a run over the
/// whole source will embed. Answers the estimate, which is `wanted` of any run where the space has a budget.
pub(super) async fn note(
    aws: &Aws,
    run: &mut RunRow,
    work: &[&Work],
    wanted: bool,
) -> Result<Option<Estimate>, StepError> {
    let setting = spaces::batch_embedding(aws, &run.space).await?;
    let jobs_from = batch_embedding::jobs_from(aws, setting);
    let whole = run.documents.is_none() && run.redrive_of.is_none();
    if !whole && !wanted && jobs_from.is_none() {
        return Ok(None);
    }
    let mut found = estimate(aws, work).await;
    match jobs_from.is_some_and(|passages| found.passages >= passages) {
        true => run.batch_embedding = setting,
        false => found.job_tokens = 0,
    }
    run.estimate = whole.then_some(found);
    Ok(Some(found))
}

/// Estimates what embedding documents takes, as if batch jobs did it.
async fn estimate(aws: &Aws, work: &[&Work]) -> Estimate {
    let mut kinds: BTreeMap<String, (u64, Vec<&Work>)> = BTreeMap::new();
    for one in work.iter().copied() {
        let (bytes, of_kind) = kinds.entry(kind(&one.planned.name)).or_default();
        *bytes += one.bytes;
        if one.bytes <= SAMPLE_BYTES {
            of_kind.push(one);
        }
    }
    let mut kinds: Vec<(u64, Vec<&Work>)> = kinds.into_values().collect();
    kinds.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let mut parts = Vec::new();
    for (at, (bytes, of_kind)) in kinds.into_iter().enumerate() {
        let mut sample = Yield::default();
        if at < KINDS {
            for one in evenly(&of_kind, SAMPLES) {
                look_at(aws, &one.planned, one.bytes, &mut sample).await;
            }
        }
        parts.push((bytes, sample));
    }
    carried_over(work.len() as u64, &parts)
}

/// The extension, in lowercase; a name without one is of the kind of those without one.
fn kind(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    extension.unwrap_or_default().to_lowercase()
}

/// Up to `count` of `all`, as far from each other as can be.
fn evenly<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(all.len());
    (0..count).map(move |number| &all[number * all.len() / count])
}

/// Extracts and cuts one document; what is refused comes to nothing, as it will in the run. A document that cannot be looked
/// at now is no sample: an estimate ends no run.
async fn look_at(aws: &Aws, one: &PlannedDocument, bytes: u64, sample: &mut Yield) {
    let read = match extraction::read_one(aws, one).await {
        Ok((read, _)) => read,
        Err(error) => {
            tracing::warn!(
                error = error.name(),
                "a document was left out of the estimate"
            );
            return;
        }
    };
    sample.documents += 1;
    sample.bytes += bytes;
    let Ok(extracted) = read else { return };
    let cut = chunking::estimated(&extracted, &one.chunking);
    let title = extraction::title(one, &extracted);
    let texts = cut.passages.iter();
    let texts = texts.map(|passage| retrieval::embedded_text(&title, passage));
    let tokens: u64 = texts.map(|text| chunk::count_tokens(&text) as u64).sum();
    sample.passages += cut.passages.len() as u64;
    // Semantic chunking embeds before the passages are.
    sample.tokens += cut.tokens + tokens;
    sample.passage_tokens += tokens;
}

/// Each part's bytes at the yield of its sample; those without one at the yield of all.
fn carried_over(documents: u64, parts: &[(u64, Yield)]) -> Estimate {
    let mut all = Yield::default();
    for (_, sample) in parts {
        all.documents += sample.documents;
        all.bytes += sample.bytes;
        all.passages += sample.passages;
        all.tokens += sample.tokens;
        all.passage_tokens += sample.passage_tokens;
    }
    let mut estimate = Estimate {
        documents,
        sampled: all.documents,
        ..Estimate::default()
    };
    for (bytes, sample) in parts {
        let sample = if sample.bytes > 0 { sample } else { &all };
        let share = |amount: u64| match sample.bytes {
            0 => 0,
            of => (u128::from(amount) * u128::from(*bytes)).div_ceil(u128::from(of)) as u64,
        };
        estimate.passages += share(sample.passages);
        estimate.tokens += share(sample.tokens);
        estimate.job_tokens += share(sample.passage_tokens);
    }
    estimate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_speak_for_their_kind() {
        // Semantic chunking embeds a fifth of these before.
        let sample = |documents, bytes, passages, tokens| Yield {
            documents,
            bytes,
            passages,
            tokens,
            passage_tokens: tokens - tokens / 5,
        };
        let check = |parts: &[(u64, Yield)], passages: u64, tokens: u64, sampled: u64| {
            let expected = Estimate {
                documents: 9,
                passages,
                tokens,
                job_tokens: tokens - tokens / 5,
                sampled,
            };
            assert_eq!(carried_over(9, parts), expected);
        };
        check(&[], 0, 0, 0);
        check(&[(1_000, sample(1, 100, 2, 50))], 20, 500, 1);
        let two = [(1_000, sample(1, 100, 2, 50)), (500, sample(2, 500, 0, 0))];
        check(&two, 20, 500, 3);
        // A kind without a sample is like all.
        check(
            &[(100, sample(1, 100, 2, 50)), (100, sample(0, 0, 0, 0))],
            4,
            100,
            1,
        );
        check(&[(100, sample(1, 0, 0, 0))], 0, 0, 1);
    }

    #[test]
    fn samples_lie_far_apart() {
        let check = |count: usize, wanted: usize, expected: &[usize]| {
            let all: Vec<usize> = (0..count).collect();
            let found: Vec<usize> = evenly(&all, wanted).copied().collect();
            assert_eq!(found, expected);
        };
        check(0, 4, &[]);
        check(3, 4, &[0, 1, 2]);
        check(100, 4, &[0, 25, 50, 75]);
    }

    #[test]
    fn kinds_are_extensions() {
        let check = |name: &str, expected: &str| assert_eq!(kind(name), expected, "{name}");
        check("a/b.c/manual.PDF", "pdf");
        check("a.b/README", "");
        check("notes.tar.gz", "gz");
    }
}

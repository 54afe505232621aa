//! What CloudWatch is told of an answer: figures only, with the ids that find its log lines.

use aws::telemetry::{Metric, Unit, metrics};

use super::Answer;
use crate::guard::verdict::Verdict;

pub(super) fn report(answer: &Answer) {
    let (took, used) = (&answer.timings_ms, &answer.usage);
    let figure = |name, unit, value| Metric { name, unit, value };
    let count = |yes: bool| f64::from(u8::from(yes));
    let tokens = |count: u64| count as f64;
    let units = &used.units;
    let read = units.input_tokens + units.cache_read_tokens + units.cache_write_tokens;
    let guarded = answer.guard.question.max(answer.guard.answer);
    // Where nothing was reranked there is nothing to see.
    let reranked = answer.reranking.is_some();
    let rerank = reranked.then(|| figure("AnswerRerankMs", Unit::Milliseconds, took.rerank));
    let figures = [
        figure("AnswerMs", Unit::Milliseconds, took.total),
        figure("AnswerEmbedMs", Unit::Milliseconds, took.embed),
        figure("AnswerSearchMs", Unit::Milliseconds, took.search),
        figure("AnswerFirstTokenMs", Unit::Milliseconds, took.first_token),
        figure("AnswerModelMs", Unit::Milliseconds, took.model),
        figure("AnswerGuardMs", Unit::Milliseconds, took.guard),
        figure("AnswerInputTokens", Unit::Count, tokens(read)),
        figure(
            "AnswerOutputTokens",
            Unit::Count,
            tokens(used.units.output_tokens),
        ),
        figure(
            "AnswerCostMicroUsd",
            Unit::Count,
            used.cost_nano_usd as f64 / 1e3,
        ),
        figure("AnswersWithoutAnswer", Unit::Count, count(!answer.answered)),
        figure(
            "AnswersBlocked",
            Unit::Count,
            count(guarded == Verdict::Block),
        ),
        figure(
            "AnswersMasked",
            Unit::Count,
            count(guarded == Verdict::Mask),
        ),
    ];
    let figures: Vec<Metric> = figures.into_iter().chain(rerank).collect();
    metrics(
        &figures,
        &[("answer_id", &answer.answer_id), ("model", &used.model)],
    );
}

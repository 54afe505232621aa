//! What CloudWatch is told of an answer: figures only, with the ids that find its log lines.

use aws::telemetry::{Metric, Unit, metrics};

use super::Answer;
use crate::guard::verdict::Verdict;

pub(super) fn report(answer: &Answer) {
    let (took, used) = (&answer.timings_ms, &answer.usage);
    let figure = |name, unit, value| Metric { name, unit, value };
    let count = |yes: bool| f64::from(u8::from(yes));
    let guarded = answer.guard.question.max(answer.guard.answer);
    metrics(
        &[
            figure("AnswerMs", Unit::Milliseconds, took.total),
            figure("AnswerEmbedMs", Unit::Milliseconds, took.embed),
            figure("AnswerSearchMs", Unit::Milliseconds, took.search),
            figure("AnswerFirstTokenMs", Unit::Milliseconds, took.first_token),
            figure("AnswerModelMs", Unit::Milliseconds, took.model),
            figure("AnswerGuardMs", Unit::Milliseconds, took.guard),
            figure("AnswerInputTokens", Unit::Count, used.input_tokens as f64),
            figure("AnswerOutputTokens", Unit::Count, used.output_tokens as f64),
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
        ],
        &[("answer_id", &answer.answer_id), ("model", &used.model)],
    );
}

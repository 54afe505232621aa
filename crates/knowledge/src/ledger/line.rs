//! One line of an account: what one call to a model, or the guardrail's calls together, took and cost.

use aws::bedrock::{GuardUnits, ModelUsage};
use serde::{Deserialize, Serialize};

use crate::models;
use crate::models::prices::{self, CacheTtl, Way};

/// The guardrail's name among the models of the ledger. Model ids have a dot, so none is called so.
pub const GUARDRAIL: &str = "guardrail";

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Answer,
    /// A follow-up is put into words that stand alone.
    Condense,
    Embed,
    Guard,
    Rerank,
}

/// What was counted. Bedrock counts input tokens without those that a prompt cache was read or written with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    pub embedding_tokens: u64,
    /// Text units of 1,000 characters, all policies of the guardrail together.
    pub text_units: u64,
    /// Queries to a reranker.
    pub rerank_units: u64,
}

impl Units {
    /// Each count with its name.
    pub(super) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
            ("cache_read_tokens", self.cache_read_tokens),
            ("cache_write_tokens", self.cache_write_tokens),
            ("embedding_tokens", self.embedding_tokens),
            ("text_units", self.text_units),
            ("rerank_units", self.rerank_units),
        ]
    }
}

impl std::ops::AddAssign for Units {
    fn add_assign(&mut self, more: Self) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut self.input_tokens, more.input_tokens);
        add(&mut self.output_tokens, more.output_tokens);
        add(&mut self.cache_read_tokens, more.cache_read_tokens);
        add(&mut self.cache_write_tokens, more.cache_write_tokens);
        add(&mut self.embedding_tokens, more.embedding_tokens);
        add(&mut self.text_units, more.text_units);
        add(&mut self.rerank_units, more.rerank_units);
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub task: Task,
    /// The model, profile or router; [`GUARDRAIL`] for the guardrail.
    pub model: String,
    #[serde(flatten)]
    pub units: Units,
    /// In nanodollars; none where `infra/models.json` has no price, which is not to say that it was free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<u64>,
    /// Whether the counts are ours: a call that was broken off tells none, and is billed as far as it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Line {
    fn of(task: Task, model: &str, units: Units, cost_nano_usd: Option<u64>) -> Self {
        Self {
            task,
            model: model.to_owned(),
            units,
            cost_nano_usd,
            estimated: false,
        }
    }

    /// A call to a text model.
    pub fn text(task: Task, model: &str, used: &ModelUsage, way: Way, ttl: CacheTtl) -> Self {
        let units = Units {
            input_tokens: used.input_tokens,
            output_tokens: used.output_tokens,
            cache_read_tokens: used.cache_read_tokens,
            cache_write_tokens: used.cache_write_tokens,
            ..Units::default()
        };
        Self::of(task, model, units, text_cost(model, used, way, ttl))
    }

    /// Texts that were embedded, by calls or by batch jobs.
    pub fn embedding(model: &str, embedding_tokens: u64, by_jobs: bool) -> Self {
        let units = Units {
            embedding_tokens,
            ..Units::default()
        };
        let cost = models::embedding_cost(model, embedding_tokens, by_jobs);
        Self::of(Task::Embed, model, units, cost)
    }

    /// Calls to the guardrail.
    pub fn guard(counted: GuardUnits) -> Self {
        let units = Units {
            text_units: counted.total(),
            ..Units::default()
        };
        let cost = prices::guardrail().cost(counted);
        Self::of(Task::Guard, GUARDRAIL, units, Some(cost))
    }

    /// Queries to a reranker.
    pub fn rerank(model: &str, rerank_units: u64) -> Self {
        let units = Units {
            rerank_units,
            ..Units::default()
        };
        let cost = prices::rerank(model).map(|price| price.cost(rerank_units, 100));
        Self::of(Task::Rerank, model, units, cost)
    }
}

fn text_cost(model: &str, used: &ModelUsage, way: Way, ttl: CacheTtl) -> Option<u64> {
    let price = prices::text(model)?;
    let percent = way.percent();
    let parts = [
        price.input.cost(used.input_tokens, percent),
        price.output.cost(used.output_tokens, percent),
        price.cache_read().cost(used.cache_read_tokens, percent),
        price
            .cache_write(ttl)
            .cost(used.cache_write_tokens, percent),
    ];
    Some(parts.into_iter().fold(0, u64::saturating_add))
}

/// The lines of an account together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    pub units: Units,
    /// Of the lines that have a price.
    pub cost_nano_usd: u64,
    /// The models of the others, each once.
    pub unpriced: Vec<String>,
    pub estimated: bool,
}

impl Sum {
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut sum = Self::default();
        for line in lines {
            sum.units += line.units;
            sum.estimated |= line.estimated;
            match line.cost_nano_usd {
                Some(cost) => sum.cost_nano_usd = sum.cost_nano_usd.saturating_add(cost),
                None if sum.unpriced.contains(&line.model) => {}
                None => sum.unpriced.push(line.model.clone()),
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

    fn used(input_tokens: u64, output_tokens: u64, read: u64, written: u64) -> ModelUsage {
        ModelUsage {
            input_tokens,
            output_tokens,
            cache_read_tokens: read,
            cache_write_tokens: written,
            ..ModelUsage::default()
        }
    }

    #[test]
    fn a_line_costs_its_units_at_their_prices() {
        let check = |model: &str, way: Way, ttl: CacheTtl, nano: Option<u64>| {
            let line = Line::text(Task::Answer, model, &used(1_000, 100, 2_000, 10), way, ttl);
            assert_eq!(line.cost_nano_usd, nano, "{model} {way:?} {ttl:?}");
        };
        let (short, long) = (CacheTtl::FiveMinutes, CacheTtl::OneHour);
        // 1,000 × 3.3 + 100 × 16.5 + 2,000 × 0.33 + 10 × 4.125 (6.6) µ$
        check(SONNET, Way::OnDemand, short, Some(5_651_250));
        check(SONNET, Way::OnDemand, long, Some(5_676_000));
        check(
            "openai.gpt-oss-20b-1:0",
            Way::OnDemand,
            short,
            Some(240_700),
        );
        check("openai.gpt-oss-20b-1:0", Way::Flex, short, Some(120_350));
        check("nobody.knows-v1", Way::OnDemand, short, None);
        let embedded = |model: &str, by_jobs| Line::embedding(model, 1_000, by_jobs).cost_nano_usd;
        assert_eq!(
            embedded("amazon.titan-embed-text-v2:0", false),
            Some(20_000)
        );
        assert_eq!(embedded("amazon.titan-embed-text-v2:0", true), Some(10_000));
        assert_eq!(embedded("outcrop.minilm-l6-v2", false), Some(0));
        assert_eq!(embedded("nobody.knows-v1", false), None);
        assert_eq!(
            Line::rerank("amazon.rerank-v1:0", 2).cost_nano_usd,
            Some(2_000_000)
        );
    }

    #[test]
    fn what_has_no_price_is_told_and_is_not_free() {
        let line = |model: &str| Line::embedding(model, 10, false);
        let sum = Sum::of(&[
            line("a.b"),
            line("amazon.titan-embed-text-v2:0"),
            line("a.b"),
        ]);
        assert_eq!(
            (sum.cost_nano_usd, sum.unpriced),
            (200, vec!["a.b".to_owned()])
        );
        assert_eq!(sum.units.embedding_tokens, 30);
    }

    proptest! {
        /// Counters add up costs line by line: in whatever order and parts, the sum is the same.
        #[test]
        fn sums_do_not_depend_on_order_or_parts(counts in prop::collection::vec(any::<(u32, u32, u16, u16)>(), 0..20), cut in 0usize..20) {
            let lines: Vec<Line> = counts.iter().map(|(input, output, read, written)| {
                let used = used((*input).into(), (*output).into(), (*read).into(), (*written).into());
                Line::text(Task::Answer, SONNET, &used, Way::OnDemand, CacheTtl::FiveMinutes)
            }).collect();
            let whole = Sum::of(&lines);
            let (left, right) = lines.split_at(cut.min(lines.len()));
            let (left, right) = (Sum::of(left), Sum::of(right));
            prop_assert_eq!(whole.cost_nano_usd, left.cost_nano_usd + right.cost_nano_usd);
            let mut units = right.units;
            units += left.units;
            prop_assert_eq!(whole.units, units);
            prop_assert_eq!(Sum::of(lines.iter().rev()).cost_nano_usd, whole.cost_nano_usd);
        }
    }
}

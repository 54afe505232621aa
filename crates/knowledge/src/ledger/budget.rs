//! A space's budget: what it may spend in a UTC day and month, and what gives way before it is spent. Arithmetic and wording
//! only; `purse` keeps the books.

use aws::config::Settings;
use aws::dynamo::Numbers;
use serde::{Deserialize, Serialize};

use super::calendar::{DAY_MS, Day};
use crate::models::prices::{nano_usd, usd};
use crate::roles::present;
use crate::{KnowledgeError, models};

/// The largest budget, in USD: far below what 64 bits hold.
const MOST_USD: f64 = 1_000_000.0;
/// The most passages of an answer, as of a question.
const PASSAGES: usize = 30;
/// What is told to wait for answers under way, in seconds.
const SOON: u64 = 2;

/// The budget of a space; nothing set is no budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) day_nano_usd: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) month_nano_usd: Option<u64>,
    /// From this share on answers are made more cheaply, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soft_percent: Option<u64>,
    /// The model that answers then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soft_model: Option<String>,
    /// The passages that it reads then, at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soft_passages: Option<usize>,
}

/// A budget as admins set and see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BudgetView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_percent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_passages: Option<usize>,
}

/// What is to change: what is left out stays, null takes it away.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetChange {
    #[serde(default, deserialize_with = "present")]
    pub day_usd: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    pub month_usd: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    pub soft_percent: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present")]
    pub soft_model: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    pub soft_passages: Option<Option<usize>>,
}

impl Budget {
    /// Whether anything is bounded.
    pub fn is_set(&self) -> bool {
        self.day_nano_usd.is_some() || self.month_nano_usd.is_some()
    }

    /// The same with what `change` says.
    ///
    /// # Errors
    /// [`KnowledgeError::InvalidRequest`] for amounts and shares out of bounds, [`KnowledgeError::ModelNotAllowed`] for a model
    /// that the settings do not offer.
    pub fn changed(
        self,
        change: BudgetChange,
        settings: &Settings,
    ) -> Result<Self, KnowledgeError> {
        let invalid = |detail: String| KnowledgeError::InvalidRequest { detail };
        let amount = |name: &str, change: Option<Option<f64>>, own: Option<u64>| match change {
            None => Ok(own),
            Some(None) => Ok(None),
            Some(Some(usd)) => match nano_usd(usd).filter(|_| usd <= MOST_USD) {
                Some(nano) => Ok(Some(nano)),
                None => Err(invalid(format!(
                    "{name} is {usd}; give USD from 0 to {MOST_USD}"
                ))),
            },
        };
        let changed = Self {
            day_nano_usd: amount("day_usd", change.day_usd, self.day_nano_usd)?,
            month_nano_usd: amount("month_usd", change.month_usd, self.month_nano_usd)?,
            soft_percent: change.soft_percent.unwrap_or(self.soft_percent),
            soft_model: change.soft_model.unwrap_or(self.soft_model),
            soft_passages: change.soft_passages.unwrap_or(self.soft_passages),
        };
        if let Some(percent) = changed
            .soft_percent
            .filter(|percent| !(1..100).contains(percent))
        {
            return Err(invalid(format!("soft_percent is {percent}; give 1 to 99")));
        }
        let many = changed.soft_passages;
        if let Some(many) = many.filter(|many| !(1..=PASSAGES).contains(many)) {
            let detail = format!("soft_passages is {many}; give 1 to {PASSAGES}");
            return Err(invalid(detail));
        }
        if let Some(model) = &changed.soft_model {
            models::offered(settings, model, true)?;
        }
        let gives_way = changed.soft_model.is_some() || changed.soft_passages.is_some();
        if changed.soft_percent.is_some() && !gives_way {
            let detail = "soft_percent says when something gives way; say what: soft_model, soft_passages or both";
            return Err(invalid(detail.to_owned()));
        }
        Ok(changed)
    }

    pub fn view(&self) -> BudgetView {
        BudgetView {
            day_usd: self.day_nano_usd.map(usd),
            month_usd: self.month_nano_usd.map(usd),
            soft_percent: self.soft_percent,
            soft_model: self.soft_model.clone(),
            soft_passages: self.soft_passages,
        }
    }
}

/// What stands in the row of a month: what was taken of it and of each of its days, spent and held together, and what is held
/// until when.
pub(super) mod names {
    use super::{Day, Numbers};

    pub const MONTH: &str = "month";
    const HELD: &str = "held_";

    pub fn day(day: Day) -> String {
        format!("day_{:02}", day.of_month())
    }

    /// What is held of a day until a minute since the epoch, by all together or by `whom`.
    pub fn held(day: Day, until_minute: u64, whom: Option<&str>) -> String {
        let of = whom.map_or_else(String::new, |whom| format!("_{whom}"));
        format!("{HELD}{:02}_{until_minute}{of}", day.of_month())
    }

    /// The day's number and the minute of a name that [`held`] made.
    pub fn parse_held(name: &str) -> Option<(u64, u64)> {
        let mut parts = name.strip_prefix(HELD)?.split('_');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// Whether what is held under a name is held until a minute before `minute`.
    pub fn is_over(name: &str, minute: u64) -> bool {
        parse_held(name).is_some_and(|(_, until)| until < minute)
    }

    /// Takes what is held until a minute before `minute` out of the numbers.
    pub fn forget_expired(numbers: &mut Numbers, minute: u64) {
        let held = numbers.iter();
        let expired = held.filter_map(|(name, left)| {
            let (day, _) = parse_held(name)?;
            is_over(name, minute).then(|| (name.clone(), day, *left))
        });
        for (name, day, left) in expired.collect::<Vec<_>>() {
            numbers.remove(&name);
            for span in [MONTH.to_owned(), format!("day_{day:02}")] {
                if let Some(taken) = numbers.get_mut(&span) {
                    *taken = taken.saturating_sub(left);
                }
            }
        }
    }

    /// What is held in a month, or of one of its days.
    pub fn held_of(numbers: &Numbers, day: Option<Day>) -> i64 {
        let of = day.map(Day::of_month);
        let of_day = |name: &str| {
            parse_held(name).is_some_and(|(number, _)| of.is_none_or(|of| of == number))
        };
        let held = numbers.iter().filter(|(name, _)| of_day(name));
        held.fold(0, |sum, (_, left)| sum.saturating_add(*left))
    }
}

/// The span of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    Day,
    Month,
}

impl Span {
    fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// How one span of a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub span: Span,
    pub limit: u64,
    /// Spent and held.
    pub taken: u64,
    /// Held for what is under way.
    pub held: u64,
    /// When it begins anew, in milliseconds since the epoch.
    pub resets_ms: u64,
}

impl Standing {
    pub fn spent(self) -> u64 {
        self.taken.saturating_sub(self.held)
    }

    /// Percent of the limit that is taken.
    pub fn percent(self) -> u64 {
        let percent = u128::from(self.taken) * 100 / u128::from(self.limit.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Why `needed` does not fit.
    pub fn refusal(self, needed: u64, now_ms: u64) -> KnowledgeError {
        // What is held for others may come back in a moment.
        let soon = self.spent().saturating_add(needed) <= self.limit;
        let until_reset = self.resets_ms.saturating_sub(now_ms).div_ceil(1_000);
        KnowledgeError::BudgetSpent {
            span: self.span.word(),
            limit: self.limit,
            spent: self.spent(),
            held: self.held,
            needed,
            resets_at: aws::clock::rfc3339(self.resets_ms),
            seconds: if soon { SOON } else { until_reset },
        }
    }
}

/// An amount in words: `0.0165 USD`.
pub(crate) fn in_usd(nano_usd: u64) -> String {
    let text = format!("{:.9}", usd(nano_usd));
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} USD")
}

/// How the spans that are bounded stand, by the numbers of the month's row.
pub(super) fn standings(budget: &Budget, numbers: &Numbers, day: Day) -> Vec<Standing> {
    let number = |name: &str| numbers.get(name).copied().unwrap_or_default().max(0) as u64;
    let held = |of: Option<Day>| names::held_of(numbers, of).max(0) as u64;
    let of_day = budget.day_nano_usd.map(|limit| Standing {
        span: Span::Day,
        limit,
        taken: number(&names::day(day)),
        held: held(Some(day)),
        resets_ms: day.begins_ms() + DAY_MS,
    });
    let of_month = budget.month_nano_usd.map(|limit| Standing {
        span: Span::Month,
        limit,
        taken: number(names::MONTH),
        held: held(None),
        resets_ms: day.first_of_next_month().begins_ms(),
    });
    of_day.into_iter().chain(of_month).collect()
}

/// What gives way while a budget runs low.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SteppedDown {
    /// In words, why.
    pub reason: String,
    /// The model that answers.
    pub model: String,
    /// The passages that it reads at the most.
    pub passages: usize,
    pub resets_at: String,
}

/// The cheaper way, where a span has passed the soft limit. A model that the settings offer no more is not stepped down to.
pub(super) fn stepped_down(
    budget: &Budget,
    standings: &[Standing],
    settings: &Settings,
    (model, passages): (&str, usize),
) -> Option<SteppedDown> {
    let soft = budget.soft_percent?;
    let low = standings.iter().find(|one| one.percent() > soft)?;
    let cheaper = budget.soft_model.as_deref();
    let cheaper = cheaper.and_then(|model| models::offered(settings, model, true).ok());
    let (model, passages) = (
        cheaper.unwrap_or_else(|| model.to_owned()),
        budget.soft_passages.unwrap_or(passages).min(passages),
    );
    let reason = format!(
        "more than {soft} % of this {}'s budget is taken: {model} answers, from {passages} passages at the most",
        low.span.word()
    );
    Some(SteppedDown {
        reason,
        model,
        passages,
        resets_at: aws::clock::rfc3339(low.resets_ms),
    })
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;

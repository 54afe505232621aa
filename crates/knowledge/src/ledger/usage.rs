//! `GET /v1/usage`: the counters of a space, for its admins.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws::dynamo::{Range, keys};
use aws::{Aws, AwsError, clock};
use serde::Serialize;

use super::budget::{Span, Standing};
use super::calendar::Day;
use super::line::Units;
use super::purse::Purse;
use super::rows::UsageRow;
use crate::KnowledgeError;
use crate::access::Caller;
use crate::models::prices;
use crate::roles::Role;
use crate::spaces;

/// The longest span, in days: as long as a year.
pub const SPAN_DAYS: u64 = 366;
/// Days that are shown unless a request says otherwise, today the last.
const DEFAULT_DAYS: u64 = 30;
/// Rows of one request to the table.
const ROWS: usize = 1_000;

/// What rows of usage are put together by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    #[default]
    Day,
    Model,
    /// Not at all: a row for each day and model.
    Both,
}

impl FromStr for Group {
    type Err = KnowledgeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "day" => Ok(Self::Day),
            "model" => Ok(Self::Model),
            "both" => Ok(Self::Both),
            _ => Err(KnowledgeError::InvalidRequest {
                detail: format!("group is {text:?}; give day, model or both"),
            }),
        }
    }
}

/// What is asked for; what is left out has a default.
#[derive(Debug, Clone, Default)]
pub struct UsageRequest<'a> {
    /// `yyyy-mm-dd`, the first day; 30 days up to `to` without it.
    pub from: Option<&'a str>,
    /// The last day; today without it.
    pub to: Option<&'a str>,
    pub group: Group,
    pub limit: usize,
    pub cursor: Option<&'a str>,
}

/// Counts of one group, or of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UsageCounts {
    /// Answers, searches, checks and batches of documents, each once for each of its models.
    pub uses: u64,
    #[serde(flatten)]
    pub units: Units,
    /// Nanodollars of what has a price.
    pub cost_nano_usd: u64,
    /// The same in USD, for people.
    pub cost_usd: f64,
    /// Of the uses, those whose model has no price: what they cost is not in the cost.
    pub unpriced_uses: u64,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(flatten)]
    pub counts: UsageCounts,
}

/// A page of groups, in the order of day and model.
#[derive(Debug, Clone, Serialize)]
pub struct UsagePage {
    pub space: String,
    pub from: String,
    pub to: String,
    pub usage: Vec<UsageGroup>,
    /// Of the whole span, whatever the page shows.
    pub total: UsageCounts,
    /// Which price list, and of when.
    pub prices: String,
    /// How the spans of the space's budget stand today, where it has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budget: Vec<BudgetStanding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// How a span of a budget stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStanding {
    pub span: Span,
    pub limit_usd: f64,
    pub spent_usd: f64,
    /// For what is under way.
    pub held_usd: f64,
    pub resets_at: String,
}

impl From<Standing> for BudgetStanding {
    fn from(standing: Standing) -> Self {
        Self {
            span: standing.span,
            limit_usd: prices::usd(standing.limit),
            spent_usd: prices::usd(standing.spent()),
            held_usd: prices::usd(standing.held),
            resets_at: clock::rfc3339(standing.resets_ms),
        }
    }
}

/// What was counted in a space.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], [`KnowledgeError::RoleRequired`]; [`KnowledgeError::InvalidRequest`] for what are no days, or
/// more than [`SPAN_DAYS`]; [`KnowledgeError::InvalidCursor`]; the table's.
pub async fn usage(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    request: &UsageRequest<'_>,
) -> Result<UsagePage, KnowledgeError> {
    let entered = spaces::enter(aws, space, caller, Role::Admin).await?;
    let (from, to) = span(request, clock::now_ms())?;
    let rows = rows(aws, space, from, to).await?;
    let total = counts(rows.iter());
    let (usage, next_cursor) = page(rows, request)?;
    let budget = match entered.budget.is_set() {
        true => {
            let budget = &entered.budget;
            let purse = Purse { aws, space, budget };
            purse.standings().await?
        }
        false => Vec::new(),
    };
    let list = crate::models::price_list();
    Ok(UsagePage {
        space: space.to_owned(),
        from: from.to_string(),
        to: to.to_string(),
        usage,
        total,
        prices: format!("{}, {}, {}", list.source, list.region, list.as_of),
        budget: budget.into_iter().map(BudgetStanding::from).collect(),
        next_cursor,
    })
}

fn span(request: &UsageRequest<'_>, now_ms: u64) -> Result<(Day, Day), KnowledgeError> {
    let invalid = |detail: String| KnowledgeError::InvalidRequest { detail };
    let read = |text: &str| {
        text.parse::<Day>()
            .map_err(|error| invalid(error.to_string()))
    };
    let to = request.to.map_or(Ok(Day::of(now_ms)), read)?;
    let from = request.from.map_or(Ok(to.minus(DEFAULT_DAYS - 1)), read)?;
    if from > to {
        return Err(invalid(format!("from {from} is after to {to}")));
    }
    let days = to.since(from) + 1;
    if days > SPAN_DAYS {
        return Err(invalid(format!(
            "from {from} to {to} are {days} days; ask for {SPAN_DAYS} at the most"
        )));
    }
    Ok((from, to))
}

/// The rows of a span.
pub(super) async fn rows(
    aws: &Aws,
    space: &str,
    from: Day,
    to: Day,
) -> Result<Vec<UsageRow>, AwsError> {
    let (first, last) = (from.to_string(), to.to_string());
    let mut rows: Vec<UsageRow> = Vec::new();
    let mut after = format!("{}{first}", keys::DAY_PREFIX);
    loop {
        let range = Range {
            partition: &keys::usage_partition(space),
            sort_prefix: keys::DAY_PREFIX,
            after: Some(&after),
            limit: ROWS,
            newest_first: false,
        };
        let page = aws.table.query::<UsageRow>(range).await?;
        let beyond = page.items.iter().any(|row| row.day > last);
        rows.extend(page.items.into_iter().filter(|row| row.day <= last));
        match page.next.filter(|_| !beyond) {
            Some(next) => after = next,
            None => return Ok(rows),
        }
    }
}

fn counts<'a>(rows: impl Iterator<Item = &'a UsageRow>) -> UsageCounts {
    let mut counts = UsageCounts::default();
    for row in rows {
        counts.uses = counts.uses.saturating_add(row.uses);
        counts.units += row.units;
        counts.cost_nano_usd = counts.cost_nano_usd.saturating_add(row.cost_nano_usd);
        counts.unpriced_uses = counts.unpriced_uses.saturating_add(row.unpriced_uses);
    }
    counts.cost_usd = prices::usd(counts.cost_nano_usd);
    counts
}

type Named = (Option<String>, Option<String>);

/// The groups of a page, and where the next begins. A cursor is the last group of the page before, `day#model`.
fn page(
    rows: Vec<UsageRow>,
    request: &UsageRequest<'_>,
) -> Result<(Vec<UsageGroup>, Option<String>), KnowledgeError> {
    let name = |row: &UsageRow| -> Named {
        let (day, model) = (row.day.clone(), row.model.clone());
        match request.group {
            Group::Day => (Some(day), None),
            Group::Model => (None, Some(model)),
            Group::Both => (Some(day), Some(model)),
        }
    };
    let mut groups: BTreeMap<Named, Vec<UsageRow>> = BTreeMap::new();
    for row in rows {
        groups.entry(name(&row)).or_default().push(row);
    }
    let after = request
        .cursor
        .map(|cursor| named(cursor, request.group))
        .transpose()?;
    let mut shown: Vec<UsageGroup> = groups
        .into_iter()
        .filter(|(name, _)| after.as_ref().is_none_or(|after| name > after))
        .take(request.limit + 1)
        .map(|((day, model), rows)| UsageGroup {
            day,
            model,
            counts: counts(rows.iter()),
        })
        .collect();
    let more = shown.len() > request.limit;
    shown.truncate(request.limit);
    let cursor = shown.last().filter(|_| more).map(|last| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}#{}", part(&last.day), part(&last.model))
    });
    Ok((shown, cursor))
}

fn named(cursor: &str, group: Group) -> Result<Named, KnowledgeError> {
    let wrong = || KnowledgeError::InvalidCursor {
        cursor: cursor.chars().take(120).collect(),
    };
    let (day, model) = cursor.split_once('#').ok_or_else(wrong)?;
    let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let named = (part(day), part(model));
    let fits = match group {
        Group::Day => named.0.is_some() && named.1.is_none(),
        Group::Model => named.0.is_none() && named.1.is_some(),
        Group::Both => named.0.is_some() && named.1.is_some(),
    };
    if fits { Ok(named) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(day: &str, model: &str, cost_nano_usd: u64) -> UsageRow {
        UsageRow {
            day: day.to_owned(),
            model: model.to_owned(),
            uses: 1,
            units: Units::default(),
            cost_nano_usd,
            unpriced_uses: 0,
        }
    }

    #[test]
    fn groups_add_up_and_pages_follow_one_another() {
        let rows = [
            row("2026-11-29", "a.b", 1),
            row("2026-11-29", "c.d", 2),
            row("2026-11-30", "a.b", 4),
        ];
        let check = |group: Group, expected: &[(Option<&str>, Option<&str>, u64)]| {
            let (mut found, mut cursor): (Vec<UsageGroup>, Option<String>) = (Vec::new(), None);
            loop {
                let request = UsageRequest {
                    group,
                    limit: 1,
                    cursor: cursor.as_deref(),
                    ..UsageRequest::default()
                };
                let (page, next) = page(rows.to_vec(), &request).unwrap();
                assert_eq!(page.len(), 1);
                found.extend(page);
                match next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            let found: Vec<_> = found
                .iter()
                .map(|one| {
                    (
                        one.day.as_deref(),
                        one.model.as_deref(),
                        one.counts.cost_nano_usd,
                    )
                })
                .collect();
            assert_eq!(found, expected);
        };
        check(
            Group::Day,
            &[(Some("2026-11-29"), None, 3), (Some("2026-11-30"), None, 4)],
        );
        check(
            Group::Model,
            &[(None, Some("a.b"), 5), (None, Some("c.d"), 2)],
        );
        check(
            Group::Both,
            &[
                (Some("2026-11-29"), Some("a.b"), 1),
                (Some("2026-11-29"), Some("c.d"), 2),
                (Some("2026-11-30"), Some("a.b"), 4),
            ],
        );
    }

    #[test]
    fn spans_and_cursors_are_checked() {
        let now_ms = 1_793_534_400_007;
        let check = |from: Option<&str>, to: Option<&str>, expected: Result<(&str, &str), &str>| {
            let request = UsageRequest {
                from,
                to,
                ..UsageRequest::default()
            };
            let found = span(&request, now_ms).map(|(from, to)| (from.to_string(), to.to_string()));
            match (found, expected) {
                (Ok((from, to)), Ok(expected)) => assert_eq!((&*from, &*to), expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{found:?} where {expected:?} was expected"),
            }
        };
        check(None, None, Ok(("2026-10-03", "2026-11-01")));
        check(
            Some("2026-01-01"),
            Some("2026-12-31"),
            Ok(("2026-01-01", "2026-12-31")),
        );
        check(Some("2026-11-02"), None, Err("is after"));
        check(Some("2024-01-01"), None, Err("366 at the most"));
        check(None, Some("yesterday"), Err("yyyy-mm-dd"));
        let check = |cursor: &str, group: Group, known: bool| {
            assert_eq!(named(cursor, group).is_ok(), known, "{cursor} {group:?}");
        };
        check("2026-11-01#", Group::Day, true);
        check("#a.b", Group::Model, true);
        check("2026-11-01#a.b", Group::Both, true);
        check("2026-11-01#a.b", Group::Day, false);
        check("zzz", Group::Day, false);
    }
}

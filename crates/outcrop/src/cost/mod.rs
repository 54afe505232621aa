//! `outcrop cost`: what a space took and cost, as a table, as JSON or as a plot; and what a corpus and a traffic would cost.

mod estimate;
mod plot;

use std::collections::BTreeMap;

use knowledge::ledger::Day;
use serde_json::{Value, json};

use crate::arguments::{CostAction, CostArguments};
use crate::client::{Api, Failure};
use crate::commands::{Session, encoded, text};
use crate::output::{self, DONE};

/// Groups of one request.
const PAGE: u64 = 400;
/// Nanodollars in a dollar.
const NANO_USD: f64 = 1e9;

/// Runs the command to its exit code.
pub async fn run(arguments: CostArguments) -> Result<u8, Failure> {
    match &arguments.action {
        Some(CostAction::Estimate(wanted)) => estimate::run(wanted),
        None => shown(&arguments).await,
    }
}

async fn shown(arguments: &CostArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let read = async {
        let found = all(&session.api, arguments, &arguments.group).await?;
        let drawn = match &arguments.plot {
            Some(_) => Some(all(&session.api, arguments, "both").await?),
            None => None,
        };
        Ok::<_, Failure>((found, drawn))
    };
    let read = read.await;
    session.close().await;
    let (found, drawn) = read?;
    if let (Some(path), Some(drawn)) = (&arguments.plot, &drawn) {
        plot::write(path, &Bars::of(drawn)).map_err(|detail| {
            let path = path.display();
            Failure(format!(
                "PlotUnwritable: {path} cannot be written ({detail})"
            ))
        })?;
    }
    match arguments.connection.json {
        true => output::json(&found),
        false => output::piece(&report(&found)),
    }
    Ok(DONE)
}

/// The usage of the whole span, page by page.
async fn all(api: &Api, arguments: &CostArguments, group: &str) -> Result<Value, Failure> {
    let mut query = format!("space={}&limit={PAGE}&group={group}", encoded(&api.space));
    for (name, day) in [("from", &arguments.from), ("to", &arguments.to)] {
        if let Some(day) = day {
            query.push_str(&format!("&{name}={}", encoded(day)));
        }
    }
    let mut groups = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = api.get(&format!("/v1/usage?{query}{cursor}")).await?;
        if let Some(list) = page["usage"].as_array_mut() {
            groups.append(list);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => {
                page["usage"] = json!(groups);
                return Ok(page);
            }
        }
    }
}

fn report(found: &Value) -> String {
    let columns = [
        ("uses", "uses"),
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("cache read", "cache_read_tokens"),
        ("written", "cache_write_tokens"),
        ("embedded", "embedding_tokens"),
        ("text units", "text_units"),
        ("reranks", "rerank_units"),
    ];
    let names = ["day", "model"].map(str::to_owned);
    let head = names
        .into_iter()
        .chain(columns.map(|(title, _)| title.to_owned()));
    let mut rows = vec![head.chain(["USD".to_owned()]).collect::<Vec<_>>()];
    let cells = |counts: &Value| {
        let counted = columns.map(|(_, field)| grouped(counts[field].as_u64().unwrap_or_default()));
        let unpriced = counts["unpriced_uses"].as_u64().unwrap_or_default();
        let unpriced = match unpriced {
            0 => String::new(),
            uses => format!(" and {uses} unpriced"),
        };
        counted
            .into_iter()
            .chain([format!("{}{unpriced}", usd(counts))])
            .collect::<Vec<_>>()
    };
    for group in found["usage"].as_array().into_iter().flatten() {
        let names = ["day", "model"].map(|name| text(group, name).to_owned());
        rows.push(names.into_iter().chain(cells(group)).collect());
    }
    let total = ["total".to_owned(), String::new()];
    rows.push(total.into_iter().chain(cells(&found["total"])).collect());
    let mut report = output::table(&rows);
    report.push_str(&format!(
        "\n{} to {} in {}; prices: {}\n",
        text(found, "from"),
        text(found, "to"),
        text(found, "space"),
        text(found, "prices")
    ));
    for span in found["budget"].as_array().into_iter().flatten() {
        report.push_str(&format!(
            "budget of this {}: {} USD, of which {} spent and {} held; until {}\n",
            text(span, "span"),
            dollars(&span["limit_usd"]),
            dollars(&span["spent_usd"]),
            dollars(&span["held_usd"]),
            text(span, "resets_at"),
        ));
    }
    report
}

fn usd(counts: &Value) -> String {
    let nano = counts["cost_nano_usd"].as_u64().unwrap_or_default();
    format!("{:.6}", nano as f64 / NANO_USD)
}

/// Whole cents, and what is finer where there is any.
fn dollars(usd: &Value) -> String {
    let text = format!("{:.6}", usd.as_f64().unwrap_or_default());
    let (cents, finer) = text.split_at(text.len() - 4);
    format!("{cents}{}", finer.trim_end_matches('0'))
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Costs in USD by day and model, for a plot.
#[derive(Debug, Default, PartialEq)]
struct Bars {
    title: String,
    days: Vec<String>,
    /// The models that cost most, and after them all others together; each with a cost for each day.
    series: Vec<(String, Vec<f64>)>,
}

/// Models that are told apart in a plot.
const TOLD_APART: usize = 4;

impl Bars {
    fn of(found: &Value) -> Self {
        let rows = found["usage"].as_array().map_or(&[][..], Vec::as_slice);
        let days = days(found);
        let mut models: BTreeMap<&str, u64> = BTreeMap::new();
        let cost = |row: &Value| row["cost_nano_usd"].as_u64().unwrap_or_default();
        for row in rows {
            *models.entry(text(row, "model")).or_default() += cost(row);
        }
        let mut models: Vec<(&str, u64)> = models.into_iter().collect();
        // Stable: of equal costs the first by name stays first.
        models.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let (apart, others) = models.split_at(models.len().min(TOLD_APART));
        let of = |names: &[(&str, u64)]| -> Vec<f64> {
            let mine = |row: &&Value| names.iter().any(|(name, _)| text(row, "model") == *name);
            let on = |day: &String| {
                let rows = rows.iter().filter(|row| text(row, "day") == day);
                rows.filter(mine).map(cost).sum::<u64>() as f64 / NANO_USD
            };
            days.iter().map(on).collect()
        };
        let mut series: Vec<(String, Vec<f64>)> = apart
            .iter()
            .map(|one| (one.0.to_owned(), of(&[*one])))
            .collect();
        if !others.is_empty() {
            series.push(("others".to_owned(), of(others)));
        }
        Self {
            title: format!("{}, USD a day", text(found, "space")),
            days,
            series,
        }
    }
}

/// Every day that was asked for: one without use is a gap in a plot, not left out of it.
fn days(found: &Value) -> Vec<String> {
    let day = |field: &str| text(found, field).parse::<Day>();
    let (Ok(from), Ok(to)) = (day("from"), day("to")) else {
        return Vec::new();
    };
    let days = (0..=to.since(from)).map(|after| from.plus(after));
    days.map(|day| day.to_string()).collect()
}

#[cfg(test)]
mod tests;

//! The counters: a row for each space, UTC day and model. Rows are only ever added to.

use aws::dynamo::{Addition, keys};
use aws::{Aws, AwsError};
use serde::Deserialize;

use super::calendar::Day;
use super::line::{Line, Sum, Units};

/// Days that counters are kept: a year can be held against the one before.
const KEPT_DAYS: u64 = 400;
const DAY_SECONDS: u64 = 86_400;

/// What a model took in a space on a day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct UsageRow {
    /// `yyyy-mm-dd`.
    pub day: String,
    pub model: String,
    /// Pieces of work that the model had part in: answers, searches, batches.
    pub uses: u64,
    #[serde(flatten)]
    pub units: Units,
    pub cost_nano_usd: u64,
    /// Of the uses, those whose cost is not known.
    #[serde(default)]
    pub unpriced_uses: u64,
}

/// How a piece of work stands in the books.
#[derive(Debug, Clone)]
pub(super) struct Posting {
    /// Names it, so that what is posted again is not counted again.
    pub id: String,
    /// The moment that it is counted at, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Whether the books remember it however late it is posted again.
    pub for_good: bool,
}

/// Adds what one piece of work took of one model.
pub(super) async fn count(
    aws: &Aws,
    space: &str,
    posting: &Posting,
    model: &str,
    lines: Vec<&Line>,
) -> Result<(), AwsError> {
    let day = Day::of(posting.at_ms).to_string();
    let model: String = named(model);
    let addition = Addition {
        amounts: amounts(&lines),
        texts: vec![("day".into(), day.clone()), ("model".into(), model.clone())],
        once: Some(posting.id.clone()),
        for_good: posting.for_good,
        expires_at: Some(posting.at_ms / 1_000 + KEPT_DAYS * DAY_SECONDS),
        ..Addition::default()
    };
    aws.table
        .add(&keys::usage(space, &day, &model), &addition)
        .await
        .map(|_| ())
}

/// The model's name in a key. What no id or ARN holds comes from a setting that Bedrock refuses.
fn named(model: &str) -> String {
    match keys::is_model_name(model) {
        true => model.to_owned(),
        false => "other".to_owned(),
    }
}

fn amounts(lines: &[&Line]) -> Vec<(String, i64)> {
    let sum = Sum::of(lines.iter().copied());
    let unpriced = u64::from(!sum.unpriced.is_empty());
    let counts = [
        ("uses", 1),
        ("cost_nano_usd", sum.cost_nano_usd),
        ("unpriced_uses", unpriced),
    ];
    sum.units
        .named()
        .into_iter()
        .chain(counts)
        .map(|(name, count)| (name.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn a_row_reads_as_it_is_added_to() {
        let lines = [
            Line::embedding("nobody.knows-v1", 7, false),
            Line::embedding("amazon.titan-embed-text-v2:0", 5, false),
        ];
        let mut row: Map<String, Value> = amounts(&[&lines[0], &lines[1]])
            .into_iter()
            .map(|(name, amount)| (name, json!(amount)))
            .collect();
        row.insert("day".into(), json!(Day::of(1_793_534_400_007).to_string()));
        row.insert("model".into(), json!("m"));
        let row: UsageRow = serde_json::from_value(Value::Object(row)).unwrap();
        assert_eq!((row.day.as_str(), row.uses), ("2026-11-01", 1));
        assert_eq!((row.cost_nano_usd, row.unpriced_uses), (100, 1));
        assert_eq!(row.units.embedding_tokens, 12);
    }

    #[test]
    fn a_name_is_fit_for_a_key() {
        assert_eq!(
            named("us.amazon.nova-lite-v1:0"),
            "us.amazon.nova-lite-v1:0"
        );
        assert_eq!(named("a#b"), "other");
    }
}

//! JSON log lines and metrics on standard output, where Lambda collects them. Ids, counts and times only.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use tracing::Level;

use crate::clock;

/// The CloudWatch namespace of every metric.
const NAMESPACE: &str = "Outcrop";

/// Whether standard output is read by CloudWatch: the command line prints results there.
static FOR_CLOUDWATCH: AtomicBool = AtomicBool::new(false);

/// What a metric counts, in CloudWatch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Bytes,
    Milliseconds,
    Seconds,
    Percent,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
            Self::Percent => "Percent",
        }
    }
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub value: f64,
}

/// Writes metrics as one line in CloudWatch's embedded metric format. `properties` (ids, never texts) stand beside the
/// figures in the log and are no dimensions: each value of a dimension would be a metric that costs by itself. Nothing
/// is written before [`start`].
pub fn metrics(metrics: &[Metric], properties: &[(&str, &str)]) {
    if !FOR_CLOUDWATCH.load(Ordering::Relaxed) {
        return;
    }
    let line = embedded(metrics, properties, clock::now_ms());
    // Nobody can be told that standard output is closed.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Source: CloudWatch User Guide, "Specification: Embedded metric format".
fn embedded(metrics: &[Metric], properties: &[(&str, &str)], now_ms: u64) -> String {
    let names: Vec<Value> = metrics
        .iter()
        .map(|metric| json!({ "Name": metric.name, "Unit": metric.unit.name() }))
        .collect();
    let declaration = json!({ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": names });
    let mut line = Map::new();
    let head = json!({ "Timestamp": now_ms, "CloudWatchMetrics": [declaration] });
    line.insert("_aws".into(), head);
    line.extend(
        metrics
            .iter()
            .map(|metric| (metric.name.to_owned(), json!(metric.value))),
    );
    line.extend(
        properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value))),
    );
    format!("{}\n", Value::Object(line))
}

/// Starts logging at `level`. A second call changes nothing.
pub fn start(level: Level) {
    FOR_CLOUDWATCH.store(true, Ordering::Relaxed);
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_current_span(false)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Starts logging for people, on standard error: for the command line.
pub fn start_plain(level: Level) {
    let started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_one_line_that_cloudwatch_reads() {
        let metric = Metric {
            name: "SnapshotLoadMs",
            unit: Unit::Milliseconds,
            value: 12.5,
        };
        assert_eq!(
            embedded(&[metric], &[("space", "default")], 1_700_000_000_000),
            "{\"_aws\":{\"Timestamp\":1700000000000,\"CloudWatchMetrics\":[{\"Namespace\":\"Outcrop\",\
             \"Dimensions\":[[]],\"Metrics\":[{\"Name\":\"SnapshotLoadMs\",\"Unit\":\"Milliseconds\"}]}]},\
             \"SnapshotLoadMs\":12.5,\"space\":\"default\"}\n"
        );
    }
}

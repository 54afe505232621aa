//! When a rule with a schedule is due: `rate(value unit)` and `cron(fields)` of EventBridge, the latter in UTC.
//! Source: Amazon EventBridge User Guide, "Setting a schedule pattern for scheduled rules".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: Times,
    expression: String,
}

#[derive(Debug, Clone)]
enum Times {
    Every(Duration),
    At(Box<Cron>),
}

/// Why an expression is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "{expression:?} is no schedule ({detail}); write cron(0 4 * * ? *) for four o'clock each morning in UTC, with ? for the day of the month or of the week"
    )]
    Cron { expression: String, detail: String },
    #[error(
        "{expression:?} is no schedule; write rate(1 hour), rate(30 minutes) or rate(2 days), with the plural for more than one, or cron(0 4 * * ? *)"
    )]
    Rate { expression: String },
}

impl Schedule {
    /// The next time after `now_ms`, in milliseconds since 1970 like it; `None` where there is none any more.
    pub fn next_after(&self, now_ms: u64) -> Option<u64> {
        match &self.times {
            Times::Every(pause) => {
                let pause = u64::try_from(pause.as_millis()).ok()?;
                now_ms.checked_add(pause)
            }
            Times::At(cron) => {
                let now: DateTime<Utc> =
                    DateTime::from_timestamp_millis(i64::try_from(now_ms).ok()?)?;
                let next = cron.find_next_occurrence(&now, false).ok()?;
                u64::try_from(next.timestamp_millis()).ok()
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    /// Reads an expression as EventBridge does. A rate may be of seconds too, which EventBridge refuses.
    fn from_str(expression: &str) -> Result<Self, ScheduleError> {
        let expression = expression.trim();
        let inner = |name: &str| {
            let rest = expression.strip_prefix(name)?.strip_prefix('(')?;
            rest.strip_suffix(')')
        };
        let times = match inner("cron") {
            Some(fields) => Times::At(Box::new(cron(fields).map_err(|detail| {
                let expression = expression.to_owned();
                ScheduleError::Cron { expression, detail }
            })?)),
            None => Times::Every(inner("rate").and_then(rate).ok_or_else(|| {
                let expression = expression.to_owned();
                ScheduleError::Rate { expression }
            })?),
        };
        Ok(Self {
            times,
            expression: expression.to_owned(),
        })
    }
}

/// A whole number above 0 and its unit, in the singular for 1 alone.
fn rate(text: &str) -> Option<Duration> {
    let (value, unit) = text.trim().split_once(' ')?;
    let value: u64 = value.parse().ok()?;
    let singular = match value {
        0 => None,
        1 => Some(unit.trim()),
        _ => unit.trim().strip_suffix('s'),
    };
    let seconds = match singular? {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    value.checked_mul(seconds).map(Duration::from_secs)
}

/// Six fields, of which the day of the month or that of the week is `?`; weeks begin on Sunday with 1.
fn cron(text: &str) -> Result<Cron, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, day, month, weekday, year] = fields[..] else {
        return Err(format!("it has {} fields and not 6", fields.len()));
    };
    if (day == "?") == (weekday == "?") {
        return Err("one of the two days must be ?, and not the other".to_owned());
    }
    if text.contains(['+', '@']) {
        return Err("it has a character that EventBridge does not know".to_owned());
    }
    // The last day of the week.
    let weekday = if weekday == "L" { "7" } else { weekday };
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    let pattern = format!("0 {minutes} {hours} {day} {month} {weekday} {year}");
    parser.parse(&pattern).map_err(|error| error.to_string())
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.expression)
    }
}

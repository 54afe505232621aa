//! When a rule with a schedule is due: `rate(value unit)` of EventBridge.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    every: Duration,
    expression: String,
}

/// Why an expression is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "{0} is a schedule of EventBridge that the laptop does not keep; give a rate, for example rate(1 hour)"
    )]
    Cron(String),
    #[error(
        "{0:?} is no rate; write rate(1 hour), rate(30 minutes) or rate(2 days), with the plural for more than one"
    )]
    NoRate(String),
}

impl Schedule {
    pub fn every(&self) -> Duration {
        self.every
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    /// Reads `rate(…)` as EventBridge does: a whole number above 0 and its unit, in the singular for 1 alone. Seconds, which
    /// EventBridge refuses, are known too.
    fn from_str(expression: &str) -> Result<Self, ScheduleError> {
        let expression = expression.trim();
        if expression.starts_with("cron(") {
            return Err(ScheduleError::Cron(expression.to_owned()));
        }
        let no_rate = || ScheduleError::NoRate(expression.to_owned());
        let inner = expression.strip_prefix("rate(");
        let inner = inner.and_then(|rest| rest.strip_suffix(')'));
        let (value, unit) = inner
            .and_then(|inner| inner.trim().split_once(' '))
            .ok_or_else(no_rate)?;
        let value: u64 = value.parse().map_err(|_| no_rate())?;
        let singular = match value {
            0 => return Err(no_rate()),
            1 => Some(unit.trim()),
            _ => unit.trim().strip_suffix('s'),
        };
        let seconds = match singular {
            Some("second") => 1,
            Some("minute") => 60,
            Some("hour") => 3_600,
            Some("day") => 86_400,
            _ => return Err(no_rate()),
        };
        let seconds = value.checked_mul(seconds).ok_or_else(no_rate)?;
        Ok(Self {
            every: Duration::from_secs(seconds),
            expression: expression.to_owned(),
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.expression)
    }
}

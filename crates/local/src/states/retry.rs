//! When a failed state is tried again, and after how long: the arithmetic of `Retry`.

use std::time::Duration;

use super::fault::Fault;

/// Longest wait that a Retry may ask for, in seconds (the States Language's bound on intervals).
pub(super) const MAX_WAIT_SECONDS: u64 = 99_999_999;

/// One entry of a state's `Retry` list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Retrier {
    pub errors: Vec<String>,
    /// Seconds before the first retry; 1 by default.
    pub interval_seconds: u64,
    /// Factor from each wait to the next; 2.0 by default.
    pub backoff_rate: f64,
    /// Retries, not counting the first attempt; 3 by default, 0 means never.
    pub max_attempts: u32,
    pub max_delay_seconds: Option<u64>,
    /// `JitterStrategy: FULL`: a wait is drawn evenly between nothing and its full length.
    pub full_jitter: bool,
}

impl Retrier {
    /// The wait before retry number `retry` (0 is the first), with `fraction` in `0.0..1.0` drawn
    /// by the caller: `interval × rate^retry`, capped, then shortened by the jitter.
    pub fn delay(&self, retry: u32, fraction: f64) -> Duration {
        let cap = whole(self.max_delay_seconds.unwrap_or(MAX_WAIT_SECONDS));
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        let grown = whole(self.interval_seconds) * self.backoff_rate.powi(exponent);
        let full = if grown.is_nan() { cap } else { grown.min(cap) };
        let seconds = if self.full_jitter {
            full * fraction
        } else {
            full
        };
        Duration::from_secs_f64(seconds.clamp(0.0, cap))
    }
}

/// The retries that one visit of a state has used, one counter for each entry of its list.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    retriers: &'a [Retrier],
    used: Vec<u32>,
}

impl<'a> Attempts<'a> {
    pub fn new(retriers: &'a [Retrier]) -> Self {
        Self {
            retriers,
            used: vec![0; retriers.len()],
        }
    }

    /// The wait before the next attempt, or nothing when the failure is not to be retried: the
    /// first entry that names the error decides.
    pub fn next_delay(&mut self, fault: &Fault, fraction: f64) -> Option<Duration> {
        let entry = self
            .retriers
            .iter()
            .position(|retrier| fault.is_named_by(&retrier.errors))?;
        let retrier = &self.retriers[entry];
        if self.used[entry] >= retrier.max_attempts {
            return None;
        }
        let delay = retrier.delay(self.used[entry], fraction);
        self.used[entry] += 1;
        Some(delay)
    }

    /// What `$states.context.State.RetryCount` shows.
    pub fn count(&self) -> u32 {
        self.used.iter().sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 99,999,999 seconds")]
fn whole(seconds: u64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retrier(interval: u64, rate: f64, cap: Option<u64>, full_jitter: bool) -> Retrier {
        Retrier {
            errors: vec!["States.ALL".to_owned()],
            interval_seconds: interval,
            backoff_rate: rate,
            max_attempts: 3,
            max_delay_seconds: cap,
            full_jitter,
        }
    }

    #[test]
    fn waits_double_until_the_cap() {
        let retrier = retrier(2, 2.0, Some(10), false);
        let waits: Vec<u64> = (0..5).map(|n| retrier.delay(n, 0.9).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 10, 10]);
    }

    #[test]
    fn each_entry_counts_for_itself_and_the_first_that_names_the_error_decides() {
        let mut named = retrier(1, 1.0, None, false);
        named.errors = vec!["Throttled".to_owned()];
        named.max_attempts = 1;
        let mut rest = retrier(5, 1.0, None, false);
        rest.max_attempts = 2;
        let list = [named, rest];
        let mut attempts = Attempts::new(&list);
        let throttled = Fault::new("Throttled", "");
        let other = Fault::new("Other", "");
        let second = |n| Some(Duration::from_secs(n));
        assert_eq!(attempts.next_delay(&throttled, 0.0), second(1));
        assert_eq!(attempts.next_delay(&other, 0.0), second(5));
        assert_eq!(attempts.next_delay(&throttled, 0.0), None);
        assert_eq!(attempts.next_delay(&other, 0.0), second(5));
        assert_eq!(attempts.next_delay(&other, 0.0), None);
        assert_eq!(attempts.count(), 3);
    }

    #[test]
    fn wildcards_do_not_see_terminal_errors() {
        let all = ["States.ALL".to_owned()];
        let failed = ["States.TaskFailed".to_owned()];
        let named = ["States.DataLimitExceeded".to_owned()];
        let cases = [
            ("Mine", true, true, false),
            ("States.Timeout", true, false, false),
            ("States.Runtime", false, false, false),
            ("States.DataLimitExceeded", false, false, true),
        ];
        for (error, by_all, by_failed, by_name) in cases {
            let fault = Fault::new(error, "");
            assert_eq!(fault.is_named_by(&all), by_all, "{error}");
            assert_eq!(fault.is_named_by(&failed), by_failed, "{error}");
            assert_eq!(fault.is_named_by(&named), by_name, "{error}");
        }
    }

    proptest! {
        #[test]
        fn waits_grow_and_stay_under_the_cap(
            interval in 1u64..=MAX_WAIT_SECONDS,
            rate in 1.0f64..100.0,
            cap in 1u64..31_622_400,
            retry in 0u32..10_000,
        ) {
            let retrier = retrier(interval, rate, Some(cap), false);
            let (now, next) = (retrier.delay(retry, 0.5), retrier.delay(retry + 1, 0.5));
            prop_assert!(now <= next);
            prop_assert!(next <= Duration::from_secs(cap));
            prop_assert!(now >= Duration::from_secs(interval.min(cap)));
        }

        #[test]
        fn jitter_only_shortens(
            interval in 1u64..=MAX_WAIT_SECONDS,
            rate in 1.0f64..100.0,
            retry in 0u32..100,
            fraction in 0.0f64..1.0,
        ) {
            let full = retrier(interval, rate, None, false).delay(retry, fraction);
            let drawn = retrier(interval, rate, None, true).delay(retry, fraction);
            prop_assert!(drawn <= full);
            prop_assert!((drawn.as_secs_f64() - full.as_secs_f64() * fraction).abs() < 1e-3);
        }
    }
}

//! The arithmetic of a quota that many share: a token bucket whose tokens are time.
//!
//! What a request asks for is turned into the time in which the quota grants so much; the bucket remembers until when its
//! time is spoken for (the generic cell rate algorithm, ITU-T I.371, as a queue). A share of the quota is used: half as
//! much after a throttle, and a little more with each second without one (additive increase, multiplicative decrease).

use serde::{Deserialize, Serialize};

const MINUTE_US: u64 = 60_000_000;
/// Time that a bucket which nobody used has saved up.
const BURST_US: u64 = 5_000_000;
/// The longest wait that is promised.
const HORIZON_US: u64 = 120_000_000;
/// Calls of one wave: at most so many, and no more than the whole quota grants in so much time. Of the least share of the
/// quota such a wave takes 100 s.
const WAVE_CALLS: usize = 32;
const WAVE_US: u64 = 5_000_000;
/// One call never speaks for more than this, so that a quota that was set far too low is not remembered for days.
const LONGEST_US: u64 = 600_000_000;
/// The share is counted in thousandths: all of it, the least, and what a second without a throttle adds.
const WHOLE: u64 = 1_000;
const LEAST: u64 = 50;
const REGAIN: u64 = 20;
/// Throttles within so many milliseconds are one: calls in flight fail together.
const ONE_THROTTLE_MS: u64 = 1_000;
/// Clocks of the machines that share a bucket differ by less; what lies further ahead was written before a clock jumped back.
const SKEW_MS: u64 = 60_000;

/// What an account may ask of a model in a minute; 0 for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub tokens_per_minute: u64,
    pub requests_per_minute: u64,
}

/// What one wave of calls asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub requests: u64,
    pub tokens: u64,
}

/// A quota as it stands. Times are of the wall clock, which may jump.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// Rises with each replacement; 0 before the first.
    pub version: u64,
    /// Until when the quota is spoken for, microseconds since the epoch.
    #[serde(default)]
    spoken_for_us: u64,
    /// What is left out of the share, in thousandths; nothing at first.
    #[serde(default)]
    held_back: u64,
    /// When that was last counted, milliseconds since the epoch.
    #[serde(default)]
    counted_at_ms: u64,
    /// When a throttle was last met, milliseconds since the epoch.
    #[serde(default)]
    throttled_at_ms: u64,
}

impl Quota {
    pub fn is_limited(self) -> bool {
        self.tokens_per_minute > 0 || self.requests_per_minute > 0
    }

    /// What is saved up of it. Where one request takes longer than that, the next would follow it too early.
    fn burst_us(self) -> u64 {
        let one = Ask {
            requests: 1,
            tokens: 0,
        };
        if self.time_us(one) > BURST_US {
            0
        } else {
            BURST_US
        }
    }

    /// The time in which the whole quota grants `ask`, in microseconds: the longer of the two quotas' times.
    fn time_us(self, ask: Ask) -> u64 {
        let time = |amount: u64, per_minute: u64| match per_minute {
            0 => 0,
            per_minute => amount.saturating_mul(MINUTE_US).div_ceil(per_minute),
        };
        let tokens = time(ask.tokens, self.tokens_per_minute);
        tokens.max(time(ask.requests, self.requests_per_minute))
    }
}

/// How many of these calls, given by their tokens, make one wave: at least one.
pub fn wave_calls(quota: Quota, tokens_of_calls: impl Iterator<Item = u64>) -> usize {
    let (mut calls, mut tokens) = (0, 0u64);
    for of_call in tokens_of_calls.take(WAVE_CALLS) {
        tokens = tokens.saturating_add(of_call);
        let requests = calls as u64 + 1;
        if calls > 0 && quota.time_us(Ask { requests, tokens }) > WAVE_US {
            break;
        }
        calls += 1;
    }
    calls
}

impl Bucket {
    /// The share of the quota in use, in thousandths.
    pub fn share(&self) -> u64 {
        WHOLE - self.held_back.min(WHOLE - LEAST)
    }

    /// Speaks for `ask` and answers how long to wait for it, in microseconds; `None` where that would be longer than
    /// anybody should wait, and nothing is spoken for.
    pub fn take(self, ask: Ask, quota: Quota, now_ms: u64) -> Option<(Self, u64)> {
        let mut next = self.regained(now_ms);
        let now_us = now_ms.saturating_mul(1000);
        let time = quota.time_us(ask).saturating_mul(WHOLE) / next.share();
        let begin = next
            .spoken_for_us
            .max(now_us.saturating_sub(quota.burst_us()));
        let wait = begin.saturating_sub(now_us);
        if wait > HORIZON_US {
            return None;
        }
        next.spoken_for_us = begin + time.min(LONGEST_US);
        next.version += 1;
        Some((next, wait))
    }

    /// The bucket after a throttle: half the share, once for all calls that fail together.
    pub fn throttled(self, now_ms: u64) -> Self {
        let mut next = self.regained(now_ms);
        if now_ms.saturating_sub(next.throttled_at_ms) < ONE_THROTTLE_MS {
            return next;
        }
        next.held_back = WHOLE - (next.share() / 2).max(LEAST);
        next.throttled_at_ms = now_ms;
        next.version += 1;
        next
    }

    /// What the seconds since the last count have given back. A clock that is a little behind the last one gives nothing and
    /// takes nothing; one that has jumped back takes what was promised with it.
    fn regained(mut self, now_ms: u64) -> Self {
        if self.counted_at_ms > now_ms.saturating_add(SKEW_MS) {
            let jump_ms = self.counted_at_ms - now_ms;
            self.spoken_for_us = self
                .spoken_for_us
                .saturating_sub(jump_ms.saturating_mul(1000));
            (self.counted_at_ms, self.throttled_at_ms) = (now_ms, 0);
        }
        let seconds = now_ms.saturating_sub(self.counted_at_ms) / 1000;
        if seconds > 0 {
            self.held_back = self
                .held_back
                .saturating_sub(seconds.saturating_mul(REGAIN));
            self.counted_at_ms = now_ms;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota {
        tokens_per_minute: 60_000,
        requests_per_minute: 600,
    };
    const START_MS: u64 = 1_800_000_000_000;

    fn ask(requests: u64, tokens: u64) -> Ask {
        Ask { requests, tokens }
    }

    #[test]
    fn the_scarcer_quota_decides() {
        let check = |ask: Ask, quota: Quota, time_us: u64| assert_eq!(quota.time_us(ask), time_us);
        check(ask(1, 0), QUOTA, 100_000);
        check(ask(1, 1_000), QUOTA, 1_000_000);
        check(ask(0, 0), QUOTA, 0);
        let none = Quota {
            tokens_per_minute: 0,
            requests_per_minute: 0,
        };
        check(ask(9, 9_000), none, 0);
        assert!(!none.is_limited() && QUOTA.is_limited());
        check(ask(u64::MAX, u64::MAX), QUOTA, u64::MAX.div_ceil(600));
    }

    #[test]
    fn a_throttle_halves_the_share_and_time_gives_it_back() {
        let mut bucket = Bucket::default();
        let mut check = |at_ms: u64, throttle: bool, share: u64| {
            bucket = match throttle {
                true => bucket.clone().throttled(START_MS + at_ms),
                false => bucket.clone().regained(START_MS + at_ms),
            };
            assert_eq!(bucket.share(), share, "{at_ms}");
        };
        check(0, false, 1_000);
        check(0, true, 500);
        // Calls that were in flight.
        check(300, true, 500);
        check(900, true, 500);
        check(2_000, true, 270);
        check(3_000, false, 290);
        check(60_000, false, 1_000);
        for second in 61..100 {
            bucket = bucket.clone().throttled(START_MS + second * 1_000);
        }
        assert!((LEAST..=LEAST + 2 * REGAIN).contains(&bucket.share()));
    }

    #[test]
    fn a_clock_that_jumps_makes_nobody_wait_for_it() {
        let (bucket, _) = Bucket::default()
            .take(ask(600, 0), QUOTA, START_MS + 3_600_000)
            .unwrap();
        // The minute that was asked for, less what the bucket had saved up, is still spoken for.
        let (after, wait) = bucket.take(ask(1, 0), QUOTA, START_MS).unwrap();
        assert_eq!(wait, 55_000_000);
        let (_, wait) = after.take(ask(1, 0), QUOTA, START_MS).unwrap();
        assert_eq!(wait, 55_100_000);
    }

    #[test]
    fn clocks_that_differ_give_no_share_back_twice() {
        let mut bucket = Bucket::default().throttled(START_MS);
        for second in 1..=5 {
            bucket = bucket.regained(START_MS + second * 1_000);
            // Another machine, whose clock is behind.
            bucket = bucket.regained(START_MS + second * 1_000 - 30_000);
            assert_eq!(bucket.share(), 500 + second * REGAIN);
        }
        // It met the throttle that is known already.
        let same = bucket.clone().throttled(START_MS - 30_000);
        assert_eq!(same.share(), bucket.share());
    }

    #[test]
    fn a_wave_is_bounded_by_calls_and_by_time() {
        let check = |quota: Quota, tokens: &[u64], calls: usize| {
            assert_eq!(
                wave_calls(quota, tokens.iter().copied()),
                calls,
                "{tokens:?}"
            );
        };
        let none = Quota {
            tokens_per_minute: 0,
            requests_per_minute: 0,
        };
        check(QUOTA, &[], 0);
        check(none, &[8_000; 100], WAVE_CALLS);
        check(QUOTA, &[10; 100], WAVE_CALLS);
        // 60,000 tokens in a minute are 5,000 in five seconds.
        check(QUOTA, &[500; 100], 10);
        check(QUOTA, &[8_000; 3], 1);
        check(QUOTA, &[4_000, 1_000, 1], 2);
        let slow = Quota {
            requests_per_minute: 60,
            ..QUOTA
        };
        check(slow, &[10; 100], 5);
        // What a wave asks for is spoken for whole, at the least share too.
        let tokens: u64 = [500; 10].iter().sum();
        let mut bucket = Bucket::default().regained(START_MS);
        bucket.held_back = WHOLE - LEAST;
        let (next, _) = bucket.take(ask(10, tokens), QUOTA, START_MS).unwrap();
        let from = START_MS * 1_000 - BURST_US;
        assert_eq!(next.spoken_for_us - from, WAVE_US * WHOLE / LEAST);
    }

    #[test]
    fn a_call_of_minutes_is_spoken_for_whole() {
        let (bucket, _) = Bucket::default()
            .take(ask(1, 200_000), QUOTA, START_MS)
            .unwrap();
        assert_eq!(bucket.clone().take(ask(1, 0), QUOTA, START_MS), None);
        let (_, wait) = bucket.take(ask(1, 0), QUOTA, START_MS + 100_000).unwrap();
        assert_eq!(wait, 95_000_000);
    }

    #[test]
    fn what_is_granted_every_ten_seconds_is_granted_no_sooner() {
        let jobs = Quota {
            tokens_per_minute: 0,
            requests_per_minute: 6,
        };
        let mut bucket = Bucket::default();
        let mut check = |at_ms: u64, wait_us: u64| {
            let (next, wait) = bucket
                .clone()
                .take(ask(1, 0), jobs, START_MS + at_ms)
                .unwrap();
            assert_eq!(wait, wait_us, "{at_ms}");
            bucket = next;
        };
        check(0, 0);
        check(0, 10_000_000);
        check(1_000, 19_000_000);
        check(60_000, 0);
        check(65_000, 5_000_000);
    }

    proptest! {
        /// Over any time, no more begins than the quota grants in it, the burst, one wave, and what clocks differ by.
        #[test]
        fn the_quota_is_kept(asks in prop::collection::vec((1u64..40, 0u64..4_000, 0u64..2_000, 0..=SKEW_MS), 1..200), differ: bool) {
            let (mut bucket, mut now_ms) = (Bucket::default(), START_MS);
            let mut begun: Vec<(u64, u64)> = Vec::new();
            for (requests, tokens, pause_ms, ahead_ms) in asks {
                now_ms += pause_ms;
                let ask = ask(requests, tokens);
                let own_ms = now_ms + if differ { ahead_ms } else { 0 };
                if let Some((next, wait)) = bucket.clone().take(ask, QUOTA, own_ms) {
                    prop_assert!(wait <= HORIZON_US);
                    prop_assert_eq!(next.version, bucket.version + 1);
                    begun.push((now_ms * 1_000 + wait, QUOTA.time_us(ask)));
                    bucket = next;
                }
            }
            begun.sort_unstable();
            let more = BURST_US + if differ { SKEW_MS * 1_000 } else { 0 };
            for (first, (from, _)) in begun.iter().enumerate() {
                let mut granted = 0;
                for (at, time) in &begun[first..] {
                    // What began at `at` may still be running its own time.
                    prop_assert!(granted <= at - from + more, "{} in {}", granted, at - from);
                    granted += time;
                }
            }
        }

        /// Whatever the clock does, nobody waits longer than the horizon, the share keeps its bounds, and a throttle never
        /// raises it.
        #[test]
        fn any_clock_will_do(steps in prop::collection::vec((0u64..u64::MAX / 2_000, any::<bool>(), 0u64..100_000), 1..60)) {
            let mut bucket = Bucket::default();
            for (now_ms, throttle, tokens) in steps {
                if throttle {
                    let before = bucket.clone().regained(now_ms).share();
                    bucket = bucket.throttled(now_ms);
                    prop_assert!(bucket.share() <= before);
                } else if let Some((next, wait)) = bucket.clone().take(ask(1, tokens), QUOTA, now_ms) {
                    prop_assert!(wait <= HORIZON_US);
                    bucket = next;
                }
                prop_assert!((LEAST..=WHOLE).contains(&bucket.share()));
            }
        }
    }
}

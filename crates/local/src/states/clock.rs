//! Time and chance, handed in rather than reached for: the interpreter asks this one struct what
//! time it is and for each random number, so that a test decides both.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_smithy_types::date_time::{DateTime, Format};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The interpreter's source of time and of random numbers.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    random: Mutex<StdRng>,
}

#[derive(Debug)]
enum Source {
    System,
    /// Starts at a given time and runs `speed` times as fast as the world.
    Fast {
        epoch_ms: u64,
        since: Instant,
        speed: u32,
    },
}

impl Clock {
    /// The system's time and random numbers seeded by the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
            random: Mutex::new(StdRng::from_os_rng()),
        }
    }

    /// A clock for tests: it starts at `epoch_ms` (milliseconds since 1970) and runs `speed` times
    /// as fast as the world, waits included; its random numbers follow from `seed`.
    #[must_use]
    pub fn fast(epoch_ms: u64, seed: u64, speed: u32) -> Self {
        Self {
            source: Source::Fast {
                epoch_ms,
                since: Instant::now(),
                speed: speed.max(1),
            },
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        match &self.source {
            Source::System => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                millis(now.unwrap_or_default())
            }
            Source::Fast {
                epoch_ms,
                since,
                speed,
            } => epoch_ms.saturating_add(millis(since.elapsed() * *speed)),
        }
    }

    /// Waits.
    pub(crate) async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.worldly(duration)).await;
    }

    /// The future's output, or nothing if it takes longer than `limit`.
    pub(super) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(self.worldly(limit), future).await.ok()
    }

    /// How long a time of this clock lasts in the world.
    fn worldly(&self, duration: Duration) -> Duration {
        match &self.source {
            Source::System => duration,
            Source::Fast { speed, .. } => duration / *speed,
        }
    }

    /// A number in `0.0..1.0`.
    pub(super) fn fraction(&self) -> f64 {
        self.with_random(|random| random.random::<f64>())
    }

    /// A version 4 UUID in its usual form.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes: [u8; 16] = self.with_random(|random| random.random());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hexadecimal(&bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    fn with_random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        let mut random = self
            .random
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        draw(&mut random)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Milliseconds since 1970 as an RFC 3339 time in UTC, such as `2026-11-23T09:36:41.250Z`.
pub(super) fn rfc3339(epoch_ms: u64) -> String {
    let time = DateTime::from_millis(i64::try_from(epoch_ms).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_default()
}

/// An RFC 3339 time as milliseconds since 1970; times before 1970 count as 1970.
pub(super) fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    Some(u64::try_from(time.to_millis().ok()?).unwrap_or(0))
}

/// Milliseconds since 1970 as AWS's JSON protocol writes a time: seconds with a fraction.
pub(super) fn epoch_seconds(epoch_ms: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds fit in 53 bits until the year 287396"
    )]
    let milliseconds = epoch_ms as f64;
    milliseconds / 1000.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The one place that draws random numbers.

use std::time::Duration;

/// A new ULID: 26 characters, sorted by the time of its making (`now_ms`, milliseconds since the epoch).
pub fn ulid(now_ms: u64) -> String {
    ulid::Ulid::from_parts(now_ms, rand::random::<u128>())
        .to_string()
        .to_lowercase()
}

/// A pause between 0 and `longest` (full jitter), so that those who failed together do not come back together.
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
pub fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(rand::random::<f64>())
}

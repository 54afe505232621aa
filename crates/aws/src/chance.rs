//! The one place that draws random numbers.

/// A new ULID: 26 characters, sorted by the time of its making (`now_ms`, milliseconds since the epoch).
pub fn ulid(now_ms: u64) -> String {
    ulid::Ulid::from_parts(now_ms, rand::random::<u128>())
        .to_string()
        .to_lowercase()
}

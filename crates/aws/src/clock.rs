//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|elapsed| elapsed.as_millis() as u64)
        .unwrap_or_default()
}

/// A time in milliseconds as RFC 3339 in UTC with milliseconds, `2026-11-01T12:00:00.000Z`.
pub fn rfc3339(ms: u64) -> String {
    let seconds = (ms / 1000) as i64;
    let nanos = ((ms % 1000) * 1_000_000) as u32;
    aws_smithy_types::DateTime::from_secs_and_nanos(seconds, nanos)
        .fmt(aws_smithy_types::date_time::Format::DateTime)
        .map(pad_milliseconds)
        .unwrap_or_default()
}

/// A date of HTTP, `Sun, 06 Nov 1994 08:49:37 GMT`, in milliseconds since the Unix epoch; `None` for what is none, and
/// for a time before it.
pub fn parse_http_date(text: &str) -> Option<u64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    let parsed = DateTime::from_str(text, Format::HttpDate).ok()?;
    u64::try_from(parsed.to_millis().ok()?).ok()
}

/// The formatter leaves out trailing zeros of the fraction; readers and sorting want a fixed width.
fn pad_milliseconds(text: String) -> String {
    let body = text.trim_end_matches('Z');
    let (seconds, fraction) = body.split_once('.').unwrap_or((body, ""));
    format!("{seconds}.{fraction:0<3}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        let check = |text: &str, ms| assert_eq!(parse_http_date(text), ms, "{text}");
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000));
        check("1994-11-06", None);
        check("", None);
    }

    #[test]
    fn times_have_a_fixed_width() {
        let check = |ms, text: &str| assert_eq!(rfc3339(ms), text);
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_500, "1970-01-01T00:00:01.500Z");
        check(1_793_534_400_007, "2026-11-01T12:00:00.007Z");
    }
}

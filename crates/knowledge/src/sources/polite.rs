//! Requests as a site wants them: not too fast, under a name, and later where it says so.

use std::time::Duration;

use aws::web::{Web, WebError, WebReply, WebRequest};
use aws::{Aws, clock};
use tokio::time::Instant;

use super::{SourceError, failed, passing};

/// Who asks.
pub(super) const AGENT: &str = concat!("outcrop/", env!("CARGO_PKG_VERSION"));

/// Bytes of a reply that is no document.
pub(super) const REPLY_BYTES: u64 = 20_000_000;

/// How long a site is left alone that says that it is busy and not for how long, in seconds.
const BUSY_SECONDS: u64 = 5;

/// Longer than anything runs.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Asks one site.
pub(super) struct Polite {
    web: Web,
    pause: Duration,
    next: Instant,
}

impl Polite {
    /// Asks with a pause between requests.
    pub fn new(aws: &Aws, pause: Duration) -> Self {
        Self {
            web: aws.web.clone(),
            pause,
            next: Instant::now(),
        }
    }

    /// Asks with another pause from now on.
    pub fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Until the next request may be sent.
    pub fn rest(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Sends a request when it is time.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn send(&mut self, mut request: WebRequest) -> Result<WebReply, Trouble> {
        tokio::time::sleep_until(self.next).await;
        request.headers.push(("user-agent", AGENT.to_owned()));
        let reply = self.web.send(request).await;
        let now = Instant::now();
        // A pause that no clock can tell the end of is one without an end.
        self.next = now.checked_add(self.pause).unwrap_or(now + FOREVER);
        let reply = reply?;
        let busy = reply.status == 429
            || (reply.status == 503 && reply.headers.contains_key("retry-after"));
        if busy {
            return Err(Trouble::Busy {
                seconds: retry_after(&reply),
            });
        }
        Ok(reply)
    }
}

/// Why a request has no reply to go on with.
#[derive(Debug)]
pub(super) enum Trouble {
    Busy { seconds: u64 },
    Web(WebError),
}

impl From<WebError> for Trouble {
    fn from(error: WebError) -> Self {
        Self::Web(error)
    }
}

impl Trouble {
    /// For one document of many: the name and the reason that it fails with.
    ///
    /// # Errors
    /// [`SourceError::Busy`], which is the source's.
    pub fn of_document(self) -> Result<(&'static str, String), SourceError> {
        match self {
            Self::Busy { seconds } => Err(SourceError::Busy { seconds }),
            Self::Web(error) => {
                let name = match error {
                    WebError::AddressRefused { .. } => "AddressRefused",
                    WebError::InvalidUrl { .. } => "InvalidUrl",
                    WebError::TooLarge { .. } => "DocumentTooLarge",
                    WebError::Unreachable { .. } => "SourceUnreachable",
                };
                Ok((name, error.to_string()))
            }
        }
    }
}

/// For a source that cannot go on without the reply.
impl From<Trouble> for SourceError {
    fn from(trouble: Trouble) -> Self {
        match trouble.of_document() {
            Err(busy) => busy,
            Ok((error @ "SourceUnreachable", reason)) => passing(error, reason),
            Ok((error, reason)) => failed(error, reason),
        }
    }
}

/// `Retry-After`, as seconds or as a date. Source: RFC 9110, section 10.2.3.
fn retry_after(reply: &WebReply) -> u64 {
    let value = reply.headers.get("retry-after").map(|value| value.trim());
    let seconds = value.and_then(|value| {
        let date = || {
            let until = clock::parse_http_date(value)?;
            Some(until.saturating_sub(clock::now_ms()).div_ceil(1000))
        };
        value.parse().ok().or_else(date)
    });
    seconds.unwrap_or(BUSY_SECONDS).clamp(1, FOREVER.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_site_says_for_how_long() {
        let check = |value: Option<&str>, seconds: u64| {
            let mut reply = WebReply::default();
            let value = value.map(|value| ("retry-after".to_owned(), value.to_owned()));
            reply.headers.extend(value);
            assert_eq!(retry_after(&reply), seconds, "{reply:?}");
        };
        check(None, BUSY_SECONDS);
        check(Some("3"), 3);
        check(Some("0"), 1);
        check(Some("100000"), 100_000);
        check(Some("soon"), BUSY_SECONDS);
        // A date in the past.
        check(Some("Fri, 31 Dec 1999 23:59:59 GMT"), 1);
    }
}

//! Quotas of an account that clients must be seen to keep. Source: Amazon Bedrock endpoints and quotas, AWS General
//! Reference.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::wire::{ErrorName, WireError};

/// StartIngestionJob: 0.1 requests a second.
const JOB_STARTS: Rate = Rate {
    pause: Duration::from_secs(10),
    burst: 1,
};
/// IngestKnowledgeBaseDocuments, and each of the other operations on documents: 5 requests a second.
const DOCUMENT_CALLS: Rate = Rate {
    pause: Duration::from_millis(200),
    burst: 5,
};

/// A rate: so many at once, and one more with each pause.
#[derive(Clone, Copy)]
struct Rate {
    pause: Duration,
    burst: u32,
}

/// What is limited apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limited {
    JobStarts,
    Ingest,
    Delete,
    Get,
    List,
}

/// When each is full again.
#[derive(Clone, Default)]
pub(super) struct Limits(Arc<Mutex<[Option<Instant>; 5]>>);

impl Limits {
    /// Counts a request at `now`.
    ///
    /// # Errors
    /// ThrottlingException where it is one too many; it is not counted then.
    pub(super) fn count(&self, limited: Limited, now: Instant) -> Result<(), WireError> {
        let rate = match limited {
            Limited::JobStarts => JOB_STARTS,
            _ => DOCUMENT_CALLS,
        };
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut full_at[limited as usize];
        let begin = slot.map_or(now, |at| at.max(now));
        let next = begin + rate.pause;
        if next > now + rate.pause * rate.burst {
            return Err(WireError::new(
                ErrorName::Throttling,
                "Rate exceeded: your request rate is too high. Reduce the frequency of requests.",
            ));
        }
        *slot = Some(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_grants_its_burst_and_then_one_with_each_pause() {
        let (limits, start) = (Limits::default(), Instant::now());
        let check = |limited: Limited, at_ms: u64, granted: bool| {
            let now = start + Duration::from_millis(at_ms);
            assert_eq!(
                limits.count(limited, now).is_ok(),
                granted,
                "{limited:?} {at_ms}"
            );
        };
        check(Limited::JobStarts, 0, true);
        check(Limited::JobStarts, 9_999, false);
        check(Limited::JobStarts, 10_000, true);
        check(Limited::JobStarts, 10_000, false);
        check(Limited::JobStarts, 25_000, true);
        for _ in 0..5 {
            check(Limited::Ingest, 0, true);
        }
        check(Limited::Ingest, 0, false);
        check(Limited::Ingest, 200, true);
        check(Limited::Ingest, 200, false);
        check(Limited::Get, 200, true);
    }
}

//! The pace of what the account has a quota for, shared by all runs and all children of their Maps: one row of the table
//! says how much of the quota is spoken for, and is replaced by one conditional write. Embedding has one for each model,
//! and so have the calls that fill knowledge bases.

mod bucket;

use std::time::Duration;

use aws::dynamo::keys::{self, Key};
use aws::{Aws, AwsError, chance, clock};

use crate::digest::short_id;
use crate::models;
use crate::sync::StepError;
use bucket::Bucket;
pub use bucket::{Ask, Quota, wave_calls};

/// Writers that may be first before one gives up; each waits a little more.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Hex digits that stand for a model or a quota.
const MODEL_DIGITS: usize = 20;

/// The account's quota for the embedding model: what the settings say, or what AWS grants by default.
pub fn quota(aws: &Aws) -> Quota {
    let settings = &aws.settings;
    let default = models::embedder(&settings.embed_model);
    let or_default = |own: Option<u64>, default: Option<u64>| own.or(default).unwrap_or(0);
    Quota {
        tokens_per_minute: or_default(
            settings.embed_quota.tokens_per_minute,
            default.map(|row| row.tokens_per_minute),
        ),
        requests_per_minute: or_default(
            settings.embed_quota.requests_per_minute,
            default.map(|row| row.requests_per_minute),
        ),
    }
}

/// Waits until the quota has room for `ask`. Without a quota there is always room, and nothing is written.
///
/// # Errors
/// [`StepError::QuotaSpokenFor`] where the wait would be too long; [`AwsError::Conflict`] when others were first time after
/// time.
pub async fn take(aws: &Aws, ask: Ask) -> Result<(), StepError> {
    let quota = quota(aws);
    if !quota.is_limited() {
        return Ok(());
    }
    let key = embedding(aws);
    let taken = change(aws, &key, |bucket, now_ms| bucket.take(ask, quota, now_ms)).await?;
    let Some(wait_us) = taken else {
        let model = aws.settings.embed_model.clone();
        return Err(StepError::QuotaSpokenFor { model });
    };
    tokio::time::sleep(Duration::from_micros(wait_us)).await;
    Ok(())
}

/// Tells everybody that the model throttles. Where that cannot be written, the others find out for themselves.
pub async fn slow_down(aws: &Aws) {
    if !quota(aws).is_limited() {
        return;
    }
    let key = embedding(aws);
    let told = change(aws, &key, |bucket, now_ms| {
        Some((bucket.throttled(now_ms), ()))
    });
    let told = told.await;
    if let Err(error) = told {
        tracing::warn!(error = error.name(), "a throttle could not be noted");
    }
}

/// What the account's quotas count apart, of the calls that fill knowledge bases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// StartIngestionJob.
    JobStart,
    /// The operations on documents; each has a quota of its own, and all keep the same.
    Documents,
}

impl Filling {
    /// Source: Amazon Bedrock endpoints and quotas, AWS General Reference: 0.1 and 5 requests a second.
    fn quota(self) -> Quota {
        let requests_per_minute = match self {
            Self::JobStart => 6,
            Self::Documents => 300,
        };
        Quota {
            tokens_per_minute: 0,
            requests_per_minute,
        }
    }

    fn key(self) -> Key {
        let name = match self {
            Self::JobStart => "job starts",
            Self::Documents => "documents",
        };
        keys::pace(&short_id(&["knowledge bases", name], MODEL_DIGITS))
    }
}

/// Waits until the quota has room for one call. `false`: that would be longer than a function should wait, and nothing is
/// spoken for.
///
/// # Errors
/// [`AwsError::Conflict`] when others were first time after time.
pub(crate) async fn take_call(aws: &Aws, of: Filling) -> Result<bool, AwsError> {
    let ask = Ask {
        requests: 1,
        tokens: 0,
    };
    let key = of.key();
    let taken = change(aws, &key, |bucket, now_ms| {
        bucket.take(ask, of.quota(), now_ms)
    });
    let Some(wait_us) = taken.await? else {
        return Ok(false);
    };
    tokio::time::sleep(Duration::from_micros(wait_us)).await;
    Ok(true)
}

fn embedding(aws: &Aws) -> Key {
    keys::pace(&short_id(
        &["embed", &aws.settings.embed_model],
        MODEL_DIGITS,
    ))
}

/// Replaces the bucket by what `next` makes of it, until no other writer is in between.
async fn change<T>(
    aws: &Aws,
    key: &Key,
    next: impl Fn(Bucket, u64) -> Option<(Bucket, T)>,
) -> Result<Option<T>, AwsError> {
    for attempt in 0..ATTEMPTS {
        let stored: Option<Bucket> = aws.table.get(key).await?;
        let bucket = stored.unwrap_or_default();
        let expected = bucket.version;
        let Some((bucket, outcome)) = next(bucket, clock::now_ms()) else {
            return Ok(None);
        };
        if bucket.version == expected {
            return Ok(Some(outcome));
        }
        match aws.table.replace(key, expected, &bucket).await {
            Ok(()) => return Ok(Some(outcome)),
            Err(AwsError::Conflict { .. }) => {
                let longest = FIRST_PAUSE * 2u32.saturating_pow(attempt);
                tokio::time::sleep(chance::jitter(longest)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(AwsError::Conflict {
        detail: "the pace of a quota".into(),
    })
}

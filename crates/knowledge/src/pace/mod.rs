//! The pace of embedding, shared by all runs and all children of their Maps: one row of the table says how much of the
//! account's quota is spoken for, and is replaced by one conditional write.

mod bucket;

use std::time::Duration;

use aws::dynamo::keys;
use aws::{Aws, AwsError, chance, clock};

use crate::digest::short_id;
use crate::models;
use crate::sync::StepError;
use bucket::Bucket;
pub use bucket::{Ask, Quota, wave_calls};

/// Writers that may be first before one gives up; each waits a little more.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Hex digits that stand for a model.
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
    let taken = change(aws, |bucket, now_ms| bucket.take(ask, quota, now_ms)).await?;
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
    let told = change(aws, |bucket, now_ms| Some((bucket.throttled(now_ms), ()))).await;
    if let Err(error) = told {
        tracing::warn!(error = error.name(), "a throttle could not be noted");
    }
}

/// Replaces the bucket by what `next` makes of it, until no other writer is in between.
async fn change<T>(
    aws: &Aws,
    next: impl Fn(Bucket, u64) -> Option<(Bucket, T)>,
) -> Result<Option<T>, AwsError> {
    let key = keys::pace(&short_id(
        &["embed", &aws.settings.embed_model],
        MODEL_DIGITS,
    ));
    for attempt in 0..ATTEMPTS {
        let stored: Option<Bucket> = aws.table.get(&key).await?;
        let bucket = stored.unwrap_or_default();
        let expected = bucket.version;
        let Some((bucket, outcome)) = next(bucket, clock::now_ms()) else {
            return Ok(None);
        };
        if bucket.version == expected {
            return Ok(Some(outcome));
        }
        match aws.table.replace(&key, expected, &bucket).await {
            Ok(()) => return Ok(Some(outcome)),
            Err(AwsError::Conflict { .. }) => {
                let longest = FIRST_PAUSE * 2u32.saturating_pow(attempt);
                tokio::time::sleep(chance::jitter(longest)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(AwsError::Conflict {
        detail: "the pace of embedding".into(),
    })
}

//! `Idempotency-Key`: the same request under the same key happens once and is answered alike. The run that it starts is
//! drawn before anything happens, so that a request which broke off goes on under the same run when it comes again.

use aws::dynamo::keys;
use aws::{Aws, AwsError, clock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::digest::{sha256_hex, short_id};
use crate::runs;

/// How long a key is remembered.
const KEPT_SECONDS: u64 = 24 * 3600;

/// How long a request without an answer counts as under way.
const UNDER_WAY_MS: u64 = 30_000;

/// The longest key, in bytes.
const KEY_BYTES: usize = 255;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RequestRow {
    version: u64,
    /// Digest of all that the request asks.
    fingerprint: String,
    run: String,
    begun_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Value>,
    /// DynamoDB's time to live, seconds.
    expires_at: u64,
}

/// What a request asks, as far as it must be the same under the same key.
pub struct Asked<'a> {
    /// The value of the header; `None` where there is none.
    pub key: Option<&'a str>,
    /// Method and path.
    pub operation: [&'a str; 2],
    /// What the body says.
    pub body: &'a [u8],
}

/// Does `work` once for a caller's key, and each time where there is no key. `work` gets what was drawn for the run that it
/// is to start.
///
/// # Errors
/// [`KnowledgeError::InvalidIdempotencyKey`]; [`KnowledgeError::IdempotencyKeyReused`] for another request under the
/// same key; [`KnowledgeError::RequestUnderWay`] while the first is being answered; else those of `work`. After a refusal
/// the key is free again; after what may have left the work half done, the same request goes on under the same run.
pub async fn once(
    aws: &Aws,
    caller: &Caller,
    asked: Asked<'_>,
    work: impl AsyncFnOnce(Option<String>) -> Result<Value, KnowledgeError>,
) -> Result<Value, KnowledgeError> {
    let Some(key) = asked.key else {
        return work(None).await;
    };
    check(key)?;
    let body = sha256_hex(asked.body);
    let [method, path] = asked.operation;
    let fingerprint = short_id(&[method, path, &body], 64);
    let who = caller.principals.join("\n");
    let place = keys::idempotency(&short_id(&[&who, key], 64));
    let row = match begin(aws, &place, &fingerprint).await? {
        Begun::Now(row) => row,
        Begun::Before(reply) => return Ok(reply),
    };
    let done = work(Some(row.run.clone())).await;
    let row = match &done {
        Ok(reply) => RequestRow {
            reply: Some(reply.clone()),
            ..row
        },
        // Nothing was done, and nothing will be.
        Err(error) if error.status() < 500 && !error.retry() => RequestRow {
            expires_at: clock::now_ms() / 1000,
            ..row
        },
        Err(_) => RequestRow {
            begun_at_ms: 0,
            ..row
        },
    };
    note(aws, &place, row).await;
    done
}

/// Writes how a request ended, unless it was taken over in the meantime: whoever did is at the same run, and its word
/// counts. Where it cannot be written, the same request goes on under the same run too.
async fn note(aws: &Aws, place: &keys::Key, row: RequestRow) {
    let expected = row.version;
    let noted = RequestRow {
        version: expected + 1,
        ..row
    };
    if let Err(error) = aws.table.replace(place, expected, &noted).await {
        tracing::warn!(error = error.name(), "the end of a request was not noted");
    }
}

enum Begun {
    Now(RequestRow),
    Before(Value),
}

async fn begin(aws: &Aws, place: &keys::Key, fingerprint: &str) -> Result<Begun, KnowledgeError> {
    let now_ms = clock::now_ms();
    let stored: Option<RequestRow> = aws.table.get(place).await?;
    let expected = stored.as_ref().map_or(0, |row| row.version);
    // DynamoDB takes expired items away days later.
    let known = stored.filter(|row| row.expires_at > now_ms / 1000);
    if let Some(row) = &known {
        if row.fingerprint != fingerprint {
            return Err(KnowledgeError::IdempotencyKeyReused);
        }
        if let Some(reply) = &row.reply {
            return Ok(Begun::Before(reply.clone()));
        }
        if now_ms.saturating_sub(row.begun_at_ms) < UNDER_WAY_MS {
            return Err(KnowledgeError::RequestUnderWay);
        }
    }
    let row = RequestRow {
        version: expected + 1,
        fingerprint: fingerprint.to_owned(),
        run: known.map_or_else(runs::draw, |row| row.run),
        begun_at_ms: now_ms,
        reply: None,
        expires_at: now_ms / 1000 + KEPT_SECONDS,
    };
    match aws.table.replace(place, expected, &row).await {
        Ok(()) => Ok(Begun::Now(row)),
        // The same request came twice at once.
        Err(AwsError::Conflict { .. }) => Err(KnowledgeError::RequestUnderWay),
        Err(error) => Err(error.into()),
    }
}

fn check(key: &str) -> Result<(), KnowledgeError> {
    let problem = match key {
        "" => "is empty",
        key if key.len() > KEY_BYTES => "is too long",
        key if !key.bytes().all(|byte| byte.is_ascii_graphic()) => "holds other characters",
        _ => return Ok(()),
    };
    Err(KnowledgeError::InvalidIdempotencyKey { problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii() {
        let ok = |key: &str, ok: bool| assert_eq!(check(key).is_ok(), ok, "{key:?}");
        ok("8e03978e-40d5-43dd-bc93-6894a57f9324", true);
        ok(&"x".repeat(255), true);
        ok("", false);
        ok("a b", false);
        ok("größe", false);
        ok(&"x".repeat(256), false);
    }
}

//! How agents write: once, within limits, on record; all of it in one transaction or none of it.
//!
//! The same action with the same arguments in the same session is the same write: for a day it is answered with what
//! the first one made. Counts are by UTC day, one for the session and one for the principal. Nothing here replaces or
//! deletes a row that stands.

use std::time::Duration;

use aws::dynamo::keys::{self, Key};
use aws::dynamo::{TransactError, Write};
use aws::{AwsError, chance, clock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::{AuditRow, Made};
use super::{ActionError, Context};
use crate::digest::{sha256_hex, short_id};

/// How long a write is remembered, in seconds.
const REMEMBERED_SECONDS: u64 = 24 * 3600;
/// How often a transaction that met another one is tried.
const ATTEMPTS: u32 = 12;
/// The longest pause before the second attempt; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Hex digits of a session's or principal's digest.
const SCOPE_DIGITS: usize = 40;

/// When and by whom something is made.
pub(super) struct Stamp {
    pub id: String,
    pub now_ms: u64,
    pub made_by: Made,
}

/// What a write makes, and what is answered for it.
pub(super) struct Planned<O> {
    /// The id of what is made, for the record.
    pub made: String,
    pub rows: Vec<(Key, Value)>,
    pub output: O,
}

/// What an agent wrote once, so that it is not written twice.
#[derive(Serialize, Deserialize)]
struct WriteRow {
    output: Value,
    expires_at: u64,
}

/// Makes what `plan` says, unless this session has made it already.
///
/// # Errors
/// [`ActionError::WriteLimitReached`]; else the table's error.
pub(super) async fn once<I: Serialize, O: Serialize + DeserializeOwned>(
    context: &Context<'_>,
    action: &'static str,
    input: &I,
    plan: impl FnOnce(&Stamp) -> Planned<O>,
) -> Result<O, ActionError> {
    let now_ms = clock::now_ms();
    let stamp = Stamp {
        id: chance::ulid(now_ms),
        now_ms,
        made_by: made_by(context),
    };
    let planned = plan(&stamp);
    let arguments = sha256_hex(json!(input).to_string().as_bytes());
    let session = session(context);
    let record = keys::write(&short_id(&[&session, action, &arguments], 64));
    let output = json!(planned.output);
    let audit = AuditRow {
        entry_id: stamp.id.clone(),
        action: action.to_owned(),
        made: planned.made,
        made_by: stamp.made_by,
        arguments,
        created_at_ms: now_ms,
        expires_at: now_ms / 1000 + context.aws.settings.agents.audit_days * 24 * 3600,
    };
    let writes = transaction(context, &record, &output, planned.rows, &audit);
    match commit(context, &record, writes).await? {
        Some(earlier) => repeated(earlier),
        None => Ok(planned.output),
    }
}

/// The order matters: the first three are what a refusal is told by.
fn transaction(
    context: &Context<'_>,
    record: &Key,
    output: &Value,
    rows: Vec<(Key, Value)>,
    audit: &AuditRow,
) -> Vec<Write> {
    let now_seconds = audit.created_at_ms / 1000;
    let day = day(audit.created_at_ms);
    let settings = &context.aws.settings.agents;
    let create = |key: Key, item: Value| Write::Create {
        key,
        item,
        now_seconds,
    };
    let count = |scope: &str, limit: u64| Write::Count {
        key: keys::writes(scope, &day),
        limit,
        expires_at: now_seconds + 2 * REMEMBERED_SECONDS,
    };
    let remembered = json!({ "output": output, "expires_at": now_seconds + REMEMBERED_SECONDS });
    let mut writes = vec![
        create(record.clone(), remembered),
        count(&session(context), settings.session_writes),
        count(&principal(context), settings.principal_writes),
    ];
    writes.extend(rows.into_iter().map(|(key, item)| create(key, item)));
    let audit_key = keys::audit(context.space, &day, &audit.entry_id);
    writes.push(create(audit_key, json!(audit)));
    writes
}

/// Writes, or answers what an earlier write of the same made.
async fn commit(
    context: &Context<'_>,
    record: &Key,
    writes: Vec<Write>,
) -> Result<Option<Value>, ActionError> {
    let settings = &context.aws.settings.agents;
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        match context.aws.table.transact(writes.clone()).await {
            Ok(()) => return Ok(None),
            Err(TransactError::Condition { failed }) if failed.contains(&0) => {
                let earlier: Option<WriteRow> = context.aws.table.get(record).await?;
                if let Some(earlier) = earlier {
                    return Ok(Some(earlier.output));
                }
            }
            Err(TransactError::Condition { failed }) if failed.contains(&1) => {
                return Err(ActionError::WriteLimitReached {
                    scope: "session",
                    limit: settings.session_writes,
                });
            }
            Err(TransactError::Condition { failed }) if failed.contains(&2) => {
                return Err(ActionError::WriteLimitReached {
                    scope: "user",
                    limit: settings.principal_writes,
                });
            }
            // An id that was drawn twice: nothing stands that could be replaced.
            Err(TransactError::Condition { failed }) => {
                let detail = format!("rows {failed:?} stand already");
                return Err(AwsError::Conflict { detail }.into());
            }
            Err(TransactError::Aws(error)) if error.retry() => last = Some(error),
            Err(TransactError::Aws(error)) => return Err(error.into()),
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << attempt).min(LONGEST_PAUSE);
        tokio::time::sleep(chance::jitter(longest)).await;
    }
    let detail = "the write met others again and again".to_owned();
    Err(last.unwrap_or(AwsError::Conflict { detail }).into())
}

fn repeated<O: DeserializeOwned>(mut earlier: Value) -> Result<O, ActionError> {
    earlier["repeated"] = json!(true);
    serde_json::from_value(earlier).map_err(|error| {
        let detail = format!("a remembered write: {error}");
        AwsError::Damaged { detail }.into()
    })
}

fn made_by(context: &Context<'_>) -> Made {
    Made {
        kind: "agent".to_owned(),
        agent: Some(context.actor.agent.clone()),
        via: Some(context.actor.via.to_owned()),
        on_behalf_of: context.caller.owner().map(str::to_owned),
        session: Some(session(context)),
    }
}

/// A session is one of its agent, in its space, for its user: another user's session of the same name is another.
pub(super) fn session(context: &Context<'_>) -> String {
    let actor = context.actor;
    let user = context.caller.owner().unwrap_or_default();
    let parts = [
        "session",
        actor.via,
        &actor.agent,
        context.space,
        user,
        &actor.session,
    ];
    short_id(&parts, SCOPE_DIGITS)
}

/// Callers for whom nobody vouches share the count of their agent.
fn principal(context: &Context<'_>) -> String {
    match context.caller.owner() {
        Some(owner) => short_id(&["principal", context.space, owner], SCOPE_DIGITS),
        None => short_id(
            &[
                "anybody",
                context.space,
                context.actor.via,
                &context.actor.agent,
            ],
            SCOPE_DIGITS,
        ),
    }
}

/// The UTC day, `yyyy-mm-dd`.
fn day(now_ms: u64) -> String {
    clock::rfc3339(now_ms).chars().take(10).collect()
}

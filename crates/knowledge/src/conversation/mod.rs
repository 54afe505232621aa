//! Conversations: what was said before, kept for whoever said it, and follow-ups put into words that stand alone.
//!
//! Only what the guard let through is kept. Answers that rest on a document which the caller may read no longer are left out of what
//! a follow-up is understood by. Another's conversation, one whose time is over and none at all look the same.

mod condense;
mod row;

use std::collections::BTreeSet;

use aws::dynamo::{Range, keys};
use aws::{Aws, AwsError, chance, clock};

use crate::KnowledgeError;
use crate::access::Caller;
use crate::release;
use crate::sync::rows::DocumentRow;

pub(crate) use condense::{Condensed, condense, condensing_model, request};
pub(crate) use row::TurnRow;
use row::{ConversationRow, TURN_PREFIX};

/// What a request names to begin a conversation.
pub const NEW: &str = "new";
/// Questions of one conversation. Beyond it the first ones are long forgotten, and a new one costs nothing.
pub const TURNS: u64 = 50;
/// The last turns that a follow-up is understood by.
const REMEMBERED: usize = 6;
/// Attempts at counting a turn while others are counted.
const COUNT_ATTEMPTS: u32 = 5;
const DAY_SECONDS: u64 = 86_400;

/// A conversation that its owner goes on with.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub conversation_id: String,
    /// The last turns, the oldest first.
    pub turns: Vec<TurnRow>,
    days: u64,
}

/// Begins a conversation, or finds the caller's own.
///
/// # Errors
/// [`KnowledgeError::ConversationNotFound`], [`KnowledgeError::ConversationTooLong`], and
/// [`KnowledgeError::ConversationsOff`] where nobody vouches for the caller or nothing is kept.
pub(crate) async fn open(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    id: &str,
) -> Result<Conversation, KnowledgeError> {
    let days = aws.settings.history_days;
    if days == 0 {
        return Err(KnowledgeError::ConversationsOff {
            reason: "nothing is kept here",
        });
    }
    let Some(owner) = caller.owner() else {
        return Err(KnowledgeError::ConversationsOff {
            reason: "a conversation belongs to somebody, and nobody vouches for who you are",
        });
    };
    if id == NEW {
        return begin(aws, space, owner, days).await;
    }
    let missing = || KnowledgeError::ConversationNotFound {
        conversation_id: id.to_owned(),
    };
    if keys::space_of(id) != Some(space) {
        return Err(missing());
    }
    let row: Option<ConversationRow> = aws.table.get(&keys::conversation(id)).await?;
    let now = clock::now_ms() / 1_000;
    let row = row
        .filter(|row| row.owner == owner && row.expires_at > now)
        .ok_or_else(missing)?;
    if row.turns >= TURNS {
        return Err(KnowledgeError::ConversationTooLong {
            turns: row.turns,
            limit: TURNS,
        });
    }
    let mut turns = last_turns(aws, id).await?;
    withhold(aws, caller, &mut turns).await?;
    Ok(Conversation {
        conversation_id: id.to_owned(),
        turns,
        days,
    })
}

async fn begin(
    aws: &Aws,
    space: &str,
    owner: &str,
    days: u64,
) -> Result<Conversation, KnowledgeError> {
    let now_ms = clock::now_ms();
    let conversation_id = format!("{space}.{}", chance::ulid(now_ms));
    let row = ConversationRow {
        conversation_id: conversation_id.clone(),
        owner: owner.to_owned(),
        version: 1,
        turns: 0,
        created_at_ms: now_ms,
        expires_at: now_ms / 1_000 + days.saturating_mul(DAY_SECONDS),
    };
    let key = keys::conversation(&conversation_id);
    aws.table.create(&key, &row).await?;
    Ok(Conversation {
        conversation_id,
        turns: Vec::new(),
        days,
    })
}

async fn last_turns(aws: &Aws, id: &str) -> Result<Vec<TurnRow>, AwsError> {
    let range = Range {
        partition: &keys::conversation_partition(id),
        sort_prefix: TURN_PREFIX,
        after: None,
        limit: REMEMBERED,
        newest_first: true,
    };
    let mut turns = aws.table.query::<TurnRow>(range).await?.items;
    turns.reverse();
    Ok(turns)
}

/// Takes away the answers that rest on what the caller may read no longer, and the words that a follow-up got from them.
async fn withhold(aws: &Aws, caller: &Caller, turns: &mut [TurnRow]) -> Result<(), AwsError> {
    let ids: BTreeSet<String> = turns
        .iter()
        .flat_map(|turn| turn.document_ids.iter().cloned())
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = ids.iter().map(|id| keys::document(id)).collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
    let readable: BTreeSet<String> = rows
        .into_iter()
        .filter_map(|row| release::seen(row, caller))
        .filter(|row| row.published.is_some())
        .map(|row| row.document_id)
        .collect();
    let mut lost = false;
    for turn in turns {
        lost |= !turn.document_ids.iter().all(|id| readable.contains(id));
        // A later turn may repeat what an earlier one said.
        if lost {
            turn.answer.clear();
            turn.standalone_question = None;
        }
    }
    Ok(())
}

impl Conversation {
    /// Adds a turn. Should counting it fail again and again, the conversation may grow a little longer than its limit.
    ///
    /// # Errors
    /// The table's.
    pub async fn add(&self, aws: &Aws, turn: TurnRow) -> Result<(), AwsError> {
        let expires_at = clock::now_ms() / 1_000 + self.days.saturating_mul(DAY_SECONDS);
        let turn = TurnRow { expires_at, ..turn };
        let key = keys::turn(&self.conversation_id, &turn.turn_id);
        aws.table.put(&key, &turn).await?;
        let key = keys::conversation(&self.conversation_id);
        for _ in 0..COUNT_ATTEMPTS {
            let row: Option<ConversationRow> = aws.table.get(&key).await?;
            let Some(row) = row else { return Ok(()) };
            let counted = ConversationRow {
                version: row.version + 1,
                turns: row.turns + 1,
                expires_at,
                ..row
            };
            match aws.table.replace(&key, row.version, &counted).await {
                Err(AwsError::Conflict { .. }) => {}
                counted => return counted,
            }
        }
        Ok(())
    }
}

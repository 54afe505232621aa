//! What agents leave to people: tickets with their notes, flags on documents, and the trail of what agents wrote. The
//! admins of a space read them; people move tickets on and add notes of their own.

use aws::dynamo::Range;
use aws::dynamo::keys::{self, NOTE_PREFIX};
use aws::{Aws, AwsError, chance, clock};
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
use crate::access::Caller;
use crate::actions::{AuditRow, FlagRow, Made, NoteRow, TicketRow};
use crate::limits;
use crate::paging::{self, Visible};
use crate::roles::Role;
use crate::spaces::{self, Entered};

/// Notes that are shown with a ticket, the newest.
const SHOWN_NOTES: usize = 200;
/// Characters of a note.
const NOTE_CHARACTERS: usize = 4_000;

/// How far a ticket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TicketStatus {
    Open,
    Pending,
    Closed,
}

impl TicketStatus {
    /// As it stands in rows and replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Pending => "PENDING",
            Self::Closed => "CLOSED",
        }
    }
}

/// Who made something, without the digest that sessions are counted by.
#[derive(Debug, Clone, Serialize)]
pub struct Maker {
    /// `agent` or `person`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The person, or whom the agent acted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

impl From<Made> for Maker {
    fn from(made: Made) -> Self {
        Self {
            kind: made.kind,
            agent: made.agent,
            via: made.via,
            on_behalf_of: made.on_behalf_of,
        }
    }
}

/// A ticket as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Ticket {
    pub ticket_id: String,
    pub space: String,
    pub status: String,
    pub subject: String,
    pub description: String,
    pub priority: String,
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    pub made_by: Maker,
    pub created_at: String,
    /// Rises with each change; a change names the one that it was made from.
    pub version: u64,
    /// Newest first; only where one ticket was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<Vec<Note>>,
}

/// A note on a ticket.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    pub note_id: String,
    pub text: String,
    pub made_by: Maker,
    pub created_at: String,
}

/// A flag on a document.
#[derive(Debug, Clone, Serialize)]
pub struct Flag {
    pub flag_id: String,
    pub document_id: String,
    pub reason: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    pub made_by: Maker,
    pub created_at: String,
}

/// One write of an agent.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    pub entry_id: String,
    pub action: String,
    /// The id of the ticket, note or flag.
    pub made: String,
    pub made_by: Maker,
    /// SHA-256 of the arguments, hexadecimal.
    pub arguments: String,
    pub created_at: String,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub limit: usize,
    pub cursor: Option<&'a str>,
}

/// Tickets of a space, newest first, of one status if one is named.
///
/// # Errors
/// [`KnowledgeError::RoleRequired`], [`KnowledgeError::UnknownSpace`], [`KnowledgeError::InvalidCursor`].
pub async fn list(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    status: Option<TicketStatus>,
    part: Part<'_>,
) -> Result<Page<Ticket>, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Admin).await?;
    let partition = keys::tickets_partition(space);
    let mut after = paging::after(part.cursor, space)?.map(str::to_owned);
    let mut visible: Visible<TicketRow> = Visible::new(part.limit);
    while visible.wants_more() {
        let range = newest(&partition, "", after.as_deref(), visible.rows_to_read());
        let page = aws.table.query_by_space(range).await?;
        visible.take(page.items, |row: &TicketRow| {
            status.is_none_or(|status| row.status == status.name())
        });
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (rows, next_cursor) = visible.finish(|row| row.ticket_id.clone());
    let items = rows.into_iter().map(|row| ticket(row, None)).collect();
    Ok(Page { items, next_cursor })
}

/// One ticket with its notes.
///
/// # Errors
/// [`KnowledgeError::TicketNotFound`], also to whom may not see it; [`KnowledgeError::RoleRequired`].
pub async fn get(aws: &Aws, ticket_id: &str, caller: &Caller) -> Result<Ticket, KnowledgeError> {
    let (_, row) = find(aws, ticket_id, caller).await?;
    let partition = keys::about_partition(ticket_id);
    let range = newest(&partition, NOTE_PREFIX, None, SHOWN_NOTES);
    let notes: Vec<NoteRow> = aws.table.query(range).await?.items;
    Ok(ticket(row, Some(notes.into_iter().map(note).collect())))
}

/// Moves a ticket to another status, from the version that the caller has seen.
///
/// # Errors
/// As [`get`]; [`KnowledgeError::TicketChanged`] where somebody else was first; [`KnowledgeError::RateLimited`].
pub async fn set_status(
    aws: &Aws,
    ticket_id: &str,
    caller: &Caller,
    status: TicketStatus,
    version: u64,
) -> Result<Ticket, KnowledgeError> {
    let (entered, mut row) = find(aws, ticket_id, caller).await?;
    limits::count(aws, &entered, caller).await?;
    let changed = || KnowledgeError::TicketChanged {
        ticket_id: ticket_id.to_owned(),
    };
    if row.version != version {
        return Err(changed());
    }
    status.name().clone_into(&mut row.status);
    row.version += 1;
    let key = keys::ticket(ticket_id);
    match aws.table.replace(&key, version, &row).await {
        Ok(()) => Ok(ticket(row, None)),
        Err(AwsError::Conflict { .. }) => Err(changed()),
        Err(error) => Err(error.into()),
    }
}

/// Adds a person's note to a ticket.
///
/// # Errors
/// As [`get`]; [`KnowledgeError::InvalidRequest`] for a note that is empty or too long;
/// [`KnowledgeError::RateLimited`].
pub async fn add_note(
    aws: &Aws,
    ticket_id: &str,
    caller: &Caller,
    text: &str,
) -> Result<Note, KnowledgeError> {
    let characters = text.chars().count();
    if text.trim().is_empty() || characters > NOTE_CHARACTERS {
        let detail = format!("a note has 1 to {NOTE_CHARACTERS} characters, not {characters}");
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    let (entered, _) = find(aws, ticket_id, caller).await?;
    limits::count(aws, &entered, caller).await?;
    let created_at_ms = clock::now_ms();
    let row = NoteRow {
        note_id: chance::ulid(created_at_ms),
        about: ticket_id.to_owned(),
        text: text.to_owned(),
        made_by: Made {
            kind: "person".to_owned(),
            agent: None,
            via: None,
            on_behalf_of: caller.owner().map(str::to_owned),
            session: None,
        },
        created_at_ms,
    };
    let key = keys::note(ticket_id, &row.note_id);
    aws.table.create(&key, &row).await?;
    Ok(note(row))
}

/// Flags on a space's documents, newest first.
///
/// # Errors
/// As [`list`].
pub async fn flags(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    part: Part<'_>,
) -> Result<Page<Flag>, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Admin).await?;
    let partition = keys::flags_partition(space);
    let after = row_id(part.cursor)?;
    let range = newest(&partition, "", after, part.limit);
    let page = aws.table.query_by_space::<FlagRow>(range).await?;
    let next_cursor = page.next;
    let items = page.items.into_iter().map(|row| Flag {
        flag_id: row.flag_id,
        document_id: row.document_id,
        reason: row.reason,
        detail: row.detail,
        confidence: row.confidence,
        made_by: row.made_by.into(),
        created_at: clock::rfc3339(row.created_at_ms),
    });
    Ok(Page {
        items: items.collect(),
        next_cursor,
    })
}

/// What agents wrote in a space on a UTC day (`yyyy-mm-dd`; today where none is named), newest first.
///
/// # Errors
/// As [`list`]; [`KnowledgeError::InvalidRequest`] for a day that is none.
pub async fn audit(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    day: Option<&str>,
    part: Part<'_>,
) -> Result<Page<AuditEntry>, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Admin).await?;
    let today = clock::rfc3339(clock::now_ms());
    let day = day.unwrap_or(&today[..10]);
    if !is_day(day) {
        let detail = format!("day is a date such as 2026-11-25, not {day:?}");
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    let partition = keys::audit_partition(space, day);
    let after = row_id(part.cursor)?.map(|id| format!("{}{id}", keys::ENTRY_PREFIX));
    let range = newest(&partition, keys::ENTRY_PREFIX, after.as_deref(), part.limit);
    let page = aws.table.query::<AuditRow>(range).await?;
    let next_cursor = page
        .next
        .map(|sort| sort.trim_start_matches(keys::ENTRY_PREFIX).to_owned());
    let items = page.items.into_iter().map(|row| AuditEntry {
        entry_id: row.entry_id,
        action: row.action,
        made: row.made,
        made_by: row.made_by.into(),
        arguments: row.arguments,
        created_at: clock::rfc3339(row.created_at_ms),
    });
    Ok(Page {
        items: items.collect(),
        next_cursor,
    })
}

async fn find(
    aws: &Aws,
    ticket_id: &str,
    caller: &Caller,
) -> Result<(Entered, TicketRow), KnowledgeError> {
    let missing = || KnowledgeError::TicketNotFound {
        ticket_id: ticket_id.chars().take(120).collect(),
    };
    let space = keys::space_of(ticket_id).ok_or_else(missing)?;
    let entered = spaces::enter(aws, space, caller, Role::Admin).await;
    let entered = entered.map_err(|error| match error {
        KnowledgeError::UnknownSpace { .. } => missing(),
        error => error,
    })?;
    let row: Option<TicketRow> = aws.table.get(&keys::ticket(ticket_id)).await?;
    Ok((entered, row.ok_or_else(missing)?))
}

/// The id in a cursor: the last one of the page before, a ULID.
fn row_id(cursor: Option<&str>) -> Result<Option<&str>, KnowledgeError> {
    let is_id = |text: &str| text.len() == 26 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    match cursor {
        Some(cursor) if !is_id(cursor) => Err(KnowledgeError::InvalidCursor {
            cursor: cursor.chars().take(120).collect(),
        }),
        cursor => Ok(cursor),
    }
}

fn newest<'a>(
    partition: &'a str,
    sort_prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
) -> Range<'a> {
    Range {
        partition,
        sort_prefix,
        after,
        limit,
        newest_first: true,
    }
}

fn is_day(text: &str) -> bool {
    let digits =
        |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && digits(5..7).is_some_and(|month| (1..=12).contains(&month))
        && digits(8..10).is_some_and(|day| (1..=31).contains(&day))
}

fn ticket(row: TicketRow, notes: Option<Vec<Note>>) -> Ticket {
    Ticket {
        ticket_id: row.ticket_id,
        space: row.space,
        status: row.status,
        subject: row.subject,
        description: row.description,
        priority: row.priority,
        tags: row.tags,
        order_number: row.order_number,
        made_by: row.made_by.into(),
        created_at: clock::rfc3339(row.created_at_ms),
        version: row.version,
        notes,
    }
}

fn note(row: NoteRow) -> Note {
    Note {
        note_id: row.note_id,
        text: row.text,
        made_by: row.made_by.into(),
        created_at: clock::rfc3339(row.created_at_ms),
    }
}

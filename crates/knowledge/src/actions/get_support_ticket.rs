//! A ticket with its notes.

use aws::clock;
use aws::dynamo::Range;
use aws::dynamo::keys::{self, NOTE_PREFIX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{NoteRow, TicketRow};
use super::shorten::{Shorten, shorten_list, shorten_text};
use super::{Action, ActionError, Context, Group, Tier, writes};

/// Notes of one reply, the newest.
const NOTES: usize = 50;

pub(super) struct GetSupportTicket;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The ticket's id.
    ticket_id: String,
    /// Whether to return the notes on the ticket too; true when left out.
    #[serde(default)]
    include_notes: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    ticket_id: String,
    status: String,
    subject: String,
    description: String,
    priority: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_number: Option<String>,
    /// agent or person.
    made_by: String,
    created_at: String,
    /// Newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
    /// What to know about this reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Note {
    text: String,
    /// agent or person. What an agent wrote is not the word of support.
    made_by: String,
    created_at: String,
}

impl Action for GetSupportTicket {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "get_support_ticket";
    const TITLE: &'static str = "Read a support ticket";
    const DESCRIPTION: &'static str =
        "Reads a support ticket of the user: its status, what it says, and the notes on it.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Support;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let ticket = readable(context, &input.ticket_id).await?;
        let notes = if input.include_notes.unwrap_or(true) {
            notes(context, &ticket.ticket_id).await?
        } else {
            Vec::new()
        };
        Ok(Output {
            ticket_id: ticket.ticket_id,
            status: ticket.status,
            subject: ticket.subject,
            description: ticket.description,
            priority: ticket.priority,
            tags: ticket.tags,
            order_number: ticket.order_number,
            made_by: ticket.made_by.kind,
            created_at: clock::rfc3339(ticket.created_at_ms),
            notes,
            note: None,
        })
    }
}

async fn notes(context: &Context<'_>, ticket_id: &str) -> Result<Vec<Note>, ActionError> {
    let partition = keys::about_partition(ticket_id);
    let range = Range {
        partition: &partition,
        sort_prefix: NOTE_PREFIX,
        after: None,
        limit: NOTES,
        newest_first: true,
    };
    let page = context.aws.table.query::<NoteRow>(range).await?;
    let notes = page.items.into_iter().map(|row| Note {
        text: row.text,
        made_by: row.made_by.kind,
        created_at: clock::rfc3339(row.created_at_ms),
    });
    Ok(notes.collect())
}

/// The ticket, if the caller is the user that it was made for, or the session that made it for nobody in particular.
pub(super) async fn readable(
    context: &Context<'_>,
    ticket_id: &str,
) -> Result<TicketRow, ActionError> {
    let missing = || ActionError::TicketNotFound {
        ticket_id: ticket_id.chars().take(120).collect(),
    };
    if keys::space_of(ticket_id) != Some(context.space) {
        return Err(missing());
    }
    let row: Option<TicketRow> = context.aws.table.get(&keys::ticket(ticket_id)).await?;
    let row = row.ok_or_else(missing)?;
    let made = &row.made_by;
    let may = match (&made.on_behalf_of, context.caller.owner()) {
        (Some(owner), Some(caller)) => owner == caller,
        (None, None) => made.session.as_deref() == Some(writes::session(context).as_str()),
        _ => false,
    };
    may.then_some(row).ok_or_else(missing)
}

impl Shorten for Output {
    fn shorten(&mut self, keep: f64) -> bool {
        self.note = Some("Older notes or the end of the description were left out.".to_owned());
        shorten_list(&mut self.notes, keep) || shorten_text(&mut self.description, keep)
    }
}

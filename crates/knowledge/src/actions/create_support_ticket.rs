//! A ticket for the people of support.

use aws::clock;
use aws::dynamo::keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::TicketRow;
use super::shorten::Shorten;
use super::writes::{self, Planned};
use super::{Action, ActionError, Context, Group, Tier};
use crate::orders;

pub(super) struct CreateSupportTicket;

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// What the ticket is about, in one line.
    #[schemars(length(min = 3, max = 200))]
    subject: String,
    /// What happened and what the user wants, with everything that support needs to know.
    #[schemars(length(min = 1, max = 8000))]
    description: String,
    /// How urgent it is; normal when left out.
    #[serde(default)]
    priority: Option<Priority>,
    /// The order that it is about, if it is about one.
    #[serde(default)]
    order_number: Option<String>,
    /// Words to sort the ticket by.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 40)))]
    tags: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    /// Tell the user this id.
    ticket_id: String,
    status: String,
    created_at: String,
    /// Whether this very ticket was made before, in this session, by the same call.
    #[serde(default)]
    repeated: bool,
}

impl Shorten for Output {}

impl Action for CreateSupportTicket {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "create_support_ticket";
    const TITLE: &'static str = "Open a support ticket";
    const DESCRIPTION: &'static str = "Opens a ticket that people of support will read. Use it only when the user asks \
        for it or agrees to it, and when the documents hold no answer.";
    const TIER: Tier = Tier::Confirm;
    const GROUP: Group = Group::Support;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        if let Some(number) = input.order_number.as_deref() {
            let order = orders::get(context.aws, context.space, number, context.caller).await?;
            order.ok_or_else(|| ActionError::OrderNotFound {
                number: number.chars().take(64).collect(),
            })?;
        }
        writes::once(context, Self::NAME, &input, |stamp| {
            // The letter tells a ticket's id from a document's, which is hexadecimal.
            let ticket_id = format!("{}.t{}", context.space, stamp.id);
            let row = TicketRow {
                ticket_id: ticket_id.clone(),
                space: context.space.to_owned(),
                status: "OPEN".to_owned(),
                subject: input.subject.clone(),
                description: input.description.clone(),
                priority: json!(input.priority.unwrap_or_default())
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                tags: input.tags.clone(),
                order_number: input.order_number.clone(),
                made_by: stamp.made_by.clone(),
                created_at_ms: stamp.now_ms,
                version: 1,
            };
            Planned {
                made: ticket_id.clone(),
                rows: vec![(keys::ticket(&ticket_id), json!(row))],
                output: Output {
                    ticket_id,
                    status: row.status,
                    created_at: clock::rfc3339(stamp.now_ms),
                    repeated: false,
                },
            }
        })
        .await
    }
}

//! What agents can do. An action is declared once; its schemas, its wire forms and the limits on what it writes follow.

mod add_note;
mod ask_knowledge;
pub mod cloudformation;
mod create_support_ticket;
mod flag_document;
mod get_document;
mod get_order_status;
mod get_support_ticket;
mod list_documents;
mod problem;
mod rows;
pub mod schema;
mod search_knowledge;
mod shorten;
mod writes;

use std::future::Future;
use std::pin::Pin;

use agent_envelopes::{ArgumentError, Outcome};
use aws::Aws;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::limits;
use crate::roles::Role;
use crate::snapshot::Snapshots;
use crate::spaces;

pub use problem::ActionError;
pub use rows::{AuditRow, FlagRow, Made, NoteRow, TicketRow};
use shorten::Shorten;

/// What an action may do, and who must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Changes nothing.
    Read,
    /// Adds something: once, within limits, on record.
    Write,
    /// As [`Tier::Write`], and a user agrees first wherever the agent has a way to ask.
    Confirm,
}

/// The agent that an action belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Knowledge,
    Support,
}

impl Group {
    pub const ALL: [Self; 2] = [Self::Knowledge, Self::Support];

    /// The action group's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Knowledge => "knowledge",
            Self::Support => "support",
        }
    }
}

/// An action: its description is read by models, its schemas come from its types.
trait Action {
    type Input: DeserializeOwned + Serialize + JsonSchema + Send;
    type Output: Serialize + JsonSchema + Shorten + Send + 'static;
    const NAME: &'static str;
    const TITLE: &'static str;
    const DESCRIPTION: &'static str;
    const TIER: Tier;
    const GROUP: Group;
    /// Whether what it calls counts the request, so that it is not counted twice.
    const COUNTS_ITSELF: bool = false;

    fn run(
        context: &Context<'_>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;
}

/// Who calls, through what, and what the function has at hand.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub aws: &'a Aws,
    pub snapshots: &'a Snapshots,
    pub caller: &'a Caller,
    pub space: &'a str,
    pub actor: &'a Actor,
}

/// The agent that acts, for limits and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The wire form that it came through.
    pub via: &'static str,
    /// The agent, gateway or program, by the name or id that it has there.
    pub agent: String,
    /// What its writes are counted and remembered by.
    pub session: String,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Shorten>, ActionError>> + Send + 'a>>;

/// A declared action with its types taken away.
pub struct Declared {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub tier: Tier,
    pub group: Group,
    counts_itself: bool,
    /// JSON Schemas of input and output.
    schemas: fn() -> (Value, Value),
    run: for<'a> fn(&'a Context<'a>, Map<String, Value>) -> Running<'a>,
}

impl Declared {
    /// The JSON Schema of the arguments.
    pub fn input(&self) -> &'static Value {
        schema::input(self)
    }
}

const fn declare<A: Action>() -> Declared {
    Declared {
        name: A::NAME,
        title: A::TITLE,
        description: A::DESCRIPTION,
        tier: A::TIER,
        group: A::GROUP,
        counts_itself: A::COUNTS_ITSELF,
        schemas: || {
            (
                schema::of_input::<A::Input>(),
                schema::of_output::<A::Output>(),
            )
        },
        run: run_declared::<A>,
    }
}

fn run_declared<'a, A: Action>(
    context: &'a Context<'a>,
    arguments: Map<String, Value>,
) -> Running<'a> {
    Box::pin(async move {
        let input = serde_json::from_value(Value::Object(arguments)).map_err(|error| {
            let detail = format!("the arguments do not fit: {error}");
            crate::KnowledgeError::InvalidRequest { detail }
        })?;
        let output = A::run(context, input).await?;
        Ok(Box::new(output) as Box<dyn Shorten>)
    })
}

/// Every action, in the order in which agents are told of them.
pub static ALL: [Declared; 9] = [
    declare::<search_knowledge::SearchKnowledge>(),
    declare::<ask_knowledge::AskKnowledge>(),
    declare::<get_document::GetDocument>(),
    declare::<list_documents::ListDocuments>(),
    declare::<flag_document::FlagDocument>(),
    declare::<get_order_status::GetOrderStatus>(),
    declare::<create_support_ticket::CreateSupportTicket>(),
    declare::<get_support_ticket::GetSupportTicket>(),
    declare::<add_note::AddNote>(),
];

/// The action of that name.
///
/// # Errors
/// [`ActionError::Unknown`], with the names that there are.
pub fn find(name: &str) -> Result<&'static Declared, ActionError> {
    ALL.iter()
        .find(|action| action.name == name)
        .ok_or_else(|| ActionError::unknown(name))
}

/// A call as the registry takes it, whatever form it came in.
pub trait Called {
    fn tool(&self) -> &str;

    /// The arguments, typed by the action's schema.
    ///
    /// # Errors
    /// [`ArgumentError`], for what does not fit.
    fn arguments(&self, schema: &Value) -> Result<Map<String, Value>, ArgumentError>;

    /// Bytes of the whole reply with this output; it is shortened to [`agent_envelopes::REPLY_BYTES`].
    fn reply_bytes(&self, output: &Value) -> usize;
}

impl Called for agent_envelopes::Call {
    fn tool(&self) -> &str {
        &self.tool
    }

    fn arguments(&self, schema: &Value) -> Result<Map<String, Value>, ArgumentError> {
        Self::arguments(self, schema)
    }

    fn reply_bytes(&self, output: &Value) -> usize {
        Self::reply_bytes(self, output)
    }
}

/// Runs the action that is called, and says how it went in a way that every form can tell.
pub async fn invoke(context: &Context<'_>, call: &impl Called) -> Outcome {
    match run(context, call).await {
        Ok(output) => Outcome::Done(output),
        Err(error) => {
            tracing::warn!(
                via = context.actor.via,
                error = error.name(),
                "an action was not done"
            );
            error.into_outcome()
        }
    }
}

async fn run(context: &Context<'_>, call: &impl Called) -> Result<Value, ActionError> {
    let action = find(call.tool())?;
    let arguments = call.arguments(action.input())?;
    let entered = spaces::enter(context.aws, context.space, context.caller, Role::Reader).await?;
    if !action.counts_itself {
        limits::count(context.aws, &entered, context.caller).await?;
    }
    let mut output = (action.run)(context, arguments).await?;
    tracing::info!(
        via = context.actor.via,
        action = action.name,
        "an action was done"
    );
    Ok(shorten::to_fit(output.as_mut(), |output| {
        call.reply_bytes(output)
    }))
}

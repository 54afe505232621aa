//! A note about a document or a ticket, marked as an agent's.

use aws::clock;
use aws::dynamo::keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::NoteRow;
use super::shorten::Shorten;
use super::writes::{self, Planned};
use super::{Action, ActionError, Context, Group, Tier, get_support_ticket};
use crate::documents;

pub(super) struct AddNote;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The id of the ticket or document that the note is about.
    about: String,
    /// The note.
    #[schemars(length(min = 1, max = 4000))]
    text: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    note_id: String,
    about: String,
    created_at: String,
    /// Whether this very note was made before, in this session, by the same call.
    #[serde(default)]
    repeated: bool,
}

impl Shorten for Output {}

impl Action for AddNote {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "add_note";
    const TITLE: &'static str = "Add a note";
    const DESCRIPTION: &'static str = "Adds a note to a support ticket or a document, for people to read. Notes cannot be \
        changed or taken back.";
    const TIER: Tier = Tier::Write;
    const GROUP: Group = Group::Support;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        if is_ticket(&input.about) {
            get_support_ticket::readable(context, &input.about).await?;
        } else {
            documents::get(context.aws, &input.about, context.caller).await?;
        }
        writes::once(context, Self::NAME, &input, |stamp| {
            let row = NoteRow {
                note_id: stamp.id.clone(),
                about: input.about.clone(),
                text: input.text.clone(),
                made_by: stamp.made_by.clone(),
                created_at_ms: stamp.now_ms,
            };
            Planned {
                made: stamp.id.clone(),
                rows: vec![(keys::note(&input.about, &stamp.id), json!(row))],
                output: Output {
                    note_id: stamp.id.clone(),
                    about: input.about.clone(),
                    created_at: clock::rfc3339(stamp.now_ms),
                    repeated: false,
                },
            }
        })
        .await
    }
}

fn is_ticket(id: &str) -> bool {
    id.split_once('.')
        .is_some_and(|(_, rest)| rest.starts_with('t'))
}

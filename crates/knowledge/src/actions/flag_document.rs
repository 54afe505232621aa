//! Something is wrong with a document: people should look at it.

use aws::clock;
use aws::dynamo::keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::FlagRow;
use super::shorten::Shorten;
use super::writes::{self, Planned};
use super::{Action, ActionError, Context, Group, Tier};
use crate::documents;

pub(super) struct FlagDocument;

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reason {
    Outdated,
    Wrong,
    Contradictory,
    Incomplete,
    Sensitive,
    Other,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The document's id.
    document_id: String,
    /// What is wrong with it.
    reason: Reason,
    /// What exactly, with the words of the document.
    #[schemars(length(min = 1, max = 4000))]
    detail: String,
    /// How sure you are, from 0 to 1.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    confidence: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    flag_id: String,
    document_id: String,
    created_at: String,
    /// Whether this very flag was made before, in this session, by the same call.
    #[serde(default)]
    repeated: bool,
}

impl Shorten for Output {}

impl Action for FlagDocument {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "flag_document";
    const TITLE: &'static str = "Flag a document";
    const DESCRIPTION: &'static str = "Tells the people who keep the documents that one is outdated, wrong or otherwise in \
        need of care. The document itself stays as it is.";
    const TIER: Tier = Tier::Write;
    const GROUP: Group = Group::Knowledge;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        documents::get(context.aws, &input.document_id, context.caller).await?;
        writes::once(context, Self::NAME, &input, |stamp| {
            let row = FlagRow {
                flag_id: stamp.id.clone(),
                document_id: input.document_id.clone(),
                reason: json!(input.reason).as_str().unwrap_or_default().to_owned(),
                detail: input.detail.clone(),
                confidence: input.confidence,
                made_by: stamp.made_by.clone(),
                created_at_ms: stamp.now_ms,
            };
            Planned {
                made: stamp.id.clone(),
                rows: vec![(keys::flag(&input.document_id, &stamp.id), json!(row))],
                output: Output {
                    flag_id: stamp.id.clone(),
                    document_id: input.document_id.clone(),
                    created_at: clock::rfc3339(stamp.now_ms),
                    repeated: false,
                },
            }
        })
        .await
    }
}

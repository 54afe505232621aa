//! Ingestion: one step per invocation, named by the state machine in `infra/ingest.asl.json`.
//!
//! ```text
//! plan → brake? → (screen names → move)? → (extract → screen → embed)* → publish → verify → sync knowledge base? →
//! compact → report
//! ```
//! A large run may leave embedding to batch jobs; see `jobs`.
//! Every step may run twice and changes nothing the second time: ids are content hashes, rows are replaced whole,
//! the manifest remembers which runs it holds. The state carries ids and counts, never documents.

mod asking;
mod attempts;
pub(crate) mod changes;
mod chunking;
mod compact;
mod embedding;
mod estimate;
mod extraction;
mod jobs;
pub(crate) mod knowledge_base;
#[cfg(test)]
mod machine_tests;
mod moving;
mod plan;
mod progress;
mod publish;
pub(crate) mod redrive;
mod report;
pub mod rows;
mod screening;
mod segments;
mod vectors;
mod verify;
mod waves;

use std::pin::Pin;

use aws::bedrock::BedrockError;
use aws::dynamo::keys;
use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use estimate::Estimate;
use rows::PlannedDocument;
pub use vectors::write as write_vectors;

use crate::knowledge_base::Unfit;
use crate::ledger::Account;
use crate::ledger::runs::BUDGET_SPENT;
use crate::manifest::Manifest;

/// What the state machine asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Compare the source with what is published; write the work list.
    Plan { run_id: String },
    /// The titles that new names give to documents through the guardrail.
    ScreenNames { run_id: String },
    /// Documents under a new name keep their passages and vectors.
    Move { run_id: String },
    /// Bytes to passages, for one batch of the work list.
    Extract {
        run_id: String,
        items: Vec<PlannedDocument>,
        /// Whether the step goes on where an earlier one's time was up.
        #[serde(default)]
        resumed: bool,
    },
    /// One extracted batch through the guardrail.
    Screen { run_id: String, batch_id: String },
    /// Passages to vectors, for one extracted batch.
    Embed { run_id: String, batch_id: String },
    /// Passages of the whole run to batch jobs, or as many as the time of a step allows.
    GatherJobs { run_id: String },
    /// Start the jobs that are not started, and look how the others stand.
    CheckJobs { run_id: String },
    /// What came of one job to vectors.
    CollectJobs { run_id: String },
    /// Record that a batch could not be brought through: of these documents, or of this id.
    FailBatch {
        run_id: String,
        #[serde(default)]
        items: Vec<PlannedDocument>,
        #[serde(default)]
        batch_id: Option<String>,
        error: String,
        cause: String,
    },
    /// Make the run's documents live.
    Publish { run_id: String },
    /// Read back everything that the run claims.
    Verify { run_id: String },
    /// Bring the Bedrock knowledge base that the space fills up to what is published.
    SyncKnowledgeBase { run_id: String },
    /// Record that it could not be.
    FailKnowledgeBase {
        run_id: String,
        error: String,
        cause: String,
    },
    /// Merge small segments, rewrite those with many deletions, remove what was replaced long ago.
    Compact { run_id: String },
    /// Close the books.
    Report {
        run_id: String,
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        cause: Option<String>,
    },
}

impl Step {
    /// The run that the step belongs to.
    pub fn run_id(&self) -> &str {
        match self {
            Self::Plan { run_id }
            | Self::ScreenNames { run_id }
            | Self::Move { run_id }
            | Self::Extract { run_id, .. }
            | Self::Screen { run_id, .. }
            | Self::Embed { run_id, .. }
            | Self::GatherJobs { run_id }
            | Self::CheckJobs { run_id }
            | Self::CollectJobs { run_id }
            | Self::FailBatch { run_id, .. }
            | Self::Publish { run_id }
            | Self::Verify { run_id }
            | Self::SyncKnowledgeBase { run_id }
            | Self::FailKnowledgeBase { run_id, .. }
            | Self::Compact { run_id }
            | Self::Report { run_id, .. } => run_id,
        }
    }
}

/// Why a step did not finish. The names stand in `Retry` and `Catch` of the state machine.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Bedrock(#[from] BedrockError),
    /// The space was embedded by another model; vectors of two models cannot be compared.
    #[error(
        "the space {space:?} holds embeddings of {stored}, but the settings name {configured}; \
         set OUTCROP_EMBED_MODEL and OUTCROP_EMBED_DIMENSIONS back, or run `outcrop ingest --re-embed`"
    )]
    EmbedderMismatch {
        space: String,
        stored: String,
        configured: String,
    },
    /// Documents that answer now would be lost with the old embeddings.
    #[error(
        "{missing} live documents of {space:?} were not embedded anew, {first} first; the old embeddings stay. \
         Mend or delete what was refused or failed, then run `outcrop ingest --re-embed` again"
    )]
    ReEmbedIncomplete {
        space: String,
        missing: u64,
        first: String,
    },
    /// Other publishers were first, time after time. What was embedded is kept for the run's redrive.
    #[error(
        "{attempts} times another publisher of {space:?} was first; nothing of the run is live. Redrive it with \
         `outcrop redrive` when fewer runs publish"
    )]
    ManifestContended { space: String, attempts: u32 },
    /// What the run held of the budget was given back while it stood still, and there is no room for it any more. No call was
    /// made.
    #[error("{detail}")]
    BudgetSpent { detail: String },
    /// Other children have spoken for the embedding model's quota, for longer than a step waits. No call was made.
    #[error(
        "the account's quota of the model {model} is spoken for by others; to embed more at once, raise it and set \
         EmbedTokensPerMinute and EmbedRequestsPerMinute"
    )]
    QuotaSpokenFor { model: String },
    /// The guardrail gave no verdict; nothing is embedded unseen.
    #[error("the guardrail gave no verdict in time")]
    GuardUnavailable,
    /// The state machine sent something that this version does not know.
    #[error("the step's input does not fit: {detail}")]
    InvalidStepInput { detail: String },
    /// The data source of the space's knowledge base does not read what is written for it.
    #[error(transparent)]
    KnowledgeBaseUnfit(#[from] Box<Unfit>),
    /// A part or segment that was just written cannot be read.
    #[error("a segment could not be made or read: {detail}")]
    SegmentUnusable { detail: String },
}

impl StepError {
    /// The machine-readable name that Step Functions sees as the error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.name(),
            Self::Bedrock(error) => error.name(),
            Self::EmbedderMismatch { .. } => "EmbedderMismatch",
            Self::ReEmbedIncomplete { .. } => "ReEmbedIncomplete",
            Self::ManifestContended { .. } => "ManifestContended",
            Self::BudgetSpent { .. } => BUDGET_SPENT,
            Self::QuotaSpokenFor { .. } => "QuotaSpokenFor",
            Self::GuardUnavailable => "GuardUnavailable",
            Self::InvalidStepInput { .. } => "InvalidStepInput",
            Self::KnowledgeBaseUnfit(_) => "KnowledgeBaseUnfit",
            Self::SegmentUnusable { .. } => "SegmentUnusable",
        }
    }
}

impl From<retrieval::SegmentError> for StepError {
    fn from(error: retrieval::SegmentError) -> Self {
        Self::SegmentUnusable {
            detail: format!("{}: {error}", error.name()),
        }
    }
}

impl From<serde_json::Error> for StepError {
    fn from(error: serde_json::Error) -> Self {
        Self::Aws(AwsError::Damaged {
            detail: error.to_string(),
        })
    }
}

/// Runs one step and answers what the state machine carries on: ids and counts.
///
/// # Errors
/// A [`StepError`] that the state machine retries, catches per batch, or reports as the run's failure.
pub async fn run_step(aws: &Aws, step: Step) -> Result<Value, StepError> {
    let space = keys::space_of(step.run_id()).unwrap_or_default();
    let account = Account::of_step(aws, space, step.run_id());
    let outcome = take(aws, step, &account).await;
    // A step that failed has paid too, and one that is tried again pays again.
    account.close().await;
    outcome
}

/// As [`run_step`], for the steps that screen: the guardrail's function holds nothing of the others, whose readers of documents
/// are most of a program.
///
/// # Errors
/// As [`run_step`]; [`StepError::InvalidStepInput`] for any other step.
pub async fn run_screening(aws: &Aws, step: Step) -> Result<Value, StepError> {
    let space = keys::space_of(step.run_id()).unwrap_or_default();
    let account = Account::of_step(aws, space, step.run_id());
    let outcome = screen(aws, step, &account).await;
    account.close().await;
    outcome
}

async fn screen(aws: &Aws, step: Step, account: &Account<'_>) -> Result<Value, StepError> {
    match step {
        Step::ScreenNames { run_id } => {
            boxed(|| screening::screen_names(aws, &run_id, account)).await
        }
        Step::Screen { run_id, batch_id } => {
            boxed(|| screening::screen_batch(aws, &run_id, &batch_id, account)).await
        }
        _ => Err(StepError::InvalidStepInput {
            detail: "this function runs the steps `screen` and `screen_names` only".to_owned(),
        }),
    }
}

async fn take(aws: &Aws, step: Step, account: &Account<'_>) -> Result<Value, StepError> {
    match step {
        Step::Plan { run_id } => boxed(|| plan::plan(aws, &run_id)).await,
        step @ (Step::Screen { .. } | Step::ScreenNames { .. }) => {
            boxed(|| screen(aws, step, account)).await
        }
        Step::Move { run_id } => boxed(|| moving::move_renamed(aws, &run_id)).await,
        Step::Extract {
            run_id,
            items,
            resumed,
        } => boxed(|| extraction::extract_batch(aws, &run_id, &items, resumed, account)).await,
        Step::Embed { run_id, batch_id } => {
            boxed(|| embedding::embed_batch(aws, &run_id, &batch_id, account)).await
        }
        Step::GatherJobs { run_id } => boxed(|| jobs::gather_jobs(aws, &run_id)).await,
        Step::CheckJobs { run_id } => boxed(|| jobs::check_jobs(aws, &run_id, account)).await,
        Step::CollectJobs { run_id } => boxed(|| jobs::collect_jobs(aws, &run_id)).await,
        Step::FailBatch {
            run_id,
            items,
            batch_id,
            error,
            cause,
        } => {
            let failure = (error.as_str(), cause.as_str());
            boxed(|| report::fail_batch(aws, &run_id, &items, batch_id.as_deref(), failure)).await
        }
        Step::Publish { run_id } => boxed(|| publish::publish(aws, &run_id)).await,
        Step::Verify { run_id } => boxed(|| verify::verify(aws, &run_id)).await,
        Step::SyncKnowledgeBase { run_id } => boxed(|| knowledge_base::sync(aws, &run_id)).await,
        Step::FailKnowledgeBase {
            run_id,
            error,
            cause,
        } => {
            let cause = report::plain_cause(&cause);
            boxed(|| knowledge_base::fail(aws, &run_id, &error, &cause)).await
        }
        Step::Compact { run_id } => boxed(|| compact::compact(aws, &run_id)).await,
        Step::Report {
            run_id,
            error,
            cause,
        } => {
            let failure = error.map(|error| (error, cause.unwrap_or_default()));
            boxed(|| report::report(aws, &run_id, failure)).await
        }
    }
}

/// A future on the heap. It is made in a frame of its own: in a debug build those of all steps together are more than the
/// 2 MB of stack that a thread of the runtime has.
#[inline(never)]
fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}

/// Reads a step from the state machine's payload.
///
/// # Errors
/// [`StepError::InvalidStepInput`] naming what does not fit.
pub fn parse_step(payload: Value) -> Result<Step, StepError> {
    serde_json::from_value(payload).map_err(|error| StepError::InvalidStepInput {
        detail: error.to_string(),
    })
}

/// The id of a batch: the same documents at the same versions are the same batch.
fn batch_id(items: &[PlannedDocument]) -> String {
    let parts: Vec<&str> = items
        .iter()
        .flat_map(|item| [item.document_id.as_str(), item.source_version.as_str()])
        .collect();
    crate::digest::short_id(&parts, 16)
}

/// `<model>/<dimensions>`: what a segment says about its vectors.
pub(crate) fn embedder_identity(model: &str, dimensions: u32) -> String {
    format!("{model}/{dimensions}")
}

/// The embedder of the settings.
fn configured_embedder(aws: &Aws) -> String {
    embedder_identity(&aws.settings.embed_model, aws.settings.embed_dimensions)
}

/// Refuses to add vectors of the settings' model to a manifest with another's.
fn refuse_other_embedder(aws: &Aws, space: &str, manifest: &Manifest) -> Result<(), StepError> {
    let configured = configured_embedder(aws);
    let stored = embedder_identity(&manifest.embedder, manifest.dimension);
    if stored == configured || manifest.segments.is_empty() {
        return Ok(());
    }
    Err(StepError::EmbedderMismatch {
        space: space.to_owned(),
        stored,
        configured,
    })
}

fn done(run_id: &str) -> Value {
    json!({ "run_id": run_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_by_name() {
        let check =
            |payload: Value, expected: Result<Step, &str>| match (parse_step(payload), expected) {
                (Ok(step), Ok(expected)) => assert_eq!(step, expected),
                (Err(error), Err(part)) => {
                    assert_eq!(error.name(), "InvalidStepInput");
                    assert!(error.to_string().contains(part), "{error}");
                }
                (parsed, expected) => panic!("{parsed:?} where {expected:?} was expected"),
            };
        let run_id = || "default.01".to_owned();
        check(
            json!({"step": "plan", "run_id": "default.01"}),
            Ok(Step::Plan { run_id: run_id() }),
        );
        check(
            json!({"step": "report", "run_id": "default.01"}),
            Ok(Step::Report {
                run_id: run_id(),
                error: None,
                cause: None,
            }),
        );
        check(
            json!({"step": "compact", "run_id": "default.01"}),
            Ok(Step::Compact { run_id: run_id() }),
        );
        check(
            json!({"step": "sync_knowledge_base", "run_id": "default.01"}),
            Ok(Step::SyncKnowledgeBase { run_id: run_id() }),
        );
        check(json!({"step": "plan"}), Err("run_id"));
        check(
            json!({"step": "dance", "run_id": "default.01"}),
            Err("dance"),
        );
        check(
            json!({"step": "plan", "run_id": "default.01", "extra": 1}),
            Err("extra"),
        );
        check(json!([]), Err("step"));
    }
}

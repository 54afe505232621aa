//! Ingestion runs: start one, say how it stands, list them.

use std::collections::BTreeMap;

use aws::bedrock::IngestionCounters;
use aws::dynamo::keys::{self, BATCH_PREFIX};
use aws::dynamo::{Pages, Range};
use aws::{Aws, AwsError, chance, clock};
use serde::Serialize;
use serde_json::json;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::ledger::runs::BUDGET_SPENT;
use crate::paging::{self, Visible};
use crate::roles::Role;
use crate::spaces::{self, Entered};
use crate::sync::changes::{self, PlannedChange};
use crate::sync::knowledge_base::progress::Sync;
use crate::sync::rows::{
    BatchDocument, BatchRow, Billed, DocumentRow, DocumentStatus, NO_STOP, RunRow, RunStatus,
    is_zero,
};
use crate::sync::{Estimate, StepError, redrive};
use crate::{limits, models, under_way};

pub use crate::sync::knowledge_base::progress::{Phase, Way};

/// The error that the state machine gives a run whose plan the brake stopped.
const BRAKE_PULLED: &str = "BrakePulled";

/// Whether the plan stopped a run before anything was touched. A run may meet the end of its budget later, too.
pub(crate) fn stopped_by_plan(row: &RunRow, error: &str) -> bool {
    let went_on = |plan: &serde_json::Value| plan["stop"] == NO_STOP;
    [BRAKE_PULLED, BUDGET_SPENT].contains(&error) && !row.plan.as_ref().is_some_and(went_on)
}

/// Documents that one run may name. Keeps the run's row far below DynamoDB's 400 KB.
pub const RUN_DOCUMENTS: usize = 1_000;

/// Failures that a run's view shows; all of them stand with their documents.
const SHOWN_FAILURES: usize = 200;

/// How many documents of a run stand where. `planned` is the sum of the rest but `extracted` and `embedded`, which say
/// how far the pending ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub planned: u64,
    pub published: u64,
    pub unchanged: u64,
    pub deleted: u64,
    pub refused: u64,
    pub failed: u64,
    pub pending: u64,
    /// Pending documents whose text is there and whose vectors are not.
    pub extracted: u64,
    /// Pending documents whose vectors are there; they wait for publication.
    pub embedded: u64,
}

/// A document that did not get through.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    pub document_id: String,
    pub name: String,
    pub status: DocumentStatus,
    pub error: String,
    pub reason: String,
}

/// A run as callers see it.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub run_id: String,
    pub space: String,
    pub status: RunStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The run whose failures this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<String>,
    /// The run that repeats this one's failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Whether there are more failures than shown; `GET /v1/documents` has them all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_failures: bool,
    /// Failures of documents that the caller may not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_failures: usize,
    /// What the run will embed, told before it does; of runs over the whole source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateView>,
    /// What it has done for the knowledge base that the space fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge_base: Option<KnowledgeBaseView>,
    pub embedding_tokens: u64,
    /// Those of them that came of batch jobs, at the price of those.
    #[serde(skip_serializing_if = "is_zero")]
    pub job_tokens: u64,
    /// What they cost by the price list, on the laptop what AWS would bill for them; none for a model without a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_usd: Option<f64>,
    pub started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// What a run will embed, and what that costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EstimateView {
    #[serde(flatten)]
    pub estimate: Estimate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_1000_documents: Option<f64>,
    /// Which price list, and of when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
}

impl EstimateView {
    /// At the prices of `model`.
    fn of(aws: &Aws, model: &str, estimate: Estimate) -> Self {
        let price = models::embedder(model);
        let usd = price.map(|price| price.usd(estimate.tokens, estimate.job_tokens));
        let list = models::price_list();
        Self {
            usd,
            usd_per_1000_documents: usd
                .filter(|_| estimate.documents > 0)
                .map(|usd| usd * 1000.0 / estimate.documents as f64),
            prices: price.map(|_| {
                let billed = match aws.settings.is_local() {
                    true => "; what AWS would bill, for nothing is billed here",
                    false => "",
                };
                format!("{}, {}, {}{billed}", list.source, list.region, list.as_of)
            }),
            estimate,
        }
    }
}

/// How a run stands with the knowledge base that its space fills.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnowledgeBaseView {
    pub knowledge_base_id: String,
    pub data_source_id: String,
    pub phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_job_id: Option<String>,
    /// Whose end it waits for, where that is another's: a run or a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What the ingestion job has counted, over the whole data source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<IngestionCounters>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure_reasons: Vec<String>,
    /// Documents of the space that were brought in, taken out, or failed.
    pub brought_in: u64,
    pub taken_out: u64,
    pub failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl KnowledgeBaseView {
    fn of(sync: Sync) -> Self {
        Self {
            knowledge_base_id: sync.of.knowledge_base,
            data_source_id: sync.of.data_source,
            phase: sync.phase,
            way: sync.way,
            ingestion_job_id: sync.job_id,
            waiting_for: sync.waiting_for,
            counters: sync.counters,
            failure_reasons: sync.failure_reasons,
            brought_in: sync.brought_in,
            taken_out: sync.taken_out,
            failed: sync.failed,
            error: sync.error,
            reason: sync.reason,
        }
    }
}

/// One page of runs, newest first, without their counts.
#[derive(Debug, Serialize)]
pub struct RunPage {
    pub runs: Vec<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Refuses more documents than one run takes.
///
/// # Errors
/// [`KnowledgeError::TooManyDocuments`].
pub fn check_number(ids: &[String]) -> Result<(), KnowledgeError> {
    if ids.len() <= RUN_DOCUMENTS {
        return Ok(());
    }
    Err(KnowledgeError::TooManyDocuments {
        count: ids.len(),
        limit: RUN_DOCUMENTS,
    })
}

/// What a run is to do.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// The documents to look at; `None`: the whole source.
    pub documents: Option<Vec<String>>,
    /// Embed the whole source with the model of the settings. The space answers from it only when every live document
    /// has come through.
    pub re_embed: bool,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Delete whatever is gone from the source. Without it a run over the whole source stops before it deletes more than
    /// the configured share of the documents.
    pub allow_deletions: bool,
    /// What a request that may be repeated drew for its run; `None` draws now.
    pub drawn: Option<String>,
}

impl Task {
    /// A run over these documents.
    pub fn documents(ids: Vec<String>) -> Self {
        Self {
            documents: Some(ids),
            ..Self::default()
        }
    }
}

/// What tells a new run from all others of its space.
pub(crate) fn draw() -> String {
    chance::ulid(clock::now_ms())
}

fn in_space(space: &str, drawn: &str) -> String {
    format!("{space}.{drawn}")
}

/// Starts a run; answers its id. Of a space, one run over the whole source is under way at a time.
///
/// # Errors
/// [`KnowledgeError::RunUnderWay`]; [`KnowledgeError::TooManyDocuments`] over [`RUN_DOCUMENTS`]; [`KnowledgeError::InvalidRequest`] for named documents
/// together with what takes the whole source; else the services' errors.
pub async fn start(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    mut task: Task,
) -> Result<String, KnowledgeError> {
    if let Some(ids) = &mut task.documents {
        if task.re_embed || task.dry_run || task.allow_deletions {
            let detail =
                "re_embed, dry_run and allow_deletions take the whole space; leave documents out";
            return Err(KnowledgeError::InvalidRequest {
                detail: detail.to_owned(),
            });
        }
        ids.sort();
        ids.dedup();
        check_number(ids)?;
    }
    let now_ms = clock::now_ms();
    let run_id = in_space(space, &task.drawn.unwrap_or_else(draw));
    if task.documents.is_none() {
        let sees_all = !task.dry_run;
        under_way::claim(aws, space, &run_id, sees_all).await?;
    }
    let row = RunRow {
        documents: task.documents,
        re_embed: task.re_embed,
        dry_run: task.dry_run,
        allow_deletions: task.allow_deletions,
        owner: caller.owner().map(str::to_owned),
        ..RunRow::queued(run_id.clone(), space.to_owned(), now_ms)
    };
    launch(aws, &row).await?;
    Ok(run_id)
}

/// Makes the row of a run and starts its execution, each unless that was done before. The row comes first: a run that starts
/// without one could not say what it does. What is there already is this run's own, for its id is: made by the same request
/// when it came before, or by this write, whose reply was lost.
async fn launch(aws: &Aws, row: &RunRow) -> Result<(), AwsError> {
    let unless_done = |outcome| match outcome {
        Err(AwsError::Conflict { .. }) => Ok(()),
        outcome => outcome,
    };
    unless_done(aws.table.create(&keys::run(&row.run_id), row).await)?;
    let input = json!({ "run_id": row.run_id });
    unless_done(aws.states.start(&row.run_id, &input).await)
}

/// One page of what a run would change, or has set out to change.
#[derive(Debug, Serialize)]
pub struct ChangePage {
    pub changes: Vec<PlannedChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What a run would change, by kind and name. Names of all documents stand in it, so it is for admins.
///
/// # Errors
/// [`KnowledgeError::RunNotFound`], also before the run has its plan and to whom may not see it;
/// [`KnowledgeError::RoleRequired`]; [`KnowledgeError::InvalidCursor`].
pub async fn changes(
    aws: &Aws,
    run_id: &str,
    caller: &Caller,
    limit: usize,
    cursor: Option<&str>,
) -> Result<ChangePage, KnowledgeError> {
    let missing = || KnowledgeError::RunNotFound {
        run_id: run_id.chars().take(120).collect(),
    };
    let from = cursor.map_or(Ok(0), |cursor| {
        cursor.parse().map_err(|_| KnowledgeError::InvalidCursor {
            cursor: cursor.chars().take(120).collect(),
        })
    })?;
    let space = keys::space_of(run_id).ok_or_else(missing)?;
    match spaces::enter(aws, space, caller, Role::Admin).await {
        Err(KnowledgeError::UnknownSpace { .. }) => return Err(missing()),
        entered => entered?,
    };
    let found = changes::read(aws, run_id, from, limit).await?;
    let (changes, next) = found.ok_or_else(missing)?;
    Ok(ChangePage {
        changes,
        next_cursor: next.map(|next| next.to_string()),
    })
}

/// A run with its counts and failures, for a caller who may see it.
///
/// # Errors
/// [`KnowledgeError::RunNotFound`] when there is none, or it is another's and the caller is no admin.
pub async fn get(aws: &Aws, run_id: &str, caller: &Caller) -> Result<Run, KnowledgeError> {
    let (entered, row) = visible_row(aws, run_id, caller).await?;
    let role = entered.role;
    let books = books(aws, &row).await?;
    let billed = books.billed;
    let failed: Vec<Failure> = books.failed.into_iter().map(failure).collect();
    let all = failed.len();
    let mut failures = readable_failures(aws, &row, caller, role, failed).await?;
    let hidden_failures = all - failures.len();
    let more_failures = failures.len() > SHOWN_FAILURES;
    failures.truncate(SHOWN_FAILURES);
    // Rows of an earlier release do not say with which model they embedded.
    let model = row.embed_model.clone();
    let model = model.unwrap_or_else(|| aws.settings.embed_model.clone());
    Ok(Run {
        counts: Some(books.counts),
        failures,
        more_failures,
        hidden_failures,
        embedding_tokens: billed.tokens,
        job_tokens: billed.by_jobs,
        embedding_usd: models::embedder(&model)
            .map(|price| price.usd(billed.tokens, billed.by_jobs)),
        estimate: row
            .estimate
            .map(|estimate| EstimateView::of(aws, &model, estimate)),
        ..view(row)
    })
}

/// The row of a run that the caller may see, as its execution stands.
async fn visible_row(
    aws: &Aws,
    run_id: &str,
    caller: &Caller,
) -> Result<(Entered, RunRow), KnowledgeError> {
    let missing = || KnowledgeError::RunNotFound {
        run_id: run_id.chars().take(120).collect(),
    };
    let space = keys::space_of(run_id).ok_or_else(missing)?;
    let key = keys::run(run_id);
    let (entered, row) = tokio::join!(
        spaces::enter(aws, space, caller, Role::Reader),
        aws.table.get::<RunRow>(&key)
    );
    let entered = match entered {
        Ok(entered) => entered,
        Err(KnowledgeError::UnknownSpace { .. }) => return Err(missing()),
        Err(error) => return Err(error),
    };
    let row = row?.filter(|row| may_see(row, caller, entered.role));
    let row = settle_dead_execution(aws, row.ok_or_else(missing)?).await?;
    Ok((entered, row))
}

/// Starts a run over what an ended one left undone; answers its id. Asking again answers the same id: what that run leaves
/// undone is redriven from that run.
///
/// # Errors
/// [`KnowledgeError::RunNotFound`]; [`KnowledgeError::RoleRequired`] as for starting such a run;
/// [`KnowledgeError::RunNotEnded`]; [`KnowledgeError::NothingToRedrive`]; [`KnowledgeError::RunUnderWay`] where the run was
/// over the whole source; else the services' errors.
pub async fn redrive(aws: &Aws, run_id: &str, caller: &Caller) -> Result<String, KnowledgeError> {
    let (entered, row) = visible_row(aws, run_id, caller).await?;
    entered.require(match row.re_embed || row.allow_deletions {
        true => Role::Admin,
        false => Role::Editor,
    })?;
    limits::count(aws, &entered, caller).await?;
    if let Some(by) = &row.redriven_by {
        launch_redrive(aws, &row, by, caller).await?;
        return Ok(by.clone());
    }
    check_redrivable(aws, &row).await?;
    let drawn = in_space(&row.space, &draw());
    let claimed = RunRow {
        redriven_by: Some(drawn.clone()),
        ..row.clone()
    };
    let by = match replace(aws, claimed).await {
        Ok(()) => drawn,
        // Somebody else asked at the same time, and theirs is the redrive; or this was written, and its reply was lost.
        Err(AwsError::Conflict { .. }) => {
            let detail = format!("run {run_id}");
            let by = self::row(aws, run_id).await?.redriven_by;
            by.ok_or(AwsError::Conflict { detail })?
        }
        Err(error) => return Err(error.into()),
    };
    launch_redrive(aws, &row, &by, caller).await?;
    Ok(by)
}

async fn check_redrivable(aws: &Aws, row: &RunRow) -> Result<(), KnowledgeError> {
    if !row.status.is_final() {
        return Err(KnowledgeError::RunNotEnded {
            run_id: row.run_id.clone(),
        });
    }
    let nothing = |reason: &'static str| KnowledgeError::NothingToRedrive {
        run_id: row.run_id.clone(),
        reason,
    };
    if row.dry_run {
        return Err(nothing("it was a dry run"));
    }
    if row.error.as_deref() == Some(BRAKE_PULLED) {
        return Err(nothing(
            "the brake stopped it; start a run with allow_deletions if its deletions are right",
        ));
    }
    if row.error.as_deref() == Some(BUDGET_SPENT) && stopped_by_plan(row, BUDGET_SPENT) {
        return Err(nothing(
            "the budget stopped it; start a run again when there is room in it",
        ));
    }
    let counts = books(aws, row).await?.counts;
    // A run without a plan has not even looked.
    let looked = row.plan.is_some() || row.status == RunStatus::Succeeded;
    if looked && counts.failed + counts.pending == 0 {
        return Err(nothing(
            "no document of it failed; those that were refused stay so until they are changed",
        ));
    }
    Ok(())
}

/// Makes the redrive's row and starts it, each unless that was done before.
async fn launch_redrive(
    aws: &Aws,
    of: &RunRow,
    by: &str,
    caller: &Caller,
) -> Result<(), KnowledgeError> {
    let known: Option<RunRow> = aws.table.get(&keys::run(by)).await?;
    if known.is_none() && of.documents.is_none() {
        under_way::claim(aws, &of.space, by, false).await?;
    }
    let documents = match known {
        Some(_) => None,
        None => redrive::named(aws, of).await.map_err(unreadable)?,
    };
    let row = RunRow {
        documents,
        re_embed: of.re_embed,
        allow_deletions: of.allow_deletions,
        redrive_of: Some(of.run_id.clone()),
        owner: caller.owner().map(str::to_owned),
        ..RunRow::queued(by.to_owned(), of.space.clone(), clock::now_ms())
    };
    Ok(launch(aws, &row).await?)
}

/// What cannot be read of a run's books.
fn unreadable(error: StepError) -> KnowledgeError {
    match error {
        StepError::Aws(error) => error.into(),
        error => AwsError::Damaged {
            detail: error.to_string(),
        }
        .into(),
    }
}

/// Runs of a space, newest first: the caller's own, and to its admins all.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], [`KnowledgeError::InvalidCursor`], or the table's error.
pub async fn list(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    limit: usize,
    cursor: Option<&str>,
) -> Result<RunPage, KnowledgeError> {
    let role = spaces::enter(aws, space, caller, Role::Reader).await?.role;
    let partition = keys::runs_partition(space);
    let mut after = paging::after(cursor, space)?.map(str::to_owned);
    let mut visible = Visible::new(limit);
    while visible.wants_more() {
        let range = Range {
            partition: &partition,
            sort_prefix: "",
            after: after.as_deref(),
            limit: visible.rows_to_read(),
            newest_first: true,
        };
        let page = aws.table.query_by_space::<RunRow>(range).await?;
        visible.take(page.items, |row| may_see(row, caller, role));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (rows, next_cursor) = visible.finish(|row| row.run_id.clone());
    let mut runs = Vec::new();
    for row in rows {
        runs.push(view(settle_dead_execution(aws, row).await?));
    }
    Ok(RunPage { runs, next_cursor })
}

/// Who started a run sees it, and the admins of its space.
fn may_see(row: &RunRow, caller: &Caller, role: Role) -> bool {
    role == Role::Admin || is_owner(row, caller)
}

fn is_owner(row: &RunRow, caller: &Caller) -> bool {
    row.owner
        .as_ref()
        .is_some_and(|owner| caller.principals.contains(owner))
}

/// The failures of documents that the caller may read: a name or a reason of another's document tells about it. What
/// nobody may read is for the admins to mend, and what has no row yet is known to who named it.
async fn readable_failures(
    aws: &Aws,
    run: &RunRow,
    caller: &Caller,
    role: Role,
    mut failures: Vec<Failure>,
) -> Result<Vec<Failure>, AwsError> {
    let wanted: Vec<_> = failures
        .iter()
        .map(|failure| keys::document(&failure.document_id))
        .collect();
    let rows: Vec<DocumentRow> = aws.table.get_many(&wanted).await?;
    let rows: BTreeMap<String, DocumentRow> = rows
        .into_iter()
        .map(|row| (row.document_id.clone(), row))
        .collect();
    let named = run.documents.is_some() && is_owner(run, caller);
    failures.retain(|failure| match rows.get(&failure.document_id) {
        Some(row) if row.readers.is_empty() => role == Role::Admin,
        Some(row) => caller.may_read(&row.readers),
        // A page of a source that never came.
        None => named || role == Role::Admin,
    });
    Ok(failures)
}

fn view(row: RunRow) -> Run {
    Run {
        run_id: row.run_id,
        space: row.space,
        status: row.status,
        counts: None,
        error: row.error,
        reason: row.reason,
        redrive_of: row.redrive_of,
        redriven_by: row.redriven_by,
        failures: Vec::new(),
        more_failures: false,
        hidden_failures: 0,
        estimate: None,
        knowledge_base: row.knowledge_base.map(KnowledgeBaseView::of),
        embedding_tokens: 0,
        job_tokens: 0,
        embedding_usd: None,
        started_at: clock::rfc3339(row.started_at_ms),
        finished_at: row.finished_at_ms.map(clock::rfc3339),
    }
}

fn is_failure(document: &BatchDocument) -> bool {
    matches!(
        document.status,
        DocumentStatus::Refused | DocumentStatus::Failed
    )
}

fn failure(document: BatchDocument) -> Failure {
    Failure {
        document_id: document.document_id,
        name: document.name,
        status: document.status,
        error: document.error.unwrap_or_default(),
        reason: document.reason.unwrap_or_default(),
    }
}

/// A run whose execution ended without its report would say RUNNING for ever; the execution's own end is the truth then.
async fn settle_dead_execution(aws: &Aws, row: RunRow) -> Result<RunRow, AwsError> {
    if row.status.is_final() {
        return Ok(row);
    }
    let Some(execution) = aws.states.execution(&row.run_id).await? else {
        return Ok(row);
    };
    let status = match execution.status.as_str() {
        "FAILED" | "TIMED_OUT" => RunStatus::Failed,
        "ABORTED" => RunStatus::Stopped,
        _ => return Ok(row),
    };
    Ok(RunRow {
        status,
        error: execution.error.or(Some("ExecutionEnded".into())),
        reason: execution
            .cause
            .or(Some("the execution ended before its report".into())),
        ..row
    })
}

pub(crate) async fn row(aws: &Aws, run_id: &str) -> Result<RunRow, AwsError> {
    let row: Option<RunRow> = aws.table.get(&keys::run(run_id)).await?;
    row.ok_or_else(|| AwsError::Missing {
        what: format!("run {run_id}"),
    })
}

/// Replaces the row of a run as it was read.
pub(crate) async fn replace(aws: &Aws, row: RunRow) -> Result<(), AwsError> {
    let (expected, run_id) = (row.version, row.run_id.clone());
    let next = RunRow {
        version: expected + 1,
        ..row
    };
    aws.table
        .replace(&keys::run(&run_id), expected, &next)
        .await
}

/// The batches of a run, page by page: of many documents they are much.
pub(crate) fn batch_pages<'a>(aws: &'a Aws, run_id: &str) -> Pages<'a, BatchRow> {
    aws.table.pages(&keys::run_partition(run_id), BATCH_PREFIX)
}

/// The batches of a run.
pub(crate) async fn batches(aws: &Aws, run_id: &str) -> Result<Vec<BatchRow>, AwsError> {
    let partition = keys::run_partition(run_id);
    aws.table.query_all(&partition, BATCH_PREFIX).await
}

/// Whether a run's deletions were seen done. Rows of an earlier release say so by their status alone.
fn deletions_done(row: &RunRow) -> bool {
    row.deletions_verified || matches!(row.status, RunStatus::Succeeded | RunStatus::Partial)
}

/// A run's books, added up from its batches.
pub(crate) struct Books {
    pub counts: Counts,
    /// Documents that stand in batches.
    pub documents: u64,
    /// Those of them that were refused or failed, by id.
    pub failed: Vec<BatchDocument>,
    /// What was billed for embedding them.
    pub billed: Billed,
}

/// What is kept of a document while the books are added up.
struct Stand {
    status: DocumentStatus,
    has_vectors: bool,
}

/// Adds a run's books up, batch by batch.
pub(crate) async fn books(aws: &Aws, row: &RunRow) -> Result<Books, AwsError> {
    let mut billed = Billed::default();
    // A document stands in one batch; should the work list ever name it twice, the last word counts.
    let mut documents: BTreeMap<String, Stand> = BTreeMap::new();
    let mut failed: BTreeMap<String, BatchDocument> = BTreeMap::new();
    let mut pages = batch_pages(aws, &row.run_id);
    while let Some(batches) = pages.next().await? {
        for batch in batches {
            billed.tokens += batch.embedding_tokens;
            billed.by_jobs += batch.job_tokens;
            for document in batch.documents {
                let id = document.document_id.clone();
                let before = documents.get(&id).is_some_and(|before| before.has_vectors);
                let stand = Stand {
                    status: document.status,
                    has_vectors: before || batch.part_key.is_some(),
                };
                documents.insert(id.clone(), stand);
                match is_failure(&document) {
                    true => failed.insert(id, document),
                    false => failed.remove(&id),
                };
            }
        }
    }
    Ok(Books {
        counts: counts(row, documents.values()),
        documents: documents.len() as u64,
        failed: failed.into_values().collect(),
        billed,
    })
}

fn counts<'a>(row: &RunRow, documents: impl Iterator<Item = &'a Stand>) -> Counts {
    // What did not reach a knowledge base stands among the failures; it is counted once.
    let sync = row.knowledge_base.as_ref();
    let of_sync = |count: fn(&Sync) -> u64| sync.map_or(0, count);
    let deleted = if deletions_done(row) { row.deleted } else { 0 };
    let mut counts = Counts {
        planned: row.planned + of_sync(|sync| sync.failed_outside),
        unchanged: row
            .unchanged
            .saturating_sub(of_sync(|sync| sync.failed_unchanged)),
        // Until they are verified they are pending, and none of a run that broke off before counts as done.
        deleted: deleted.saturating_sub(of_sync(|sync| sync.failed_deleted)),
        ..Counts::default()
    };
    for document in documents {
        match document.status {
            DocumentStatus::Published => counts.published += 1,
            DocumentStatus::Refused => counts.refused += 1,
            DocumentStatus::Failed => counts.failed += 1,
            _ if document.has_vectors => counts.embedded += 1,
            _ => counts.extracted += 1,
        }
    }
    let settled =
        counts.published + counts.refused + counts.failed + counts.unchanged + counts.deleted;
    counts.pending = counts.planned.saturating_sub(settled);
    counts
}

//! Ingestion runs: start one, say how it stands, list them.
//!
//! Files: `view` how callers see a run · `books` its rows, and what they add up to · `redrive` what an ended one left undone.

mod books;
mod redrive;
mod view;

use std::collections::BTreeMap;

use aws::dynamo::Range;
use aws::dynamo::keys;
use aws::{Aws, AwsError, chance, clock};
use serde::Serialize;
use serde_json::json;

use crate::KnowledgeError;
use crate::access::Caller;
use crate::paging::{self, Visible};
use crate::roles::Role;
use crate::spaces::{self, Entered};
use crate::sync::changes::{self, PlannedChange};
use crate::sync::rows::{DocumentRow, RunRow, RunStatus};
use crate::{models, under_way};

pub use crate::sync::knowledge_base::progress::{Phase, Way};
pub use books::Counts;
pub(crate) use books::{batch_pages, batches, books, replace, row};
pub use redrive::redrive;
pub(crate) use redrive::stopped_by_plan;
pub use view::{EstimateView, Failure, KnowledgeBaseView, Run, RunPage};
use view::{failure, view};

/// Documents that one run may name. Keeps the run's row far below DynamoDB's 400 KB.
pub const RUN_DOCUMENTS: usize = 1_000;

/// Failures that a run's view shows; all of them stand with their documents.
const SHOWN_FAILURES: usize = 200;

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

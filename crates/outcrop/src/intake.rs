//! `outcrop ingest`: sends files by upload links, starts runs over them, and waits for their ends.
//!
//! A file that cannot be taken is told and left out; the others go on. Documents go into runs of at most
//! [`RUN_DOCUMENTS`], one run after the other: the API takes no more in one request, and the runs of a space
//! publish one after the other anyway.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::arguments::{IngestArguments, RedriveArguments};
use crate::client::{Api, Failure, RUN_DOCUMENTS, Unsent};
use crate::commands::{Session, encoded, text};
use crate::output::{self, DONE, FAILED, INCOMPLETE};
use crate::walk::{self, Found, Walk};

/// Files that are sent side by side.
const UPLOADS_IN_FLIGHT: usize = 8;
/// Between looks at a run: each takes a tenth of the time that it has lasted, within these bounds. A look counts every
/// document of the run.
const FIRST_POLL: Duration = Duration::from_millis(200);
const LAST_POLL: Duration = Duration::from_secs(3);

/// A file that was not sent, and why.
struct Refused {
    name: String,
    reason: String,
}

/// Runs the command to its exit code.
pub async fn ingest(arguments: IngestArguments) -> Result<u8, Failure> {
    if arguments.re_embed {
        return re_embed(&arguments).await;
    }
    let walked = walk::walk(&arguments.paths).map_err(Failure)?;
    for (path, reason) in &walked.skipped {
        output::note(&format!("left out {}: {reason}", path.display()));
    }
    for folder in &walked.prefixed {
        output::note(&format!(
            "the names of {} begin with the folder's own, because another path holds the same names",
            folder.display()
        ));
    }
    if walked.files.is_empty() {
        return Err(Failure(
            "there is no file to ingest below these paths".into(),
        ));
    }
    let session = Session::open(&arguments.connection).await?;
    let waiting_for = RefCell::new(None);
    let ended = tokio::select! {
        ended = send_and_wait(&session.api, &walked.files, &arguments.readers, &waiting_for) => ended,
        _ = tokio::signal::ctrl_c() => Err(stopped(&session, waiting_for.borrow().as_deref())),
    };
    session.close().await;
    let (runs, refused) = ended?;
    if arguments.connection.json {
        output::json(&as_json(&runs, &refused, &walked));
    } else {
        runs.iter().for_each(|run| output::piece(&run_report(run)));
    }
    Ok(exit_code(&runs, refused.len()))
}

/// Embeds a whole space anew.
async fn re_embed(arguments: &IngestArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let body = json!({ "space": session.api.space, "re_embed": true });
    let ended = run_alone(&session, &body).await;
    session.close().await;
    let run = ended?;
    if arguments.connection.json {
        output::json(&json!({ "runs": [&run] }));
    } else {
        output::piece(&run_report(&run));
    }
    Ok(exit_code(&[run], 0))
}

/// Does again what a run left undone.
pub async fn redrive(arguments: RedriveArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let path = format!("/v1/runs/{}/redrive", encoded(&arguments.run_id));
    let ended = started_at(&session, &path, &json!({})).await;
    session.close().await;
    let run = ended?;
    if arguments.connection.json {
        output::json(&json!({ "run": &run }));
    } else {
        output::piece(&run_report(&run));
    }
    Ok(exit_code(&[run], 0))
}

/// Starts a run with this body and waits for its end, or for Ctrl-C.
pub async fn run_alone(session: &Session, body: &Value) -> Result<Value, Failure> {
    started_at(session, "/v1/runs", body).await
}

async fn started_at(session: &Session, path: &str, body: &Value) -> Result<Value, Failure> {
    let waiting_for = RefCell::new(None);
    tokio::select! {
        ended = run_to_end(&session.api, path, body, &waiting_for) => ended,
        _ = tokio::signal::ctrl_c() => Err(stopped(session, waiting_for.borrow().as_deref())),
    }
}

/// What Ctrl-C leaves behind, and how to look at it.
fn stopped(session: &Session, run_id: Option<&str>) -> Failure {
    let Some(run_id) = run_id else {
        return Failure(
            "stopped before a run was started; `outcrop ingest` sends the files again".into(),
        );
    };
    let base = &session.api.base;
    Failure(if session.embedded.is_some() {
        format!(
            "stopped with this command's own instance; run {run_id} is taken up again when one starts: `outcrop dev`"
        )
    } else {
        format!("stopped waiting; the run goes on: `outcrop runs {run_id} --url {base}` shows it")
    })
}

fn as_json(runs: &[Value], refused: &[Refused], walked: &Walk) -> Value {
    let refused: Vec<Value> = refused
        .iter()
        .map(|file| json!({ "name": file.name, "reason": file.reason }))
        .collect();
    let skipped: Vec<Value> = walked
        .skipped
        .iter()
        .map(|(path, reason)| json!({ "path": path.display().to_string(), "reason": reason }))
        .collect();
    json!({ "runs": runs, "not_sent": refused, "left_out": skipped })
}

/// 1 when nothing got in, 3 when some documents did not.
pub fn exit_code(runs: &[Value], refused: usize) -> u8 {
    // A run whose every document was refused is FAILED; beside a run that brought documents in, that is a part.
    let failed = |run: &Value| matches!(text(run, "status"), "FAILED" | "STOPPED");
    if runs.iter().all(failed) {
        FAILED
    } else if refused == 0 && runs.iter().all(|run| text(run, "status") == "SUCCEEDED") {
        DONE
    } else {
        INCOMPLETE
    }
}

async fn send_and_wait(
    api: &Api,
    files: &[Found],
    readers: &[String],
    waiting_for: &RefCell<Option<String>>,
) -> Result<(Vec<Value>, Vec<Refused>), Failure> {
    let bar = output::progress(files.len() as u64, "uploading");
    let uploads: Vec<_> = files
        .iter()
        .map(|file| async move { (file, api.upload(file, readers).await) })
        .collect();
    let mut uploads = stream::iter(uploads).buffered(UPLOADS_IN_FLIGHT);
    let (mut ids, mut refused) = (Vec::with_capacity(files.len()), Vec::new());
    while let Some((file, sent)) = uploads.next().await {
        match sent {
            Ok(id) => ids.push(id),
            Err(Unsent::Instance(failure)) => return Err(failure),
            Err(Unsent::File(reason)) => {
                bar.suspend(|| {
                    output::note(&format!("not sent {}: {reason}", file.path.display()))
                });
                refused.push(Refused {
                    name: file.name.clone(),
                    reason,
                });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let runs = run_each(api, &ids, waiting_for).await?;
    Ok((runs, refused))
}

/// Starts runs over uploaded documents, one after the other, and waits for their ends.
pub async fn ingest_documents(api: &Api, ids: &[String]) -> Result<Vec<Value>, Failure> {
    run_each(api, ids, &RefCell::new(None)).await
}

async fn run_each(
    api: &Api,
    ids: &[String],
    waiting_for: &RefCell<Option<String>>,
) -> Result<Vec<Value>, Failure> {
    let mut runs = Vec::new();
    for chunk in ids.chunks(RUN_DOCUMENTS) {
        let body = json!({ "space": api.space, "documents": chunk });
        runs.push(run_to_end(api, "/v1/runs", &body, waiting_for).await?);
    }
    Ok(runs)
}

async fn run_to_end(
    api: &Api,
    path: &str,
    body: &Value,
    waiting_for: &RefCell<Option<String>>,
) -> Result<Value, Failure> {
    let started = api.post(path, body).await?;
    let run_id = text(&started, "run_id");
    waiting_for.replace(Some(run_id.to_owned()));
    wait(api, run_id).await
}

async fn wait(api: &Api, run_id: &str) -> Result<Value, Failure> {
    let bar = output::progress(1, "ingesting");
    let begun = Instant::now();
    let mut told = false;
    loop {
        let run = api.get(&format!("/v1/runs/{run_id}")).await?;
        if !told && let Some(words) = estimate(&run) {
            bar.suspend(|| output::note(&words));
            told = true;
        }
        let counts = &run["counts"];
        let count = |field: &str| counts[field].as_u64().unwrap_or_default();
        let (waiting, ready) = (count("pending"), count("embedded"));
        bar.set_length(count("planned").max(1));
        bar.set_position((count("planned") + ready).saturating_sub(waiting));
        if waiting > 0 && waiting == ready {
            // Publication is one act for all of them.
            bar.set_message("publishing");
        }
        if !matches!(text(&run, "status"), "QUEUED" | "RUNNING") {
            bar.finish_and_clear();
            return Ok(run);
        }
        let pause = (begun.elapsed() / 10).clamp(FIRST_POLL, LAST_POLL);
        tokio::time::sleep(pause).await;
    }
}

/// What a run will embed and what that costs, in one line; `None` where it embeds nothing or does not say.
fn estimate(run: &Value) -> Option<String> {
    let estimate = &run["estimate"];
    let count = |field: &str| estimate[field].as_u64().unwrap_or_default();
    if count("passages") == 0 {
        return None;
    }
    let price = match (
        estimate["usd"].as_f64(),
        estimate["usd_per_1000_documents"].as_f64(),
    ) {
        (Some(usd), Some(of_1000)) => format!(
            ", ${usd:.4} (${of_1000:.4} for 1,000 documents; {})",
            text(estimate, "prices")
        ),
        _ => String::new(),
    };
    Some(format!(
        "about {} passages with {} tokens to embed{}{price}; from {} of {} documents",
        count("passages"),
        count("tokens"),
        match count("job_tokens") {
            0 => "",
            _ => " by batch jobs",
        },
        count("sampled"),
        count("documents"),
    ))
}

/// What a run has embedded and what that cost; nothing where it embedded nothing.
fn embedded(run: &Value) -> Option<String> {
    let tokens = run["embedding_tokens"]
        .as_u64()
        .filter(|tokens| *tokens > 0)?;
    let usd = run["embedding_usd"].as_f64();
    let price = usd.map_or_else(String::new, |usd| format!(", ${usd:.4}"));
    let by_jobs = match run["job_tokens"].as_u64() {
        Some(by_jobs) => format!(", {by_jobs} by batch jobs"),
        None => String::new(),
    };
    Some(format!("embedded {tokens} tokens{by_jobs}{price}\n"))
}

/// What a run has done for the knowledge base that its space fills, in one line; nothing where it fills none.
fn filled(run: &Value) -> Option<String> {
    let told = run["knowledge_base"].as_object()?;
    let told = &Value::Object(told.clone());
    let count = |field: &str| told[field].as_u64().unwrap_or_default();
    let way = match (text(told, "way"), told["ingestion_job_id"].as_str()) {
        ("direct", _) => ", sent directly".to_owned(),
        (_, Some(job)) => format!(", by the ingestion job {job}"),
        _ => String::new(),
    };
    let state = match (text(told, "phase"), told["waiting_for"].as_str()) {
        (_, Some(other)) => format!("; it waits for {other}"),
        ("ended", _) => String::new(),
        _ => "; it is under way".to_owned(),
    };
    let mut line = format!(
        "knowledge base {}: {} brought in, {} taken out, {} failed{way}{state}\n",
        text(told, "knowledge_base_id"),
        count("brought_in"),
        count("taken_out"),
        count("failed"),
    );
    if let Some(reason) = told["reason"].as_str() {
        line.push_str(&format!("{}: {reason}\n", text(told, "error")));
    }
    for reason in told["failure_reasons"].as_array().into_iter().flatten() {
        line.push_str(&format!("  {}\n", reason.as_str().unwrap_or_default()));
    }
    Some(line)
}

/// A run's status, its counts, and each document that did not get through.
pub fn run_report(run: &Value) -> String {
    let counts: BTreeMap<String, u64> =
        serde_json::from_value(run["counts"].clone()).unwrap_or_default();
    let order = [
        "planned",
        "published",
        "unchanged",
        "deleted",
        "refused",
        "failed",
        "pending",
    ];
    let told: Vec<String> = order
        .iter()
        .filter_map(|name| {
            counts
                .get(*name)
                .filter(|count| **count > 0)
                .map(|count| format!("{count} {name}"))
        })
        .collect();
    let mut report = format!(
        "{} {}: {}\n",
        text(run, "status"),
        text(run, "run_id"),
        told.join(", ")
    );
    report.extend(embedded(run));
    report.extend(filled(run));
    if let Some(reason) = run["reason"].as_str() {
        report.push_str(&format!("{}: {reason}\n", text(run, "error")));
    }
    let failures = run["failures"].as_array().cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = failures
        .iter()
        .map(|failure| {
            ["status", "error", "name", "reason"]
                .iter()
                .map(|field| text(failure, field).to_owned())
                .collect()
        })
        .collect();
    report.push_str(&output::table(&rows));
    if !rows.is_empty() && rows.iter().any(|row| row[0] == "failed") {
        let again = format!("again: outcrop redrive {}\n", text(run, "run_id"));
        report.push_str(&again);
    }
    if run["more_failures"] == true {
        report.push_str("… and more; `outcrop documents` shows every status\n");
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_nothing_from_a_part() {
        let check = |statuses: &[&str], refused: usize, expected: u8| {
            let runs: Vec<Value> = statuses
                .iter()
                .map(|status| json!({ "status": status }))
                .collect();
            assert_eq!(
                exit_code(&runs, refused),
                expected,
                "{statuses:?} {refused}"
            );
        };
        check(&["SUCCEEDED", "SUCCEEDED"], 0, DONE);
        check(&["SUCCEEDED"], 1, INCOMPLETE);
        check(&["SUCCEEDED", "FAILED"], 0, INCOMPLETE);
        check(&["PARTIAL"], 0, INCOMPLETE);
        check(&["FAILED", "STOPPED"], 0, FAILED);
        check(&[], 2, FAILED);
    }

    #[test]
    fn what_a_run_costs_is_told_before_and_after() {
        let run = json!({
            "run_id": "default.01", "status": "SUCCEEDED", "counts": {"planned": 9, "published": 9},
            "estimate": {"documents": 9, "passages": 20, "tokens": 5_000, "sampled": 4, "usd": 0.0001,
                "usd_per_1000_documents": 0.0111, "prices": "https://example.com, us-east-1, 2026-11"},
            "embedding_tokens": 5_100, "embedding_usd": 0.000102,
        });
        insta::assert_snapshot!(estimate(&run).unwrap(), @"about 20 passages with 5000 tokens to embed, $0.0001 ($0.0111 for 1,000 documents; https://example.com, us-east-1, 2026-11); from 4 of 9 documents");
        insta::assert_snapshot!(run_report(&run), @r"
        SUCCEEDED default.01: 9 planned, 9 published
        embedded 5100 tokens, $0.0001
        ");
        assert_eq!(estimate(&json!({})), None);
        let mut by_jobs = run;
        by_jobs["estimate"]["job_tokens"] = json!(5_000);
        by_jobs["job_tokens"] = json!(5_000);
        let told = estimate(&by_jobs).unwrap();
        assert!(told.contains("tokens to embed by batch jobs, $"), "{told}");
        let told = run_report(&by_jobs);
        assert!(
            told.contains("embedded 5100 tokens, 5000 by batch jobs, $"),
            "{told}"
        );
    }

    #[test]
    fn a_knowledge_base_is_told_in_a_line() {
        let check = |told: Value, expected: &str| {
            let run = json!({ "knowledge_base": told });
            assert_eq!(filled(&run).unwrap_or_default(), expected);
        };
        check(Value::Null, "");
        check(
            json!({"knowledge_base_id": "KB", "phase": "ended", "way": "direct", "brought_in": 2, "taken_out": 1, "failed": 0}),
            "knowledge base KB: 2 brought in, 1 taken out, 0 failed, sent directly\n",
        );
        check(
            json!({"knowledge_base_id": "KB", "phase": "written", "way": "job", "waiting_for": "ingestion job J"}),
            "knowledge base KB: 0 brought in, 0 taken out, 0 failed; it waits for ingestion job J\n",
        );
        check(
            json!({"knowledge_base_id": "KB", "phase": "ended", "way": "job", "ingestion_job_id": "J", "failed": 1,
                "failure_reasons": ["Ignored 1 files"], "error": "KnowledgeBaseJobFailed", "reason": "no access"}),
            "knowledge base KB: 0 brought in, 0 taken out, 1 failed, by the ingestion job J\nKnowledgeBaseJobFailed: no access\n  Ignored 1 files\n",
        );
    }

    #[test]
    fn a_report_tells_counts_and_reasons() {
        let run = json!({
            "run_id": "default.01", "status": "PARTIAL",
            "counts": {"planned": 3, "published": 2, "unchanged": 0, "deleted": 0, "refused": 1, "failed": 0, "pending": 0},
            "failures": [{"status": "refused", "error": "EmptyDocument", "name": "a.txt", "reason": "it is empty"}]
        });
        insta::assert_snapshot!(run_report(&run), @r"
        PARTIAL default.01: 3 planned, 2 published, 1 refused
        refused  EmptyDocument  a.txt  it is empty
        ");
    }
}

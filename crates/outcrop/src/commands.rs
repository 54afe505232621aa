//! The commands: each speaks HTTP to an instance, a running one or one of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::arguments::{
    AskArguments, Cli, Command, Connection, DevArguments, DocumentsArguments, IngestArguments,
    RunsArguments, SearchArguments,
};
use crate::client::{Api, Failure, RUN_DOCUMENTS, problem_line};
use crate::dev::{self, Embedded};
use crate::output::{self, DONE, FAILED, INCOMPLETE};
use crate::{sse, walk};

const DEFAULT_URL: &str = "http://127.0.0.1:8787";
/// Files that are sent side by side.
const UPLOADS_IN_FLIGHT: usize = 8;
const POLL: Duration = Duration::from_millis(200);

/// Runs a command to its exit code.
pub async fn run(cli: Cli) -> u8 {
    let ended = match cli.command.unwrap_or(Command::Dev(DevArguments::default())) {
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Ingest(arguments) => ingest(arguments).await,
        Command::Ask(arguments) => ask(arguments).await,
        Command::Search(arguments) => search(arguments).await,
        Command::Runs(arguments) => runs(arguments).await,
        Command::Documents(arguments) => documents(arguments).await,
    };
    ended.unwrap_or_else(|Failure(words)| {
        output::error_line(&words);
        FAILED
    })
}

/// An instance to speak to, and the one of our own that must be ended after.
struct Session {
    api: Api,
    embedded: Option<Embedded>,
}

impl Session {
    async fn open(connection: &Connection) -> Result<Self, Failure> {
        let url = connection.url.as_deref();
        let api = Api::new(url.unwrap_or(DEFAULT_URL), &connection.space)?;
        if api.is_running().await {
            return Ok(Self {
                api,
                embedded: None,
            });
        }
        if let Some(url) = url {
            let words = "no Outcrop instance answers there; start one with `outcrop dev`, or leave --url out";
            return Err(Failure(format!("{url}: {words}")));
        }
        let embedded = dev::embedded().await?;
        let api = Api::new(&embedded.api, &connection.space)?;
        Ok(Self {
            api,
            embedded: Some(embedded),
        })
    }

    async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

async fn ask(arguments: AskArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let asked = answer(&session.api, &arguments).await;
    session.close().await;
    asked
}

async fn answer(api: &Api, arguments: &AskArguments) -> Result<u8, Failure> {
    let mut body = api.ask(&arguments.question).await?.bytes_stream();
    let mut parser = sse::Parser::default();
    let mut whole: Option<Value> = None;
    while let Some(bytes) = body.next().await {
        for event in parser.push(&bytes?) {
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            match event.name.as_str() {
                "delta" if !arguments.connection.json => output::piece(text(&data, "text")),
                "done" => whole = Some(data),
                "error" => {
                    let words = problem_line(&event.data).unwrap_or(event.data);
                    return Err(Failure(words));
                }
                _ => {}
            }
        }
    }
    let whole =
        whole.ok_or_else(|| Failure("the answer broke off before its end; ask again".into()))?;
    if arguments.connection.json {
        output::line(&pretty(&whole));
    } else {
        output::line("");
        output::piece(&citations(api, &whole));
    }
    Ok(if whole["answered"] == true {
        DONE
    } else {
        INCOMPLETE
    })
}

/// The citations below an answer, each with the link that opens it.
fn citations(api: &Api, whole: &Value) -> String {
    let mut lines = String::new();
    for citation in whole["citations"].as_array().into_iter().flatten() {
        let (marker, title) = (text(citation, "marker"), text(citation, "title"));
        let quote = text(citation, "quote")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        lines.push_str(&format!("\n{marker} {title}: \"{quote}\"\n"));
        lines.push_str(&format!(
            "    {}/#document={}&start={}&end={}\n",
            api.base,
            text(citation, "document_id"),
            citation["start"],
            citation["end"],
        ));
    }
    lines
}

async fn search(arguments: SearchArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let body = json!({
        "query": arguments.query,
        "mode": arguments.mode,
        "limit": arguments.limit,
        "space": session.api.space,
    });
    let found = session.api.post("/v1/search", &body).await;
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::line(&pretty(&found));
        return Ok(DONE);
    }
    let results = found["results"].as_array().cloned().unwrap_or_default();
    if results.is_empty() {
        output::note("nothing was found");
    }
    for (number, hit) in results.iter().enumerate() {
        let words: Vec<&str> = text(hit, "text").split_whitespace().take(40).collect();
        output::line(&format!(
            "{}. {} ({}..{}, score {:.4})\n   {}\n",
            number + 1,
            text(hit, "title"),
            hit["start"],
            hit["end"],
            hit["score"].as_f64().unwrap_or_default(),
            words.join(" ")
        ));
    }
    Ok(DONE)
}

async fn runs(arguments: RunsArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let found = match &arguments.run_id {
        Some(id) => session.api.get(&format!("/v1/runs/{}", encoded(id))).await,
        None => session.api.get("/v1/runs").await,
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::line(&pretty(&found));
    } else if arguments.run_id.is_some() {
        output::piece(&run_report(&found));
    } else {
        let columns = ["run_id", "status", "started_at", "finished_at"];
        output::piece(&listing(&found["runs"], &columns));
    }
    Ok(DONE)
}

async fn documents(arguments: DocumentsArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let found = match &arguments.document_id {
        Some(id) => {
            session
                .api
                .get(&format!("/v1/documents/{}", encoded(id)))
                .await
        }
        None => all_documents(&session.api).await,
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json || arguments.document_id.is_some() {
        output::line(&pretty(&found));
    } else {
        let columns = ["document_id", "status", "passages", "name", "reason"];
        output::piece(&listing(&found["documents"], &columns));
    }
    Ok(DONE)
}

async fn all_documents(api: &Api) -> Result<Value, Failure> {
    let mut documents = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/v1/documents?space={}&limit=200{cursor}",
            encoded(&api.space)
        );
        let mut page = api.get(&path).await?;
        if let Some(list) = page["documents"].as_array_mut() {
            documents.append(list);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(json!({ "documents": documents })),
        }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn listing(rows: &Value, columns: &[&str]) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut table = vec![
        columns
            .iter()
            .map(|column| (*column).to_owned())
            .collect::<Vec<_>>(),
    ];
    for row in rows.as_array().into_iter().flatten() {
        table.push(columns.iter().map(|column| cell(&row[*column])).collect());
    }
    output::table(&table)
}

async fn ingest(arguments: IngestArguments) -> Result<u8, Failure> {
    let walked = walk::walk(&arguments.paths).map_err(Failure)?;
    for (path, reason) in &walked.skipped {
        output::note(&format!("left out {}: {reason}", path.display()));
    }
    if walked.files.is_empty() {
        return Err(Failure(
            "there is no file to ingest below these paths".into(),
        ));
    }
    let session = Session::open(&arguments.connection).await?;
    let ended = tokio::select! {
        ended = send_and_wait(&session.api, &walked.files, &arguments.readers) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure(
            "stopped waiting; runs that were started go on, `outcrop runs` shows them".into(),
        )),
    };
    session.close().await;
    let runs = ended?;
    if arguments.connection.json {
        output::line(&pretty(&json!({ "runs": runs })));
    } else {
        runs.iter().for_each(|run| output::piece(&run_report(run)));
    }
    let failed = runs
        .iter()
        .any(|run| matches!(text(run, "status"), "FAILED" | "STOPPED"));
    let whole = runs.iter().all(|run| text(run, "status") == "SUCCEEDED");
    Ok(if whole {
        DONE
    } else if failed {
        FAILED
    } else {
        INCOMPLETE
    })
}

async fn send_and_wait(
    api: &Api,
    files: &[walk::Found],
    readers: &[String],
) -> Result<Vec<Value>, Failure> {
    let bar = output::progress(files.len() as u64, "uploading");
    let uploads: Vec<_> = files.iter().map(|file| api.upload(file, readers)).collect();
    let mut uploads = stream::iter(uploads).buffered(UPLOADS_IN_FLIGHT);
    let mut ids = Vec::with_capacity(files.len());
    while let Some(id) = uploads.next().await {
        ids.push(id?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    ingest_documents(api, &ids).await
}

/// Starts runs over uploaded documents, one after the other, and waits for their ends.
pub async fn ingest_documents(api: &Api, ids: &[String]) -> Result<Vec<Value>, Failure> {
    let mut runs = Vec::new();
    for chunk in ids.chunks(RUN_DOCUMENTS) {
        let body = json!({ "space": api.space, "documents": chunk });
        let started = api.post("/v1/runs", &body).await?;
        runs.push(wait(api, text(&started, "run_id")).await?);
    }
    Ok(runs)
}

async fn wait(api: &Api, run_id: &str) -> Result<Value, Failure> {
    let bar = output::progress(1, "ingesting");
    loop {
        let run = api.get(&format!("/v1/runs/{run_id}")).await?;
        let counts = &run["counts"];
        let count = |field: &str| counts[field].as_u64().unwrap_or_default();
        bar.set_length(count("planned").max(1));
        bar.set_position(count("planned") - count("pending").min(count("planned")));
        if !matches!(text(&run, "status"), "QUEUED" | "RUNNING") {
            bar.finish_and_clear();
            return Ok(run);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A run's status, its counts, and each document that did not get through.
fn run_report(run: &Value) -> String {
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
    if run["more_failures"] == true {
        report.push_str("… and more; `outcrop documents` shows every status\n");
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

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

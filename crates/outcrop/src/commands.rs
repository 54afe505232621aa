//! The commands: each speaks HTTP to an instance, a running one or one of its own.

use std::time::Duration;

use futures_util::StreamExt;
use local::gateway::{TokenError, Tokens};
use serde_json::{Value, json};

use crate::arguments::{
    AskArguments, Cli, Command, Connection, DevArguments, DocumentsArguments, RunsArguments,
    SearchArguments, TokenArguments,
};
use crate::client::{Api, Failure, problem_line};
use crate::dev::{self, Embedded};
use crate::intake::{self, run_report};
use crate::orders;
use crate::output::{self, DONE, FAILED, INCOMPLETE};
use crate::sse;
use crate::{answers, cost, eval, models, source, space, sync, tickets};

const DEFAULT_URL: &str = "http://127.0.0.1:8787";

/// Runs a command to its exit code.
pub async fn run(cli: Cli) -> u8 {
    let ended = match cli.command.unwrap_or(Command::Dev(DevArguments::default())) {
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Ingest(arguments) => intake::ingest(arguments).await,
        Command::Sync(arguments) => sync::run(arguments).await,
        Command::Ask(arguments) => ask(arguments).await,
        Command::Answers(arguments) => answers::show(arguments).await,
        Command::Search(arguments) => search(arguments).await,
        Command::Runs(arguments) => runs(arguments).await,
        Command::Redrive(arguments) => intake::redrive(arguments).await,
        Command::Documents(arguments) => documents(arguments).await,
        Command::Source(arguments) => source::run(arguments).await,
        Command::Space(arguments) => space::run(arguments).await,
        Command::Token(arguments) => token(&arguments),
        Command::Orders(arguments) => orders::run(arguments).await,
        Command::Tickets(arguments) => tickets::tickets(arguments).await,
        Command::Flags(arguments) => tickets::flags(arguments).await,
        Command::Audit(arguments) => tickets::audit(arguments).await,
        Command::Models(arguments) => models::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Cost(arguments) => cost::run(arguments).await,
    };
    ended.unwrap_or_else(|Failure(words)| {
        output::error_line(&words);
        FAILED
    })
}

/// An instance to speak to, and the one of our own that must be ended after.
pub struct Session {
    pub api: Api,
    pub embedded: Option<Embedded>,
}

impl Session {
    pub async fn open(connection: &Connection) -> Result<Self, Failure> {
        let url = connection.url.as_deref();
        let token = connection.token.as_deref();
        let api = Api::new(url.unwrap_or(DEFAULT_URL), &connection.space)?.with_token(token);
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
        let api = Api::new(&embedded.api, &connection.space)?.with_token(token);
        Ok(Self {
            api,
            embedded: Some(embedded),
        })
    }

    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

async fn ask(arguments: AskArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let asked = answer(&session.api, &arguments).await;
    session.close().await;
    asked
}

async fn answer(api: &Api, arguments: &AskArguments) -> Result<u8, Failure> {
    let conversation = arguments.conversation.as_deref();
    let asked = api.ask(&arguments.question, conversation).await?;
    let mut body = asked.bytes_stream();
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
        output::json(&whole);
    } else {
        output::line("");
        output::piece(&citations(api, &whole));
        if let Some(words) = answers::unsupported(&whole) {
            output::note(&words);
        }
        if let Some(words) = answers::not_reranked(&whole) {
            output::note(&words);
        }
        if let Some(id) = whole["conversation_id"].as_str() {
            output::note(&format!("go on with --conversation {id}"));
        }
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
        let page = citation["page"].as_u64();
        let page = page.map_or_else(String::new, |page| format!(", page {page}"));
        lines.push_str(&format!("\n{marker} {title}{page}: \"{quote}\"\n"));
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
        output::json(&found);
        return Ok(DONE);
    }
    if let Some(words) = answers::not_reranked(&found) {
        output::note(&words);
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

/// Prints a token; nothing else goes to the output, so that a shell can take it.
fn token(arguments: &TokenArguments) -> Result<u8, Failure> {
    let failed = |error: TokenError| Failure(error.to_string());
    let tokens = Tokens::open(&arguments.data).map_err(failed)?;
    let lifetime = Duration::from_secs(arguments.hours * 3600);
    let now_ms = aws::clock::now_ms();
    let token = tokens
        .issue(&arguments.user, &arguments.groups, lifetime, now_ms)
        .map_err(failed)?;
    output::line(&token);
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
        output::json(&found);
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
        None => all_documents(&session.api, arguments.status.as_deref()).await,
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json || arguments.document_id.is_some() {
        output::json(&found);
    } else {
        let columns = [
            "document_id",
            "status",
            "passages",
            "attempts",
            "name",
            "reason",
        ];
        output::piece(&listing(&found["documents"], &columns));
    }
    Ok(DONE)
}

async fn all_documents(api: &Api, status: Option<&str>) -> Result<Value, Failure> {
    let status = status.map_or_else(String::new, |status| format!("&status={status}"));
    let mut documents = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/v1/documents?space={}&limit=200{status}{cursor}",
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

pub fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub fn listing(rows: &Value, columns: &[&str]) -> String {
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

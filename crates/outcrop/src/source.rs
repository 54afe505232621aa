//! `outcrop source`: where the documents of a space come from besides its own bucket.

use serde_json::{Value, json};

use crate::arguments::{SourceArguments, SourceCommand, SourceKind};
use crate::client::Failure;
use crate::commands::{Session, encoded, listing, text};
use crate::output::{self, DONE};

/// Runs the command to its exit code.
pub async fn run(arguments: SourceArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let sources = format!(
        "/v1/spaces/{}/sources",
        encoded(&arguments.connection.space)
    );
    let one = |name: &str| format!("{sources}/{}", encoded(name));
    let found = match &arguments.command {
        SourceCommand::List => session.api.get(&sources).await,
        SourceCommand::Set {
            name,
            readers,
            kind,
        } => {
            let form = json!({ "source": setting(kind), "readers": readers });
            session.api.change(&one(name), &form).await
        }
        SourceCommand::Remove { name } => session.api.delete(&one(name)).await,
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::json(&found);
        return Ok(DONE);
    }
    match &arguments.command {
        SourceCommand::List => output::piece(&listing(&rows(&found), &COLUMNS)),
        SourceCommand::Set { name, kind, .. } => {
            output::note(&format!(
                "{name} is set; `outcrop sync` brings its documents"
            ));
            if !matches!(kind, SourceKind::S3 { .. }) {
                output::note(
                    "its own permissions are not taken over: its readers read all that it gives",
                );
            }
        }
        SourceCommand::Remove { name } => {
            output::note(&format!(
                "{name} is removed; the next `outcrop sync` takes its documents out"
            ));
        }
    }
    Ok(DONE)
}

const COLUMNS: [&str; 6] = ["name", "kind", "documents", "failed", "error", "last_run"];

fn rows(found: &Value) -> Value {
    let sources = found["sources"].as_array().into_iter().flatten();
    let rows: Vec<Value> = sources
        .map(|source| {
            let last = &source["last"];
            json!({
                "name": source["name"],
                "kind": text(&source["source"], "kind"),
                "documents": last["documents"],
                "failed": last["failed"],
                "error": last["error"],
                "last_run": last["run_id"],
            })
        })
        .collect();
    json!(rows)
}

/// The setting as the API takes it.
fn setting(kind: &SourceKind) -> Value {
    match kind {
        SourceKind::S3 { bucket, prefix } => {
            json!({ "kind": "s3", "bucket": bucket, "prefix": prefix })
        }
        SourceKind::Website {
            start,
            no_sitemap,
            depth,
            pages,
            pause_ms,
        } => json!({
            "kind": "website", "start": start, "sitemap": !no_sitemap, "depth": depth, "pages": pages, "pause_ms": pause_ms,
        }),
        SourceKind::Confluence {
            url,
            secret,
            spaces,
        } => json!({ "kind": "confluence", "url": url, "secret": secret, "spaces": spaces }),
        SourceKind::Sharepoint {
            site,
            secret,
            graph,
            login,
        } => {
            json!({ "kind": "sharepoint", "site": site, "secret": secret, "graph": graph, "login": login })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Cli, Command};

    #[test]
    fn arguments_become_settings() {
        let check = |line: &str, expected: Value| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(Command::Source(arguments)) = cli.command else {
                panic!("{line}")
            };
            let SourceCommand::Set { kind, .. } = arguments.command else {
                panic!("{line}")
            };
            assert_eq!(setting(&kind), expected, "{line}");
        };
        check(
            "outcrop source set a s3 bucket --prefix docs/",
            json!({"kind": "s3", "bucket": "bucket", "prefix": "docs/"}),
        );
        check(
            "outcrop source set a --readers everyone website https://example.com/ --no-sitemap --pages 5",
            json!({"kind": "website", "start": ["https://example.com/"], "sitemap": false, "depth": 5, "pages": 5, "pause_ms": 500}),
        );
        check(
            "outcrop source set a --readers everyone confluence https://example.atlassian.net --secret wiki --spaces ENG,OPS",
            json!({"kind": "confluence", "url": "https://example.atlassian.net", "secret": "wiki", "spaces": ["ENG", "OPS"]}),
        );
    }
}

//! `outcrop sync`: brings a space to what its source holds, or says what that would change.

use serde_json::{Value, json};

use crate::arguments::SyncArguments;
use crate::client::{Api, Failure};
use crate::commands::{Session, encoded, listing, text};
use crate::intake::{self, run_report};
use crate::output;

/// Runs the command to its exit code.
pub async fn run(arguments: SyncArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let ended = sync(&session, &arguments).await;
    session.close().await;
    let (run, changes) = ended?;
    if arguments.connection.json {
        output::json(&json!({ "run": run, "changes": changes }));
    } else {
        if let Some(changes) = &changes {
            let columns = ["change", "name", "renamed_from", "document_id"];
            output::piece(&listing(changes, &columns));
        }
        output::piece(&run_report(&run));
    }
    Ok(intake::exit_code(&[run], 0))
}

/// The run, and what it would change where it changed nothing.
async fn sync(
    session: &Session,
    arguments: &SyncArguments,
) -> Result<(Value, Option<Value>), Failure> {
    let body = json!({
        "space": session.api.space,
        "dry_run": arguments.dry_run,
        "allow_deletions": arguments.allow_deletions,
    });
    let run = intake::run_alone(session, &body).await?;
    let braked = text(&run, "error") == "BrakePulled";
    let changes = if arguments.dry_run || braked {
        Some(changes(&session.api, text(&run, "run_id")).await?)
    } else {
        None
    };
    Ok((run, changes))
}

async fn changes(api: &Api, run_id: &str) -> Result<Value, Failure> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/runs/{}/changes?limit=1000{cursor}", encoded(run_id));
        let mut page = api.get(&path).await?;
        if let Some(list) = page["changes"].as_array_mut() {
            all.append(list);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(json!(all)),
        }
    }
}

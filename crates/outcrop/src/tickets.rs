//! `outcrop tickets`, `outcrop flags` and `outcrop audit`: what agents leave to people.

use serde_json::{Value, json};

use crate::arguments::{AuditArguments, Connection, FlagsArguments, TicketsArguments};
use crate::client::{Api, Failure};
use crate::commands::{Session, encoded, listing, text};
use crate::output::{self, DONE};

pub async fn tickets(arguments: TicketsArguments) -> Result<u8, Failure> {
    let session = Session::open(&arguments.connection).await?;
    let found = match &arguments.ticket_id {
        Some(id) => ticket(&session.api, id, &arguments).await,
        None => {
            let status = arguments.status.as_deref().map(str::to_uppercase);
            let status = status.map_or(String::new(), |status| format!("&status={status}"));
            all(&session.api, &format!("/v1/tickets?limit=200{status}")).await
        }
    };
    session.close().await;
    let found = found?;
    if arguments.connection.json {
        output::json(&found);
    } else if arguments.ticket_id.is_some() {
        output::piece(&whole(&found));
    } else {
        let columns = ["ticket_id", "status", "priority", "created_at", "subject"];
        output::piece(&listing(&found["items"], &columns));
    }
    Ok(DONE)
}

/// Changes the ticket as the arguments say, and reads it.
async fn ticket(api: &Api, id: &str, arguments: &TicketsArguments) -> Result<Value, Failure> {
    let path = format!("/v1/tickets/{}", encoded(id));
    if let Some(status) = &arguments.set {
        let seen = api.get(&path).await?;
        let body = json!({"status": status.to_uppercase(), "version": seen["version"]});
        api.change(&path, &body).await?;
    }
    if let Some(note) = &arguments.note {
        api.post(&format!("{path}/notes"), &json!({ "text": note }))
            .await?;
    }
    api.get(&path).await
}

fn whole(ticket: &Value) -> String {
    let mut lines = vec![
        format!(
            "{}  {}  {}",
            text(ticket, "ticket_id"),
            text(ticket, "status"),
            text(ticket, "subject")
        ),
        format!(
            "made by {}, {}",
            maker(&ticket["made_by"]),
            text(ticket, "created_at")
        ),
    ];
    if let Some(order) = ticket["order_number"].as_str() {
        lines.push(format!("about order {order}"));
    }
    lines.push(String::new());
    lines.push(text(ticket, "description").to_owned());
    for note in ticket["notes"].as_array().into_iter().flatten() {
        lines.push(String::new());
        lines.push(format!(
            "note by {}, {}",
            maker(&note["made_by"]),
            text(note, "created_at")
        ));
        lines.push(text(note, "text").to_owned());
    }
    lines.join("\n") + "\n"
}

/// `person user:ada`, or `agent outcrop-support for user:ada`.
fn maker(made_by: &Value) -> String {
    let kind = text(made_by, "kind");
    let on_behalf_of = made_by["on_behalf_of"].as_str();
    match (made_by["agent"].as_str(), on_behalf_of) {
        (Some(agent), Some(user)) => format!("{kind} {agent} for {user}"),
        (Some(agent), None) => format!("{kind} {agent}"),
        (None, Some(user)) => format!("{kind} {user}"),
        (None, None) => kind.to_owned(),
    }
}

pub async fn flags(arguments: FlagsArguments) -> Result<u8, Failure> {
    let columns = ["created_at", "document_id", "reason", "detail"];
    show(&arguments.connection, "/v1/flags?limit=200", &columns).await
}

pub async fn audit(arguments: AuditArguments) -> Result<u8, Failure> {
    let day = arguments.day.as_deref();
    let day = day.map_or(String::new(), |day| format!("&day={}", encoded(day)));
    let columns = ["created_at", "action", "made", "made_by"];
    let path = format!("/v1/audit?limit=200{day}");
    show(&arguments.connection, &path, &columns).await
}

async fn show(connection: &Connection, path: &str, columns: &[&str]) -> Result<u8, Failure> {
    let session = Session::open(connection).await?;
    let found = all(&session.api, path).await;
    session.close().await;
    let mut found = found?;
    if connection.json {
        output::json(&found);
        return Ok(DONE);
    }
    for item in found["items"].as_array_mut().into_iter().flatten() {
        item["made_by"] = json!(maker(&item["made_by"]));
    }
    output::piece(&listing(&found["items"], columns));
    Ok(DONE)
}

/// All pages of a list as one.
async fn all(api: &Api, path: &str) -> Result<Value, Failure> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{path}&space={}{cursor}", encoded(&api.space));
        let mut page = api.get(&path).await?;
        if let Some(list) = page["items"].as_array_mut() {
            items.append(list);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => return Ok(json!({ "items": items })),
        }
    }
}

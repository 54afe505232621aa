//! What agents leave to people, at the door: tickets, notes, flags and the audit trail, for the admins of a space.

use std::process::Command;

use serde_json::{Value, json};

use crate::access::Caller;
use crate::agent_calls::{Form, LOCAL, done, publish};
use crate::instance::{Instance, Reply};
use crate::lambda_binaries::host;
use crate::limits::begin_of_a_minute;

fn refused(reply: &Reply, status: u16, name: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.body["name"].as_str()),
        (status, Some(name)),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn people_read_what_agents_wrote_and_move_it_on() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let document = publish(&instance, "marmots.txt", "Marmots sleep.", &["everyone"]).await;
    let mut opened = Vec::new();
    for number in 0..3 {
        let ticket = json!({"subject": format!("Lamp {number}"), "description": "It came broken.", "tags": ["lamp"]});
        let made = done(
            &host,
            Form::Function,
            "create_support_ticket",
            &ticket,
            LOCAL,
        )
        .await;
        opened.push(made["ticket_id"].as_str().unwrap().to_owned());
    }
    let about = json!({"about": opened[0], "text": "The user called again."});
    done(&host, Form::Function, "add_note", &about, LOCAL).await;
    let flag =
        json!({"document_id": document, "reason": "outdated", "detail": "They wake in March."});
    done(&host, Form::Function, "flag_document", &flag, LOCAL).await;

    let listed = async |path: &str| -> Vec<Value> {
        let reply = instance.get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["items"].as_array().unwrap().clone()
    };
    let ids = |items: &[Value]| -> Vec<String> {
        let ids = items
            .iter()
            .map(|item| item["ticket_id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let newest_first: Vec<String> = opened.iter().rev().cloned().collect();
    assert_eq!(ids(&listed("/v1/tickets").await), newest_first);
    // A page at a time says the same.
    let first = instance.get("/v1/tickets?limit=2").await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = listed(&format!("/v1/tickets?limit=2&cursor={cursor}")).await;
    assert_eq!(ids(&rest), newest_first[2..]);

    let path = format!("/v1/tickets/{}", opened[0]);
    let ticket = instance.get(&path).await.body;
    assert_eq!(
        (&ticket["status"], &ticket["version"]),
        (&json!("OPEN"), &json!(1))
    );
    assert_eq!(ticket["made_by"]["kind"], "agent");
    assert_eq!(ticket["made_by"]["on_behalf_of"], "user:local");
    assert!(ticket["made_by"].get("session").is_none());
    assert_eq!(ticket["notes"][0]["text"], "The user called again.");

    let owner = Caller::owner(&instance);
    let change = |status: &str, version: u64| json!({"status": status, "version": version});
    let closed = owner.send("PUT", &path, Some(&change("CLOSED", 1))).await;
    assert_eq!(
        (&closed.body["status"], &closed.body["version"]),
        (&json!("CLOSED"), &json!(2))
    );
    refused(
        &owner.send("PUT", &path, Some(&change("OPEN", 1))).await,
        409,
        "TicketChanged",
    );
    refused(
        &owner.send("PUT", &path, Some(&change("SOLVED", 2))).await,
        400,
        "InvalidRequest",
    );
    assert_eq!(
        ids(&listed("/v1/tickets?status=OPEN").await),
        newest_first[..2]
    );
    refused(
        &instance.get("/v1/tickets?status=NEW").await,
        400,
        "InvalidRequest",
    );

    let notes = format!("{path}/notes");
    let note = instance
        .post(&notes, &json!({"text": "Sent a new one."}))
        .await;
    assert_eq!(
        (note.status.as_u16(), &note.body["made_by"]["kind"]),
        (201, &json!("person"))
    );
    refused(
        &instance.post(&notes, &json!({"text": " "})).await,
        400,
        "InvalidRequest",
    );
    // The agent reads what the person did, and cannot undo it.
    let asked = json!({"ticket_id": opened[0]});
    let read = done(&host, Form::Function, "get_support_ticket", &asked, LOCAL).await;
    assert_eq!(
        (&read["status"], &read["notes"][0]["made_by"]),
        (&json!("CLOSED"), &json!("person"))
    );

    let flags = listed("/v1/flags").await;
    assert_eq!(
        (flags.len(), &flags[0]["document_id"]),
        (1, &json!(document))
    );
    let entries = listed("/v1/audit").await;
    let actions: Vec<&str> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let ticket = "create_support_ticket";
    assert_eq!(
        actions,
        ["flag_document", "add_note", ticket, ticket, ticket]
    );
    let first = instance.get("/v1/audit?limit=3").await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(
        listed(&format!("/v1/audit?limit=3&cursor={cursor}")).await,
        entries[3..]
    );
    assert!(listed("/v1/audit?day=2020-02-03").await.is_empty());
    refused(
        &instance.get("/v1/audit?day=yesterday").await,
        400,
        "InvalidRequest",
    );
    refused(
        &instance.get("/v1/audit?cursor=zzz").await,
        400,
        "InvalidCursor",
    );
    refused(
        &instance.get("/v1/flags?cursor=zzz").await,
        400,
        "InvalidCursor",
    );
    refused(
        &instance.get("/v1/tickets?cursor=zzz").await,
        400,
        "InvalidCursor",
    );
}

#[tokio::test]
async fn only_admins_see_them() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let words = json!({"subject": "Secret lamp", "description": "It came broken."});
    let made = done(
        &host,
        Form::Function,
        "create_support_ticket",
        &words,
        LOCAL,
    )
    .await;
    let ticket = format!("/v1/tickets/{}", made["ticket_id"].as_str().unwrap());
    let owner = Caller::owner(&instance);
    let roles = json!({"reader": ["group:staff"], "editor": ["user:ed"], "admin": ["user:ann"]});
    owner.set_roles("default", roles).await;
    let lists = ["/v1/tickets", "/v1/flags", "/v1/audit"];
    let note = json!({"text": "Mine."});
    let change = json!({"status": "CLOSED", "version": 1});
    for (user, groups) in [("rita", &["staff"][..]), ("ed", &[])] {
        let caller = Caller::user(&instance, user, groups);
        for path in lists.iter().copied().chain([ticket.as_str()]) {
            refused(&caller.send("GET", path, None).await, 403, "RoleRequired");
        }
        refused(
            &caller.send("PUT", &ticket, Some(&change)).await,
            403,
            "RoleRequired",
        );
        let notes = format!("{ticket}/notes");
        refused(
            &caller.send("POST", &notes, Some(&note)).await,
            403,
            "RoleRequired",
        );
    }
    let outsider = Caller::user(&instance, "eve", &[]);
    for path in lists {
        refused(&outsider.send("GET", path, None).await, 404, "UnknownSpace");
    }
    refused(
        &outsider.send("GET", &ticket, None).await,
        404,
        "TicketNotFound",
    );
    refused(
        &outsider.send("GET", "/v1/tickets/nowhere.t1", None).await,
        404,
        "TicketNotFound",
    );
    refused(
        &outsider.send("GET", "/v1/tickets/x", None).await,
        404,
        "TicketNotFound",
    );
    let admin = Caller::user(&instance, "ann", &[]);
    let seen = admin.send("GET", &ticket, None).await;
    assert_eq!(seen.body["subject"], "Secret lamp");
    refused(
        &admin.send("GET", "/v1/tickets/default.t1", None).await,
        404,
        "TicketNotFound",
    );
    // Changes are counted among the requests of a minute, reading is not.
    let limits = json!({"limits": {"caller_per_minute": 1}});
    let set = owner.send("PUT", "/v1/spaces/default", Some(&limits)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    begin_of_a_minute().await;
    let notes = format!("{ticket}/notes");
    assert_eq!(admin.send("POST", &notes, Some(&note)).await.status, 201);
    refused(
        &admin.send("POST", &notes, Some(&note)).await,
        429,
        "RateLimited",
    );
    refused(
        &admin.send("PUT", &ticket, Some(&change)).await,
        429,
        "RateLimited",
    );
    assert_eq!(
        admin.send("GET", &ticket, None).await.body["status"],
        "OPEN"
    );
}

#[tokio::test]
async fn the_command_line_shows_and_changes_tickets() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let words = json!({"subject": "Lamp is broken", "description": "It came broken."});
    let made = done(
        &host,
        Form::Function,
        "create_support_ticket",
        &words,
        LOCAL,
    )
    .await;
    let id = made["ticket_id"].as_str().unwrap();
    let outcrop = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_outcrop"))
            .args(arguments)
            .args(["--url", &instance.api])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = outcrop(&["tickets", "--status", "open"]);
    assert!(
        listed.contains(id) && listed.contains("Lamp is broken"),
        "{listed}"
    );
    let shown = outcrop(&[
        "tickets",
        id,
        "--set",
        "closed",
        "--note",
        "Sent a new one.",
    ]);
    assert!(
        shown.contains("CLOSED") && shown.contains("note by person user:local"),
        "{shown}"
    );
    assert!(!outcrop(&["tickets", "--status", "open"]).contains(id));
    let audit = outcrop(&["audit"]);
    assert!(
        audit.contains("create_support_ticket") && audit.contains("for user:local"),
        "{audit}"
    );
    assert_eq!(
        outcrop(&["flags", "--json"])
            .trim()
            .replace([' ', '\n'], ""),
        r#"{"items":[]}"#
    );
}

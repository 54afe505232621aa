//! What agents write: once, within limits, on record, never over what stands.

use std::collections::{BTreeMap, BTreeSet};

use aws::dynamo::keys::{self, ENTRY_PREFIX, NOTE_PREFIX};
use knowledge::actions::{AuditRow, Made, NoteRow, TicketRow};
use serde_json::{Value, json};

use crate::agent_calls::{FORMS, Form, LOCAL, Told, Who, call, done, publish};
use crate::instance::Instance;
use crate::lambda_binaries::{host, host_with};

/// The instance's own table.
fn table(instance: &Instance) -> aws::dynamo::Table {
    instance.services().table
}

fn today() -> String {
    aws::clock::rfc3339(aws::clock::now_ms())[..10].to_owned()
}

async fn notes(instance: &Instance, about: &str) -> Vec<NoteRow> {
    let partition = keys::about_partition(about);
    table(instance)
        .query_all(&partition, NOTE_PREFIX)
        .await
        .unwrap()
}

async fn audit(instance: &Instance) -> Vec<AuditRow> {
    let partition = keys::audit_partition("default", &today());
    table(instance)
        .query_all(&partition, ENTRY_PREFIX)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_same_call_writes_once_in_every_form() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let document = publish(&instance, "a.txt", "Marmots sleep.", &["everyone"]).await;
    for (number, form) in FORMS.into_iter().enumerate() {
        let arguments = json!({"about": document, "text": format!("note {number}")});
        let first = done(&host, form, "add_note", &arguments, LOCAL).await;
        let second = done(&host, form, "add_note", &arguments, LOCAL).await;
        assert_eq!(
            (&first["repeated"], &second["repeated"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(first["note_id"], second["note_id"], "{form:?}");
        let other = json!({"about": document, "text": format!("note {number}, another")});
        let other = done(&host, form, "add_note", &other, LOCAL).await;
        assert_ne!(first["note_id"], other["note_id"], "{form:?}");
    }
    assert_eq!(notes(&instance, &document).await.len(), 10);
    let recorded = audit(&instance).await;
    assert_eq!(recorded.len(), 10);
    let vias: BTreeSet<&str> = recorded
        .iter()
        .filter_map(|entry| entry.made_by.via.as_deref())
        .collect();
    assert_eq!(vias.len(), 5, "{vias:?}");
    for entry in &recorded {
        let now = aws::clock::now_ms() / 1000;
        assert!(entry.expires_at > now + 80 * 24 * 3600 && entry.expires_at < now + 91 * 24 * 3600);
        let vouched = entry.made_by.on_behalf_of.as_deref();
        let gateway = entry.made_by.via.as_deref() == Some("agentcore-gateway");
        assert_eq!(vouched, (!gateway).then_some("user:local"));
    }
}

#[tokio::test]
async fn another_session_or_user_writes_its_own() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let arguments = json!({"subject": "Lamp is broken", "description": "It is."});
    let mut ids = BTreeSet::new();
    let whos = [
        LOCAL,
        Who {
            session: "session-2",
            ..LOCAL
        },
        Who {
            user: Some("eve"),
            ..LOCAL
        },
        Who {
            user: None,
            ..LOCAL
        },
    ];
    for who in whos {
        let made = done(
            &host,
            Form::Function,
            "create_support_ticket",
            &arguments,
            who,
        )
        .await;
        let id = made["ticket_id"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{who:?}");
        let read = json!({"ticket_id": id});
        for reader in whos {
            let told = call(&host, Form::Function, "get_support_ticket", &read, reader).await;
            let may = match who.user {
                Some(user) => reader.user == Some(user),
                None => reader.user.is_none(),
            };
            assert_eq!(
                matches!(told, Told::Done(_)),
                may,
                "{who:?} {reader:?}: {told:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_people_wrote_stays_as_it_is() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let person = Made {
        kind: "person".into(),
        agent: None,
        via: None,
        on_behalf_of: Some("user:local".into()),
        session: None,
    };
    let ticket = TicketRow {
        ticket_id: "default.tperson".into(),
        space: "default".into(),
        status: "WAITING".into(),
        subject: "Lamp".into(),
        description: "By a person.".into(),
        priority: "normal".into(),
        tags: Vec::new(),
        order_number: None,
        made_by: person.clone(),
        created_at_ms: 1,
        version: 3,
    };
    let note = NoteRow {
        note_id: "00person".into(),
        about: ticket.ticket_id.clone(),
        text: "By a person too.".into(),
        made_by: person,
        created_at_ms: 1,
    };
    let table = table(&instance);
    table
        .put(&keys::ticket(&ticket.ticket_id), &ticket)
        .await
        .unwrap();
    table
        .put(&keys::note(&note.about, &note.note_id), &note)
        .await
        .unwrap();
    let arguments = json!({"about": ticket.ticket_id, "text": "By an agent."});
    done(&host, Form::Api, "add_note", &arguments, LOCAL).await;
    let read = json!({"ticket_id": ticket.ticket_id});
    let read = done(&host, Form::Api, "get_support_ticket", &read, LOCAL).await;
    let by: Vec<&Value> = read["notes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| &note["made_by"])
        .collect();
    assert_eq!(by, ["agent", "person"]);
    let stored: Option<TicketRow> = table.get(&keys::ticket(&ticket.ticket_id)).await.unwrap();
    assert_eq!(stored, Some(ticket));
    assert!(notes(&instance, &note.about).await.contains(&note));
}

/// 1,000 calls at once: five sessions of one user, forty different notes in each, each called five times. Of the 200
/// notes the sessions' limit lets 150 through, and the user's 120 of those.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_keep_every_promise() {
    const SESSIONS: usize = 5;
    const NOTES: usize = 40;
    const TIMES: usize = 5;
    let instance = Instance::start().await;
    let limits = [
        ("OUTCROP_SESSION_WRITES", "30"),
        ("OUTCROP_PRINCIPAL_WRITES", "120"),
    ];
    let host = host_with(&instance, &limits, 16);
    let document = publish(&instance, "a.txt", "Marmots sleep.", &["everyone"]).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..SESSIONS * NOTES * TIMES {
        let (host, document) = (host.clone(), document.clone());
        let session = format!("session-{}", number % SESSIONS);
        let text = format!("note {}", number / SESSIONS % NOTES);
        calls.spawn(async move {
            let who = Who {
                user: Some("ada"),
                session: &session,
            };
            let arguments = json!({"about": document, "text": text});
            let told = call(&host, Form::Function, "add_note", &arguments, who).await;
            ((session, text), told)
        });
    }
    let mut made: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let (mut fresh, mut limited, mut busy) = (0, 0, 0);
    while let Some(ended) = calls.join_next().await {
        let (key, told) = ended.unwrap();
        match told {
            Told::Done(output) => {
                fresh += usize::from(output["repeated"] == false);
                let id = output["note_id"].as_str().unwrap().to_owned();
                made.entry(key).or_default().insert(id);
            }
            Told::Mend(name) => {
                assert_eq!(name, "WriteLimitReached");
                limited += 1;
            }
            // Met others again and again: nothing was written, and the reply says to try again.
            Told::Failed(name) => {
                assert!(
                    matches!(name.as_str(), "WriteConflict" | "ServiceBusy"),
                    "{name}"
                );
                busy += 1;
            }
        }
    }
    let stored = notes(&instance, &document).await;
    let recorded = audit(&instance).await;
    assert_eq!(
        stored.len(),
        fresh,
        "each answered write is a row, and each row was answered"
    );
    assert_eq!(
        fresh, 120,
        "the limits are held to the unit; limited {limited}, busy {busy}"
    );
    assert_eq!(made.len(), 120);
    assert!(
        made.values().all(|ids| ids.len() == 1),
        "one call, one note: {made:?}"
    );
    let of = |session: usize| {
        let session = format!("session-{session}");
        made.keys().filter(|(of, _)| *of == session).count()
    };
    assert!((0..SESSIONS).all(|session| of(session) <= 30));
    let rows: BTreeSet<&str> = stored.iter().map(|note| note.note_id.as_str()).collect();
    let entries: BTreeSet<&str> = recorded.iter().map(|entry| entry.made.as_str()).collect();
    assert_eq!(
        rows, entries,
        "the record is complete and holds nothing else"
    );
    assert_eq!(recorded.len(), 120);
}

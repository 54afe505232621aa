//! Each action in each wire form, through the function's own binary.

use std::collections::BTreeSet;

use knowledge::actions::ALL;
use serde_json::{Value, json};

use crate::agent_calls::{FORMS, Form, LOCAL, Who, done, invoke, publish};
use crate::instance::Instance;
use crate::lambda_binaries::{host, root};

const TEXT: &str = "Marmots sleep through the winter. They wake in April.";

/// What each action is called with, and where in its output which value must stand.
fn table(document: &str, ticket: &str) -> Vec<(&'static str, Value, &'static str, Value)> {
    let filter = json!({"equals": {"key": "team", "value": "blue"}});
    vec![
        (
            "search_knowledge",
            json!({"query": "marmots winter", "mode": "lexical", "limit": 3}),
            "/passages/0/document_id",
            json!(document),
        ),
        (
            "search_knowledge",
            json!({"query": "marmots winter", "filter": filter}),
            "/passages",
            json!([]),
        ),
        (
            "ask_knowledge",
            json!({"question": "When do marmots sleep?"}),
            "/citations/0/document_id",
            json!(document),
        ),
        (
            "get_document",
            json!({"document_id": document}),
            "/text",
            json!(TEXT),
        ),
        (
            "list_documents",
            json!({"limit": 5}),
            "/documents/0/document_id",
            json!(document),
        ),
        (
            "flag_document",
            json!({"document_id": document, "reason": "outdated", "detail": "They wake in March now.", "confidence": 0.5}),
            "/document_id",
            json!(document),
        ),
        (
            "get_order_status",
            json!({"order_number": "1001"}),
            "/items/0/quantity",
            json!(2),
        ),
        (
            "create_support_ticket",
            json!({"subject": "Lamp is broken", "description": "It came \"broken\", {sadly}.", "priority": "high", "order_number": "1001", "tags": ["lamp", "damage"]}),
            "/status",
            json!("OPEN"),
        ),
        (
            "get_support_ticket",
            json!({"ticket_id": ticket, "include_notes": true}),
            "/tags",
            json!(["lamp"]),
        ),
        (
            "add_note",
            json!({"about": ticket, "text": "The user called again."}),
            "/about",
            json!(ticket),
        ),
    ]
}

async fn with_orders(instance: &Instance) {
    let order = json!({
        "number": "1001", "status": "shipped", "readers": ["everyone"],
        "items": [{"name": "Lamp", "quantity": 2}],
    });
    let reply = instance
        .post("/v1/orders", &json!({"orders": [order]}))
        .await;
    assert_eq!(
        (reply.status.as_u16(), &reply.body["stored"]),
        (200, &json!(1))
    );
}

#[tokio::test]
async fn every_action_answers_in_every_form() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let document = publish(&instance, "marmots.txt", TEXT, &["everyone"]).await;
    with_orders(&instance).await;
    let opened = json!({"subject": "Another", "description": "Words.", "tags": ["lamp"]});
    let mut covered = BTreeSet::new();
    for form in FORMS {
        let ticket = done(&host, form, "create_support_ticket", &opened, LOCAL).await;
        let ticket = ticket["ticket_id"].as_str().unwrap();
        for (action, arguments, pointer, expected) in table(&document, ticket) {
            let output = done(&host, form, action, &arguments, LOCAL).await;
            assert_eq!(
                output.pointer(pointer),
                Some(&expected),
                "{form:?} {action}: {output}"
            );
            covered.insert(action);
        }
        let read = json!({"ticket_id": ticket});
        let read = done(&host, form, "get_support_ticket", &read, LOCAL).await;
        assert_eq!(read["notes"][0]["made_by"], "agent", "{form:?}");
        assert_eq!(read["notes"][0]["text"], "The user called again.");
    }
    let declared: BTreeSet<&str> = ALL.iter().map(|action| action.name).collect();
    assert_eq!(covered, declared);
}

#[tokio::test]
async fn only_the_trusted_part_of_a_form_opens_documents() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let public = publish(&instance, "public.txt", TEXT, &["everyone"]).await;
    let private = publish(&instance, "private.txt", "Voles dig. Marmots watch.", &[]).await;
    let nobody = Who {
        user: None,
        ..LOCAL
    };
    let stranger = Who {
        user: Some("eve"),
        ..LOCAL
    };
    for form in FORMS {
        let check = async |who: Who<'_>, expected: &[&String]| {
            let listed = done(&host, form, "list_documents", &json!({}), who).await;
            let mut ids: Vec<&str> = listed["documents"]
                .as_array()
                .unwrap()
                .iter()
                .map(|document| document["document_id"].as_str().unwrap())
                .collect();
            ids.sort_unstable();
            let mut expected: Vec<&str> = expected.iter().map(|id| id.as_str()).collect();
            expected.sort_unstable();
            assert_eq!(ids, expected, "{form:?} {who:?}");
            let found = json!({"query": "voles marmots"});
            let found = done(&host, form, "search_knowledge", &found, who).await;
            let found: BTreeSet<&str> = found["passages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|passage| passage["document_id"].as_str().unwrap())
                .collect();
            assert_eq!(
                found.into_iter().collect::<Vec<_>>(),
                expected,
                "{form:?} {who:?}"
            );
        };
        check(nobody, &[&public]).await;
        check(stranger, &[&public]).await;
        match form {
            Form::Gateway => check(LOCAL, &[&public]).await,
            _ => check(LOCAL, &[&public, &private]).await,
        }
    }
}

#[tokio::test]
async fn the_sample_events_are_answered() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let document = publish(&instance, "marmots.txt", TEXT, &["everyone"]).await;
    let sample = |name: &str| -> Value {
        let file = root().join("events/agent-action").join(name);
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    for (name, form) in [
        ("api-search.json", Form::Api),
        ("function-search.json", Form::Function),
        ("converse-search.json", Form::Converse),
        ("mcp-search.json", Form::Mcp),
    ] {
        let reply = invoke(&host, &sample(name), None).await.unwrap();
        let told = format!("{:?}", form.read(&reply));
        assert!(told.contains(&document), "{name}: {told}");
    }
    let context = json!({"custom": {"bedrockAgentCoreToolName": "outcrop___search_knowledge"}});
    let reply = invoke(&host, &sample("gateway-search.json"), Some(&context))
        .await
        .unwrap();
    assert_eq!(reply["passages"][0]["document_id"], json!(document));
    let reply = invoke(&host, &sample("api-ticket.json"), None)
        .await
        .unwrap();
    assert_eq!(reply["response"]["httpStatusCode"], 200, "{reply}");
    let reply = invoke(&host, &sample("function-missing-parameter.json"), None)
        .await
        .unwrap();
    assert_eq!(
        reply["response"]["functionResponse"]["responseState"],
        "REPROMPT"
    );
    let reply = invoke(&host, &sample("mcp-initialize.json"), None)
        .await
        .unwrap();
    let body: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["result"]["protocolVersion"], "2025-06-18", "{body}");
    let error = invoke(&host, &sample("unsupported.json"), None)
        .await
        .unwrap_err();
    assert_eq!(error["errorType"], "UnsupportedEvent");
}

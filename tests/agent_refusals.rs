//! What goes wrong, told in each form's own way, through the function's own binary.

use local::lambda::Invocation;
use serde_json::{Value, json};

use crate::agent_calls::{FORMS, Form, LOCAL, Told, call, done, invoke, publish};
use crate::instance::Instance;
use crate::lambda_binaries::{host, host_with, root};

/// The ceiling of a reply, in bytes. Source: Amazon Bedrock User Guide, Lambda response of action groups.
const REPLY_BYTES: usize = 25_000;

#[tokio::test]
async fn what_can_be_mended_is_asked_for_again() {
    let instance = Instance::start().await;
    let host = host(&instance);
    publish(&instance, "marmots.txt", "Marmots sleep.", &["everyone"]).await;
    let ticket = json!({"subject": "Lamp", "description": "Broken.", "tags": [["nested"]]});
    let table = [
        ("drop_table", json!({}), "UnknownAction"),
        ("search_knowledge", json!({}), "ArgumentMissing"),
        (
            "search_knowledge",
            json!({"query": "a", "limit": "many"}),
            "ArgumentWrongType",
        ),
        (
            "search_knowledge",
            json!({"query": "a", "limit": 51}),
            "ArgumentWrongType",
        ),
        (
            "search_knowledge",
            json!({"query": "a", "limit": {"$gt": 0}}),
            "ArgumentWrongType",
        ),
        (
            "search_knowledge",
            json!({"query": "a", "filter": "everything"}),
            "ArgumentWrongType",
        ),
        (
            "search_knowledge",
            json!({"query": "a", "space": "legal"}),
            "ArgumentUnknown",
        ),
        (
            "search_knowledge",
            json!({"query": "a", "cursor": "elsewhere"}),
            "InvalidCursor",
        ),
        ("ask_knowledge", json!({"question": "  "}), "EmptyQuestion"),
        (
            "get_document",
            json!({"document_id": "default.0"}),
            "DocumentNotFound",
        ),
        (
            "get_document",
            json!({"document_id": "../../etc/passwd"}),
            "DocumentNotFound",
        ),
        (
            "get_order_status",
            json!({"order_number": "A#1"}),
            "OrderNotFound",
        ),
        (
            "get_support_ticket",
            json!({"ticket_id": "default.t0"}),
            "TicketNotFound",
        ),
        ("create_support_ticket", ticket, "ArgumentWrongType"),
        (
            "add_note",
            json!({"about": "default.0", "text": "a"}),
            "DocumentNotFound",
        ),
        (
            "flag_document",
            json!({"document_id": "default.0", "reason": "boring", "detail": "a"}),
            "ArgumentWrongType",
        ),
    ];
    for form in FORMS {
        for (action, arguments, expected) in &table {
            let told = call(&host, form, action, arguments, LOCAL).await;
            let expected = Told::Mend((*expected).to_owned());
            assert_eq!(told, expected, "{form:?} {action} {arguments}");
        }
    }
}

/// Text is never looked into: it can neither add an argument nor end one.
#[tokio::test]
async fn json_in_a_text_stays_text() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let injected = "x\", \"priority\": \"urgent\", \"tags\": [\"a\"], \"y\": \"{admin=true}";
    for form in FORMS {
        let arguments = json!({"subject": "Lamp", "description": injected});
        let made = done(&host, form, "create_support_ticket", &arguments, LOCAL).await;
        let read = json!({"ticket_id": made["ticket_id"]});
        let read = done(&host, form, "get_support_ticket", &read, LOCAL).await;
        assert_eq!(read["description"], injected, "{form:?}");
        assert_eq!(read["priority"], "normal");
        assert!(read.get("tags").is_none());
    }
}

#[tokio::test]
async fn a_parameter_given_twice_is_not_chosen_from() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let (mut event, _) = Form::Function.event("search_knowledge", &json!({"query": "a"}), LOCAL);
    let twice = json!({"name": "query", "type": "string", "value": "b"});
    event["parameters"].as_array_mut().unwrap().push(twice);
    let reply = invoke(&host, &event, None).await.unwrap();
    assert_eq!(
        Form::Function.read(&reply),
        Told::Mend("ArgumentGivenTwice".into())
    );
}

#[tokio::test]
async fn a_long_document_comes_in_parts_that_fit() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let line = "Marmots say \"hello\\world\" in the \u{e4}ther \u{1f9ab}.\n";
    let text = line.repeat(1_200);
    let id = publish(&instance, "long.txt", &text, &["everyone"]).await;
    for form in FORMS {
        let mut arguments = json!({"document_id": id});
        let (mut whole, mut parts) = (String::new(), 0);
        loop {
            let (event, context) = form.event("get_document", &arguments, LOCAL);
            let reply = invoke(&host, &event, context.as_ref()).await.unwrap();
            let Told::Done(output) = form.read(&reply) else {
                panic!("{form:?}: {reply}")
            };
            // What wraps MCP's result is the protocol's and API Gateway's.
            let reply = if form == Form::Mcp {
                reply["body"].as_str().unwrap().to_owned()
            } else {
                reply.to_string()
            };
            let ceiling = if form == Form::Mcp {
                REPLY_BYTES + 100
            } else {
                REPLY_BYTES
            };
            assert!(reply.len() <= ceiling, "{form:?}: {} bytes", reply.len());
            whole.push_str(output["text"].as_str().unwrap());
            parts += 1;
            let Some(next) = output.get("next_cursor") else {
                break;
            };
            assert!(output["note"].as_str().unwrap().contains("next_cursor"));
            arguments["cursor"] = next.clone();
        }
        assert!(whole.trim_end() == text.trim_end(), "{form:?}");
        assert!((3..=12).contains(&parts), "{form:?}: {parts} parts");
    }
}

#[tokio::test]
async fn many_passages_come_in_pages_that_fit() {
    let instance = Instance::start().await;
    let host = host(&instance);
    for number in 0..20 {
        let text = format!(
            "Marmots {number}. {}",
            "The marmot \"sleeps\" in winter.\n".repeat(60)
        );
        publish(&instance, &format!("{number}.txt"), &text, &["everyone"]).await;
    }
    let mut arguments = json!({"query": "marmots", "mode": "lexical", "limit": 20});
    let mut seen = 0;
    loop {
        let (event, _) = Form::Function.event("search_knowledge", &arguments, LOCAL);
        let reply = invoke(&host, &event, None).await.unwrap();
        assert!(reply.to_string().len() <= REPLY_BYTES);
        let Told::Done(output) = Form::Function.read(&reply) else {
            panic!("{reply}")
        };
        seen += output["passages"].as_array().unwrap().len();
        let Some(next) = output.get("next_cursor") else {
            break;
        };
        arguments["cursor"] = next.clone();
        assert!(seen < 200, "the pages do not end");
    }
    assert!(seen >= 20, "{seen}");
}

#[tokio::test]
async fn a_broken_dependency_is_told_as_one() {
    let instance = Instance::start().await;
    let host = host(&instance);
    publish(
        &instance,
        "marmots.txt",
        "Marmots sleep in winter.",
        &["everyone"],
    )
    .await;
    let fault: Value =
        json!({"operation": "ConverseStream", "error": "ServiceUnavailableException"});
    instance.fault(&fault).await;
    for form in FORMS {
        let arguments = json!({"question": "When do marmots sleep?"});
        let told = call(&host, form, "ask_knowledge", &arguments, LOCAL).await;
        assert_eq!(told, Told::Failed("ModelUnavailable".into()), "{form:?}");
    }
}

/// RFC 9728: a client without a token is told where to get one, and gets nothing else.
#[tokio::test]
async fn mcp_says_where_tokens_come_from() {
    let instance = Instance::start().await;
    let issuer = "https://idp.example.com/pool";
    let host = host_with(&instance, &[("OUTCROP_OAUTH_ISSUER", issuer)], 1);
    let event = |edit: &dyn Fn(&mut Value)| {
        let path = root().join("events/agent-action/mcp-initialize.json");
        let mut event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        edit(&mut event);
        event
    };
    let answer = async |event: Value| {
        let reply = host.invoke("outcrop-agent-action", event.to_string().into());
        match reply.await.unwrap() {
            Invocation::Reply(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap(),
            failed => panic!("{failed:?}"),
        }
    };
    let known = answer(event(&|_| ())).await;
    assert_eq!(known["statusCode"], 200, "{known}");
    let refused = answer(event(&|event| {
        event["requestContext"]["authorizer"] = json!(null)
    }))
    .await;
    assert_eq!(refused["statusCode"], 401);
    let body: Value = serde_json::from_str(refused["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["name"], "OAuthRequired");
    let metadata = "https://example.execute-api.us-east-1.amazonaws.com/live/.well-known/oauth-protected-resource";
    let challenge = refused["headers"]["www-authenticate"].as_str();
    assert_eq!(
        challenge.unwrap(),
        format!("Bearer resource_metadata=\"{metadata}\"")
    );
    let told = answer(event(&|event| {
        for field in ["path", "resource"] {
            event[field] = json!("/.well-known/oauth-protected-resource");
        }
        event["httpMethod"] = json!("GET");
        event["requestContext"]["authorizer"] = json!(null);
    }))
    .await;
    let body: Value = serde_json::from_str(told["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "resource": "https://example.execute-api.us-east-1.amazonaws.com/live/mcp",
            "authorization_servers": [issuer],
            "bearer_methods_supported": ["header"],
        })
    );
}

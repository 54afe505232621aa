//! Agents at work, on the wire: traces, citations, actions, control that returns, and supervisors. The functions and
//! the knowledge base are stubs; the model is the local one.
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;

use super::*;
use crate::bedrock::AgentServices;
use crate::lambda::{Invocation, InvokeError};

pub(super) const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:agent-action";
const INSTRUCTION: &str =
    "You help the customers of a lighthouse shop with orders and documentation.";
const HANDBOOK: &str = "The keeper climbs one hundred stairs. The lamp burns whale oil all night.";

/// What functions were invoked with.
pub(super) type Events = Arc<Mutex<Vec<Value>>>;

/// An emulator with a stub function and a stub knowledge base; `reply` makes the function's reply from its event.
pub(super) fn emulator(
    folder: &std::path::Path,
    reply: fn(&Value) -> Result<Vec<u8>, Vec<u8>>,
) -> (Router, Events) {
    emulator_with(super::settings(), folder, reply)
}

/// As [`emulator`], with other settings.
pub(super) fn emulator_with(
    settings: Settings,
    folder: &std::path::Path,
    reply: fn(&Value) -> Result<Vec<u8>, Vec<u8>>,
) -> (Router, Events) {
    let events: Events = Arc::default();
    let seen = events.clone();
    let services = AgentServices {
        invoke_lambda: Arc::new(move |name, payload| {
            let event: Value = serde_json::from_slice(&payload).expect("an event");
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event.clone());
            let invoked = match (name == FUNCTION, reply(&event)) {
                (false, _) => Err(InvokeError::NotFound { name }),
                (true, Ok(bytes)) => Ok(Invocation::Reply(bytes.into())),
                (true, Err(bytes)) => Ok(Invocation::FunctionError(bytes.into())),
            };
            async move { invoked }.boxed()
        }),
        read_object: Arc::new(|bucket, key| {
            let found = (bucket == "schemas" && key == "orders.json")
                .then(|| Bytes::from(openapi().to_string()));
            async move { Ok(found) }.boxed()
        }),
        retrieve: Some(Arc::new(|id, body| {
            assert_eq!(id, "HANDBOOK01");
            let results =
                body["retrievalConfiguration"]["vectorSearchConfiguration"]["numberOfResults"]
                    .clone();
            let reply = json!({"retrievalResults": [{
                "content": {"type": "TEXT", "text": HANDBOOK}, "score": 1.0, "metadata": {"asked": results},
                "location": {"type": "S3", "s3Location": {"uri": "s3://handbook/lighthouse.md"}},
            }]});
            async move { Ok(reply) }.boxed()
        })),
    };
    let bedrock = Bedrock::open(settings)
        .expect("an emulator")
        .with_agents(folder, services)
        .expect("a folder");
    (router(bedrock), events)
}

fn openapi() -> Value {
    json!({"openapi": "3.0.1", "info": {"title": "Tickets", "version": "1"}, "paths": {
        "/tickets/{ticket_id}/notes": {"post": {
            "operationId": "addNote", "description": "Adds a note to a support ticket",
            "parameters": [{"name": "ticket_id", "in": "path", "required": true, "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["text"],
                "properties": {"text": {"type": "string"}, "urgent": {"type": "boolean"}}}}}},
            "responses": {"200": {"description": "The note"}}}}}})
}

fn function_reply(event: &Value, response: Value) -> Vec<u8> {
    let reply = json!({"messageVersion": "1.0", "response": {
        "actionGroup": event["actionGroup"], "function": event["function"], "functionResponse": response}});
    reply.to_string().into_bytes()
}

/// Tells the status of every order.
pub(super) fn shipped(event: &Value) -> Result<Vec<u8>, Vec<u8>> {
    let order = event["parameters"][0]["value"].clone();
    let body = json!({"order_id": order, "status": "shipped"}).to_string();
    Ok(function_reply(
        event,
        json!({"responseBody": {"TEXT": {"body": body}}}),
    ))
}

pub(super) async fn ok(app: &Router, method: &str, path: &str, body: Value) -> Value {
    let reply = call(app, method, path, body.to_string()).await;
    assert!(
        reply.status.is_success(),
        "{method} {path}: {:?}",
        reply.body
    );
    if reply.body.is_empty() {
        Value::Null
    } else {
        reply.json()
    }
}

pub(super) fn orders(executor: Value) -> Value {
    json!({"actionGroupName": "orders", "actionGroupExecutor": executor, "functionSchema": {"functions": [{
        "name": "get_order_status", "description": "Status of an order: where it is and when it arrives",
        "parameters": {"order_id": {"type": "string", "required": true, "description": "Number of the order"}}}]}})
}

fn lambda() -> Value {
    json!({"lambda": FUNCTION})
}

/// Creates an agent; its id.
pub(super) async fn create(app: &Router, name: &str, more: Value) -> String {
    let mut body = json!({"agentName": name, "instruction": INSTRUCTION, "foundationModel": MODEL});
    body.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    let agent = ok(app, "PUT", "/agents/", body).await;
    agent["agent"]["agentId"]
        .as_str()
        .expect("an id")
        .to_owned()
}

pub(super) async fn with_group(app: &Router, id: &str, group: Value) {
    ok(
        app,
        "PUT",
        &format!("/agents/{id}/agentversions/DRAFT/actiongroups/"),
        group,
    )
    .await;
}

pub(super) async fn with_handbook(app: &Router, id: &str) {
    let body =
        json!({"knowledgeBaseId": "HANDBOOK01", "description": "Handbook of the lighthouse"});
    ok(
        app,
        "PUT",
        &format!("/agents/{id}/agentversions/DRAFT/knowledgebases/"),
        body,
    )
    .await;
}

pub(super) async fn prepare(app: &Router, id: &str) {
    let reply = ok(app, "POST", &format!("/agents/{id}/"), json!({})).await;
    assert_eq!(reply["agentStatus"], "PREPARED");
}

pub(super) async fn alias(app: &Router, id: &str) -> String {
    let reply = ok(
        app,
        "PUT",
        &format!("/agents/{id}/agentaliases/"),
        json!({"agentAliasName": "live"}),
    )
    .await;
    reply["agentAlias"]["agentAliasArn"]
        .as_str()
        .expect("an ARN")
        .to_owned()
}

/// The frames of an invocation: (message type, event or exception type, payload).
pub(super) type Frames = Vec<(String, String, Value)>;

pub(super) async fn invoke(app: &Router, id: &str, session: &str, body: Value) -> Frames {
    let path = format!("/agents/{id}/agentAliases/TSTALIASID/sessions/{session}/text");
    let reply = post(app, &path, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    decode(&reply.body)
}

pub(super) async fn ask(app: &Router, id: &str, text: &str) -> Frames {
    invoke(
        app,
        id,
        "session-1",
        json!({"inputText": text, "enableTrace": true}),
    )
    .await
}

/// The text of the answer, and its attribution.
pub(super) fn answer(frames: &Frames) -> (String, Value) {
    use base64::Engine as _;
    let (_, kind, payload) = frames.last().expect("a frame");
    assert_eq!(kind, "chunk", "{payload}");
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(payload["bytes"].as_str().expect("bytes"));
    let text = String::from_utf8(bytes.expect("base64")).expect("text");
    (text, payload["attribution"]["citations"].clone())
}

/// The members of `orchestrationTrace` by name, with those of collaborators marked.
fn traces(frames: &Frames) -> Vec<String> {
    let parts = frames
        .iter()
        .filter(|(_, kind, _)| kind == "trace")
        .map(|(_, _, payload)| payload);
    let name = |part: &Value| {
        let who = part["collaboratorName"]
            .as_str()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let (kind, trace) = part["trace"]
            .as_object()
            .and_then(|trace| trace.iter().next())
            .expect("one member");
        let (member, what) = trace
            .as_object()
            .and_then(|trace| trace.iter().next())
            .expect("one member");
        let kind = if kind == "orchestrationTrace" {
            String::new()
        } else {
            format!("{kind} ")
        };
        let detail = what["invocationType"]
            .as_str()
            .or(what["type"].as_str())
            .unwrap_or_default();
        format!("{who}{kind}{member} {detail}").trim().to_owned()
    };
    parts.map(name).collect()
}

#[tokio::test]
async fn an_action_and_a_lookup_answer_one_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, orders(lambda())).await;
    with_handbook(&app, &id).await;
    prepare(&app, &id).await;

    let body = json!({
        "inputText": "Where is my order ORD-1001, and how many stairs does the keeper climb?", "enableTrace": true,
        "sessionState": {"sessionAttributes": {"principal": "ada"}, "promptSessionAttributes": {"day": "Monday"}},
    });
    let frames = invoke(&app, &id, "session-1", body).await;
    let (text, citations) = answer(&frames);
    assert_eq!(
        text,
        "Order id: ORD-1001. Status: shipped.\n\nThe keeper climbs one hundred stairs."
    );
    let part = &citations[0]["generatedResponsePart"]["textResponsePart"];
    assert_eq!(part["text"], "The keeper climbs one hundred stairs.");
    assert_eq!(part["span"], json!({"start": 38, "end": 74}));
    let reference = &citations[0]["retrievedReferences"][0];
    assert_eq!(reference["content"]["text"], HANDBOOK);
    assert_eq!(
        reference["location"]["s3Location"]["uri"],
        "s3://handbook/lighthouse.md"
    );
    let expected = [
        "modelInvocationInput ORCHESTRATION",
        "modelInvocationOutput",
        "invocationInput ACTION_GROUP",
        "observation ACTION_GROUP",
        "invocationInput KNOWLEDGE_BASE",
        "observation KNOWLEDGE_BASE",
        "modelInvocationInput ORCHESTRATION",
        "modelInvocationOutput",
        "observation FINISH",
    ];
    assert_eq!(traces(&frames), expected);
    let events = events.lock().expect("events").clone();
    let expected = json!([{
        "messageVersion": "1.0", "agent": {"name": "shop", "id": id, "alias": "TSTALIASID", "version": "DRAFT"},
        "inputText": "Where is my order ORD-1001, and how many stairs does the keeper climb?", "sessionId": "session-1",
        "actionGroup": "orders", "function": "get_order_status",
        "parameters": [{"name": "order_id", "type": "string", "value": "ORD-1001"}],
        "sessionAttributes": {"principal": "ada"}, "promptSessionAttributes": {"day": "Monday"},
    }]);
    assert_eq!(json!(events), expected);
}

#[tokio::test]
async fn what_is_missing_is_asked_for_and_then_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, orders(lambda())).await;
    prepare(&app, &id).await;
    let (text, _) = answer(&ask(&app, &id, "Where is my order?").await);
    assert_eq!(text, "I still need the order id (Number of the order).");
    let (text, _) = answer(&ask(&app, &id, "It is 77777.").await);
    assert_eq!(text, "Order id: 77777. Status: shipped.");
    assert_eq!(events.lock().expect("events").len(), 1);

    let end = invoke(&app, &id, "session-1", json!({"endSession": true})).await;
    assert_eq!(
        answer(&end).0,
        "Session is terminated as 'endSession' flag is set in request."
    );
    let (text, _) = answer(&ask(&app, &id, "It is 77777.").await);
    assert!(
        !text.contains("shipped"),
        "a new session knows nothing of the old one: {text}"
    );
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, orders(lambda())).await;
    with_handbook(&app, &id).await;
    prepare(&app, &id).await;
    let body = json!({"inputText": "How many stairs does the keeper climb? Where is order ORD-2?",
        "streamingConfigurations": {"streamFinalResponse": true},
        "sessionState": {"knowledgeBaseConfigurations": [{"knowledgeBaseId": "HANDBOOK01",
            "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 9}}}]}});
    let frames = invoke(&app, &id, "session-1", body).await;
    assert_eq!(kinds(&frames), ["chunk"], "no trace was enabled");
    let first = &frames[0].2["attribution"]["citations"][0];
    assert_eq!(first["retrievedReferences"][0]["metadata"]["asked"], 9);
    assert_eq!(
        first["generatedResponsePart"]["textResponsePart"]["span"]["start"],
        0
    );
}

#[tokio::test]
async fn a_failing_action_ends_the_turn_by_name() {
    type Reply = fn(&Value) -> Result<Vec<u8>, Vec<u8>>;
    let cases: [(Reply, &str); 8] = [
        (
            |event| {
                Ok(function_reply(
                    event,
                    json!({"responseState": "FAILURE", "responseBody": {"TEXT": {"body": "the store is down"}}}),
                ))
            },
            "reported a failure: the store is down",
        ),
        (
            |_| Err(br#"{"errorType": "Panic", "errorMessage": "out of oil"}"#.to_vec()),
            "failed: out of oil",
        ),
        (|_| Ok(b"{}".to_vec()), "missing field `messageVersion`"),
        (|_| Ok(b"ok".to_vec()), "is not valid"),
        (
            |event| {
                Ok(function_reply(
                    event,
                    json!({"responseBody": {"TEXT": {"body": "x".repeat(26_000)}}}),
                ))
            },
            "at most 25600 (25 KB)",
        ),
        (
            |event| Ok(function_reply(event, json!({"responseBody": {}}))),
            "without responseBody.TEXT",
        ),
        (
            |event| {
                let mut other = event.clone();
                other["function"] = json!("another");
                Ok(function_reply(
                    &other,
                    json!({"responseBody": {"TEXT": {"body": ""}}}),
                ))
            },
            "answered for another action",
        ),
        (
            |event| {
                let reply = function_reply(event, json!({"responseBody": {"TEXT": {"body": ""}}}));
                Ok(String::from_utf8(reply)
                    .expect("text")
                    .replace("1.0", "2.0")
                    .into_bytes())
            },
            "messageVersion 2.0",
        ),
    ];
    for (reply, words) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let (app, _) = emulator(folder.path(), reply);
        let id = create(&app, "shop", json!({})).await;
        with_group(&app, &id, orders(lambda())).await;
        prepare(&app, &id).await;
        let frames = ask(&app, &id, "Where is my order ORD-1?").await;
        let (kind, name, payload) = frames.last().expect("a frame");
        assert_eq!(
            (kind.as_str(), name.as_str()),
            ("exception", "dependencyFailedException"),
            "{payload}"
        );
        let message = payload["message"].as_str().expect("a message");
        assert!(
            message.contains(words) && message.contains(FUNCTION),
            "{words}: {message}"
        );
        assert_eq!(
            traces(&frames).last().map(String::as_str),
            Some("failureTrace traceId")
        );
    }
}

#[tokio::test]
async fn a_reprompt_and_an_api_error_go_to_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), |event| {
        let body = json!({"TEXT": {"body": "There is no such order. Which one do you mean?"}});
        Ok(function_reply(
            event,
            json!({"responseState": "REPROMPT", "responseBody": body}),
        ))
    });
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, orders(lambda())).await;
    prepare(&app, &id).await;
    let frames = ask(&app, &id, "Where is my order ORD-1?").await;
    assert_eq!(
        answer(&frames).0,
        "There is no such order. Which one do you mean?"
    );
    assert!(traces(&frames).contains(&"observation REPROMPT".to_owned()));
}

#[tokio::test]
async fn an_api_operation_is_called_with_its_body() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), |event| {
        let reply = json!({"messageVersion": "1.0", "sessionAttributes": {"seen": "yes"}, "response": {
            "actionGroup": event["actionGroup"], "apiPath": event["apiPath"], "httpMethod": event["httpMethod"],
            "httpStatusCode": 200, "responseBody": {"application/json": {"body": "{\"note\": \"added\"}"}}}});
        Ok(reply.to_string().into_bytes())
    });
    let id = create(&app, "shop", json!({})).await;
    let group = json!({"actionGroupName": "tickets", "actionGroupExecutor": lambda(),
        "apiSchema": {"s3": {"s3BucketName": "schemas", "s3ObjectKey": "orders.json"}}});
    with_group(&app, &id, group).await;
    prepare(&app, &id).await;
    let frames = ask(&app, &id, "Add a note to ticket T-12: the lamp is broken").await;
    assert_eq!(answer(&frames).0, "Note: added.");
    ask(&app, &id, "Add a note to ticket T-13: the oil is gone").await;
    let events = events.lock().expect("events").clone();
    assert_eq!(events[0]["apiPath"], "/tickets/{ticket_id}/notes");
    assert_eq!(events[0]["httpMethod"], "POST");
    assert_eq!(
        events[0]["parameters"],
        json!([{"name": "ticket_id", "type": "string", "value": "T-12"}])
    );
    let properties = json!([{"name": "text", "type": "string", "value": "Add a note to ticket T-12: the lamp is broken"}]);
    assert_eq!(
        events[0]["requestBody"],
        json!({"content": {"application/json": {"properties": properties}}})
    );
    assert_eq!(events[0]["sessionAttributes"], json!({}));
    assert_eq!(
        events[1]["sessionAttributes"],
        json!({"seen": "yes"}),
        "the function's attributes are kept"
    );
}

fn control(frames: &Frames) -> Value {
    let (_, kind, payload) = frames.last().expect("a frame");
    assert_eq!(kind, "returnControl", "{payload}");
    payload.clone()
}

#[tokio::test]
async fn the_caller_does_what_returns_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(
        &app,
        &id,
        orders(json!({"customControl": "RETURN_CONTROL"})),
    )
    .await;
    prepare(&app, &id).await;
    let returned = control(&ask(&app, &id, "Where is my order ORD-1?").await);
    let input = &returned["invocationInputs"][0]["functionInvocationInput"];
    assert_eq!(input["function"], "get_order_status");
    assert_eq!(input["actionInvocationType"], "RESULT");
    assert_eq!(input["parameters"][0]["value"], "ORD-1");

    let result = |body: &str, more: Value| {
        let mut result = json!({"actionGroup": "orders", "function": "get_order_status", "responseBody": {"TEXT": {"body": body}}});
        result
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!({"functionResult": result})
    };
    let bring = |invocation: Value, result: Value| json!({"sessionState": {"invocationId": invocation, "returnControlInvocationResults": [result]}});
    let wrong = invoke(
        &app,
        &id,
        "session-1",
        bring(json!("another"), result("", json!({}))),
    )
    .await;
    assert_eq!(wrong.last().expect("a frame").1, "validationException");
    let right = bring(
        returned["invocationId"].clone(),
        result("It is at sea.", json!({})),
    );
    let frames = invoke(&app, &id, "session-1", right.clone()).await;
    assert_eq!(answer(&frames).0, "It is at sea.");
    let again = invoke(&app, &id, "session-1", right).await;
    assert_eq!(
        again.last().expect("a frame").1,
        "validationException",
        "a result counts once"
    );

    let returned = control(&ask(&app, &id, "Where is my order ORD-1?").await);
    let failed = bring(
        returned["invocationId"].clone(),
        result("no ship", json!({"responseState": "FAILURE"})),
    );
    let frames = invoke(&app, &id, "session-1", failed).await;
    assert_eq!(
        frames.last().expect("a frame").1,
        "dependencyFailedException"
    );
    assert!(events.lock().expect("events").is_empty());
}

fn confirmed() -> Value {
    let mut group = orders(lambda());
    group["functionSchema"]["functions"][0]["requireConfirmation"] = json!("ENABLED");
    group
}

fn verdict(returned: &Value, state: &str) -> Value {
    json!({"sessionState": {"invocationId": returned["invocationId"], "returnControlInvocationResults": [
        {"functionResult": {"actionGroup": "orders", "function": "get_order_status", "confirmationState": state}}]}})
}

#[tokio::test]
async fn a_function_waits_for_the_users_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    with_group(&app, &id, confirmed()).await;
    prepare(&app, &id).await;
    let returned = control(&ask(&app, &id, "Where is my order ORD-1?").await);
    let kind = &returned["invocationInputs"][0]["functionInvocationInput"]["actionInvocationType"];
    assert_eq!(kind, "USER_CONFIRMATION");
    let frames = invoke(&app, &id, "session-1", verdict(&returned, "DENY")).await;
    assert_eq!(
        answer(&frames).0,
        "The user denied get_order_status; it was not done."
    );
    assert!(events.lock().expect("events").is_empty());
    let returned = control(&ask(&app, &id, "Where is my order ORD-1?").await);
    let frames = invoke(&app, &id, "session-1", verdict(&returned, "CONFIRM")).await;
    assert_eq!(answer(&frames).0, "Order id: ORD-1. Status: shipped.");
    assert_eq!(events.lock().expect("events").len(), 1);
}

/// A supervisor of an agent for orders and one for the handbook; its id.
async fn supervisor(app: &Router, kind: &str, group: Value) -> String {
    let clerk = create(app, "clerk", json!({})).await;
    with_group(app, &clerk, group).await;
    let librarian = create(app, "librarian", json!({})).await;
    with_handbook(app, &librarian).await;
    let id = create(app, "lead", json!({"agentCollaboration": kind})).await;
    let parts = [
        (&clerk, "order-agent", "Use it for the status of orders"),
        (
            &librarian,
            "knowledge-agent",
            "Use it for questions about the documentation",
        ),
    ];
    for (agent, name, instruction) in parts {
        prepare(app, agent).await;
        let arn = alias(app, agent).await;
        let body = json!({"agentDescriptor": {"aliasArn": arn}, "collaboratorName": name, "collaborationInstruction": instruction});
        ok(
            app,
            "PUT",
            &format!("/agents/{id}/agentversions/DRAFT/agentcollaborators/"),
            body,
        )
        .await;
    }
    prepare(app, &id).await;
    id
}

#[tokio::test]
async fn a_supervisor_combines_what_its_collaborators_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, events) = emulator(folder.path(), shipped);
    let id = supervisor(&app, "SUPERVISOR", orders(lambda())).await;
    let body = json!({
        "inputText": "Where is my order ORD-1001, and how many stairs does the keeper climb?", "enableTrace": true,
        "sessionState": {"sessionAttributes": {"principal": "ada"}},
    });
    let frames = invoke(&app, &id, "session-1", body).await;
    let (text, citations) = answer(&frames);
    assert_eq!(
        text,
        "Order id: ORD-1001. Status: shipped.\n\nThe keeper climbs one hundred stairs."
    );
    assert_eq!(
        citations[0]["generatedResponsePart"]["textResponsePart"]["span"],
        json!({"start": 38, "end": 74})
    );
    assert_eq!(
        citations[0]["retrievedReferences"][0]["content"]["text"],
        HANDBOOK
    );
    let traces = traces(&frames);
    for expected in [
        "invocationInput AGENT_COLLABORATOR",
        "order-agent: invocationInput ACTION_GROUP",
        "knowledge-agent: observation KNOWLEDGE_BASE",
        "observation AGENT_COLLABORATOR",
        "observation FINISH",
    ] {
        assert!(
            traces.contains(&expected.to_owned()),
            "{expected}: {traces:?}"
        );
    }
    let below = frames
        .iter()
        .find(|(_, _, payload)| payload["collaboratorName"] == "order-agent");
    assert_eq!(
        below.expect("a trace").2["callerChain"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let events = events.lock().expect("events").clone();
    assert_eq!(events[0]["sessionAttributes"], json!({"principal": "ada"}));
    assert_eq!(events[0]["inputText"], "Where is my order ORD-1001");
}

#[tokio::test]
async fn a_router_sends_a_simple_request_straight_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = supervisor(&app, "SUPERVISOR_ROUTER", orders(lambda())).await;
    let frames = ask(&app, &id, "How many stairs does the keeper climb?").await;
    let (text, citations) = answer(&frames);
    assert_eq!(text, "The keeper climbs one hundred stairs.");
    assert_eq!(
        citations[0]["retrievedReferences"][0]["content"]["text"],
        HANDBOOK
    );
    let routed = traces(&frames);
    assert_eq!(
        routed[0],
        "routingClassifierTrace modelInvocationInput ROUTING_CLASSIFIER"
    );
    assert!(
        !routed.contains(&"modelInvocationInput ORCHESTRATION".to_owned()),
        "{routed:?}"
    );
    let both = ask(
        &app,
        &id,
        "Where is my order ORD-3, and how many stairs does the keeper climb?",
    )
    .await;
    assert!(answer(&both).0.contains("shipped") && answer(&both).0.contains("stairs"));
    assert!(traces(&both).contains(&"modelInvocationInput ORCHESTRATION".to_owned()));
}

#[tokio::test]
async fn a_collaborators_question_to_the_user_reaches_the_caller() {
    for kind in ["SUPERVISOR", "SUPERVISOR_ROUTER"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (app, events) = emulator(folder.path(), shipped);
        let id = supervisor(&app, kind, confirmed()).await;
        let returned = control(&ask(&app, &id, "Where is my order ORD-9?").await);
        let input = &returned["invocationInputs"][0]["functionInvocationInput"];
        assert_eq!(input["collaboratorName"], "order-agent");
        assert!(events.lock().expect("events").is_empty());
        let frames = invoke(&app, &id, "session-1", verdict(&returned, "CONFIRM")).await;
        assert_eq!(answer(&frames).0, "Order id: ORD-9. Status: shipped.");
        assert_eq!(events.lock().expect("events").len(), 1);
    }
}

#[tokio::test]
async fn a_model_that_fails_is_told_of_in_the_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let id = create(&app, "shop", json!({})).await;
    prepare(&app, &id).await;
    let fault = json!({"operation": "Converse", "error": "ThrottlingException", "times": 1});
    let armed = call_local(&app, fault).await;
    assert_eq!(armed, StatusCode::OK);
    let frames = ask(&app, &id, "hello").await;
    assert_eq!(frames.last().expect("a frame").1, "throttlingException");
    assert_eq!(
        ask(&app, &id, "hello").await.last().expect("a frame").1,
        "chunk"
    );
}

fn generate(more: Value) -> Value {
    let mut base = json!({"knowledgeBaseId": "HANDBOOK01", "modelArn": MODEL});
    base.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    json!({"input": {"text": "How many stairs does the keeper climb?"},
        "retrieveAndGenerateConfiguration": {"type": "KNOWLEDGE_BASE", "knowledgeBaseConfiguration": base}})
}

#[tokio::test]
async fn retrieve_and_generate_answers_with_citations() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let search =
        json!({"retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 7}}});
    let reply = ok(&app, "POST", "/retrieveAndGenerate", generate(search)).await;
    assert_eq!(
        reply["output"]["text"],
        "The keeper climbs one hundred stairs."
    );
    let citation = &reply["citations"][0];
    assert_eq!(
        citation["generatedResponsePart"]["textResponsePart"]["span"],
        json!({"start": 0, "end": 36})
    );
    assert_eq!(
        citation["retrievedReferences"][0]["content"]["text"],
        HANDBOOK
    );
    assert_eq!(citation["retrievedReferences"][0]["metadata"]["asked"], 7);
    let mut again = generate(json!({"generationConfiguration": {
        "guardrailConfiguration": {"guardrailId": "outcrop-default", "guardrailVersion": "1"},
        "inferenceConfig": {"textInferenceConfig": {"maxTokens": 3}}}}));
    again["sessionId"] = reply["sessionId"].clone();
    let cut = ok(&app, "POST", "/retrieveAndGenerate/", again).await;
    assert_eq!(cut["guardrailAction"], "NONE");
    assert_eq!(cut["sessionId"], reply["sessionId"]);
    assert!("The keeper climbs".starts_with(cut["output"]["text"].as_str().expect("text")));
}

#[tokio::test]
async fn what_retrieve_and_generate_has_not_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = emulator(folder.path(), shipped);
    let external = json!({"input": {"text": "a"}, "retrieveAndGenerateConfiguration": {"type": "EXTERNAL_SOURCES"}});
    let mut long = generate(json!({}));
    long["input"]["text"] = json!("x".repeat(1001));
    for (body, words) in [
        (external, "EXTERNAL_SOURCES is not supported"),
        (
            generate(json!({"orchestrationConfiguration": {}})),
            "orchestrationConfiguration is not supported",
        ),
        (
            generate(json!({"generationConfiguration": {"promptTemplate": {}}})),
            "promptTemplate is not supported",
        ),
        (
            generate(json!({"modelArn": "no.model"})),
            "model identifier is invalid",
        ),
        (long, "1 to 1000 characters, not 1001"),
    ] {
        let reply = post(&app, "/retrieveAndGenerate", body).await;
        assert_eq!(
            (reply.status, reply.error.as_str()),
            (StatusCode::BAD_REQUEST, "ValidationException")
        );
        let message = reply.json()["message"]
            .as_str()
            .expect("a message")
            .to_owned();
        assert!(message.contains(words), "{words}: {message}");
    }
}

async fn call_local(app: &Router, fault: Value) -> StatusCode {
    post(app, "/_local/faults", fault).await.status
}

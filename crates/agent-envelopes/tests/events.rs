//! Events in the shapes that AWS documents and that public event collections hold, and the replies to them.

use std::collections::BTreeMap;

use agent_envelopes::{Fault, Form, Outcome, recognise};
use serde_json::{Value, json};

/// Each sample with its client context. Sources: Amazon Bedrock User Guide, "Lambda input event from Amazon Bedrock";
/// the event collection of Powertools for AWS Lambda (Python); AgentCore Developer Guide, "AWS Lambda function
/// targets"; Amazon Bedrock API Reference, ToolUseBlock.
fn samples() -> Vec<(&'static str, Form, Value, BTreeMap<String, String>)> {
    let agent =
        json!({"alias": "TSTALIASID", "name": "test", "version": "DRAFT", "id": "8ZXY0W8P1H"});
    let gateway = BTreeMap::from([
        (
            "bedrockAgentCoreToolName".to_owned(),
            "claims___get_claim".to_owned(),
        ),
        (
            "bedrockAgentCoreGatewayId".to_owned(),
            "gateway-abc".to_owned(),
        ),
        (
            "bedrockAgentCoreMessageVersion".to_owned(),
            "1.0".to_owned(),
        ),
    ]);
    vec![
        (
            "get with path parameter",
            Form::ApiSchema,
            json!({
                "messageVersion": "1.0", "actionGroup": "ClaimManagementActionGroup", "sessionId": "12345678912345",
                "sessionAttributes": {}, "promptSessionAttributes": {}, "inputText": "I want to see claim 123-4567",
                "agent": agent, "httpMethod": "GET", "apiPath": "/claims/{claimId}/get_claim",
                "parameters": [{"name": "claimId", "type": "string", "value": "123-4567"}],
            }),
            BTreeMap::new(),
        ),
        (
            "post with body",
            Form::ApiSchema,
            json!({
                "messageVersion": "1.0", "actionGroup": "ClaimManagementActionGroup", "sessionId": "12345678912345",
                "sessionAttributes": {"tier": "gold"}, "promptSessionAttributes": {}, "inputText": "Send reminders",
                "agent": agent, "httpMethod": "POST", "apiPath": "/get_claim", "parameters": [],
                "requestBody": {"content": {"application/json": {"properties": [
                    {"name": "claimId", "type": "string", "value": "20"},
                ]}}},
            }),
            BTreeMap::new(),
        ),
        (
            "function",
            Form::FunctionSchema,
            json!({
                "messageVersion": "1.0", "actionGroup": "Claims", "function": "get_claim", "sessionId": "s-1",
                "sessionAttributes": {"employeeId": "EMP123"}, "promptSessionAttributes": {"requestType": "vacation"},
                "inputText": "(words)", "agent": {"alias": "PROD", "name": "hr", "version": "1", "id": "1234abcd"},
                "parameters": [{"name": "claimId", "type": "string", "value": "20"}],
            }),
            BTreeMap::new(),
        ),
        (
            "function without parameters",
            Form::FunctionSchema,
            json!({
                "messageVersion": "1.0", "actionGroup": "Claims", "function": "get_claim", "sessionId": "s-1",
                "inputText": "(words)", "agent": agent,
            }),
            BTreeMap::new(),
        ),
        ("gateway", Form::Gateway, json!({"claimId": "20"}), gateway),
        (
            "converse",
            Form::ToolUse,
            json!({"toolUse": {"toolUseId": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "name": "get_claim", "input": {"claimId": "20"}}}),
            BTreeMap::new(),
        ),
    ]
}

#[test]
fn samples_are_read_and_answered() {
    let schema = json!({"type": "object", "properties": {"claimId": {"type": "string"}}});
    let fault = |name: &str, status: u16, retry: bool| Fault {
        name: name.to_owned(),
        message: "What to do.".to_owned(),
        status,
        retry,
    };
    let mut replies = serde_json::Map::new();
    for (name, form, event, context) in samples() {
        let call = recognise(&event, &context).unwrap();
        assert_eq!(
            (call.form, call.tool.as_str()),
            (form, "get_claim"),
            "{name}"
        );
        let arguments = call.arguments(&schema).unwrap();
        assert_eq!(
            arguments.is_empty(),
            name == "function without parameters",
            "{name}"
        );
        let outcomes = [
            Outcome::Done(json!({"state": "open"})),
            Outcome::Reprompt(fault("ClaimNotFound", 404, false)),
            Outcome::Failure(fault("ServiceBusy", 503, true)),
        ];
        let told: Vec<Value> = outcomes
            .iter()
            .map(|outcome| match call.reply(outcome) {
                Ok(reply) => reply,
                Err(error) => json!({"errorType": error.name, "errorMessage": error.message}),
            })
            .collect();
        replies.insert(name.to_owned(), json!(told));
    }
    insta::assert_json_snapshot!(replies);
}

#[test]
fn what_is_no_call_is_refused() {
    let check = |event: Value, part: &str| {
        let error = recognise(&event, &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    check(json!({}), "neither messageVersion nor toolUse");
    check(json!(null), "neither messageVersion nor toolUse");
    check(
        json!({"messageVersion": "1.0"}),
        "neither function nor apiPath",
    );
    check(
        json!({"messageVersion": "1.0", "function": 7}),
        "does not fit",
    );
    check(
        json!({"messageVersion": "1.0", "function": "f", "parameters": {"a": 1}}),
        "does not fit",
    );
    check(json!({"toolUse": "get_claim"}), "toolUse");
}

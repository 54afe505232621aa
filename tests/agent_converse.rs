//! An application's own loop: Converse with the tools of `infra/agent/converse-tools.json`, each call through the
//! function's own binary.

use agent_envelopes::tool_loop::{self, Ended};
use agent_envelopes::{Call, Fault, Outcome};
use local::lambda::{Host, Invocation};
use serde_json::{Value, json};

use crate::instance::Instance;
use crate::lambda_binaries::{host, root};

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

async fn converse(instance: &Instance, messages: &[Value]) -> Result<Value, String> {
    let tools = std::fs::read(root().join("infra/agent/converse-tools.json")).unwrap();
    let tools: Value = serde_json::from_slice(&tools).unwrap();
    let body = json!({"messages": messages, "toolConfig": tools});
    let url = format!("{}/model/{MODEL}/converse", instance.aws);
    // The laptop asks who signs, and takes any signature.
    let signed = "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/bedrock/aws4_request, \
                  SignedHeaders=host, Signature=0";
    let request = reqwest::Client::new().post(url).json(&body);
    let reply = instance.send(request.header("authorization", signed)).await;
    if reply.status.is_success() {
        Ok(reply.body)
    } else {
        Err(reply.body.to_string())
    }
}

/// Invokes the function with the block as the model wrote it.
async fn call_function(host: &Host, call: &Call, attributes: &Value) -> Outcome {
    let event = json!({
        "toolUse": {"toolUseId": "tooluse_1", "name": call.tool, "input": call.given()},
        "sessionId": "loop", "sessionAttributes": attributes,
    });
    let reply = host
        .invoke("outcrop-agent-action", event.to_string().into())
        .await
        .unwrap();
    let Invocation::Reply(bytes) = reply else {
        panic!("{reply:?}");
    };
    let reply: Value = serde_json::from_slice(&bytes).unwrap();
    let result = &reply["toolResult"];
    let content = result["content"][0]["json"].clone();
    if result["status"] == "success" {
        return Outcome::Done(content);
    }
    Outcome::Reprompt(Fault {
        name: content["error"]["name"].as_str().unwrap().to_owned(),
        message: content["error"]["message"].as_str().unwrap().to_owned(),
        status: 400,
        retry: false,
    })
}

async fn run(
    instance: &Instance,
    host: &Host,
    question: &str,
    agrees: bool,
) -> (Ended, Vec<String>) {
    let attributes = json!({"outcropUser": "local"});
    let caller = json!({"sessionId": "loop", "sessionAttributes": attributes});
    let mut called = Vec::new();
    let messages = vec![json!({"role": "user", "content": [{"text": question}]})];
    let ended = tool_loop::run(
        messages,
        &caller,
        5,
        async |messages: &[Value]| converse(instance, messages).await,
        async |_: &Call| agrees,
        async |call: &Call| {
            called.push(call.tool.clone());
            call_function(host, call, &attributes).await
        },
    )
    .await
    .unwrap();
    (ended, called)
}

#[tokio::test]
async fn converse_runs_the_tools_until_it_can_answer() {
    let instance = Instance::start().await;
    let host = host(&instance);
    let order =
        json!({"number": "1001", "status": "shipped", "readers": ["everyone"], "items": []});
    instance
        .post("/v1/orders", &json!({"orders": [order]}))
        .await;
    let question = "What is the status of order 1001?";
    let (ended, called) = run(&instance, &host, question, true).await;
    assert_eq!(called, ["get_order_status"]);
    assert_eq!((ended.stop_reason.as_str(), ended.rounds), ("end_turn", 2));
    assert!(ended.text().contains("shipped"), "{}", ended.text());
    let (ended, called) = run(&instance, &host, question, false).await;
    assert!(called.is_empty(), "{called:?}");
    let refused = ended.messages[2]["content"][0]["toolResult"].clone();
    assert_eq!(refused["content"][0]["json"]["error"]["name"], "NotAgreed");
    assert!(!ended.text().contains("shipped"), "{}", ended.text());
}

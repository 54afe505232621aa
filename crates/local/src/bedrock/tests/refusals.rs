//! What is refused, by name.
use super::*;

#[track_caller]
fn said(reply: &Reply, status: u16, error: &str, message: &str) {
    let json = reply.json();
    assert_eq!(
        (reply.status.as_u16(), reply.error.as_str()),
        (status, error),
        "{json}"
    );
    let found = json["message"].as_str().expect("a message");
    assert!(
        found.contains(message),
        "{found:?} does not contain {message:?}"
    );
}

#[tokio::test]
async fn bad_conversations_are_named() {
    let text = |text: &str| json!([{"text": text}]);
    let turn = |role: &str| json!({"role": role, "content": [{"text": "hello"}]});
    let with = |name: &str, value: Value| {
        let mut body = user(text("hello"));
        body[name] = value;
        body
    };
    let tool = |name: &str| json!({"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}]});
    let strict = |schema: Value| json!({"tools": [{"toolSpec": {"name": "a", "strict": true, "inputSchema": {"json": schema}}}]});
    let closed = |tags: Value| {
        json!({"type": "object", "additionalProperties": false,
        "properties": {"tags": {"type": "array", "items": tags}}})
    };
    let result = json!([{"toolResult": {"toolUseId": "x", "content": [{"text": "a"}]}}]);
    for (body, message) in [
        (
            with("toolConfig", strict(json!({"type": "object"}))),
            "inputSchema.json: for a strict tool, additionalProperties must be false",
        ),
        (
            with("toolConfig", strict(closed(json!({"type": "object"})))),
            "inputSchema.json.properties.tags.items: for a strict tool",
        ),
        (json!({}), "at least one message"),
        (
            json!({"messages": [turn("assistant")]}),
            "must start with a user message",
        ),
        (
            json!({"messages": [turn("user"), turn("user")]}),
            "must alternate",
        ),
        (
            json!({"messages": [turn("user"), turn("assistant")]}),
            "must end with a user message",
        ),
        (
            json!({"messages": [turn("system")]}),
            "messages.0.role system is not supported by the laptop Bedrock",
        ),
        (user(json!([])), "messages.0 is empty"),
        (user(text(" \n")), "messages.0.content.0 is blank"),
        (
            user(json!([{"image": {"format": "png"}}])),
            "messages.0.content.0.image is not supported by the laptop Bedrock",
        ),
        (
            user(json!([{"hologram": {}}])),
            "unknown variant `hologram`",
        ),
        (
            user(json!([{"text": "a", "extra": 1}])),
            "The request is not valid",
        ),
        (
            user(json!([{"document": {"format": "pdf", "name": "a", "source": {"bytes": ""}}}])),
            "document.format pdf is not supported",
        ),
        (
            user(
                json!([{"document": {"format": "txt", "name": "a", "source": {"s3Location": {"uri": "s3://a"}}}}]),
            ),
            "s3Location is not supported",
        ),
        (
            user(json!([{"toolUse": {"toolUseId": "x", "name": "a", "input": {}}}])),
            "only allowed in a message of the assistant role",
        ),
        (user(result), "toolConfig field must be defined"),
        (with("unheard", json!(1)), "unknown field `unheard`"),
        (
            with("outputConfig", json!({"effort": "low"})),
            "outputConfig is not supported by the laptop Bedrock",
        ),
        (
            with("additionalModelRequestFields", json!({"k": 1})),
            "additionalModelRequestFields is not supported",
        ),
        (
            with("promptVariables", json!({"a": {"text": "b"}})),
            "promptVariables is not supported",
        ),
        (
            with("inferenceConfig", json!({"temperature": 1.5})),
            "inferenceConfig.temperature",
        ),
        (
            with("inferenceConfig", json!({"maxTokens": 0})),
            "inferenceConfig.maxTokens",
        ),
        (with("requestMetadata", json!({})), "requestMetadata"),
        (with("toolConfig", json!({"tools": []})), "toolConfig.tools"),
        (
            with("toolConfig", tool("no spaces")),
            "toolConfig.tools.0.toolSpec.name",
        ),
        (
            with(
                "toolConfig",
                json!({"tools": [{"systemTool": {"name": "x"}}]}),
            ),
            "toolConfig.tools",
        ),
        (
            with("serviceTier", json!({"type": "gold"})),
            "unknown variant `gold`",
        ),
        (
            with(
                "guardrailConfig",
                json!({"guardrailIdentifier": "outcrop-default", "guardrailVersion": "1", "streamProcessingMode": "sync"}),
            ),
            "only for ConverseStream",
        ),
    ] {
        said(
            &converse(&local(), body).await,
            400,
            "ValidationException",
            message,
        );
    }
}

#[tokio::test]
async fn what_aws_accepts_is_accepted() {
    let mut body = question();
    body["requestMetadata"] = json!({"tenant": "a"});
    body["performanceConfig"] = json!({"latency": "standard"});
    body["serviceTier"] = json!({"type": "flex"});
    body["inferenceConfig"] = json!({"temperature": 0.2, "topP": 1, "maxTokens": 500});
    // Nova Lite has no tiers but the default.
    let path = "/model/us.amazon.nova-2-lite-v1:0/converse";
    let reply = post(&local(), path, body).await.json();
    assert_eq!(reply["serviceTier"], json!({"type": "flex"}));
    assert_eq!(reply["performanceConfig"], json!({"latency": "standard"}));
}

#[tokio::test]
async fn bad_addresses_and_bodies_are_named() {
    let app = local();
    let titan = "/model/amazon.titan-embed-text-v2:0/invoke";
    let cohere = "/model/cohere.embed-english-v3/invoke";
    for (path, body, message) in [
        (
            "/model/nobody.model-1/converse",
            question(),
            "The provided model identifier is invalid.",
        ),
        (
            "/model/amazon.titan-embed-text-v2:0/converse",
            question(),
            "supported text or chat model",
        ),
        (
            "/model/amazon.nova-lite-v1:0/invoke",
            json!({}),
            "is not supported by the laptop Bedrock",
        ),
        (
            "/model/amazon.nova-lite-v1:0/invoke-with-response-stream",
            json!({}),
            "InvokeModelWithResponseStream",
        ),
        (titan, json!({"inputText": " "}), "#/inputText"),
        (
            titan,
            json!({"inputText": "a", "dimensions": 300}),
            "#/dimensions",
        ),
        (
            titan,
            json!({"inputText": "a", "size": 300}),
            "unknown field `size`",
        ),
        (
            titan,
            json!({"inputText": "a b ".repeat(5000)}),
            "Too many input tokens",
        ),
        (
            cohere,
            json!({"texts": [], "input_type": "search_query"}),
            "#/texts",
        ),
        (
            cohere,
            json!({"texts": ["a"], "input_type": "poem"}),
            "#/input_type",
        ),
        (
            cohere,
            json!({"texts": ["a".repeat(2049)], "input_type": "search_query"}),
            "expected maxLength: 2048",
        ),
        (
            cohere,
            json!({"texts": ["a"], "input_type": "search_query", "images": []}),
            "images is not supported",
        ),
        (
            "/guardrail/outcrop-default/version/1/apply",
            json!({"source": "INPUT", "content": []}),
            "at least one block",
        ),
        (
            "/guardrail/outcrop-default/version/1/apply",
            json!({"source": "INPUT", "content": [{"image": {}}]}),
            "image is not supported",
        ),
        (
            "/_local/faults",
            json!({"operation": "Converse", "error": "OutOfCoffee"}),
            "unknown variant `OutOfCoffee`",
        ),
    ] {
        said(
            &post(&app, path, body).await,
            400,
            "ValidationException",
            message,
        );
    }
    let content = json!({"source": "INPUT", "content": [{"text": {"text": "a"}}]});
    said(
        &post(&app, "/guardrail/other/version/1/apply", content).await,
        404,
        "ResourceNotFoundException",
        "does not exist",
    );
    said(
        &call(
            &app,
            "POST",
            &format!("/model/{MODEL}/converse"),
            "{not json".into(),
        )
        .await,
        400,
        "ValidationException",
        "not JSON",
    );
    said(
        &post(&app, "/model/a/b/c/d", json!({})).await,
        404,
        "UnknownOperationException",
        "no operation",
    );
}

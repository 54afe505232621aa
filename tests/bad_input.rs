//! Bad input: a clear named error each, and nothing lost.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::instance::Instance;

async fn check(instance: &Instance, request: RequestBuilder, status: u16, name: &str) {
    let reply = instance.send(request).await;
    assert_eq!(
        (reply.status.as_u16(), reply.body["name"].as_str()),
        (status, Some(name)),
        "{} {}",
        reply.body,
        instance.log()
    );
    assert_eq!(reply.content_type, "application/problem+json", "{name}");
    assert_eq!(reply.body["status"], status);
    for field in ["type", "title", "detail"] {
        assert!(
            !reply.body[field].as_str().unwrap_or_default().is_empty(),
            "{field} {}",
            reply.body
        );
    }
}

#[tokio::test]
async fn each_mistake_has_its_name() {
    let instance = Instance::start().await;
    instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    let post = |path: &str| instance.request(Method::POST, path);
    let json_type = ("content-type", "application/json");
    let i = &instance;

    let body = post("/v1/ask")
        .header(json_type.0, json_type.1)
        .body("{not json");
    check(i, body, 400, "NotJson").await;
    check(
        i,
        post("/v1/ask").json(&json!({"question": "  "})),
        400,
        "EmptyQuestion",
    )
    .await;
    check(i, post("/v1/ask").json(&json!({})), 400, "EmptyQuestion").await;
    let long = json!({"question": "x".repeat(1 << 20)});
    check(i, post("/v1/ask").json(&long), 400, "QuestionTooLong").await;
    let space = json!({"question": "hello", "space": "nowhere"});
    check(i, post("/v1/ask").json(&space), 404, "UnknownSpace").await;
    let typo = json!({"qestion": "hello"});
    check(i, post("/v1/ask").json(&typo), 400, "UnknownField").await;
    let body = post("/v1/ask")
        .header("content-type", "text/plain")
        .body("hello");
    check(i, body, 415, "UnsupportedMediaType").await;
    let body = post("/v1/ask")
        .header(json_type.0, json_type.1)
        .body(b"{\"question\": \"\xff\"}".to_vec());
    check(i, body, 400, "InvalidUtf8").await;
    check(i, post("/v1/aks").json(&json!({})), 404, "UnknownRoute").await;
    check(
        i,
        instance.request(Method::GET, "/v1/ask"),
        405,
        "MethodNotAllowed",
    )
    .await;
    let filter = json!({"query": "marmots", "filter": {"equalz": {"key": "a", "value": 1}}});
    check(i, post("/v1/search").json(&filter), 400, "InvalidFilter").await;
    let empty = json!({"query": " "});
    check(i, post("/v1/search").json(&empty), 400, "EmptyQuery").await;
    for path in ["documents?cursor=zzz", "runs?cursor=zzz", "runs?cursor="] {
        let cursor = instance.request(Method::GET, &format!("/v1/{path}"));
        check(i, cursor, 400, "InvalidCursor").await;
    }
    let model = json!({"question": "hello", "model": "anthropic.claude-opus-4-1"});
    check(i, post("/v1/ask").json(&model), 400, "ModelNotAllowed").await;
    let unknown = json!({"documents": ["default.0000"]});
    check(i, post("/v1/runs").json(&unknown), 404, "DocumentNotFound").await;
    let huge = json!({"name": "huge.txt", "bytes": 50_000_001});
    check(i, post("/v1/uploads").json(&huge), 413, "DocumentTooLarge").await;
    let missing = instance.request(Method::GET, "/v1/documents/default.0000");
    check(i, missing, 404, "DocumentNotFound").await;
    check(
        i,
        instance.request(Method::GET, "/v1/documents/..%2f..%2fetc"),
        404,
        "DocumentNotFound",
    )
    .await;
    check(
        i,
        instance.request(Method::GET, "/v1/runs/default.0000"),
        404,
        "RunNotFound",
    )
    .await;
    let name = json!({"name": "../../etc/passwd", "content": "x"});
    check(
        i,
        post("/v1/documents").json(&name),
        400,
        "InvalidDocumentName",
    )
    .await;
    let body = json!({"name": "a.txt", "content": "x".repeat(5 << 20)});
    check(i, post("/v1/documents").json(&body), 413, "PayloadTooLarge").await;
    let body = json!({"name": "a.txt", "content_base64": "***"});
    check(i, post("/v1/documents").json(&body), 400, "InvalidBase64").await;
    let body = json!({"name": "a.txt", "content": "x", "space": "Not A Space"});
    check(
        i,
        post("/v1/documents").json(&body),
        400,
        "InvalidSpaceName",
    )
    .await;

    let reply = instance
        .post("/v1/search", &json!({"query": "marmots"}))
        .await;
    assert_eq!(
        reply.body["results"].as_array().unwrap().len(),
        1,
        "nothing was lost"
    );
}

#[tokio::test]
async fn a_model_that_throttles_is_named_and_may_be_asked_again() {
    let instance = Instance::start().await;
    instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    let question = json!({"question": "What is the kept document about?"});
    let fault = json!({"operation": "ConverseStream", "error": "ThrottlingException", "times": 50});
    instance.fault(&fault).await;
    let request = instance.request(Method::POST, "/v1/ask").json(&question);
    check(&instance, request, 429, "ModelThrottled").await;
    let reply = reqwest::Client::new()
        .delete(format!("{}/_local/faults", instance.aws))
        .send()
        .await;
    assert!(reply.unwrap().status().is_success());
    let reply = instance.post("/v1/ask", &question).await;
    assert_eq!(reply.body["answered"], true, "{}", reply.body);
}

#[tokio::test]
async fn ingestion_survives_a_throttling_embedder() {
    let instance = Instance::start().await;
    let fault = json!({"operation": "InvokeModel", "error": "ThrottlingException", "times": 2});
    instance.fault(&fault).await;
    let (_, run) = instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
}

//! A lost table is made anew from the bucket: documents, their readers and the index, by one run over the whole source.

use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::Instance;

const SHED: &str = "The key of the shed hangs behind the blue door.";
const SAFE: &str = "The combination of the safe is the founder's birthday.";
const GONE: &str = "The ferry leaves from the old pier at noon.";

async fn bring(instance: &Instance, name: &str, content: &str, readers: &[&str]) -> Value {
    let body = json!({"name": name, "content": content, "readers": readers});
    let reply = instance.post("/v1/documents", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    reply.body
}

/// What each of the questions finds, for whom a token stands for or the owner.
async fn found(instance: &Instance, token: Option<&str>) -> Value {
    let mut all = Vec::new();
    for query in ["the key of the shed", "combination of the safe", "ferry"] {
        let request = instance.request(Method::POST, "/v1/search");
        let request = request.json(&json!({"query": query, "mode": "lexical"}));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let reply = instance.send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let results = reply.body["results"].as_array().unwrap();
        let kept = results.iter().map(|one| {
            json!([
                one["passage_id"],
                one["text"],
                one["document_id"],
                one["title"]
            ])
        });
        all.push(Value::Array(kept.collect()));
    }
    Value::Array(all)
}

/// What a run over the whole source came to.
async fn run(instance: &Instance, body: &Value) -> Value {
    let reply = instance.post("/v1/runs", body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run} {}", instance.log());
    run
}

#[tokio::test]
async fn a_lost_table_is_rebuilt_from_the_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let mut instance = Instance::start_in(folder.path()).await;
    bring(&instance, "shed.md", SHED, &["everyone"]).await;
    bring(&instance, "safe.md", SAFE, &["group:board"]).await;
    let gone = bring(&instance, "ferry.md", GONE, &["everyone"]).await;
    let path = format!("/v1/documents/{}", gone["document_id"].as_str().unwrap());
    let removed = instance.send(instance.request(Method::DELETE, &path)).await;
    assert_eq!(removed.status, 202, "{}", removed.body);
    instance
        .finished(removed.body["run_id"].as_str().unwrap())
        .await;
    let (bob, board) = (
        instance.token("bob", &["staff"]),
        instance.token("ann", &["board"]),
    );
    let before = [
        found(&instance, None).await,
        found(&instance, Some(&bob)).await,
        found(&instance, Some(&board)).await,
    ];
    assert_ne!(
        before[1], before[2],
        "the board finds what the staff does not"
    );
    instance.kill();

    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        if file
            .file_name()
            .to_string_lossy()
            .starts_with("dynamodb.db")
        {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let instance = Instance::start_in(folder.path()).await;
    assert_eq!(
        instance.get("/v1/documents").await.body["documents"],
        json!([])
    );
    let rebuilt = run(&instance, &json!({})).await;
    assert_eq!(rebuilt["counts"]["published"], 2, "{rebuilt}");
    let after = [
        found(&instance, None).await,
        found(&instance, Some(&bob)).await,
        found(&instance, Some(&board)).await,
    ];
    assert_eq!(after, before);
    let again = run(&instance, &json!({})).await;
    assert_eq!(again["counts"]["published"], 0, "{again}");
}

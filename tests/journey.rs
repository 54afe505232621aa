//! The main job: documents in, a cited answer out, and what changes when documents change.

use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::Instance;

const QUOTAS: &str = "# Quotas\n\nA knowledge base runs one ingestion job at a time.\n\n\
    The Retrieve operation allows twenty requests per second.\n";

#[tokio::test]
async fn an_answer_quotes_the_stored_text() {
    let instance = Instance::start().await;
    let (document_id, run) = instance.ingest("handbook/quotas.md", QUOTAS).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(run["counts"]["planned"], 1);
    assert_eq!(run["counts"]["published"], 1);

    let question =
        json!({"question": "How many ingestion jobs does a knowledge base run at a time?"});
    let reply = instance.post("/v1/ask", &question).await;
    assert_eq!(reply.status, 200, "{} {}", reply.body, instance.log());
    assert_eq!(reply.body["answered"], true, "{}", reply.body);
    let citations = reply.body["citations"].as_array().unwrap();
    assert!(!citations.is_empty(), "{}", reply.body);
    let text = instance
        .get(&format!("/v1/documents/{document_id}/text"))
        .await
        .body;
    for citation in citations {
        assert_eq!(citation["document_id"], document_id.as_str());
        assert_eq!(citation["title"], "Quotas");
        let range = as_range(citation);
        let stored = &text["text"].as_str().unwrap().as_bytes()[range];
        assert_eq!(stored, citation["quote"].as_str().unwrap().as_bytes());
        let marker = citation["marker"].as_str().unwrap();
        assert!(
            reply.body["answer"].as_str().unwrap().contains(marker),
            "{}",
            reply.body
        );
    }
    assert!(citations.iter().any(|citation| {
        citation["quote"]
            .as_str()
            .unwrap()
            .contains("one ingestion job at a time")
    }));
    assert!(reply.body["usage"]["input_tokens"].as_u64().unwrap() > 0);
}

fn as_range(located: &Value) -> std::ops::Range<usize> {
    let at = |field: &str| located[field].as_u64().unwrap() as usize;
    at("start")..at("end")
}

#[tokio::test]
async fn what_the_documents_do_not_say_is_not_answered() {
    let instance = Instance::start().await;
    instance.ingest("quotas.md", QUOTAS).await;
    let reply = instance
        .post(
            "/v1/ask",
            &json!({"question": "Who won the chess tournament in Reykjavik?"}),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["answered"], false, "{}", reply.body);
    assert_eq!(reply.body["citations"], json!([]));
}

#[tokio::test]
async fn an_empty_space_answers_that_it_knows_nothing() {
    let instance = Instance::start().await;
    let reply = instance
        .post("/v1/ask", &json!({"question": "anything?"}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["answered"], false);
    let reply = instance
        .post("/v1/search", &json!({"query": "anything"}))
        .await;
    assert_eq!(reply.body["results"], json!([]));
}

#[tokio::test]
async fn search_finds_passages_in_every_mode() {
    let instance = Instance::start().await;
    instance.ingest("quotas.md", QUOTAS).await;
    instance
        .ingest("soup.txt", "Tomato soup needs basil and patience.")
        .await;
    for mode in ["hybrid", "lexical", "vector"] {
        let reply = instance
            .post(
                "/v1/search",
                &json!({"query": "basil in tomato soup", "mode": mode}),
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let first = &reply.body["results"][0];
        assert_eq!(
            first["text"], "Tomato soup needs basil and patience.",
            "{mode} {}",
            reply.body
        );
        assert!(reply.body["took_ms"].is_number());
    }
}

#[tokio::test]
async fn a_changed_document_replaces_itself_and_a_deleted_one_is_gone() {
    let instance = Instance::start().await;
    let (id, _) = instance
        .ingest("menu.txt", "The lunch menu offers aubergine today.")
        .await;
    let (again, run) = instance
        .ingest("menu.txt", "The lunch menu offers pumpkin today.")
        .await;
    assert_eq!(id, again);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let texts = |body: &Value| -> Vec<String> {
        let results = body["results"].as_array().unwrap();
        results
            .iter()
            .map(|hit| hit["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let reply = instance
        .post("/v1/search", &json!({"query": "lunch menu"}))
        .await;
    assert_eq!(texts(&reply.body), ["The lunch menu offers pumpkin today."]);

    let (_, run) = instance
        .ingest("menu.txt", "The lunch menu offers pumpkin today.")
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");

    let reply = instance
        .send(instance.request(Method::DELETE, &format!("/v1/documents/{id}")))
        .await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["counts"]["deleted"], 1, "{run}");
    let reply = instance
        .post("/v1/search", &json!({"query": "lunch menu"}))
        .await;
    assert_eq!(reply.body["results"], json!([]));
    assert_eq!(
        instance.get(&format!("/v1/documents/{id}")).await.status,
        404
    );
    assert_eq!(
        instance
            .get(&format!("/v1/documents/{id}/text"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn each_document_has_a_status_and_each_refusal_a_reason() {
    let instance = Instance::start().await;
    let form = reqwest::multipart::Form::new()
        .part(
            "file",
            part("good.txt", b"The good document is about lighthouses."),
        )
        .part("file", part("empty.txt", b"   \n"))
        .part(
            "file",
            part(
                "picture.txt",
                b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01",
            ),
        );
    let reply = instance
        .send(
            instance
                .request(Method::POST, "/v1/documents")
                .multipart(form),
        )
        .await;
    assert_eq!(reply.status, 202, "{} {}", reply.body, instance.log());
    assert_eq!(reply.body["documents"].as_array().unwrap().len(), 3);
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "PARTIAL", "{run}");
    let counts = &run["counts"];
    assert_eq!(
        (counts["planned"].as_u64(), counts["published"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(counts["refused"], 2);
    let mut errors: Vec<&str> = run["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| {
            assert!(!failure["reason"].as_str().unwrap().is_empty());
            failure["error"].as_str().unwrap()
        })
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, ["ContentMismatch", "EmptyDocument"]);

    let listed = instance.get("/v1/documents?limit=2").await.body;
    assert_eq!(listed["documents"].as_array().unwrap().len(), 2);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = instance
        .get(&format!("/v1/documents?limit=2&cursor={cursor}"))
        .await
        .body;
    assert_eq!(rest["documents"].as_array().unwrap().len(), 1);
}

fn part(name: &str, content: &[u8]) -> reqwest::multipart::Part {
    reqwest::multipart::Part::bytes(content.to_vec()).file_name(name.to_owned())
}

#[tokio::test]
async fn an_upload_by_link_is_ingested() {
    let instance = Instance::start().await;
    let content = "Presigned links carry large files past the gateway.";
    let announced = instance
        .post(
            "/v1/uploads",
            &json!({"name": "links.txt", "bytes": content.len()}),
        )
        .await;
    assert_eq!(announced.status, 200, "{}", announced.body);
    let link = announced.body["upload_url"].as_str().unwrap();
    let put = reqwest::Client::new()
        .put(link)
        .body(content)
        .send()
        .await
        .unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let id = announced.body["document_id"].as_str().unwrap();
    let run = instance.post("/v1/runs", &json!({"documents": [id]})).await;
    assert_eq!(run.status, 202, "{}", run.body);
    let run = instance
        .finished(run.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let text = instance.get(&format!("/v1/documents/{id}/text")).await;
    assert_eq!(text.body["text"], content);
}

/// An announcement alone changed who may read the document, and any number of bytes was taken.
#[tokio::test]
async fn an_upload_changes_nothing_until_its_bytes_are_there() {
    let instance = Instance::start().await;
    let old = "The marmot whistles when an eagle comes.";
    let (id, _) = instance.ingest("marmots.txt", old).await;
    let new = "The marmot sleeps through the winter.";
    let form = json!({"name": "marmots.txt", "bytes": new.len(), "metadata": {"year": 2026}});
    let announced = instance.post("/v1/uploads", &form).await.body;
    assert_eq!(announced["document_id"], id.as_str(), "{announced}");
    let link = announced["upload_url"].as_str().unwrap();
    let put = async |bytes: &'static str| {
        let sent = reqwest::Client::new().put(link).body(bytes).send().await;
        sent.unwrap().status().as_u16()
    };
    let run = async |body: Value| {
        let started = instance.post("/v1/runs", &body).await.body;
        instance.finished(started["run_id"].as_str().unwrap()).await
    };
    let stored = async || {
        let text = instance.get(&format!("/v1/documents/{id}/text")).await.body;
        let document = instance.get(&format!("/v1/documents/{id}")).await.body;
        (text["text"].clone(), document["metadata"]["year"].clone())
    };

    assert_eq!(put("too short").await, 403, "the length is signed");
    let named = json!({"documents": [&id]});
    let refused = run(named.clone()).await;
    assert_eq!(refused["status"], "FAILED", "{refused}");
    assert_eq!(
        refused["failures"][0]["error"], "UploadMissing",
        "{refused}"
    );
    assert_eq!(run(json!({})).await["counts"]["unchanged"], 1);
    assert_eq!(stored().await, (json!(old), Value::Null));

    assert_eq!(put(new).await, 200);
    assert_eq!(stored().await, (json!(old), Value::Null));
    let taken = run(named).await;
    assert_eq!(taken["status"], "SUCCEEDED", "{taken}");
    assert_eq!(stored().await, (json!(new), json!(2026)));
}

#[tokio::test]
async fn files_dropped_into_the_bucket_are_found_by_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let (id, _) = instance
        .ingest("a.txt", "The first file is about granite.")
        .await;
    let run = instance.post("/v1/runs", &json!({})).await;
    let run = instance
        .finished(run.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(run["counts"]["unchanged"], 1, "{run}");
    let listed = instance.get("/v1/runs").await.body;
    assert_eq!(listed["runs"].as_array().unwrap().len(), 2);
    assert_eq!(listed["runs"][0]["run_id"], run["run_id"]);
    assert_eq!(
        instance.get(&format!("/v1/documents/{id}")).await.body["status"],
        "published"
    );
}

//! Who may read what a source brings, when its setting says otherwise than before.

use serde_json::json;

use super::prefix::put;
use super::stub::{Page, Stub};
use super::{books, found, noted, run, set, set_for};
use crate::access::Caller;
use crate::instance::Instance;

#[tokio::test]
async fn changed_readers_reach_documents_that_did_not_change_and_those_that_cannot_be_had() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    let links = "<p>The start about marmots.</p><a href=/a>a</a><a href=/b>b</a>";
    stub.put("/", Page::html(links).header("etag", "\"1\""));
    for name in ["/a", "/b"] {
        let words = format!("<p>The page {name} about marmots.</p>");
        stub.put(name, Page::html(&words).header("etag", "\"1\""));
    }
    let site = json!({"kind": "website", "start": [stub.url], "pause_ms": 0, "sitemap": false});
    assert_eq!(set(&instance, "site", site.clone()).await.status, 200);
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [3, 0, 0, 0]), "{first}");
    assert_eq!(found(&instance, "marmots").await.len(), 3);

    let narrowed = set_for(&instance, "site", site, &["group:staff"]).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.body);
    stub.put("/b", Page::of(500, ""));
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("SUCCEEDED", [3, 0, 0, 0]), "{second}");
    assert!(found(&instance, "marmots").await.is_empty());
    let ada = Caller::user(&instance, "ada", &["staff"]);
    let body = json!({"query": "marmots", "mode": "lexical"});
    let reply = ada.send("POST", "/v1/search", Some(&body)).await;
    assert_eq!(reply.body["results"].as_array().unwrap().len(), 3);
    assert_eq!(noted(&instance, "site").await["failed"], 1);

    // What cannot be had is told by the next run, as ever.
    let third = run(&instance, json!({})).await;
    assert_eq!(books(&third), ("PARTIAL", [0, 2, 0, 1]), "{third}");
    assert_eq!(third["hidden_failures"], 1);
}

#[tokio::test]
async fn readers_of_a_sidecar_stay_when_those_of_the_source_change() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let bucket = folder.path().join("s3/handbooks");
    put(&bucket, "a.txt", "Marmots sleep in a.");
    put(&bucket, "b.txt", "Marmots sleep in b.");
    let sidecar = json!({"metadataAttributes": {"readers": ["everyone"]}});
    put(&bucket, "b.txt.metadata.json", &sidecar.to_string());
    let source = json!({"kind": "s3", "bucket": "handbooks"});
    set(&instance, "books", source.clone()).await;
    run(&instance, json!({})).await;
    assert_eq!(found(&instance, "marmots").await.len(), 2);
    set_for(&instance, "books", source, &["group:staff"]).await;
    let changed = run(&instance, json!({})).await;
    assert_eq!(books(&changed), ("SUCCEEDED", [1, 1, 0, 0]), "{changed}");
    assert_eq!(found(&instance, "marmots").await, ["s3://handbooks/b.txt"]);
}

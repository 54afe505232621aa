//! What may go wrong in a run, and what must hold after it: every planned document is accounted for, none is live twice,
//! none is half visible, and a redrive brings in what is missing.

mod books;
mod embedding;
mod kills;
pub mod steps;
mod stores;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::index::Space;
use crate::instance::Instance;
use crate::redrive::balanced;

/// The folder that the default space's source is, on the laptop.
pub fn source(data: &Path) -> PathBuf {
    data.join("s3/outcrop-bucket/sources/default")
}

/// Puts documents that everyone may read into the source, past the API: document `n` says which one it is, twice.
pub fn fill(data: &Path, documents: usize, generation: u32) {
    let source = source(data);
    std::fs::create_dir_all(&source).unwrap();
    for number in 0..documents {
        let text =
            format!("Marmot {number} of generation {generation}. It sleeps in burrow {number}.");
        let name = format!("marmot-{number:05}.txt");
        std::fs::write(source.join(&name), text).unwrap();
        let sidecar = json!({"metadataAttributes": {"readers": ["everyone"]}}).to_string();
        std::fs::write(source.join(format!("{name}.metadata.json")), sidecar).unwrap();
    }
}

/// Starts a run over the whole source and waits for its end.
pub async fn sync(instance: &Instance) -> Value {
    started(instance, "/v1/runs").await
}

pub async fn redrive(instance: &Instance, run: &Value) -> Value {
    let path = format!("/v1/runs/{}/redrive", run["run_id"].as_str().unwrap());
    started(instance, &path).await
}

async fn started(instance: &Instance, path: &str) -> Value {
    let reply = instance.post(path, &json!({})).await;
    assert_eq!(reply.status, 202, "{} {}", reply.body, instance.log());
    instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await
}

/// The run's books, or those of its redrives, until one has nothing left to do.
pub async fn redriven(instance: &Instance, mut run: Value) -> Value {
    for _ in 0..10 {
        assert!(balanced(&run), "{run}");
        if run["status"] == "SUCCEEDED" {
            return run;
        }
        run = redrive(instance, &run).await;
    }
    panic!("ten redrives were not enough: {run} {}", instance.log());
}

/// How many documents stand where.
pub async fn statuses(instance: &Instance) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/documents?limit=200{cursor}");
        let page = instance.get(&path).await.body;
        for document in page["documents"].as_array().unwrap() {
            let status = document["status"].as_str().unwrap().to_owned();
            *found.entry(status).or_default() += 1;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// All documents of a generation are live, each once, and found by what they say.
pub async fn all_live(instance: &Instance, documents: usize, generation: u32) {
    let expected = BTreeMap::from([("published".to_owned(), documents)]);
    assert_eq!(statuses(instance).await, expected);
    let space = Space::on(instance, "default");
    assert_eq!(space.live_documents().await.len(), documents);
    for number in [0, documents / 2, documents - 1] {
        let query = format!("burrow {number}");
        let body = json!({"query": query, "mode": "lexical", "limit": 100});
        let reply = instance.post("/v1/search", &body).await;
        let texts: Vec<&str> = reply.body["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["text"].as_str().unwrap())
            .collect();
        let own =
            format!("Marmot {number} of generation {generation}. It sleeps in burrow {number}.");
        assert_eq!(
            texts.iter().filter(|text| **text == own).count(),
            1,
            "{texts:?}"
        );
        let stale = |text: &&str| !text.contains(&format!("generation {generation}."));
        assert!(!texts.iter().any(stale), "{texts:?}");
    }
}

//! What a query function keeps of the index: whole snapshots only, the last good one when a new one is damaged, and no
//! more than fits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws::config::IndexSettings;
use knowledge::snapshot::Snapshots;
use serde_json::json;

use super::{Space, found, texts};
use crate::instance::Instance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_sees_whole_publications_only() {
    let instance = Arc::new(Instance::start().await);
    let space = Space::on(&instance, "default");
    let publish = async |generation: u32| {
        let text = |name: &str| format!("Generation {generation} of {name}.");
        space
            .ingest(&[("a.txt", &text("alpha")), ("b.txt", &text("beta"))])
            .await;
    };
    publish(0).await;
    let done = Arc::new(AtomicBool::new(false));
    let searches = Arc::new(AtomicUsize::new(0));
    let hammer = |_| {
        let (instance, done, searches) = (instance.clone(), done.clone(), searches.clone());
        tokio::spawn(async move {
            let mut newest = 0;
            while !done.load(Ordering::SeqCst) {
                let query = json!({"query": "generation", "mode": "lexical"});
                let reply = instance.post("/v1/search", &query).await;
                assert_eq!(reply.status, 200, "{}", reply.body);
                let results = reply.body["results"].as_array().unwrap();
                assert_eq!(results.len(), 2, "{}", reply.body);
                let generations: BTreeSet<u32> = results
                    .iter()
                    .map(|result| generation(result["text"].as_str().unwrap()))
                    .collect();
                assert_eq!(generations.len(), 1, "{}", reply.body);
                let seen = *generations.first().unwrap();
                assert!(seen >= newest, "{seen} after {newest}");
                newest = seen;
                searches.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let hammering: Vec<_> = (0..2).map(hammer).collect();
    for generation in 1..=50 {
        publish(generation).await;
    }
    done.store(true, Ordering::SeqCst);
    for hammering in hammering {
        hammering.await.unwrap();
    }
    assert!(searches.load(Ordering::SeqCst) > 50);
    let last = instance
        .post(
            "/v1/search",
            &json!({"query": "generation", "mode": "lexical"}),
        )
        .await;
    let text = last.body["results"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(generation(&text), 50);
    assert!(space.manifest().await.segments.len() <= 4);
}

fn generation(text: &str) -> u32 {
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_damaged_segment_leaves_the_older_snapshot_serving() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.ingest(&[("a.txt", "The old text of granite.")]).await;
    let snapshots = Snapshots::new(&space.aws.settings.index).unwrap();
    let old = space.current(&snapshots).await;
    let search = json!({"query": "granite", "mode": "lexical"});
    let answer = async || {
        let reply = instance.post("/v1/search", &search).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["results"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(answer().await, "The old text of granite.");

    space.ingest(&[("a.txt", "The new text of granite.")]).await;
    let key = space.manifest().await.segments[0].key.clone();
    let whole = space.aws.bucket.get(&key).await.unwrap();
    let mut damaged = whole.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    space.aws.bucket.put(&key, damaged).await.unwrap();

    assert_eq!(answer().await, "The old text of granite.");
    assert_eq!(space.current(&snapshots).await.version, old.version);
    let log = instance.log();
    assert!(log.contains("SnapshotRejected"), "{log}");
    assert!(log.contains("IndexUnreadable"), "{log}");

    // It is not tried again at once, but soon.
    space.aws.bucket.put(&key, whole).await.unwrap();
    assert_eq!(space.current(&snapshots).await.version, old.version);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let new = space.current(&snapshots).await;
    assert_eq!(found(&new, "granite"), texts(&["The new text of granite."]));
    assert_eq!(answer().await, "The new text of granite.");

    // With nothing to fall back on the failure is told.
    space.aws.bucket.delete(&key).await.unwrap();
    let empty = Space::on(&instance, "default");
    let fresh = Snapshots::new(&empty.aws.settings.index).unwrap();
    let error = fresh.current(&space.aws, "default").await.err().unwrap();
    assert_eq!(error.name(), "IndexUnreadable");
}

#[tokio::test]
async fn spaces_share_a_bounded_room() {
    let instance = Instance::start().await;
    let (one, two) = (Space::on(&instance, "one"), Space::on(&instance, "two"));
    one.ingest(&[("a.txt", "The text of one.")]).await;
    two.ingest(&[("a.txt", "The text of two.")]).await;
    let bytes = |manifest: knowledge::manifest::Manifest| manifest.segments[0].bytes;
    let larger = bytes(one.manifest().await).max(bytes(two.manifest().await));
    let snapshots = Snapshots::new(&IndexSettings {
        disk_bytes: 0,
        memory_bytes: larger,
        ..one.aws.settings.index.clone()
    })
    .unwrap();
    for _ in 0..2 {
        let held = Arc::downgrade(&one.current(&snapshots).await);
        assert!(held.upgrade().is_some());
        let other = space_text(&two, &snapshots).await;
        assert_eq!(other, texts(&["The text of two."]));
        assert!(held.upgrade().is_none(), "the first space was not evicted");
        assert_eq!(
            space_text(&one, &snapshots).await,
            texts(&["The text of one."])
        );
    }
    // A running query keeps what it reads; then there is no room, and that is said.
    let running = one.current(&snapshots).await;
    let error = snapshots.current(&two.aws, "two").await.err().unwrap();
    assert_eq!(error.name(), "IndexTooLarge");
    assert_eq!(found(&running, "text"), texts(&["The text of one."]));
    drop(running);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(
        space_text(&two, &snapshots).await,
        texts(&["The text of two."])
    );
}

async fn space_text(space: &Space, snapshots: &Snapshots) -> BTreeSet<String> {
    let snapshot = space.current(snapshots).await;
    found(&snapshot, "text")
}

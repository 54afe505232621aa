//! What starts runs without a request: the bucket tells of its objects and the schedule of the time, through the template's own
//! rules and queue. No test here asks for a run.

use std::path::Path;
use std::time::{Duration, Instant};

use aws::s3::Bucket;
use reqwest::Method;
use serde_json::json;

use crate::entries::{drop_file, found, runs};
use crate::instance::Instance;

/// As the other tests have it, for a machine with much to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// Events alone, as soon as may be.
const SOON: [&str; 4] = ["--gather-seconds", "1", "--sync-schedule", "off"];
/// Events alone, once a run that an upload started has had time to look at it.
const LATER: [&str; 4] = ["--gather-seconds", "10", "--sync-schedule", "off"];

/// Waits until so many passages are found.
async fn until_found(instance: &Instance, query: &str, count: usize) {
    let begun = Instant::now();
    while found(instance, query).await != count {
        assert!(begun.elapsed() < PATIENCE, "{query}: {}", instance.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The messages that wait in the queue.
fn queue(data: &Path) -> String {
    std::fs::read_to_string(data.join("queues/outcrop-entryqueue.jsonl")).unwrap()
}

/// Waits until all messages were taken.
async fn until_taken(instance: &Instance, data: &Path) {
    let begun = Instant::now();
    while !queue(data).is_empty() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} {}",
            queue(data),
            instance.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Puts a document that everybody may read into the space's source, through S3.
async fn put(bucket: &Bucket, name: &str, text: &str) {
    let sidecar = json!({"metadataAttributes": {"readers": ["everyone"]}}).to_string();
    let key = format!("sources/default/{name}");
    let side = format!("{key}.metadata.json");
    bucket.put(&side, sidecar).await.unwrap();
    bucket.put(&key, text.to_owned()).await.unwrap();
}

#[tokio::test]
async fn an_object_is_asked_about_when_it_was_put_and_not_when_it_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_by_itself(folder.path(), &SOON).await;
    let bucket = instance.services().bucket;
    for elsewhere in ["texts/default/a.txt", "source/default/a.txt", "a.txt"] {
        bucket.put(elsewhere, "An ibex elsewhere.").await.unwrap();
        bucket.delete(elsewhere).await.unwrap();
    }
    assert_eq!(queue(folder.path()), "");
    put(&bucket, "ibex.txt", "An ibex climbs.").await;
    until_found(&instance, "ibex", 1).await;
    put(&bucket, "ibex.txt", "A marmot sleeps.").await;
    until_found(&instance, "marmot", 1).await;
    for name in ["ibex.txt", "ibex.txt.metadata.json"] {
        let key = format!("sources/default/{name}");
        bucket.delete(&key).await.unwrap();
    }
    until_found(&instance, "marmot", 0).await;
    assert_eq!(found(&instance, "ibex").await, 0);
}

/// The laptop's bucket is a folder. The store kept the ETag of what it had written, so that a change by hand that left the
/// length as it was stayed unseen.
#[tokio::test]
async fn files_that_people_put_into_the_buckets_folder_are_objects() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_by_itself(folder.path(), &SOON).await;
    let bucket = instance.services().bucket;
    drop_file(folder.path(), "dropped.txt", "An ibex climbs.");
    until_found(&instance, "ibex", 1).await;
    put(&bucket, "put.txt", "A marmot sleeps.").await;
    until_found(&instance, "marmot", 1).await;
    drop_file(folder.path(), "put.txt", "A lizard sleeps.");
    until_found(&instance, "lizard", 1).await;
    assert_eq!(found(&instance, "marmot").await, 0);
    let source = folder.path().join("s3/outcrop-bucket/sources/default");
    for name in ["put.txt", "put.txt.metadata.json"] {
        std::fs::remove_file(source.join(name)).unwrap();
    }
    until_found(&instance, "lizard", 0).await;
    assert_eq!(found(&instance, "ibex").await, 1);
}

#[tokio::test]
async fn an_upload_through_the_api_is_run_once() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_by_itself(folder.path(), &LATER).await;
    let (id, run) = instance.ingest("ibex.txt", "An ibex climbs.").await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let told = queue(folder.path());
    assert!(told.contains("sources/default/ibex.txt"), "{told}");
    until_taken(&instance, folder.path()).await;
    assert_eq!(runs(&instance).await.len(), 1);
    let request = instance.request(Method::DELETE, &format!("/v1/documents/{id}"));
    let deleted = instance.send(request).await;
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    instance
        .finished(deleted.body["run_id"].as_str().unwrap())
        .await;
    until_taken(&instance, folder.path()).await;
    assert_eq!(runs(&instance).await.len(), 2);
}

/// The table is out of order for a while; the queue brings its messages again, and nobody else has to.
#[tokio::test]
async fn what_cannot_be_started_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_by_itself(folder.path(), &SOON).await;
    let fault = json!({"service": "dynamodb", "error": "ThrottlingException"});
    instance.storage_fault(&fault).await;
    put(&instance.services().bucket, "ibex.txt", "An ibex climbs.").await;
    let begun = Instant::now();
    while !instance.log().contains("messages were not taken") {
        assert!(begun.elapsed() < PATIENCE, "{}", instance.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    instance.clear_faults().await;
    until_found(&instance, "ibex", 1).await;
}

#[tokio::test]
async fn an_event_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let slow = ["--gather-seconds", "300", "--sync-schedule", "off"];
    let mut instance = Instance::start_by_itself(folder.path(), &slow).await;
    put(&instance.services().bucket, "ibex.txt", "An ibex climbs.").await;
    instance.kill();
    let instance = Instance::start_by_itself(folder.path(), &SOON).await;
    until_found(&instance, "ibex", 1).await;
}

#[tokio::test]
async fn the_schedule_finds_what_no_event_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut quiet = Instance::start_in(folder.path()).await;
    quiet.ingest("a.txt", "An ibex climbs.").await;
    quiet.kill();
    drop_file(folder.path(), "a.txt", "A marmot sleeps.");
    let often = ["--sync-schedule", "rate(3 seconds)"];
    let instance = Instance::start_by_itself(folder.path(), &often).await;
    until_found(&instance, "marmot", 1).await;
    // It goes on, and a run that finds nothing changes nothing.
    let begun = Instant::now();
    while instance.get("/v1/runs").await.body["runs"]
        .as_array()
        .unwrap()
        .len()
        < 4
    {
        assert!(begun.elapsed() < PATIENCE, "{}", instance.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(found(&instance, "ibex").await, 0);
}

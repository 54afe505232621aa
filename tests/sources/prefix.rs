//! Objects of another bucket, with Bedrock's sidecars.

use std::path::Path;
use std::sync::Arc;

use aws::dynamo::keys;
use aws::{chance, clock};
use axum::http::Uri;
use knowledge::sync::rows::RunRow;
use serde_json::{Value, json};

use super::{books, failures, found, run, set};
use crate::index::Space;
use crate::index::unreliable::{self, Halt};
use crate::instance::Instance;

pub(super) fn put(bucket: &Path, key: &str, text: &str) {
    let file = bucket.join(key);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn objects_of_another_bucket_are_copied_with_their_sidecars() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let bucket = folder.path().join("s3/handbooks");
    put(&bucket, "docs/a.txt", "Marmots sleep in a.");
    put(&bucket, "docs/sub/b.txt", "Marmots sleep in b.");
    let sidecar = json!({"metadataAttributes": {"team": "alps", "readers": ["user:ada"]}});
    put(
        &bucket,
        "docs/sub/b.txt.metadata.json",
        &sidecar.to_string(),
    );
    put(&bucket, "docs/c.txt", "Marmots sleep in c.");
    put(&bucket, "docs/c.txt.metadata.json", "no json");
    put(&bucket, "else/d.txt", "Marmots sleep in d.");
    let source = json!({"kind": "s3", "bucket": "handbooks", "prefix": "docs/"});
    assert_eq!(set(&instance, "books", source).await.status, 200);
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("PARTIAL", [2, 0, 0, 1]), "{first}");
    assert_eq!(failures(&first), [("MalformedMetadata", "books/c.txt")]);
    // The sidecar's readers stand instead of the source's.
    assert_eq!(
        found(&instance, "marmots").await,
        ["s3://handbooks/docs/a.txt"]
    );
    let ada = crate::access::Caller::user(&instance, "ada", &[]);
    let filter = json!({"equals": {"key": "team", "value": "alps"}});
    let body = json!({"query": "marmots", "mode": "lexical", "filter": filter});
    let reply = ada.send("POST", "/v1/search", Some(&body)).await;
    assert_eq!(
        reply.body["results"][0]["uri"], "s3://handbooks/docs/sub/b.txt",
        "{}",
        reply.body
    );

    put(&bucket, "docs/c.txt.metadata.json", "{}");
    put(&bucket, "docs/a.txt", "Ibexes climb in a.");
    std::fs::remove_file(bucket.join("docs/sub/b.txt")).unwrap();
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("SUCCEEDED", [2, 0, 1, 0]), "{second}");
    assert_eq!(
        found(&instance, "ibexes").await,
        ["s3://handbooks/docs/a.txt"]
    );
    assert_eq!(
        found(&instance, "marmots").await,
        ["s3://handbooks/docs/c.txt"]
    );
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [0, 2, 0, 0])
    );

    // More than one listing's page.
    for number in 0..205 {
        put(
            &bucket,
            &format!("docs/many/{number:03}.txt"),
            "One of many.",
        );
    }
    // A dry run copies them all, and embeds none.
    let many = run(&instance, json!({"dry_run": true})).await;
    assert_eq!(books(&many), ("SUCCEEDED", [0, 2, 0, 0]), "{many}");
    assert_eq!(many["counts"]["pending"], 205);
}

/// A page of a listing without objects ended the source, and what came after it was taken for gone.
#[tokio::test]
async fn a_page_without_objects_is_not_the_end() {
    let answer = async |uri: Uri| {
        let is_second = uri
            .query()
            .unwrap_or_default()
            .contains("continuation-token=on");
        let body = match is_second {
            true => {
                "<IsTruncated>false</IsTruncated><Contents><Key>docs/a.txt</Key><Size>7</Size><ETag>e</ETag></Contents>"
            }
            false => {
                "<IsTruncated>true</IsTruncated><NextContinuationToken>on</NextContinuationToken>"
            }
        };
        format!("<ListBucketResult><Name>handbooks</Name>{body}</ListBucketResult>")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let space = Space::of(&address, "default", &[]);
    let bucket = space.aws.bucket.other("handbooks");
    let (listed, more) = bucket.list_page("docs/", None, 200).await.unwrap();
    let keys: Vec<&str> = listed.iter().map(|one| one.key.as_str()).collect();
    assert_eq!((keys, more), (vec!["docs/a.txt"], false));
}

/// The laptop keeps long keys under others, and gave pages in their order: whoever went on after a key met the same again.
#[tokio::test]
async fn long_keys_are_listed_in_their_own_order() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    let bucket = &space.aws.bucket;
    let long = "x".repeat(120);
    let key = |number: usize| match number % 3 {
        0 => format!("docs/{number:02}.txt"),
        _ => format!("docs/{number:02}-{long}.txt"),
    };
    let keys: Vec<String> = (0..25).map(key).collect();
    for key in &keys {
        bucket.put(key, "One of many.").await.unwrap();
    }
    let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    for _ in &keys {
        let page = bucket.list_page("docs/", after.as_deref(), 4).await;
        let (page, more) = page.unwrap();
        found.extend(page.into_iter().map(|one| one.key));
        after = found.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(found, keys);
}

/// Of two objects that came to one name the one that was listed last stood for both.
#[tokio::test]
async fn a_name_that_two_objects_come_to_is_the_first_ones() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let bucket = folder.path().join("s3/handbooks");
    put(&bucket, "docs/a.txt", "Marmots sleep in the folder.");
    put(&bucket, "docsa.txt", "Marmots sleep beside it.");
    let source = json!({"kind": "s3", "bucket": "handbooks", "prefix": "docs"});
    assert_eq!(set(&instance, "books", source).await.status, 200);
    for counts in [[1, 0, 0, 1], [0, 1, 0, 1]] {
        let run = run(&instance, json!({})).await;
        assert_eq!(books(&run), ("PARTIAL", counts), "{run}");
        assert_eq!(
            failures(&run),
            [("NameTaken", "books/s3://handbooks/docsa.txt")]
        );
        let reason = run["failures"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("docs/a.txt has its name"), "{reason}");
        let marmots = found(&instance, "marmots").await;
        assert_eq!(marmots, ["s3://handbooks/docs/a.txt"]);
    }
    // Once the first is gone, the other has the name.
    std::fs::remove_file(bucket.join("docs/a.txt")).unwrap();
    let last = run(&instance, json!({})).await;
    assert_eq!(books(&last), ("SUCCEEDED", [1, 0, 0, 0]), "{last}");
    let marmots = found(&instance, "marmots").await;
    assert_eq!(marmots, ["s3://handbooks/docsa.txt"]);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let bucket = folder.path().join("s3/handbooks");
    put(&bucket, "a.txt", "Marmots sleep in a.");
    let source: Value = json!({"kind": "s3", "bucket": "handbooks"});
    set(&instance, "books", source).await;
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [1, 0, 0, 0])
    );
    std::fs::remove_dir_all(&bucket).unwrap();
    let lost = run(&instance, json!({})).await;
    assert_eq!(books(&lost), ("PARTIAL", [0, 1, 0, 1]), "{lost}");
    assert_eq!(failures(&lost), [("SourceMissing", "books/")]);
    assert_eq!(found(&instance, "marmots").await, ["s3://handbooks/a.txt"]);
}

/// The row of a removed source was once deleted whatever it said by then.
#[tokio::test]
async fn a_source_that_is_set_again_while_a_run_takes_it_out_stays() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    put(
        &folder.path().join("s3/handbooks"),
        "a.txt",
        "Marmots sleep in a.",
    );
    let source = json!({"kind": "s3", "bucket": "handbooks"});
    assert_eq!(set(&instance, "books", source.clone()).await.status, 200);
    run(&instance, json!({})).await;
    let path = "/v1/spaces/default/sources/books";
    let removal = instance.request(reqwest::Method::DELETE, path);
    assert_eq!(instance.send(removal).await.status, 200);

    let form = json!({"source": source, "readers": ["everyone"]});
    let again = instance.request(reqwest::Method::PUT, path).json(&form);
    let (halt, deletion) = (Arc::new(Halt::default()), "DELETE /outcrop-bucket/fetched/");
    let door = unreliable::open_with_halt(&instance.aws, deletion, &halt).await;
    let space = Space::of(&door, "default", &[]);
    let now_ms = clock::now_ms();
    let run_id = format!("default.{}", chance::ulid(now_ms));
    let mut row = RunRow::queued(run_id.clone(), "default".to_owned(), now_ms);
    row.allow_deletions = true;
    space
        .aws
        .table
        .create(&keys::run(&run_id), &row)
        .await
        .unwrap();
    let meanwhile = async {
        halt.reached.notified().await;
        assert_eq!(instance.send(again).await.status, 200);
        halt.go_on.notify_one();
    };
    let (planned, ()) = futures_util::join!(space.step("plan", &run_id), meanwhile);
    planned.unwrap();

    let listed = instance.get("/v1/spaces/default/sources").await.body;
    assert_eq!(listed["sources"][0]["name"], "books", "{listed}");
    assert_eq!(listed["sources"][0]["removed"], Value::Null, "{listed}");
    let next = run(&instance, json!({})).await;
    assert_eq!(next["status"], "SUCCEEDED", "{next}");
    assert_eq!(found(&instance, "marmots").await, ["s3://handbooks/a.txt"]);
}

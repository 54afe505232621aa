use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::date_time::{DateTime, Format};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const HOST: &str = "127.0.0.1:4566";

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let keyed = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new()
        .chain_update(keyed(0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new().chain_update(keyed(0x5c)).chain_update(inner);
    outer.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signature Version 4 in the query, written out from its description, valid for `seconds` from `begun`.
fn presign(method: &str, path: &str, secret: &str, begun: u64, seconds: u32) -> String {
    let time = DateTime::from_secs(i64::try_from(begun).unwrap());
    let time: String = time.fmt(Format::DateTime).unwrap();
    let time = time.replace(['-', ':'], "");
    let day = &time[..8];
    let scope = format!("{day}/us-east-1/s3/aws4_request");
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F{}&X-Amz-Date={time}\
         &X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
        scope.replace('/', "%2F")
    );
    let canonical = format!("{method}\n{path}\n{query}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD");
    let digest = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let key = [day, "us-east-1", "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part)
        });
    format!("{path}?{query}&X-Amz-Signature={}", hex(&hmac(&key, &text)))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

async fn send(s3: &S3, method: &str, link: &str, body: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(link)
        .header("host", HOST)
        .header("content-length", body.len())
        .body(Body::from(body.to_owned()))
        .unwrap();
    let reply = s3.call(request).await;
    let status = reply.status().as_u16();
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn presigned_links_put_and_get_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(folder.path(), &["bucket".to_owned()], None).unwrap();
    let path = "/bucket/sources/a.txt";
    let link = |method: &str| presign(method, path, KEY, now(), 60);
    assert_eq!(send(&s3, "PUT", &link("PUT"), "granite").await.0, 200);
    let stored = folder.path().join("bucket/sources/a.txt");
    assert_eq!(std::fs::read_to_string(stored).unwrap(), "granite");
    let (status, text) = send(&s3, "GET", &link("GET"), "").await;
    assert_eq!((status, text.as_str()), (200, "granite"));
    let refused = [
        ("PUT", link("GET")),
        ("GET", link("GET").replace("a.txt", "b.txt")),
        ("GET", presign("GET", path, "another", now(), 60)),
        ("GET", presign("GET", path, KEY, now() - 3600, 60)),
    ];
    for (method, link) in refused {
        let (status, text) = send(&s3, method, &link, "").await;
        assert!(status == 403, "{method} {link}: {status} {text}");
    }
}

#[tokio::test]
async fn long_keys_are_stored_read_listed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(folder.path(), &["bucket".to_owned()], None).unwrap();
    let key = format!("sources/default/{}a.txt", "crates/folder/".repeat(40));
    let path = format!("/bucket/{key}");
    let link = |method: &str| presign(method, &path, KEY, now(), 60);
    assert_eq!(send(&s3, "PUT", &link("PUT"), "granite").await.0, 200);
    assert_eq!(send(&s3, "GET", &link("GET"), "").await.1, "granite");
    let read = s3.read("bucket", &key).await.unwrap();
    assert_eq!(read.as_deref(), Some(b"granite".as_slice()));
    let listed = presign("GET", "/bucket", KEY, now(), 60);
    let text = send(&s3, "GET", &listed, "").await.1;
    assert!(text.contains(&format!("<Key>{key}</Key>")), "{text}");
    assert_eq!(send(&s3, "DELETE", &link("DELETE"), "").await.0, 204);
    assert_eq!(send(&s3, "GET", &link("GET"), "").await.0, 404);
}

/// The file system made a folder of any name, so that a misspelt bucket took uploads.
#[tokio::test]
async fn a_bucket_that_does_not_exist_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(folder.path(), &["bucket".to_owned()], None).unwrap();
    let path = "/buckett/a.txt";
    for method in ["PUT", "GET", "DELETE"] {
        let link = presign(method, path, KEY, now(), 60);
        let (status, text) = send(&s3, method, &link, "granite").await;
        assert!(
            status == 404 && text.contains("<Code>NoSuchBucket</Code>"),
            "{method}: {status} {text}"
        );
    }
    let forged = presign("PUT", path, "another", now(), 60);
    assert_eq!(send(&s3, "PUT", &forged, "granite").await.0, 403);
    assert!(!folder.path().join("buckett").exists());
}

#[tokio::test]
async fn objects_are_read_from_their_bucket_only() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(&folder.path().join("s3"), &["b".to_owned()], None).unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    std::fs::write(folder.path().join("s3/b/plan.jsonl"), "{}").unwrap();
    let outside = folder.path().join("secret");
    let check = async |bucket: &str, key: &str, expected: Option<&str>| {
        let read = s3.read(bucket, key).await.unwrap();
        assert_eq!(
            read.as_deref(),
            expected.map(str::as_bytes),
            "{bucket} {key}"
        );
    };
    check("b", "plan.jsonl", Some("{}")).await;
    check("b", "missing", None).await;
    check("b", "", None).await;
    check("b", "../../secret", None).await;
    check("b", outside.to_str().unwrap(), None).await;
    check("..", "secret", None).await;
    check("", "b/plan.jsonl", None).await;
}

/// A reply that comes before the body was read ended the connection, which clients keep for the next request.
#[tokio::test]
async fn a_refusal_before_the_body_keeps_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(folder.path(), &["bucket".to_owned()], None).unwrap();
    let router = axum::Router::new().fallback(move |request: Request<Body>| {
        let s3 = s3.clone();
        async move { s3.call(request).await }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for (secret, body, status) in [("another", "gra|nite", "403"), (KEY, "gra|nite", "200")] {
        let link = presign("PUT", "/bucket/a.txt", secret, now(), 60);
        let (first, rest) = body.split_once('|').unwrap();
        let length = first.len() + rest.len();
        let head = format!(
            "PUT {link} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n{first}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The rest comes when the refusal is long made.
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut reply = vec![0; 4096];
        let length = stream.read(&mut reply).await.unwrap();
        let reply = String::from_utf8_lossy(&reply[..length]);
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status}")),
            "{secret}: {reply}"
        );
        // Whatever is left of this reply, before the next request.
        let mut more = [0; 4096];
        let left = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut more));
        assert!(
            !matches!(left.await, Ok(Ok(0))),
            "{secret}: the connection was closed"
        );
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join("bucket/a.txt")).unwrap(),
        "granite"
    );
}

/// A store whose objects below `sources/` are told of, and the queue that hears of them.
fn telling(folder: &Path) -> (S3, Arc<crate::queues::Queue>) {
    use crate::events::{Bus, Rule, Target};
    let clock = Arc::new(crate::states::Clock::fast(1_793_534_400_000, 7, 1));
    let day = Duration::from_secs(86_400);
    let queue = crate::queues::Queue::open(&folder.join("queues"), "q", day, clock.clone());
    let queue = Arc::new(queue.unwrap());
    let target = Target {
        queue: queue.clone(),
        input: None,
    };
    let pattern = serde_json::json!({
        "source": ["aws.s3"],
        "detail": {"bucket": {"name": ["bucket"]}, "object": {"key": [{"prefix": "sources/"}]}},
    });
    let bus = Bus::new(vec![Rule::new(&pattern, vec![target]).unwrap()], clock);
    let (root, bucket) = (folder.join("s3"), "bucket".to_owned());
    let told = Told::new(&root, std::slice::from_ref(&bucket), bus).unwrap();
    let buckets = [bucket, "silent".to_owned()];
    (
        S3::open(&root, &buckets, Some(Arc::new(told))).unwrap(),
        queue,
    )
}

/// The events that wait in a queue.
async fn told(queue: &crate::queues::Queue) -> Vec<serde_json::Value> {
    let taken = queue.receive(Duration::ZERO, 100).await;
    let read = |body: &str| serde_json::from_str(body).unwrap();
    let events = taken.iter().map(|message| read(&message.body)).collect();
    queue.settle(taken, &std::collections::BTreeSet::new());
    events
}

#[tokio::test]
async fn objects_are_told_of_as_s3_tells_eventbridge() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, queue) = telling(folder.path());
    let send = async |method: &str, path: &str, body: &str| {
        let status = send(&s3, method, &presign(method, path, KEY, now(), 60), body).await;
        assert!(status.0 < 300, "{method} {path}: {status:?}");
    };
    for path in [
        "/bucket/texts/a.txt",
        "/bucket/source",
        "/silent/sources/a.txt",
    ] {
        send("PUT", path, "granite").await;
        send("DELETE", path, "").await;
    }
    send("PUT", "/bucket/sources/a.txt", "granite").await;
    send("DELETE", "/bucket/sources/a.txt", "").await;
    // It is gone already.
    send("DELETE", "/bucket/sources/a.txt", "").await;
    let mut events = told(&queue).await;
    let mut last = String::new();
    for event in &mut events {
        let sequencer = event["detail"]["object"]["sequencer"].as_str().unwrap();
        assert!(*sequencer > *last, "{last} {sequencer}");
        last = sequencer.to_owned();
        for drawn in [
            "/id",
            "/time",
            "/detail/request-id",
            "/detail/object/sequencer",
        ] {
            *event.pointer_mut(drawn).unwrap() = "drawn".into();
        }
    }
    insta::assert_json_snapshot!(events);
}

#[tokio::test]
async fn every_way_to_write_an_object_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (s3, queue) = telling(folder.path());
    let check = async |key: &str, reason: &str| {
        let events = told(&queue).await;
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        let found = (
            &event["detail"]["object"]["key"],
            &event["detail"]["reason"],
        );
        assert_eq!(found, (&key.into(), &reason.into()));
    };
    let long = format!("sources/{}a.txt", "crates/folder/".repeat(40));
    let link = |method: &str, path: &str| presign(method, path, KEY, now(), 60);
    let path = format!("/bucket/{long}");
    send(&s3, "PUT", &link("PUT", &path), "granite").await;
    check(&long, "PutObject").await;
    send(&s3, "DELETE", &link("DELETE", &path), "").await;
    check(&long, "DeleteObject").await;
    let file = folder.path().join("s3/batch.jsonl");
    std::fs::write(&file, "granite").unwrap();
    s3.adopt("bucket", "sources/out.jsonl", &file)
        .await
        .unwrap();
    check("sources/out.jsonl", "PutObject").await;
}

/// The store keeps the ETag of what it wrote, and went on telling it of another file in that one's place.
#[tokio::test]
async fn a_file_in_an_objects_place_has_an_etag_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::open(folder.path(), &["bucket".to_owned()], None).unwrap();
    let etag = async || {
        let link = presign("HEAD", "/bucket/a.txt", KEY, now(), 60);
        let request = Request::builder()
            .method("HEAD")
            .uri(link)
            .header("host", HOST);
        let reply = s3.call(request.body(Body::empty()).unwrap()).await;
        reply.headers()["etag"].to_str().unwrap().to_owned()
    };
    let link = presign("PUT", "/bucket/a.txt", KEY, now(), 60);
    send(&s3, "PUT", &link, "granite").await;
    let written = etag().await;
    assert_eq!(etag().await, written);
    std::fs::write(folder.path().join("bucket/a.txt"), "diorite").unwrap();
    let changed = etag().await;
    assert_ne!(changed, written);
    // A file that is moved here is as old as it was elsewhere.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "granite").unwrap();
    let old = std::fs::File::open(&elsewhere).unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    std::fs::rename(&elsewhere, folder.path().join("bucket/a.txt")).unwrap();
    assert_eq!(etag().await, written);
}

/// What is being copied is told of once, when it has stayed the same from one look to the next.
#[tokio::test]
async fn files_that_people_put_are_told_of_when_they_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("s3/bucket/sources/team");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("there.txt"), "granite").unwrap();
    let (s3, queue) = telling(folder.path());
    let watched = s3.told.clone().unwrap();
    let mut unsettled = Default::default();
    let mut look = async || {
        watched.look_once(&mut unsettled).await.unwrap();
        // What a queue that hears of nothing else tells shows what a look told.
        send(
            &s3,
            "PUT",
            &presign("PUT", "/bucket/sources/mark", KEY, now(), 60),
            "m",
        )
        .await;
        let events = told(&queue).await;
        let (mark, events) = events.split_last().unwrap();
        assert_eq!(mark["detail"]["object"]["key"], "sources/mark");
        let told = events.iter().map(|event| {
            let (kind, object) = (&event["detail-type"], &event["detail"]["object"]);
            format!(
                "{} {}",
                kind.as_str().unwrap(),
                object["key"].as_str().unwrap()
            )
        });
        told.collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    // What was there at the start is nothing new, and other folders are not looked into.
    std::fs::create_dir_all(folder.path().join("s3/bucket/texts")).unwrap();
    std::fs::write(folder.path().join("s3/bucket/texts/a"), "a").unwrap();
    assert_eq!((look().await, look().await), (vec![], vec![]));
    std::fs::write(source.join("a.txt"), "gra").unwrap();
    assert_eq!(look().await, none);
    std::fs::write(source.join("a.txt"), "granite").unwrap();
    assert_eq!(look().await, none);
    assert_eq!(look().await, ["Object Created sources/team/a.txt"]);
    assert_eq!(look().await, none);
    std::fs::remove_file(source.join("there.txt")).unwrap();
    assert_eq!(look().await, none);
    assert_eq!(look().await, ["Object Deleted sources/team/there.txt"]);
    assert_eq!(look().await, none);
    // An editor that puts a new file in the old one's place.
    std::fs::remove_file(source.join("a.txt")).unwrap();
    assert_eq!(look().await, none);
    std::fs::write(source.join("a.txt"), "granite, again").unwrap();
    assert_eq!(look().await, none);
    assert_eq!(look().await, ["Object Created sources/team/a.txt"]);
}

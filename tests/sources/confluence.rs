//! Confluence Cloud, as its REST API version 2 answers.

use std::path::Path;

use serde_json::{Value, json};

use super::stub::{Page, Stub};
use super::{books, failures, found, noted, run, set};
use crate::instance::Instance;

/// A secret of the laptop: a file. It may be sent to the stub.
pub(super) fn secret(folder: &Path, name: &str, stub: &Stub, value: &Value) {
    let mut value = value.clone();
    value["origins"] = json!([stub.url]);
    write_secret(folder, name, &value);
}

fn write_secret(folder: &Path, name: &str, value: &Value) {
    let file = folder.join("secrets/outcrop/default").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, value.to_string()).unwrap();
}

const FIRST: &str = "/wiki/api/v2/pages?status=current&limit=250&space-id=7";
const SECOND: &str = "/wiki/api/v2/pages?limit=250&cursor=second";

fn listed(pages: &[(&str, u64)], next: Option<&str>) -> Page {
    let results: Vec<Value> = pages
        .iter()
        .map(|(id, version)| json!({"id": id, "status": "current", "title": "t", "spaceId": "7", "version": {"number": version}}))
        .collect();
    let links = next.map_or(json!({}), |next| json!({ "next": next }));
    Page::of(200, json!({"results": results, "_links": links}))
}

fn place(id: &str) -> String {
    format!("/wiki/api/v2/pages/{id}?body-format=export_view")
}

fn page(id: &str, version: u64, title: &str, words: &str) -> Page {
    let body = json!({"export_view": {"representation": "export_view", "value": format!("<p>{words}</p>")}});
    let links = json!({"webui": format!("/spaces/ENG/pages/{id}")});
    let version = json!({"number": version});
    Page::of(
        200,
        json!({"id": id, "title": title, "version": version, "body": body, "_links": links}),
    )
}

fn wiki(stub: &Stub) {
    let spaces = json!({"results": [{"id": "7", "key": "ENG"}], "_links": {}});
    stub.put(
        "/wiki/api/v2/spaces?keys=ENG&limit=250",
        Page::of(200, spaces),
    );
    stub.put(FIRST, listed(&[("1", 1), ("2", 1)], Some(SECOND)));
    stub.put(SECOND, listed(&[("3", 4)], None));
    stub.put(
        &place("1"),
        page("1", 1, "On & off", "Marmots sleep on page one."),
    );
    stub.put(
        &place("2"),
        page("2", 1, "Two", "Marmots sleep on page two."),
    );
    stub.put(
        &place("3"),
        page("3", 4, "Three", "Marmots sleep on page three."),
    );
}

/// Beyond what one request takes, spaces that stood on a later page were told as missing.
#[tokio::test]
async fn many_spaces_are_asked_for_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    secret(folder.path(), "wiki", &stub, &json!({"token": "t"}));
    let keys: Vec<String> = (0..130).map(|number| format!("S{number}")).collect();
    let spaces = |numbers: std::ops::Range<usize>, next: Option<&str>| {
        let spaces: Vec<Value> = numbers
            .map(|number| json!({"id": number.to_string(), "key": format!("S{number}")}))
            .collect();
        let links = next.map_or(json!({}), |next| json!({ "next": next }));
        Page::of(200, json!({"results": spaces, "_links": links}))
    };
    let asked = |keys: &[String]| format!("/wiki/api/v2/spaces?keys={}&limit=250", keys.join(","));
    let rest = "/wiki/api/v2/spaces?cursor=rest";
    stub.put(&asked(&keys[..100]), spaces(0..60, Some(rest)));
    stub.put(rest, spaces(60..100, None));
    stub.put(&asked(&keys[100..]), spaces(100..130, None));
    let listing = |numbers: std::ops::Range<usize>| {
        let ids: String = numbers
            .map(|number| format!("&space-id={number}"))
            .collect();
        format!("/wiki/api/v2/pages?status=current&limit=250{ids}")
    };
    stub.put(&listing(0..100), listed(&[("1", 1)], Some(SECOND)));
    stub.put(SECOND, listed(&[("2", 1)], None));
    stub.put(&listing(100..130), listed(&[("3", 1)], None));
    for id in ["1", "2", "3"] {
        stub.put(&place(id), page(id, 1, "t", "Marmots sleep."));
    }
    let source = json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": keys});
    assert_eq!(set(&instance, "wiki", source).await.status, 200);
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [3, 0, 0, 0]), "{first}");
    assert_eq!(pages(&instance, "marmots").await, ["1", "2", "3"]);
}

async fn pages(instance: &Instance, query: &str) -> Vec<String> {
    let uris = found(instance, query).await;
    uris.iter()
        .map(|uri| uri.rsplit('/').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_are_read_when_their_version_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    secret(
        folder.path(),
        "wiki",
        &stub,
        &json!({"email": "ada@example.com", "token": "t"}),
    );
    wiki(&stub);
    let source =
        json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": ["ENG"]});
    assert_eq!(set(&instance, "wiki", source).await.status, 200);
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [3, 0, 0, 0]), "{first}");
    assert_eq!(pages(&instance, "marmots").await, ["1", "2", "3"]);
    let asked = stub.asked();
    assert!(
        asked
            .iter()
            .all(|one| one.headers["authorization"] == "Basic YWRhQGV4YW1wbGUuY29tOnQ=")
    );
    let titles = instance.get("/v1/documents").await.body;
    let titles: Vec<&str> = titles["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["title"].as_str().unwrap())
        .collect();
    assert!(titles.contains(&"On & off"), "{titles:?}");

    // One is edited, one is renamed, one is moved to the bin.
    stub.put(FIRST, listed(&[("1", 2), ("2", 2)], None));
    stub.put(
        &place("1"),
        page("1", 2, "On & off", "Ibexes climb on page one."),
    );
    stub.put(
        &place("2"),
        page("2", 2, "Second", "Marmots sleep on page two."),
    );
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("SUCCEEDED", [2, 0, 1, 0]), "{second}");
    assert_eq!(
        (
            pages(&instance, "ibexes").await,
            pages(&instance, "marmots").await
        ),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );
    let lines = stub.lines();
    assert!(
        !lines.iter().any(|line| line.contains("/pages/3")),
        "{lines:?}"
    );
    assert_eq!(noted(&instance, "wiki").await["documents"], 2);

    // Nothing changed: no page is read.
    let same = run(&instance, json!({})).await;
    assert_eq!(books(&same), ("SUCCEEDED", [0, 2, 0, 0]));
    assert_eq!(stub.lines().len(), 2);
}

#[tokio::test]
async fn throttling_and_expired_cursors_are_waited_for_and_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    secret(folder.path(), "wiki", &stub, &json!({"token": "t"}));
    wiki(&stub);
    let busy = page("2", 1, "Two", "Marmots sleep on page two.").after(429, Some("1"));
    stub.put(&place("2"), busy);
    let expired = listed(&[("3", 4)], None)
        .after(429, Some("1"))
        .after(400, None);
    stub.put(SECOND, expired);
    let source =
        json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": ["ENG"]});
    set(&instance, "wiki", source).await;
    let run = run(&instance, json!({})).await;
    assert_eq!(books(&run), ("SUCCEEDED", [3, 0, 0, 0]), "{run}");
    let asked = stub.asked();
    assert!(
        asked
            .iter()
            .all(|one| one.headers["authorization"] == "Bearer t")
    );
    let times = |part: &str| asked.iter().filter(|one| one.line.contains(part)).count();
    // The first listing twice, and no page of it again.
    assert_eq!(
        (times("space-id=7"), times("/pages/1?"), times("/pages/2?")),
        (2, 1, 2)
    );
}

#[tokio::test]
async fn what_confluence_does_not_give_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    let source =
        json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": ["ENG"]});
    set(&instance, "wiki", source).await;
    wiki(&stub);
    let lost = async |error: &str| {
        let run = run(&instance, json!({})).await;
        assert_eq!(failures(&run), [(error, "wiki/")], "{run}");
        assert_eq!(run["counts"]["deleted"], 0);
    };
    lost("SecretMissing").await;
    secret(folder.path(), "wiki", &stub, &json!({"password": "t"}));
    lost("SecretUnreadable").await;
    secret(folder.path(), "wiki", &stub, &json!({"token": "t"}));
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [3, 0, 0, 0])
    );

    // One page fails, the others are as they were.
    stub.put(FIRST, listed(&[("1", 2), ("2", 1)], Some(SECOND)));
    stub.put(&place("1"), Page::of(500, ""));
    let broken = run(&instance, json!({})).await;
    assert_eq!(books(&broken), ("PARTIAL", [0, 2, 0, 1]), "{broken}");
    assert_eq!(pages(&instance, "marmots").await, ["1", "2", "3"]);
    // The credential is refused; the space is hidden from it; a link leads elsewhere with it.
    stub.put(FIRST, Page::of(401, ""));
    lost("CredentialRefused").await;
    stub.put(
        "/wiki/api/v2/spaces?keys=ENG&limit=250",
        Page::of(200, json!({"results": []})),
    );
    lost("SourceMissing").await;
    wiki(&stub);
    let other = Stub::start().await;
    stub.put(
        FIRST,
        listed(
            &[("1", 1), ("2", 1)],
            Some(&format!("{}/wiki/api/v2/pages", other.url)),
        ),
    );
    lost("SourceUnreadable").await;
    // Nor does it go along where the site itself leads away.
    let away = format!("{}/wiki/api/v2/pages", other.url);
    stub.put(FIRST, Page::of(302, "").header("location", away));
    lost("SourceUnreadable").await;
    assert!(other.asked().is_empty());
    assert_eq!(pages(&instance, "marmots").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_secret_is_sent_only_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    wiki(&stub);
    let source =
        json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": ["ENG"]});
    assert_eq!(set(&instance, "wiki", source).await.status, 200);
    let check = async |origins: Value, sent: bool| {
        let value = json!({"token": "t", "origins": origins});
        write_secret(folder.path(), "wiki", &value);
        let run = run(&instance, json!({})).await;
        let expected: &[(&str, &str)] = match sent {
            true => &[],
            false => &[("SecretOriginRefused", "wiki/")],
        };
        assert_eq!(failures(&run), expected, "{run}");
        assert_eq!(stub.asked().is_empty(), !sent);
    };
    check(json!([]), false).await;
    check(json!(["https://example.atlassian.net"]), false).await;
    // The same host under another port is another origin.
    check(json!(["http://127.0.0.1"]), false).await;
    check(json!(["https://example.atlassian.net", stub.url]), true).await;
}

#[tokio::test]
async fn one_odd_reply_fails_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    secret(folder.path(), "wiki", &stub, &json!({"token": "t"}));
    wiki(&stub);
    let source =
        json!({"kind": "confluence", "url": stub.url, "secret": "wiki", "spaces": ["ENG"]});
    set(&instance, "wiki", source).await;
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [3, 0, 0, 0]), "{first}");
    // A page without a version, one that is no JSON, and an id that is none; the listing fails once, too.
    let odd = json!([{"id": "1"}, {"id": "2", "version": {"number": 9}}, {"id": "../x", "version": {"number": 1}}]);
    let odd = Page::of(200, json!({"results": odd, "_links": {"next": SECOND}}));
    stub.put(FIRST, odd.after(502, None));
    stub.put(&place("2"), Page::of(200, "no json"));
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("PARTIAL", [0, 1, 0, 3]), "{second}");
    assert!(
        failures(&second)
            .iter()
            .all(|(error, _)| *error == "PageUnreadable"),
        "{second}"
    );
    // Whose entry has no id, nobody knows: nothing is gone.
    let nameless = json!({"results": [{"title": "t"}], "_links": {}});
    stub.put(FIRST, Page::of(200, nameless));
    let third = run(&instance, json!({})).await;
    assert_eq!(books(&third), ("PARTIAL", [0, 3, 0, 1]), "{third}");
    assert_eq!(pages(&instance, "marmots").await, ["1", "2", "3"]);
}

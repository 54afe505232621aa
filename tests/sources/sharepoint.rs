//! SharePoint, as Microsoft Graph and the Microsoft identity platform answer.

use serde_json::{Value, json};

use super::confluence::secret;
use super::stub::{Page, Stub};
use super::{books, failures, found, noted, run, set};
use crate::instance::Instance;

const ROOT: &str = "/v1.0/sites/example.sharepoint.com:/sites/team:/drive/root/delta";
const LATER: &str = "/v1.0/drives/d/root/delta?token=later";
const LATEST: &str = "/v1.0/drives/d/root/delta?token=latest";
const TOKEN: &str = "/tenant-1/oauth2/v2.0/token";

fn file(id: &str, name: &str, version: &str) -> Value {
    json!({
        "id": id, "name": name, "size": 30, "cTag": version, "webUrl": format!("https://example.sharepoint.com/{id}"),
        "file": {"mimeType": "text/plain"}, "parentReference": {"path": "/drive/root:/General"},
    })
}

fn changes(stub: &Stub, items: Vec<Value>, next: Option<&str>, delta: Option<&str>) -> Page {
    let mut page = json!({ "value": items });
    if let Some(next) = next {
        page["@odata.nextLink"] = json!(format!("{}{next}", stub.url));
    }
    if let Some(delta) = delta {
        page["@odata.deltaLink"] = json!(format!("{}{delta}", stub.url));
    }
    Page::of(200, page)
}

/// The bytes of a file lie elsewhere, and are given to whoever has the link.
fn content(stub: &Stub, store: &Stub, id: &str, text: &str) {
    let place = format!("/v1.0/sites/example.sharepoint.com:/sites/team:/drive/items/{id}/content");
    stub.put(
        &place,
        Page::of(302, "").header("location", format!("{}/{id}?sig=1", store.url)),
    );
    store.put(&format!("/{id}?sig=1"), Page::of(200, text));
}

async fn started(folder: &std::path::Path) -> (Instance, Stub, Stub) {
    let (stub, store) = (Stub::start().await, Stub::start().await);
    let instance = Instance::start_in(folder).await;
    secret(
        folder,
        "team",
        &stub,
        &json!({"tenant": "tenant-1", "client_id": "c", "client_secret": "s&s"}),
    );
    stub.put(
        TOKEN,
        Page::of(
            200,
            json!({"access_token": "one", "expires_in": 3599, "token_type": "Bearer"}),
        ),
    );
    let source = json!({
        "kind": "sharepoint", "site": "example.sharepoint.com:/sites/team:", "secret": "team", "graph": stub.url, "login": stub.url,
    });
    assert_eq!(set(&instance, "team", source).await.status, 200);
    let folder = json!({"id": "f", "name": "General", "folder": {"childCount": 2}});
    let picture = json!({"id": "p", "name": "p.png", "file": {"mimeType": "image/png"}});
    stub.put(
        ROOT,
        changes(
            &stub,
            vec![folder, picture, file("1", "Plan one.txt", "v1")],
            Some("/v1.0/next?p=2"),
            None,
        ),
    );
    stub.put(
        "/v1.0/next?p=2",
        changes(&stub, vec![file("2", "two.txt", "v1")], None, Some(LATER)),
    );
    content(&stub, &store, "1", "Marmots sleep in file one.");
    content(&stub, &store, "2", "Marmots sleep in file two.");
    (instance, stub, store)
}

async fn files(instance: &Instance, query: &str) -> Vec<String> {
    let uris = found(instance, query).await;
    uris.iter()
        .map(|uri| uri.rsplit('/').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_first_run_lists_all_and_the_next_ones_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub, store) = started(folder.path()).await;
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [2, 0, 0, 0]), "{first}");
    assert_eq!(files(&instance, "marmots").await, ["1", "2"]);
    let asked = stub.asked();
    let form = &asked
        .iter()
        .find(|one| one.line.contains("oauth2"))
        .unwrap()
        .body;
    assert!(
        form.contains("grant_type=client_credentials") && form.contains("client_secret=s%26s"),
        "{form}"
    );
    assert!(form.contains("%2F.default"), "{form}");
    let sent = store.asked();
    assert!(
        sent.iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{sent:?}"
    );

    // One is edited, one deleted, one new; what was not told of stays.
    let gone = json!({"id": "2", "name": "two.txt", "deleted": {"state": "deleted"}});
    stub.put(
        LATER,
        changes(
            &stub,
            vec![
                gone,
                file("3", "three.txt", "v1"),
                file("1", "Plan one.txt", "v2"),
            ],
            None,
            Some(LATEST),
        ),
    );
    content(&stub, &store, "1", "Ibexes climb in file one.");
    content(&stub, &store, "3", "Ibexes climb in file three.");
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("SUCCEEDED", [2, 0, 1, 0]), "{second}");
    assert_eq!(
        (
            files(&instance, "ibexes").await,
            files(&instance, "marmots").await
        ),
        (vec!["1".to_owned(), "3".to_owned()], vec![])
    );
    assert!(
        !stub
            .lines()
            .iter()
            .any(|line| line.contains("/drive/root/delta"))
    );

    stub.put(LATEST, changes(&stub, Vec::new(), None, Some(LATEST)));
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [0, 2, 0, 0])
    );
    assert_eq!(noted(&instance, "team").await["documents"], 2);
}

#[tokio::test]
async fn tokens_and_cursors_expire_and_graph_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub, store) = started(folder.path()).await;
    // The token expires between two pages, and the store wants a pause.
    let second = changes(&stub, vec![file("2", "two.txt", "v1")], None, Some(LATER));
    stub.put(
        "/v1.0/next?p=2",
        second.after(401, None).after(429, Some("1")),
    );
    store.put(
        "/2?sig=1",
        Page::of(200, "Marmots sleep in file two.").after(503, Some("1")),
    );
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [2, 0, 0, 0]), "{first}");
    let tokens = stub
        .lines()
        .iter()
        .filter(|line| line.contains("oauth2"))
        .count();
    assert!(tokens >= 2, "{tokens}");

    // The link to what changed is too old: everything is listed, and what is not in it is gone.
    stub.put(
        LATER,
        Page::of(410, json!({"error": {"code": "resyncRequired"}})),
    );
    stub.put(
        ROOT,
        changes(
            &stub,
            vec![file("1", "Plan one.txt", "v1")],
            None,
            Some(LATEST),
        ),
    );
    let again = run(&instance, json!({})).await;
    assert_eq!(books(&again), ("SUCCEEDED", [0, 1, 1, 0]), "{again}");
    assert_eq!(files(&instance, "marmots").await, ["1"]);
}

#[tokio::test]
async fn a_file_that_fails_is_asked_for_again_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub, store) = started(folder.path()).await;
    store.put("/1?sig=1", Page::of(500, ""));
    let broken = run(&instance, json!({})).await;
    assert_eq!(books(&broken), ("PARTIAL", [1, 0, 0, 1]), "{broken}");
    assert_eq!(failures(&broken)[0].0, "FileUnreadable");
    store.put("/1?sig=1", Page::of(200, "Marmots sleep in file one."));
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [1, 1, 0, 0])
    );
    // The credential is refused: nothing changes.
    stub.put(TOKEN, Page::of(401, ""));
    let refused = run(&instance, json!({})).await;
    assert_eq!(
        failures(&refused),
        [("CredentialRefused", "team/")],
        "{refused}"
    );
    assert_eq!(files(&instance, "marmots").await, ["1", "2"]);
    // A link that would take the token elsewhere is not followed.
    stub.put(TOKEN, Page::of(200, json!({"access_token": "two"})));
    let other = Stub::start().await;
    let mut page = json!({"value": []});
    page["@odata.nextLink"] = json!(format!("{}/v1.0/next", other.url));
    stub.put(LATER, Page::of(200, page));
    let led = run(&instance, json!({})).await;
    assert_eq!(failures(&led), [("SourceUnreadable", "team/")], "{led}");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_source_that_is_removed_and_set_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub, _store) = started(folder.path()).await;
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [2, 0, 0, 0])
    );
    stub.put(LATER, changes(&stub, Vec::new(), None, Some(LATEST)));
    stub.put(LATEST, changes(&stub, Vec::new(), None, Some(LATEST)));
    let path = "/v1/spaces/default/sources/team";
    let removed = instance
        .send(instance.request(reqwest::Method::DELETE, path))
        .await;
    assert_eq!(run(&instance, json!({})).await["error"], "BrakePulled");
    assert_eq!(
        set(&instance, "team", removed.body["source"].clone())
            .await
            .status,
        200
    );
    let again = run(&instance, json!({})).await;
    assert_eq!(books(&again), ("SUCCEEDED", [0, 2, 0, 0]), "{again}");
    assert_eq!(files(&instance, "marmots").await, ["1", "2"]);
}

/// Graph does not name every file of a folder that is deleted.
#[tokio::test]
async fn files_of_a_deleted_folder_are_gone_though_nothing_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub, _store) = started(folder.path()).await;
    run(&instance, json!({})).await;
    let deleted = json!({"id": "f", "name": "General", "deleted": {"state": "deleted"}});
    stub.put(LATER, changes(&stub, vec![deleted], None, Some(LATEST)));
    let left = vec![file("1", "Plan one.txt", "v1")];
    stub.put(ROOT, changes(&stub, left, None, Some(LATEST)));
    let second = run(&instance, json!({})).await;
    assert_eq!(books(&second), ("SUCCEEDED", [0, 1, 1, 0]), "{second}");
    assert_eq!(files(&instance, "marmots").await, ["1"]);
}

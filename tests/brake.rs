//! Bringing a space to what its source holds: what would change is told first, and a source that lost much deletes
//! nothing until somebody says so.

use std::path::Path;
use std::process::Command;

use knowledge::digest::sha256_hex;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::instance::Instance;

/// The folder that the space's source is, on the laptop.
fn source(folder: &Path) -> std::path::PathBuf {
    folder.join("s3/outcrop-bucket/sources/default")
}

/// Puts a document into the source that everyone may read, past the API.
fn put(source: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(source).unwrap();
    std::fs::write(source.join(name), text).unwrap();
    let sidecar = json!({"metadataAttributes": {"readers": ["everyone"]}});
    std::fs::write(
        source.join(format!("{name}.metadata.json")),
        sidecar.to_string(),
    )
    .unwrap();
}

fn remove(source: &Path, name: &str) {
    for file in [name.to_owned(), format!("{name}.metadata.json")] {
        std::fs::remove_file(source.join(file)).unwrap();
    }
}

async fn run(instance: &Instance, body: Value) -> Value {
    let reply = instance.post("/v1/runs", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await
}

async fn changes(instance: &Instance, run: &Value) -> Vec<(String, String)> {
    let path = format!("/v1/runs/{}/changes", run["run_id"].as_str().unwrap());
    let reply = instance.get(&path).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let changes = reply.body["changes"].as_array().unwrap().iter();
    changes
        .map(|one| (word(&one["change"]), word(&one["name"])))
        .collect()
}

async fn found(instance: &Instance, query: &str) -> usize {
    let body = json!({"query": query, "mode": "lexical"});
    let reply = instance.post("/v1/search", &body).await;
    reply.body["results"].as_array().unwrap().len()
}

fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(change, name)| ((*change).to_owned(), (*name).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_source_that_lost_much_deletes_nothing_until_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let source = source(folder.path());
    for number in 0..5 {
        let text = format!("Marmot number {number} sleeps.");
        put(&source, &format!("marmot-{number}.txt"), &text);
    }
    let first = run(&instance, json!({})).await;
    assert_eq!(
        (&first["status"], &first["counts"]["published"]),
        (&json!("SUCCEEDED"), &json!(5))
    );
    assert_eq!(changes(&instance, &first).await.len(), 5);

    // One is changed, one renamed, one new, two gone.
    put(&source, "marmot-0.txt", "Marmot number 0 whistles.");
    remove(&source, "marmot-1.txt");
    put(&source, "alps.txt", "Marmot number 1 sleeps.");
    put(&source, "ibex.txt", "The ibex climbs.");
    remove(&source, "marmot-2.txt");
    remove(&source, "marmot-3.txt");
    let expected = told(&[
        ("new", "ibex.txt"),
        ("changed", "marmot-0.txt"),
        ("renamed", "alps.txt"),
        ("deleted", "marmot-2.txt"),
        ("deleted", "marmot-3.txt"),
    ]);
    let dry = run(&instance, json!({"dry_run": true})).await;
    assert_eq!(
        (&dry["status"], &dry["counts"]["published"]),
        (&json!("SUCCEEDED"), &json!(0))
    );
    // Six things to do, the renamed document counts twice, and one that is as it was.
    assert_eq!(
        (&dry["counts"]["pending"], &dry["counts"]["unchanged"]),
        (&json!(6), &json!(1))
    );
    assert_eq!(changes(&instance, &dry).await, expected);
    assert_eq!(
        (
            found(&instance, "marmot").await,
            found(&instance, "ibex").await
        ),
        (5, 0)
    );

    let braked = run(&instance, json!({})).await;
    assert_eq!(
        (&braked["status"], &braked["error"]),
        (&json!("STOPPED"), &json!("BrakePulled"))
    );
    let reason = braked["reason"].as_str().unwrap();
    assert!(
        reason.contains("delete 2 of 5 documents") && reason.contains("--allow-deletions"),
        "{reason}"
    );
    assert_eq!(changes(&instance, &braked).await, expected);
    assert_eq!(
        (
            found(&instance, "marmot").await,
            found(&instance, "ibex").await
        ),
        (5, 0)
    );
    let document = instance.get("/v1/documents").await.body["documents"][0].clone();
    assert_eq!(document["status"], "published");

    let allowed = run(&instance, json!({"allow_deletions": true})).await;
    assert_eq!(allowed["status"], "SUCCEEDED", "{allowed}");
    let counts = &allowed["counts"];
    assert_eq!(
        (
            &counts["published"],
            &counts["deleted"],
            &counts["unchanged"]
        ),
        (&json!(3), &json!(3), &json!(1))
    );
    assert_eq!(
        (
            found(&instance, "marmot").await,
            found(&instance, "ibex").await
        ),
        (3, 1)
    );
    assert_eq!(found(&instance, "whistles").await, 1);
}

#[tokio::test]
async fn what_takes_the_whole_space_names_no_documents_and_deletions_take_an_admin() {
    let instance = Instance::start().await;
    let (document, _) = instance.ingest("a.txt", "Marmots sleep.").await;
    for field in ["dry_run", "allow_deletions", "re_embed"] {
        let mut body = json!({"documents": [document]});
        body[field] = json!(true);
        let reply = instance.post("/v1/runs", &body).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["name"]),
            (400, &json!("InvalidRequest")),
            "{field}"
        );
    }
    let owner = Caller::owner(&instance);
    owner
        .set_roles("default", json!({"editor": ["user:ed"]}))
        .await;
    let editor = Caller::user(&instance, "ed", &[]);
    let refused = editor
        .send("POST", "/v1/runs", Some(&json!({"allow_deletions": true})))
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["name"]),
        (403, &json!("RoleRequired"))
    );
    let dry = editor
        .send("POST", "/v1/runs", Some(&json!({"dry_run": true})))
        .await;
    assert_eq!(dry.status, 202, "{}", dry.body);
    let run_id = dry.body["run_id"].as_str().unwrap();
    instance.finished(run_id).await;
    let path = format!("/v1/runs/{run_id}/changes");
    let refused = editor.send("GET", &path, None).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["name"]),
        (403, &json!("RoleRequired"))
    );
    for path in [
        "/v1/runs/default.01/changes",
        "/v1/runs/nowhere.01/changes",
        "/v1/runs/x/changes",
    ] {
        let missing = instance.get(path).await;
        assert_eq!(
            (missing.status.as_u16(), &missing.body["name"]),
            (404, &json!("RunNotFound")),
            "{path}"
        );
    }
    let reply = instance.get(&format!("{path}?cursor=x")).await;
    assert_eq!(reply.body["name"], "InvalidCursor");
}

#[tokio::test]
async fn the_command_line_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let source = source(folder.path());
    for name in ["a.txt", "b.txt", "c.txt"] {
        put(&source, name, &format!("{name} says something."));
    }
    let sync = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_outcrop"))
            .arg("sync")
            .args(arguments)
            .args(["--url", &instance.api])
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, dry) = sync(&["--dry-run"]);
    assert!(
        code == 0 && dry.contains("new") && dry.contains("3 planned, 3 pending"),
        "{dry}"
    );
    let (code, done) = sync(&[]);
    assert!(
        code == 0 && done.contains("3 planned, 3 published"),
        "{done}"
    );
    for name in ["a.txt", "b.txt"] {
        remove(&source, name);
    }
    let (code, stopped) = sync(&[]);
    assert!(
        code == 1 && stopped.contains("BrakePulled") && stopped.contains("deleted"),
        "{stopped}"
    );
    let (code, done) = sync(&["--allow-deletions", "--json"]);
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((code, &done["run"]["counts"]["deleted"]), (0, &json!(2)));
}

/// The laptop's store lists long names in the order of others that stand for them. A page that began after the last name of
/// the one before gave the same documents again and again, or left some out, which were taken for gone.
#[tokio::test]
async fn a_source_of_long_names_is_seen_whole() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    let (source, store) = (source(folder.path()), folder.path().join("s3"));
    std::fs::create_dir_all(&source).unwrap();
    // One more than a page of a listing has.
    let documents = 1_001;
    for number in 0..documents {
        let key = format!("sources/default/{number}-{}.txt", "long".repeat(30));
        let hash = &sha256_hex(key.as_bytes())[..32];
        std::fs::write(store.join(format!(".key-{hash}")), &key).unwrap();
        std::fs::write(source.join(format!("~{hash}")), "Marmots sleep.").unwrap();
    }
    let dry = run(&instance, json!({"dry_run": true})).await;
    assert_eq!(dry["counts"]["planned"], documents, "{dry}");
}

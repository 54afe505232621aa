//! Sources outside of the bucket, against stubs that speak their APIs on the machine's own loopback.

mod confluence;
mod prefix;
mod readers;
mod sharepoint;
mod stub;
mod website;
mod website_rules;

use serde_json::{Value, json};

use crate::instance::{Instance, Reply};

/// Sets a source of the space `default`, which everyone may read.
async fn set(instance: &Instance, name: &str, source: Value) -> Reply {
    set_for(instance, name, source, &["everyone"]).await
}

async fn set_for(instance: &Instance, name: &str, source: Value, readers: &[&str]) -> Reply {
    let path = format!("/v1/spaces/default/sources/{name}");
    let form = json!({"source": source, "readers": readers});
    let request = instance.request(reqwest::Method::PUT, &path).json(&form);
    instance.send(request).await
}

/// A run over the whole source, to its end.
async fn run(instance: &Instance, body: Value) -> Value {
    let reply = instance.post("/v1/runs", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    let counts = &run["counts"];
    let parts = [
        "published",
        "unchanged",
        "deleted",
        "refused",
        "failed",
        "pending",
    ];
    let sum: u64 = parts
        .iter()
        .map(|part| counts[part].as_u64().unwrap())
        .sum();
    assert_eq!(
        sum,
        counts["planned"].as_u64().unwrap(),
        "the books of {run}"
    );
    run
}

/// Status, published, unchanged, deleted and failed of a run.
fn books(run: &Value) -> (&str, [u64; 4]) {
    let parts = ["published", "unchanged", "deleted", "failed"];
    let counts = parts.map(|part| run["counts"][part].as_u64().unwrap());
    (run["status"].as_str().unwrap(), counts)
}

/// Errors and names of what a run could not do.
fn failures(run: &Value) -> Vec<(&str, &str)> {
    let failures = run["failures"].as_array();
    let failures = failures.into_iter().flatten();
    failures
        .map(|one| {
            (
                one["error"].as_str().unwrap(),
                one["name"].as_str().unwrap(),
            )
        })
        .collect()
}

/// Addresses of the documents that a search finds.
async fn found(instance: &Instance, query: &str) -> Vec<String> {
    let body = json!({"query": query, "mode": "lexical", "limit": 30});
    let reply = instance.post("/v1/search", &body).await;
    let results = reply.body["results"].as_array().unwrap().iter();
    let mut uris: Vec<String> = results
        .map(|one| one["uri"].as_str().unwrap().to_owned())
        .collect();
    uris.sort();
    uris.dedup();
    uris
}

/// What the last run noted of a source.
async fn noted(instance: &Instance, name: &str) -> Value {
    let listed = instance.get("/v1/spaces/default/sources").await.body;
    let sources = listed["sources"].as_array().unwrap().iter();
    sources
        .filter(|one| one["name"] == name)
        .map(|one| one["last"].clone())
        .next()
        .unwrap_or_default()
}

#[tokio::test]
async fn sources_are_set_by_admins_and_checked() {
    let instance = Instance::start().await;
    let check = async |name: &str, source: Value, status: u16, error: Option<&str>| {
        let reply = set(&instance, name, source).await;
        let told = (reply.status.as_u16(), reply.body["name"].as_str());
        match error {
            Some(_) => assert_eq!(told, (status, error), "{}", reply.body),
            None => assert_eq!(told.0, status, "{}", reply.body),
        }
    };
    let site = json!({"kind": "website", "start": ["https://example.com/"]});
    check("site", site.clone(), 200, None).await;
    check("Site", site.clone(), 400, Some("InvalidSource")).await;
    let own = json!({"kind": "s3", "bucket": "outcrop-bucket"});
    check("own", own, 400, Some("InvalidSource")).await;
    // A secret goes over https, or stays on the machine.
    let wiki =
        |url: &str| json!({"kind": "confluence", "url": url, "secret": "wiki", "spaces": []});
    let open = wiki("http://example.atlassian.net");
    check("wiki", open, 400, Some("InvalidSource")).await;
    check("wiki", wiki("https://example.atlassian.net"), 200, None).await;
    let mut team =
        json!({"kind": "sharepoint", "site": "a.sharepoint.com:/sites/b:", "secret": "t"});
    check("team", team.clone(), 200, None).await;
    for field in ["graph", "login"] {
        team[field] = json!("http://login.example.com");
        check("team", team.clone(), 400, Some("InvalidSource")).await;
        team[field] = json!("https://login.example.com");
    }
    check("x", json!({"kind": "gopher"}), 400, Some("InvalidRequest")).await;
    let nobody = json!({"source": site, "readers": []});
    let path = "/v1/spaces/default/sources/site";
    let request = instance.request(reqwest::Method::PUT, path).json(&nobody);
    let refused = instance.send(request).await;
    assert_eq!(refused.body["name"], "InvalidSource");
    // Its documents come from there and from nowhere else.
    let upload = json!({"name": "site/a.txt", "content": "x"});
    let refused = instance.post("/v1/documents", &upload).await;
    assert_eq!(
        refused.body["name"], "InvalidDocumentName",
        "{}",
        refused.body
    );
    let removed = instance
        .send(instance.request(reqwest::Method::DELETE, path))
        .await;
    assert_eq!(removed.body["removed"], true, "{}", removed.body);
    let missing = "/v1/spaces/default/sources/other";
    let missing = instance
        .send(instance.request(reqwest::Method::DELETE, missing))
        .await;
    assert_eq!(missing.body["name"], "SourceNotFound");
    // An admin of one space cannot have another bucket read.
    let owner = crate::access::Caller::owner(&instance);
    owner
        .set_roles("team", json!({"admin": ["user:chief"]}))
        .await;
    let chief = crate::access::Caller::user(&instance, "chief", &[]);
    let bucket = json!({"source": {"kind": "s3", "bucket": "others"}, "readers": ["everyone"]});
    let refused = chief
        .send("PUT", "/v1/spaces/team/sources/b", Some(&bucket))
        .await;
    assert_eq!(refused.body["name"], "RoleRequired", "{}", refused.body);
}

#[tokio::test]
async fn the_command_line_sets_sources() {
    let instance = Instance::start().await;
    let outcrop = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outcrop"));
        command
            .arg("source")
            .args(["--url", &instance.api])
            .args(arguments);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let set = [
        "set",
        "site",
        "--readers",
        "everyone",
        "website",
        "https://example.com/",
    ];
    assert_eq!(outcrop(&set).0, 0);
    let (code, listed) = outcrop(&["list"]);
    assert!(
        code == 0 && listed.contains("site") && listed.contains("website"),
        "{listed}"
    );
    assert_eq!(outcrop(&["remove", "site"]).0, 0);
    assert_eq!(outcrop(&["remove", "other"]).0, 1);
}

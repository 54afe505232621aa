//! What a run left undone is done again by its redrive, and nothing else is.

use std::process::Command;

use serde_json::{Value, json};

use crate::instance::Instance;

/// Whether a run's counts add up to its plan, with nothing under way.
pub fn balanced(run: &Value) -> bool {
    let count = |name: &str| run["counts"][name].as_u64().unwrap();
    let ends = ["published", "unchanged", "deleted", "refused", "failed"];
    count("pending") == 0 && ends.into_iter().map(count).sum::<u64>() == count("planned")
}

async fn run(instance: &Instance, path: &str, body: Value) -> Value {
    let reply = instance.post(path, &body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await
}

async fn statuses(instance: &Instance) -> Vec<(String, String, u64)> {
    let listed = instance.get("/v1/documents").await.body;
    let mut found: Vec<_> = listed["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            (
                text("name"),
                text("status"),
                one["attempts"].as_u64().unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

fn told(expected: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    let expected = expected.iter();
    expected
        .map(|(name, status, attempts)| ((*name).to_owned(), (*status).to_owned(), *attempts))
        .collect()
}

#[tokio::test]
async fn a_redrive_repeats_what_failed_and_nothing_else() {
    let instance = Instance::start().await;
    let (_, good) = instance.ingest("good.txt", "The marmot whistles.").await;
    assert_eq!(good["status"], "SUCCEEDED");
    // A model that refuses is not tried again: the run fails at once.
    instance
        .fault(&json!({"operation": "InvokeModel", "error": "ValidationException", "times": 1}))
        .await;
    let (_, first) = instance.ingest("bad.txt", "The ibex climbs.").await;
    assert_eq!(first["status"], "FAILED", "{first}");
    assert!(balanced(&first), "{first}");
    assert_eq!(first["failures"][0]["error"], "ModelRefused");
    assert_eq!(
        statuses(&instance).await,
        told(&[("bad.txt", "failed", 1), ("good.txt", "published", 1)])
    );

    let path = format!("/v1/runs/{}/redrive", first["run_id"].as_str().unwrap());
    let again = run(&instance, &path, json!({})).await;
    assert_eq!(again["status"], "SUCCEEDED", "{again}");
    assert_eq!(
        (&again["counts"]["planned"], balanced(&again)),
        (&json!(1), true)
    );
    assert_eq!(again["redrive_of"], first["run_id"]);
    // Asked twice, it is the same run.
    assert_eq!(
        run(&instance, &path, json!({})).await["run_id"],
        again["run_id"]
    );
    assert_eq!(
        statuses(&instance).await,
        told(&[("bad.txt", "published", 2), ("good.txt", "published", 1)])
    );
    let document = &instance.get("/v1/documents").await.body["documents"][0];
    for stage in [
        "planned_at",
        "extracting_at",
        "screening_at",
        "embedding_at",
        "settled_at",
    ] {
        assert!(document["stages"][stage].is_string(), "{document}");
    }
}

#[tokio::test]
async fn what_cannot_be_redriven_says_why() {
    let instance = Instance::start().await;
    let (_, whole) = instance.ingest("a.txt", "The marmot whistles.").await;
    let (_, refused) = instance.ingest("empty.txt", " ").await;
    assert_eq!(refused["counts"]["refused"], 1, "{refused}");
    let dry = run(&instance, "/v1/runs", json!({"dry_run": true})).await;
    let check = async |run_id: &str, status: u16, name: &str| {
        let path = format!("/v1/runs/{run_id}/redrive");
        let reply = instance.post(&path, &json!({})).await;
        let found = (reply.status.as_u16(), &reply.body["name"]);
        assert_eq!(found, (status, &json!(name)), "{}", reply.body);
    };
    for run in [&whole, &refused, &dry] {
        check(run["run_id"].as_str().unwrap(), 409, "NothingToRedrive").await;
    }
    check("default.01", 404, "RunNotFound").await;
    check("nowhere.01", 404, "RunNotFound").await;
}

#[tokio::test]
async fn the_command_line_redrives() {
    let instance = Instance::start().await;
    instance
        .fault(&json!({"operation": "InvokeModel", "error": "ValidationException", "times": 1}))
        .await;
    let (_, first) = instance.ingest("bad.txt", "The ibex climbs.").await;
    let redrive = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_outcrop"))
            .args(["redrive", first["run_id"].as_str().unwrap()])
            .args(arguments)
            .args(["--url", &instance.api])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, done) = redrive(&[]);
    assert!(
        code == 0 && done.contains("1 planned, 1 published"),
        "{done}"
    );
    let (code, done) = redrive(&["--json"]);
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((code, &done["run"]["counts"]["published"]), (0, &json!(1)));
}

//! The whole laptop killed without a warning, again and again, in the middle of a run.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{all_live, fill, redriven, statuses};
use crate::instance::Instance;
use crate::redrive::balanced;

/// What kills met.
#[derive(Debug, Default)]
struct Told {
    /// Sources that were brought in, one after the other.
    generations: u32,
    /// Redrives of runs that their executions gave up.
    redrives: u32,
    /// Kills in the middle of a run whose plan was made.
    in_a_run: u32,
}

/// Kills so often, each at a moment that the seed decides. Each time all work is done before the last kill, the source changes
/// and another run begins.
async fn kill_often(data: &Path, documents: usize, kills: u32, longest_ms: u64) -> Told {
    let mut told = Told::default();
    let mut run: Option<String> = None;
    let mut chance = 0x9e37_79b9_u64;
    for number in 0..kills {
        let mut instance = Instance::start_in(data).await;
        run = match run {
            None => None,
            Some(id) => going_on(&instance, &id, &mut told.redrives).await,
        };
        if run.is_none() {
            told.generations += 1;
            fill(data, documents, told.generations);
            run = Some(start(&instance, "/v1/runs").await);
        }
        // Every other kill is to meet what comes after the plan.
        if number % 2 == 1 {
            while run_of(&instance, run.as_deref().unwrap()).await["status"] == "QUEUED" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let moment = (chance >> 33) % longest_ms;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let running = run_of(&instance, run.as_deref().unwrap()).await;
        instance.kill();
        told.in_a_run += u32::from(running["status"] == "RUNNING");
    }
    let instance = Instance::start_in(data).await;
    let last = instance.finished(&run.unwrap()).await;
    let last = match balanced(&last) {
        true => last,
        // Given up by its execution, which is killed too often in one state: its redrive has the balanced books.
        false => redrive_once(&instance, &last).await,
    };
    redriven(&instance, last).await;
    all_live(&instance, documents, told.generations).await;
    told
}

async fn run_of(instance: &Instance, run_id: &str) -> Value {
    instance.get(&format!("/v1/runs/{run_id}")).await.body
}

async fn start(instance: &Instance, path: &str) -> String {
    let reply = instance.post(path, &json!({})).await;
    assert_eq!(reply.status, 202, "{} {}", reply.body, instance.log());
    reply.body["run_id"].as_str().unwrap().to_owned()
}

async fn redrive_once(instance: &Instance, run: &Value) -> Value {
    let path = format!("/v1/runs/{}/redrive", run["run_id"].as_str().unwrap());
    let id = start(instance, &path).await;
    instance.finished(&id).await
}

/// The run that goes on with the work, if any is left: this one, or its redrive where it was given up.
async fn going_on(instance: &Instance, run_id: &str, redrives: &mut u32) -> Option<String> {
    let run = run_of(instance, run_id).await;
    match run["status"].as_str().unwrap() {
        "SUCCEEDED" => {
            assert!(balanced(&run), "{run}");
            assert_eq!(statuses(instance).await.len(), 1, "{run}");
            None
        }
        "QUEUED" | "RUNNING" => Some(run_id.to_owned()),
        _ => {
            *redrives += 1;
            let path = format!("/v1/runs/{run_id}/redrive");
            Some(start(instance, &path).await)
        }
    }
}

#[tokio::test]
async fn a_run_that_is_killed_at_six_moments_brings_everything_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let told = kill_often(folder.path(), 80, 6, 2_500).await;
    assert!(told.in_a_run >= 3, "{told:?}");
}

/// Takes minutes: `cargo test --workspace --test service fifty_kills -- --ignored --nocapture` says what the kills met.
#[tokio::test]
#[ignore = "takes minutes"]
async fn fifty_kills_over_five_hundred_documents_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = kill_often(folder.path(), 500, 50, 6_000).await;
    println!("{told:?}");
    assert!(told.in_a_run >= 25, "{told:?}");
}

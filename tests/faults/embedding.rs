//! The step that embeds, and the one that embeds to cut: what a call that fails, or a step whose time is up, leaves to the next.

use std::time::Duration;

use aws::Aws;
use knowledge::names;
use serde_json::{Value, json};

use super::steps::{deliver, payloads, rows, run};
use crate::index::Space;
use crate::instance::Instance;

/// More sentences than three waves have calls. Each is one of a passage, or a window of its own.
const SENTENCES: usize = 100;

fn text() -> String {
    let sentence =
        |number| format!("Marmot {number} sleeps below stone {number} until the snow melts. ");
    (0..SENTENCES).map(sentence).collect()
}

/// A space cut as `chunking` says, with one document that takes many calls to a model, and its run's steps.
async fn planned(instance: &Instance, chunking: &str) -> (Space, String, Vec<Value>) {
    let space = Space::on(instance, "default");
    space.put(&[("long.txt", &text())]).await;
    let setting = instance.request(reqwest::Method::PUT, "/v1/spaces/default");
    let set = instance.send(setting.json(&json!({"chunking": chunking})));
    assert_eq!(set.await.status, 200);
    let run_id = space.new_run().await;
    // A plan asks no model, its estimate neither.
    let refused = json!({"operation": "InvokeModel", "error": "AccessDeniedException"});
    instance.fault(&refused).await;
    space.step("plan", &run_id).await.unwrap();
    instance.clear_faults().await;
    let payloads = payloads(&space, &run_id).await;
    (space, run_id, payloads)
}

/// The space with steps that hand over as soon as they may.
fn hasty(space: &Space) -> Space {
    let settings = space.aws.settings.clone().with_step_slice(Duration::ZERO);
    Space {
        aws: Aws::new(settings),
        name: space.name,
        folder: tempfile::tempdir().unwrap(),
    }
}

/// Counts the calls to models from now on: a fault that strikes none of them.
async fn count_calls(instance: &Instance) {
    let counter = json!({"operation": "InvokeModel", "error": "ThrottlingException", "share": 0.0});
    instance.fault(&counter).await;
}

async fn calls(instance: &Instance) -> u64 {
    instance.faults().await[0]["calls"].as_u64().unwrap()
}

fn throttle_once() -> Value {
    json!({"operation": "InvokeModel", "error": "ThrottlingException", "times": 1})
}

#[tokio::test]
async fn one_call_that_fails_ends_no_attempt_and_the_next_makes_only_that_one() {
    let instance = Instance::start().await;
    let (space, _, payloads) = planned(&instance, "fixed:20,0").await;
    let extracted = deliver(&space, &payloads[0]).await.unwrap();
    let passages = extracted["passages"].as_u64().unwrap();
    assert!(passages > 64, "{extracted}");
    count_calls(&instance).await;
    instance.fault(&throttle_once()).await;
    let embed = &payloads[2];
    let error = deliver(&space, embed).await.unwrap_err();
    assert_eq!(error.name(), "ModelThrottled");
    assert_eq!(calls(&instance).await, passages);
    let embedded = deliver(&space, embed).await.unwrap();
    assert_eq!(
        (calls(&instance).await, &embedded["more"]),
        (passages + 1, &json!(false))
    );

    // A model of which nothing comes is not asked for all of it.
    let (space, _, payloads) = planned(&instance, "fixed:21,0").await;
    deliver(&space, &payloads[0]).await.unwrap();
    let down = json!({"operation": "InvokeModel", "error": "ServiceUnavailableException"});
    instance.fault(&down).await;
    let error = deliver(&space, &payloads[2]).await.unwrap_err();
    assert_eq!(
        (error.name(), calls(&instance).await),
        ("ModelUnavailable", 32)
    );
}

#[tokio::test]
async fn a_step_whose_time_is_up_hands_over_what_it_has() {
    let instance = Instance::start().await;
    let (space, run_id, payloads) = planned(&instance, "fixed:20,0").await;
    let extracted = deliver(&space, &payloads[0]).await.unwrap();
    let passages = extracted["passages"].as_u64().unwrap();
    count_calls(&instance).await;
    let hasty = hasty(&space);
    let embed = &payloads[2];
    let mut slices = 0;
    loop {
        let embedded = deliver(&hasty, embed).await.unwrap();
        slices += 1;
        assert_eq!(embedded["batch_id"], embed["batch_id"]);
        if embedded["more"] == false {
            break;
        }
        assert_eq!(calls(&instance).await, slices * 32);
    }
    assert_eq!(
        (slices, calls(&instance).await),
        (passages.div_ceil(32), passages)
    );
    for payload in &payloads[3..] {
        deliver(&space, payload).await.unwrap();
    }
    let run = run(&instance, &run_id).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    // Nothing was embedded twice, and all of it counts.
    let estimated = run["estimate"]["tokens"].as_f64().unwrap();
    let ratio = run["embedding_tokens"].as_f64().unwrap() / estimated;
    assert!((0.7..1.3).contains(&ratio), "{run}");
}

#[tokio::test]
async fn cutting_by_meaning_keeps_what_it_embedded_and_is_no_attempt_each_time() {
    let instance = Instance::start().await;
    let (space, run_id, payloads) = planned(&instance, "semantic:60,50").await;
    count_calls(&instance).await;
    instance.fault(&throttle_once()).await;
    let error = deliver(&space, &payloads[0]).await.unwrap_err();
    assert_eq!(
        (error.name(), calls(&instance).await),
        ("ModelThrottled", SENTENCES as u64)
    );
    let extracted = deliver(&space, &payloads[0]).await.unwrap();
    assert_eq!(
        (calls(&instance).await, &extracted["more"]),
        (SENTENCES as u64 + 1, &json!(false))
    );
    let id = names::document_id("default", "long.txt");
    let attempts = |rows: Vec<knowledge::sync::rows::DocumentRow>| {
        let row = rows.into_iter().find(|row| row.document_id == id);
        row.unwrap().progress.attempts
    };
    assert_eq!(attempts(rows(&space).await), 2);
    for payload in &payloads[1..] {
        deliver(&space, payload).await.unwrap();
    }
    let done = run(&instance, &run_id).await;
    assert_eq!(done["status"], "SUCCEEDED", "{done}");
    let estimated = done["estimate"]["tokens"].as_f64().unwrap();
    let ratio = done["embedding_tokens"].as_f64().unwrap() / estimated;
    assert!((0.7..1.3).contains(&ratio), "{done}");

    // In slices, of which one attempt is made.
    space
        .put(&[("long.txt", &text().replace("Marmot", "Ibex"))])
        .await;
    let run_id = space.new_run().await;
    space.step("plan", &run_id).await.unwrap();
    let hasty = hasty(&space);
    let mut extract = self::payloads(&space, &run_id).await.remove(0);
    let mut slices = 1;
    while deliver(&hasty, &extract).await.unwrap()["more"] == true {
        extract["resumed"] = json!(true);
        slices += 1;
    }
    assert_eq!(slices, SENTENCES.div_ceil(32));
    assert_eq!(attempts(rows(&space).await), 1);
}

/// What a batch cost before it failed is in the run's books.
#[tokio::test]
async fn a_batch_that_fails_says_what_it_cost() {
    let instance = Instance::start().await;
    let (space, run_id, payloads) = planned(&instance, "fixed:20,0").await;
    deliver(&space, &payloads[0]).await.unwrap();
    instance.fault(&throttle_once()).await;
    let error = deliver(&space, &payloads[2]).await.unwrap_err();
    let failed = json!({
        "step": "fail_batch", "run_id": run_id, "items": payloads[0]["items"], "error": error.name(), "cause": "",
    });
    deliver(&space, &failed).await.unwrap();
    let run = run(&instance, &run_id).await;
    assert_eq!(run["counts"]["failed"], 1, "{run}");
    let tokens = run["embedding_tokens"].as_u64().unwrap();
    let estimated = run["estimate"]["tokens"].as_u64().unwrap();
    assert!(tokens > estimated / 2, "{run}");
}

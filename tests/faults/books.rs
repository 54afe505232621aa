//! The books of runs: what a plan that breaks off leaves, whose a document is, and whose a reason; and runs that are started
//! through replies that are lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws::clock;
use aws::dynamo::keys;
use knowledge::names;
use knowledge::sync::rows::{BatchRow, DocumentRow, DocumentStatus, RunRow};
use serde_json::{Value, json};

use super::steps::{deliver, payloads, rows, run};
use crate::index::Space;
use crate::index::unreliable::{self, Halt, Moment};
use crate::instance::Instance;
use crate::redrive::balanced;

async fn row_of(space: &Space, name: &str) -> DocumentRow {
    let id = names::document_id(space.name, name);
    let rows = rows(space).await;
    rows.into_iter().find(|row| row.document_id == id).unwrap()
}

fn plan(run_id: &str) -> Value {
    json!({"step": "plan", "run_id": run_id})
}

/// A plan broke off after its work list: the books held documents twice, or more of them than were planned.
#[tokio::test]
async fn a_plan_that_breaks_off_at_any_write_leaves_books_that_balance() {
    let instance = Instance::start().await;
    for named in [false, true] {
        let space = Space::on(&instance, if named { "named" } else { "whole" });
        let documents = [
            ("a.txt", "Marmots."),
            ("b.txt", "Ibexes."),
            ("gone.txt", "Choughs."),
        ];
        space.ingest(&documents).await;
        for writes in 0.. {
            let words = format!("Words number {writes}.");
            space
                .put(&[("a.txt", &words), ("b.txt", &words), ("gone.txt", "")])
                .await;
            let run_id = match named {
                true => space.new_named_run(&["a.txt", "b.txt", "gone.txt"]).await,
                false => space.new_run().await,
            };
            let door = unreliable::open(&instance.aws, writes, Moment::Before).await;
            let through_door = Space::of(&door, space.name, &[]);
            if deliver(&through_door, &plan(&run_id)).await.is_ok() {
                assert!(writes > 4, "{writes}");
                break;
            }
            let report = json!({"step": "report", "run_id": run_id, "error": "ServiceBusy", "cause": "cut off"});
            deliver(&space, &report).await.unwrap();
            let ended = run(&instance, &run_id).await;
            assert!(
                balanced(&ended) && ended["status"] == "FAILED",
                "{writes}: {ended}"
            );
            let failures: Vec<&Value> =
                ended["failures"].as_array().into_iter().flatten().collect();
            let ids: BTreeSet<&str> = failures
                .iter()
                .map(|one| one["document_id"].as_str().unwrap())
                .collect();
            assert_eq!(ids.len(), failures.len(), "{ended}");
            assert_eq!(ended["counts"]["planned"], ids.len(), "{ended}");
            if named {
                assert_eq!(ids.len(), 3, "{ended}");
            }
            for row in rows(&space).await {
                assert_ne!(row.status, DocumentStatus::Pending, "{writes}: {row:?}");
            }
        }
    }
}

/// Attempts at a plan, each cut off one write later, until `is_there` of what they leave.
async fn cut_off_plan(
    instance: &Instance,
    space: &Space,
    run_id: &str,
    is_there: impl AsyncFn() -> bool,
) {
    for writes in 0.. {
        let door = unreliable::open(&instance.aws, writes, Moment::Before).await;
        let through_door = Space::of(&door, space.name, &[]);
        let planned = deliver(&through_door, &plan(run_id)).await;
        assert!(planned.is_err(), "{writes}");
        if is_there().await {
            return;
        }
    }
}

async fn batches(space: &Space, run_id: &str) -> Vec<BatchRow> {
    let partition = keys::run_partition(run_id);
    let rows = space.aws.table.query_all(&partition, keys::BATCH_PREFIX);
    rows.await.unwrap()
}

/// What a plan that was cut off had set out to move stood in the books of the one that was made instead.
#[tokio::test]
async fn a_plan_that_is_made_again_moves_nothing_of_its_first_attempt() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.ingest(&[("a.txt", "Marmots.")]).await;
    space.put(&[("a.txt", ""), ("moved.txt", "Marmots.")]).await;
    let run_id = space.new_run().await;
    let moves = format!("runs/{run_id}/moves.json");
    let is_there = async || !space.keys(&moves).await.is_empty();
    cut_off_plan(&instance, &space, &run_id, is_there).await;
    let restored = [
        ("a.txt", "Marmots."),
        ("moved.txt", ""),
        ("b.txt", "Ibexes."),
    ];
    space.put(&restored).await;
    let outcome = deliver(&space, &plan(&run_id)).await.unwrap();
    assert_eq!(
        (&outcome["to_move"], &outcome["to_process"]),
        (&json!(0), &json!(1)),
        "{outcome}"
    );
    assert!(space.keys(&moves).await.is_empty());
    let report =
        json!({"step": "report", "run_id": run_id, "error": "ServiceBusy", "cause": "cut off"});
    deliver(&space, &report).await.unwrap();
    let ended = run(&instance, &run_id).await;
    assert!(balanced(&ended), "{ended}");
    assert_eq!(
        (&ended["counts"]["planned"], &ended["counts"]["failed"]),
        (&json!(2), &json!(1)),
        "{ended}"
    );
}

/// What a redrive's plan had taken over before it was cut off was published beside what came instead of it.
#[tokio::test]
async fn a_plan_that_is_made_again_takes_nothing_over_that_changed_since() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.put(&[("a.txt", "Old words.")]).await;
    let first = space.new_run().await;
    space.prepare(&first).await;
    let report =
        json!({"step": "report", "run_id": first, "error": "ServiceBusy", "cause": "cut off"});
    deliver(&space, &report).await.unwrap();
    let run_id = space.new_run().await;
    let key = keys::run(&run_id);
    let mut redrive: RunRow = space.aws.table.get(&key).await.unwrap().unwrap();
    redrive.redrive_of = Some(first);
    space.aws.table.put(&key, &redrive).await.unwrap();
    let is_there = async || !batches(&space, &run_id).await.is_empty();
    cut_off_plan(&instance, &space, &run_id, is_there).await;
    space.put(&[("a.txt", "New words.")]).await;
    deliver(&space, &plan(&run_id)).await.unwrap();
    let left = batches(&space, &run_id).await;
    assert!(left.is_empty(), "{left:?}");
    space.prepare(&run_id).await;
    for step in ["publish", "verify", "report"] {
        space.step(step, &run_id).await.unwrap();
    }
    let ended = run(&instance, &run_id).await;
    assert!(balanced(&ended), "{ended}");
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let search = json!({"query": "words", "mode": "lexical"});
    let found = instance.post("/v1/search", &search).await.body;
    let texts = found["results"].as_array().unwrap().iter();
    let texts: Vec<&str> = texts.map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["New words."], "{found}");
}

/// Step Functions made a plan again whose function went on all the same: what that one found was done.
#[tokio::test]
async fn an_attempt_at_a_plan_that_comes_late_changes_nothing_of_the_one_that_was_made() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.put(&[("a.txt", "Old words.")]).await;
    let run_id = space.new_run().await;
    let halt = Arc::new(Halt::default());
    let door = unreliable::open_with_halt(&instance.aws, "changes.jsonl", &halt).await;
    let slow = Space::of(&door, space.name, &[]);
    let payload = plan(&run_id);
    let late = async { deliver(&slow, &payload).await };
    let meanwhile = async {
        halt.reached.notified().await;
        space
            .put(&[("a.txt", "New words."), ("b.txt", "More words.")])
            .await;
        let outcome = deliver(&space, &plan(&run_id)).await.unwrap();
        let key = outcome["plan_key"].as_str().unwrap().to_owned();
        let lines = space.aws.bucket.get(&key).await.unwrap();
        halt.go_on.notify_one();
        (outcome, key, lines)
    };
    let (late, (outcome, key, lines)) = tokio::join!(late, meanwhile);
    assert_eq!(late.unwrap_err().name(), "WriteConflict");
    assert_eq!(outcome["to_process"], 2);
    assert_eq!(space.aws.bucket.get(&key).await.unwrap(), lines);
    // Made once more, it is the one that was made.
    assert_eq!(deliver(&space, &plan(&run_id)).await.unwrap(), outcome);
}

/// Its redrive took the whole source: what nobody had asked for was brought in.
#[tokio::test]
async fn the_redrive_of_a_run_over_named_documents_is_over_named_documents() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space
        .put(&[
            ("a.txt", "Marmots."),
            ("b.txt", "Ibexes."),
            ("other.txt", "Choughs."),
        ])
        .await;
    let id = |name: &str| names::document_id("default", name);
    for name in ["a.txt", "b.txt"] {
        let row = DocumentRow::new(id(name), name.to_owned(), clock::now_ms());
        space
            .aws
            .table
            .put(&keys::document(&id(name)), &row)
            .await
            .unwrap();
    }
    let run_id = space.new_named_run(&["a.txt", "b.txt"]).await;
    let report = json!({"step": "report", "run_id": run_id, "error": "ServiceBusy", "cause": "before its plan"});
    deliver(&space, &report).await.unwrap();
    // It breaks off too, and is redriven in its turn.
    let refused = json!({"operation": "InvokeModel", "error": "ValidationException", "times": 1});
    instance.fault(&refused).await;
    let first = super::redrive(&instance, &run(&instance, &run_id).await).await;
    assert_eq!(
        (&first["counts"]["planned"], balanced(&first)),
        (&json!(2), true),
        "{first}"
    );
    let row: Option<RunRow> = {
        let key = keys::run(first["run_id"].as_str().unwrap());
        space.aws.table.get(&key).await.unwrap()
    };
    assert_eq!(row.unwrap().documents.map(|ids| ids.len()), Some(2));
    let second = super::redrive(&instance, &first).await;
    assert_eq!(second["status"], "SUCCEEDED", "{second}");
    assert_eq!(space.live_documents().await, space.ids(&["a.txt", "b.txt"]));
}

#[tokio::test]
async fn a_document_keeps_the_reason_that_it_failed_for() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space
        .put(&[("a.txt", "Marmots."), ("b.txt", "Ibexes.")])
        .await;
    let run_id = space.new_run().await;
    deliver(&space, &plan(&run_id)).await.unwrap();
    let all = payloads(&space, &run_id).await;
    let items = all[0]["items"].as_array().unwrap();
    let failed = json!({
        "step": "fail_batch", "run_id": run_id, "items": [items[0]], "error": "ModelRefused", "cause": "no access",
    });
    deliver(&space, &failed).await.unwrap();
    let report = json!({"step": "report", "run_id": run_id, "error": "ManifestContended", "cause": "others were first"});
    deliver(&space, &report).await.unwrap();
    let mut reasons: Vec<_> = rows(&space)
        .await
        .into_iter()
        .map(|row| row.error.unwrap())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["ManifestContended", "ModelRefused"]);
    let ended = run(&instance, &run_id).await;
    let told = ended["failures"].as_array().unwrap().iter();
    let mut told: Vec<&str> = told.map(|one| one["error"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, reasons, "{ended}");
}

/// What was embedded before its batch failed stays named, and the run's redrive pays for nothing.
#[tokio::test]
async fn a_batch_that_fails_after_it_was_embedded_is_taken_over() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.put(&[("a.txt", "Marmots.")]).await;
    let run_id = space.new_run().await;
    deliver(&space, &plan(&run_id)).await.unwrap();
    let all = payloads(&space, &run_id).await;
    deliver(&space, &all[0]).await.unwrap();
    deliver(&space, &all[2]).await.unwrap();
    let failed = json!({
        "step": "fail_batch", "run_id": run_id, "items": all[0]["items"], "error": "States.Timeout", "cause": "",
    });
    deliver(&space, &failed).await.unwrap();
    for payload in &all[3..] {
        deliver(&space, payload).await.unwrap();
    }
    let ended = run(&instance, &run_id).await;
    assert_eq!(
        (&ended["status"], &ended["failures"][0]["error"]),
        (&json!("FAILED"), &json!("States.Timeout")),
        "{ended}"
    );
    assert!(ended["embedding_tokens"].as_u64().unwrap() > 0, "{ended}");
    let redriven = super::redrive(&instance, &ended).await;
    assert_eq!(
        (&redriven["status"], &redriven["embedding_tokens"]),
        (&json!("SUCCEEDED"), &json!(0)),
        "{redriven}"
    );
}

/// A run that another has overtaken wrote its rows over the other's, deleted what had come again, and published what was older.
#[tokio::test]
async fn a_document_that_another_run_has_taken_over_is_that_runs() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space
        .ingest(&[("a.txt", "Marmots."), ("gone.txt", "Choughs.")])
        .await;
    space
        .put(&[("a.txt", "Marmots sleep."), ("gone.txt", "")])
        .await;
    let slow = space.new_run().await;
    deliver(&space, &plan(&slow)).await.unwrap();
    let late = payloads(&space, &slow).await;
    space
        .put(&[("a.txt", "Marmots whistle."), ("gone.txt", "Choughs fly.")])
        .await;
    let fast = space.new_run().await;
    deliver(&space, &plan(&fast)).await.unwrap();
    let (extract_to_embed, publish_to_report) = late.split_at(3);
    for payload in extract_to_embed {
        deliver(&space, payload).await.unwrap();
        for name in ["a.txt", "gone.txt"] {
            let row = row_of(&space, name).await;
            let found = (row.run_id.as_ref(), row.status);
            assert_eq!(found, (Some(&fast), DocumentStatus::Pending), "{payload}");
        }
    }
    for payload in payloads(&space, &fast).await {
        deliver(&space, &payload).await.unwrap();
    }
    for payload in publish_to_report {
        deliver(&space, payload).await.unwrap();
    }
    let ended = run(&instance, &fast).await;
    let found = (&ended["status"], &ended["counts"]["published"]);
    assert_eq!(found, (&json!("SUCCEEDED"), &json!(2)), "{ended}");
    let overtaken = run(&instance, &slow).await;
    assert!(balanced(&overtaken), "{overtaken}");
    assert_eq!(overtaken["failures"][0]["name"], "a.txt", "{overtaken}");
    assert_eq!(
        space.live_documents().await,
        space.ids(&["a.txt", "gone.txt"])
    );
    for (name, text) in [("a.txt", "Marmots whistle."), ("gone.txt", "Choughs fly.")] {
        let row = row_of(&space, name).await;
        let found = (row.status, row.expires_at);
        assert_eq!(found, (DocumentStatus::Published, None));
        let path = format!("/v1/documents/{}/text", row.document_id);
        assert_eq!(instance.get(&path).await.body["text"], text);
    }
}

/// An upload's run lost its document to the run that the bucket's event starts for the same bytes, and said FAILED; one that
/// deletes said that it had and left the document live, where another had planned the same.
#[tokio::test]
async fn two_runs_that_plan_the_same_both_do_it() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.ingest(&[("gone.txt", "Choughs.")]).await;
    space.put(&[("a.txt", "Marmots."), ("gone.txt", "")]).await;
    let (first, second) = (space.new_run().await, space.new_run().await);
    space.prepare(&first).await;
    space.prepare(&second).await;
    space.step("publish", &first).await.unwrap();
    assert_eq!(space.live_documents().await, space.ids(&["a.txt"]));
    space.step("publish", &second).await.unwrap();
    for run_id in [&first, &second] {
        space.step("verify", run_id).await.unwrap();
        space.step("report", run_id).await.unwrap();
        let ended = run(&instance, run_id).await;
        let counts = &ended["counts"];
        assert!(
            balanced(&ended) && ended["status"] == "SUCCEEDED",
            "{ended}"
        );
        assert_eq!(
            (&counts["published"], &counts["deleted"]),
            (&json!(1), &json!(1))
        );
    }
    assert_eq!(space.live_documents().await, space.ids(&["a.txt"]));
    assert_eq!(
        row_of(&space, "a.txt").await.status,
        DocumentStatus::Published
    );
    assert_eq!(
        row_of(&space, "gone.txt").await.status,
        DocumentStatus::Deleted
    );
}

/// A document that a later run takes out did not stay out, where an earlier one brought it in after that.
#[tokio::test]
async fn what_a_later_run_takes_out_an_earlier_one_does_not_bring_back() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space
        .ingest(&[("a.txt", "Marmots."), ("b.txt", "Ibexes.")])
        .await;
    // The same source with another cut: the version that is live is the version that comes.
    let early = space.new_run().await;
    let mut row: RunRow = space
        .aws
        .table
        .get(&keys::run(&early))
        .await
        .unwrap()
        .unwrap();
    row.re_embed = true;
    space.aws.table.put(&keys::run(&early), &row).await.unwrap();
    space.prepare(&early).await;
    space.put(&[("a.txt", "")]).await;
    let late = space.new_named_run(&["a.txt"]).await;
    space.step("plan", &late).await.unwrap();
    space.step("publish", &late).await.unwrap();
    space.step("publish", &early).await.unwrap();
    for run_id in [&late, &early] {
        space.step("verify", run_id).await.unwrap();
        space.step("report", run_id).await.unwrap();
        let ended = run(&instance, run_id).await;
        assert!(balanced(&ended), "{ended}");
    }
    assert_eq!(space.live_documents().await, space.ids(&["b.txt"]));
    assert_eq!(
        row_of(&space, "a.txt").await.status,
        DocumentStatus::Deleted
    );
}

/// The reply to a conditional write is lost, and the SDK's next attempt meets what the first has written.
#[tokio::test]
async fn runs_are_started_through_lost_replies() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.put(&[("a.txt", "Marmots.")]).await;
    let id = names::document_id("default", "a.txt");
    let row = DocumentRow {
        readers: vec!["everyone".to_owned()],
        ..DocumentRow::new(id.clone(), "a.txt".to_owned(), clock::now_ms())
    };
    space
        .aws
        .table
        .put(&keys::document(&id), &row)
        .await
        .unwrap();
    let lost = json!({
        "service": "dynamodb", "error": "InternalServerError", "moment": "after", "operation": "PutItem", "times": 1,
    });
    let refused = json!({"operation": "InvokeModel", "error": "ValidationException", "times": 1});
    instance.fault(&refused).await;
    instance.storage_fault(&lost).await;
    let reply = instance.post("/v1/runs", &json!({"documents": [id]})).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let first = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(first["counts"]["failed"], 1, "{first}");

    instance.storage_fault(&lost).await;
    let redriven = super::redrive(&instance, &first).await;
    assert_eq!(redriven["status"], "SUCCEEDED", "{redriven}");
    for fault in instance.storage_faults().await.as_array().unwrap() {
        assert_eq!(fault["struck"], 1, "{fault}");
    }
}

/// A run says what it cost at the prices of the model that it embedded with, whatever the settings say since.
#[tokio::test]
async fn a_run_keeps_the_prices_of_its_model() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    let run_id = space
        .ingest(&[("a.txt", "Marmots sleep below the stones.")])
        .await;
    let before = run(&instance, &run_id).await;
    assert!(
        before["estimate"]["prices"]
            .as_str()
            .unwrap()
            .ends_with("nothing is billed here"),
        "{before}"
    );
    let key = keys::run(&run_id);
    let mut row: RunRow = space.aws.table.get(&key).await.unwrap().unwrap();
    assert_eq!(
        row.embed_model.as_deref(),
        Some("amazon.titan-embed-text-v2:0")
    );
    row.embed_model = Some("cohere.embed-v4:0".to_owned());
    space.aws.table.put(&key, &row).await.unwrap();
    let after = run(&instance, &run_id).await;
    // 0.12 and 0.02 dollars for a million tokens.
    let usd = |run: &Value| run["embedding_usd"].as_f64().unwrap();
    assert!((usd(&after) / usd(&before) - 6.0).abs() < 1e-9, "{after}");
    let usd = |run: &Value| run["estimate"]["usd"].as_f64().unwrap();
    assert!((usd(&after) / usd(&before) - 6.0).abs() < 1e-9, "{after}");
}

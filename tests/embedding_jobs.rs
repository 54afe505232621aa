//! Large runs that embed by batch jobs: they end with the same index as runs by calls, whatever becomes of a job.

use std::path::Path;
use std::time::Duration;

use aws::clock;
use aws::dynamo::{Addition, keys};
use knowledge::access::Caller;
use knowledge::ledger::Day;
use knowledge::sync::rows::PlannedDocument;
use knowledge::{names, spaces};
use reqwest::Method;
use serde_json::{Value, json};

use crate::faults::steps::deliver;
use crate::faults::{all_live, fill, redriven, sync};
use crate::index::Space;
use crate::index::unreliable::{self, Moment};
use crate::instance::Instance;
use crate::redrive::balanced;

/// As many as make a job, each of one passage, and some more.
const DOCUMENTS: usize = 125;

async fn set_space(instance: &Instance, change: &Value) -> (u16, Value) {
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    let reply = instance.send(request.json(change)).await;
    (reply.status.as_u16(), reply.body)
}

async fn embeds_by_jobs(instance: &Instance) {
    let (status, told) = set_space(instance, &json!({"batch_embedding": "auto:100,1"})).await;
    assert_eq!(
        (status, &told["batch_embedding"]),
        (200, &json!("auto:100,1")),
        "{told}"
    );
}

/// The jobs of an instance, as ListModelInvocationJobs tells them.
async fn jobs(instance: &Instance) -> Vec<Value> {
    // The laptop reads the service out of the signature's scope, and believes it.
    let scope = "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/bedrock/aws4_request";
    let url = format!("{}/model-invocation-jobs", instance.aws);
    let request = reqwest::Client::new()
        .get(url)
        .header("authorization", scope);
    let reply: Value = request.send().await.unwrap().json().await.unwrap();
    reply["invocationJobSummaries"].as_array().unwrap().clone()
}

/// What the space's segments hold, told by their hashes.
async fn segments(instance: &Instance) -> Vec<String> {
    let manifest = Space::on(instance, "default").manifest().await;
    let segments = manifest.segments.into_iter();
    segments.map(|segment| segment.sha256).collect()
}

/// The index that calls make of the same source.
async fn by_calls() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    fill(folder.path(), DOCUMENTS, 1);
    let run = sync(&instance).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(run.get("job_tokens"), None, "{run}");
    assert!(jobs(&instance).await.is_empty());
    segments(&instance).await
}

/// A source that is large enough for jobs, in a space that wants them.
async fn large(data: &Path) -> Instance {
    let instance = Instance::start_in(data).await;
    embeds_by_jobs(&instance).await;
    fill(data, DOCUMENTS, 1);
    instance
}

fn number(run: &Value, name: &str) -> u64 {
    run[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {run}"))
}

#[tokio::test]
async fn a_large_run_ends_with_the_same_index_at_half_the_price() {
    let folder = tempfile::tempdir().unwrap();
    let instance = large(folder.path()).await;
    let dry = instance.post("/v1/runs", &json!({"dry_run": true})).await;
    let dry = instance
        .finished(dry.body["run_id"].as_str().unwrap())
        .await;
    let estimate = &dry["estimate"];
    assert_eq!(number(estimate, "job_tokens"), number(estimate, "tokens"));
    let run = sync(&instance).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run} {}", instance.log());
    assert!(balanced(&run), "{run}");
    let tokens = number(&run, "embedding_tokens");
    assert_eq!(number(&run, "job_tokens"), tokens);
    let titan = 0.02 / 1e6;
    for (told, tokens) in [
        (&run["embedding_usd"], tokens),
        (&estimate["usd"], number(estimate, "tokens")),
    ] {
        let half = tokens as f64 * titan / 2.0;
        assert!(
            (told.as_f64().unwrap() - half).abs() < 1e-12,
            "{told} is not {half}"
        );
    }
    let jobs = jobs(&instance).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(
        (
            &jobs[0]["status"],
            &jobs[0]["totalRecordCount"],
            &jobs[0]["timeoutDurationInHours"]
        ),
        (&json!("Completed"), &json!(DOCUMENTS), &json!(24))
    );
    all_live(&instance, DOCUMENTS, 1).await;
    assert_eq!(segments(&instance).await, by_calls().await);
    // What is small is embedded by calls.
    fill(folder.path(), 50, 2);
    let second = sync(&instance).await;
    assert_eq!(second["status"], "SUCCEEDED", "{second}");
    assert_eq!(second.get("job_tokens"), None, "{second}");
}

#[tokio::test]
async fn what_jobs_do_not_embed_calls_do() {
    let same = by_calls().await;
    let check = async |fault: Value, job_status: Option<&str>, some_by_jobs: bool| {
        let folder = tempfile::tempdir().unwrap();
        let instance = large(folder.path()).await;
        instance.fault(&fault).await;
        let run = sync(&instance).await;
        assert_eq!(
            run["status"],
            "SUCCEEDED",
            "{fault}: {run} {}",
            instance.log()
        );
        let by_jobs = run["job_tokens"].as_u64().unwrap_or_default();
        let all = number(&run, "embedding_tokens");
        assert_eq!(
            (0 < by_jobs, by_jobs < all),
            (some_by_jobs, true),
            "{fault}: {run}"
        );
        let jobs = jobs(&instance).await;
        let status = jobs.first().map(|job| job["status"].as_str().unwrap());
        assert_eq!(status, job_status, "{fault}");
        assert_eq!(segments(&instance).await, same, "{fault}");
    };
    // Records that fail.
    check(
        json!({"operation": "ModelInvocationJobRecord", "error": "ThrottlingException", "share": 0.2}),
        Some("Completed"),
        true,
    )
    .await;
    // A job that fails.
    check(
        json!({"operation": "ModelInvocationJob", "error": "InternalServerException", "times": 1}),
        Some("Failed"),
        false,
    )
    .await;
    // A job that is refused.
    check(
        json!({"operation": "CreateModelInvocationJob", "error": "AccessDeniedException"}),
        None,
        false,
    )
    .await;
}

#[tokio::test]
async fn a_job_that_finds_no_place_is_started_at_a_later_look() {
    let folder = tempfile::tempdir().unwrap();
    let instance = large(folder.path()).await;
    let quota = json!({"operation": "CreateModelInvocationJob", "error": "ServiceQuotaExceededException", "times": 1});
    instance.fault(&quota).await;
    let unseen =
        json!({"operation": "GetModelInvocationJob", "error": "ThrottlingException", "times": 1});
    instance.fault(&unseen).await;
    let run = sync(&instance).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run} {}", instance.log());
    assert_eq!(number(&run, "job_tokens"), number(&run, "embedding_tokens"));
    assert_eq!(jobs(&instance).await.len(), 1);
}

#[tokio::test]
async fn a_laptop_that_is_killed_while_a_run_waits_goes_on_with_run_and_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut instance = large(folder.path()).await;
    // In the queue for as long as this process lives.
    instance
        .fault(&json!({"operation": "ModelInvocationJob", "delay_ms": 600_000}))
        .await;
    let reply = instance.post("/v1/runs", &json!({})).await;
    let run_id = reply.body["run_id"].as_str().unwrap().to_owned();
    loop {
        let jobs = jobs(&instance).await;
        if jobs.first().is_some_and(|job| job["status"] == "Scheduled") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waiting = instance
        .get("/v1/documents?status=embedding&limit=200")
        .await
        .body;
    assert_eq!(
        waiting["documents"].as_array().unwrap().len(),
        DOCUMENTS,
        "{waiting}"
    );
    instance.kill();
    let instance = Instance::start_in(folder.path()).await;
    let run = instance.finished(&run_id).await;
    let run = redriven(&instance, run).await;
    assert_eq!(
        number(&run, "job_tokens"),
        number(&run, "embedding_tokens"),
        "{run}"
    );
    assert_eq!(jobs(&instance).await.len(), 1);
    all_live(&instance, DOCUMENTS, 1).await;
}

/// A space with a run whose documents are extracted and wait for jobs: three batches, of 50 passages each.
async fn extracted(instance: &Instance) -> (Space, String) {
    embeds_by_jobs(instance).await;
    let (status, _) = set_space(instance, &json!({"chunking": "fixed:20,0"})).await;
    assert_eq!(status, 200);
    let space = Space::on(instance, "default");
    let text = |name: &str| -> String {
        let sentence = |number| {
            format!("Of {name} marmot {number} sleeps below stone {number} until the snow melts. ")
        };
        (0..60).map(sentence).collect()
    };
    let texts = ["a", "b", "c"].map(|name| (format!("{name}.txt"), text(name)));
    let documents: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    space.put(&documents).await;
    let run_id = space.new_run().await;
    let plan = space.step("plan", &run_id).await.unwrap();
    assert_eq!(plan["by_jobs"], true, "{plan}");
    let lines = space
        .aws
        .bucket
        .get(plan["plan_key"].as_str().unwrap())
        .await
        .unwrap();
    for line in std::str::from_utf8(&lines).unwrap().lines() {
        let item: PlannedDocument = serde_json::from_str(line).unwrap();
        let extract = json!({"step": "extract", "run_id": run_id, "items": [item]});
        deliver(&space, &extract).await.unwrap();
    }
    (space, run_id)
}

/// Looks until no job is open.
async fn all_ended(space: &Space, run_id: &str) {
    while space.step("check_jobs", run_id).await.unwrap()["open"] != 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Embeds what is left over, and ends the run.
async fn ended(instance: &Instance, space: &Space, run_id: &str, collected: &Value) -> Value {
    let left_over = space
        .aws
        .bucket
        .get(collected["left_over_key"].as_str().unwrap())
        .await
        .unwrap();
    let lines: Vec<Value> = std::str::from_utf8(&left_over)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(collected["left_over"], lines.len());
    for line in lines {
        let embed = json!({"step": "embed", "run_id": run_id, "batch_id": line["batch_id"]});
        deliver(space, &embed).await.unwrap();
    }
    for step in ["publish", "verify", "report"] {
        space.step(step, run_id).await.unwrap();
    }
    instance.get(&format!("/v1/runs/{run_id}")).await.body
}

#[tokio::test]
async fn steps_of_jobs_that_are_cut_off_at_any_write_are_repeated_and_start_one_job() {
    let cases = [
        (Moment::Before, false),
        (Moment::After, false),
        (Moment::After, true),
    ];
    for (moment, some_fail) in cases {
        let instance = Instance::start().await;
        let (space, run_id) = extracted(&instance).await;
        if some_fail {
            let failing = json!({"operation": "ModelInvocationJobRecord", "error": "ThrottlingException", "share": 0.2});
            instance.fault(&failing).await;
        }
        let mut collected = Value::Null;
        // The records, the documents' rows and the job's; its row before the order and after it; and what the batches, which
        // are written side by side so that one cut may take several, the job and the list take.
        for (step, own_writes) in [("gather_jobs", 3), ("check_jobs", 2), ("collect_jobs", 3)] {
            let (mut writes, mut cuts, mut tries) = (0, 0, 0);
            collected = loop {
                let door = unreliable::open(&instance.aws, writes, moment).await;
                let done = Space::of(&door, space.name, &[]).step(step, &run_id).await;
                match done {
                    Ok(told) if told["open"].as_u64().unwrap_or_default() == 0 => break told,
                    // The job is under way, or its start was cut off.
                    Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(_) => {
                        cuts += 1;
                        writes += 1;
                    }
                }
                tries += 1;
                assert!(tries < 2_000, "{step} never ended");
            };
            assert!(cuts >= own_writes, "{step}: {cuts} cuts");
        }
        let left_over = number(&collected, "left_over") > 0;
        assert_eq!((left_over, &collected["more"]), (some_fail, &json!(false)));
        let run = ended(&instance, &space, &run_id, &collected).await;
        assert!(balanced(&run) && run["status"] == "SUCCEEDED", "{run}");
        let (by_jobs, all) = (number(&run, "job_tokens"), number(&run, "embedding_tokens"));
        assert_eq!(by_jobs < all, some_fail, "{run}");
        // However often a step was made, the ledger has each token once.
        let usage = instance.get("/v1/usage").await.body;
        assert_eq!(usage["total"]["embedding_tokens"], all, "{usage}");
        let jobs = jobs(&instance).await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        let listed = instance.get("/v1/documents").await.body;
        let passages: u64 = listed["documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| number(one, "passages"))
            .sum();
        let failed = number(&jobs[0], "errorRecordCount");
        assert_eq!(number(&jobs[0], "successRecordCount") + failed, passages);
        assert_eq!(failed > 0, some_fail);
    }
}

#[tokio::test]
async fn steps_of_jobs_that_are_delivered_twice_change_nothing_the_second_time() {
    let instance = Instance::start().await;
    let (space, run_id) = extracted(&instance).await;
    for step in [
        "gather_jobs",
        "gather_jobs",
        "check_jobs",
        "gather_jobs",
        "check_jobs",
    ] {
        space.step(step, &run_id).await.unwrap();
    }
    all_ended(&space, &run_id).await;
    let first = space.step("collect_jobs", &run_id).await.unwrap();
    for step in ["collect_jobs", "gather_jobs", "check_jobs", "collect_jobs"] {
        space.step(step, &run_id).await.unwrap();
    }
    assert_eq!(space.step("collect_jobs", &run_id).await.unwrap(), first);
    let run = ended(&instance, &space, &run_id, &first).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(number(&run, "job_tokens"), number(&run, "embedding_tokens"));
    assert_eq!(jobs(&instance).await.len(), 1);
}

/// Writes that stand where the rows of counters and budgets remember sixteen others.
async fn counted_meanwhile(space: &Space, ended_on: &str) {
    let model = &space.aws.settings.embed_model;
    let today = Day::of(clock::now_ms()).to_string();
    let budget = keys::budget(space.name, &today[..7]);
    for row in [budget, keys::usage(space.name, ended_on, model)] {
        for number in 0..16 {
            let other = Addition {
                once: Some(format!("other/{}", char::from(b'a' + number))),
                ..Addition::default()
            };
            space.aws.table.add(&row, &other).await.unwrap();
        }
    }
}

/// A step that was made again after midnight, or after sixteen other writes, charged once more what its job had embedded.
#[tokio::test]
async fn what_a_job_embedded_is_charged_once_and_to_the_day_that_it_ended() {
    let instance = Instance::start().await;
    let (status, _) = set_space(&instance, &json!({"budget": {"day_usd": 1}})).await;
    assert_eq!(status, 200);
    let (space, run_id) = extracted(&instance).await;
    space.step("gather_jobs", &run_id).await.unwrap();
    all_ended(&space, &run_id).await;
    // As if it had ended the day before.
    let mut row = job_row(&space, &run_id).await;
    assert!(number(&row, "ended_at_ms") >= number(&row, "gathered_at_ms"));
    let ended_at_ms = number(&row, "ended_at_ms") - 86_400_000;
    row["ended_at_ms"] = json!(ended_at_ms);
    let ended_on = Day::of(ended_at_ms).to_string();
    let mut collected = Value::Null;
    for _ in 0..3 {
        space
            .aws
            .table
            .put(&keys::job(&run_id, 1), &row)
            .await
            .unwrap();
        collected = space.step("collect_jobs", &run_id).await.unwrap();
        counted_meanwhile(&space, &ended_on).await;
    }
    let run = ended(&instance, &space, &run_id, &collected).await;
    let usage = instance.get("/v1/usage").await.body;
    let counted = usage["usage"].as_array().unwrap();
    let counted: Vec<(&Value, u64)> = counted
        .iter()
        .map(|one| (&one["day"], number(one, "embedding_tokens")))
        .filter(|(_, tokens)| *tokens > 0)
        .collect();
    assert_eq!(counted, [(&json!(ended_on), number(&run, "job_tokens"))]);
    let budget = &usage["budget"][0];
    assert_eq!(
        (&budget["spent_usd"], &budget["held_usd"]),
        (&usage["total"]["cost_usd"], &json!(0.0)),
        "{usage}"
    );
}

/// A job's row, as the run keeps it.
async fn job_row(space: &Space, run_id: &str) -> Value {
    let row: Option<Value> = space.aws.table.get(&keys::job(run_id, 1)).await.unwrap();
    row.unwrap()
}

#[tokio::test]
async fn a_job_that_takes_longer_than_the_space_waits_is_stopped() {
    let instance = Instance::start().await;
    let (space, run_id) = extracted(&instance).await;
    instance
        .fault(&json!({"operation": "ModelInvocationJobRecord", "delay_ms": 20}))
        .await;
    space.step("gather_jobs", &run_id).await.unwrap();
    space.step("check_jobs", &run_id).await.unwrap();
    while jobs(&instance).await[0]["processedRecordCount"]
        .as_u64()
        .is_none_or(|count| count == 0)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As if it had been gathered two hours ago.
    let mut row = job_row(&space, &run_id).await;
    row["gathered_at_ms"] = json!(number(&row, "gathered_at_ms") - 2 * 3_600_000);
    space
        .aws
        .table
        .put(&keys::job(&run_id, 1), &row)
        .await
        .unwrap();
    all_ended(&space, &run_id).await;
    assert_eq!(job_row(&space, &run_id).await["ended"], "Stopped");
    let collected = space.step("collect_jobs", &run_id).await.unwrap();
    assert!(number(&collected, "left_over") > 0, "{collected}");
    let run = ended(&instance, &space, &run_id, &collected).await;
    assert!(balanced(&run) && run["status"] == "SUCCEEDED", "{run}");
    // What it had is not paid for twice.
    let (by_jobs, all) = (number(&run, "job_tokens"), number(&run, "embedding_tokens"));
    assert!(0 < by_jobs && by_jobs < all, "{run}");
    let (space, whole) = (Space::on(&instance, "default"), run_tokens(&instance).await);
    assert_eq!(all, whole);
    assert_eq!(space.live_documents().await.len(), 3);
}

/// What embedding the same passages by calls alone takes.
async fn run_tokens(instance: &Instance) -> u64 {
    set_space(instance, &json!({"batch_embedding": "off"})).await;
    let reply = instance.post("/v1/runs", &json!({"re_embed": true})).await;
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    number(&run, "embedding_tokens")
}

#[tokio::test]
async fn a_run_that_breaks_off_stops_its_job() {
    let instance = Instance::start().await;
    let (space, run_id) = extracted(&instance).await;
    instance
        .fault(&json!({"operation": "ModelInvocationJobRecord", "delay_ms": 50}))
        .await;
    space.step("gather_jobs", &run_id).await.unwrap();
    space.step("check_jobs", &run_id).await.unwrap();
    let report =
        json!({"step": "report", "run_id": run_id, "error": "States.Runtime", "cause": "a test"});
    deliver(&space, &report).await.unwrap();
    let run = instance.get(&format!("/v1/runs/{run_id}")).await.body;
    assert!(balanced(&run) && run["status"] == "FAILED", "{run}");
    instance.clear_faults().await;
    while jobs(&instance).await[0]["status"] != "Stopped" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its redrive is large too, and has a job of its own.
    let redriven = crate::faults::redrive(&instance, &run).await;
    assert_eq!(
        redriven["status"],
        "SUCCEEDED",
        "{redriven} {}",
        instance.log()
    );
    assert_eq!(jobs(&instance).await.len(), 2);
    assert_eq!(
        number(&redriven, "job_tokens"),
        number(&redriven, "embedding_tokens")
    );
}

/// A job went on for nobody where the reply to its start was lost: its run knew no ARN to stop.
#[tokio::test]
async fn a_run_that_breaks_off_stops_a_job_whose_start_was_cut_off() {
    let instance = Instance::start().await;
    let (space, run_id) = extracted(&instance).await;
    instance
        .fault(&json!({"operation": "ModelInvocationJobRecord", "delay_ms": 50}))
        .await;
    space.step("gather_jobs", &run_id).await.unwrap();
    // The row that says so is written; the job begins, and nobody hears of it.
    let door = unreliable::open(&instance.aws, 1, Moment::After).await;
    let cut_off = Space::of(&door, space.name, &[]);
    cut_off.step("check_jobs", &run_id).await.ok();
    assert_eq!(jobs(&instance).await.len(), 1);
    let row = job_row(&space, &run_id).await;
    assert_eq!(
        (&row["ordered"], &row["arn"]),
        (&json!(true), &Value::Null),
        "{row}"
    );
    let report =
        json!({"step": "report", "run_id": run_id, "error": "States.Runtime", "cause": "a test"});
    deliver(&space, &report).await.unwrap();
    instance.clear_faults().await;
    while jobs(&instance).await[0]["status"] != "Stopped" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(jobs(&instance).await.len(), 1);
}

/// A run that waited for its jobs made an older version live than the one that had come in meanwhile.
#[tokio::test]
async fn what_came_in_while_a_run_waited_stays() {
    let instance = Instance::start().await;
    let (space, run_id) = extracted(&instance).await;
    space.step("gather_jobs", &run_id).await.unwrap();
    space
        .put(&[("a.txt", "The newer words of the marmot."), ("b.txt", "")])
        .await;
    let id = |name: &str| names::document_id("default", name);
    let newer = json!({"documents": [id("a.txt"), id("b.txt")]});
    let reply = instance.post("/v1/runs", &newer).await;
    let newer = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(newer["status"], "SUCCEEDED", "{newer}");
    all_ended(&space, &run_id).await;
    let collected = space.step("collect_jobs", &run_id).await.unwrap();
    let run = ended(&instance, &space, &run_id, &collected).await;
    assert!(balanced(&run) && run["status"] == "PARTIAL", "{run}");
    let failures = run["failures"].as_array().unwrap();
    assert!(
        failures.iter().all(|one| one["error"] == "Superseded"),
        "{run}"
    );
    assert_eq!(failures.len(), 2, "{run}");
    assert_eq!(space.live_documents().await, space.ids(&["a.txt", "c.txt"]));
    let path = format!("/v1/documents/{}/text", id("a.txt"));
    let text = instance.get(&path).await.body;
    assert_eq!(text["text"], "The newer words of the marmot.");
    let redriven = crate::faults::redrive(&instance, &run).await;
    assert_eq!(redriven["status"], "SUCCEEDED", "{redriven}");
    assert_eq!(space.live_documents().await, space.ids(&["a.txt", "c.txt"]));
}

#[tokio::test]
async fn jobs_are_a_setting_that_is_refused_where_there_are_none() {
    let instance = Instance::start().await;
    let check = async |setting: &str, status: u16, part: &str| {
        let (found, told) = set_space(&instance, &json!({"batch_embedding": setting})).await;
        assert_eq!(found, status, "{setting}: {told}");
        let told = told.to_string();
        assert!(told.contains(part), "{setting}: {told}");
    };
    check("auto", 200, "auto:20000,24").await;
    check("auto:5000,72", 200, "auto:5000,72").await;
    check("off", 200, "\"off\"").await;
    check("auto:99", 400, "100 passages at the least").await;
    check("auto:100,100", 400, "from 1 to 72 hours").await;
    check("sometimes", 400, "InvalidRequest").await;
    let admin = Caller::user("local", &[]);
    for (variable, value, part) in [
        (
            "OUTCROP_EMBED_MODEL",
            "cohere.embed-v4:0",
            "takes no batch jobs",
        ),
        ("OUTCROP_BATCH_ROLE_ARN", "", "names no role"),
    ] {
        let space = Space::of(
            &instance.aws,
            "default",
            &[(variable, value), ("OUTCROP_ADMINS", "user:local")],
        );
        let change = spaces::SpaceChange {
            batch_embedding: Some("auto".parse().unwrap()),
            ..spaces::SpaceChange::default()
        };
        let error = spaces::change(&space.aws, "default", &admin, change)
            .await
            .unwrap_err();
        assert_eq!(error.name(), "BatchEmbeddingUnavailable");
        assert!(error.to_string().contains(part), "{error}");
    }
}

//! Budgets: what is held before it is spent, whoever comes at the same time.

use std::collections::BTreeMap;

use aws::dynamo::{Addition, keys};
use aws::{Aws, clock};
use futures_util::{StreamExt, stream};
use knowledge::access::Caller;
use knowledge::ask::{self, AskRequest};
use knowledge::ledger::Day;
use knowledge::snapshot::Snapshots;
use reqwest::Method;
use serde_json::{Value, json};

use crate::faults::steps::{deliver, payloads};
use crate::guards;
use crate::index::Space;
use crate::index::unreliable::{self, Moment};
use crate::instance::{Instance, Reply};
use crate::retrievers::settings;

const PARALLEL: usize = 200;
const DAY_MS: u64 = 86_400_000;
const GATE: &str = "# Gate\n\nThe gate of the old lighthouse opens at nine every morning.\n";
const QUESTION: &str = "When does the gate open?";

async fn set(instance: &Instance, budget: Value) -> Reply {
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    instance
        .send(request.json(&json!({"budget": budget})))
        .await
}

async fn usage(instance: &Instance) -> Value {
    let reply = instance.get("/v1/usage").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

async fn ask_once(instance: &Instance) -> Reply {
    instance
        .post("/v1/ask", &json!({"question": QUESTION}))
        .await
}

fn spent(usage: &Value) -> u64 {
    usage["total"]["cost_nano_usd"].as_u64().unwrap()
}

fn usd(nano: u64) -> f64 {
    nano as f64 / 1e9
}

/// The span of a budget as the usage tells it.
fn span<'a>(usage: &'a Value, name: &str) -> &'a Value {
    let spans = usage["budget"].as_array().unwrap();
    spans.iter().find(|one| one["span"] == name).unwrap()
}

/// Waits, should the day be about to end: what follows is to be counted in one.
async fn not_at_midnight() {
    let left = DAY_MS - clock::now_ms() % DAY_MS;
    if left < 120_000 {
        tokio::time::sleep(std::time::Duration::from_millis(left)).await;
    }
}

#[tokio::test]
async fn of_two_hundred_at_once_no_more_is_spent_than_the_budget_of_fifty() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    let aws = Aws::new(settings(&instance, None).with_sdk_retries(5));
    let snapshots = Snapshots::new(&aws.settings.index).unwrap();
    let caller = Caller {
        of_account: true,
        ..Caller::user("local", &[])
    };
    let request = AskRequest {
        question: QUESTION.to_owned(),
        ..AskRequest::default()
    };
    let first = ask::ask(&aws, &snapshots, &caller, &request, None).await;
    let one = first.unwrap().unwrap().usage.cost_nano_usd;
    assert!(one > 0);
    let before = spent(&usage(&instance).await);
    let limit = before + 50 * one;
    let reply = set(&instance, json!({"day_usd": usd(limit)})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);

    let asked = (0..PARALLEL).map(|_| ask::ask(&aws, &snapshots, &caller, &request, None));
    let ended: Vec<_> = stream::iter(asked)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let (mut answered, mut refused) = (0, 0);
    for outcome in ended {
        match outcome {
            Ok(answer) => {
                answered += 1;
                assert!(answer.unwrap().usage.cost_nano_usd > 0);
            }
            Err(error) => {
                refused += 1;
                assert_eq!(
                    (error.name(), error.status()),
                    ("BudgetSpent", 429),
                    "{error}"
                );
                let problem = error.to_problem();
                let resets_at = problem["resets_at"].as_str().unwrap();
                assert!(resets_at.ends_with("T00:00:00.000Z"), "{problem}");
                assert!(
                    error.to_string().contains("budget of this day is"),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(answered + refused, PARALLEL);
    assert!((1..=50).contains(&answered), "{answered} were answered");

    // What is held comes back: one after the other, as many are answered as the budget is for.
    let after = usage(&instance).await;
    assert!(spent(&after) <= limit, "{after}");
    assert_eq!(span(&after, "day")["held_usd"], 0.0, "{after}");
    assert_eq!(span(&after, "day")["spent_usd"], json!(usd(spent(&after))));
    loop {
        let reply = ask_once(&instance).await;
        if reply.status == 429 {
            assert_eq!(reply.body["name"], "BudgetSpent", "{}", reply.body);
            assert_eq!(reply.body["retry"], true);
            let wait: u64 = reply.headers["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(wait <= DAY_MS / 1_000, "{wait}");
            break;
        }
        assert_eq!(reply.status, 200, "{}", reply.body);
        answered += 1;
        assert!(answered <= 50, "the budget was for fifty");
    }
    let end = usage(&instance).await;
    assert!(spent(&end) <= limit, "{end}");
    // Who streams is told the same, before the first event.
    let (events, raw) = guards::stream(&instance, QUESTION).await;
    assert!(events.is_empty() && raw.contains("BudgetSpent"), "{raw}");
    // What costs nothing goes on.
    let free = json!({"query": "lighthouse", "mode": "lexical"});
    assert_eq!(instance.post("/v1/search", &free).await.status, 200);
    let raised = set(&instance, json!({"day_usd": usd(limit + 100 * one)})).await;
    assert_eq!(raised.status, 200);
    assert_eq!(ask_once(&instance).await.status, 200);
}

/// What a call that died left in the books is held until its minute has passed, and given back by whoever comes then.
#[tokio::test]
async fn what_a_call_that_died_held_comes_back() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    let aws = Aws::new(settings(&instance, None));
    let today = Day::of(clock::now_ms()).to_string();
    let (month, day) = (&today[..7], &today[8..]);
    let leave = async |minute: u64| {
        let most = 1_000_000_000;
        let held = format!("held_{day}_{minute}");
        let amounts = ["month".to_owned(), format!("day_{day}"), held];
        let addition = Addition {
            amounts: amounts.map(|name| (name, most)).to_vec(),
            ..Addition::default()
        };
        let key = keys::budget("default", month);
        aws.table.add(&key, &addition).await.unwrap();
    };
    let minute = clock::now_ms() / 60_000;
    leave(minute + 10).await;
    let refused = ask_once(&instance).await;
    assert_eq!(refused.body["name"], "BudgetSpent", "{}", refused.body);
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait < 60, "what is held may come back at once: {wait}");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("1 USD are held"),
        "{}",
        refused.body
    );
    // The same amount once more, whose time is over; and the first one settles.
    leave(minute - 1).await;
    let numbers = aws
        .table
        .numbers(&keys::budget("default", month))
        .await
        .unwrap();
    let over = numbers[&format!("day_{day}")];
    assert!(over >= 2_000_000_000, "{numbers:?}");
    let settled = Addition {
        amounts: [
            "month".to_owned(),
            format!("day_{day}"),
            format!("held_{day}_{}", minute + 10),
        ]
        .map(|name| (name, -1_000_000_000))
        .to_vec(),
        ..Addition::default()
    };
    aws.table
        .add(&keys::budget("default", month), &settled)
        .await
        .unwrap();
    let answered = ask_once(&instance).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let after = usage(&instance).await;
    assert_eq!(span(&after, "day")["held_usd"], 0.0, "{after}");
    assert_eq!(
        span(&after, "day")["spent_usd"],
        json!(usd(spent(&after))),
        "{after}"
    );
}

/// What a call that died left beyond its time counted for the soft limit until the next call.
#[tokio::test]
async fn what_is_held_beyond_its_time_steps_nothing_down() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    let soft = json!({"day_usd": 2, "soft_percent": 50, "soft_passages": 1});
    assert_eq!(set(&instance, soft).await.status, 200);
    let aws = Aws::new(settings(&instance, None));
    let today = Day::of(clock::now_ms()).to_string();
    let (month, day) = (&today[..7], &today[8..]);
    let held = format!("held_{day}_{}", clock::now_ms() / 60_000 - 1);
    let addition = Addition {
        amounts: ["month".to_owned(), format!("day_{day}"), held]
            .map(|name| (name, 1_500_000_000))
            .to_vec(),
        ..Addition::default()
    };
    let key = keys::budget("default", month);
    aws.table.add(&key, &addition).await.unwrap();
    let answered = ask_once(&instance).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(
        answered.body["stepped_down"],
        Value::Null,
        "{}",
        answered.body
    );
}

#[tokio::test]
async fn a_budget_that_runs_low_steps_down_and_says_so() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    for number in 0..4 {
        let text =
            format!("# Gate {number}\n\nThe gate {number} of the old lighthouse opens at nine.\n");
        instance.ingest(&format!("gate-{number}.md"), &text).await;
    }
    let before = spent(&usage(&instance).await);
    // Room for hundreds, and the soft limit is passed already.
    let soft = json!({"month_usd": usd(before) + 10.0, "soft_percent": 1, "soft_passages": 2});
    let reply = set(&instance, soft).await;
    assert_eq!(reply.body["budget"]["soft_passages"], 2, "{}", reply.body);
    let whole = ask_once(&instance).await.body;
    assert_eq!(whole["stepped_down"], Value::Null, "{whole}");
    assert!(whole["sources"].as_array().unwrap().len() > 2, "{whole}");
    let soft = json!({"month_usd": usd(before) + 0.5, "soft_percent": 1, "soft_passages": 2});
    let reply = set(&instance, soft).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut down = Value::Null;
    for _ in 0..60 {
        let reply = ask_once(&instance).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        if reply.body["stepped_down"] != Value::Null {
            down = reply.body;
            break;
        }
    }
    let told = &down["stepped_down"];
    assert_eq!(told["passages"], 2, "{down}");
    assert_eq!(down["sources"].as_array().unwrap().len(), 2, "{down}");
    assert_eq!(told["model"], down["usage"]["model"]);
    assert!(
        told["reason"].as_str().unwrap().contains("this month"),
        "{told}"
    );
    let (events, _) = guards::stream(&instance, QUESTION).await;
    let done = events.iter().find(|(name, _)| name == "done").unwrap();
    assert_eq!(done.1["stepped_down"]["passages"], 2);
}

#[tokio::test]
async fn a_run_without_room_stops_in_its_plan_and_says_how_to_go_on() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    let reply = set(&instance, json!({"day_usd": 0.0})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let document = json!({"name": "gate.md", "content": GATE, "readers": ["everyone"]});
    let stored = instance.post("/v1/documents", &document).await.body;
    let run = instance.finished(stored["run_id"].as_str().unwrap()).await;
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("STOPPED"), &json!("BudgetSpent")),
        "{run}"
    );
    let reason = run["reason"].as_str().unwrap();
    assert!(
        reason.contains("outcrop sync") && reason.contains("begins anew"),
        "{reason}"
    );
    assert_eq!(spent(&usage(&instance).await), 0);
    let redrive = format!("/v1/runs/{}/redrive", run["run_id"].as_str().unwrap());
    let refused = instance.post(&redrive, &json!({})).await.body;
    assert_eq!(refused["name"], "NothingToRedrive", "{refused}");
    // With room it goes through, and gives back what it did not need.
    set(&instance, json!({"day_usd": 1})).await;
    let started = instance.post("/v1/runs", &json!({})).await.body;
    let run = instance.finished(started["run_id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let after = usage(&instance).await;
    let day = span(&after, "day");
    assert!(spent(&after) > 0);
    assert_eq!(
        (&day["spent_usd"], &day["held_usd"]),
        (&json!(usd(spent(&after))), &json!(0.0))
    );
}

/// A plan that was cut off after it had held left that in the books until its time was over.
#[tokio::test]
async fn a_run_whose_plan_breaks_off_holds_nothing_afterwards() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    let space = Space::on(&instance, "default");
    space.put(&[("gate.md", GATE)]).await;
    for writes in 0.. {
        let run_id = space.new_run().await;
        let door = unreliable::open(&instance.aws, writes, Moment::Before).await;
        let cut_off = Space::of(&door, space.name, &[]);
        if cut_off.step("plan", &run_id).await.is_ok() {
            let held = span(&usage(&instance).await, "day")["held_usd"].clone();
            assert!(
                held.as_f64().unwrap() > 0.0 && writes > 3,
                "{held} {writes}"
            );
            break;
        }
        let report =
            json!({"step": "report", "run_id": run_id, "error": "ServiceBusy", "cause": "cut off"});
        deliver(&space, &report).await.unwrap();
        let after = usage(&instance).await;
        assert_eq!(span(&after, "day")["held_usd"], 0.0, "{writes}: {after}");
    }
}

/// A run that was stopped in Step Functions held its estimate for days.
#[tokio::test]
async fn a_run_that_was_stopped_holds_nothing_once_another_begins() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    Space::on(&instance, "default")
        .put(&[("gate.md", GATE)])
        .await;
    let held = async || {
        span(&usage(&instance).await, "day")["held_usd"]
            .as_f64()
            .unwrap()
    };
    let throttled = json!({"operation": "InvokeModel", "error": "ThrottlingException"});
    instance.fault(&throttled).await;
    let stopped = instance.post("/v1/runs", &json!({})).await;
    assert_eq!(stopped.status, 202, "{}", stopped.body);
    while held().await == 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    instance
        .stop_execution(stopped.body["run_id"].as_str().unwrap())
        .await;
    instance.clear_faults().await;
    // It looks, and holds nothing.
    let dry = instance.post("/v1/runs", &json!({"dry_run": true})).await;
    assert_eq!(dry.status, 202, "{}", dry.body);
    assert_eq!(held().await, 0.0);
}

/// An execution that somebody let go on in Step Functions spent without a check what was given back when another run began.
#[tokio::test]
async fn a_run_that_goes_on_holds_again_or_is_told_that_there_is_no_room() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    let space = Space::on(&instance, "default");
    space.put(&[("gate.md", GATE)]).await;
    let held = async || {
        span(&usage(&instance).await, "day")["held_usd"]
            .as_f64()
            .unwrap()
    };
    let throttled = json!({"operation": "InvokeModel", "error": "ThrottlingException"});
    instance.fault(&throttled).await;
    let stopped = instance.post("/v1/runs", &json!({})).await;
    let run_id = stopped.body["run_id"].as_str().unwrap();
    let embedding = "/v1/documents?status=embedding";
    while instance.get(embedding).await.body["documents"] == json!([]) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let before = held().await;
    instance.stop_execution(run_id).await;
    let dry = instance.post("/v1/runs", &json!({"dry_run": true})).await;
    instance
        .finished(dry.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!((held().await, before > 0.0), (0.0, true));

    // What was under way when it was stopped comes late, and holds nothing.
    let steps = payloads(&space, run_id).await;
    let embed = steps.iter().find(|one| one["step"] == "embed").unwrap();
    let late = deliver(&space, embed).await.unwrap_err();
    assert_eq!((late.name(), held().await), ("BudgetSpent", 0.0));

    // As the state machine goes on, more than a function's life later.
    let key = keys::run(run_id);
    let mut row: Value = space.aws.table.get(&key).await.unwrap().unwrap();
    let suspended_at_ms = row["suspended_at_ms"].as_u64().unwrap();
    row["suspended_at_ms"] = json!(suspended_at_ms - 15 * 60_000);
    space.aws.table.put(&key, &row).await.unwrap();
    assert_eq!(set(&instance, json!({"day_usd": 0})).await.status, 200);
    let refused = deliver(&space, embed).await.unwrap_err();
    assert_eq!(refused.name(), "BudgetSpent");
    let told = refused.to_string();
    assert!(
        told.contains("outcrop redrive") && told.contains("begins anew"),
        "{told}"
    );
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    for _ in 0..2 {
        let throttled = deliver(&space, embed).await.unwrap_err();
        assert_eq!(throttled.name(), "ModelThrottled");
        assert_eq!(held().await, before);
    }
    instance.clear_faults().await;
    for step in &steps {
        if step["step"] != "extract" {
            deliver(&space, step).await.unwrap();
        }
    }
    let run = instance.get(&format!("/v1/runs/{run_id}")).await.body;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let after = usage(&instance).await;
    let day = span(&after, "day");
    assert!(spent(&after) > 0, "{after}");
    assert_eq!(
        (&day["spent_usd"], &day["held_usd"]),
        (&json!(usd(spent(&after))), &json!(0.0))
    );
}

/// A run that meets the end of its budget after its plan has touched documents: it is no run that its plan stopped.
#[tokio::test]
async fn a_run_that_finds_no_room_after_its_plan_fails_and_is_redriven() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.put(&[("gate.md", GATE)]).await;
    let run_id = space.new_run().await;
    space.step("plan", &run_id).await.unwrap();
    let report =
        json!({"step": "report", "run_id": run_id, "error": "BudgetSpent", "cause": "no room"});
    deliver(&space, &report).await.unwrap();
    let run = instance.get(&format!("/v1/runs/{run_id}")).await.body;
    assert_eq!(
        (&run["status"], &run["counts"]["failed"]),
        (&json!("FAILED"), &json!(1)),
        "{run}"
    );
    assert_eq!(run["failures"][0]["error"], "BudgetSpent", "{run}");
    let redrive = format!("/v1/runs/{run_id}/redrive");
    let redrive = instance.post(&redrive, &json!({})).await.body;
    let run = instance.finished(redrive["run_id"].as_str().unwrap()).await;
    assert_eq!(run["counts"]["published"], 1, "{run}");
}

/// What a run spends beyond its estimate was seen when the run ended, and not before.
#[tokio::test]
async fn what_a_run_spends_beyond_its_estimate_counts_at_once() {
    not_at_midnight().await;
    let instance = Instance::start().await;
    assert_eq!(set(&instance, json!({"day_usd": 1})).await.status, 200);
    let space = Space::on(&instance, "default");
    space.put(&[("gate.md", GATE)]).await;
    let run_id = space.new_run().await;
    space.step("plan", &run_id).await.unwrap();
    // As if the estimate had been a nanodollar.
    let today = Day::of(clock::now_ms()).to_string();
    let key = keys::budget("default", &today[..7]);
    let numbers = space.aws.table.numbers(&key).await.unwrap();
    let (name, held) = numbers
        .iter()
        .find(|(name, _)| name.starts_with("held_"))
        .unwrap();
    let names = [
        name.clone(),
        "month".to_owned(),
        format!("day_{}", &today[8..]),
    ];
    let addition = Addition {
        amounts: names.map(|name| (name, 1 - held)).to_vec(),
        ..Addition::default()
    };
    space.aws.table.add(&key, &addition).await.unwrap();
    for payload in payloads(&space, &run_id).await {
        if ["extract", "embed"].contains(&payload["step"].as_str().unwrap()) {
            deliver(&space, &payload).await.unwrap();
        }
    }
    let under_way = usage(&instance).await;
    assert!(spent(&under_way) > 1, "{under_way}");
    let day = span(&under_way, "day");
    assert_eq!(
        (&day["spent_usd"], &day["held_usd"]),
        (&json!(usd(spent(&under_way))), &json!(0.0))
    );
}

#[tokio::test]
async fn a_budget_is_set_by_admins_and_checked() {
    let instance = Instance::start().await;
    let check = async |budget: Value, name: &str| {
        let reply = set(&instance, budget.clone()).await;
        assert_eq!(reply.body["name"], name, "{budget}: {}", reply.body);
    };
    check(json!({"day_usd": -1}), "InvalidRequest").await;
    check(json!({"week_usd": 1}), "UnknownField").await;
    check(json!({"soft_percent": 80}), "InvalidRequest").await;
    check(
        json!({"day_usd": 1, "soft_percent": 80, "soft_model": "m.none"}),
        "ModelNotAllowed",
    )
    .await;
    check(json!([1]), "InvalidRequest").await;
    let kept: BTreeMap<String, Value> = serde_json::from_value(
        set(&instance, json!({"day_usd": 1.5})).await.body["budget"].clone(),
    )
    .unwrap();
    assert_eq!(kept, BTreeMap::from([("day_usd".to_owned(), json!(1.5))]));
    let token = instance.token("ada", &[]);
    let request = instance.request(Method::GET, "/v1/spaces/default");
    let seen = instance.send(request.bearer_auth(token)).await.body;
    assert_eq!(seen["budget"], Value::Null, "a reader sees no budget");
}

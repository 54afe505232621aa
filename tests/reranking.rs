//! Reranking at the door: the order, who is read, what fails, and what it costs.

use std::sync::{Arc, Mutex};

use aws::Aws;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use knowledge::access::Caller;
use knowledge::search::{self, SearchMode, SearchReply, SearchRequest};
use knowledge::snapshot::Snapshots;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent_calls::{Form, LOCAL, done};
use crate::instance::{Instance, Reply};
use crate::lambda_binaries::host_with;
use crate::retrievers::settings_at;

const COHERE: &str = "cohere.rerank-v3-5:0";
const QUESTION: &str = "When does the gate of the lighthouse open?";

/// The first shares the most words with the question and the last answers it.
const DOCUMENTS: [(&str, &str); 4] = [
    (
        "gate.md",
        "Gate, gate, gate! Lighthouse, lighthouse! Open, open! The gate is a gate. The lighthouse is a lighthouse. Open.",
    ),
    ("keeper.md", "The keeper of the lighthouse sleeps all day."),
    ("fence.md", "The fence has a gate. It is green."),
    (
        "hours.md",
        "Visitors come by boat. The gate of the lighthouse does open at nine in summer. There is a shop.",
    ),
];

async fn lighthouse() -> Instance {
    let instance = Instance::start().await;
    for (name, text) in DOCUMENTS {
        instance.ingest(name, text).await;
    }
    instance
}

async fn set(instance: &Instance, change: Value) -> Reply {
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    instance.send(request.json(&change)).await
}

async fn rerank_by(instance: &Instance, model: &str) {
    let reply = set(instance, json!({"rerank_model": model})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

async fn search(instance: &Instance, change: Value) -> Value {
    let mut body = json!({"query": QUESTION});
    body.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    let reply = instance.post("/v1/search", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

async fn ask(instance: &Instance) -> Value {
    let reply = instance
        .post("/v1/ask", &json!({"question": QUESTION}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

fn titles(results: &Value) -> Vec<&str> {
    let results = results.as_array().unwrap().iter();
    results.map(|one| one["title"].as_str().unwrap()).collect()
}

/// The calls of `Rerank` that a fault saw which never strikes.
async fn calls(instance: &Instance) -> Value {
    instance.faults().await[0]["calls"].clone()
}

#[tokio::test]
async fn without_a_reranker_none_is_called_and_with_one_its_order_counts() {
    let instance = lighthouse().await;
    let counter = json!({"operation": "Rerank", "error": "ThrottlingException", "share": 0.0});
    instance.fault(&counter).await;
    let plain = search(&instance, json!({})).await;
    let answer = ask(&instance).await;
    for reply in [&plain, &answer] {
        assert_eq!(reply.get("reranking"), None, "{reply}");
    }
    assert_eq!(answer["usage"]["rerank_units"], 0);
    assert_eq!(calls(&instance).await, 0);

    rerank_by(&instance, COHERE).await;
    let found = search(&instance, json!({})).await;
    let told = json!({"model": COHERE, "passages": 4});
    assert_eq!(found["reranking"], told);
    assert_eq!(calls(&instance).await, 1);
    assert_ne!(titles(&found["results"]), titles(&plain["results"]));
    assert_eq!(titles(&found["results"])[0], "hours.md", "{found}");
    let scores: Vec<f64> = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    // Page by page it is the same order.
    let mut pages = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut page = search(&instance, json!({"limit": 3, "cursor": cursor})).await;
        pages.append(page["results"].as_array_mut().unwrap());
        cursor = page["next_cursor"].take();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(json!(pages), found["results"]);

    let answer = ask(&instance).await;
    assert_eq!(answer["reranking"], told, "{answer}");
    assert_eq!(titles(&answer["sources"]), titles(&found["results"]));
    assert!(answer["timings_ms"]["rerank"].as_f64().unwrap() > 0.0);
    assert_eq!(answer["citations"][0]["title"], "hours.md", "{answer}");
    // A search that names one ranking gets that one.
    let before = calls(&instance).await;
    for mode in ["lexical", "vector"] {
        let found = search(&instance, json!({"mode": mode})).await;
        assert_eq!(found.get("reranking"), None, "{mode}");
    }
    assert_eq!(calls(&instance).await, before);
    // What is tidied is tidied in the new order.
    let tidied = search(
        &instance,
        json!({"merge_neighbours": true, "drop_near_duplicates": true}),
    )
    .await;
    assert_eq!(titles(&tidied["results"]), titles(&found["results"]));

    rerank_by(&instance, "off").await;
    assert_eq!(
        titles(&search(&instance, json!({})).await["results"]),
        titles(&plain["results"])
    );
}

/// One document of many passages: the best fifty are reranked, and those behind them stay where they were.
#[tokio::test]
async fn behind_the_candidates_the_fused_order_goes_on() {
    let instance = Instance::start().await;
    let passage = |number: usize| {
        let gates = "The gate stays shut. ".repeat(1 + number % 9);
        format!(
            "# Lighthouse {number}\n\n{gates}A lighthouse has a keeper {number} times. Boats may open it.\n\n"
        )
    };
    let text: String = (0..64).map(passage).collect();
    let cut = set(&instance, json!({"chunking": "headings:128"})).await;
    assert_eq!(cut.status, 200, "{}", cut.body);
    instance.ingest("lighthouses.md", &text).await;
    let all = json!({"limit": 100});
    let plain = search(&instance, all.clone()).await;
    rerank_by(&instance, COHERE).await;
    let found = search(&instance, all).await;
    assert_eq!(found["reranking"]["passages"], 50, "{}", found["reranking"]);
    let ids = |results: &[Value]| -> Vec<String> {
        let ids = results
            .iter()
            .map(|one| one["passage_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    let (plain, found) = (
        plain["results"].as_array().unwrap(),
        found["results"].as_array().unwrap(),
    );
    assert_eq!((plain.len(), found.len()), (64, 64));
    assert_eq!(found[50..], plain[50..]);
    let (mut before, mut after) = (ids(&plain[..50]), ids(&found[..50]));
    assert_ne!(before, after);
    before.sort();
    after.sort();
    assert_eq!(before, after);
    // The second page crosses the end of the candidates, the third begins behind it.
    let mut pages = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut page = search(&instance, json!({"limit": 30, "cursor": cursor})).await;
        assert_eq!(
            page.get("reranking").is_some(),
            pages.len() < 50,
            "{}",
            pages.len()
        );
        pages.append(page["results"].as_array_mut().unwrap());
        cursor = page["next_cursor"].take();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(pages, *found);
    // As the reranker itself says, page after page of its reply.
    let scores: Vec<f64> = found[..50]
        .iter()
        .map(|one| one["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
}

#[tokio::test]
async fn a_reranker_that_fails_costs_nothing_but_its_order() {
    let instance = lighthouse().await;
    let plain = search(&instance, json!({})).await;
    rerank_by(&instance, COHERE).await;
    let check = async |fault: Value, name: &str| {
        let fault = {
            let mut whole = json!({"operation": "Rerank"});
            whole
                .as_object_mut()
                .unwrap()
                .extend(fault.as_object().unwrap().clone());
            whole
        };
        instance.fault(&fault).await;
        let found = search(&instance, json!({})).await;
        assert_eq!(found["results"], plain["results"], "{name}: {found}");
        let told = json!({"model": COHERE, "passages": 0, "error": name});
        assert_eq!(found["reranking"], told);
        let answer = ask(&instance).await;
        assert_eq!(
            (&answer["reranking"], &answer["answered"]),
            (&told, &json!(true))
        );
        instance.clear_faults().await;
        answer["usage"].clone()
    };
    for (error, name) in [
        ("ThrottlingException", "ModelThrottled"),
        ("AccessDeniedException", "ModelRefused"),
        ("ValidationException", "ModelRefused"),
        ("InternalServerException", "ModelUnavailable"),
        ("DependencyFailedException", "ModelUnavailable"),
    ] {
        let usage = check(json!({"error": error}), name).await;
        assert_eq!(usage["rerank_units"], 0, "{error}");
    }
    // What was given up may have been answered and billed.
    let usage = check(json!({"delay_ms": 8_000}), "ModelTimedOut").await;
    assert_eq!(
        (&usage["rerank_units"], &usage["estimated"]),
        (&json!(1), &json!(true))
    );
    // Once it passes, all is well.
    let found = search(&instance, json!({})).await;
    assert_eq!(found["reranking"]["passages"], 4);
}

/// Answers were kept without what the reranker did, and agents were told nothing of it.
#[tokio::test]
async fn who_reads_later_and_agents_are_told_that_a_reranker_failed() {
    let instance = lighthouse().await;
    rerank_by(&instance, COHERE).await;
    let offered = format!("off,{COHERE}");
    let host = host_with(&instance, &[("OUTCROP_RERANK_MODELS", &offered)], 2);
    let check = async |told: Value, note: Option<&str>| {
        let answer = ask(&instance).await;
        let path = format!("/v1/answers/{}", answer["answer_id"].as_str().unwrap());
        let replayed = instance.get(&path).await.body;
        assert_eq!(replayed["reranking"], told, "{replayed}");
        let actions = [
            ("search_knowledge", json!({"query": QUESTION})),
            ("ask_knowledge", json!({"question": QUESTION})),
        ];
        for (action, arguments) in actions {
            for form in [Form::Api, Form::Mcp] {
                let output = done(&host, form, action, &arguments, LOCAL).await;
                assert_eq!(output["note"].as_str(), note, "{action} {form:?}: {output}");
            }
        }
    };
    check(json!({"model": COHERE, "passages": 4}), None).await;
    let throttled = json!({"operation": "Rerank", "error": "ThrottlingException"});
    instance.fault(&throttled).await;
    let told = json!({"model": COHERE, "passages": 0, "error": "ModelThrottled"});
    let note = "The passages were not reranked (ModelThrottled): they stand in the order in which they were found.";
    check(told, Some(note)).await;
}

#[tokio::test]
async fn what_it_costs_is_told_counted_and_held() {
    let instance = lighthouse().await;
    rerank_by(&instance, COHERE).await;
    let usage = async || instance.get("/v1/usage?group=model").await.body;
    let nano = |usage: &Value| usage["total"]["cost_nano_usd"].as_u64().unwrap();
    let before = nano(&usage().await);
    let answer = ask(&instance).await;
    let told = &answer["usage"];
    let line = told["lines"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["task"] == "rerank");
    let line = line.unwrap();
    // Two dollars for a thousand queries.
    assert_eq!(
        (
            &line["model"],
            &line["rerank_units"],
            &line["cost_nano_usd"]
        ),
        (&json!(COHERE), &json!(1), &json!(2_000_000)),
        "{told}"
    );
    assert_eq!(
        (&told["rerank_units"], &told["estimated"]),
        (&json!(1), &json!(false))
    );
    search(&instance, json!({})).await;
    let after = usage().await;
    let rows = after["usage"].as_array().unwrap();
    let row = rows.iter().find(|row| row["model"] == COHERE).unwrap();
    assert_eq!(
        (&row["uses"], &row["rerank_units"], &row["cost_nano_usd"]),
        (&json!(2), &json!(2), &json!(4_000_000))
    );
    let of_answer = told["cost_nano_usd"].as_u64().unwrap();
    assert!(nano(&after) >= before + of_answer + 2_000_000, "{after}");

    // Beyond the soft limit an answer is made more cheaply.
    let low = nano(&after) as f64 / 1e9 + 0.1;
    let soft = json!({"month_usd": low, "soft_percent": 1, "soft_passages": 2});
    let reply = set(&instance, json!({"budget": soft})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let down = ask(&instance).await;
    let gave_way = &down["stepped_down"]["passages"];
    assert_eq!(
        (gave_way, &down["usage"]["rerank_units"]),
        (&json!(2), &json!(0)),
        "{down}"
    );
    assert_eq!(down.get("reranking"), None, "{down}");

    // Room for a thousand embeddings, and for no reranker.
    let room = (nano(&usage().await) + 1_000_000) as f64 / 1e9;
    let hard = json!({"month_usd": room, "soft_percent": null, "soft_passages": null});
    let reply = set(&instance, json!({"budget": hard})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let refused = instance
        .post("/v1/search", &json!({"query": QUESTION}))
        .await;
    assert_eq!(refused.body["name"], "BudgetSpent", "{}", refused.body);
    rerank_by(&instance, "off").await;
    search(&instance, json!({})).await;
    let end = usage().await;
    let month = &end["budget"][0];
    assert_eq!(
        (&month["span"], &month["held_usd"]),
        (&json!("month"), &json!(0.0)),
        "{end}"
    );
}

#[tokio::test]
async fn a_space_sets_what_the_deployment_offers() {
    let instance = Instance::start().await;
    let space = instance.get("/v1/spaces/default").await.body;
    assert_eq!(space.get("rerank_model"), None, "{space}");
    for model in ["amazon.nova-lite-v1:0", "cohere.rerank-v9:0", ""] {
        let refused = set(&instance, json!({"rerank_model": model})).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["name"]),
            (400, &json!("ModelNotAllowed"))
        );
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.ends_with("one of off, amazon.rerank-v1:0, cohere.rerank-v3-5:0"),
            "{detail}"
        );
    }
    let space = set(&instance, json!({"rerank_model": COHERE})).await.body;
    assert_eq!(space["rerank_model"], COHERE);
    let kept = set(&instance, json!({"strict": true})).await.body;
    assert_eq!(kept["rerank_model"], COHERE, "what is left out stays");
    let space = set(&instance, json!({"rerank_model": null})).await.body;
    assert_eq!(space.get("rerank_model"), None, "{space}");
}

/// What went to `Rerank`, on its way to the instance behind.
#[derive(Clone)]
struct Recorder {
    behind: String,
    sent: Arc<Mutex<String>>,
}

impl Recorder {
    async fn before(instance: &Instance) -> (Self, String) {
        let recorder = Self {
            behind: instance.aws.clone(),
            sent: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .fallback(pass)
            .with_state(recorder.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (recorder, address)
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

async fn pass(State(recorder): State<Recorder>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    if head.uri.path() == "/rerank" {
        let text = String::from_utf8_lossy(&body);
        recorder.sent.lock().unwrap().push_str(&text);
    }
    let url = format!("{}{}", recorder.behind, head.uri);
    let passed = reqwest::Client::new()
        .request(head.method, url)
        .headers(head.headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let mut reply = Response::builder().status(passed.status());
    *reply.headers_mut().unwrap() = passed.headers().clone();
    reply
        .body(Body::from(passed.bytes().await.unwrap()))
        .unwrap()
}

async fn found_by(
    aws: &Aws,
    snapshots: &Snapshots,
    caller: &Caller,
    limit: usize,
    cursor: Option<String>,
) -> SearchReply {
    let request = SearchRequest {
        query: QUESTION.to_owned(),
        space: None,
        mode: SearchMode::Hybrid,
        limit: Some(limit),
        filter: None,
        cursor,
        drop_near_duplicates: false,
        merge_neighbours: false,
    };
    search::search(aws, snapshots, caller, &request)
        .await
        .unwrap()
}

/// The reranker is a reader too: what its caller may not read is not sent to it, nor what they may not read any more though the
/// index still says so.
#[tokio::test]
async fn the_reranker_sees_only_what_the_caller_may_read() {
    let instance = Instance::start().await;
    let (recorder, address) = Recorder::before(&instance).await;
    let store = async |name: &str, text: &str, readers: &[&str]| {
        let document = json!({"name": name, "content": text, "readers": readers});
        let reply = instance.post("/v1/documents", &document).await;
        instance
            .finished(reply.body["run_id"].as_str().unwrap())
            .await
    };
    for (name, text) in DOCUMENTS {
        store(name, text, &["everyone"]).await;
    }
    store(
        "bob.md",
        "The gate of the lighthouse does open for Bob at midnight.",
        &["user:bob"],
    )
    .await;
    store(
        "ada.md",
        "The gate of the lighthouse does open for Ada at noon.",
        &["user:ada"],
    )
    .await;

    let mut settings = settings_at(&address, &instance.temporary_folder(), None);
    settings.rerank_models = vec![COHERE.to_owned()];
    settings.rerank_model = Some(COHERE.to_owned());
    let aws = Aws::new(settings);
    let snapshots = Snapshots::new(&aws.settings.index).unwrap();
    let ada = Caller::user("ada", &[]);
    let found = found_by(&aws, &snapshots, &ada, 10, None).await;
    assert_eq!(found.reranking.unwrap().passages, 5);
    let sent = recorder.take();
    assert!(
        sent.contains("for Ada") && !sent.contains("for Bob"),
        "{sent}"
    );
    assert!(
        sent.contains(&format!("::foundation-model/{COHERE}")),
        "{sent}"
    );

    let fault = json!({"operation": "InvokeModel", "error": "ValidationException", "times": 50});
    instance.fault(&fault).await;
    let run = store("ada.md", "Nothing is said.", &["user:bob"]).await;
    assert_eq!(run["status"], "FAILED", "{run}");
    instance.clear_faults().await;
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = found_by(&aws, &snapshots, &ada, 2, cursor).await;
        let sent = recorder.take();
        assert!(
            !sent.is_empty() && !sent.contains("for Ada") && !sent.contains("for Bob"),
            "{sent}"
        );
        all.extend(page.results.into_iter().map(|one| one.title));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    all.sort();
    let mut expected = DOCUMENTS.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(all, expected);

    // One that the deployment offers no more is not asked.
    let mut settings = aws.settings.clone();
    settings.rerank_models.clear();
    let aws = Aws::new(settings);
    let found = found_by(&aws, &snapshots, &ada, 10, None).await;
    assert_eq!(found.reranking.unwrap().error, Some("ModelNotAllowed"));
    assert_eq!((found.results.len(), recorder.take()), (4, String::new()));
}

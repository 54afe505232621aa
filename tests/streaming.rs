//! Server-sent events: in pieces, in order, stopped by a client that hangs up, honest about a model that breaks off.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::Instance;

const STORY: &str = "The lighthouse keeper climbs one hundred stairs. The lighthouse lamp burns all night. \
    The lighthouse keeper sleeps by day. The lighthouse stands on granite.";

type Events = Vec<(String, Value)>;

fn ask(instance: &Instance) -> reqwest::RequestBuilder {
    instance
        .request(Method::POST, "/v1/ask")
        .header("accept", "text/event-stream")
        .json(&json!({"question": "What does the lighthouse keeper climb, and where does the lighthouse stand?"}))
}

fn parse(text: &str) -> Events {
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
            events.push((event.to_owned(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

#[tokio::test]
async fn events_come_in_order_and_the_last_holds_the_whole_answer() {
    let instance = Instance::start().await;
    instance.ingest("story.txt", STORY).await;
    let reply = ask(&instance).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let events = parse(&reply.text().await.unwrap());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"sources"), "{names:?}");
    assert_eq!(names.last(), Some(&"done"), "{names:?} {}", instance.log());
    assert!(
        names.contains(&"citation") && names.contains(&"usage"),
        "{names:?}"
    );
    let streamed: String = events
        .iter()
        .filter(|(name, _)| name == "delta")
        .map(|(_, data)| data["text"].as_str().unwrap())
        .collect();
    let done = &events.last().unwrap().1;
    assert_eq!(done["answer"], streamed.as_str());
    assert_eq!(done["answer_id"], events[0].1["answer_id"]);
}

#[tokio::test]
async fn pieces_arrive_as_the_model_makes_them() {
    let instance = Instance::start().await;
    instance.ingest("story.txt", STORY).await;
    let slow = json!({"operation": "ConverseStream", "every_ms": 60, "times": 1});
    instance.fault(&slow).await;
    let mut body = ask(&instance).send().await.unwrap().bytes_stream();
    let begun = Instant::now();
    let mut arrivals = Vec::new();
    while let Some(piece) = body.next().await {
        piece.unwrap();
        arrivals.push(begun.elapsed());
    }
    let spread = *arrivals.last().unwrap() - arrivals[0];
    assert!(
        arrivals.len() > 3 && spread > Duration::from_millis(300),
        "{arrivals:?}"
    );
}

#[tokio::test]
async fn a_model_that_breaks_off_ends_the_stream_with_an_error_event() {
    let instance = Instance::start().await;
    instance.ingest("story.txt", STORY).await;
    let fault = json!({
        "operation": "ConverseStream", "error": "ModelStreamErrorException", "after_events": 3, "times": 1
    });
    instance.fault(&fault).await;
    let events = parse(&ask(&instance).send().await.unwrap().text().await.unwrap());
    let (name, problem) = events.last().unwrap();
    assert_eq!(name, "error", "{events:?}");
    assert!(
        problem["name"].is_string() && problem["retry"].is_boolean(),
        "{problem}"
    );
    let events = parse(&ask(&instance).send().await.unwrap().text().await.unwrap());
    assert_eq!(events.last().unwrap().0, "done", "the next answer is whole");
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_model() {
    let instance = Instance::start().await;
    instance.ingest("story.txt", STORY).await;
    instance
        .fault(&json!({"operation": "ConverseStream", "every_ms": 200, "times": 1}))
        .await;
    let mut body = ask(&instance).send().await.unwrap().bytes_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    let begun = Instant::now();
    loop {
        let log = instance.log();
        if log.contains("converse_stream_abandoned") {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the model went on: {log}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

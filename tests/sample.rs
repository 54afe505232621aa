//! The sample handbook and its forty questions: what a newcomer meets first must work.

use serde_json::{Value, json};

use crate::instance::Instance;

const QUESTIONS: &str = include_str!("../crates/outcrop/sample/questions.jsonl");

/// Questions whose passage must be among the eight sources, and whose sentence must be quoted.
const FOUND_AT_LEAST: usize = 38;
const QUOTED_AT_LEAST: usize = 34;

#[tokio::test]
async fn the_sample_answers_its_questions() {
    let instance = Instance::start_with_sample().await;
    let (mut found, mut quoted, mut missed) = (0, 0, Vec::new());
    for line in QUESTIONS.lines() {
        let question: Value = serde_json::from_str(line).unwrap();
        let wanted = question["answer_contains"].as_str().unwrap();
        let reply = instance
            .post("/v1/ask", &json!({"question": question["question"]}))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let holds = |list: &str, field: &str| {
            let items = reply.body[list].as_array().unwrap().iter();
            items
                .filter_map(|item| item[field].as_str())
                .any(|text| text.contains(wanted))
        };
        found += usize::from(holds("sources", "text"));
        if holds("citations", "quote") {
            quoted += 1;
        } else {
            missed.push(question["question"].as_str().unwrap().to_owned());
        }
    }
    assert!(
        found >= FOUND_AT_LEAST && quoted >= QUOTED_AT_LEAST,
        "of 40 questions {found} found their passage and {quoted} quoted it; not quoted: {missed:#?}"
    );
}

#[tokio::test]
async fn what_the_handbook_does_not_say_is_refused() {
    let instance = Instance::start_with_sample().await;
    for question in [
        "Who painted the ceiling of the Sistine Chapel?",
        "What is the boiling point of mercury?",
        "How do I bake sourdough bread?",
        "Which team won the football cup in 1998?",
    ] {
        let reply = instance
            .post("/v1/ask", &json!({"question": question}))
            .await;
        assert_eq!(
            reply.body["answered"], false,
            "{question}: {}",
            reply.body["answer"]
        );
    }
}

//! Answers held to their sources: every sentence linked or marked, strict spaces, and answers read back against the documents as
//! they are now.

use std::time::Duration;

use knowledge::digest::sha256_hex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::attack_table::{Call, claims};
use crate::guards::stream;
use crate::instance::Instance;
use crate::lambda_binaries::host;
use crate::scripted_model::ScriptedModel;

const GATE: &str = "# Gate\n\nThe gate of the old lighthouse opens at nine every morning.\n";
const VAULT: &str = "# Vault\n\nThe vault of the old lighthouse opens with the word marzipan.\n";
const BOTH: &str = "How do the gate and the vault of the old lighthouse open?";

async fn ask(instance: &Instance, question: &str) -> Value {
    let body = json!({ "question": question });
    instance.post("/v1/ask", &body).await.body
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

#[tokio::test]
async fn an_answer_is_read_back_with_what_it_stood_on() {
    let instance = Instance::start().await;
    let (id, _) = instance.ingest("gate.md", GATE).await;
    let answer = ask(&instance, "When does the gate open?").await;
    assert_eq!(
        (&answer["answered"], &answer["replayable"]),
        (&json!(true), &json!(true)),
        "{answer}"
    );
    for sentence in list(&answer, "support") {
        assert_eq!(sentence["supported"], true, "{answer}");
    }
    let path = format!("/v1/answers/{}", answer["answer_id"].as_str().unwrap());
    let replayed = instance.get(&path).await;
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    let replayed = replayed.body;
    for same in [
        "answer_id",
        "answer",
        "answered",
        "support",
        "guard",
        "usage",
        "stop_reason",
        "prompt_version",
        "manifest_version",
    ] {
        assert_eq!(replayed[same], answer[same], "{same}");
    }
    assert_eq!(replayed["question"], "When does the gate open?");
    assert_eq!(replayed["model"], answer["usage"]["model"]);
    let health = instance.get("/v1/health").await.body;
    assert_eq!(replayed["manifest_version"], health["manifest_version"]);
    let text = instance.get(&format!("/v1/documents/{id}/text")).await.body;
    let passage = &list(&replayed, "passages")[0];
    let slice = |value: &Value| {
        let at = |name: &str| value[name].as_u64().unwrap() as usize;
        text["text"].as_str().unwrap()[at("start")..at("end")].to_owned()
    };
    assert_eq!(passage["state"], "verified");
    assert_eq!(passage["content_hash"], text["content_hash"]);
    assert_eq!(passage["text_hash"], sha256_hex(slice(passage).as_bytes()));
    let citation = &list(&replayed, "citations")[0];
    assert_eq!(citation["state"], "verified");
    assert_eq!(citation["quote"], slice(citation));
    assert_eq!(citation["quote"], list(&answer, "citations")[0]["quote"]);

    let missing = instance.get("/v1/answers/default.0").await;
    assert_eq!(
        (missing.status.as_u16(), &missing.body["name"]),
        (404, &json!("AnswerNotFound"))
    );
    let host = host(&instance);
    let bob = Call {
        function: "outcrop-query",
        method: "GET",
        resource: "/v1/answers/{answer_id}",
        parameters: json!({ "answer_id": answer["answer_id"] }),
        body: "",
        context: claims(json!({"sub": "bob"})),
    };
    let (status, problem) = bob.send(&host).await;
    assert_eq!(
        (status, &problem["name"]),
        (404, &json!("AnswerNotFound")),
        "another's answer looks like none"
    );
}

/// Stores a document as Bob, who may also take readers away.
async fn store_as_bob(instance: &Instance, content: &str, readers: &[&str]) {
    let host = host(instance);
    let body = json!({"name": "vault.md", "content": content, "readers": readers}).to_string();
    let send = async |method, resource, parameters, body: &str| {
        let call = Call {
            function: "outcrop-ingest",
            method,
            resource,
            parameters,
            body,
            context: claims(json!({"sub": "bob"})),
        };
        call.send(&host).await.1
    };
    let stored = send("POST", "/v1/documents", json!({}), &body).await;
    let run = json!({ "run_id": stored["run_id"] });
    for _ in 0..600 {
        let run = send("GET", "/v1/runs/{run_id}", run.clone(), "").await;
        if run["status"] == "SUCCEEDED" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the run of {stored} did not end");
}

#[tokio::test]
async fn who_lost_access_reads_neither_the_quote_nor_its_sentences() {
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    let editors = json!({"roles": {"editor": ["user:bob"]}});
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    assert_eq!(instance.send(request.json(&editors)).await.status, 200);
    store_as_bob(&instance, VAULT, &["user:bob", "user:local"]).await;
    let answer = ask(&instance, BOTH).await;
    assert!(answer.to_string().contains("marzipan"), "{answer}");
    assert_eq!(list(&answer, "citations").len(), 2, "{answer}");
    let path = format!("/v1/answers/{}", answer["answer_id"].as_str().unwrap());
    let whole = instance.get(&path).await.body;
    assert_eq!(whole["withheld"], 0);
    assert_eq!(whole["answer"], answer["answer"]);

    // The text has changed: the quote cannot be checked any more, the answer was theirs to read.
    let changed = VAULT.replace("opens with", "is opened with");
    store_as_bob(&instance, &changed, &["user:bob", "user:local"]).await;
    let replayed = instance.get(&path).await.body;
    let states = |replayed: &Value| -> Vec<Value> {
        let states = list(replayed, "citations").iter();
        states.map(|citation| citation["state"].clone()).collect()
    };
    assert!(states(&replayed).contains(&json!("changed")), "{replayed}");
    assert_eq!(replayed["withheld"], 0, "{replayed}");

    store_as_bob(&instance, &changed, &["user:bob"]).await;
    let replayed = instance.get(&path).await.body;
    let told = replayed.to_string();
    assert!(
        !told.contains("marzipan") && !told.contains("Vault"),
        "{told}"
    );
    assert!(
        states(&replayed).contains(&json!("unavailable")),
        "{replayed}"
    );
    assert!(states(&replayed).contains(&json!("verified")), "{replayed}");
    assert!(replayed["withheld"].as_u64().unwrap() > 0, "{replayed}");
    let text = replayed["answer"].as_str().unwrap();
    assert!(text.contains("[…]") && text.contains("at nine"), "{text}");

    // A document that is gone looks the same as one that may not be read.
    let gate = list(&answer, "citations").iter();
    let gate = gate.map(|citation| citation["document_id"].as_str().unwrap());
    for id in gate {
        let request = instance.request(Method::DELETE, &format!("/v1/documents/{id}"));
        let reply = instance.send(request).await;
        if reply.status == 202 {
            instance
                .finished(reply.body["run_id"].as_str().unwrap())
                .await;
        }
    }
    let replayed = instance.get(&path).await.body;
    assert_eq!(
        states(&replayed),
        ["unavailable", "unavailable"],
        "{replayed}"
    );
    assert!(!replayed.to_string().contains("at nine"), "{replayed}");
}

#[tokio::test]
async fn sentences_that_no_passage_supports_are_marked_and_strict_spaces_refuse_them() {
    let (model, url) = ScriptedModel::start().await;
    let instance = Instance::start_with(&["--model-url", &url]).await;
    instance.ingest("gate.md", GATE).await;
    let supported = "The gate of the old lighthouse opens at nine every morning [1]. ";
    let invented = "Penguins invented the telephone in Lisbon [1]. ";
    let question = "When does the gate open?";

    model.says([supported, invented]);
    let answer = ask(&instance, question).await;
    let support: Vec<bool> = list(&answer, "support")
        .iter()
        .map(|sentence| sentence["supported"].as_bool().unwrap())
        .collect();
    assert_eq!(support, [true, false], "{answer}");
    assert_eq!(
        (&answer["strict"], &answer["answered"]),
        (&json!(false), &json!(true))
    );

    let request = instance.request(Method::PUT, "/v1/spaces/default");
    let space = instance.send(request.json(&json!({"strict": true}))).await;
    assert_eq!(
        (space.status.as_u16(), &space.body["strict"]),
        (200, &json!(true))
    );

    let (events, raw) = stream(&instance, question).await;
    assert!(
        !raw.contains("telephone") && !raw.contains("Lisbon"),
        "{raw}"
    );
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sources", "guard", "delta", "usage", "done"]);
    assert_eq!(
        events[1].1["findings"],
        json!([{"policy": "grounding", "kind": "UNSUPPORTED", "action": "block"}])
    );
    let done = &events.last().unwrap().1;
    assert_eq!(
        (&done["strict"], &done["answered"], &done["citations"]),
        (&json!(true), &json!(false), &json!([]))
    );

    model.says([supported]);
    let answer = ask(&instance, question).await;
    assert_eq!(answer["answered"], true, "{answer}");
    assert_eq!(answer["guard"]["mode"], "sync");
    let scored = list(&answer["guard"], "answer_findings");
    let kinds: Vec<&str> = scored
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["GROUNDING", "RELEVANCE"], "{answer}");

    // The setting stays when another is changed, and goes when it is taken back.
    let put = async |body: Value| {
        let request = instance.request(Method::PUT, "/v1/spaces/default");
        instance.send(request.json(&body)).await.body
    };
    assert_eq!(put(json!({"retriever": "embedded"})).await["strict"], true);
    assert_eq!(put(json!({"strict": false})).await["strict"], false);
    model.says([supported, invented]);
    assert_eq!(ask(&instance, question).await["answered"], true);
}

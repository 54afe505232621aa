//! The ledger at the door: what a reply says it cost, the stored answer says, and the counters add up to.

use reqwest::Method;
use serde_json::{Value, json};

use crate::guards::stream;
use crate::instance::Instance;
use crate::scripted_model::ScriptedModel;

const GATE: &str = "# Gate\n\nThe gate of the old lighthouse opens at nine every morning.\n";

async fn usage(instance: &Instance, query: &str) -> Value {
    let reply = instance.get(&format!("/v1/usage?{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

fn number(value: &Value, name: &str) -> u64 {
    let found = value[name].as_u64();
    found.unwrap_or_else(|| panic!("{name} of {value}"))
}

/// The cost of a list of lines, told one by one.
fn cost(lines: &Value) -> u64 {
    let lines = lines.as_array().unwrap().iter();
    lines.map(|line| number(line, "cost_nano_usd")).sum()
}

#[tokio::test]
async fn what_answers_say_they_cost_the_counters_add_up_to() {
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    let ingested = usage(&instance, "group=model").await;
    let models: Vec<&str> = ingested["usage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["model"].as_str().unwrap())
        .collect();
    assert_eq!(
        models,
        ["amazon.titan-embed-text-v2:0", "guardrail"],
        "ingestion embeds and screens"
    );
    assert!(number(&ingested["usage"][0], "embedding_tokens") > 0);
    assert!(number(&ingested["usage"][1], "text_units") > 0);
    let before = number(&ingested["total"], "cost_nano_usd");
    assert!(before > 0);

    let question = json!({"question": "When does the gate open?"});
    let whole = instance.post("/v1/ask", &question).await.body;
    let told = &whole["usage"];
    let tasks: Vec<&str> = told["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["task"].as_str().unwrap())
        .collect();
    assert_eq!(tasks, ["answer", "embed", "guard"], "{told}");
    assert_eq!(
        (&told["unpriced"], &told["estimated"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(number(told, "cost_nano_usd"), cost(&told["lines"]));
    for counted in [
        "input_tokens",
        "output_tokens",
        "embedding_tokens",
        "text_units",
    ] {
        assert!(number(told, counted) > 0, "{counted} of {told}");
    }
    let path = format!("/v1/answers/{}", whole["answer_id"].as_str().unwrap());
    assert_eq!(instance.get(&path).await.body["usage"], *told);

    let (events, _) = stream(&instance, "When does the gate open?").await;
    let event = events.iter().find(|(name, _)| name == "usage").unwrap();
    let done = events.iter().find(|(name, _)| name == "done").unwrap();
    assert_eq!(event.1, done.1["usage"]);

    let searched = json!({"query": "lighthouse", "mode": "lexical"});
    assert_eq!(instance.post("/v1/search", &searched).await.status, 200);
    let check = json!({"source": "INPUT", "text": "Is the gate open?"});
    let checked = instance.post("/v1/guardrail/check", &check).await.body;
    assert!(number(&checked, "cost_nano_usd") > 0, "{checked}");

    let after = usage(&instance, "group=both").await;
    let answers = number(told, "cost_nano_usd") + number(&event.1, "cost_nano_usd");
    let expected = before + answers + number(&checked, "cost_nano_usd");
    assert_eq!(
        number(&after["total"], "cost_nano_usd"),
        expected,
        "{after}"
    );
    let rows = after["usage"].as_array().unwrap();
    let sum: u64 = rows.iter().map(|row| number(row, "cost_nano_usd")).sum();
    assert_eq!(sum, expected);
    let answering = rows
        .iter()
        .find(|row| row["model"] == told["model"])
        .unwrap();
    assert_eq!(number(answering, "uses"), 2);
    let of_both = number(told, "input_tokens") + number(&event.1, "input_tokens");
    assert_eq!(number(answering, "input_tokens"), of_both);
}

#[tokio::test]
async fn counters_are_for_admins_and_paged() {
    let instance = Instance::start().await;
    instance.ingest("gate.md", GATE).await;
    let first = usage(&instance, "group=model&limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let cursor = cursor.replace('#', "%23");
    let second = usage(&instance, &format!("group=model&limit=1&cursor={cursor}")).await;
    assert_ne!(first["usage"][0]["model"], second["usage"][0]["model"]);
    assert_eq!(first["total"], second["total"]);
    assert_eq!(second["next_cursor"], Value::Null);
    let old = usage(&instance, "from=2026-01-01&to=2026-01-31").await;
    assert_eq!(
        (&old["usage"], number(&old["total"], "uses")),
        (&json!([]), 0)
    );
    let check = async |query: &str, token: Option<String>, name: &str| {
        let mut request = instance.request(Method::GET, &format!("/v1/usage?{query}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let reply = instance.send(request).await;
        assert_eq!(reply.body["name"], name, "{query}: {}", reply.body);
    };
    check("group=hour", None, "InvalidRequest").await;
    check("from=2026-02-30", None, "InvalidRequest").await;
    check("from=2024-01-01&to=2026-01-01", None, "InvalidRequest").await;
    check("cursor=zzz", None, "InvalidCursor").await;
    check("space=nowhere", None, "UnknownSpace").await;
    check("", Some(instance.token("ada", &[])), "RoleRequired").await;
}

/// An answer that the guard cut off told no tokens at all: the model's own count comes at the end of its stream.
#[tokio::test]
async fn an_answer_that_is_cut_off_is_counted_as_far_as_it_came() {
    let (model, url) = ScriptedModel::start().await;
    model.says(vec![
        "The gate opens at nine [1]. The keeper is a bastard, and so on. ";
        40
    ]);
    let instance = Instance::start_with(&["--model-url", &url]).await;
    instance.ingest("gate.md", GATE).await;
    let question = json!({"question": "When does the gate open?"});
    let answer = instance.post("/v1/ask", &question).await.body;
    assert_eq!(answer["stop_reason"], "guardrail_intervened", "{answer}");
    let told = &answer["usage"];
    assert_eq!(told["estimated"], true, "{told}");
    assert!(number(told, "input_tokens") > 0 && number(told, "output_tokens") > 0);
    let counted = usage(&instance, "group=model").await;
    let rows = counted["usage"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["model"] == told["model"])
        .unwrap();
    assert_eq!(row["output_tokens"], told["output_tokens"]);
}

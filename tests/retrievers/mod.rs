//! The conformance suite: one table of rows that every retriever passes, over the real wire of a running instance.
//!
//! AWS's vector index is approximate and orders equal distances as it likes, so the rows compare what is found; the
//! order only where it is our own.

mod place;
mod rows;
mod table;
mod witness;

use knowledge::retriever::{Chosen, Retriever as _};
use retrieval::{Filter, Mask, Mode};
use serde::Deserialize;
use serde_json::{Value, json};

pub use place::{Place, settings, settings_at};
use rows::{Asked, found};
use table::Table;

/// The three settings; the knowledge base is the space itself, as the laptop's Bedrock serves it.
const SETTINGS: [&str; 3] = ["embedded", "dynamodb:team,year", "bedrock:conformXXX"];

const NOTHING: [&str; 0] = [];

#[derive(Deserialize)]
struct Cases {
    documents: Vec<CaseDocument>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct CaseDocument {
    name: String,
    metadata: Value,
}

#[derive(Deserialize)]
struct Case {
    says: String,
    filter: Value,
    passes: Vec<String>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../../crates/retrieval/src/filter/cases.json")).unwrap()
}

/// Who may read the documents that the mask rows are about.
const MASKED: [(&str, &[&str]); 4] = [
    ("ada.txt", &["user:ada"]),
    ("crew.txt", &["group:crew", "user:bob"]),
    ("nobody.txt", &[]),
    ("shared.txt", &["group:crew", "user:ada"]),
];

async fn prepared() -> Place {
    let place = Place::start("conform").await;
    // Before anything is stored, so that the first publication fills the vector index.
    let set = place.set(SETTINGS[1]).await;
    assert_eq!(set["ready"], false);
    for document in cases().documents {
        let text = format!("The lighthouse {} burns oil all night.", document.name);
        place
            .store(&document.name, &text, &["everyone"], document.metadata)
            .await;
    }
    for (name, readers) in MASKED {
        let text = format!("A lighthouse has a keeper: {name}.");
        place.store(name, &text, readers, json!({})).await;
    }
    place
        .store("long.txt", &rows::long_text(), &[rows::TIDY], json!({}))
        .await;
    for (name, text) in rows::COPIES {
        place.store(name, text, &[rows::TIDY], json!({})).await;
    }
    place.sync().await;
    place
}

#[tokio::test]
async fn every_retriever_passes_every_row() {
    let place = prepared().await;
    let mut table = Table::new(&SETTINGS);
    let mut retrievers = Vec::new();
    for setting in SETTINGS {
        place.set(setting).await;
        let chosen = place.chosen().await;
        let name = setting.split(':').next().unwrap_or_default();
        assert_eq!(chosen.name(), name, "the setting is what answers");
        retrievers.push(chosen);
    }
    filters(&place, &retrievers, &mut table).await;
    masks(&place, &retrievers, &mut table).await;
    let filter = Filter::parse(&json!({"notEquals": {"key": "team", "value": "search"}})).unwrap();
    for (number, retriever) in retrievers.iter().enumerate() {
        let asked = Asked {
            filter: Some(&filter),
            ..Asked::all(&["user:ada"])
        };
        let names = found(&place, retriever, &asked).await;
        table.note(
            "mask and filter: a filter opens nothing",
            number,
            &["ada.txt", "shared.txt"],
            &names,
        );
        rows::pages(&place, retriever, number, &mut table).await;
        rows::limits(&place, retriever, number, &mut table).await;
        rows::ties(&place, retriever, number, &mut table).await;
        rows::tidying(&place, retriever, number, &mut table).await;
    }
    changes(&place, &mut table).await;
    table.print();
    table.check();
}

/// Every case of the filter language.
async fn filters(place: &Place, retrievers: &[Chosen], table: &mut Table) {
    for case in cases().cases {
        let filter = Filter::parse(&case.filter).unwrap();
        let asked = Asked {
            filter: Some(&filter),
            ..Asked::all(&["everyone"])
        };
        let mut expected = case.passes.clone();
        expected.sort();
        for (number, retriever) in retrievers.iter().enumerate() {
            let names = found(place, retriever, &asked).await;
            table.note(&format!("filter: {}", case.says), number, &expected, &names);
        }
    }
}

/// Who finds what.
async fn masks(place: &Place, retrievers: &[Chosen], table: &mut Table) {
    let rows: [(&str, &[&str], &[&str]); 6] = [
        (
            "one reader of several",
            &["user:ada"],
            &["ada.txt", "shared.txt"],
        ),
        ("a group", &["group:crew"], &["crew.txt", "shared.txt"]),
        (
            "user and group, each document once",
            &["user:ada", "group:crew"],
            &["ada.txt", "crew.txt", "shared.txt"],
        ),
        ("an unknown principal", &["user:mallory"], &[]),
        ("no principal", &[], &[]),
        ("a part of a name is another name", &["user:ad"], &[]),
    ];
    for (says, principals, expected) in rows {
        for (number, retriever) in retrievers.iter().enumerate() {
            let names = found(place, retriever, &Asked::all(principals)).await;
            table.note(&format!("mask: {says}"), number, expected, &names);
        }
    }
}

/// What changes between publications, and what half of one leaves behind.
async fn changes(place: &Place, table: &mut Table) {
    place.set(SETTINGS[1]).await;
    place.remove("ops.txt").await;
    place
        .store(
            "ada.txt",
            "A lighthouse has a keeper: ada.txt.",
            &["user:bob"],
            json!({}),
        )
        .await;
    place.sync().await;
    place.leave_half_a_publication("shared.txt").await;
    for (number, setting) in SETTINGS.iter().enumerate() {
        place.set(setting).await;
        let retriever = place.chosen().await;
        let expected = ["bare.txt", "light.txt", "odd.txt", "search.txt"];
        let names = found(place, &retriever, &Asked::all(&["everyone"])).await;
        table.note(
            "change: a deleted document is gone",
            number,
            &expected,
            &names,
        );
        let names = found(place, &retriever, &Asked::all(&["user:ada"])).await;
        table.note(
            "change: who lost the right finds nothing",
            number,
            &["shared.txt"],
            &names,
        );
        let names = found(place, &retriever, &Asked::all(&["user:bob"])).await;
        table.note(
            "change: who got it finds it",
            number,
            &["ada.txt", "crew.txt"],
            &names,
        );
        let names = found(place, &retriever, &Asked::all(&["user:mallory"])).await;
        table.note(
            "change: half a publication is not seen",
            number,
            &NOTHING,
            &names,
        );
    }
    assert_eq!(
        place.vectors_of("ops.txt").await,
        0,
        "a deleted document leaves no vector"
    );
    assert_eq!(
        place.vectors_of("ada.txt").await,
        1,
        "a replaced version leaves none"
    );
    let empty = Place {
        space: "empty".to_owned(),
        ..place.clone()
    };
    for (number, setting) in ["embedded", "dynamodb", "bedrock:emptyXXXXX"]
        .iter()
        .enumerate()
    {
        empty.set(setting).await;
        let names = found(&empty, &empty.chosen().await, &Asked::all(&["everyone"])).await;
        table.note("empty: a space without documents", number, &NOTHING, &names);
    }
}

/// A filter that the index cannot compare, and that few of its hundred matches pass, is applied all the same; and that
/// the search ended there is said.
#[tokio::test]
async fn a_bound_that_was_hit_is_told() {
    let place = Place::start("bulk").await;
    place.set("dynamodb").await;
    let long: String = (0..9_000)
        .map(|number| format!("lighthouse oil {number}. "))
        .collect();
    place
        .store("long.txt", &long, &["everyone"], json!({"size": "long"}))
        .await;
    place
        .store(
            "short.txt",
            "Bread is baked from flour.",
            &["everyone"],
            json!({"size": "short"}),
        )
        .await;
    place.sync().await;
    let filter =
        Filter::parse(&json!({"stringContains": {"key": "size", "value": "short"}})).unwrap();
    let asked = Asked {
        filter: Some(&filter),
        mode: Mode::Vector,
        ..Asked::all(&["everyone"])
    };
    let retriever = place.chosen().await;
    let mask = Mask::Principals(vec!["everyone".to_owned()]);
    let vector = place.vector("lighthouse oil").await;
    let reply = retriever
        .retrieve(&asked.wanted("lighthouse oil", &vector, &mask))
        .await
        .unwrap();
    let bound = reply.bound.expect("a bound");
    assert_eq!(
        (reply.hits.len(), bound.candidates, bound.limit),
        (0, 100, 100)
    );
    // Over HTTP it is told in words.
    let body = json!({
        "query": "lighthouse oil", "space": "bulk", "mode": "vector",
        "filter": {"stringContains": {"key": "size", "value": "short"}}
    });
    let reply = place.instance.post("/v1/search", &body).await;
    assert_eq!(reply.body["retriever"], "dynamodb", "{}", reply.body);
    assert!(
        reply.body["notice"]
            .as_str()
            .unwrap()
            .contains("narrow the filter")
    );
    // Neighbours are one result over HTTP too.
    let text_of = async |merge: bool| {
        let body = json!({"query": "lighthouse oil", "space": "bulk", "merge_neighbours": merge});
        let reply = place.instance.post("/v1/search", &body).await;
        let best = reply.body["results"][0].clone();
        let length = best["end"].as_u64().unwrap() - best["start"].as_u64().unwrap();
        assert_eq!(best["text"].as_str().unwrap().len() as u64, length);
        length
    };
    assert!(text_of(true).await > text_of(false).await);
    // What the index can compare it finds among any number.
    place.set("dynamodb:size").await;
    place.sync().await;
    let equals = Filter::parse(&json!({"equals": {"key": "size", "value": "short"}})).unwrap();
    let asked = Asked {
        filter: Some(&equals),
        mode: Mode::Vector,
        ..Asked::all(&["everyone"])
    };
    assert_eq!(
        found(&place, &place.chosen().await, &asked).await,
        ["short.txt"]
    );
}

/// The setting over HTTP: what it does, and what it says when it cannot.
#[tokio::test]
async fn a_setting_is_set_and_refused_over_http() {
    let place = Place::start("legal").await;
    let get = async || place.instance.get("/v1/spaces/legal").await;
    assert_eq!(get().await.body["name"], "UnknownSpace");
    let set = place.set("embedded").await;
    let expected = json!({
        "space": "legal", "role": "admin", "retriever": "embedded", "inherited": false, "ready": true, "strict": false,
        "chunking": "fixed:512,20", "batch_embedding": "off",
        "roles": {"reader": ["everyone"], "editor": [], "admin": []},
        "limits": {"caller_per_minute": 0, "space_per_minute": 0}, "budget": {},
    });
    assert_eq!(set, expected);
    let put = async |body: Value| {
        let request = place
            .instance
            .request(reqwest::Method::PUT, "/v1/spaces/legal");
        place.instance.send(request.json(&body)).await
    };
    let refused = put(json!({"retriever": "opensearch"})).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["name"]),
        (400, &json!("InvalidRetriever"))
    );
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("use embedded, dynamodb")
    );
    assert_eq!(
        put(json!({"retreiver": "embedded"})).await.body["name"],
        "UnknownField"
    );
    assert_eq!(
        put(json!({"retriever": null})).await.body["inherited"],
        true
    );

    let text =
        "The lighthouse burns oil all night. Its keeper climbs one hundred stairs to the lamp.";
    place
        .store("light.txt", text, &["everyone"], json!({}))
        .await;
    place.sync().await;
    for (setting, name) in [
        ("embedded", "embedded"),
        ("dynamodb", "dynamodb"),
        ("bedrock:legalXXXXX", "bedrock"),
        ("bedrock-managed:legalXXXXX", "bedrock"),
    ] {
        place.set(setting).await;
        let body = json!({"query": "Who climbs the stairs?", "space": "legal"});
        let found = place.instance.post("/v1/search", &body).await;
        assert_eq!(found.body["retriever"], name, "{setting}: {}", found.body);
        assert_eq!(
            found.body["results"][0]["title"], "light.txt",
            "{setting}: {}",
            found.body
        );
        let asked = json!({"question": "How many stairs does the keeper climb?", "space": "legal"});
        let answer = place.instance.post("/v1/ask", &asked).await;
        assert_eq!(answer.body["answered"], true, "{setting}: {}", answer.body);
        let citation = &answer.body["citations"][0];
        let at = |field: &str| citation[field].as_u64().unwrap() as usize;
        assert_eq!(citation["quote"], text[at("start")..at("end")], "{setting}");
    }
    let lexical = json!({"query": "stairs", "space": "legal", "mode": "lexical"});
    let refused = place.instance.post("/v1/search", &lexical).await;
    assert_eq!(refused.body["name"], "ModeUnsupported", "{}", refused.body);
    place.set("bedrock:ABCDEFGHIJ").await;
    let query = json!({"query": "stairs", "space": "legal"});
    let refused = place.instance.post("/v1/search", &query).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["name"]),
        (500, &json!("RetrieverUnusable"))
    );
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("PUT /v1/spaces/legal")
    );
}

/// The table's index has one dimension for good: vectors of another model's are refused by name, in writing and in asking,
/// and what the space holds goes on being found.
#[tokio::test]
async fn another_dimension_is_refused_by_name() {
    let place = Place::start("wide").await;
    place.set("dynamodb").await;
    let text = "The lighthouse burns oil all night.";
    place
        .store("light.txt", text, &["everyone"], json!({}))
        .await;
    place.sync().await;
    let retriever = place.chosen().await;
    let asked = Asked {
        mode: Mode::Vector,
        ..Asked::all(&["everyone"])
    };
    let mask = Mask::Principals(vec!["everyone".to_owned()]);
    let wide = vec![0.1; 384];
    let error = retriever
        .retrieve(&asked.wanted(text, &wide, &mask))
        .await
        .unwrap_err();
    assert_eq!(error.name(), "RetrieverUnusable", "{error}");
    assert!(error.to_string().contains("dimension"), "{error}");
    let error = place.put_vector("light.txt", wide).await.unwrap_err();
    assert_eq!(error.name(), "ServiceRefused", "{error}");
    assert_eq!(found(&place, &retriever, &asked).await, ["light.txt"]);
}

//! The guard over an answer that streams: a model that says what must not be heard, in every mode, split anyhow.

use serde_json::{Value, json};

use crate::guards::stream;
use crate::instance::Instance;
use crate::scripted_model::ScriptedModel;

const STORY: &str =
    "# Lighthouse\n\nThe lighthouse keeper climbs one hundred stairs every evening.\n";
const QUESTION: &str = "How many stairs does the lighthouse keeper climb?";

/// Sentences that no policy minds, longer together than the window reads ahead.
const CLEAN: &str = "The lighthouse keeper climbs one hundred stairs every evening [1]. The lamp is lit before the sun has set, \
    and it burns until the morning comes. Ships see it from a distance of twenty miles when the air is clear. Nobody but \
    the keeper may open the door of the tower, and the keeper has done so for thirty years without a day of rest. ";
const PROFANE: &str = "The keeper is a bastard, and so on. ";
const SECRET: &str = "Write to keeper.jones@example.com or ring +1 555-010-9999 at any time. ";
const PIECES_OF_SECRETS: [&str; 5] = ["keeper.j", "jones@", "example.com", "555-010", "0-9999"];
/// What the guardrail says instead of an answer; see `infra/guardrail.json`.
const MESSAGE: &str = "This answer was blocked by the guardrail.";

async fn guarded(mode: &str) -> (Instance, ScriptedModel) {
    let (model, url) = ScriptedModel::start().await;
    let instance = Instance::start_with(&["--model-url", &url, "--guard", mode]).await;
    instance.ingest("story.md", STORY).await;
    (instance, model)
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

fn shown(events: &[(String, Value)]) -> String {
    let deltas = events.iter().filter(|(name, _)| name == "delta");
    deltas
        .map(|(_, data)| data["text"].as_str().unwrap())
        .collect()
}

/// A text as deltas of `length` characters.
fn split(text: &str, length: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(length)
        .map(|piece| piece.iter().collect())
        .collect()
}

#[tokio::test]
async fn what_is_masked_never_leaves_however_it_is_split() {
    let (instance, model) = guarded("window").await;
    let text = format!("{CLEAN}{SECRET}{CLEAN}");
    for length in [1, 2, 3, 5, 7, 11, 24, 300, 5_000] {
        model.says(split(&text, length));
        let (events, raw) = stream(&instance, QUESTION).await;
        for piece in PIECES_OF_SECRETS {
            assert!(!raw.contains(piece), "{piece} at {length}: {raw}");
        }
        let shown = shown(&events);
        let masked = "Write to {EMAIL} or ring {PHONE} at any time. ";
        assert_eq!(
            shown,
            format!("{CLEAN}{masked}{CLEAN}"),
            "deltas of {length}"
        );
        let done = &events.last().unwrap().1;
        assert_eq!(done["guard"]["answer"], "mask", "{done}");
        assert!(done["guard"]["checks"].as_u64().unwrap() > 1, "{done}");
        let place = &done["guard"]["answer_findings"][0];
        let range =
            place["start"].as_u64().unwrap() as usize..place["end"].as_u64().unwrap() as usize;
        assert_eq!(&shown[range], "{EMAIL}");
    }
}

#[tokio::test]
async fn a_block_in_mid_stream_ends_with_a_guard_event_and_a_safe_message() {
    let (instance, model) = guarded("window").await;
    for length in [1, 9, 40] {
        model.says(split(&format!("{CLEAN}{CLEAN}{PROFANE}{CLEAN}"), length));
        let (events, raw) = stream(&instance, QUESTION).await;
        let names = names(&events);
        assert_eq!(names[0], "sources");
        assert_eq!(
            names[names.len() - 4..],
            ["guard", "delta", "usage", "done"],
            "{names:?}"
        );
        assert!(names[1..names.len() - 4].contains(&"delta"), "{names:?}");
        assert!(!raw.contains("bastard"), "{raw}");
        let shown = shown(&events);
        let before = shown.strip_suffix(MESSAGE).expect("the guard's words last");
        let before = before.trim_end();
        assert!(
            !before.is_empty() && format!("{CLEAN}{CLEAN}").starts_with(before),
            "{before}"
        );
        let guard = &events[events.len() - 4].1;
        assert_eq!(
            (&guard["direction"], &guard["verdict"]),
            (&json!("answer"), &json!("block"))
        );
        assert_eq!(guard["findings"][0]["action"], "block", "{guard}");
        let done = &events.last().unwrap().1;
        assert_eq!(
            (&done["answered"], &done["stop_reason"], &done["answer"]),
            (&json!(false), &json!("guardrail_intervened"), &json!(shown))
        );
    }
}

#[tokio::test]
async fn sync_shows_nothing_before_the_whole_answer_has_passed() {
    let (instance, model) = guarded("sync").await;
    model.says(split(&format!("{CLEAN}{SECRET}"), 6));
    let (events, raw) = stream(&instance, QUESTION).await;
    assert!(
        PIECES_OF_SECRETS.iter().all(|piece| !raw.contains(piece)),
        "{raw}"
    );
    assert!(shown(&events).contains("{EMAIL}"));
    let done = &events.last().unwrap().1["guard"];
    assert_eq!(
        (&done["mode"], &done["answer"], &done["checks"]),
        (&json!("sync"), &json!("mask"), &json!(2)),
        "one check of the question, one of the answer"
    );

    model.says(split(&format!("{CLEAN}{CLEAN}{PROFANE}"), 6));
    let (events, raw) = stream(&instance, QUESTION).await;
    assert_eq!(
        names(&events),
        ["sources", "guard", "delta", "usage", "done"]
    );
    assert_eq!(shown(&events), MESSAGE);
    assert!(
        !raw.contains("bastard") && !shown(&events).contains("stairs"),
        "{raw}"
    );
    assert_eq!(events.last().unwrap().1["citations"], json!([]));
}

/// `async` is documented to leak: what it promises is that the verdict is told and a block ends the answer.
#[tokio::test]
async fn async_tells_what_it_showed_and_stops_at_a_block() {
    let (instance, model) = guarded("async").await;
    model.says(split(&format!("{CLEAN}{SECRET}{CLEAN}"), 6));
    let (events, _) = stream(&instance, QUESTION).await;
    assert_eq!(shown(&events), format!("{CLEAN}{SECRET}{CLEAN}"));
    let done = &events.last().unwrap().1["guard"];
    assert_eq!(
        (&done["mode"], &done["answer"]),
        (&json!("async"), &json!("mask"))
    );

    let after = "And this is the last sentence, which nobody is to hear. ";
    model.says(split(&format!("{CLEAN}{PROFANE}{CLEAN}{CLEAN}{after}"), 6));
    let (events, raw) = stream(&instance, QUESTION).await;
    let names = names(&events);
    assert_eq!(
        names[names.len() - 4..],
        ["guard", "delta", "usage", "done"],
        "{names:?}"
    );
    assert!(
        shown(&events).ends_with(MESSAGE) && !raw.contains("nobody is to hear"),
        "{raw}"
    );
    assert_eq!(events.last().unwrap().1["answered"], false);
}

#[tokio::test]
async fn off_shows_what_the_model_says() {
    let (instance, model) = guarded("off").await;
    model.says(split(&format!("{CLEAN}{SECRET}"), 6));
    let (events, _) = stream(&instance, QUESTION).await;
    assert_eq!(shown(&events), format!("{CLEAN}{SECRET}"));
    assert_eq!(events.last().unwrap().1["guard"]["checks"], 0);
}

/// The question passes, then the guardrail fails or is late: the answer breaks off with an error, unheard.
#[tokio::test]
async fn a_guard_that_fails_in_mid_stream_lets_nothing_through() {
    let (instance, model) = guarded("window").await;
    model.says(split(&format!("{CLEAN}{CLEAN}"), 12));
    let failures = [
        json!({"operation": "ApplyGuardrail", "error": "AccessDeniedException", "share": 0.5, "times": 1}),
        json!({"operation": "ApplyGuardrail", "delay_ms": 4_000, "share": 0.5, "times": 1}),
    ];
    for failure in failures {
        instance.fault(&failure).await;
        let (events, raw) = stream(&instance, QUESTION).await;
        assert_eq!(names(&events), ["sources", "error"], "{failure}");
        let problem = &events[1].1;
        assert_eq!(
            (&problem["name"], &problem["retry"]),
            (&json!("GuardUnavailable"), &json!(true))
        );
        assert!(!raw.contains("twenty miles"), "{raw}");
    }
    let (events, _) = stream(&instance, QUESTION).await;
    assert_eq!(
        shown(&events),
        format!("{CLEAN}{CLEAN}"),
        "the next one is whole"
    );
}

//! The events of a public collection, as its crate is published: the fixtures of `aws_lambda_events`.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_envelopes::{Form, Outcome, recognise};
use aws_lambda_events::event::bedrock_agent_runtime::AgentEvent;
use serde_json::{Value, json};

/// Where cargo keeps the crate's sources.
fn fixtures() -> PathBuf {
    let told = Command::new("rustc").arg("-vV").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    // Of other platforms some crates are not here to be described.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let found = packages.find(|package| package["name"] == "aws_lambda_events");
    let manifest = found.unwrap()["manifest_path"].as_str().unwrap();
    Path::new(manifest).with_file_name("src").join("fixtures")
}

#[test]
fn the_collections_events_are_read_and_answered() {
    let schema = json!({"type": "object", "properties": {
        "param1": {"type": "string"}, "prop1": {"type": "string"},
    }});
    let mut replies = serde_json::Map::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("example-bedrock-agent-runtime-event") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let theirs: AgentEvent = serde_json::from_str(&text).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        let call = recognise(&event, &Default::default()).unwrap();
        assert_eq!(call.form, Form::ApiSchema, "{name}");
        assert_eq!(call.session.as_deref(), Some(theirs.session_id.as_str()));
        assert_eq!(call.attribute("attr1"), Some("value1"), "{name}");
        let given = theirs
            .parameters
            .iter()
            .flatten()
            .map(|one| (&one.name, &one.value));
        let body = theirs
            .request_body
            .iter()
            .flat_map(|body| body.content.values());
        let body =
            body.flat_map(|content| content.properties.iter().map(|one| (&one.name, &one.value)));
        let expected: serde_json::Map<String, Value> = given
            .chain(body)
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(call.arguments(&schema).unwrap(), expected, "{name}");
        let reply = call.reply(&Outcome::Done(json!({"found": true}))).unwrap();
        replies.insert(name, reply);
    }
    assert_eq!(replies.len(), 3);
    replies.sort_keys();
    insta::assert_json_snapshot!(replies);
}

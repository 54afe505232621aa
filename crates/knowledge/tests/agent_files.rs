//! Holds `infra/agent/` and the declared actions together.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows a test's helpers only inside #[cfg(test)]"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent_envelopes::schema::{FUNCTION_PARAMETERS, GROUP_FUNCTIONS, GROUP_OPERATIONS};
use knowledge::actions::{ALL, cloudformation, schema};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/agent")
}

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

#[test]
fn the_files_are_those_of_the_code() {
    let regenerate = "run `cargo run -p knowledge --example agent_files`";
    let mut written = schema::files();
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).ok();
    written.extend(cloudformation::files(read).unwrap());
    for (name, content) in &written {
        let found = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            &found == content,
            "infra/agent/{name} is not what the code says; {regenerate}"
        );
    }
    for kind in ["api-schema", "function-schema", "cloudformation"] {
        for entry in std::fs::read_dir(folder().join(kind)).unwrap() {
            let name = format!("{kind}/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(
                written.contains_key(&name),
                "infra/agent/{name} is generated no more"
            );
        }
    }
}

/// Source: Amazon Bedrock quotas and API Reference (FunctionDefinition, ParameterDetail, ToolSpecification).
#[test]
fn the_limits_of_each_form_are_kept() {
    for (name, content) in schema::files() {
        let value: Value = serde_json::from_str(&content).unwrap();
        if name.starts_with("api-schema/") {
            let paths = value["paths"].as_object().unwrap();
            assert!((1..=GROUP_OPERATIONS).contains(&paths.len()), "{name}");
        }
        for function in value["functions"].as_array().into_iter().flatten() {
            let parameters = function["parameters"].as_object().unwrap();
            assert!(parameters.len() <= FUNCTION_PARAMETERS, "{function}");
            assert!(function["description"].as_str().unwrap().len() <= 1_200);
            for parameter in parameters.values() {
                let words = parameter["description"].as_str().unwrap();
                assert!((1..=500).contains(&words.len()), "{function}");
                let kinds = ["string", "number", "integer", "boolean", "array"];
                assert!(
                    kinds.contains(&parameter["type"].as_str().unwrap()),
                    "{parameter}"
                );
            }
        }
        if let Some(functions) = value["functions"].as_array() {
            assert!((1..=GROUP_FUNCTIONS).contains(&functions.len()), "{name}");
        }
    }
    for action in &ALL {
        assert!(action.name.len() <= 64);
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(action.name.bytes().all(allowed), "{}", action.name);
    }
}

#[test]
fn a_strict_schema_leaves_nothing_open() {
    for tool in json("converse-tools.json")["tools"].as_array().unwrap() {
        let specification = &tool["toolSpec"];
        assert_eq!(specification["strict"], true);
        let schema = &specification["inputSchema"]["json"];
        assert_eq!(schema["additionalProperties"], false, "{specification}");
        for property in schema["properties"].as_object().unwrap().values() {
            assert_ne!(property["type"], "object", "{specification}");
            assert!(property["type"].is_string(), "{specification}");
        }
    }
}

/// Every agent has its instruction, its action groups and its collaborators, and every action has its agent.
#[test]
fn the_agents_are_whole() {
    let agents = json("agents.json");
    let agents = agents["agents"].as_array().unwrap();
    let names: BTreeSet<&str> = agents
        .iter()
        .map(|agent| agent["agentName"].as_str().unwrap())
        .collect();
    let mut operations = BTreeSet::new();
    let mut functions = BTreeSet::new();
    for agent in agents {
        let instruction = agent["instruction"].as_str().unwrap();
        let words = std::fs::read_to_string(folder().join(instruction)).unwrap();
        assert!(
            (40..=4_000).contains(&words.chars().count()),
            "{instruction}"
        );
        for group in agent["actionGroups"].as_array().unwrap() {
            let deployed = group["deployedWith"].as_str().unwrap();
            assert!(!group[deployed].is_null(), "{group}");
            let api = json(group["apiSchema"].as_str().unwrap());
            operations.extend(
                api["paths"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|path| path.trim_start_matches('/').to_owned()),
            );
            for details in group["functionSchemas"].as_array().unwrap() {
                let details = json(details.as_str().unwrap());
                let list = details["functions"].as_array().unwrap();
                functions.extend(
                    list.iter()
                        .map(|function| function["name"].as_str().unwrap().to_owned()),
                );
            }
        }
        let collaborators = agent["collaborators"].as_array().unwrap();
        for collaborator in collaborators {
            assert!(
                names.contains(collaborator["agent"].as_str().unwrap()),
                "{collaborator}"
            );
            assert!(
                collaborator["collaborationInstruction"]
                    .as_str()
                    .unwrap()
                    .len()
                    >= 40
            );
        }
        let kind = agent["agentCollaboration"].as_str().unwrap();
        assert_eq!(kind == "SUPERVISOR", !collaborators.is_empty());
    }
    let declared: BTreeSet<String> = ALL.iter().map(|action| action.name.to_owned()).collect();
    assert_eq!(operations, declared);
    assert_eq!(functions, declared);
}

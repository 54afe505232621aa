//! The numbered versions of an agent. CreateAgentAlias makes them; they never change.
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::agent::{Definition, copy};
use super::agent_arn;
use super::rules::{self, PageRequest};
use super::store::Agents;

pub(super) fn get(agents: &Agents, id: &str, version: &str) -> Result<Value, WireError> {
    let record = agents.get(id)?;
    let found = record.version(version)?;
    let mut json = found.definition.wire();
    json["agentId"] = json!(id);
    json["agentArn"] = json!(agent_arn(id));
    json["version"] = json!(version);
    json["agentStatus"] = json!("PREPARED");
    json["createdAt"] = json!(found.created_at);
    json["updatedAt"] = json!(found.created_at);
    Ok(json!({ "agentVersion": json }))
}

pub(super) fn list(agents: &Agents, id: &str, body: &Bytes) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let record = agents.get(id)?;
    let row = |number: String, status: &str, created: &str, updated: &str, of: &Definition| {
        let wire = of.wire();
        let mut json = json!({
            "agentName": of.name, "agentStatus": status, "agentVersion": number,
            "createdAt": created, "updatedAt": updated,
        });
        copy(&wire, &mut json, &["description", "guardrailConfiguration"]);
        json
    };
    let draft = row(
        "DRAFT".into(),
        record.status(),
        &record.created_at,
        &record.updated_at,
        &record.draft,
    );
    let numbered = record.versions.iter().rev().map(|(number, version)| {
        let at = &version.created_at;
        row(number.to_string(), "PREPARED", at, at, &version.definition)
    });
    page.page("agentVersionSummaries", numbered.chain([draft]).collect())
}

pub(super) fn delete(
    agents: &Agents,
    id: &str,
    version: &str,
    anyway: bool,
) -> Result<Value, WireError> {
    agents.change(id, |record| {
        record.version(version)?;
        let routed = record.aliases.iter().find(|alias| alias.version == version);
        if let Some(alias) = routed.filter(|_| !anyway) {
            return Err(rules::conflict(format!(
                "The alias {} routes to version {version}. Route it elsewhere first, or set skipResourceInUseCheck.",
                alias.id
            )));
        }
        record.versions.retain(|number, _| number.to_string() != version);
        Ok(json!({"agentId": id, "agentVersion": version, "agentStatus": "DELETING"}))
    })
}

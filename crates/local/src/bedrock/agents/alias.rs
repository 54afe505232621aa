//! Aliases: names under which a version of an agent is called. The test alias is there from the beginning and calls
//! the draft as it was last prepared.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::alias_arn;
use super::rules::{self, PageRequest};
use super::store::{Agents, Record, Version};

/// The id of the test alias, as at AWS.
pub(in crate::bedrock) const TEST_ALIAS: &str = "TSTALIASID";
/// Most events of an alias's history. Source: the service model of `bedrock-agent`.
const HISTORY: usize = 10;

/// Whether an alias takes calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::bedrock) enum InvocationState {
    #[default]
    AcceptInvocations,
    RejectInvocations,
}

/// A name for a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Alias {
    pub(in crate::bedrock) id: String,
    name: String,
    description: Option<String>,
    /// The version that it calls.
    pub(in crate::bedrock) version: String,
    pub(in crate::bedrock) state: InvocationState,
    client_token: Option<String>,
    created_at: String,
    updated_at: String,
    /// Versions that it called, oldest first, each with its beginning.
    history: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AliasRequest {
    agent_alias_name: String,
    client_token: Option<String>,
    description: Option<String>,
    #[serde(default)]
    routing_configuration: Vec<Route>,
    #[serde(default)]
    alias_invocation_state: InvocationState,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Route {
    agent_version: Option<String>,
    provisioned_throughput: Option<Value>,
}

impl AliasRequest {
    fn check(&self) -> Result<(), WireError> {
        rules::name("agentAliasName", &self.agent_alias_name)?;
        rules::length("description", self.description.as_deref(), 1, 200)?;
        if self.routing_configuration.len() > 1 {
            return Err(WireError::validation(
                "1 validation error detected: Value at 'routingConfiguration' failed to satisfy constraint: Member must have length less than or equal to 1",
            ));
        }
        let provisioned = self.routing_configuration.first();
        let provisioned = provisioned.and_then(|route| route.provisioned_throughput.as_ref());
        match provisioned {
            Some(_) => Err(WireError::unsupported(
                "routingConfiguration.provisionedThroughput",
            )),
            None => Ok(()),
        }
    }

    /// The version to call: the one that is named, or a new one of the prepared draft.
    fn version(&self, record: &mut Record) -> Result<String, WireError> {
        let named = self.routing_configuration.first();
        if let Some(version) = named.and_then(|route| route.agent_version.clone()) {
            record.version(&version)?;
            return Ok(version);
        }
        let Some(prepared) = record.prepared.clone() else {
            return Err(WireError::validation(format!(
                "Agent {} is in the state NOT_PREPARED. Prepare it before you create an alias.",
                record.id
            )));
        };
        record.last_version += 1;
        let version = Version {
            created_at: rules::now(),
            definition: prepared.definition,
        };
        record.versions.insert(record.last_version, version);
        Ok(record.last_version.to_string())
    }
}

impl Alias {
    fn routing(&self) -> Value {
        json!([{"agentVersion": self.version}])
    }

    fn wire(&self, agent_id: &str) -> Value {
        let events = self.history.iter().enumerate().map(|(at, (version, start))| {
            let mut event = json!({"routingConfiguration": [{"agentVersion": version}], "startDate": start});
            if let Some((_, end)) = self.history.get(at + 1) {
                event["endDate"] = json!(end);
            }
            event
        });
        let mut json = json!({
            "agentId": agent_id, "agentAliasId": self.id, "agentAliasName": self.name,
            "agentAliasArn": alias_arn(agent_id, &self.id), "routingConfiguration": self.routing(),
            "createdAt": self.created_at, "updatedAt": self.updated_at, "agentAliasStatus": "PREPARED",
            "aliasInvocationState": self.state, "agentAliasHistoryEvents": events.collect::<Vec<_>>(),
        });
        if let Some(description) = &self.description {
            json["description"] = json!(description);
        }
        if let Some(token) = &self.client_token {
            json["clientToken"] = json!(token);
        }
        json!({ "agentAlias": json })
    }

    fn summary(&self) -> Value {
        let mut json = json!({
            "agentAliasId": self.id, "agentAliasName": self.name, "routingConfiguration": self.routing(),
            "agentAliasStatus": "PREPARED", "createdAt": self.created_at, "updatedAt": self.updated_at,
            "aliasInvocationState": self.state,
        });
        if let Some(description) = &self.description {
            json["description"] = json!(description);
        }
        json
    }

    fn of_tests(record: &Record) -> Self {
        Self {
            id: TEST_ALIAS.to_owned(),
            name: "AgentTestAlias".to_owned(),
            description: Some("Test Alias for Agent".to_owned()),
            version: "DRAFT".to_owned(),
            state: InvocationState::AcceptInvocations,
            client_token: None,
            created_at: record.created_at.clone(),
            updated_at: record.created_at.clone(),
            history: Vec::new(),
        }
    }

    fn route(&mut self, version: String) {
        self.updated_at = rules::now();
        if self.version != version || self.history.is_empty() {
            self.history
                .push((version.clone(), self.updated_at.clone()));
            let over = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..over);
        }
        self.version = version;
    }
}

fn unknown(agent_id: &str, id: &str) -> WireError {
    rules::not_found(&format!("Alias {id} of agent {agent_id}"))
}

fn name_is_free(record: &Record, own_id: &str, name: &str) -> Result<(), WireError> {
    match record
        .aliases
        .iter()
        .find(|alias| alias.id != own_id && alias.name == name)
    {
        Some(taken) => Err(rules::conflict(format!(
            "An alias named {name} exists already: {}.",
            taken.id
        ))),
        None => Ok(()),
    }
}

pub(super) fn create(agents: &Agents, agent_id: &str, body: &Bytes) -> Result<Value, WireError> {
    let request: AliasRequest = read_json(body)?;
    request.check()?;
    agents.change(agent_id, |record| {
        let before = |alias: &&Alias| {
            request.client_token.is_some() && alias.client_token == request.client_token
        };
        if let Some(alias) = record.aliases.iter().find(before) {
            return Ok(alias.wire(agent_id));
        }
        name_is_free(record, "", &request.agent_alias_name)?;
        let version = request.version(record)?;
        let at = rules::now();
        let mut alias = Alias {
            id: rules::new_id(),
            name: request.agent_alias_name,
            description: request.description,
            version: version.clone(),
            state: InvocationState::default(),
            client_token: request.client_token,
            created_at: at.clone(),
            updated_at: at,
            history: Vec::new(),
        };
        alias.route(version);
        record
            .tags
            .insert(alias_arn(agent_id, &alias.id), request.tags);
        let wire = alias.wire(agent_id);
        record.aliases.push(alias);
        Ok(wire)
    })
}

pub(super) fn get(agents: &Agents, agent_id: &str, id: &str) -> Result<Value, WireError> {
    let record = agents.get(agent_id)?;
    if id == TEST_ALIAS {
        return Ok(Alias::of_tests(&record).wire(agent_id));
    }
    let alias = record.aliases.iter().find(|alias| alias.id == id);
    Ok(alias.ok_or_else(|| unknown(agent_id, id))?.wire(agent_id))
}

pub(super) fn update(
    agents: &Agents,
    agent_id: &str,
    id: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    let request: AliasRequest = read_json(body)?;
    request.check()?;
    if id == TEST_ALIAS {
        return Err(WireError::validation("The test alias cannot be updated."));
    }
    agents.change(agent_id, |record| {
        let at = record.aliases.iter().position(|alias| alias.id == id);
        let at = at.ok_or_else(|| unknown(agent_id, id))?;
        name_is_free(record, id, &request.agent_alias_name)?;
        let version = request.version(record)?;
        let alias = &mut record.aliases[at];
        alias.name = request.agent_alias_name;
        alias.description = request.description;
        alias.state = request.alias_invocation_state;
        alias.route(version);
        Ok(alias.wire(agent_id))
    })
}

pub(super) fn delete(agents: &Agents, agent_id: &str, id: &str) -> Result<Value, WireError> {
    agents.change(agent_id, |record| {
        let before = record.aliases.len();
        record.aliases.retain(|alias| alias.id != id);
        if record.aliases.len() == before {
            return Err(unknown(agent_id, id));
        }
        record.tags.remove(&alias_arn(agent_id, id));
        Ok(json!({"agentId": agent_id, "agentAliasId": id, "agentAliasStatus": "DELETING"}))
    })
}

pub(super) fn list(agents: &Agents, agent_id: &str, body: &Bytes) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let record = agents.get(agent_id)?;
    let test = Alias::of_tests(&record);
    let rows = record.aliases.iter().chain([&test]).map(Alias::summary);
    page.page("agentAliasSummaries", rows.collect())
}

//! Agents themselves: CreateAgent, GetAgent, UpdateAgent, DeleteAgent, ListAgents.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::action_group::ActionGroup;
use super::collaborator::Collaborator;
use super::knowledge::AgentKnowledgeBase;
use super::rules::{self, PageRequest};
use super::store::{Agents, Record};
use super::{agent_arn, parse_alias_arn};

/// Seconds until an idle session is forgotten, unless the agent says otherwise.
const SESSION_SECONDS: u32 = 600;
/// The role that replies show when none was given; nothing here is authorised by it.
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/outcrop-agent";

/// Whether an agent leads others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::bedrock) enum Collaboration {
    Supervisor,
    SupervisorRouter,
    #[default]
    Disabled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Orchestration {
    #[default]
    Default,
    CustomOrchestration,
}

/// The guardrail of an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::bedrock) struct GuardrailConfiguration {
    pub(in crate::bedrock) guardrail_identifier: String,
    pub(in crate::bedrock) guardrail_version: String,
}

/// What an agent is, as a draft, as prepared, or as a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Definition {
    pub(in crate::bedrock) name: String,
    pub(in crate::bedrock) instruction: Option<String>,
    pub(in crate::bedrock) foundation_model: Option<String>,
    pub(super) description: Option<String>,
    pub(in crate::bedrock) session_seconds: u32,
    role_arn: String,
    pub(in crate::bedrock) guardrail: Option<GuardrailConfiguration>,
    pub(in crate::bedrock) collaboration: Collaboration,
    pub(in crate::bedrock) action_groups: Vec<ActionGroup>,
    pub(in crate::bedrock) knowledge_bases: Vec<AgentKnowledgeBase>,
    pub(in crate::bedrock) collaborators: Vec<Collaborator>,
}

/// The body of CreateAgent and of UpdateAgent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentRequest {
    agent_name: String,
    client_token: Option<String>,
    instruction: Option<String>,
    foundation_model: Option<String>,
    description: Option<String>,
    #[serde(rename = "idleSessionTTLInSeconds")]
    session_seconds: Option<u32>,
    agent_resource_role_arn: Option<String>,
    guardrail_configuration: Option<GuardrailConfiguration>,
    #[serde(default)]
    agent_collaboration: Collaboration,
    #[serde(default)]
    orchestration_type: Orchestration,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    custom_orchestration: Option<Value>,
    customer_encryption_key_arn: Option<Value>,
    memory_configuration: Option<Value>,
    prompt_override_configuration: Option<Value>,
}

impl AgentRequest {
    fn check(&self) -> Result<(), WireError> {
        rules::unsupported(&[
            ("customOrchestration", &self.custom_orchestration),
            (
                "customerEncryptionKeyArn",
                &self.customer_encryption_key_arn,
            ),
            ("memoryConfiguration", &self.memory_configuration),
            (
                "promptOverrideConfiguration",
                &self.prompt_override_configuration,
            ),
        ])?;
        if self.orchestration_type == Orchestration::CustomOrchestration {
            return Err(WireError::unsupported(
                "orchestrationType CUSTOM_ORCHESTRATION",
            ));
        }
        rules::name("agentName", &self.agent_name)?;
        rules::length("instruction", self.instruction.as_deref(), 40, 4000)?;
        rules::length("description", self.description.as_deref(), 1, 200)?;
        rules::length("foundationModel", self.foundation_model.as_deref(), 1, 2048)?;
        match self.session_seconds {
            Some(seconds) => rules::range("idleSessionTTLInSeconds", seconds, 60, 5400),
            None => Ok(()),
        }
    }

    /// The definition that the request asks for; what it does not name keeps nothing of an older one but its parts.
    fn define(self, parts: Option<&Definition>) -> Definition {
        Definition {
            name: self.agent_name,
            instruction: self.instruction,
            foundation_model: self.foundation_model,
            description: self.description,
            session_seconds: self.session_seconds.unwrap_or(SESSION_SECONDS),
            role_arn: self
                .agent_resource_role_arn
                .unwrap_or_else(|| ROLE_ARN.to_owned()),
            guardrail: self.guardrail_configuration,
            collaboration: self.agent_collaboration,
            action_groups: parts.map_or_else(Vec::new, |old| old.action_groups.clone()),
            knowledge_bases: parts.map_or_else(Vec::new, |old| old.knowledge_bases.clone()),
            collaborators: parts.map_or_else(Vec::new, |old| old.collaborators.clone()),
        }
    }
}

impl Definition {
    pub(super) fn wire(&self) -> Value {
        let mut json = json!({
            "agentName": self.name, "idleSessionTTLInSeconds": self.session_seconds,
            "agentResourceRoleArn": self.role_arn, "agentCollaboration": self.collaboration,
        });
        let optional = [
            ("instruction", self.instruction.as_ref().map(|v| json!(v))),
            (
                "foundationModel",
                self.foundation_model.as_ref().map(|v| json!(v)),
            ),
            ("description", self.description.as_ref().map(|v| json!(v))),
            (
                "guardrailConfiguration",
                self.guardrail.as_ref().map(|v| json!(v)),
            ),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                json[name] = value;
            }
        }
        json
    }
}

impl Record {
    pub(super) fn status(&self) -> &'static str {
        match self.dirty {
            true => "NOT_PREPARED",
            false => "PREPARED",
        }
    }

    fn wire(&self) -> Value {
        let mut json = self.draft.wire();
        json["agentId"] = json!(self.id);
        json["agentArn"] = json!(agent_arn(&self.id));
        json["agentVersion"] = json!("DRAFT");
        json["agentStatus"] = json!(self.status());
        json["orchestrationType"] = json!("DEFAULT");
        json["createdAt"] = json!(self.created_at);
        json["updatedAt"] = json!(self.updated_at);
        if let Some(token) = &self.client_token {
            json["clientToken"] = json!(token);
        }
        if let Some(prepared) = &self.prepared {
            json["preparedAt"] = json!(prepared.at);
        }
        json
    }
}

pub(super) fn create(agents: &Agents, body: &Bytes) -> Result<Value, WireError> {
    let mut request: AgentRequest = read_json(body)?;
    request.check()?;
    let token = request.client_token.take();
    if let Some(before) = agents
        .all()
        .into_iter()
        .find(|record| token.is_some() && record.client_token == token)
    {
        return Ok(json!({"agent": before.wire()}));
    }
    let record = agents.create(|records| {
        name_is_free(records.values(), "", &request.agent_name)?;
        let (id, at) = (rules::new_id(), rules::now());
        let tags = std::mem::take(&mut request.tags);
        Ok(Record {
            tags: BTreeMap::from([(agent_arn(&id), tags)]),
            id,
            client_token: token,
            created_at: at.clone(),
            updated_at: at,
            draft: request.define(None),
            dirty: true,
            prepared: None,
            versions: BTreeMap::new(),
            last_version: 0,
            aliases: Vec::new(),
        })
    })?;
    Ok(json!({"agent": record.wire()}))
}

fn name_is_free<'a>(
    mut records: impl Iterator<Item = &'a Record>,
    own_id: &str,
    name: &str,
) -> Result<(), WireError> {
    match records.find(|record| record.id != own_id && record.draft.name == name) {
        Some(taken) => Err(rules::conflict(format!(
            "An agent named {name} exists already: {}.",
            taken.id
        ))),
        None => Ok(()),
    }
}

pub(super) fn get(agents: &Agents, id: &str) -> Result<Value, WireError> {
    Ok(json!({"agent": agents.get(id)?.wire()}))
}

pub(super) fn update(agents: &Agents, id: &str, body: &Bytes) -> Result<Value, WireError> {
    let request: AgentRequest = read_json(body)?;
    request.check()?;
    for (member, value) in [
        ("foundationModel", &request.foundation_model),
        ("agentResourceRoleArn", &request.agent_resource_role_arn),
    ] {
        if value.is_none() {
            return Err(WireError::validation(format!(
                "The request is not valid: missing field `{member}`"
            )));
        }
    }
    name_is_free(agents.all().iter(), id, &request.agent_name)?;
    let reply = agents.change(id, |record| {
        record.draft = request.define(Some(&record.draft));
        record.touch();
        Ok(record.wire())
    })?;
    Ok(json!({ "agent": reply }))
}

pub(super) fn delete(agents: &Agents, id: &str, anyway: bool) -> Result<Value, WireError> {
    let record = agents.get(id)?;
    if !anyway {
        if let Some(alias) = record.aliases.first() {
            return Err(rules::conflict(format!(
                "Agent {id} has the alias {}. Delete its aliases first, or set skipResourceInUseCheck.",
                alias.id
            )));
        }
        let leads = |other: &Record| {
            let named = |collaborator: &Collaborator| {
                parse_alias_arn(&collaborator.alias_arn).is_some_and(|(agent, _)| agent == id)
            };
            other.draft.collaborators.iter().any(named)
        };
        if let Some(other) = agents.all().iter().find(|other| leads(other)) {
            return Err(rules::conflict(format!(
                "Agent {id} is a collaborator of agent {}.",
                other.id
            )));
        }
    }
    agents.remove(id)?;
    Ok(json!({"agentId": id, "agentStatus": "DELETING"}))
}

pub(super) fn list(agents: &Agents, body: &Bytes) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let summary = |record: Record| {
        let wire = record.wire();
        let mut json = json!({
            "agentId": record.id, "agentName": record.draft.name, "agentStatus": record.status(),
            "updatedAt": record.updated_at,
            "latestAgentVersion": latest_version(&record),
        });
        copy(&wire, &mut json, &["description", "guardrailConfiguration"]);
        json
    };
    page.page(
        "agentSummaries",
        agents.all().into_iter().map(summary).collect(),
    )
}

fn latest_version(record: &Record) -> String {
    match record.versions.keys().next_back() {
        Some(number) => number.to_string(),
        None => "DRAFT".to_owned(),
    }
}

pub(super) fn copy(from: &Value, to: &mut Value, members: &[&str]) {
    for member in members {
        if let Some(value) = from.get(*member) {
            to[*member] = value.clone();
        }
    }
}

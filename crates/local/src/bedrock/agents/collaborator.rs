//! The agents that a supervisor may send messages to.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::agent::Collaboration;
use super::alias::TEST_ALIAS;
use super::parse_alias_arn;
use super::rules::{self, PageRequest};
use super::store::{Agents, Record};

/// Whether a collaborator hears what was said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::bedrock) enum Relay {
    ToCollaborator,
    #[default]
    Disabled,
}

/// A collaborator; the instruction tells the supervisor's model what it is good for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct Collaborator {
    id: String,
    pub(in crate::bedrock) name: String,
    pub(in crate::bedrock) alias_arn: String,
    pub(in crate::bedrock) instruction: String,
    pub(in crate::bedrock) relay: Relay,
    client_token: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CollaboratorRequest {
    agent_descriptor: AgentDescriptor,
    collaborator_name: String,
    collaboration_instruction: String,
    #[serde(default)]
    relay_conversation_history: Relay,
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentDescriptor {
    alias_arn: String,
}

impl CollaboratorRequest {
    /// The alias must be there, be another agent's, and be a real one: the test alias is not for collaborators.
    fn check(&self, agents: &Agents, supervisor_id: &str) -> Result<(), WireError> {
        rules::name("collaboratorName", &self.collaborator_name)?;
        rules::length(
            "collaborationInstruction",
            Some(&self.collaboration_instruction),
            1,
            4000,
        )?;
        let arn = &self.agent_descriptor.alias_arn;
        let Some((agent_id, alias_id)) = parse_alias_arn(arn) else {
            return Err(WireError::validation(format!(
                "agentDescriptor.aliasArn {arn} is no ARN of an agent alias."
            )));
        };
        if agent_id == supervisor_id {
            return Err(WireError::validation(
                "An agent cannot be its own collaborator.",
            ));
        }
        if alias_id == TEST_ALIAS {
            return Err(WireError::validation(format!(
                "The test alias {TEST_ALIAS} cannot be a collaborator; create an alias of agent {agent_id}."
            )));
        }
        let known = agents.get(agent_id)?;
        match known.aliases.iter().any(|alias| alias.id == alias_id) {
            true => Ok(()),
            false => Err(rules::not_found(&format!(
                "Alias {alias_id} of agent {agent_id}"
            ))),
        }
    }
}

impl Collaborator {
    fn members(&self, agent_id: &str, version: &str) -> Value {
        json!({
            "agentId": agent_id, "agentVersion": version, "agentDescriptor": {"aliasArn": self.alias_arn},
            "collaboratorId": self.id, "collaborationInstruction": self.instruction, "collaboratorName": self.name,
            "createdAt": self.created_at, "lastUpdatedAt": self.updated_at, "relayConversationHistory": self.relay,
        })
    }

    fn wire(&self, agent_id: &str, version: &str) -> Value {
        let mut members = self.members(agent_id, version);
        if let Some(token) = &self.client_token {
            members["clientToken"] = json!(token);
        }
        json!({ "agentCollaborator": members })
    }
}

fn unknown(agent_id: &str, id: &str) -> WireError {
    rules::not_found(&format!("Collaborator {id} of agent {agent_id}"))
}

fn name_is_free(record: &Record, own_id: &str, name: &str) -> Result<(), WireError> {
    let mut others = record.draft.collaborators.iter();
    match others.any(|other| other.id != own_id && other.name == name) {
        true => Err(rules::conflict(format!(
            "A collaborator named {name} exists already."
        ))),
        false => Ok(()),
    }
}

pub(super) fn associate(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    rules::draft(version)?;
    let request: CollaboratorRequest = read_json(body)?;
    request.check(agents, agent_id)?;
    agents.change(agent_id, |record| {
        if record.draft.collaboration == Collaboration::Disabled {
            return Err(WireError::validation(format!(
                "agentCollaboration of agent {agent_id} is DISABLED. Update the agent to SUPERVISOR or SUPERVISOR_ROUTER first."
            )));
        }
        let before = |known: &&Collaborator| {
            request.client_token.is_some() && known.client_token == request.client_token
        };
        if let Some(known) = record.draft.collaborators.iter().find(before) {
            return Ok(known.wire(agent_id, version));
        }
        name_is_free(record, "", &request.collaborator_name)?;
        let at = rules::now();
        let collaborator = Collaborator {
            id: rules::new_id(),
            name: request.collaborator_name,
            alias_arn: request.agent_descriptor.alias_arn,
            instruction: request.collaboration_instruction,
            relay: request.relay_conversation_history,
            client_token: request.client_token,
            created_at: at.clone(),
            updated_at: at,
        };
        let wire = collaborator.wire(agent_id, version);
        record.draft.collaborators.push(collaborator);
        record.touch();
        Ok(wire)
    })
}

pub(super) fn get(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    id: &str,
) -> Result<Value, WireError> {
    let record = agents.get(agent_id)?;
    let mut known = record.definition(version)?.collaborators.iter();
    let found = known.find(|collaborator| collaborator.id == id);
    Ok(found
        .ok_or_else(|| unknown(agent_id, id))?
        .wire(agent_id, version))
}

pub(super) fn update(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    id: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    rules::draft(version)?;
    let request: CollaboratorRequest = read_json(body)?;
    request.check(agents, agent_id)?;
    agents.change(agent_id, |record| {
        name_is_free(record, id, &request.collaborator_name)?;
        let mut known = record.draft.collaborators.iter_mut();
        let collaborator = known.find(|known| known.id == id);
        let collaborator = collaborator.ok_or_else(|| unknown(agent_id, id))?;
        collaborator.name = request.collaborator_name;
        collaborator.alias_arn = request.agent_descriptor.alias_arn;
        collaborator.instruction = request.collaboration_instruction;
        collaborator.relay = request.relay_conversation_history;
        collaborator.updated_at = rules::now();
        let wire = collaborator.wire(agent_id, version);
        record.touch();
        Ok(wire)
    })
}

pub(super) fn disassociate(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    id: &str,
) -> Result<(), WireError> {
    rules::draft(version)?;
    agents.change(agent_id, |record| {
        let before = record.draft.collaborators.len();
        record.draft.collaborators.retain(|known| known.id != id);
        if record.draft.collaborators.len() == before {
            return Err(unknown(agent_id, id));
        }
        record.touch();
        Ok(())
    })
}

pub(super) fn list(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    let page: PageRequest = read_json(body)?;
    let record = agents.get(agent_id)?;
    let known = record.definition(version)?.collaborators.iter();
    let rows = known.map(|collaborator| collaborator.members(agent_id, version));
    page.page("agentCollaboratorSummaries", rows.collect())
}

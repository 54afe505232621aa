//! Which knowledge bases an agent may look things up in.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::action_group::State;
use super::rules::{self, PageRequest};
use super::store::{Agents, Record};

/// A knowledge base of an agent; the description tells the model what it is good for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct AgentKnowledgeBase {
    pub(in crate::bedrock) id: String,
    pub(in crate::bedrock) description: String,
    pub(in crate::bedrock) state: State,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssociateRequest {
    knowledge_base_id: String,
    description: String,
    #[serde(default)]
    knowledge_base_state: State,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateRequest {
    description: Option<String>,
    knowledge_base_state: Option<State>,
}

impl AgentKnowledgeBase {
    fn wire(&self, agent_id: &str, version: &str) -> Value {
        json!({"agentKnowledgeBase": {
            "agentId": agent_id, "agentVersion": version, "knowledgeBaseId": self.id, "description": self.description,
            "createdAt": self.created_at, "updatedAt": self.updated_at, "knowledgeBaseState": self.state,
        }})
    }
}

fn unknown(agent_id: &str, id: &str) -> WireError {
    rules::not_found(&format!("Knowledge base {id} of agent {agent_id}"))
}

fn find<'a>(record: &'a mut Record, id: &str) -> Result<&'a mut AgentKnowledgeBase, WireError> {
    let missing = unknown(&record.id, id);
    let mut bases = record.draft.knowledge_bases.iter_mut();
    bases.find(|base| base.id == id).ok_or(missing)
}

pub(super) fn associate(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    rules::draft(version)?;
    let request: AssociateRequest = read_json(body)?;
    rules::length("description", Some(&request.description), 1, 200)?;
    rules::length("knowledgeBaseId", Some(&request.knowledge_base_id), 10, 10)?;
    agents.change(agent_id, |record| {
        let id = request.knowledge_base_id;
        if record
            .draft
            .knowledge_bases
            .iter()
            .any(|base| base.id == id)
        {
            return Err(rules::conflict(format!(
                "Knowledge base {id} is associated with agent {agent_id} already."
            )));
        }
        let at = rules::now();
        let base = AgentKnowledgeBase {
            id,
            description: request.description,
            state: request.knowledge_base_state,
            created_at: at.clone(),
            updated_at: at,
        };
        let wire = base.wire(agent_id, version);
        record.draft.knowledge_bases.push(base);
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
    let bases = &record.definition(version)?.knowledge_bases;
    let base = bases.iter().find(|base| base.id == id);
    Ok(base
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
    let request: UpdateRequest = read_json(body)?;
    rules::length("description", request.description.as_deref(), 1, 200)?;
    agents.change(agent_id, |record| {
        let base = find(record, id)?;
        if let Some(description) = request.description {
            base.description = description;
        }
        if let Some(state) = request.knowledge_base_state {
            base.state = state;
        }
        base.updated_at = rules::now();
        let wire = base.wire(agent_id, version);
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
        find(record, id)?;
        record.draft.knowledge_bases.retain(|base| base.id != id);
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
    let bases = record.definition(version)?.knowledge_bases.iter();
    let rows = bases.map(|base| {
        json!({
            "knowledgeBaseId": base.id, "description": base.description, "knowledgeBaseState": base.state,
            "updatedAt": base.updated_at,
        })
    });
    page.page("agentKnowledgeBaseSummaries", rows.collect())
}

//! `bedrock-agent` on the laptop: agents with their action groups, knowledge bases and collaborators, prepared,
//! versioned and given aliases. What an agent is stands here; what it does when it is asked stands in `agent_runtime`.
//!
//! A working draft is changed freely. PrepareAgent checks it and freezes it for the test alias; CreateAgentAlias freezes
//! the prepared draft as a numbered version. A field that AWS has and the laptop has not is refused by name.
mod action_group;
mod agent;
mod alias;
mod collaborator;
mod knowledge;
mod openapi;
mod prepare;
mod routes;
pub(super) mod rules;
mod schema;
mod store;
mod tags;
mod version;

pub(super) use action_group::{Executor, State};
pub(super) use agent::{Collaboration, Definition};
pub(super) use alias::{InvocationState, TEST_ALIAS};
pub(super) use collaborator::{Collaborator, Relay};
pub(super) use routes::operations;
pub(super) use rules::now;
pub(super) use schema::{Operation, OperationKind};
pub(super) use store::Agents;

use crate::template::{ACCOUNT, REGION};

/// `arn:aws:bedrock:…:agent/ID`.
pub(super) fn agent_arn(agent_id: &str) -> String {
    format!("arn:aws:bedrock:{REGION}:{ACCOUNT}:agent/{agent_id}")
}

/// `arn:aws:bedrock:…:agent-alias/AGENT/ALIAS`.
pub(super) fn alias_arn(agent_id: &str, alias_id: &str) -> String {
    format!("arn:aws:bedrock:{REGION}:{ACCOUNT}:agent-alias/{agent_id}/{alias_id}")
}

/// The agent's and the alias's id of an alias ARN.
pub(super) fn parse_alias_arn(arn: &str) -> Option<(&str, &str)> {
    arn.rsplit_once(":agent-alias/")?.1.split_once('/')
}

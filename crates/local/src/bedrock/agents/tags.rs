//! Tags of agents and of aliases.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::store::Agents;
use super::{parse_alias_arn, rules};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TagRequest {
    tags: BTreeMap<String, String>,
}

/// The id of the agent that a resource belongs to.
fn owner(arn: &str) -> Result<&str, WireError> {
    let of_agent = || arn.rsplit_once(":agent/").map(|(_, id)| id);
    parse_alias_arn(arn)
        .map(|(agent, _)| agent)
        .or_else(of_agent)
        .ok_or_else(|| WireError::unsupported(format!("Tagging {arn}")))
}

fn tagged<T>(
    agents: &Agents,
    arn: &str,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> T,
) -> Result<T, WireError> {
    agents.change(owner(arn)?, |record| match record.tags.get_mut(arn) {
        Some(tags) => Ok(change(tags)),
        None => Err(rules::not_found(arn)),
    })
}

pub(super) fn list(agents: &Agents, arn: &str) -> Result<Value, WireError> {
    tagged(agents, arn, |tags| json!({ "tags": tags }))
}

pub(super) fn add(agents: &Agents, arn: &str, body: &Bytes) -> Result<Value, WireError> {
    let request: TagRequest = read_json(body)?;
    tagged(agents, arn, |tags| {
        tags.extend(request.tags);
        json!({})
    })
}

pub(super) fn remove(agents: &Agents, arn: &str, keys: &[String]) -> Result<Value, WireError> {
    tagged(agents, arn, |tags| {
        tags.retain(|key, _| !keys.contains(key));
        json!({})
    })
}

//! Action groups: what an agent may do, and who does it: a Lambda function, or the caller (`RETURN_CONTROL`).
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::wire::{WireError, read_json};
use super::openapi;
use super::rules::{self, PageRequest};
use super::schema::{FunctionSchema, Operation};
use super::store::{Agents, Record};

/// The action group that lets an agent ask its user back.
pub(in crate::bedrock) const USER_INPUT: &str = "AMAZON.UserInput";

/// Whether a part of an agent is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::bedrock) enum State {
    #[default]
    Enabled,
    Disabled,
}

/// Who carries an action out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bedrock) enum Executor {
    /// The ARN of a function.
    Lambda(String),
    CustomControl(CustomControl),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::bedrock) enum CustomControl {
    ReturnControl,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ApiSchema {
    Payload(String),
    S3(S3Object),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct S3Object {
    pub(super) s3_bucket_name: String,
    pub(super) s3_object_key: String,
}

/// An action group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct ActionGroup {
    id: String,
    pub(in crate::bedrock) name: String,
    description: Option<String>,
    signature: Option<String>,
    pub(in crate::bedrock) executor: Option<Executor>,
    pub(super) api_schema: Option<ApiSchema>,
    function_schema: Option<FunctionSchema>,
    /// The OpenAPI document as it was found when the agent was prepared.
    pub(super) openapi: Option<String>,
    pub(in crate::bedrock) state: State,
    client_token: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupRequest {
    action_group_name: String,
    client_token: Option<String>,
    description: Option<String>,
    parent_action_group_signature: Option<String>,
    action_group_executor: Option<Executor>,
    api_schema: Option<ApiSchema>,
    function_schema: Option<FunctionSchema>,
    #[serde(default)]
    action_group_state: State,
    parent_action_group_signature_params: Option<Value>,
}

impl GroupRequest {
    fn check(&self) -> Result<(), WireError> {
        let parameters = &self.parent_action_group_signature_params;
        rules::unsupported(&[("parentActionGroupSignatureParams", parameters)])?;
        rules::name("actionGroupName", &self.action_group_name)?;
        rules::length("description", self.description.as_deref(), 1, 200)?;
        if let Some(signature) = &self.parent_action_group_signature {
            return self.check_signature(signature);
        }
        match &self.action_group_executor {
            None => {
                return Err(WireError::validation(
                    "An action group needs an actionGroupExecutor: lambda, or customControl RETURN_CONTROL.",
                ));
            }
            Some(Executor::Lambda(arn)) => rules::function_arn("actionGroupExecutor.lambda", arn)?,
            Some(Executor::CustomControl(_)) => {}
        }
        match (&self.api_schema, &self.function_schema) {
            (Some(ApiSchema::Payload(text)), None) => openapi::read(text).map(|_| ()),
            // The object is read when the agent is prepared.
            (Some(ApiSchema::S3(_)), None) => Ok(()),
            (None, Some(functions)) => functions.operations().map(|_| ()),
            _ => Err(WireError::validation(
                "An action group needs one of apiSchema and functionSchema.",
            )),
        }
    }

    fn check_signature(&self, signature: &str) -> Result<(), WireError> {
        if signature != USER_INPUT {
            return Err(WireError::unsupported(format!(
                "parentActionGroupSignature {signature}"
            )));
        }
        let has_more = self.description.is_some()
            || self.action_group_executor.is_some()
            || self.api_schema.is_some()
            || self.function_schema.is_some();
        match has_more {
            true => Err(WireError::validation(format!(
                "With parentActionGroupSignature {USER_INPUT}, description, apiSchema, functionSchema and actionGroupExecutor must be left out."
            ))),
            false => Ok(()),
        }
    }

    fn define(self, id: String, created_at: String) -> ActionGroup {
        ActionGroup {
            id,
            name: self.action_group_name,
            description: self.description,
            signature: self.parent_action_group_signature,
            executor: self.action_group_executor,
            api_schema: self.api_schema,
            function_schema: self.function_schema,
            openapi: None,
            state: self.action_group_state,
            client_token: self.client_token,
            created_at,
            updated_at: rules::now(),
        }
    }
}

impl ActionGroup {
    /// Whether it is the one that lets the agent ask its user back.
    pub(in crate::bedrock) fn asks_user(&self) -> bool {
        self.signature.as_deref() == Some(USER_INPUT)
    }

    /// What a prepared group can do.
    pub(in crate::bedrock) fn operations(&self) -> Result<Vec<Operation>, WireError> {
        match (&self.function_schema, &self.openapi) {
            (Some(functions), _) => functions.operations(),
            (None, Some(text)) => openapi::read(text),
            (None, None) => Ok(Vec::new()),
        }
    }

    fn wire(&self, agent_id: &str, version: &str) -> Value {
        let mut json = json!({
            "agentId": agent_id, "agentVersion": version, "actionGroupId": self.id, "actionGroupName": self.name,
            "createdAt": self.created_at, "updatedAt": self.updated_at, "actionGroupState": self.state,
        });
        let optional = [
            ("description", self.description.as_ref().map(|v| json!(v))),
            (
                "parentActionSignature",
                self.signature.as_ref().map(|v| json!(v)),
            ),
            (
                "actionGroupExecutor",
                self.executor.as_ref().map(|v| json!(v)),
            ),
            ("apiSchema", self.api_schema.as_ref().map(|v| json!(v))),
            (
                "functionSchema",
                self.function_schema.as_ref().map(|v| json!(v)),
            ),
            ("clientToken", self.client_token.as_ref().map(|v| json!(v))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                json[name] = value;
            }
        }
        json!({ "agentActionGroup": json })
    }
}

fn unknown(agent_id: &str, id: &str) -> WireError {
    rules::not_found(&format!("Action group {id} of agent {agent_id}"))
}

fn name_is_free(record: &Record, own_id: &str, name: &str) -> Result<(), WireError> {
    let mut others = record.draft.action_groups.iter();
    match others.any(|other| other.id != own_id && other.name == name) {
        true => Err(rules::conflict(format!(
            "An action group named {name} exists already."
        ))),
        false => Ok(()),
    }
}

pub(super) fn create(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    body: &Bytes,
) -> Result<Value, WireError> {
    rules::draft(version)?;
    let request: GroupRequest = read_json(body)?;
    request.check()?;
    agents.change(agent_id, |record| {
        let before = |group: &&ActionGroup| {
            request.client_token.is_some() && group.client_token == request.client_token
        };
        if let Some(group) = record.draft.action_groups.iter().find(before) {
            return Ok(group.wire(agent_id, version));
        }
        name_is_free(record, "", &request.action_group_name)?;
        let group = request.define(rules::new_id(), rules::now());
        let wire = group.wire(agent_id, version);
        record.draft.action_groups.push(group);
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
    let mut groups = record.definition(version)?.action_groups.iter();
    let group = groups.find(|group| group.id == id);
    Ok(group
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
    let request: GroupRequest = read_json(body)?;
    request.check()?;
    agents.change(agent_id, |record| {
        name_is_free(record, id, &request.action_group_name)?;
        let mut groups = record.draft.action_groups.iter_mut();
        let group = groups.find(|group| group.id == id);
        let group = group.ok_or_else(|| unknown(agent_id, id))?;
        let (token, created_at) = (group.client_token.take(), group.created_at.clone());
        *group = request.define(id.to_owned(), created_at);
        group.client_token = token;
        let wire = group.wire(agent_id, version);
        record.touch();
        Ok(wire)
    })
}

pub(super) fn delete(
    agents: &Agents,
    agent_id: &str,
    version: &str,
    id: &str,
    anyway: bool,
) -> Result<(), WireError> {
    rules::draft(version)?;
    agents.change(agent_id, |record| {
        let groups = &mut record.draft.action_groups;
        let group = groups.iter().find(|group| group.id == id);
        let group = group.ok_or_else(|| unknown(agent_id, id))?;
        if group.state == State::Enabled && !anyway {
            return Err(rules::conflict(format!(
                "Action group {id} is ENABLED. Disable it first, or set skipResourceInUseCheck."
            )));
        }
        groups.retain(|group| group.id != id);
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
    let groups = record.definition(version)?.action_groups.iter();
    let rows = groups.map(|group| {
        let mut json = json!({
            "actionGroupId": group.id, "actionGroupName": group.name, "actionGroupState": group.state,
            "updatedAt": group.updated_at,
        });
        if let Some(description) = &group.description {
            json["description"] = json!(description);
        }
        json
    });
    page.page("actionGroupSummaries", rows.collect())
}

//! Actions: the event that a function is invoked with, and the rules for what it may answer.
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::agents::{Executor, OperationKind};
use super::super::wire::{ErrorName, WireError};
use super::request::{Attributes, ContentBody, KnowledgeConfiguration, ResponseState};
use super::toolbox::Action;
use super::trace::Tracer;
use super::turn::Shared;
use crate::lambda::Invocation;

/// Largest reply of a function (bytes). Source: Amazon Bedrock user guide, Lambda functions of action groups.
const MAX_REPLY: usize = 25 * 1024;

/// What came of an action.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) text: String,
    /// The model is asked to try again.
    pub(super) reprompt: bool,
    /// The API's own status was an error.
    pub(super) failed: bool,
}

/// A function's reply.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reply {
    message_version: String,
    response: Response,
    session_attributes: Option<Attributes>,
    prompt_session_attributes: Option<Attributes>,
    #[serde(rename = "knowledgeBasesConfiguration")]
    knowledge: Option<Vec<KnowledgeConfiguration>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    action_group: String,
    function: Option<String>,
    function_response: Option<FunctionResponse>,
    api_path: Option<String>,
    http_method: Option<String>,
    http_status_code: Option<u16>,
    response_state: Option<ResponseState>,
    response_body: Option<BTreeMap<String, ContentBody>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FunctionResponse {
    response_state: Option<ResponseState>,
    response_body: BTreeMap<String, ContentBody>,
}

/// A value as events carry it: strings as they are, all else as JSON.
fn in_event(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Action {
    /// The parameters of a call, those of the request body (`in_body`) or the others.
    pub(super) fn parameters(&self, input: &Value, in_body: bool) -> Vec<Value> {
        let parameters = self
            .operation
            .parameters
            .iter()
            .filter(|parameter| parameter.in_body == in_body);
        let filled = parameters.filter_map(|parameter| {
            let value = input.get(&parameter.name)?;
            Some(
                json!({"name": parameter.name, "type": parameter.r#type, "value": in_event(value)}),
            )
        });
        filled.collect()
    }

    /// Names of the required parameters that the model left out.
    pub(super) fn missing(&self, input: &Value) -> Vec<&str> {
        let required = self
            .operation
            .parameters
            .iter()
            .filter(|parameter| parameter.required);
        required
            .map(|parameter| parameter.name.as_str())
            .filter(|name| input.get(*name).is_none())
            .collect()
    }

    /// The members that name the operation and its parameters in an event.
    pub(super) fn call(&self, input: &Value) -> Map<String, Value> {
        let mut call = Map::new();
        call.insert("actionGroup".into(), json!(self.group));
        match &self.operation.kind {
            OperationKind::Function => {
                call.insert("function".into(), json!(self.operation.name));
            }
            OperationKind::Api { path, verb, .. } => {
                call.insert("apiPath".into(), json!(path));
                call.insert("httpMethod".into(), json!(verb));
            }
        }
        call.insert("parameters".into(), json!(self.parameters(input, false)));
        if let OperationKind::Api {
            content_type: Some(content_type),
            ..
        } = &self.operation.kind
        {
            let properties = self.parameters(input, true);
            call.insert(
                "requestBody".into(),
                json!({"content": {content_type.as_str(): {"properties": properties}}}),
            );
        }
        call
    }

    fn event(
        &self,
        input: &Value,
        asked: &str,
        agent_name: &str,
        tracer: &Tracer,
        shared: &Shared,
    ) -> Value {
        let mut event = Map::new();
        event.insert("messageVersion".into(), json!("1.0"));
        event.insert(
            "agent".into(),
            json!({"name": agent_name, "id": tracer.agent_id, "alias": tracer.alias_id, "version": tracer.version}),
        );
        event.insert("inputText".into(), json!(asked));
        event.insert("sessionId".into(), json!(tracer.session_id));
        event.extend(self.call(input));
        event.insert("sessionAttributes".into(), json!(shared.session_attributes));
        event.insert(
            "promptSessionAttributes".into(),
            json!(shared.prompt_attributes),
        );
        Value::Object(event)
    }
}

fn failed(function: &str, what: impl std::fmt::Display) -> WireError {
    WireError::new(
        ErrorName::DependencyFailed,
        format!("The Lambda function {function} {what}"),
    )
}

/// Invokes the function of an action and reads its reply.
pub(super) async fn invoke(
    bedrock: &super::super::Bedrock,
    action: &Action,
    input: &Value,
    asked: &str,
    agent_name: &str,
    tracer: &Tracer,
    shared: &mut Shared,
) -> Result<Done, WireError> {
    let Executor::Lambda(function) = &action.executor else {
        return Err(WireError::new(
            ErrorName::InternalServer,
            "The action has no function.",
        ));
    };
    let event = action.event(input, asked, agent_name, tracer, shared);
    let invoked =
        (bedrock.services.invoke_lambda)(function.clone(), Bytes::from(event.to_string())).await;
    let bytes = match invoked {
        Ok(Invocation::Reply(bytes)) => bytes,
        Ok(Invocation::FunctionError(bytes)) => {
            let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let words = error["errorMessage"].as_str().unwrap_or("no message");
            return Err(failed(function, format_args!("failed: {words}")));
        }
        Ok(Invocation::Stream(_)) => return Err(failed(function, "answered with a stream.")),
        Err(error) => {
            return Err(failed(
                function,
                format_args!("could not be invoked: {error}"),
            ));
        }
    };
    if bytes.len() > MAX_REPLY {
        return Err(failed(
            function,
            format_args!(
                "answered with {} bytes; at most {MAX_REPLY} (25 KB) are allowed.",
                bytes.len()
            ),
        ));
    }
    read(action, &bytes, shared).map_err(|words| failed(function, words))
}

/// Reads a function's reply against AWS's rules; what is wrong, in words.
fn read(action: &Action, bytes: &[u8], shared: &mut Shared) -> Result<Done, String> {
    let reply: Reply = serde_json::from_slice(bytes)
        .map_err(|error| format!("gave a reply that is not valid: {error}"))?;
    let response = reply.response;
    if reply.message_version != "1.0" {
        return Err(format!(
            "answered with messageVersion {}; it must be 1.0.",
            reply.message_version
        ));
    }
    let same = response.action_group == action.group
        && match &action.operation.kind {
            OperationKind::Function => {
                response.function.as_deref() == Some(action.operation.name.as_str())
            }
            OperationKind::Api { path, verb, .. } => {
                response.api_path.as_deref() == Some(path.as_str())
                    && response
                        .http_method
                        .as_deref()
                        .is_some_and(|method| method.eq_ignore_ascii_case(verb))
            }
        };
    if !same {
        return Err("answered for another action: actionGroup, function, apiPath and httpMethod must be those of the event.".into());
    }
    let (state, body, status) = match (&action.operation.kind, response.function_response) {
        (OperationKind::Function, Some(function)) => {
            (function.response_state, function.response_body, None)
        }
        (OperationKind::Function, None) => {
            return Err("gave a reply without functionResponse.".into());
        }
        (OperationKind::Api { .. }, _) => {
            let (Some(status), Some(body)) = (response.http_status_code, response.response_body)
            else {
                return Err("gave a reply without httpStatusCode or responseBody.".into());
            };
            (response.response_state, body, Some(status))
        }
    };
    if matches!(action.operation.kind, OperationKind::Function) && !body.contains_key("TEXT") {
        return Err("gave a functionResponse without responseBody.TEXT.".into());
    }
    let Some(content) = body.into_values().next() else {
        return Err("gave a reply with an empty responseBody.".into());
    };
    if let Some(attributes) = reply.session_attributes {
        shared.session_attributes = attributes;
    }
    if let Some(attributes) = reply.prompt_session_attributes {
        shared.prompt_attributes = attributes;
    }
    if let Some(knowledge) = reply.knowledge {
        shared.knowledge = knowledge;
    }
    done(state, content.body, status)
}

/// FAILURE ends the turn; REPROMPT goes to the model.
pub(super) fn done(
    state: Option<ResponseState>,
    text: String,
    status: Option<u16>,
) -> Result<Done, String> {
    match state {
        Some(ResponseState::Failure) => Err(format!("reported a failure: {text}")),
        state => Ok(Done {
            text,
            reprompt: state == Some(ResponseState::Reprompt),
            failed: status.is_some_and(|status| status >= 400),
        }),
    }
}

//! AgentCore Gateway, Lambda target: the event is the arguments and nothing else; everything else is in the client
//! context.
//!
//! Source: Amazon Bedrock AgentCore Developer Guide, "AWS Lambda function targets". The context says nothing of the
//! user: a call through a gateway has no attributes that could be trusted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::arguments::ArgumentError;
use crate::{Call, Form, FunctionError, Outcome, Unrecognised};

/// The client context's key of the tool's name, `<target>___<tool>`.
pub const TOOL_NAME: &str = "bedrockAgentCoreToolName";
/// Between the target's name and the tool's.
const SEPARATOR: &str = "___";

pub(crate) fn read(
    name: &str,
    event: &Value,
    context: &BTreeMap<String, String>,
) -> Result<Call, Unrecognised> {
    let tool = name.split_once(SEPARATOR).map_or(name, |(_, tool)| tool);
    let given = match event {
        Value::Object(given) => Ok(given.clone()),
        Value::Null => Ok(Map::new()),
        _ => Err(ArgumentError::NotAnObject),
    };
    let found = |key: &str| context.get(key).filter(|text| !text.is_empty()).cloned();
    Ok(Call {
        form: Form::Gateway,
        tool: tool.to_owned(),
        session: found("bedrockAgentCoreSessionId"),
        agent: found("bedrockAgentCoreGatewayId"),
        session_attributes: Map::new(),
        given,
        echo: Map::new(),
    })
}

pub(crate) fn reply(outcome: &Outcome) -> Result<Value, FunctionError> {
    match outcome {
        Outcome::Done(output) => Ok(output.clone()),
        Outcome::Reprompt(fault) => Ok(fault.to_value()),
        Outcome::Failure(fault) => Err(FunctionError {
            name: fault.name.clone(),
            message: fault.message.clone(),
        }),
    }
}

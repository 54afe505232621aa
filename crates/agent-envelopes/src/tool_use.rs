//! Converse: a `toolUse` block as the model wrote it, answered by the `toolResult` block that goes back to it.
//!
//! Whoever runs the loop may invoke the function with `{"toolUse": …}` as it stands in the model's message, and put the
//! reply into the next message. Beside it may stand `sessionId`, `agent` and `sessionAttributes`; the invoker vouches
//! for them. Source: Amazon Bedrock API Reference, ToolUseBlock and ToolResultBlock.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::arguments::ArgumentError;
use crate::{Call, Form, Outcome, Unrecognised};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    tool_use: ToolUse,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    session_attributes: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse {
    tool_use_id: String,
    name: String,
    #[serde(default)]
    input: Value,
}

pub(crate) fn read(event: &Value) -> Result<Call, Unrecognised> {
    let event = Event::deserialize(event).map_err(|error| Unrecognised {
        detail: format!("it does not fit a toolUse block: {error}"),
    })?;
    let given = match event.tool_use.input {
        Value::Object(given) => Ok(given),
        Value::Null => Ok(Map::new()),
        // A model that streams its input hands over the text of an object.
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(given)) => Ok(given),
            _ => Err(ArgumentError::NotAnObject),
        },
        _ => Err(ArgumentError::NotAnObject),
    };
    let mut echo = Map::new();
    echo.insert("toolUseId".into(), json!(event.tool_use.tool_use_id));
    Ok(Call {
        form: Form::ToolUse,
        tool: event.tool_use.name,
        session: event.session_id.filter(|id| !id.is_empty()),
        agent: event.agent.filter(|name| !name.is_empty()),
        session_attributes: event.session_attributes.unwrap_or_default(),
        given,
        echo,
    })
}

pub(crate) fn reply(echo: &Map<String, Value>, outcome: &Outcome) -> Value {
    let (content, status) = match outcome {
        Outcome::Done(output) => (output.clone(), "success"),
        Outcome::Reprompt(fault) | Outcome::Failure(fault) => (fault.to_value(), "error"),
    };
    // `json` content must be an object: Converse refuses anything else.
    let block = match content {
        Value::Object(_) => json!({ "json": content }),
        other => json!({ "text": other.to_string() }),
    };
    let id = echo.get("toolUseId").cloned().unwrap_or_default();
    json!({ "toolResult": { "toolUseId": id, "content": [block], "status": status } })
}

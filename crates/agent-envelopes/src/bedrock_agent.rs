//! Bedrock Agents: events of action groups, and their replies.
//!
//! Source: Amazon Bedrock User Guide, "Lambda input event from Amazon Bedrock" and "Lambda response event to Amazon
//! Bedrock". Attributes come back as they came: leaving them out would clear them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::arguments::ArgumentError;
use crate::{Call, Form, Outcome, Unrecognised};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    agent: Agent,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    action_group: String,
    #[serde(default)]
    api_path: Option<String>,
    #[serde(default)]
    http_method: Option<String>,
    #[serde(default)]
    function: Option<String>,
    #[serde(default)]
    parameters: Option<Vec<Parameter>>,
    #[serde(default)]
    request_body: Option<RequestBody>,
    #[serde(default)]
    session_attributes: Option<Map<String, Value>>,
    #[serde(default)]
    prompt_session_attributes: Option<Map<String, Value>>,
}

#[derive(Deserialize, Default)]
struct Agent {
    #[serde(default)]
    name: String,
    #[serde(default)]
    id: String,
}

/// `type` is what the schema said; the tool's own schema decides, so it is not read.
#[derive(Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
struct RequestBody {
    #[serde(default)]
    content: Map<String, Value>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    properties: Vec<Parameter>,
}

pub(crate) fn read(event: &Value) -> Result<Call, Unrecognised> {
    let malformed = |error: serde_json::Error| Unrecognised {
        detail: format!("it does not fit the event of a Bedrock agent: {error}"),
    };
    let event = Event::deserialize(event).map_err(malformed)?;
    let mut echo = Map::new();
    echo.insert("actionGroup".into(), json!(event.action_group));
    let (form, tool) = match (event.function, event.api_path) {
        (Some(function), _) => {
            echo.insert("function".into(), json!(function));
            (Form::FunctionSchema, function)
        }
        (None, Some(path)) => {
            echo.insert("apiPath".into(), json!(path));
            echo.insert("httpMethod".into(), json!(event.http_method));
            let tool = path.rsplit('/').next().unwrap_or_default().to_owned();
            (Form::ApiSchema, tool)
        }
        (None, None) => {
            let detail = "it has a messageVersion, but neither function nor apiPath".to_owned();
            return Err(Unrecognised { detail });
        }
    };
    let session_attributes = event.session_attributes.unwrap_or_default();
    let prompt = event.prompt_session_attributes.unwrap_or_default();
    echo.insert("sessionAttributes".into(), json!(session_attributes));
    echo.insert("promptSessionAttributes".into(), json!(prompt));
    let mut given = event.parameters.unwrap_or_default();
    if let Some(body) = event.request_body {
        for content in body.content.into_iter().map(|(_, content)| content) {
            given.extend(Content::deserialize(content).map_err(malformed)?.properties);
        }
    }
    Ok(Call {
        form,
        tool,
        session: event.session_id.filter(|id| !id.is_empty()),
        agent: [event.agent.id, event.agent.name]
            .into_iter()
            .find(|name| !name.is_empty()),
        session_attributes,
        given: collect(given),
        echo,
    })
}

/// A name given twice could mean either: which one counts is not for us to choose.
fn collect(parameters: Vec<Parameter>) -> Result<Map<String, Value>, ArgumentError> {
    let mut given = Map::new();
    for Parameter { name, value } in parameters {
        if given.insert(name.clone(), value).is_some() {
            return Err(ArgumentError::Twice { name });
        }
    }
    Ok(given)
}

fn part(echo: &Map<String, Value>, name: &str) -> Value {
    echo.get(name).cloned().unwrap_or_default()
}

fn body(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(output) => output.to_string(),
        Outcome::Reprompt(fault) | Outcome::Failure(fault) => fault.to_value().to_string(),
    }
}

fn wrap(echo: &Map<String, Value>, response: Value) -> Value {
    json!({
        "messageVersion": "1.0",
        "response": response,
        "sessionAttributes": part(echo, "sessionAttributes"),
        "promptSessionAttributes": part(echo, "promptSessionAttributes"),
    })
}

pub(crate) fn api_reply(echo: &Map<String, Value>, outcome: &Outcome) -> Value {
    let status = match outcome {
        Outcome::Done(_) => 200,
        Outcome::Reprompt(fault) | Outcome::Failure(fault) => fault.status,
    };
    let response = json!({
        "actionGroup": part(echo, "actionGroup"),
        "apiPath": part(echo, "apiPath"),
        "httpMethod": part(echo, "httpMethod"),
        "httpStatusCode": status,
        "responseBody": { "application/json": { "body": body(outcome) } },
    });
    wrap(echo, response)
}

pub(crate) fn function_reply(echo: &Map<String, Value>, outcome: &Outcome) -> Value {
    let mut function_response = json!({ "responseBody": { "TEXT": { "body": body(outcome) } } });
    match outcome {
        Outcome::Done(_) => {}
        Outcome::Reprompt(_) => function_response["responseState"] = json!("REPROMPT"),
        Outcome::Failure(_) => function_response["responseState"] = json!("FAILURE"),
    }
    let response = json!({
        "actionGroup": part(echo, "actionGroup"),
        "function": part(echo, "function"),
        "functionResponse": function_response,
    });
    wrap(echo, response)
}

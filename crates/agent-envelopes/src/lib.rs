//! The wire forms in which agents call a Lambda function, told apart by shape, read into one [`Call`] and answered
//! each in its own way.
//!
//! | form | how it is recognised | what can be mended | what failed |
//! |---|---|---|---|
//! | Bedrock Agents, API schema | `messageVersion` and `apiPath` | HTTP status 4xx in the reply | 5xx in the reply |
//! | Bedrock Agents, function schema | `messageVersion` and `function` | `responseState: REPROMPT` | `responseState: FAILURE` |
//! | AgentCore Gateway, Lambda target | `bedrockAgentCoreToolName` in the client context | an `error` object | the function's own error |
//! | Converse tool use | `toolUse` | `status: error` in a `toolResult` | the same, with `retry` |
//!
//! MCP is HTTP; its crate is `rmcp`. The [`schema`] module describes tools to all five, and
//! [`tool_loop`] runs Converse with tools.
//!
//! ```
//! use agent_envelopes::{Outcome, recognise};
//! use serde_json::json;
//!
//! let event = json!({
//!     "messageVersion": "1.0", "actionGroup": "weather", "function": "forecast", "sessionId": "s1",
//!     "agent": {"name": "helper", "id": "A1", "alias": "live", "version": "3"},
//!     "parameters": [{"name": "days", "type": "integer", "value": "3"}],
//! });
//! let call = recognise(&event, &Default::default()).unwrap();
//! assert_eq!(call.tool, "forecast");
//! let schema = json!({"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]});
//! let arguments = call.arguments(&schema).unwrap();
//! assert_eq!(arguments["days"], 3);
//! let reply = call.reply(&Outcome::Done(json!({"sky": "clear"}))).unwrap();
//! assert_eq!(reply["response"]["functionResponse"]["responseBody"]["TEXT"]["body"], r#"{"sky":"clear"}"#);
//! ```

#![warn(missing_docs)]

mod arguments;
mod bedrock_agent;
mod gateway;
mod loose;
pub mod schema;
pub mod tool_loop;
mod tool_use;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use arguments::{ArgumentError, fit};
pub use gateway::TOOL_NAME;

/// The largest reply that Bedrock Agents take from a function, in bytes of JSON.
/// Source: Amazon Bedrock User Guide, "Configure Lambda functions to send information…", 25 KB.
pub const REPLY_BYTES: usize = 25_000;

/// Which of the wire forms a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bedrock Agents, an action group described by OpenAPI.
    ApiSchema,
    /// Bedrock Agents, an action group described by function details.
    FunctionSchema,
    /// AgentCore Gateway, a Lambda target.
    Gateway,
    /// A `toolUse` block of Converse, handed over as it is.
    ToolUse,
}

impl Form {
    /// The form's name in logs and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiSchema => "bedrock-agents-api",
            Self::FunctionSchema => "bedrock-agents-function",
            Self::Gateway => "agentcore-gateway",
            Self::ToolUse => "converse",
        }
    }
}

/// A call of a tool, whatever form it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The form, and with it the way to answer.
    pub form: Form,
    /// The tool's bare name, without the path or the target before it.
    pub tool: String,
    /// The session that the caller is in; `None` where the form has none.
    pub session: Option<String>,
    /// Which agent, gateway or program calls, for records.
    pub agent: Option<String>,
    /// What the application that invoked the agent says of the session. A model can neither read nor write these; the
    /// application can. Empty where the form has none.
    pub session_attributes: Map<String, Value>,
    given: Result<Map<String, Value>, ArgumentError>,
    echo: Map<String, Value>,
}

/// An event that is none of the forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is no call of a tool: {detail}")]
pub struct Unrecognised {
    /// What is missing.
    pub detail: String,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The tool's output.
    Done(Value),
    /// The model, or whoever it asks, can mend the call and try again.
    Reprompt(Fault),
    /// Something that the tool depends on failed; another wording will not help.
    Failure(Fault),
}

/// What went wrong, for the model and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The machine-readable name.
    pub name: String,
    /// What to do, in words for a model.
    pub message: String,
    /// The HTTP status that says the same.
    pub status: u16,
    /// Whether the same call may succeed later.
    pub retry: bool,
}

impl Fault {
    /// The fault as JSON: `{"error": {"name", "message", "retry"}}`.
    pub fn to_value(&self) -> Value {
        json!({ "error": { "name": self.name, "message": self.message, "retry": self.retry } })
    }

    /// The user was asked before `tool` ran, and did not agree.
    pub fn not_agreed(tool: &str) -> Self {
        Self {
            name: "NotAgreed".to_owned(),
            message: format!("the user did not agree to {tool}; ask what they want instead"),
            status: 403,
            retry: false,
        }
    }
}

/// The function itself must fail: this form has no other way to tell of a broken dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct FunctionError {
    /// `errorType` of the function's error.
    pub name: String,
    /// `errorMessage` of the function's error.
    pub message: String,
}

/// Reads an event in any of the forms. `context` is the `custom` part of the invocation's client context.
///
/// # Errors
/// [`Unrecognised`] for an event that is none of them.
pub fn recognise(event: &Value, context: &BTreeMap<String, String>) -> Result<Call, Unrecognised> {
    if let Some(tool) = context.get(TOOL_NAME) {
        return gateway::read(tool, event, context);
    }
    if event.get("toolUse").is_some() {
        return tool_use::read(event);
    }
    if event.get("messageVersion").is_some() {
        return bedrock_agent::read(event);
    }
    let detail = "it has neither messageVersion nor toolUse, and its client context names no tool";
    Err(Unrecognised {
        detail: detail.to_owned(),
    })
}

impl Call {
    /// The arguments as they came, for whoever hands the call on; null where they could not be read.
    pub fn given(&self) -> Value {
        self.given
            .as_ref()
            .map_or(Value::Null, |given| Value::Object(given.clone()))
    }

    /// The arguments as `schema` types them: see [`fit`].
    ///
    /// # Errors
    /// [`ArgumentError`], naming the argument and what to send instead.
    pub fn arguments(&self, schema: &Value) -> Result<Map<String, Value>, ArgumentError> {
        fit(self.given.as_ref().map_err(Clone::clone)?, schema)
    }

    /// A text attribute of the session; `None` where there is none or it is empty.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.session_attributes
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The reply in the call's own form.
    ///
    /// # Errors
    /// [`FunctionError`] where the function itself must fail.
    pub fn reply(&self, outcome: &Outcome) -> Result<Value, FunctionError> {
        match self.form {
            Form::ApiSchema => Ok(bedrock_agent::api_reply(&self.echo, outcome)),
            Form::FunctionSchema => Ok(bedrock_agent::function_reply(&self.echo, outcome)),
            Form::Gateway => gateway::reply(outcome),
            Form::ToolUse => Ok(tool_use::reply(&self.echo, outcome)),
        }
    }

    /// How many bytes the reply would have with this output.
    pub fn reply_bytes(&self, output: &Value) -> usize {
        self.reply(&Outcome::Done(output.clone()))
            .map_or(0, |reply| reply.to_string().len())
    }
}

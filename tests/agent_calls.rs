//! A call of an action in each wire form, and what comes back, read as that form has it.

use local::lambda::{Host, Invocation};
use serde_json::{Value, json};

use crate::instance::Instance;

/// The forms in which agents call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Api,
    Function,
    Gateway,
    Mcp,
    Converse,
}

pub const FORMS: [Form; 5] = [
    Form::Api,
    Form::Function,
    Form::Gateway,
    Form::Mcp,
    Form::Converse,
];

/// Who calls: what the form's trusted part says. The gateway vouches for nobody.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub user: Option<&'a str>,
    pub session: &'a str,
}

pub const LOCAL: Who<'static> = Who {
    user: Some("local"),
    session: "session-1",
};

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Done(Value),
    /// The model can mend it: the fault's name.
    Mend(String),
    /// Something that the action depends on failed: the fault's name.
    Failed(String),
}

impl Form {
    /// The event, and the client context beside it.
    pub fn event(self, action: &str, arguments: &Value, who: Who<'_>) -> (Value, Option<Value>) {
        let attributes = match who.user {
            Some(user) => json!({ "outcropUser": user }),
            None => json!({}),
        };
        let agent = json!({
            "messageVersion": "1.0",
            "agent": {"name": "outcrop", "id": "AGENT00001", "alias": "TSTALIASID", "version": "DRAFT"},
            "sessionId": who.session,
            "inputText": "(what the user said)",
            "actionGroup": "group",
            "sessionAttributes": attributes,
            "promptSessionAttributes": {"language": "en"},
        });
        let mut event = match self {
            Self::Api | Self::Function => agent,
            Self::Gateway => arguments.clone(),
            Self::Mcp => proxy(action, arguments, who),
            Self::Converse => json!({
                "toolUse": {"toolUseId": "tooluse_1", "name": action, "input": arguments},
                "sessionId": who.session,
                "agent": "test",
                "sessionAttributes": attributes,
            }),
        };
        match self {
            Self::Api => {
                event["apiPath"] = json!(format!("/{action}"));
                event["httpMethod"] = json!("POST");
                event["parameters"] = json!([]);
                let properties = parameters(arguments);
                event["requestBody"] =
                    json!({"content": {"application/json": {"properties": properties}}});
            }
            Self::Function => {
                event["function"] = json!(action);
                event["parameters"] = parameters(arguments);
            }
            _ => {}
        }
        let context = (self == Self::Gateway).then(|| {
            json!({"custom": {
                "bedrockAgentCoreToolName": format!("outcrop___{action}"),
                "bedrockAgentCoreGatewayId": "gateway-1",
                "bedrockAgentCoreTargetId": "TARGET0001",
                "bedrockAgentCoreMessageVersion": "1.0",
            }})
        });
        (event, context)
    }

    /// Reads the reply as the form has it; checks what every reply of the form must have.
    pub fn read(self, reply: &Value) -> Told {
        match self {
            Self::Api => {
                let response = &reply["response"];
                assert_eq!(reply["messageVersion"], "1.0");
                assert_eq!(reply["promptSessionAttributes"], json!({"language": "en"}));
                assert!(response["apiPath"].is_string() && response["httpMethod"] == "POST");
                let body = response["responseBody"]["application/json"]["body"].as_str();
                let body: Value = serde_json::from_str(body.unwrap()).unwrap();
                match response["httpStatusCode"].as_u64().unwrap() {
                    200 => Told::Done(body),
                    // A limit of ours is told to the model as a limit of a service would be.
                    429 if body["error"]["name"] == "WriteLimitReached" => Told::Mend(name(&body)),
                    400..429 => Told::Mend(name(&body)),
                    _ => Told::Failed(name(&body)),
                }
            }
            Self::Function => {
                let response = &reply["response"];
                assert_eq!(reply["messageVersion"], "1.0");
                assert_eq!(reply["promptSessionAttributes"], json!({"language": "en"}));
                let response = &response["functionResponse"];
                let body = response["responseBody"]["TEXT"]["body"].as_str().unwrap();
                let body: Value = serde_json::from_str(body).unwrap();
                match response["responseState"].as_str() {
                    None => Told::Done(body),
                    Some("REPROMPT") => Told::Mend(name(&body)),
                    state => {
                        assert_eq!(state, Some("FAILURE"));
                        Told::Failed(name(&body))
                    }
                }
            }
            Self::Gateway if reply.get("error").is_some() => Told::Mend(name(reply)),
            Self::Gateway => Told::Done(reply.clone()),
            Self::Mcp => read_mcp(reply),
            Self::Converse => {
                let result = &reply["toolResult"];
                assert_eq!(result["toolUseId"], "tooluse_1");
                let content = &result["content"][0]["json"];
                match (result["status"].as_str(), &content["error"]["retry"]) {
                    (Some("success"), _) => Told::Done(content.clone()),
                    (_, Value::Bool(true)) => Told::Failed(name(content)),
                    _ => Told::Mend(name(content)),
                }
            }
        }
    }
}

fn name(body: &Value) -> String {
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|words| words.len() > 10),
        "{body}"
    );
    body["error"]["name"].as_str().unwrap().to_owned()
}

fn read_mcp(reply: &Value) -> Told {
    assert_eq!(reply["statusCode"], 200, "{reply}");
    let body: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["jsonrpc"], "2.0");
    if let Some(error) = body.get("error") {
        // The protocol's own error has a code and words, no name.
        assert_eq!(error["code"], -32602, "{body}");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("search_knowledge")
        );
        return Told::Mend("UnknownAction".to_owned());
    }
    let result = &body["result"];
    let text = result["content"][0]["text"].as_str().unwrap();
    let content: Value = serde_json::from_str(text).unwrap();
    if result["isError"] != true {
        assert_eq!(content, result["structuredContent"]);
        return Told::Done(content);
    }
    match &content["error"]["retry"] {
        Value::Bool(true) => Told::Failed(name(&content)),
        _ => Told::Mend(name(&content)),
    }
}

/// Arguments as Bedrock Agents write them: everything is text, lists and maps in Java's notation.
fn parameters(arguments: &Value) -> Value {
    let written = arguments.as_object().unwrap().iter().map(|(name, value)| {
        let (kind, text) = match value {
            Value::String(text) => ("string", text.clone()),
            Value::Bool(flag) => ("boolean", flag.to_string()),
            Value::Number(number) => ("number", number.to_string()),
            Value::Array(_) => ("array", java(value)),
            _ => ("object", java(value)),
        };
        json!({"name": name, "type": kind, "value": text})
    });
    written.collect()
}

fn java(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(java).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", java(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// The event of API Gateway for a call through MCP.
fn proxy(action: &str, arguments: &Value, who: Who<'_>) -> Value {
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": action, "arguments": arguments},
    });
    let authorizer = match who.user {
        Some(user) => json!({ "claims": { "sub": user } }),
        None => Value::Null,
    };
    json!({
        "resource": "/mcp", "path": "/mcp", "httpMethod": "POST",
        "headers": {
            "Host": "example.execute-api.us-east-1.amazonaws.com", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream", "X-User": "admin",
        },
        "queryStringParameters": null, "pathParameters": null,
        "requestContext": {"authorizer": authorizer, "httpMethod": "POST", "path": "/mcp", "stage": "live"},
        "body": call.to_string(), "isBase64Encoded": false,
    })
}

/// Calls the real function; answers its reply as it is, or its error.
pub async fn invoke(host: &Host, event: &Value, context: Option<&Value>) -> Result<Value, Value> {
    loop {
        let payload = event.to_string().into();
        let context = context.map(Value::to_string);
        let invoked = host
            .invoke_with_context("outcrop-agent-action", payload, context)
            .await;
        return match invoked {
            Ok(Invocation::Reply(bytes)) => Ok(serde_json::from_slice(&bytes).unwrap()),
            Ok(Invocation::FunctionError(bytes)) => Err(serde_json::from_slice(&bytes).unwrap()),
            Err(error) if error.name() == "TooManyRequestsException" => continue,
            other => panic!("{other:?}"),
        };
    }
}

/// Calls an action in a form and reads what comes back.
pub async fn call(host: &Host, form: Form, action: &str, arguments: &Value, who: Who<'_>) -> Told {
    let (event, context) = form.event(action, arguments, who);
    match invoke(host, &event, context.as_ref()).await {
        Ok(reply) => form.read(&reply),
        // Only a gateway's target has no other way to say so.
        Err(error) if form == Form::Gateway => {
            Told::Failed(error["errorType"].as_str().unwrap().to_owned())
        }
        Err(error) => panic!("{form:?} {action}: {error}"),
    }
}

/// As [`call`], for a call that must be done.
pub async fn done(host: &Host, form: Form, action: &str, arguments: &Value, who: Who<'_>) -> Value {
    match call(host, form, action, arguments, who).await {
        Told::Done(output) => output,
        told => panic!("{form:?} {action} {arguments}: {told:?}"),
    }
}

/// Stores a document with readers and waits until it can be found; answers its id.
pub async fn publish(instance: &Instance, name: &str, content: &str, readers: &[&str]) -> String {
    let body = json!({"name": name, "content": content, "readers": readers});
    let reply = instance.post("/v1/documents", &body).await;
    let run = instance
        .finished(reply.body["run_id"].as_str().unwrap())
        .await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    reply.body["document_id"].as_str().unwrap().to_owned()
}

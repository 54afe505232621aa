//! Tools described to each kind of agent, from one declaration.
//!
//! A declaration's schemas are JSON Schemas of objects; each form takes a part of what JSON Schema can say, and the
//! rest is left out: the tool itself checks it.

use serde_json::{Map, Value, json};

/// Operations that one action group may have. Source: Amazon Bedrock quotas, "APIs per agent action group".
pub const GROUP_OPERATIONS: usize = 11;
/// Functions that one action group may have. Source: Amazon Bedrock quotas, "Functions per agent action group".
pub const GROUP_FUNCTIONS: usize = 5;
/// Parameters that one function may have. Source: Amazon Bedrock quotas, "Parameters per function".
pub const FUNCTION_PARAMETERS: usize = 5;

/// A tool as it is declared once.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// At most 64 of letters, digits and `_`.
    pub name: String,
    /// A name for people.
    pub title: String,
    /// When to use it, for the model.
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub input: Value,
    /// JSON Schema of the output, an object.
    pub output: Value,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Whether a user must agree to each call, where the agent can ask.
    pub confirm: bool,
}

/// A file for each action group: its name, `<group>` or `<group>-2` and on, and what stands in it.
pub type Groups = Vec<(String, Value)>;

/// Splits tools into action groups of at most `most` each.
fn groups(group: &str, tools: &[Tool], most: usize, write: impl Fn(&[Tool]) -> Value) -> Groups {
    let name = |number: usize| match number {
        0 => group.to_owned(),
        more => format!("{group}-{}", more + 1),
    };
    let chunks = tools.chunks(most).enumerate();
    chunks
        .map(|(number, chunk)| (name(number), write(chunk)))
        .collect()
}

/// OpenAPI 3.0 descriptions for Bedrock Agents, of at most [`GROUP_OPERATIONS`] operations each.
pub fn openapi(group: &str, version: &str, tools: &[Tool]) -> Groups {
    groups(group, tools, GROUP_OPERATIONS, |tools| {
        let paths: Map<String, Value> = tools
            .iter()
            .map(|tool| {
                (
                    format!("/{}", tool.name),
                    json!({ "post": operation(tool) }),
                )
            })
            .collect();
        json!({
            "openapi": "3.0.0",
            "info": { "title": group, "version": version, "description": format!("What the {group} agent can do.") },
            "paths": paths,
        })
    })
}

fn operation(tool: &Tool) -> Value {
    let body = json!({ "application/json": { "schema": pruned(&tool.input, OPENAPI) } });
    let mut operation = json!({
        "operationId": tool.name,
        "summary": tool.title,
        "description": tool.description,
        "requestBody": { "required": true, "content": body },
        "responses": {
            "200": {
                "description": format!("What {} answers.", tool.name),
                "content": { "application/json": { "schema": pruned(&tool.output, OPENAPI) } },
            }
        },
    });
    if tool.confirm {
        operation["x-requireConfirmation"] = json!("ENABLED");
    }
    operation
}

/// Function details for Bedrock Agents, of at most [`GROUP_FUNCTIONS`] functions each: the `functionSchema` of
/// CreateAgentActionGroup.
pub fn functions(group: &str, tools: &[Tool]) -> Groups {
    groups(group, tools, GROUP_FUNCTIONS, |tools| {
        let functions: Vec<Value> = tools.iter().map(function).collect();
        json!({ "functions": functions })
    })
}

fn function(tool: &Tool) -> Value {
    let required: Vec<&str> = required(&tool.input).collect();
    let parameters: Map<String, Value> = properties(&tool.input)
        .map(|(name, schema)| {
            let parameter = json!({
                "description": told(schema),
                "type": function_type(schema),
                "required": required.contains(&name.as_str()),
            });
            (name.clone(), parameter)
        })
        .collect();
    json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "requireConfirmation": if tool.confirm { "ENABLED" } else { "DISABLED" },
    })
}

/// Functions know no objects: those come as the text of their JSON.
fn function_type(schema: &Value) -> &str {
    match schema["type"].as_str() {
        Some("object") | None => "string",
        Some(kind) => kind,
    }
}

/// A property's description with what the form cannot say otherwise.
fn told(schema: &Value) -> String {
    let mut words = schema["description"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        words.push_str(&format!(" One of: {}.", allowed.join(", ")));
    }
    if schema["type"] == "object" {
        words.push_str(" Give the JSON of an object as text.");
    }
    words
}

/// The tool schema of an AgentCore Gateway's Lambda target: `inlinePayload`, or the file in S3.
pub fn gateway(tools: &[Tool]) -> Value {
    let tools: Vec<Value> = tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "inputSchema": told_throughout(pruned(&tool.input, GATEWAY), &tool.input),
                "outputSchema": pruned(&tool.output, GATEWAY),
            })
        })
        .collect();
    Value::Array(tools)
}

/// The `tools` of MCP's `tools/list`. The annotations are hints from which clients decide whether to ask their user.
pub fn mcp(tools: &[Tool]) -> Value {
    let tools: Vec<Value> = tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "inputSchema": tool.input,
                "outputSchema": tool.output,
                "annotations": {
                    "title": tool.title,
                    "readOnlyHint": tool.read_only,
                    "destructiveHint": false,
                    "idempotentHint": true,
                    "openWorldHint": false,
                },
            })
        })
        .collect();
    Value::Array(tools)
}

/// The `toolConfig` of Converse. `strict` makes a model that can keep to the schema; such schemas say nothing of
/// bounds, allow no other properties, and cannot hold an object of any shape, which comes as the text of its JSON.
pub fn converse(tools: &[Tool]) -> Value {
    let tools: Vec<Value> = tools
        .iter()
        .map(|tool| {
            let specification = json!({
                "name": tool.name,
                "description": tool.description,
                "inputSchema": { "json": strict(&tool.input) },
                "strict": true,
            });
            json!({ "toolSpec": specification })
        })
        .collect();
    json!({ "tools": tools })
}

fn strict(input: &Value) -> Value {
    let properties: Map<String, Value> = properties(input)
        .map(|(name, schema)| {
            let mut kept = pruned(schema, STRICT);
            if schema["type"] == "object" {
                kept = json!({ "type": "string", "description": told(schema) });
            }
            (name.clone(), kept)
        })
        .collect();
    let required: Vec<&str> = required(input).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

const OPENAPI: &[&str] = &[
    "type",
    "properties",
    "required",
    "items",
    "description",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
];
/// Source: AgentCore Control API Reference, SchemaDefinition.
const GATEWAY: &[&str] = &["type", "properties", "required", "items", "description"];
const STRICT: &[&str] = &[
    "type",
    "properties",
    "required",
    "items",
    "description",
    "enum",
];

/// The schema with the named keywords only, all the way down.
fn pruned(schema: &Value, keywords: &[&str]) -> Value {
    let Some(fields) = schema.as_object() else {
        return schema.clone();
    };
    let kept = fields
        .iter()
        .filter(|(word, _)| keywords.contains(&word.as_str()));
    let kept = kept.map(|(word, value)| {
        let value = match (word.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter();
                let properties =
                    properties.map(|(name, schema)| (name.clone(), pruned(schema, keywords)));
                Value::Object(properties.collect())
            }
            ("items", items) => pruned(items, keywords),
            _ => value.clone(),
        };
        (word.clone(), value)
    });
    Value::Object(kept.collect())
}

/// Puts into the descriptions of `schema` what its form left out of `whole`.
fn told_throughout(mut schema: Value, whole: &Value) -> Value {
    for (name, property) in properties(whole) {
        schema["properties"][name]["description"] = json!(told_as_object(property));
    }
    schema
}

/// As [`told`], for a form that knows objects.
fn told_as_object(schema: &Value) -> String {
    let mut known = schema.clone();
    if schema["type"] == "object" {
        known["type"] = Value::Null;
    }
    told(&known)
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let required = schema["required"].as_array().into_iter().flatten();
    required.filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(number: usize) -> Tool {
        Tool {
            name: format!("tool_{number}"),
            title: "Tool".into(),
            description: "Does.".into(),
            input: json!({
                "type": "object",
                "properties": {
                    "mode": {"type": "string", "enum": ["a", "b"], "description": "How."},
                    "count": {"type": "integer", "minimum": 1, "description": "How many."},
                    "filter": {"type": "object", "description": "Which."},
                    "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "description": "Words."},
                },
                "required": ["mode"],
                "additionalProperties": false,
            }),
            output: json!({"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"]}),
            read_only: number.is_multiple_of(2),
            confirm: !number.is_multiple_of(2),
        }
    }

    #[test]
    fn groups_are_split_where_they_would_be_too_large() {
        let check = |count: usize, functions_in: &[usize], operations_in: &[usize]| {
            let tools: Vec<Tool> = (0..count).map(tool).collect();
            let written: Vec<usize> = functions("g", &tools)
                .iter()
                .map(|(_, group)| group["functions"].as_array().unwrap().len())
                .collect();
            assert_eq!(written, functions_in);
            let written: Vec<usize> = openapi("g", "1", &tools)
                .iter()
                .map(|(_, group)| group["paths"].as_object().unwrap().len())
                .collect();
            assert_eq!(written, operations_in);
        };
        check(0, &[], &[]);
        check(5, &[5], &[5]);
        check(6, &[5, 1], &[6]);
        check(11, &[5, 5, 1], &[11]);
        check(12, &[5, 5, 2], &[11, 1]);
        let names = functions("g", &(0..12).map(tool).collect::<Vec<_>>());
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["g", "g-2", "g-3"]);
    }

    #[test]
    fn each_form_says_what_it_can() {
        let tools = [tool(1)];
        insta::assert_json_snapshot!(json!({
            "openapi": openapi("g", "1", &tools),
            "functions": functions("g", &tools),
            "gateway": gateway(&tools),
            "mcp": mcp(&tools),
            "converse": converse(&tools),
        }));
    }
}

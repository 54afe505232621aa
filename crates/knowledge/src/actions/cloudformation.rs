//! The agents and the gateway's target as properties of CloudFormation's resources, written from `infra/agent/agents.json`, the
//! instructions and the actions' schemas. `infra/agents.yaml` and `infra/gateway.yaml` include them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::schema;

/// A file under `infra/agent/` that is missing or has another form than is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("infra/agent/{file}: {problem}")]
pub struct Unusable {
    pub file: String,
    pub problem: String,
}

/// The generated files of `infra/agent/cloudformation/`: name to content. `read` gives the files that people write.
///
/// # Errors
/// [`Unusable`].
pub fn files(read: impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, String>, Unusable> {
    let folder = Folder {
        read: &read,
        schemas: schema::files(),
    };
    let agents = folder.json("agents.json")?;
    let mut files = BTreeMap::new();
    let mut put = |name: String, value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        files.insert(format!("cloudformation/{name}"), text + "\n");
    };
    let mut all = Sha256::new();
    for agent in folder.list("agents.json", &agents, "agents")? {
        let properties = folder.agent(agent)?;
        all.update(properties.to_string());
        put(format!("{}.json", text(agent, "agentName")), &properties);
    }
    // Part of the aliases' description: a new one makes a version of the agents as they are then.
    let version: String = all
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let said = format!(
        "Agents {version}, ${{Model}}, guardrail ${{GuardrailVersion}}, ${{KnowledgeBaseId}}"
    );
    put(
        "alias.json".into(),
        &json!({ "Description": { "Fn::Sub": said } }),
    );
    let tools = capitalized_tools(&folder.json("gateway-tools.json")?);
    put(
        "gateway-target.json".into(),
        &json!({ "InlinePayload": tools }),
    );
    Ok(files)
}

struct Folder<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    schemas: BTreeMap<String, String>,
}

impl Folder<'_> {
    fn text(&self, name: &str) -> Result<String, Unusable> {
        let generated = self.schemas.get(name).cloned();
        generated.or_else(|| (self.read)(name)).ok_or(Unusable {
            file: name.to_owned(),
            problem: "is missing".to_owned(),
        })
    }

    fn json(&self, name: &str) -> Result<Value, Unusable> {
        serde_json::from_str(&self.text(name)?).map_err(|error| Unusable {
            file: name.to_owned(),
            problem: format!("is not JSON: {error}"),
        })
    }

    fn list<'v>(
        &self,
        file: &str,
        value: &'v Value,
        field: &str,
    ) -> Result<&'v Vec<Value>, Unusable> {
        value[field].as_array().ok_or_else(|| Unusable {
            file: file.to_owned(),
            problem: format!("{field} is no list"),
        })
    }

    fn agent(&self, agent: &Value) -> Result<Value, Unusable> {
        let instruction = self.text(text(agent, "instruction"))?;
        let mut groups = Vec::new();
        for group in self.list("agents.json", agent, "actionGroups")? {
            groups.extend(self.action_groups(group)?);
        }
        let collaborators = self.list("agents.json", agent, "collaborators")?;
        let collaborators: Vec<Value> = collaborators.iter().map(collaborator).collect();
        let mut properties = json!({
            "Description": agent["description"],
            "Instruction": instruction.trim_end(),
            "AgentCollaboration": agent["agentCollaboration"],
        });
        if !groups.is_empty() {
            properties["ActionGroups"] = Value::Array(groups);
        }
        if !collaborators.is_empty() {
            properties["AgentCollaborators"] = Value::Array(collaborators);
        }
        Ok(properties)
    }

    /// One for an API schema, one for each list of functions: a group takes no more of them.
    fn action_groups(&self, group: &Value) -> Result<Vec<Value>, Unusable> {
        let name = text(group, "actionGroupName");
        let written = |name: String, kind: &str, schema: Value| {
            json!({
                "ActionGroupName": name,
                "Description": group["description"],
                "ActionGroupState": "ENABLED",
                "ActionGroupExecutor": { "Lambda": { "Ref": "AgentActionFunctionArn" } },
                kind: schema,
            })
        };
        if text(group, "deployedWith") == "apiSchema" {
            let schema = self.json(text(group, "apiSchema"))?.to_string();
            return Ok(vec![written(
                name.to_owned(),
                "ApiSchema",
                json!({ "Payload": schema }),
            )]);
        }
        let mut groups = Vec::new();
        for (number, file) in self
            .list("agents.json", group, "functionSchemas")?
            .iter()
            .enumerate()
        {
            let details = self.json(file.as_str().unwrap_or_default())?;
            let functions: Vec<Value> = self
                .list("function-schema", &details, "functions")?
                .iter()
                .map(capitalized_function)
                .collect();
            let name = if number == 0 {
                name.to_owned()
            } else {
                format!("{name}-{}", number + 1)
            };
            groups.push(written(
                name,
                "FunctionSchema",
                json!({ "Functions": functions }),
            ));
        }
        Ok(groups)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The alias has the logical id of the collaborator's name: `knowledge` is `KnowledgeAlias`.
fn collaborator(one: &Value) -> Value {
    let name = text(one, "collaboratorName");
    let (first, rest) = name.split_at(name.len().min(1));
    let alias = format!("{}{rest}Alias", first.to_uppercase());
    json!({
        "CollaboratorName": name,
        "CollaborationInstruction": one["collaborationInstruction"],
        "RelayConversationHistory": one["relayConversationHistory"],
        "AgentDescriptor": { "AliasArn": { "Fn::GetAtt": [alias, "AgentAliasArn"] } },
    })
}

fn capitalized_function(function: &Value) -> Value {
    let parameters = function["parameters"].as_object().into_iter().flatten();
    let parameters: Map<String, Value> = parameters
        .map(|(name, parameter)| (name.clone(), capitalized(parameter)))
        .collect();
    json!({
        "Name": function["name"],
        "Description": function["description"],
        "Parameters": parameters,
        "RequireConfirmation": function["requireConfirmation"],
    })
}

fn capitalized_tools(tools: &Value) -> Vec<Value> {
    let tools = tools.as_array().into_iter().flatten();
    tools
        .map(|tool| {
            json!({
                "Name": tool["name"],
                "Description": tool["description"],
                "InputSchema": capitalized(&tool["inputSchema"]),
                "OutputSchema": capitalized(&tool["outputSchema"]),
            })
        })
        .collect()
}

/// CloudFormation begins the words of a schema with capitals; names of properties stay as they are.
fn capitalized(schema: &Value) -> Value {
    let fields = schema.as_object().into_iter().flatten();
    let fields = fields.map(|(word, value)| match (word.as_str(), value) {
        ("properties", Value::Object(properties)) => {
            let properties = properties.iter();
            let properties = properties.map(|(name, schema)| (name.clone(), capitalized(schema)));
            ("Properties".to_owned(), Value::Object(properties.collect()))
        }
        ("items", items) => ("Items".to_owned(), capitalized(items)),
        (word, value) => {
            let (first, rest) = word.split_at(word.len().min(1));
            (first.to_uppercase() + rest, value.clone())
        }
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(group: Value) -> String {
        let agent = json!({
            "agentName": "a", "description": "d", "instruction": "i.txt", "agentCollaboration": "DISABLED",
            "actionGroups": [group], "collaborators": [],
        });
        json!({ "agents": [agent] }).to_string()
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |read: &dyn Fn(&str) -> Option<String>, file: &str, problem: &str| {
            let error = files(read).unwrap_err();
            assert_eq!(error.file, file);
            assert!(error.problem.contains(problem), "{error}");
        };
        let group =
            json!({"actionGroupName": "g", "deployedWith": "apiSchema", "apiSchema": "none.json"});
        let words = agents(group);
        check(&|_| None, "agents.json", "is missing");
        check(&|_| Some("[".into()), "agents.json", "is not JSON");
        check(&|_| Some("{}".into()), "agents.json", "agents is no list");
        let with = |name: &str| (name == "agents.json").then(|| words.clone());
        check(&with, "i.txt", "is missing");
        let with = |name: &str| match name {
            "agents.json" => Some(words.clone()),
            "i.txt" => Some("Do it.".into()),
            _ => None,
        };
        check(&with, "none.json", "is missing");
    }

    #[test]
    fn words_of_a_schema_begin_with_capitals_and_names_do_not() {
        let schema = json!({
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "items": {"type": "array", "items": {"type": "string", "description": "d"}}},
        });
        let expected = json!({
            "Type": "object", "Required": ["name"],
            "Properties": {"name": {"Type": "string"}, "items": {"Type": "array", "Items": {"Type": "string", "Description": "d"}}},
        });
        assert_eq!(capitalized(&schema), expected);
    }
}

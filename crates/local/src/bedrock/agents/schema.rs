//! What an action group can do, read from its schema: the functions of a `functionSchema`, or the operations of an
//! OpenAPI document (`openapi`). What cannot be called as it stands is refused when the group is made.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::wire::WireError;
use super::rules;

/// Most functions of a function action group. Source: Amazon Bedrock quotas.
const MAX_FUNCTIONS: usize = 5;

/// One thing that an action group can do.
#[derive(Clone, Debug)]
pub(in crate::bedrock) struct Operation {
    pub(in crate::bedrock) kind: OperationKind,
    /// The name for the model, before it is made to fit a tool's name.
    pub(in crate::bedrock) name: String,
    pub(in crate::bedrock) description: String,
    pub(in crate::bedrock) parameters: Vec<Parameter>,
    /// The user is asked before it is done.
    pub(in crate::bedrock) confirm: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bedrock) enum OperationKind {
    Function,
    Api {
        path: String,
        verb: String,
        /// Of the request body, if there is one.
        content_type: Option<String>,
    },
}

/// One parameter; `in_body`: a property of the request body.
#[derive(Clone, Debug)]
pub(in crate::bedrock) struct Parameter {
    pub(in crate::bedrock) name: String,
    pub(in crate::bedrock) r#type: String,
    pub(in crate::bedrock) required: bool,
    pub(in crate::bedrock) in_body: bool,
    pub(in crate::bedrock) schema: Value,
}

/// `functionSchema` as the service model has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bedrock) struct FunctionSchema {
    functions: Vec<Function>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Function {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, ParameterDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    require_confirmation: Option<Confirmation>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterDetail {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    r#type: ParameterType,
    #[serde(default)]
    required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Confirmation {
    Enabled,
    Disabled,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ParameterType {
    String,
    Number,
    Integer,
    Boolean,
    Array,
}

impl FunctionSchema {
    /// The functions as operations.
    pub(in crate::bedrock) fn operations(&self) -> Result<Vec<Operation>, WireError> {
        if self.functions.is_empty() || self.functions.len() > MAX_FUNCTIONS {
            return Err(WireError::validation(format!(
                "functionSchema.functions has {} functions; an action group has 1 to {MAX_FUNCTIONS}.",
                self.functions.len()
            )));
        }
        self.functions.iter().map(Function::operation).collect()
    }
}

impl Function {
    fn operation(&self) -> Result<Operation, WireError> {
        rules::name("functionSchema.functions.name", &self.name)?;
        rules::length("description", self.description.as_deref(), 1, 1200)?;
        let parameter = |(name, detail): (&String, &ParameterDetail)| {
            let r#type = json!(detail.r#type);
            let mut schema = json!({ "type": r#type });
            if let Some(description) = &detail.description {
                schema["description"] = json!(description);
            }
            Parameter {
                name: name.clone(),
                r#type: r#type.as_str().unwrap_or("string").to_owned(),
                required: detail.required,
                in_body: false,
                schema,
            }
        };
        Ok(Operation {
            kind: OperationKind::Function,
            name: self.name.clone(),
            description: self.description.clone().unwrap_or_default(),
            parameters: self.parameters.iter().map(parameter).collect(),
            confirm: self.require_confirmation == Some(Confirmation::Enabled),
        })
    }
}

impl Operation {
    /// The JSON Schema of a tool's input.
    pub(in crate::bedrock) fn input_schema(&self) -> Value {
        let mut properties = Map::new();
        for parameter in &self.parameters {
            properties.insert(parameter.name.clone(), parameter.schema.clone());
        }
        let required: Vec<&str> = self
            .parameters
            .iter()
            .filter(|parameter| parameter.required)
            .map(|parameter| parameter.name.as_str())
            .collect();
        json!({"type": "object", "properties": properties, "required": required})
    }
}

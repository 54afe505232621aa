//! The actions' schemas, and the files under `infra/agent/` that describe them to each kind of agent.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use agent_envelopes::schema::{self as forms, Tool};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{ALL, Declared, Group, Tier};

/// The JSON Schema of an action's arguments, made once.
pub(super) fn input(action: &Declared) -> &'static Value {
    static INPUTS: OnceLock<BTreeMap<&'static str, Value>> = OnceLock::new();
    static NONE: Value = Value::Null;
    let inputs = INPUTS.get_or_init(|| {
        let inputs = ALL.iter().map(|action| (action.name, (action.schemas)().0));
        inputs.collect()
    });
    inputs.get(action.name).unwrap_or(&NONE)
}

pub(super) fn of_input<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    plain(
        settings
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<T>(),
    )
}

pub(super) fn of_output<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    plain(
        settings
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<T>(),
    )
}

/// The part of JSON Schema that every form can be written from.
fn plain(schema: schemars::Schema) -> Value {
    let mut schema = simplified(schema.to_value());
    if let Some(fields) = schema.as_object_mut() {
        // The type's own description: the tool has one.
        fields.shift_remove("description");
    }
    schema
}

/// Without `null` beside a type: what may be left out is not required. Without what only programmers read.
fn simplified(schema: Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema;
    };
    let mut kept = Map::new();
    for (word, value) in fields {
        match (word.as_str(), value) {
            ("$schema" | "title" | "format" | "default", _) => {}
            ("anyOf", Value::Array(choices)) => {
                let some = choices.into_iter().find(|choice| choice["type"] != "null");
                if let Some(Value::Object(some)) = some.map(simplified) {
                    for (word, value) in some {
                        kept.entry(word).or_insert(value);
                    }
                }
            }
            ("type", Value::Array(kinds)) => {
                let kind = kinds.into_iter().find(|kind| kind != "null");
                kept.insert(word, kind.unwrap_or_default());
            }
            ("enum", Value::Array(allowed)) => {
                let allowed = allowed.into_iter().filter(|value| !value.is_null());
                kept.insert(word, allowed.collect());
            }
            ("properties", Value::Object(properties)) => {
                let properties = properties.into_iter();
                let properties = properties.map(|(name, schema)| (name, simplified(schema)));
                kept.insert(word, Value::Object(properties.collect()));
            }
            ("items", items) => {
                kept.insert(word, simplified(items));
            }
            ("description", Value::String(words)) => {
                kept.insert(word, Value::String(words.replace('\n', " ")));
            }
            (_, value) => {
                kept.insert(word, value);
            }
        }
    }
    Value::Object(kept)
}

fn tool(action: &Declared) -> Tool {
    let (input, output) = (action.schemas)();
    Tool {
        name: action.name.to_owned(),
        title: action.title.to_owned(),
        description: action.description.to_owned(),
        input,
        output,
        read_only: action.tier == Tier::Read,
        confirm: action.tier == Tier::Confirm,
    }
}

/// Every action as a tool, in the registry's order.
pub fn tools() -> Vec<Tool> {
    ALL.iter().map(tool).collect()
}

fn tools_of(group: Group) -> Vec<Tool> {
    let actions = ALL.iter().filter(|action| action.group == group);
    actions.map(tool).collect()
}

/// The generated files of `infra/agent/`: name to content.
pub fn files() -> BTreeMap<String, String> {
    let version = env!("CARGO_PKG_VERSION");
    let mut files = BTreeMap::new();
    let mut put = |name: String, value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        files.insert(name, text + "\n");
    };
    for group in Group::ALL {
        let tools = tools_of(group);
        for (name, description) in forms::openapi(group.name(), version, &tools) {
            put(format!("api-schema/{name}.json"), &description);
        }
        for (name, details) in forms::functions(group.name(), &tools) {
            put(format!("function-schema/{name}.json"), &details);
        }
    }
    put("gateway-tools.json".into(), &forms::gateway(&tools()));
    put("mcp-tools.json".into(), &forms::mcp(&tools()));
    put("converse-tools.json".into(), &forms::converse(&tools()));
    files
}

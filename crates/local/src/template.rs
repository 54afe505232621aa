//! `template.yaml` itself is the laptop's configuration: functions, table, bucket, state machine, what starts them by
//! itself, and what refers to what.
//!
//! Resource types that the laptop does not run (permissions, alarms, …) are listed as skipped. A reference that cannot be
//! resolved, or an intrinsic function that is not known here, is an error by name.

mod conditions;
mod entries;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

pub(crate) use entries::queue_arn;
pub use entries::{MappingResource, QueueResource, Redrive, RuleResource, Target, When};

/// The account, region and stack of the laptop.
pub const ACCOUNT: &str = "000000000000";
pub const REGION: &str = "us-east-1";
pub const STACK: &str = "outcrop";
/// The id of the template's guardrail on the laptop, and its version.
pub const GUARDRAIL: &str = "outcrop-default";
const GUARDRAIL_VERSION: &str = "1";

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template is not YAML: {detail}")]
    NotYaml { detail: String },
    #[error("{place}: {detail}")]
    Unresolved { place: String, detail: String },
    #[error("{place} is missing or has another form than the laptop reads")]
    Missing { place: String },
}

impl TemplateError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotYaml { .. } => "TemplateNotYaml",
            Self::Unresolved { .. } => "TemplateUnresolved",
            Self::Missing { .. } => "TemplateMissing",
        }
    }
}

/// A function of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionResource {
    pub logical_id: String,
    pub name: String,
    /// The binary of the workspace.
    pub binary: String,
    pub environment: BTreeMap<String, String>,
    pub timeout_seconds: u64,
    pub memory_mb: u32,
}

/// What the laptop runs of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub functions: Vec<FunctionResource>,
    /// CreateTable requests.
    pub tables: Vec<Value>,
    /// Table name and the attribute of its time to live.
    pub times_to_live: Vec<(String, String)>,
    pub buckets: Vec<String>,
    /// Those of them that tell EventBridge of their objects.
    pub told_buckets: Vec<String>,
    pub queues: Vec<QueueResource>,
    pub rules: Vec<RuleResource>,
    pub mappings: Vec<MappingResource>,
    /// Name and definition, substitutions made.
    pub state_machines: Vec<(String, String)>,
    /// Id and properties.
    pub guardrails: Vec<(String, Value)>,
    /// Logical ids and types that the laptop does not run.
    pub skipped: Vec<(String, String)>,
}

/// Reads a template with parameters overridden, and the state machine files that it names.
///
/// # Errors
/// [`TemplateError`].
pub fn read(
    text: &str,
    overrides: &BTreeMap<String, String>,
    file: impl Fn(&str) -> Option<String>,
) -> Result<Template, TemplateError> {
    let text = long_forms(text);
    refuse_unknown_tags(&text)?;
    let root: Value = serde_saphyr::from_str(&text).map_err(|error| TemplateError::NotYaml {
        detail: error.to_string(),
    })?;
    let root = conditions::apply(root, overrides)?;
    let resources = object(&root, "Resources")?;
    let names = Names::new(&root, resources, overrides)?;
    let globals = root
        .pointer("/Globals/Function")
        .cloned()
        .unwrap_or_default();
    let mut template = Template {
        functions: Vec::new(),
        tables: Vec::new(),
        times_to_live: Vec::new(),
        buckets: Vec::new(),
        told_buckets: Vec::new(),
        queues: Vec::new(),
        rules: Vec::new(),
        mappings: Vec::new(),
        state_machines: Vec::new(),
        guardrails: Vec::new(),
        skipped: Vec::new(),
    };
    for (id, resource) in resources {
        let kind = resource["Type"].as_str().unwrap_or_default();
        match kind {
            "AWS::Serverless::Function" => {
                template
                    .functions
                    .push(function(id, resource, &globals, &names)?);
                let mappings = entries::mappings(id, resource, &names)?;
                template.mappings.extend(mappings);
            }
            "AWS::DynamoDB::Table" => table(id, resource, &names, &mut template)?,
            "AWS::S3::Bucket" => {
                let name = names.reference(id, id)?;
                if entries::tells_events(resource) {
                    template.told_buckets.push(name.clone());
                }
                template.buckets.push(name);
            }
            "AWS::SQS::Queue" => template.queues.push(entries::queue(id, resource, &names)?),
            "AWS::Events::Rule" => template.rules.extend(entries::rule(id, resource, &names)?),
            "AWS::Serverless::StateMachine" => {
                let machine = state_machine(id, resource, &names, &file)?;
                template.state_machines.push(machine);
            }
            "AWS::Bedrock::Guardrail" => {
                let properties = included(id, &resource["Properties"], &file)?;
                let properties = names.resolve(&properties, id)?;
                template.guardrails.push((GUARDRAIL.to_owned(), properties));
            }
            // On the laptop a guardrail's first version is made with it.
            "AWS::Bedrock::GuardrailVersion" => {}
            // Its routes are read from the OpenAPI file.
            "AWS::Serverless::Api" => {}
            _ => template.skipped.push((id.clone(), kind.to_owned())),
        }
    }
    Ok(template)
}

/// `!Ref X`, `!GetAtt A.B` and `!Sub "…"` in their long forms, which YAML can read without knowing the tags.
fn long_forms(text: &str) -> String {
    static SHORT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"!(Ref|GetAtt|Sub)\s+("[^"]*"|[^\s,\]\}]+)"#).ok());
    let Some(short) = SHORT.as_ref() else {
        return text.to_owned();
    };
    let long = |found: &regex::Captures<'_>| match &found[1] {
        "Ref" => format!("{{ Ref: {} }}", &found[2]),
        other => format!("{{ \"Fn::{other}\": {} }}", &found[2]),
    };
    short.replace_all(text, long).into_owned()
}

/// A short form that is left over would be read as the plain text behind it.
fn refuse_unknown_tags(text: &str) -> Result<(), TemplateError> {
    static TAG: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[:,\-\[{]\s*(!\w+)[ \t\[{]").ok());
    for (number, line) in text.lines().enumerate() {
        let code = line.split(" #").next().unwrap_or(line);
        let found = TAG.as_ref().and_then(|tag| tag.captures(code));
        if let Some(found) = found.filter(|_| !code.trim_start().starts_with('#')) {
            return Err(TemplateError::Unresolved {
                place: format!("line {}", number + 1),
                detail: format!("{} is no function that the laptop knows", &found[1]),
            });
        }
    }
    Ok(())
}

/// The object that stands at `field`.
fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>, TemplateError> {
    value[field]
        .as_object()
        .ok_or_else(|| TemplateError::Missing {
            place: field.to_owned(),
        })
}

/// What references resolve to.
struct Names {
    values: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
}

impl Names {
    fn new(
        root: &Value,
        resources: &Map<String, Value>,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, TemplateError> {
        let mut values: BTreeMap<String, String> = [
            ("AWS::StackName", STACK),
            ("AWS::AccountId", ACCOUNT),
            ("AWS::Region", REGION),
            ("AWS::Partition", "aws"),
            ("AWS::URLSuffix", "amazonaws.com"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        for (name, parameter) in root["Parameters"].as_object().into_iter().flatten() {
            let value = overrides
                .get(name)
                .cloned()
                .or_else(|| plain(&parameter["Default"]));
            let place = format!("Parameters.{name}.Default");
            values.insert(name.clone(), value.ok_or(TemplateError::Missing { place })?);
        }
        let mut names = Self {
            values,
            kinds: BTreeMap::new(),
        };
        for (id, resource) in resources {
            let kind = resource["Type"].as_str().unwrap_or_default();
            let field = match kind {
                "AWS::Serverless::Function" => "FunctionName",
                "AWS::DynamoDB::Table" => "TableName",
                "AWS::S3::Bucket" => "BucketName",
                "AWS::SQS::Queue" => "QueueName",
                "AWS::Serverless::StateMachine" | "AWS::Events::Rule" => "Name",
                _ => "",
            };
            let given = &resource["Properties"][field];
            // CloudFormation makes a name of stack and logical id up where none is given.
            let made_up = format!("{STACK}-{}", id.to_lowercase());
            let name = if given.is_null() {
                made_up
            } else {
                names.text(given, id)?
            };
            names.values.insert(id.clone(), name);
            names.kinds.insert(id.clone(), kind.to_owned());
        }
        Ok(names)
    }

    fn reference(&self, name: &str, place: &str) -> Result<String, TemplateError> {
        self.values
            .get(name)
            .cloned()
            .ok_or_else(|| TemplateError::Unresolved {
                place: place.to_owned(),
                detail: format!("Ref {name} names nothing in this template"),
            })
    }

    fn attribute(&self, path: &str, place: &str) -> Result<String, TemplateError> {
        let unresolved = || TemplateError::Unresolved {
            place: place.to_owned(),
            detail: format!("GetAtt {path} is not known on the laptop"),
        };
        let (id, attribute) = path.split_once('.').ok_or_else(unresolved)?;
        let name = self.values.get(id).ok_or_else(unresolved)?;
        match (self.kinds.get(id).map(String::as_str), attribute) {
            (Some("AWS::Serverless::Function"), "Arn") => {
                Ok(format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"))
            }
            (Some("AWS::DynamoDB::Table"), "Arn") => {
                Ok(format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"))
            }
            (Some("AWS::S3::Bucket"), "Arn") => Ok(format!("arn:aws:s3:::{name}")),
            (Some("AWS::SQS::Queue"), "Arn") => Ok(queue_arn(name)),
            (Some("AWS::IAM::Role"), "Arn") => Ok(format!("arn:aws:iam::{ACCOUNT}:role/{name}")),
            (Some("AWS::Serverless::StateMachine"), "Arn") => Ok(format!(
                "arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
            )),
            (Some("AWS::Bedrock::Guardrail"), "GuardrailId") => Ok(GUARDRAIL.to_owned()),
            (Some("AWS::Bedrock::Guardrail"), "GuardrailArn") => Ok(format!(
                "arn:aws:bedrock:{REGION}:{ACCOUNT}:guardrail/{GUARDRAIL}"
            )),
            (Some("AWS::Bedrock::GuardrailVersion"), "Version") => Ok(GUARDRAIL_VERSION.to_owned()),
            _ => Err(unresolved()),
        }
    }

    /// A value as text, intrinsic functions resolved.
    fn text(&self, value: &Value, place: &str) -> Result<String, TemplateError> {
        if let Some(text) = plain(value) {
            return Ok(text);
        }
        let only = value
            .as_object()
            .filter(|fields| fields.len() == 1)
            .and_then(|fields| fields.iter().next());
        match only {
            Some((name, Value::String(target))) if name == "Ref" => self.reference(target, place),
            Some((name, Value::String(path))) if name == "Fn::GetAtt" => {
                self.attribute(path, place)
            }
            Some((name, Value::Array(path))) if name == "Fn::GetAtt" => {
                let parts: Vec<&str> = path.iter().filter_map(Value::as_str).collect();
                self.attribute(&parts.join("."), place)
            }
            Some((name, Value::String(pattern))) if name == "Fn::Sub" => {
                self.substitute(pattern, place)
            }
            _ => Err(TemplateError::Unresolved {
                place: place.to_owned(),
                detail: format!("{value} is no text and no function that the laptop knows"),
            }),
        }
    }

    fn substitute(&self, pattern: &str, place: &str) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                rest = after;
                break;
            };
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str(&format!("${{{literal}}}"));
            } else if name.contains('.') {
                text.push_str(&self.attribute(name, place)?);
            } else {
                text.push_str(&self.reference(name, place)?);
            }
            rest = behind;
        }
        text.push_str(rest);
        Ok(text)
    }

    /// A structure with every intrinsic function in it resolved.
    fn resolve(&self, value: &Value, place: &str) -> Result<Value, TemplateError> {
        Ok(match value {
            Value::Object(fields)
                if fields.len() == 1
                    && fields
                        .keys()
                        .all(|name| name == "Ref" || name.starts_with("Fn::")) =>
            {
                Value::String(self.text(value, place)?)
            }
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), self.resolve(value, place)?)))
                    .collect::<Result<_, TemplateError>>()?,
            ),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.resolve(item, place))
                    .collect::<Result<_, _>>()?,
            ),
            other => other.clone(),
        })
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn function(
    id: &str,
    resource: &Value,
    globals: &Value,
    names: &Names,
) -> Result<FunctionResource, TemplateError> {
    let properties = &resource["Properties"];
    let mut environment = BTreeMap::new();
    for source in [globals, properties] {
        let variables = source
            .pointer("/Environment/Variables")
            .and_then(Value::as_object);
        for (name, value) in variables.into_iter().flatten() {
            environment.insert(
                name.clone(),
                names.text(value, &format!("{id}.Environment.{name}"))?,
            );
        }
    }
    let number = |field: &str, default: u64| {
        properties[field]
            .as_u64()
            .or(globals[field].as_u64())
            .unwrap_or(default)
    };
    let binary = resource
        .pointer("/Metadata/BuildProperties/Binary")
        .and_then(Value::as_str);
    let missing = || TemplateError::Missing {
        place: format!("{id}.Metadata.BuildProperties.Binary"),
    };
    Ok(FunctionResource {
        logical_id: id.to_owned(),
        name: names.reference(id, id)?,
        binary: binary.ok_or_else(missing)?.to_owned(),
        environment,
        // Lambda's own defaults.
        timeout_seconds: number("Timeout", 3),
        memory_mb: number("MemorySize", 128) as u32,
    })
}

fn table(
    id: &str,
    resource: &Value,
    names: &Names,
    template: &mut Template,
) -> Result<(), TemplateError> {
    let properties = names.resolve(&resource["Properties"], id)?;
    let name = names.reference(id, id)?;
    let mut request = Map::new();
    request.insert("TableName".into(), Value::String(name.clone()));
    for field in [
        "AttributeDefinitions",
        "KeySchema",
        "GlobalSecondaryIndexes",
        "BillingMode",
        "VectorIndexes",
    ] {
        if !properties[field].is_null() {
            request.insert(field.into(), properties[field].clone());
        }
    }
    whole_dimensions(&mut request);
    template.tables.push(Value::Object(request));
    if let Some(attribute) = properties
        .pointer("/TimeToLiveSpecification/AttributeName")
        .and_then(Value::as_str)
    {
        template.times_to_live.push((name, attribute.to_owned()));
    }
    Ok(())
}

/// A parameter is text, DynamoDB's `Dimensions` a number; CloudFormation makes the one of the other.
fn whole_dimensions(request: &mut Map<String, Value>) {
    let indexes = request
        .get_mut("VectorIndexes")
        .and_then(Value::as_array_mut);
    for index in indexes.into_iter().flatten() {
        let number = index["Dimensions"]
            .as_str()
            .and_then(|text| text.parse::<u32>().ok());
        if let Some(number) = number {
            index["Dimensions"] = number.into();
        }
    }
}

/// Properties with the file that `Fn::Transform: AWS::Include` names among them, as CloudFormation puts it there.
fn included(
    id: &str,
    properties: &Value,
    file: &impl Fn(&str) -> Option<String>,
) -> Result<Value, TemplateError> {
    let Some(path) = properties
        .pointer("/Fn::Transform/Parameters/Location")
        .and_then(Value::as_str)
    else {
        return Ok(properties.clone());
    };
    let missing = || TemplateError::Missing {
        place: format!("{id}.Fn::Transform {path:?}"),
    };
    let text = file(path).ok_or_else(missing)?;
    let file: Map<String, Value> = serde_json::from_str(&text).map_err(|_| missing())?;
    let mut whole = properties.as_object().cloned().unwrap_or_default();
    whole.shift_remove("Fn::Transform");
    whole.extend(file);
    Ok(Value::Object(whole))
}

fn state_machine(
    id: &str,
    resource: &Value,
    names: &Names,
    file: &impl Fn(&str) -> Option<String>,
) -> Result<(String, String), TemplateError> {
    let properties = &resource["Properties"];
    let path = properties["DefinitionUri"].as_str().unwrap_or_default();
    let missing = || TemplateError::Missing {
        place: format!("{id}.DefinitionUri {path:?}"),
    };
    let mut definition = file(path).ok_or_else(missing)?;
    let substitutions = properties["DefinitionSubstitutions"].as_object();
    for (name, value) in substitutions.into_iter().flatten() {
        let value = names.text(value, &format!("{id}.DefinitionSubstitutions.{name}"))?;
        definition = definition.replace(&format!("${{{name}}}"), &value);
    }
    if let Some((_, rest)) = definition.split_once("${") {
        let name = rest.split('}').next().unwrap_or_default();
        return Err(TemplateError::Unresolved {
            place: format!("{id}.DefinitionUri {path}"),
            detail: format!("${{{name}}} has no entry in DefinitionSubstitutions"),
        });
    }
    Ok((names.reference(id, id)?, definition))
}

#[cfg(test)]
mod tests;

//! JSONata in state machines: which strings are expressions, what they may name, and their
//! evaluation. The library's values are not `Send`, so that everything here is synchronous and
//! nothing of it outlives a call.

use std::collections::{BTreeMap, BTreeSet};

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::clock::Clock;
use super::fault::Fault;

mod functions;

/// Longest evaluation, in milliseconds; an expression that takes longer is a mistake.
const MAX_EVALUATION_MS: u64 = 2_000;
/// Longest list that an expression may build on its way.
const MAX_SEQUENCE: usize = 1_000_000;
/// Deepest nesting of calls within one expression.
const MAX_CALL_DEPTH: usize = 1_000;

/// Workflow variables by name, without the dollar sign.
pub(super) type Variables = BTreeMap<String, Value>;

/// A member of `$states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    Input,
    Result,
    ErrorOutput,
    Context,
}

impl Member {
    const EVERY: [Self; 4] = [Self::Input, Self::Result, Self::ErrorOutput, Self::Context];

    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Result => "result",
            Self::ErrorOutput => "errorOutput",
            Self::Context => "context",
        }
    }
}

/// One `{% … %}`, parsed.
#[derive(Debug)]
pub(super) struct Expression {
    source: String,
    /// Where in its state it stands, such as `Arguments/Payload`, for messages.
    field: String,
    ast: AstNode,
    uses: Uses,
}

/// What an expression reads from outside, so that nothing else is converted for it.
#[derive(Debug, Default)]
struct Uses {
    variables: BTreeSet<String>,
    members: BTreeSet<Member>,
    unknown_member: Option<String>,
    eval: bool,
    root: Option<String>,
}

/// A JSON value in which any string may be an expression.
#[derive(Debug)]
pub(super) enum Template {
    Literal(Value),
    Expression(Box<Expression>),
    List(Vec<Template>),
    Object(Vec<(String, Template)>),
}

/// What the expressions of a state see.
pub(super) struct Surroundings<'a> {
    pub input: &'a Value,
    pub result: Option<&'a Value>,
    pub error_output: Option<&'a Value>,
    /// Builds `$states.context`; called only if an expression reads it.
    pub context: &'a dyn Fn() -> Value,
    pub variables: &'a Variables,
    pub clock: &'a std::sync::Arc<Clock>,
}

impl Expression {
    /// Parses the text between `{%` and `%}` and refuses what cannot work where it stands.
    pub fn parse(source: &str, field: &str, allowed: &[Member]) -> Result<Self, String> {
        let ast = parser::parse(source).map_err(|error| error.display_message())?;
        let mut uses = Uses::default();
        let tree = serde_json::to_value(&ast).map_err(|error| error.to_string())?;
        uses.root = unqualified(&ast);
        uses.collect(&tree);
        uses.check(allowed)?;
        Ok(Self {
            source: source.to_owned(),
            field: field.to_owned(),
            ast,
            uses,
        })
    }
}

/// The name that an expression reads from a context item that does not exist at its top level.
fn unqualified(ast: &AstNode) -> Option<String> {
    match ast {
        AstNode::Name(name) => Some(name.clone()),
        AstNode::Variable(name) if name.is_empty() => Some("$".to_owned()),
        AstNode::ParentVariable(_) => Some("$$".to_owned()),
        AstNode::Path { steps } => steps.first().and_then(|step| unqualified(&step.node)),
        _ => None,
    }
}

impl Uses {
    /// Walks the tree in its JSON form: a new kind of node needs no change here.
    fn collect(&mut self, node: &Value) {
        match node {
            Value::Array(nodes) => nodes.iter().for_each(|node| self.collect(node)),
            Value::Object(fields) => {
                if let Some(rest) = self.states_path(fields) {
                    rest.iter().for_each(|node| self.collect(node));
                    return;
                }
                match fields.get("Variable").and_then(Value::as_str) {
                    Some("states") => self.members.extend(Member::EVERY),
                    Some("eval") => self.eval = true,
                    Some(name) => drop(self.variables.insert(name.to_owned())),
                    None => {}
                }
                if let Some(name) = fields.get("Function").and_then(|call| call.get("name")) {
                    self.eval |= name == "eval";
                    let name = name.as_str().unwrap_or_default();
                    self.variables.insert(name.to_owned());
                }
                fields.values().for_each(|node| self.collect(node));
            }
            _ => {}
        }
    }

    /// Notes `$states.member…` and returns what is left of the path.
    fn states_path<'a>(&mut self, fields: &'a Map<String, Value>) -> Option<&'a [Value]> {
        let steps = fields.get("Path")?.get("steps")?.as_array()?;
        let variable = steps.first()?.pointer("/node/Variable")?;
        let member = steps.get(1)?.pointer("/node/Name")?.as_str()?;
        if variable != "states" {
            return None;
        }
        match Member::EVERY.iter().find(|known| known.name() == member) {
            Some(known) => drop(self.members.insert(*known)),
            None => self.unknown_member = Some(member.to_owned()),
        }
        // The first step may carry predicates of its own.
        Some(&steps[2..])
    }

    fn check(&self, allowed: &[Member]) -> Result<(), String> {
        if self.eval {
            return Err(
                "$eval is not supported in a state machine; use $parse for JSON".to_owned(),
            );
        }
        if let Some(name) = &self.root {
            return Err(format!(
                "`{name}` has no context here; start from $states.input or from a variable"
            ));
        }
        if let Some(name) = &self.unknown_member {
            return Err(format!(
                "$states has no member `{name}`; it has input, result, errorOutput and context"
            ));
        }
        let whole = self.members.len() == Member::EVERY.len();
        match self.members.iter().find(|used| !allowed.contains(used)) {
            Some(member) if !whole => Err(format!(
                "$states.{} is not available in this field",
                member.name()
            )),
            _ => Ok(()),
        }
    }
}

impl Template {
    /// The value with every expression in it replaced by what it evaluates to.
    pub fn evaluate(&self, around: &Surroundings<'_>) -> Result<Value, Fault> {
        if let Self::Literal(value) = self {
            return Ok(value.clone());
        }
        let mut uses = Uses::default();
        self.uses(&mut uses);
        let mut evaluator = evaluator(&uses, around)?;
        self.fill(&mut evaluator)
    }

    fn uses(&self, all: &mut Uses) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(expression) => {
                all.members.extend(expression.uses.members.iter());
                let names = expression.uses.variables.iter().cloned();
                all.variables.extend(names);
            }
            Self::List(parts) => parts.iter().for_each(|part| part.uses(all)),
            Self::Object(parts) => parts.iter().for_each(|(_, part)| part.uses(all)),
        }
    }

    fn fill(&self, evaluator: &mut Evaluator) -> Result<Value, Fault> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(evaluator),
            Self::List(parts) => parts.iter().map(|part| part.fill(evaluator)).collect(),
            Self::Object(parts) => {
                let mut fields = Map::new();
                for (name, part) in parts {
                    fields.insert(name.clone(), part.fill(evaluator)?);
                }
                Ok(Value::Object(fields))
            }
        }
    }
}

impl Expression {
    fn evaluate(&self, evaluator: &mut Evaluator) -> Result<Value, Fault> {
        let described = || {
            let (source, field) = (&self.source, &self.field);
            format!("The JSONata expression '{source}' specified for the field '{field}'")
        };
        let value = evaluator
            .evaluate(&self.ast, &JValue::Undefined)
            .map_err(|error| {
                let message = error.message();
                Fault::query(format!(
                    "{} threw an error during evaluation. {message}",
                    described()
                ))
            })?;
        match to_json(&value) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Fault::query(format!(
                "{} returned nothing (undefined).",
                described()
            ))),
            Err(kind) => Err(Fault::query(format!(
                "{} returned an unsupported result type. Value is {kind}, which is no JSON.",
                described()
            ))),
        }
    }
}

fn evaluator(uses: &Uses, around: &Surroundings<'_>) -> Result<Evaluator, Fault> {
    let mut context = Context::new();
    for name in &uses.variables {
        if let Some(value) = around.variables.get(name) {
            context.bind(name.clone(), from_json(value)?);
        }
    }
    context.bind("states".to_owned(), states(uses, around)?);
    let options = EvaluatorOptions {
        timeout_ms: Some(MAX_EVALUATION_MS),
        max_stack_depth: Some(MAX_CALL_DEPTH),
        max_sequence_length: Some(MAX_SEQUENCE),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(context, options);
    functions::register(&mut evaluator, around.clock)
        .map_err(|error| Fault::fatal(super::fault::RUNTIME, error.message()))?;
    Ok(evaluator)
}

/// `$states`, with the members that are read.
fn states(uses: &Uses, around: &Surroundings<'_>) -> Result<JValue, Fault> {
    let mut members = Map::new();
    for member in &uses.members {
        let value = match member {
            Member::Input => Some(around.input.clone()),
            Member::Result => around.result.cloned(),
            Member::ErrorOutput => around.error_output.cloned(),
            Member::Context => Some((around.context)()),
        };
        if let Some(value) = value {
            members.insert(member.name().to_owned(), value);
        }
    }
    from_json(&Value::Object(members))
}

fn from_json(value: &Value) -> Result<JValue, Fault> {
    JValue::deserialize(value).map_err(|error| Fault::query(error.to_string()))
}

/// The JSON of a JSONata value; nothing for undefined, and the kind of what is no JSON.
fn to_json(value: &JValue) -> Result<Option<Value>, &'static str> {
    Ok(Some(match value {
        JValue::Undefined => return Ok(None),
        JValue::Null => Value::Null,
        JValue::Bool(flag) => Value::Bool(*flag),
        JValue::String(text) => Value::String(text.to_string()),
        JValue::Number(number) => Value::Number(to_number(*number).ok_or("not a finite number")?),
        JValue::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items.iter() {
                list.push(to_json(item)?.unwrap_or(Value::Null));
            }
            Value::Array(list)
        }
        JValue::Object(fields) => {
            let mut object = Map::new();
            for (name, field) in fields.iter() {
                if let Some(field) = to_json(field)? {
                    object.insert(name.clone(), field);
                }
            }
            Value::Object(object)
        }
        JValue::Regex { .. } => return Err("a regular expression"),
        JValue::Lambda(_) | JValue::Builtin { .. } => return Err("a function"),
    }))
}

/// JSONata knows floating numbers only; a whole one is written without a fraction.
fn to_number(number: f64) -> Option<Number> {
    const WHOLE: f64 = 9_007_199_254_740_992.0; // 2^53: whole numbers are exact below it
    if number.fract() == 0.0 && number.abs() < WHOLE {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number within 2^53"
        )]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

#[cfg(test)]
mod tests;

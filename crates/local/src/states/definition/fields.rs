//! Reading the fields of one JSON object of a definition, with every objection noted under its
//! JSON pointer, so that the author sees all of them at once.

use serde_json::{Map, Value};

use super::Count;
use crate::states::expression::{Expression, Member, Template};

/// One objection to a definition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// A name for machines, as `ValidateStateMachineDefinition` uses them.
    pub code: &'static str,
    /// RFC 6901 JSON pointer of the place.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

pub(super) const SCHEMA: &str = "SCHEMA_VALIDATION_FAILED";
pub(super) const TARGET: &str = "MISSING_TRANSITION_TARGET";
pub(super) const NOT_JSON: &str = "INVALID_JSON_DESCRIPTION";

/// The objections so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, code: &'static str, pointer: &str, message: impl Into<String>) {
        self.0.push(Finding {
            code,
            pointer: pointer.to_owned(),
            message: message.into(),
        });
    }

    pub fn schema(&mut self, pointer: &str, message: impl Into<String>) {
        self.add(SCHEMA, pointer, message);
    }
}

/// A name as one step of a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// One JSON object and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub fields: &'a Map<String, Value>,
    pub at: String,
}

impl<'a> Node<'a> {
    pub fn of(value: &'a Value, at: &str, findings: &mut Findings) -> Option<Self> {
        let Value::Object(fields) = value else {
            findings.schema(at, "must be a JSON object");
            return None;
        };
        let at = at.to_owned();
        Some(Self { fields, at })
    }

    pub fn pointer(&self, key: &str) -> String {
        format!("{}/{}", self.at, escape(key))
    }

    pub fn child(&self, key: &str, findings: &mut Findings) -> Option<Self> {
        Self::of(self.fields.get(key)?, &self.pointer(key), findings)
    }

    /// The objects of a list that must not be empty.
    pub fn children(&self, key: &str, findings: &mut Findings) -> Vec<Self> {
        let at = self.pointer(key);
        match self.fields.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if !items.is_empty() => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| Self::of(item, &format!("{at}/{index}"), findings))
                .collect(),
            Some(_) => {
                findings.schema(&at, "must be a list of at least one object");
                Vec::new()
            }
        }
    }

    /// Refuses every field that is not known here; `Comment` always is.
    pub fn only(&self, what: &str, known: &[&str], findings: &mut Findings) {
        for name in self.fields.keys() {
            if name == "Comment" || known.contains(&name.as_str()) {
                continue;
            }
            let known = known.join(", ");
            findings.schema(
                &self.pointer(name),
                format!("`{name}` is not supported in {what}; supported are {known}"),
            );
        }
    }

    pub fn required(&self, key: &str, what: &str, findings: &mut Findings) {
        if !self.fields.contains_key(key) {
            findings.schema(&self.at, format!("{what} needs `{key}`"));
        }
    }

    /// Text that AWS wants as written: an expression is refused.
    pub fn literal(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let at = self.pointer(key);
        match self.fields.get(key)? {
            Value::String(text) if delimited(text) => {
                findings.schema(&at, format!("`{key}` takes no JSONata expression"));
                None
            }
            Value::String(text) => Some(text),
            _ => {
                findings.schema(&at, format!("`{key}` must be a string"));
                None
            }
        }
    }

    /// Literal text that must be one of `values`.
    pub fn one_of(&self, key: &str, values: &[&str], findings: &mut Findings) -> Option<&'a str> {
        let text = self.literal(key, findings)?;
        if values.contains(&text) {
            return Some(text);
        }
        let known = values.join(", ");
        let message = format!("`{key}` is {text}, which is not supported; supported are {known}");
        findings.schema(&self.pointer(key), message);
        None
    }

    /// A whole number that AWS wants as written.
    pub fn whole(&self, key: &str, least: u64, most: u64, findings: &mut Findings) -> Option<u64> {
        let number = self.fields.get(key)?;
        let found = number.as_u64().filter(|n| (least..=most).contains(n));
        if found.is_none() {
            findings.schema(
                &self.pointer(key),
                format!("`{key}` must be a whole number from {least} to {most}, not {number}"),
            );
        }
        found
    }

    /// A value whose strings may be expressions that read the `members` of `$states`.
    pub fn template(
        &self,
        key: &str,
        members: &[Member],
        findings: &mut Findings,
    ) -> Option<Template> {
        let value = self.fields.get(key)?;
        compile(value, key, &self.pointer(key), members, findings)
    }

    /// A number or an expression for one.
    pub fn count(
        &self,
        key: &str,
        (least, most): (u64, u64),
        members: &[Member],
        findings: &mut Findings,
    ) -> Option<Count> {
        if !self.fields.get(key)?.is_string() {
            self.whole(key, least, most, findings)?;
        }
        let template = self.expression_or_literal(key, members, findings, "a number")?;
        Some(Count {
            template,
            field: key.to_owned(),
            least,
            most,
        })
    }

    /// A template in which a string must be an expression, where `wanted` is no string.
    pub fn expression_or_literal(
        &self,
        key: &str,
        members: &[Member],
        findings: &mut Findings,
        wanted: &str,
    ) -> Option<Template> {
        match self.template(key, members, findings)? {
            Template::Literal(Value::String(_)) => {
                let message = format!("`{key}` must be {wanted} or an expression `{{% … %}}`");
                findings.schema(&self.pointer(key), message);
                None
            }
            template => Some(template),
        }
    }
}

/// Whether a string is, or was meant to be, an expression.
fn delimited(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("{%") || text.ends_with("%}")
}

/// Compiles every `{% … %}` in a value. `field` is its path within the state, for messages.
fn compile(
    value: &Value,
    field: &str,
    at: &str,
    members: &[Member],
    findings: &mut Findings,
) -> Option<Template> {
    match value {
        Value::String(text) if delimited(text) => {
            let compiled = expression(text, field, members);
            compiled
                .map_err(|message| findings.schema(at, message))
                .ok()
        }
        Value::Array(items) => {
            let parts = items.iter().enumerate().map(|(index, item)| {
                let (field, at) = (format!("{field}[{index}]"), format!("{at}/{index}"));
                compile(item, &field, &at, members, findings)
            });
            list(parts.collect())
        }
        Value::Object(fields) => {
            let parts = fields.iter().map(|(name, part)| {
                let (field, at) = (format!("{field}/{name}"), format!("{at}/{}", escape(name)));
                let part = compile(part, &field, &at, members, findings)?;
                Some((name.clone(), part))
            });
            let parts: Vec<_> = parts.collect();
            parts
                .into_iter()
                .collect::<Option<_>>()
                .map(Template::Object)
        }
        literal => Some(Template::Literal(literal.clone())),
    }
}

fn expression(text: &str, field: &str, members: &[Member]) -> Result<Template, String> {
    let inner = text
        .strip_prefix("{%")
        .and_then(|rest| rest.strip_suffix("%}"));
    let source = inner.ok_or(
        "an expression must begin with `{%` and end with `%}`, without anything around them",
    )?;
    let expression = Expression::parse(source.trim(), field, members)?;
    Ok(Template::Expression(Box::new(expression)))
}

/// All parts are compiled before the first failure is looked at, so that none goes unreported.
fn list(parts: Vec<Option<Template>>) -> Option<Template> {
    parts.into_iter().collect::<Option<_>>().map(Template::List)
}

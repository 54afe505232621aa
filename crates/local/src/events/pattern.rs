//! Event patterns, as far as the template uses them: each field has one of several values, or a text that begins so. What is
//! not known here is refused when the template loads.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    Fields(Vec<(String, Pattern)>),
    OneOf(Vec<Test>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Is(Value),
    Prefix(String),
}

impl Pattern {
    /// # Errors
    /// What is not known here, in words.
    pub(super) fn read(pattern: &Value) -> Result<Self, String> {
        match pattern {
            Value::Object(fields) if !fields.is_empty() => {
                let read = fields.iter().map(|(name, inner)| {
                    let inner = Self::read(inner).map_err(|error| format!("{name}: {error}"))?;
                    match name.starts_with('$') {
                        true => Err(format!("{name} is not known on the laptop")),
                        false => Ok((name.clone(), inner)),
                    }
                });
                Ok(Self::Fields(read.collect::<Result<_, _>>()?))
            }
            Value::Array(tests) if !tests.is_empty() => {
                let read = tests.iter().map(Test::read);
                Ok(Self::OneOf(read.collect::<Result<_, _>>()?))
            }
            other => Err(format!("{other} is neither fields nor a list of values")),
        }
    }

    pub(super) fn matches(&self, event: &Value) -> bool {
        match (self, event) {
            (Self::Fields(fields), event) => fields
                .iter()
                .all(|(name, inner)| event.get(name).is_some_and(|value| inner.matches(value))),
            // Of a list in the event one value is enough.
            (Self::OneOf(tests), Value::Array(values)) => {
                let met = |value| tests.iter().any(|test| test.is_met_by(value));
                values.iter().any(met)
            }
            (Self::OneOf(tests), value) => tests.iter().any(|test| test.is_met_by(value)),
        }
    }

    /// What the keys of S3's objects begin with that the pattern can match; empty text: any key.
    pub(super) fn key_prefixes(&self) -> Vec<String> {
        let mut at = self;
        for step in ["detail", "object", "key"] {
            let Self::Fields(fields) = at else {
                return Vec::new();
            };
            match fields.iter().find(|(name, _)| name == step) {
                Some((_, inner)) => at = inner,
                None => return vec![String::new()],
            }
        }
        let Self::OneOf(tests) = at else {
            return Vec::new();
        };
        let texts = tests.iter().filter_map(|test| match test {
            Test::Is(value) => value.as_str().map(str::to_owned),
            Test::Prefix(prefix) => Some(prefix.clone()),
        });
        texts.collect()
    }
}

impl Test {
    fn read(test: &Value) -> Result<Self, String> {
        let Value::Object(fields) = test else {
            return match test {
                Value::Array(_) => Err(format!("{test} is no value")),
                value => Ok(Self::Is(value.clone())),
            };
        };
        let prefix = test["prefix"].as_str().filter(|_| fields.len() == 1);
        match prefix {
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None => Err(format!(
                "{test} is not known on the laptop, which knows values and prefix"
            )),
        }
    }

    fn is_met_by(&self, value: &Value) -> bool {
        match self {
            Self::Is(expected) => expected == value,
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
        }
    }
}

//! What a model accepts is data: `infra/models.json`, read once. The first row whose text the model id contains counts.

use std::sync::LazyLock;

use aws::config::Settings;
use serde::Deserialize;

use crate::KnowledgeError;

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    contains: String,
    /// Takes `searchResult` blocks and cites them. Others get numbered passages and write `[n]`.
    pub citations: bool,
    /// Takes a temperature.
    pub temperature: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(
        dead_code,
        reason = "for readers of the file; this code reads version 1 only"
    )]
    version: u32,
    models: Vec<Capabilities>,
}

static TABLE: LazyLock<Vec<Capabilities>> = LazyLock::new(|| {
    serde_json::from_str::<Table>(include_str!("../../../infra/models.json"))
        .map(|table| table.models)
        .unwrap_or_default()
});

/// The capabilities of a model, profile or router; of an id that says nothing about its model, the least.
pub fn capabilities(model: &str) -> Capabilities {
    let least = Capabilities {
        contains: String::new(),
        citations: false,
        temperature: false,
    };
    TABLE
        .iter()
        .find(|row| model.contains(&row.contains))
        .cloned()
        .unwrap_or(least)
}

/// The model that answers: the one asked for if the settings offer it, theirs if none is asked for. Models differ a
/// hundredfold in price, and the one who asks does not pay.
///
/// # Errors
/// [`KnowledgeError::ModelNotAllowed`] with the models that are offered.
pub fn allowed(settings: &Settings, asked: Option<&str>) -> Result<String, KnowledgeError> {
    let Some(asked) = asked else {
        return Ok(settings.answer_model.clone());
    };
    let offered = || std::iter::once(&settings.answer_model).chain(&settings.allowed_models);
    if offered().any(|model| model == asked) {
        return Ok(asked.to_owned());
    }
    let names: Vec<&str> = offered().map(String::as_str).collect();
    Err(KnowledgeError::ModelNotAllowed {
        model: asked.to_owned(),
        allowed: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any caller could name any model, the dearest too.
    #[test]
    fn only_models_of_the_settings_answer() {
        let check = |list: &str, asked: Option<&str>, expected: Result<&str, &str>| {
            let settings = Settings::from_lookup(|name| {
                let value = match name {
                    "OUTCROP_ANSWER_MODEL" => "m-small",
                    "OUTCROP_ALLOWED_MODELS" => list,
                    "OUTCROP_EMBED_DIMENSIONS" => "256",
                    "OUTCROP_TABLE" | "OUTCROP_BUCKET" | "OUTCROP_STATE_MACHINE_ARN" => "x",
                    "OUTCROP_EMBED_MODEL" => "x",
                    "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
                    _ => return None,
                };
                Some(value.to_owned())
            });
            let found = allowed(&settings.unwrap(), asked);
            match (found, expected) {
                (Ok(model), Ok(expected)) => assert_eq!(model, expected),
                (Err(error), Err(list)) => {
                    assert_eq!(error.name(), "ModelNotAllowed");
                    assert!(error.to_string().ends_with(list), "{error}");
                }
                (found, expected) => panic!("{found:?} where {expected:?} was expected"),
            }
        };
        check("", None, Ok("m-small"));
        check("", Some("m-small"), Ok("m-small"));
        check("", Some("m-large"), Err("one of m-small"));
        check("m-large, m-huge", Some("m-huge"), Ok("m-huge"));
        check("m-large", Some("m-lar"), Err("one of m-small, m-large"));
        check("m-large", None, Ok("m-small"));
    }

    #[test]
    fn models_are_found_by_their_id() {
        let check = |model: &str, citations: bool| {
            assert_eq!(capabilities(model).citations, citations, "{model}");
        };
        check("us.anthropic.claude-sonnet-4-5-20250929-v1:0", true);
        check("anthropic.claude-3-haiku-20240307-v1:0", false);
        check("amazon.nova-lite-v1:0", false);
        check(
            "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc",
            false,
        );
        let opaque = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc";
        assert!(!capabilities(opaque).temperature, "the least");
        assert!(capabilities("amazon.nova-lite-v1:0").temperature);
        assert!(!TABLE.is_empty());
    }
}

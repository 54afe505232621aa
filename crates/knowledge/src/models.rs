//! What a model accepts is data: `infra/models.json`, read once. The first row whose text the model id contains counts.

use std::sync::LazyLock;

use serde::Deserialize;

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

#[cfg(test)]
mod tests {
    use super::*;

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

//! Which model a `modelId` means: base ids, inference profiles of a geography, and ARNs of either.
//! A family is known by its provider's prefix, so that a newer model of a known family answers too.
use super::wire::WireError;

/// Providers whose text models Converse serves.
const TEXT_FAMILIES: [&str; 14] = [
    "amazon.nova-",
    "amazon.titan-text-",
    "anthropic.claude-",
    "meta.llama",
    "mistral.",
    "cohere.command-",
    "ai21.jamba-",
    "deepseek.",
    "openai.gpt-oss-",
    "qwen.",
    "writer.palmyra-",
    "google.gemma-",
    "minimax.",
    "moonshot",
];
/// Models that order texts. Source: Amazon Bedrock User Guide, Supported Regions and models for reranking.
const RERANKERS: [&str; 2] = ["amazon.rerank-v1:0", "cohere.rerank-v3-5:0"];
/// Prefixes of cross-region inference profiles.
const GEOGRAPHIES: [&str; 9] = [
    "us.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "us-gov.", "sa.",
];
/// The id of the laptop's own answerer, for whoever wants it by name.
const OWN_TEXT_MODEL: &str = "outcrop.extractive-v1";
/// The id of all-MiniLM-L6-v2.
pub const MINILM_MODEL: &str = "outcrop.minilm-l6-v2";

/// A resolved model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    Text,
    TitanEmbedV2,
    /// Cohere Embed 3 (1,024 dimensions).
    CohereEmbedV3,
    /// Cohere Embed 4 (256 to 1,536 dimensions).
    CohereEmbedV4,
    /// all-MiniLM-L6-v2 on this machine, in Titan's shape.
    MiniLm,
}

/// Resolves a decoded `modelId`.
pub(super) fn resolve(model_id: &str) -> Result<Model, WireError> {
    let invalid = || WireError::validation("The provided model identifier is invalid.");
    if !model_id.starts_with("arn:") {
        return base(model_id).ok_or_else(invalid);
    }
    let mut parts = model_id.splitn(6, ':').skip(2);
    if parts.next() != Some("bedrock") {
        return Err(invalid());
    }
    let resource = parts.nth(2).ok_or_else(invalid)?;
    match resource.split_once('/') {
        Some(("foundation-model" | "inference-profile", id)) => base(id).ok_or_else(invalid),
        Some(("application-inference-profile", id)) if !id.is_empty() => Ok(Model::Text),
        Some(("default-prompt-router", _)) if super::strategy::router(model_id).is_some() => {
            Ok(Model::Text)
        }
        Some((
            kind @ ("provisioned-model"
            | "default-prompt-router"
            | "prompt-router"
            | "prompt"
            | "imported-model"),
            _,
        )) => Err(WireError::unsupported(format!("A modelId of kind {kind}"))),
        _ => Err(invalid()),
    }
}

fn base(id: &str) -> Option<Model> {
    let id = GEOGRAPHIES
        .iter()
        .find_map(|prefix| id.strip_prefix(prefix))
        .unwrap_or(id);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    match id {
        "amazon.titan-embed-text-v2:0" => return Some(Model::TitanEmbedV2),
        "cohere.embed-english-v3" | "cohere.embed-multilingual-v3" => {
            return Some(Model::CohereEmbedV3);
        }
        "cohere.embed-v4:0" | "cohere.embed-v4" => return Some(Model::CohereEmbedV4),
        MINILM_MODEL => return Some(Model::MiniLm),
        OWN_TEXT_MODEL => return Some(Model::Text),
        _ => {}
    }
    let known = TEXT_FAMILIES
        .iter()
        .any(|family| id.len() > family.len() && id.starts_with(family));
    (known && id.chars().all(plain)).then_some(Model::Text)
}

/// Resolves the model of `Rerank`: an ARN of a foundation model, or its id.
pub(super) fn resolve_reranker(model: &str) -> Result<(), WireError> {
    let id = match model.starts_with("arn:") {
        true => model.split_once(":foundation-model/").map(|(_, id)| id),
        false => Some(model),
    };
    match id.is_some_and(|id| RERANKERS.contains(&id)) {
        true => Ok(()),
        false => Err(WireError::validation(
            "The provided model identifier is invalid.",
        )),
    }
}

/// Resolves a model that Converse can talk to.
pub(super) fn resolve_text(model_id: &str) -> Result<(), WireError> {
    match resolve(model_id)? {
        Model::Text => Ok(()),
        _ => Err(WireError::validation(
            "This action doesn't support the model that you provided. Try again with a supported text or chat model \
             that supports on-demand throughput.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &str, expected: Option<Model>) {
        assert_eq!(resolve(id).ok(), expected, "{id}");
    }

    #[test]
    fn ids_profiles_and_arns_are_resolved() {
        check("amazon.nova-lite-v1:0", Some(Model::Text));
        check(
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some(Model::Text),
        );
        check("global.amazon.nova-2-lite-v1:0", Some(Model::Text));
        check(
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0",
            Some(Model::Text),
        );
        check(
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0",
            Some(Model::TitanEmbedV2),
        );
        check(
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34ef56",
            Some(Model::Text),
        );
        check(
            "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/amazon.nova:1",
            Some(Model::Text),
        );
        check(
            "arn:aws:bedrock:us-east-1:1:default-prompt-router/acme:1",
            None,
        );
        check("arn:aws:bedrock:us-east-1:1:prompt-router/abc", None);
        check(MINILM_MODEL, Some(Model::MiniLm));
        check("cohere.embed-multilingual-v3", Some(Model::CohereEmbedV3));
        check("mars.amazon.nova-lite-v1:0", None);
        check("amazon.nova-", None);
        check("arn:aws:s3:::bucket", None);
        check("arn:aws:bedrock", None);
        check("", None);
    }
}

//! What a model accepts is data: `infra/models.json`, read once. The first row whose text the model id contains counts.

pub mod prices;

use std::sync::LazyLock;

use aws::config::{self, CacheTtl, ConfigError, ServiceTier, Settings};
use serde::Deserialize;

use crate::KnowledgeError;
use prices::{Price, PriceList};

/// What the ids of the laptop's own models begin with.
const OWN_MODELS: &str = "outcrop.";

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    contains: String,
    /// Takes `searchResult` blocks and cites them. Others get numbered passages and write `[n]`.
    pub citations: bool,
    /// Takes a temperature.
    pub temperature: bool,
    /// How long its prompt cache keeps what was written to it, by choice; empty without a cache.
    #[serde(default)]
    pub cache: Vec<CacheTtl>,
    /// Service tiers beside the default.
    #[serde(default)]
    pub tiers: Vec<ServiceTier>,
}

/// How a model is asked here: what the settings want of it, as far as it can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strategy {
    pub citations: bool,
    pub temperature: Option<f32>,
    pub cache: Option<CacheTtl>,
    pub tier: ServiceTier,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(
        dead_code,
        reason = "for readers of the file; this code reads version 2 only"
    )]
    version: u32,
    models: Vec<Capabilities>,
    prices: PriceList,
    embedders: Vec<Embedder>,
}

/// What an embedding model costs, and what AWS grants an account of it by default. Accounts differ; the settings say so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedder {
    contains: String,
    #[serde(rename = "usd_per_million_tokens")]
    pub price: Price,
    pub tokens_per_minute: u64,
    pub requests_per_minute: u64,
    /// The part of the price that tokens of batch jobs cost; none for a model that takes no batch jobs.
    #[serde(default)]
    pub batch_price_factor: Option<f64>,
}

impl Embedder {
    /// What so many tokens cost, of which `by_jobs` came of batch jobs.
    pub fn usd(&self, tokens: u64, by_jobs: u64) -> f64 {
        let on_demand = self.cost(tokens.saturating_sub(by_jobs), false);
        prices::usd(on_demand.saturating_add(self.cost(by_jobs, true)))
    }

    /// What so many tokens cost, in nanodollars.
    fn cost(&self, tokens: u64, by_jobs: bool) -> u64 {
        let factor = self.batch_price_factor.filter(|_| by_jobs).unwrap_or(1.0);
        self.price.cost(tokens, (factor * 100.0).round() as u64)
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../infra/models.json")).unwrap_or_default()
});

/// The price of a token that an embedding model reads. The laptop's own models cost nothing.
pub fn embedding_price(model: &str) -> Option<Price> {
    match model.starts_with(OWN_MODELS) {
        true => Some(Price::default()),
        false => embedder(model).map(|row| row.price),
    }
}

/// What embedding so many tokens costs, in nanodollars; `None` without a price.
pub fn embedding_cost(model: &str, tokens: u64, by_jobs: bool) -> Option<u64> {
    match model.starts_with(OWN_MODELS) {
        true => Some(0),
        false => embedder(model).map(|row| row.cost(tokens, by_jobs)),
    }
}

/// The row of an embedding model; `None` for one that the table does not know, as on a laptop.
pub fn embedder(model: &str) -> Option<&'static Embedder> {
    let mut rows = TABLE.embedders.iter();
    rows.find(|row| model.contains(&row.contains))
}

/// Where the prices come from.
pub fn price_list() -> &'static PriceList {
    &TABLE.prices
}

/// The capabilities of a model, profile or router; of an id that says nothing about its model, the least.
pub fn capabilities(model: &str) -> Capabilities {
    let least = Capabilities {
        contains: String::new(),
        citations: false,
        temperature: false,
        cache: Vec::new(),
        tiers: Vec::new(),
    };
    TABLE
        .models
        .iter()
        .find(|row| model.contains(&row.contains))
        .cloned()
        .unwrap_or(least)
}

/// How `model` is asked. A further model of the settings that cannot take what they want is asked without it.
pub fn strategy(settings: &Settings, model: &str) -> Strategy {
    let able = capabilities(model);
    let tier = settings.service_tier;
    Strategy {
        citations: able.citations,
        temperature: able.temperature.then_some(0.0),
        cache: settings.prompt_cache.filter(|ttl| able.cache.contains(ttl)),
        tier: if able.tiers.contains(&tier) {
            tier
        } else {
            ServiceTier::Default
        },
    }
}

/// Refuses settings that the model which answers cannot take, before anybody asks it.
///
/// # Errors
/// The variable, with the model and what it can take.
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    let model = &settings.answer_model;
    let able = capabilities(model);
    let refused = |variable, wanted: &str, takes: Vec<&str>, example| {
        let takes = match takes.as_slice() {
            [] => "none".to_owned(),
            takes => takes.join(", "),
        };
        Err(ConfigError {
            variable,
            problem: format!(
                "is {wanted}, which the model {model} does not take (infra/models.json: {takes})"
            ),
            example,
        })
    };
    if let Some(ttl) = settings
        .prompt_cache
        .filter(|ttl| !able.cache.contains(ttl))
    {
        let takes = able.cache.iter().map(|ttl| ttl.as_str()).collect();
        return refused(config::PROMPT_CACHE, ttl.as_str(), takes, "off");
    }
    let tier = settings.service_tier;
    if tier != ServiceTier::Default && !able.tiers.contains(&tier) {
        let takes = able.tiers.iter().map(|tier| tier.as_str()).collect();
        return refused(config::SERVICE_TIER, tier.as_str(), takes, "default");
    }
    let rerankers = &settings.rerank_models;
    if let Some(other) = rerankers
        .iter()
        .find(|model| prices::rerank(model).is_none())
    {
        let known: Vec<&str> = prices::rerankers().collect();
        let known = known.join(", ");
        return Err(ConfigError {
            variable: config::RERANK_MODELS,
            problem: format!("names {other}, which is no reranker (infra/models.json: {known})"),
            example: "cohere.rerank-v3-5:0",
        });
    }
    Ok(())
}

/// The reranker that a space may set, or [`config::NO_RERANKER`].
///
/// # Errors
/// [`KnowledgeError::ModelNotAllowed`] with those that are offered.
pub fn offered_reranker(settings: &Settings, model: &str) -> Result<String, KnowledgeError> {
    let offers = || {
        std::iter::once(config::NO_RERANKER)
            .chain(settings.rerank_models.iter().map(String::as_str))
    };
    if offers().any(|offer| offer == model) {
        return Ok(model.to_owned());
    }
    let names: Vec<&str> = offers().collect();
    Err(KnowledgeError::ModelNotAllowed {
        model: model.to_owned(),
        allowed: names.join(", "),
    })
}

/// The model that answers: the one asked for if the settings offer it, else the space's, else theirs. Models differ a
/// hundredfold in price, and the one who asks does not pay.
///
/// # Errors
/// [`KnowledgeError::ModelNotAllowed`] with the models that are offered.
pub fn chosen(
    settings: &Settings,
    asked: Option<&str>,
    own: Option<&str>,
) -> Result<String, KnowledgeError> {
    match (asked, own) {
        (Some(asked), _) => offered(settings, asked, false),
        (None, Some(own)) => offered(settings, own, true),
        (None, None) => Ok(settings.answer_model.clone()),
    }
}

/// A model by the name that the settings offer it under, with what it stands for. What they offer with a `*` at its end, spaces
/// may set and questions may not name: an account's profiles tell who pays.
///
/// # Errors
/// [`KnowledgeError::ModelNotAllowed`] with the models that are offered.
pub fn offered(
    settings: &Settings,
    model: &str,
    for_a_space: bool,
) -> Result<String, KnowledgeError> {
    let offers = || std::iter::once(&settings.answer_model).chain(&settings.allowed_models);
    let id = aws::bedrock::wire_id(model);
    let found = offers().find_map(|offer| {
        let (name, stands_for) = match offer.split_once('=') {
            Some((name, stands_for)) => (name, Some(stands_for)),
            None => (offer.as_str(), None),
        };
        let meant = match name.strip_suffix('*') {
            Some(start) => for_a_space && id.len() > start.len() && id.starts_with(start),
            None => id == name,
        };
        let whole = stands_for.map_or(id.to_owned(), |stands_for| format!("{id}={stands_for}"));
        // Who says what it stands for must say what the settings say.
        (meant && (model == id || model == whole)).then_some(whole)
    });
    found.ok_or_else(|| {
        let names: Vec<&str> = offers().map(String::as_str).collect();
        KnowledgeError::ModelNotAllowed {
            model: model.to_owned(),
            allowed: names.join(", "),
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings with these variables, and what no settings can be without.
    pub(crate) fn settings(variables: &[(&str, &str)]) -> Settings {
        let settings = Settings::from_lookup(|name| {
            let own = variables.iter().find(|(variable, _)| *variable == name);
            let value = match (own, name) {
                (Some((_, value)), _) => value,
                (None, "OUTCROP_EMBED_DIMENSIONS") => "256",
                (None, "OUTCROP_TABLE" | "OUTCROP_BUCKET" | "OUTCROP_STATE_MACHINE_ARN") => "x",
                (None, "OUTCROP_EMBED_MODEL") => "x",
                (None, "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY") => "x",
                _ => return None,
            };
            Some((*value).to_owned())
        });
        settings.unwrap()
    }

    fn small() -> Settings {
        settings(&[("OUTCROP_ANSWER_MODEL", "m-small")])
    }

    /// Any caller could name any model, the dearest too.
    #[test]
    fn only_models_of_the_settings_answer() {
        let check = |list: &str, asked: Option<&str>, expected: Result<&str, &str>| {
            let mut settings = small();
            settings.allowed_models = list.split(", ").map(str::to_owned).collect();
            let found = chosen(&settings, asked, None);
            match (found, expected) {
                (Ok(model), Ok(expected)) => assert_eq!(model, expected),
                (Err(error), Err(list)) => {
                    assert_eq!(error.name(), "ModelNotAllowed");
                    assert!(error.to_string().ends_with(list), "{error}");
                }
                (found, expected) => panic!("{found:?} where {expected:?} was expected"),
            }
        };
        check("m-small", None, Ok("m-small"));
        check("m-small", Some("m-small"), Ok("m-small"));
        check("m-small", Some("m-large"), Err("one of m-small, m-small"));
        check("m-large, m-huge", Some("m-huge"), Ok("m-huge"));
        check("m-large", Some("m-lar"), Err("one of m-small, m-large"));
        check("m-large", None, Ok("m-small"));
        // A name that says nothing of its model says behind = what it stands for.
        check("arn:x=m-large", Some("arn:x"), Ok("arn:x=m-large"));
        check("arn:x=m-large", Some("arn:x=m-large"), Ok("arn:x=m-large"));
        check(
            "arn:x=m-large",
            Some("arn:x=m-huge"),
            Err("one of m-small, arn:x=m-large"),
        );
        check(
            "arn:*=m-large",
            Some("arn:x"),
            Err("one of m-small, arn:*=m-large"),
        );
    }

    #[test]
    fn a_space_may_set_what_a_question_may_not_name() {
        let check = |list: &str, own: &str, expected: Result<&str, ()>| {
            let mut settings = small();
            settings.allowed_models = list.split(',').map(str::to_owned).collect();
            let found = chosen(&settings, None, Some(own));
            assert_eq!(found.as_deref().map_err(|_| ()), expected, "{own}");
        };
        let profiles = "m-large,arn:profile/*=m-large";
        check(profiles, "m-large", Ok("m-large"));
        check(profiles, "arn:profile/a", Ok("arn:profile/a=m-large"));
        check(
            profiles,
            "arn:profile/a=m-large",
            Ok("arn:profile/a=m-large"),
        );
        check(profiles, "arn:profile/a=m-huge", Err(()));
        check(profiles, "arn:profile/", Err(()));
        check(profiles, "arn:router/a", Err(()));
    }

    #[test]
    fn what_a_model_cannot_take_is_refused_by_name_or_left_out() {
        let settings = |model: &str, cache: &str, tier: &str| {
            settings(&[
                ("OUTCROP_ANSWER_MODEL", model),
                ("OUTCROP_PROMPT_CACHE", cache),
                ("OUTCROP_SERVICE_TIER", tier),
            ])
        };
        let check = |model: &str, cache: &str, tier: &str, refused: Option<&str>| {
            let found = super::check(&settings(model, cache, tier));
            let named = found.as_ref().err().map(|error| error.variable);
            assert_eq!(named, refused, "{model} {cache} {tier}");
            if let Err(error) = found {
                assert!(error.to_string().contains(model), "{error}");
            }
        };
        let (sonnet, nova) = (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "amazon.nova-lite-v1:0",
        );
        let oss = "openai.gpt-oss-20b-1:0";
        check(sonnet, "1h", "default", None);
        check(nova, "5m", "", None);
        check(oss, "off", "flex", None);
        check(nova, "1h", "", Some("OUTCROP_PROMPT_CACHE"));
        check(oss, "5m", "", Some("OUTCROP_PROMPT_CACHE"));
        check(
            "anthropic.claude-3-haiku-20240307-v1:0",
            "5m",
            "",
            Some("OUTCROP_PROMPT_CACHE"),
        );
        check(
            "meta.llama3-3-70b-instruct-v1:0",
            "",
            "priority",
            Some("OUTCROP_SERVICE_TIER"),
        );
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
        check(profile, "5m", "", Some("OUTCROP_PROMPT_CACHE"));
        let named = settings(&format!("{profile}={sonnet}"), "5m", "");
        assert_eq!(super::check(&named), Ok(()));
        assert_eq!(
            strategy(&named, &named.answer_model).cache,
            Some(CacheTtl::FiveMinutes)
        );
        // Another model that a question may name is asked without what it cannot take.
        let flex = settings(oss, "", "flex");
        assert_eq!(strategy(&flex, oss).tier, ServiceTier::Flex);
        assert_eq!(strategy(&flex, nova).tier, ServiceTier::Default);
        assert_eq!(strategy(&named, oss).cache, None);
    }

    #[test]
    fn what_is_no_reranker_is_refused_by_name() {
        let settings = |list: &str| {
            settings(&[
                ("OUTCROP_ANSWER_MODEL", "m-small"),
                (config::RERANK_MODELS, list),
            ])
        };
        let check = |list: &str, refused: Option<&str>| {
            let found = super::check(&settings(list)).err();
            assert_eq!(found.is_some(), refused.is_some(), "{list}: {found:?}");
            if let (Some(error), Some(model)) = (found, refused) {
                assert_eq!(error.variable, config::RERANK_MODELS);
                assert!(error.problem.contains(model), "{error}");
            }
        };
        check("", None);
        check("off", None);
        check("off,amazon.rerank-v1:0", None);
        check("amazon.rerank-v1:0,cohere.rerank-v3-5:0", None);
        check("amazon.nova-lite-v1:0", Some("amazon.nova-lite-v1:0"));
        check("amazon.rerank-v1:0,off", Some("off"));

        let offered = |list: &str, model: &str| {
            offered_reranker(&settings(list), model).map_err(|error| error.to_string())
        };
        let cohere = "cohere.rerank-v3-5:0";
        assert_eq!(offered(cohere, cohere).as_deref(), Ok(cohere));
        assert_eq!(offered("", "off").as_deref(), Ok("off"));
        let refused = offered("", cohere).unwrap_err();
        assert!(refused.ends_with("name one of off"), "{refused}");
        let refused = offered(cohere, "m-small").unwrap_err();
        assert!(
            refused.ends_with("one of off, cohere.rerank-v3-5:0"),
            "{refused}"
        );
    }

    #[test]
    fn embedders_have_prices_and_quotas() {
        let check = |model: &str, usd_of_a_million: Option<f64>| {
            let found = embedder(model).map(|row| row.usd(1_000_000, 0));
            assert_eq!(found, usd_of_a_million, "{model}");
        };
        let titan = embedder("amazon.titan-embed-text-v2:0").unwrap();
        assert_eq!(
            titan.usd(1_000_000, 1_000_000),
            0.01,
            "half the price by jobs"
        );
        assert_eq!(titan.usd(2_000_000, 1_000_000), 0.03);
        check("amazon.titan-embed-text-v2:0", Some(0.02));
        check("cohere.embed-v4:0", Some(0.12));
        check("us.cohere.embed-v4:0", Some(0.12));
        check("cohere.embed-multilingual-v3", Some(0.10));
        check("local.minilm-l6-v2", None);
        assert!(price_list().source.starts_with("https://"));
        let limited = |row: &Embedder| row.tokens_per_minute > 0 && row.requests_per_minute > 0;
        assert!(TABLE.embedders.iter().all(limited));
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
        assert!(!TABLE.models.is_empty(), "the file was read");
    }
}

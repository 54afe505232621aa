//! What models cost: the prices of `infra/models.json` as whole numbers, so that nothing is lost in adding up.
//!
//! A price is written as USD for a million units and kept as picodollars (10⁻¹² USD) for one, which is the same number times a
//! million. A cost is in nanodollars (10⁻⁹ USD): units times price, rounded up once. Sums of costs are exact.

use aws::config::ServiceTier;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::TABLE;

/// Picodollars in a nanodollar.
const PICO_IN_NANO: u128 = 1_000;
/// Nanodollars in a dollar.
pub const NANO_USD: u64 = 1_000_000_000;

/// Picodollars for one unit. Written as USD for a million, with six decimals at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(u64);

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(field)?;
        let pico = usd * 1e6;
        // Decimals such as 0.035 have no exact double: what is within a rounding error of a whole number is meant to be it.
        if !(0.0..=1e15).contains(&pico) || (pico - pico.round()).abs() > 1e-3 {
            let problem = format!("{usd} is no price in USD with six decimals at the most");
            return Err(D::Error::custom(problem));
        }
        Ok(Self(pico.round() as u64))
    }
}

impl Price {
    /// As it is written, for people.
    pub fn usd_per_million(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What `units` cost in nanodollars, at `percent` of the price, rounded up.
    pub fn cost(self, units: u64, percent: u64) -> u64 {
        let pico = u128::from(self.0) * u128::from(units);
        let nano = pico
            .saturating_mul(u128::from(percent))
            .div_ceil(100 * PICO_IN_NANO);
        u64::try_from(nano).unwrap_or(u64::MAX)
    }
}

/// What a token of a text model costs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPrice {
    pub(super) contains: String,
    pub input: Price,
    pub output: Price,
    #[serde(default)]
    cache_read: Option<Price>,
    #[serde(default)]
    cache_write_5m: Option<Price>,
    #[serde(default)]
    cache_write_1h: Option<Price>,
}

/// How long a prompt cache keeps a prefix; the price of writing depends on it.
pub use aws::config::CacheTtl;

impl TextPrice {
    /// What the model takes for reading from its cache; without a price of its own, that of input.
    pub fn cache_read(&self) -> Price {
        self.cache_read.unwrap_or(self.input)
    }

    /// The same of writing. What is kept for an hour never costs less than what is kept for five minutes.
    pub fn cache_write(&self, ttl: CacheTtl) -> Price {
        let short = self.cache_write_5m.unwrap_or(self.input);
        match ttl {
            CacheTtl::FiveMinutes => short,
            CacheTtl::OneHour => self.cache_write_1h.unwrap_or(short),
        }
    }
}

/// What a text unit costs, by policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardPrice {
    content: Price,
    topic: Price,
    word: Price,
    sensitive: Price,
    grounding: Price,
}

impl GuardPrice {
    /// What the units of one or more calls cost.
    pub fn cost(self, units: aws::bedrock::GuardUnits) -> u64 {
        let parts = [
            self.content.cost(units.content, 100),
            self.topic.cost(units.topic, 100),
            self.word.cost(units.word, 100),
            self.sensitive.cost(units.sensitive, 100),
            self.grounding.cost(units.grounding, 100),
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// What `units` cost that all policies look at, but grounding.
    pub fn of_text(self, units: u64) -> u64 {
        self.cost(aws::bedrock::GuardUnits {
            topic: units,
            content: units,
            word: units,
            sensitive: units,
            grounding: 0,
        })
    }

    /// What `units` cost that grounding looks at.
    pub fn of_grounding(self, units: u64) -> u64 {
        self.grounding.cost(units, 100)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RerankPrice {
    begins: String,
    queries: Price,
}

/// What percentages of the price other ways of asking cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Percent {
    flex: u64,
    priority: u64,
}

impl Default for Percent {
    fn default() -> Self {
        Self {
            flex: 100,
            priority: 100,
        }
    }
}

/// How a model was asked, where its price depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    #[default]
    OnDemand,
    Flex,
    Priority,
}

impl From<ServiceTier> for Way {
    fn from(tier: ServiceTier) -> Self {
        match tier {
            ServiceTier::Default => Self::OnDemand,
            ServiceTier::Flex => Self::Flex,
            ServiceTier::Priority => Self::Priority,
        }
    }
}

impl Way {
    /// Percent of the price on demand.
    pub fn percent(self) -> u64 {
        let percent = TABLE.prices.percent;
        match self {
            Self::OnDemand => 100,
            Self::Flex => percent.flex,
            Self::Priority => percent.priority,
        }
    }
}

/// Where prices come from and when they held, and the prices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    pub as_of: String,
    pub region: String,
    pub currency: String,
    pub source: String,
    models: Vec<TextPrice>,
    rerankers: Vec<RerankPrice>,
    guardrail: GuardPrice,
    percent: Percent,
}

/// The price of a text model; `None` for one that the list does not know, which is not to say that it is free.
pub fn text(model: &str) -> Option<&'static TextPrice> {
    let mut rows = TABLE.prices.models.iter();
    rows.find(|row| model.contains(&row.contains))
}

/// The price of one query to a reranker; `None` for what is none.
pub fn rerank(model: &str) -> Option<Price> {
    let mut rows = TABLE.prices.rerankers.iter();
    let row = rows.find(|row| model.starts_with(&row.begins))?;
    Some(row.queries)
}

/// What the ids of the rerankers begin with.
pub fn rerankers() -> impl Iterator<Item = &'static str> {
    TABLE.prices.rerankers.iter().map(|row| row.begins.as_str())
}

/// Queries that are billed for one call to a reranker, by the tokens of its query and of each passage. Query and passage together are
/// one document for each 512 tokens, and 100 documents are one query. Source: Amazon Bedrock pricing, Rerank.
pub fn rerank_queries(query_tokens: u64, passage_tokens: impl IntoIterator<Item = u64>) -> u64 {
    const TOKENS_OF_DOCUMENT: u64 = 512;
    const DOCUMENTS_OF_QUERY: u64 = 100;
    let passages = passage_tokens.into_iter();
    let documents = passages.map(|tokens| {
        let together = query_tokens.saturating_add(tokens);
        together.div_ceil(TOKENS_OF_DOCUMENT).max(1)
    });
    documents
        .fold(0, u64::saturating_add)
        .div_ceil(DOCUMENTS_OF_QUERY)
}

pub fn guardrail() -> GuardPrice {
    TABLE.prices.guardrail
}

/// A cost in USD, for people: nothing is added up in this form.
pub fn usd(nano_usd: u64) -> f64 {
    nano_usd as f64 / NANO_USD as f64
}

/// An amount of USD in nanodollars; `None` for less than nothing, and for more than 64 bits hold.
pub fn nano_usd(usd: f64) -> Option<u64> {
    let nano = (usd * NANO_USD as f64).round();
    (0.0..=9e18).contains(&nano).then_some(nano as u64)
}

#[cfg(test)]
mod tests {
    use aws::bedrock::GuardUnits;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_read_to_the_last_decimal() {
        let check = |text: &str, pico: Option<u64>| {
            let read: Option<Price> = serde_json::from_str(text).ok();
            assert_eq!(read, pico.map(Price), "{text}");
        };
        check("3", Some(3_000_000));
        check("0.035", Some(35_000));
        check("0.00875", Some(8_750));
        check("4.125", Some(4_125_000));
        check("0", Some(0));
        check("0.0000001", None);
        check("-1", None);
        check("\"3\"", None);
    }

    #[test]
    fn costs_are_the_bills() {
        let million = |model: &str| {
            let price = text(model)?;
            Some((
                price.input.cost(1_000_000, 100),
                price.output.cost(1_000_000, 100),
            ))
        };
        let check = |model: &str, expected: Option<(f64, f64)>| {
            let expected = expected
                .map(|(input, output)| (nano_usd(input).unwrap(), nano_usd(output).unwrap()));
            assert_eq!(million(model), expected, "{model}");
        };
        check(
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some((3.3, 16.5)),
        );
        check(
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some((3.0, 15.0)),
        );
        check(
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
            Some((3.0, 15.0)),
        );
        check(
            "us.anthropic.claude-opus-4-1-20250805-v1:0",
            Some((15.0, 75.0)),
        );
        check("amazon.nova-micro-v1:0", Some((0.035, 0.14)));
        check("outcrop.extractive-v1", Some((0.0, 0.0)));
        check("arn:aws:bedrock:us-east-1:1:prompt-router/abc", None);
        let sonnet = text("anthropic.claude-sonnet-4-5").unwrap();
        assert_eq!(sonnet.cache_write(CacheTtl::OneHour).cost(1, 100), 6_600);
        assert_eq!(sonnet.cache_read().cost(1, 100), 330);
        assert_eq!(
            rerank("cohere.rerank-v3-5:0").unwrap().cost(1, 100),
            2_000_000
        );
        let units = GuardUnits {
            content: 2,
            sensitive: 1,
            word: 9,
            ..GuardUnits::default()
        };
        assert_eq!(guardrail().cost(units), 400_000);
        assert_eq!(Way::Flex.percent(), 50);
    }

    #[test]
    fn a_call_to_a_reranker_is_billed_by_its_documents() {
        let check = |query: u64, passage: u64, passages: usize, expected: u64| {
            let tokens = std::iter::repeat_n(passage, passages);
            let found = rerank_queries(query, tokens);
            assert_eq!(found, expected, "{query} {passage} {passages}");
        };
        check(20, 492, 100, 1);
        // AWS's own example.
        check(10, 100, 350, 4);
        check(10, 100, 101, 2);
        // One token too many makes two documents of each.
        check(20, 493, 50, 1);
        check(20, 493, 51, 2);
        check(0, 0, 1, 1);
        check(20, 492, 0, 0);
    }

    #[test]
    fn rerankers_are_known_by_their_ids() {
        for begins in rerankers() {
            assert!(rerank(&format!("{begins}:0")).is_some(), "{begins}");
            assert_eq!(rerank(&format!("x.{begins}:0")), None);
        }
        assert!(rerankers().count() > 1);
        assert_eq!(rerank("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), None);
    }

    proptest! {
        #[test]
        fn a_cost_is_what_it_is_and_less_than_a_nanodollar_more(
            pico in 0u64..1_000_000_000, units in 0u64..1_000_000_000, percent in 1u64..400,
        ) {
            let nano = u128::from(Price(pico).cost(units, percent));
            let exact = u128::from(pico) * u128::from(units) * u128::from(percent);
            prop_assert!(nano * 100_000 >= exact);
            prop_assert!(nano * 100_000 < exact + 100_000);
        }

        #[test]
        fn more_units_never_cost_less(pico in any::<u64>(), units in any::<u64>(), more in any::<u64>(), percent in 0u64..400) {
            let price = Price(pico);
            let sum = units.saturating_add(more);
            prop_assert!(price.cost(sum, percent) >= price.cost(units, percent));
        }

        #[test]
        fn amounts_of_usd_come_back(nano in 0u64..4_000_000_000_000_000) {
            prop_assert_eq!(nano_usd(usd(nano)), Some(nano));
        }
    }
}

//! What a call may cost at the most, told before it is made.
//!
//! Tokens are counted when a model has read them; before, bytes bound them. Natural language and code have three to four bytes
//! to a token in the models of today, dense tables of numbers about two. Should a text have more, its call costs more than was
//! held for it, and settling puts that right.

use aws::Aws;
use aws::bedrock::AnswerRequest;

use crate::models;
use crate::models::prices::{self, CacheTtl, TextPrice, Way};

/// Bytes of a token, counted so that few texts have more tokens.
const BYTES_PER_TOKEN: u64 = 2;
/// Tokens that a model adds to a request by itself, such as the words that teach it to cite.
const OVERHEAD_TOKENS: u64 = 512;
/// Bytes of an answer's token at the most, of the guard's text units.
const ANSWER_BYTES_PER_TOKEN: u64 = 5;
/// An answer leaves in pieces of so many bytes at the least, each looked at with what stands around it, in this many units.
const PIECE_BYTES: u64 = 240;
const PIECE_UNITS: u64 = 2;
/// Characters of a text unit.
const UNIT: u64 = 1_000;

fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// A call to a text model; `None` without a price.
pub(crate) fn text(request: &AnswerRequest) -> Option<u64> {
    let price = prices::text(&request.model)?;
    let (way, ttl) = (Way::from(request.tier), request.cache.unwrap_or_default());
    let input = tokens(request.bytes()) + OVERHEAD_TOKENS;
    Some(of_text(price, input, request.max_tokens.into(), way, ttl))
}

fn of_text(price: &TextPrice, input: u64, output: u64, way: Way, ttl: CacheTtl) -> u64 {
    let reading = price.input.max(price.cache_write(ttl));
    let (input, output) = (
        reading.cost(input, way.percent()),
        price.output.cost(output, way.percent()),
    );
    input.saturating_add(output)
}

/// Embedding a text; `None` without a price.
pub(crate) fn embedding(aws: &Aws, bytes: usize) -> Option<u64> {
    let price = models::embedding_price(&aws.settings.embed_model)?;
    Some(price.cost(tokens(bytes), 100))
}

/// A call to a reranker with so many passages of so many bytes; `None` without a price.
pub(crate) fn rerank(
    model: &str,
    query_bytes: usize,
    passages: usize,
    passage_bytes: usize,
) -> Option<u64> {
    let passages = std::iter::repeat_n(tokens(passage_bytes), passages);
    let queries = prices::rerank_queries(tokens(query_bytes), passages);
    Some(prices::rerank(model)?.cost(queries, 100))
}

/// The guardrail's look at a text, by all policies but grounding.
pub(crate) fn guard(text: &str) -> u64 {
    prices::guardrail().of_text(units(text.chars().count()))
}

/// The same of grounding alone.
pub(crate) fn grounding(text: &str) -> u64 {
    prices::guardrail().of_grounding(units(text.chars().count()))
}

/// Its looks at an answer of so many tokens while it is written, and once at `grounded` characters of sources.
pub(crate) fn guard_of_answer(answer_tokens: u32, grounded: Option<usize>) -> u64 {
    let bytes = u64::from(answer_tokens) * ANSWER_BYTES_PER_TOKEN;
    let looks = bytes.div_ceil(PIECE_BYTES) + 1;
    let price = prices::guardrail();
    let grounding = grounded.map_or(0, |characters| {
        let units = units(characters) + bytes.div_ceil(UNIT);
        price
            .of_grounding(units)
            .saturating_add(price.of_text(units))
    });
    price.of_text(looks * PIECE_UNITS).saturating_add(grounding)
}

fn units(characters: usize) -> u64 {
    (characters as u64).div_ceil(UNIT).max(1)
}

/// What a run's documents cost, by their tokens: embedding them, and screening their text where there is a guardrail.
/// `None` without a price.
pub(crate) fn documents(aws: &Aws, tokens: u64) -> Option<u64> {
    /// Characters of a token as the estimate counts it.
    const CHARACTERS_PER_TOKEN: u64 = 5;
    let price = models::embedding_price(&aws.settings.embed_model)?;
    let guarded = aws.settings.guardrail.is_some();
    let units = tokens.saturating_mul(CHARACTERS_PER_TOKEN).div_ceil(UNIT);
    let screening = if guarded {
        prices::guardrail().of_text(units)
    } else {
        0
    };
    Some(price.cost(tokens, 100).saturating_add(screening))
}

#[cfg(test)]
mod tests {
    use aws::bedrock::ModelUsage;
    use aws::config::ServiceTier;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{Line, Task};

    fn request(message: &str, max_tokens: u32) -> AnswerRequest {
        AnswerRequest {
            model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0".into(),
            system: "Be brief.".into(),
            search_results: Vec::new(),
            context: String::new(),
            message: message.to_owned(),
            max_tokens,
            temperature: None,
            cache: None,
            tier: ServiceTier::Flex,
        }
    }

    proptest! {
        /// Whatever a model makes of a text with two bytes to a token or more, it costs no more than was told.
        #[test]
        fn no_call_costs_more_than_its_bound(message in "[a-z ]{0,400}", max_tokens in 1u32..2_000, written in any::<bool>()) {
            let request = request(&message, max_tokens);
            let input = tokens(request.bytes());
            let used = ModelUsage {
                input_tokens: if written { 0 } else { input },
                cache_write_tokens: if written { input } else { 0 },
                output_tokens: max_tokens.into(),
                ..ModelUsage::default()
            };
            for ttl in [CacheTtl::FiveMinutes, CacheTtl::OneHour] {
                let request = AnswerRequest { cache: Some(ttl), ..request.clone() };
                let model = &request.model;
                let line = Line::text(Task::Answer, model, &used, Way::Flex, ttl);
                prop_assert!(line.cost_nano_usd <= text(&request));
            }
        }

        #[test]
        fn bounds_rise_with_what_is_bound(text in "[a-z]{0,3000}", more in "[a-z]{0,3000}", answer in 0u32..10_000) {
            let longer = [text.as_str(), more.as_str()].concat();
            prop_assert!(guard(&longer) >= guard(&text));
            prop_assert!(guard_of_answer(answer + 1, None) >= guard_of_answer(answer, None));
            prop_assert!(guard_of_answer(answer, Some(text.len())) > guard_of_answer(answer, None));
        }
    }

    #[test]
    fn a_reranker_costs_no_more_than_its_bound() {
        let model = "cohere.rerank-v3-5:0";
        let check = |query_bytes: usize, passages: usize, queries: u64| {
            let line = Line::rerank(model, queries);
            let bound = rerank(model, query_bytes, passages, 4_000);
            assert_eq!(line.cost_nano_usd, bound, "{query_bytes} {passages}");
        };
        // 2,010 tokens are four documents each.
        check(20, 50, 2);
        check(4_000, 50, 4);
        check(20, 1, 1);
        assert_eq!(rerank("nobody.knows-v1", 20, 50, 4_000), None);
    }

    #[test]
    fn what_has_no_price_has_no_bound() {
        let unknown = AnswerRequest {
            model: "nobody.knows-v1".into(),
            ..request("q", 1)
        };
        assert_eq!(text(&unknown), None);
    }
}

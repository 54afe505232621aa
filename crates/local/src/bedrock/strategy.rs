//! Ways of asking that not every model takes: a prompt cache, service tiers, prompt routers. What a model takes is told by
//! `infra/models.json`; where AWS refuses, this refuses in its words.

use knowledge::models::{self, Capabilities};

use super::content::{CachePoint, CacheTtl, ContentBlock, Role, SystemBlock};
use super::request::{ConverseRequest, Tier, Tool};
use super::wire::{ErrorName, WireError};

/// What AWS says to a cache point for a model without a cache.
const NO_CACHE: &str = "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for \
    more information.";
/// Characters of a question that the smaller model of a router still answers.
const SHORT_QUESTION: usize = 200;

/// The models of AWS's default routers, the smaller first. A router of one's own has to be made first, and nobody can here.
const ROUTERS: [(&str, [&str; 2]); 3] = [
    (
        "amazon.nova:1",
        ["us.amazon.nova-lite-v1:0", "us.amazon.nova-pro-v1:0"],
    ),
    (
        "anthropic.claude:1",
        [
            "us.anthropic.claude-3-5-haiku-20241022-v1:0",
            "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        ],
    ),
    (
        "meta.llama:1",
        [
            "us.meta.llama3-1-8b-instruct-v1:0",
            "us.meta.llama3-3-70b-instruct-v1:0",
        ],
    ),
];

/// The models of a default router's ARN; `None` for any other id.
pub(super) fn router(model_id: &str) -> Option<&'static [&'static str; 2]> {
    let (account, name) = model_id.split_once(":default-prompt-router/")?;
    let known = ROUTERS.iter().find(|(known, _)| *known == name);
    known
        .filter(|_| account.starts_with("arn:aws:bedrock:"))
        .map(|(_, models)| models)
}

/// The model that a router chooses, as an ARN: AWS predicts which answers well enough, this looks at the question's length.
pub(super) fn invoked(model_id: &str, request: &ConverseRequest) -> Option<String> {
    let [small, large] = router(model_id)?;
    let chosen = if question(request) <= SHORT_QUESTION {
        small
    } else {
        large
    };
    let (account, _) = model_id.split_once(":default-prompt-router/")?;
    Some(format!("{account}:inference-profile/{chosen}"))
}

/// Characters of the last text that the user wrote.
fn question(request: &ConverseRequest) -> usize {
    let of_user = request.messages.iter().rev();
    let last = of_user
        .filter(|message| message.role == Role::User)
        .flat_map(|message| message.content.iter().rev())
        .find_map(|block| match block {
            ContentBlock::Text(text) => Some(text.as_str()),
            _ => None,
        });
    // Behind numbered passages, the question is the last paragraph.
    let asked = last.and_then(|text| text.rsplit("\n\n").next());
    asked.map_or(0, |text| text.chars().count())
}

/// Refuses what the model does not take. Of an application inference profile nobody knows the model here.
pub(super) fn check(model_id: &str, request: &ConverseRequest) -> Result<(), WireError> {
    if model_id.contains(":application-inference-profile/") {
        return Ok(());
    }
    let able = models::capabilities(model_id);
    points(request).try_for_each(|point| check_point(point, &able))?;
    match request.service_tier.as_ref().map(|tier| tier.r#type) {
        Some(Tier::Reserved) => Err(WireError::validation("Reservation not found.")),
        Some(tier) if !takes(&able, tier) => Err(WireError::validation(
            "The provided service tier is not supported for this model.",
        )),
        _ => Ok(()),
    }
}

fn check_point(point: &CachePoint, able: &Capabilities) -> Result<(), WireError> {
    if able.cache.is_empty() {
        return Err(WireError::new(ErrorName::AccessDenied, NO_CACHE));
    }
    let wanted = match point.ttl {
        CacheTtl::FiveMinutes => aws::config::CacheTtl::FiveMinutes,
        CacheTtl::OneHour => aws::config::CacheTtl::OneHour,
    };
    match able.cache.contains(&wanted) {
        true => Ok(()),
        false => Err(WireError::validation(format!(
            "The model does not support a cache ttl of {}.",
            wanted.as_str()
        ))),
    }
}

fn takes(able: &Capabilities, tier: Tier) -> bool {
    match tier {
        Tier::Default => true,
        Tier::Flex => able.tiers.contains(&aws::config::ServiceTier::Flex),
        Tier::Priority => able.tiers.contains(&aws::config::ServiceTier::Priority),
        Tier::Reserved => false,
    }
}

fn points(request: &ConverseRequest) -> impl Iterator<Item = &CachePoint> {
    let tools = request.tool_config.iter().flat_map(|config| &config.tools);
    let tools = tools.filter_map(|tool| match tool {
        Tool::CachePoint(point) => Some(point),
        _ => None,
    });
    let system = request.system.iter().filter_map(|block| match block {
        SystemBlock::CachePoint(point) => Some(point),
        _ => None,
    });
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let messages = blocks.filter_map(|block| match block {
        ContentBlock::CachePoint(point) => Some(point),
        _ => None,
    });
    tools.chain(system).chain(messages)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(body: Value) -> ConverseRequest {
        let mut whole = json!({"messages": [{"role": "user", "content": [{"text": "When?"}]}]});
        let fields = whole.as_object_mut().expect("an object");
        fields.extend(body.as_object().expect("an object").clone());
        serde_json::from_value(whole).expect("a request")
    }

    #[test]
    fn what_a_model_does_not_take_is_refused_in_aws_words() {
        let check = |model: &str, body: Value, refused: Option<(&str, &str)>| {
            let found = check(model, &request(body)).err();
            let told = found
                .as_ref()
                .map(|error| (error.name.as_str(), error.message.as_str()));
            match (told, refused) {
                (None, None) => {}
                (Some((name, words)), Some((expected, part))) => {
                    assert!(
                        name == expected && words.contains(part),
                        "{model}: {name} {words}"
                    );
                }
                (told, refused) => panic!("{model}: {told:?} where {refused:?} was expected"),
            }
        };
        let cached = |ttl: &str| json!({"system": [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": ttl}}]});
        let tier = |tier: &str| json!({"serviceTier": {"type": tier}});
        let sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
        check(sonnet, cached("1h"), None);
        check("us.amazon.nova-lite-v1:0", cached("5m"), None);
        check(
            "us.amazon.nova-lite-v1:0",
            cached("1h"),
            Some(("ValidationException", "ttl of 1h")),
        );
        let denied = Some(("AccessDeniedException", "unsupported model"));
        check("meta.llama3-3-70b-instruct-v1:0", cached("5m"), denied);
        check("openai.gpt-oss-20b-1:0", tier("flex"), None);
        check("openai.gpt-oss-20b-1:0", tier("priority"), None);
        check(
            "openai.gpt-oss-20b-1:0",
            tier("reserved"),
            Some(("ValidationException", "Reservation")),
        );
        check(
            sonnet,
            tier("flex"),
            Some(("ValidationException", "not supported")),
        );
        check(sonnet, tier("default"), None);
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
        check(profile, cached("5m"), None);
    }

    #[test]
    fn a_router_chooses_by_the_question() {
        let nova = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/amazon.nova:1";
        let check = |model: &str, question: &str, expected: Option<&str>| {
            let asked = json!({"messages": [{"role": "user", "content": [{"text": question}]}]});
            let found = invoked(model, &request(asked));
            let found = found.as_deref().and_then(|arn| arn.rsplit('/').next());
            assert_eq!(found, expected, "{model}");
        };
        check(nova, "When?", Some("us.amazon.nova-lite-v1:0"));
        let passages = format!("Passages:\n\n{}\n\nQuestion: When?", "word ".repeat(500));
        check(nova, &passages, Some("us.amazon.nova-lite-v1:0"));
        check(
            nova,
            &"Compare at length. ".repeat(30),
            Some("us.amazon.nova-pro-v1:0"),
        );
        check("us.amazon.nova-lite-v1:0", "When?", None);
        let unknown = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/acme:1";
        check(unknown, "When?", None);
    }
}

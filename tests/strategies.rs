//! Ways of asking models that cost less: prompt caches, service tiers and routers, from the setting to the ledger.

use std::collections::BTreeMap;
use std::process::Command;

use aws::Aws;
use aws::config::{CacheTtl, ServiceTier, Settings};
use knowledge::access::Caller;
use knowledge::ask::{self, Answer, AskRequest};
use knowledge::ledger::{Line, Task};
use knowledge::snapshot::Snapshots;

use crate::instance::Instance;
use crate::retrievers::settings;

const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-lite-v1:0";
const OSS: &str = "openai.gpt-oss-20b-1:0";
const ROUTER: &str = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/amazon.nova:1";

/// An instance with documents long enough for a prompt cache.
async fn handbook() -> Instance {
    let instance = Instance::start().await;
    for number in 0..6 {
        let filler = format!("Keeper {number} writes in the log of the lighthouse every evening. ")
            .repeat(60);
        let text = format!(
            "# Lighthouse {number}\n\nThe gate of lighthouse {number} opens at nine.\n\n{filler}\n"
        );
        instance
            .ingest(&format!("lighthouse-{number}.md"), &text)
            .await;
    }
    instance
}

async fn ask(instance: &Instance, question: &str, change: impl Fn(&mut Settings)) -> Answer {
    let mut settings = settings(instance, None);
    change(&mut settings);
    let aws = Aws::new(settings);
    knowledge::models::check(&aws.settings).unwrap();
    let snapshots = Snapshots::new(&aws.settings.index).unwrap();
    let request = AskRequest {
        question: question.to_owned(),
        ..AskRequest::default()
    };
    let caller = Caller::user("local", &[]);
    let answer = ask::ask(&aws, &snapshots, &caller, &request, None).await;
    answer.unwrap().unwrap()
}

fn line(answer: &Answer) -> &Line {
    let lines = &answer.usage.lines;
    lines.iter().find(|line| line.task == Task::Answer).unwrap()
}

#[tokio::test]
async fn passages_that_are_asked_about_again_are_read_from_the_cache() {
    let instance = handbook().await;
    for model in [SONNET, NOVA] {
        let cached = |settings: &mut Settings| {
            settings.answer_model = model.to_owned();
            settings.prompt_cache = Some(CacheTtl::FiveMinutes);
        };
        let plain = |settings: &mut Settings| settings.answer_model = model.to_owned();
        let question = "When does the gate of lighthouse 3 open?";
        let without = ask(&instance, question, plain).await;
        let first = ask(&instance, question, cached).await;
        let second = ask(&instance, question, cached).await;
        assert!(
            without.answered && first.answered && second.answered,
            "{model}"
        );
        assert_eq!(without.answer, second.answer, "{model}");
        let units = |answer: &Answer| line(answer).units;
        assert_eq!(units(&without).cache_write_tokens, 0, "{model}");
        assert!(
            units(&first).cache_write_tokens > 1_000,
            "{model}: {:?}",
            line(&first)
        );
        assert_eq!(units(&first).cache_read_tokens, 0, "{model}");
        assert_eq!(
            units(&second).cache_read_tokens,
            units(&first).cache_write_tokens,
            "{model}"
        );
        let cost = |answer: &Answer| line(answer).cost_nano_usd.unwrap();
        assert!(
            cost(&second) < cost(&without),
            "{model}: reading is cheaper"
        );
        assert!(cost(&first) >= cost(&without), "{model}: writing is not");
    }
    let usage = instance.get("/v1/usage?group=model").await.body;
    let rows = usage["usage"].as_array().unwrap();
    let row = rows.iter().find(|row| row["model"] == SONNET).unwrap();
    assert!(row["cache_read_tokens"].as_u64().unwrap() > 1_000, "{row}");
}

#[tokio::test]
async fn flex_costs_half_and_priority_more() {
    let instance = handbook().await;
    let mut costs = BTreeMap::new();
    for tier in [
        ServiceTier::Default,
        ServiceTier::Flex,
        ServiceTier::Priority,
    ] {
        let of_tier = |settings: &mut Settings| {
            settings.answer_model = OSS.to_owned();
            settings.service_tier = tier;
        };
        let answer = ask(
            &instance,
            "When does the gate of lighthouse 3 open?",
            of_tier,
        )
        .await;
        let line = line(&answer);
        costs.insert(tier.as_str(), (line.units, line.cost_nano_usd.unwrap()));
    }
    let (units, whole) = costs["default"];
    assert_eq!((costs["flex"].0, costs["priority"].0), (units, units));
    // Each part of a cost is rounded up.
    assert!(costs["flex"].1.abs_diff(whole / 2) <= 2, "{costs:?}");
    assert!(
        costs["priority"].1.abs_diff(whole * 7 / 4) <= 2,
        "{costs:?}"
    );
}

#[tokio::test]
async fn a_routers_answer_is_billed_as_the_model_that_it_chose() {
    let instance = handbook().await;
    let routed = |settings: &mut Settings| settings.answer_model = ROUTER.to_owned();
    let answer = ask(
        &instance,
        "When does the gate of lighthouse 3 open?",
        routed,
    )
    .await;
    assert!(answer.answered, "{}", answer.answer);
    assert_eq!(answer.usage.model, ROUTER);
    assert_eq!(answer.usage.unpriced, Vec::<String>::new());
    assert!(
        line(&answer).model.ends_with("/us.amazon.nova-lite-v1:0"),
        "{:?}",
        line(&answer)
    );
    // With a cache by its family's name.
    let named = |settings: &mut Settings| {
        settings.answer_model = format!("{ROUTER}={NOVA}");
        settings.prompt_cache = Some(CacheTtl::FiveMinutes);
    };
    let cached = ask(&instance, "When does the gate of lighthouse 4 open?", named).await;
    assert!(
        line(&cached).units.cache_write_tokens > 1_000,
        "{:?}",
        line(&cached)
    );
}

#[test]
fn a_function_refuses_to_start_with_what_its_model_cannot_take() {
    let started = Command::new(env!("CARGO_BIN_EXE_outcrop"))
        .args(["__lambda", "query"])
        .env_clear()
        .envs([
            ("OUTCROP_TABLE", "t"),
            ("OUTCROP_BUCKET", "b"),
            ("OUTCROP_STATE_MACHINE_ARN", "arn"),
            ("OUTCROP_ANSWER_MODEL", OSS),
            ("OUTCROP_EMBED_MODEL", "e"),
            ("OUTCROP_EMBED_DIMENSIONS", "256"),
            ("OUTCROP_PROMPT_CACHE", "5m"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(!started.status.success(), "{said}");
    for part in ["OUTCROP_PROMPT_CACHE", "5m", OSS] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

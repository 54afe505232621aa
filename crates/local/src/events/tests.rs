use std::time::Duration;

use serde_json::json;

use super::*;
use crate::queues::Message;

fn queue(folder: &std::path::Path, clock: &Arc<Clock>) -> Arc<Queue> {
    let day = Duration::from_secs(86_400);
    Arc::new(Queue::open(folder, "queue", day, clock.clone()).unwrap())
}

/// A clock that begins on 2026-11-01 and runs so many times as fast as the world.
fn clock(speed: u32) -> Arc<Clock> {
    Arc::new(Clock::fast(1_793_534_400_000, 7, speed))
}

async fn bodies(queue: &Queue) -> Vec<String> {
    let taken = queue.receive(Duration::ZERO, 10).await;
    taken.into_iter().map(|Message { body, .. }| body).collect()
}

#[test]
fn patterns_match_as_eventbridges_do() {
    let event = json!({
        "source": "aws.s3",
        "resources": ["arn:aws:s3:::a", "arn:aws:s3:::b"],
        "detail": {"object": {"key": "sources/a.txt", "size": 7}, "none": null},
    });
    let check = |pattern: Value, expected: bool| {
        let read = Pattern::read(&pattern).unwrap();
        assert_eq!(read.matches(&event), expected, "{pattern}");
    };
    check(json!({"source": ["aws.s3"]}), true);
    check(json!({"source": ["aws.ec2", "aws.s3"]}), true);
    check(json!({"source": ["aws"]}), false);
    check(json!({"source": [{"prefix": "aws"}]}), true);
    check(json!({"resources": ["arn:aws:s3:::b"]}), true);
    check(json!({"resources": [{"prefix": "arn:aws:sqs"}]}), false);
    let key = |tests: Value| json!({"detail": {"object": {"key": tests}}});
    check(key(json!([{"prefix": "sources/"}])), true);
    check(key(json!([{"prefix": "texts/"}, "sources/a.txt"])), true);
    check(key(json!([{"prefix": "Sources/"}])), false);
    check(json!({"detail": {"object": {"size": [7]}}}), true);
    check(json!({"detail": {"object": {"size": ["7"]}}}), false);
    check(json!({"detail": {"none": [null]}}), true);
    check(json!({"detail": {"missing": [null]}}), false);
    check(
        json!({"source": ["aws.s3"], "detail": {"object": {"key": ["b"]}}}),
        false,
    );
}

#[test]
fn patterns_that_are_not_known_are_refused_by_name() {
    let check = |pattern: Value, part: &str| {
        let error = Pattern::read(&pattern).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    check(json!({"a": [{"suffix": ".txt"}]}), "suffix");
    check(json!({"a": [{"prefix": "a", "suffix": "b"}]}), "suffix");
    check(
        json!({"a": [{"prefix": {"equals-ignore-case": "b"}}]}),
        "equals-ignore-case",
    );
    check(json!({"$or": [{"a": ["b"]}]}), "$or");
    check(json!({"a": {"b": "c"}}), "a: b: ");
    check(json!({"a": []}), "a: ");
    check(json!({"a": [["b"]]}), "no value");
    check(json!({}), "neither");
}

#[test]
fn prefixes_of_keys_are_those_that_some_rule_waits_for() {
    let check = |patterns: &[Value], expected: &[&str]| {
        let rules = patterns
            .iter()
            .map(|one| Rule::new(one, Vec::new()).unwrap());
        assert_eq!(Bus::new(rules.collect(), clock(1)).key_prefixes(), expected);
    };
    let key = |tests: Value| json!({"source": ["aws.s3"], "detail": {"object": {"key": tests}}});
    check(&[], &[]);
    check(&[key(json!([{"prefix": "sources/"}]))], &["sources/"]);
    let exact = key(json!(["a.txt", {"prefix": "sources/"}]));
    check(
        &[key(json!([{"prefix": "sources/"}])), exact],
        &["a.txt", "sources/"],
    );
    check(&[json!({"source": ["aws.s3"]})], &[""]);
}

#[tokio::test]
async fn what_a_rule_matches_goes_to_its_queue_in_eventbridges_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock(1);
    let queue = queue(folder.path(), &clock);
    let target = |input: Option<&str>| Target {
        queue: queue.clone(),
        input: input.map(str::to_owned),
    };
    let rules = vec![
        Rule::new(
            &json!({"detail-type": ["Object Created"]}),
            vec![target(None)],
        )
        .unwrap(),
        Rule::new(
            &json!({"source": ["aws.s3"]}),
            vec![target(Some("instead"))],
        )
        .unwrap(),
        Rule::new(&json!({"source": ["aws.ec2"]}), vec![target(Some("never"))]).unwrap(),
    ];
    let bus = Bus::new(rules, clock);
    bus.put(
        "aws.s3",
        "Object Created",
        "arn:aws:s3:::b",
        json!({"version": "0"}),
    );
    let [event, instead] = bodies(&queue).await.try_into().unwrap();
    assert_eq!(instead, "instead");
    let event: Value = serde_json::from_str(&event).unwrap();
    let id = event["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    assert!(
        event["time"]
            .as_str()
            .unwrap()
            .starts_with("2026-11-01T12:00:0"),
        "{event}"
    );
    let expected = json!({
        "version": "0", "id": id, "detail-type": "Object Created", "source": "aws.s3", "account": "000000000000",
        "time": event["time"], "region": "us-east-1", "resources": ["arn:aws:s3:::b"], "detail": {"version": "0"},
    });
    assert_eq!(event, expected);
}

#[test]
fn rates_are_read_as_eventbridge_reads_them() {
    let check = |text: &str, seconds: u64| {
        let read: Schedule = text.parse().unwrap();
        let next = read.next_after(1_000);
        assert_eq!(
            (next, read.to_string()),
            (Some(1_000 + seconds * 1_000), text.to_owned())
        );
    };
    check("rate(1 day)", 86_400);
    check("rate(2 days)", 172_800);
    check("rate(1 hour)", 3_600);
    check("rate(90 minutes)", 5_400);
    check("rate(2 seconds)", 2);
    for text in [
        "",
        "1 day",
        "rate()",
        "rate(day)",
        "rate(0 days)",
        "rate(1 days)",
        "rate(2 day)",
        "rate(-1 days)",
        "rate(1.5 hours)",
        "rate(1 week)",
        "rate(18446744073709551615 days)",
    ] {
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(
            error.contains("is no schedule; write rate(1 hour)"),
            "{error}"
        );
    }
}

/// Times of EventBridge's User Guide, "Cron expressions", and of days that are not in every month or year.
#[test]
fn cron_expressions_are_read_as_eventbridge_reads_them() {
    let check = |text: &str, from: &str, expected: &[&str]| {
        let read: Schedule = text.parse().unwrap();
        let from: chrono::DateTime<chrono::Utc> = from.parse().unwrap();
        let mut at_ms = u64::try_from(from.timestamp_millis()).unwrap();
        for expected in expected {
            at_ms = read.next_after(at_ms).unwrap();
            assert_eq!(
                aws::clock::rfc3339(at_ms),
                format!("{expected}:00.000Z"),
                "{text}"
            );
        }
    };
    // A Thursday.
    let from = "2026-01-01T09:59:59Z";
    check(
        "cron(0 10 * * ? *)",
        from,
        &["2026-01-01T10:00", "2026-01-02T10:00"],
    );
    check(
        "cron(0 18 ? * MON-FRI *)",
        from,
        &["2026-01-01T18:00", "2026-01-02T18:00", "2026-01-05T18:00"],
    );
    check(
        "cron(0 8 1 * ? *)",
        from,
        &["2026-02-01T08:00", "2026-03-01T08:00"],
    );
    check(
        "cron(0/10 * ? * 2-6 *)",
        from,
        &["2026-01-01T10:00", "2026-01-01T10:10"],
    );
    check("cron(0 9 ? * 1 *)", from, &["2026-01-04T09:00"]);
    check("cron(0 9 ? * L *)", from, &["2026-01-03T09:00"]);
    check("cron(0 9 ? * 6L *)", from, &["2026-01-30T09:00"]);
    check("cron(0 9 ? * 3#2 *)", from, &["2026-01-13T09:00"]);
    check(
        "cron(30 7 L * ? *)",
        from,
        &["2026-01-31T07:30", "2026-02-28T07:30"],
    );
    // The fourth is a Sunday.
    check("cron(30 7 4W 1 ? *)", from, &["2026-01-05T07:30"]);
    check("cron(0 0 29 FEB ? *)", from, &["2028-02-29T00:00"]);
    check("cron(0 12 1 1 ? 2030)", from, &["2030-01-01T12:00"]);
    for never in ["cron(0 12 1 1 ? 2020)", "cron(0 12 30 FEB ? *)"] {
        let never: Schedule = never.parse().unwrap();
        assert_eq!(never.next_after(1_793_534_400_000), None);
    }
    let refused = |text: &str, part: &str| {
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("cron(0 4 * * ? *)"),
            "{error}"
        );
    };
    refused("cron(0 4 * * *)", "5 fields");
    refused("cron(0 0 4 * * ? *)", "7 fields");
    refused("cron(0 4 * * * *)", "must be ?");
    refused("cron(0 4 1 * MON *)", "must be ?");
    refused("cron(0 4 ? * ? *)", "must be ?");
    refused("cron(60 4 * * ? *)", "out of bounds");
    refused("cron(0 4 ? * +MON *)", "does not know");
    refused("cron(@daily 4 ? * MON *)", "does not know");
    refused("cron(0 4 * * ? *", "is no schedule");
}

/// A rate of a day that began anew with each start of a laptop would never be up.
#[tokio::test]
async fn a_schedule_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let timer = |expression: &str, clock: &Arc<Clock>| Timer {
        schedule: expression.parse().unwrap(),
        targets: vec![Target {
            queue: queue(folder.path(), clock),
            input: Some("it is time".to_owned()),
        }],
        file: folder.path().join("rule.json"),
        clock: clock.clone(),
    };
    let day_ms = 86_400_000;
    let begun = clock(1);
    let first = timer("rate(1 day)", &begun).first_due().unwrap();
    let begins = 1_793_534_400_000;
    assert!(
        (begins + day_ms..begins + day_ms + 60_000).contains(&first),
        "{first}"
    );
    // Started again half a day later, two days later, and in another year.
    let later = |half_days: u64| Arc::new(Clock::fast(begins + half_days * day_ms / 2, 7, 1));
    for half_days in [1, 4] {
        assert_eq!(
            timer("rate(1 day)", &later(half_days)).first_due(),
            Some(first)
        );
    }
    let set_back = Arc::new(Clock::fast(begins - 400 * day_ms, 7, 1));
    assert!(timer("rate(1 day)", &set_back).first_due().unwrap() < begins - 398 * day_ms);
    // Another schedule begins anew.
    let other = timer("rate(1 hour)", &begun).first_due().unwrap();
    assert!(other < first, "{other}");
    // What was missed comes once, and then as the rate says.
    let late = Arc::new(Clock::fast(begins + 9 * day_ms, 7, 3_600));
    let timer = timer("rate(1 hour)", &late);
    let queue = timer.targets[0].queue.clone();
    let running = tokio::spawn(timer.run());
    let mut sent = Vec::new();
    while sent.len() < 3 {
        sent.extend(bodies(&queue).await);
    }
    assert!(sent.iter().all(|body| body == "it is time"), "{sent:?}");
    // Of the days that were missed there is one, so that the next is still to come.
    let noted = std::fs::read(folder.path().join("rule.json")).unwrap();
    let noted: Value = serde_json::from_slice(&noted).unwrap();
    assert!(
        noted["at_ms"].as_u64().unwrap() > begins + 9 * day_ms,
        "{noted}"
    );
    running.abort();
}

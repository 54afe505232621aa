//! Limits of requests: exactly as many get through as are allowed, whoever comes at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::{Aws, clock};
use futures_util::{StreamExt, stream};
use knowledge::access::Caller;
use knowledge::limits::{self, Limits};
use knowledge::roles::Role;
use knowledge::spaces::{self, Entered};
use reqwest::Method;
use serde_json::{Value, json};

use crate::instance::{Instance, Reply};
use crate::retrievers::settings;

const PARALLEL: usize = 200;
const MINUTE_MS: u64 = 60_000;

async fn set(instance: &Instance, limits: Value) {
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    let reply = instance
        .send(request.json(&json!({"limits": limits})))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// Waits, should the minute be about to end: what follows is to be counted in one.
pub async fn begin_of_a_minute() {
    let gone = clock::now_ms() % MINUTE_MS;
    if gone > MINUTE_MS / 2 {
        tokio::time::sleep(Duration::from_millis(MINUTE_MS - gone)).await;
    }
}

/// How many of 200 requests at once are counted, and which limit the others are told of.
async fn at_once(
    aws: &Aws,
    entered: &Entered,
    callers: &[Caller],
    now_ms: u64,
) -> (usize, Vec<String>) {
    let asked = (0..PARALLEL).map(|number| {
        let caller = &callers[number % callers.len()];
        limits::count_at(aws, entered, caller, now_ms)
    });
    let ended: Vec<_> = stream::iter(asked)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let (through, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    let told = refused.into_iter().map(|refused| {
        let error = refused.unwrap_err();
        assert_eq!(
            (error.name(), error.status()),
            ("RateLimited", 429),
            "{error}"
        );
        error.to_string()
    });
    (through.len(), told.collect())
}

#[tokio::test]
async fn of_two_hundred_at_once_as_many_get_through_as_are_allowed() {
    let instance = Instance::start().await;
    // Two hundred connections at once: on a busy machine some are made at a second attempt, which counts nothing twice.
    let aws = Aws::new(settings(&instance, None).with_sdk_retries(5));
    let entered = |caller_per_minute: u64, space_per_minute: u64| {
        let (aws, limits) = (
            aws.clone(),
            Limits {
                caller_per_minute,
                space_per_minute,
            },
        );
        async move {
            let owner = Caller::user("ada", &[]);
            let entered = spaces::enter(&aws, "default", &owner, Role::Reader)
                .await
                .unwrap();
            Entered { limits, ..entered }
        }
    };
    let (ada, bob) = (Caller::user("ada", &[]), Caller::user("bob", &[]));
    let now_ms = 29_000_000 * MINUTE_MS + 18_000;
    let check =
        async |limits: (u64, u64), callers: &[Caller], minute: u64, through: usize, told: &str| {
            let entered = entered(limits.0, limits.1).await;
            let now_ms = now_ms + minute * MINUTE_MS;
            let (found, refused) = at_once(&aws, &entered, callers, now_ms).await;
            assert_eq!(found, through, "{limits:?}");
            assert!(
                refused.iter().all(|words| words.contains(told)),
                "{refused:?}"
            );
            assert!(
                refused.iter().all(|words| words.contains("42 seconds")),
                "{refused:?}"
            );
        };
    let one = [ada.clone()];
    let both = [ada, bob];
    check((50, 0), &one, 0, 50, "this caller has made its 50").await;
    check((50, 0), &one, 0, 0, "this caller").await;
    // The next minute is another.
    check((50, 0), &one, 1, 50, "this caller").await;
    // Each caller has a limit, all of them have one together.
    check((50, 0), &both, 2, 100, "this caller").await;
    check((0, 50), &both, 3, 50, "this space has made its 50").await;
    check((30, 50), &both, 4, 50, "this").await;
    check((20, 50), &both, 5, 40, "this caller has made its 20").await;
    check((0, 0), &both, 6, PARALLEL, "").await;
}

#[tokio::test]
async fn a_caller_over_the_limit_is_told_when_to_come_back() {
    let instance = Instance::start().await;
    instance
        .ingest("kept.txt", "The kept document is about marmots.")
        .await;
    set(&instance, json!({"caller_per_minute": 50})).await;
    let search = |token: &str| {
        let body = json!({"query": "marmots", "mode": "lexical"});
        let request = instance.request(Method::POST, "/v1/search").json(&body);
        instance.send(request.bearer_auth(token.to_owned()))
    };
    // Fewer at a time than the laptop has processes; all within one minute, which a busy machine may need several for.
    let mut replies = Vec::new();
    for attempt in 0..5 {
        begin_of_a_minute().await;
        let token = instance.token(&format!("user-{attempt}"), &[]);
        let minute = clock::now_ms() / MINUTE_MS;
        let sent = (0..PARALLEL).map(|_| search(&token));
        replies = stream::iter(sent)
            .buffer_unordered(6)
            .collect::<Vec<Reply>>()
            .await;
        if clock::now_ms() / MINUTE_MS == minute {
            break;
        }
        replies.clear();
    }
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for reply in &replies {
        *statuses.entry(reply.status.as_u16()).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 50), (429, 150)]));
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    assert_eq!(refused.body["name"], "RateLimited", "{}", refused.body);
    assert_eq!(refused.body["retry"], true);
    assert_eq!(refused.content_type, "application/problem+json");
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

/// What is counted, and for whom.
#[tokio::test]
async fn questions_actions_and_changes_are_counted_and_reading_is_not() {
    let instance = Instance::start().await;
    let kept = json!({"name": "kept.txt", "content": "Marmots are kept.", "readers": ["everyone"]});
    let stored = instance.post("/v1/documents", &kept).await.body;
    instance.finished(stored["run_id"].as_str().unwrap()).await;
    let id = stored["document_id"].as_str().unwrap();
    let roles = json!({"editor": ["group:writers"]});
    let request = instance.request(Method::PUT, "/v1/spaces/default");
    instance
        .send(request.json(&json!({"roles": roles, "limits": {"caller_per_minute": 1}})))
        .await;
    let mcp = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_documents", "arguments": {}},
    });
    let counted: [(&str, &str, Value); 8] = [
        ("POST", "/v1/search", json!({"query": "marmots"})),
        ("POST", "/v1/ask", json!({"question": "What are marmots?"})),
        (
            "POST",
            "/v1/guardrail/check",
            json!({"source": "INPUT", "text": "marmots"}),
        ),
        (
            "POST",
            "/v1/documents",
            json!({"name": "a.txt", "content": "Voles."}),
        ),
        ("POST", "/v1/uploads", json!({"name": "b.txt", "bytes": 1})),
        ("POST", "/v1/runs", json!({})),
        ("DELETE", "/v1/documents/ID", Value::Null),
        ("POST", "/mcp", mcp),
    ];
    let send = async |token: &str, (method, path, body): &(&str, &str, Value)| {
        let method: Method = method.parse().unwrap();
        let path = path.replace("ID", id);
        let accept = "application/json, text/event-stream";
        let mut request = instance.request(method, &path).header("accept", accept);
        if !body.is_null() {
            request = request.json(body);
        }
        instance.send(request.bearer_auth(token)).await
    };
    let is_limited = |reply: &Reply| reply.body.to_string().contains("RateLimited");
    for (number, row) in counted.iter().enumerate() {
        let token = instance.token(&format!("user-{number}"), &["writers"]);
        let search = ("POST", "/v1/search", json!({"query": "marmots"}));
        begin_of_a_minute().await;
        assert!(!is_limited(&send(&token, &search).await), "{row:?}");
        let second = send(&token, row).await;
        assert!(
            is_limited(&second),
            "{row:?} is not counted: {}",
            second.body
        );
    }
    let token = instance.token("reader", &[]);
    for path in [
        "/v1/documents",
        "/v1/documents/ID",
        "/v1/documents/ID/text",
        "/v1/health",
        "/v1/spaces/default",
    ] {
        for _ in 0..3 {
            let read = send(&token, &("GET", path, Value::Null)).await;
            assert_eq!(read.status, 200, "{path} {}", read.body);
        }
    }
}

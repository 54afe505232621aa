//! Nothing reaches a passage outside the caller's set: generated requests against the real functions, and some of them
//! through the whole gateway. Each secret has a word that no request holds; it must be in no reply to who may not see it.

mod requests;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use local::lambda::{Invocation, Pieces};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use requests::{Case, Http, Request};
use world::{PEOPLE, Person, World};

/// Requests to the functions, by the gateway's events.
const CASES: usize = 10_000;
/// Requests over HTTP, with tokens.
const CASES_OVER_HTTP: usize = 400;
/// Requests that are under way at once; as many as there are processes for them.
const SIDE_BY_SIDE: usize = 6;

/// What came back, whole: status, headers and body in one text.
struct Told {
    text: String,
    /// 5xx, or a function that failed.
    broken: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_reaches_what_its_sender_may_not_see() {
    let world = Arc::new(World::make().await);
    let before = state(&world).await;
    let mut runner = TestRunner::default();
    let strategy = requests::cases(&world);
    let mut draw = || strategy.new_tree(&mut runner).unwrap().current();
    let drawn: Vec<Case> = (0..CASES).map(|_| draw()).collect();
    let over_http: Vec<Case> = (0..CASES_OVER_HTTP).map(|_| draw()).collect();
    let tokens = tokens(&world);
    let mut shown = BTreeMap::new();
    let through_functions = stream::iter(drawn).map(|case| {
        let world = Arc::clone(&world);
        async move {
            let told = by_event(&world, &case).await;
            (case, Some(told))
        }
    });
    let through_gateway = stream::iter(over_http).map(|case| {
        let (world, tokens) = (Arc::clone(&world), tokens.clone());
        async move {
            let told = over_the_gateway(&world, &tokens, &case).await;
            (case, told)
        }
    });
    let mut results = through_functions.buffer_unordered(SIDE_BY_SIDE);
    while let Some((case, told)) = results.next().await {
        look(&world, &case, told, &mut shown);
    }
    let mut results = through_gateway.buffer_unordered(SIDE_BY_SIDE);
    while let Some((case, told)) = results.next().await {
        look(&world, &case, told, &mut shown);
    }
    assert_everything_was_in_reach(&world, &shown);
    assert_eq!(state(&world).await, before, "nothing was changed");
}

/// Words that each person was shown.
type Shown = BTreeMap<usize, BTreeSet<String>>;

/// The property.
fn look(world: &World, case: &Case, told: Option<Told>, shown: &mut Shown) {
    let Some(told) = told else { return };
    let person = &PEOPLE[case.person];
    assert!(!told.broken, "{person:?} {case:?}: {}", told.text);
    for secret in world.all() {
        if !told.text.contains(&secret.canary) {
            continue;
        }
        assert!(
            sees(person, case, secret),
            "{person:?} was shown {secret:?} by {case:?}: {}",
            told.text
        );
        shown
            .entry(case.person)
            .or_default()
            .insert(secret.canary.clone());
    }
}

/// A gateway of agents vouches for nobody, whoever it calls for.
fn sees(person: &Person, case: &Case, secret: &world::Secret) -> bool {
    let nobody = Person {
        user: None,
        groups: &[],
    };
    match &case.request {
        Request::Tool {
            form: crate::agent_calls::Form::Gateway,
            ..
        } => nobody.may_see(secret),
        _ if person.user.is_none() => nobody.may_see(secret),
        _ => person.may_see(secret),
    }
}

/// A test that is shown nothing proves nothing: each person was shown all documents that they may see.
fn assert_everything_was_in_reach(world: &World, shown: &Shown) {
    for (number, person) in PEOPLE.iter().enumerate() {
        let nothing = BTreeSet::new();
        let shown = shown.get(&number).unwrap_or(&nothing);
        for secret in world.secrets.iter().filter(|secret| person.may_see(secret)) {
            assert!(
                shown.contains(&secret.canary),
                "{person:?} never saw {secret:?}"
            );
        }
    }
}

/// What the owner of the world sees of it: every document's version and text, and the settings of the spaces.
async fn state(world: &World) -> Vec<Value> {
    let mut state = Vec::new();
    for secret in &world.secrets {
        let key = aws::dynamo::keys::document(&secret.id);
        let row: Option<Value> = world.place.aws.table.get(&key).await.unwrap();
        let row = row.unwrap_or_default();
        let kept = ["status", "readers", "published", "name", "metadata"];
        state.extend(kept.map(|field| row[field].clone()));
        let (space, _, _) = world::SPACES[secret.space];
        let source = knowledge::names::source_key(space, &secret.name);
        let bytes = world.place.aws.bucket.get(&source).await.unwrap();
        state.push(json!(String::from_utf8_lossy(&bytes)));
    }
    for (space, _, _) in world::SPACES {
        let reply = world.instance().get(&format!("/v1/spaces/{space}")).await;
        state.push(reply.body["roles"].clone());
    }
    state
}

fn claims(person: &Person) -> Value {
    match person.user {
        Some(user) => json!({"sub": user, "cognito:groups": person.groups.join(",")}),
        None => Value::Null,
    }
}

/// Whether the request would change what its sender may change: the world must stay as it is.
fn would_change(world: &World, case: &Case) -> bool {
    let person = &PEOPLE[case.person];
    let may_edit = person.user == Some("bob");
    let of_bob = |id: &str| {
        let mine = |secret: &world::Secret| secret.id == id.trim() && person.may_see(secret);
        world.secrets.iter().any(mine)
    };
    match &case.request {
        Request::Http(Http {
            method: "DELETE",
            parameter: Some((_, id)),
            ..
        }) => may_edit && of_bob(id),
        Request::Http(Http {
            method: "POST",
            resource: "/v1/runs",
            body: Some(body),
            ..
        }) => {
            let ids = body["documents"].as_array().into_iter().flatten();
            may_edit && ids.filter_map(Value::as_str).all(of_bob)
        }
        _ => false,
    }
}

/// Sends the request to the function as the gateway would.
async fn by_event(world: &World, case: &Case) -> Told {
    let (function, event, context) = match &case.request {
        Request::Http(http) => {
            let event = http.event(&claims(&PEOPLE[case.person]), &case.headers);
            (http.function(), event, None)
        }
        Request::Tool {
            form,
            action,
            arguments,
            space,
        } => {
            let person = &PEOPLE[case.person];
            let (event, context) = requests::tool_event(*form, action, arguments, space, person);
            ("outcrop-agent-action", event, context)
        }
    };
    if would_change(world, case) {
        return Told {
            text: String::new(),
            broken: false,
        };
    }
    loop {
        let context = context.as_ref().map(Value::to_string);
        let invoked = world
            .host
            .invoke_with_context(function, event.to_string().into(), context)
            .await;
        return match invoked {
            Ok(Invocation::Reply(bytes)) => read(&String::from_utf8_lossy(&bytes)),
            Ok(Invocation::Stream(pieces)) => read(&whole(pieces).await),
            // The form in which a gateway's target tells of a fault.
            Ok(Invocation::FunctionError(bytes)) => Told {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                broken: false,
            },
            Err(error) if error.name() == "TooManyRequestsException" => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            }
            Err(error) => panic!("{case:?}: {error}"),
        };
    }
}

fn read(text: &str) -> Told {
    let broken = serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|reply| reply["statusCode"].as_u64())
        .is_some_and(|status| status >= 500);
    Told {
        text: text.to_owned(),
        broken,
    }
}

async fn whole(mut pieces: Pieces) -> String {
    let mut whole = Vec::new();
    while let Some(piece) = pieces.recv().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    String::from_utf8_lossy(&whole).into_owned()
}

fn tokens(world: &World) -> Vec<Option<String>> {
    let token = |person: &Person| {
        let user = person.user?;
        Some(world.instance().token(user, person.groups))
    };
    PEOPLE.iter().map(token).collect()
}

/// Sends the request over HTTP; `None` for what does not come over HTTP, and for who has no token there.
async fn over_the_gateway(world: &World, tokens: &[Option<String>], case: &Case) -> Option<Told> {
    let Request::Http(http) = &case.request else {
        return None;
    };
    let token = tokens[case.person].as_ref()?;
    if would_change(world, case) {
        return None;
    }
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut path = http.resource.to_owned();
    if let Some((name, value)) = &http.parameter {
        path = path.replace(&format!("{{{name}}}"), &encoded(value));
    }
    let query: Vec<String> = http
        .query
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let method: Method = http.method.parse().unwrap();
    let mut request = world.instance().request(method, &path).bearer_auth(token);
    for (name, value) in &case.headers {
        if *name != "cognito:groups" {
            request = request.header(*name, value);
        }
    }
    let accept = "application/json, text/event-stream";
    request = request.header("accept", accept);
    if let Some(body) = &http.body {
        request = request.json(body);
    }
    let reply = request.send().await.unwrap();
    let (status, headers) = (reply.status(), format!("{:?}", reply.headers()));
    let body = reply.text().await.unwrap();
    Some(Told {
        text: format!("{status} {headers} {body}"),
        broken: status.is_server_error(),
    })
}

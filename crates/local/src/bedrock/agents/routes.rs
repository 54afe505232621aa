//! The routes of `bedrock-agent`. Handlers read the path, call and reply.
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{MethodRouter, get, post, put};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::super::Bedrock;
use super::super::wire::{WireError, json_reply, reply};
use super::{action_group, agent, alias, collaborator, knowledge, prepare, tags, version};

type Shared = State<Bedrock>;
type Two = Path<(String, String)>;
type Three = Path<(String, String, String)>;

fn ok(result: Result<Value, WireError>) -> Response<Body> {
    with(StatusCode::OK, result)
}

fn accepted(result: Result<Value, WireError>) -> Response<Body> {
    with(StatusCode::ACCEPTED, result)
}

fn with(status: StatusCode, result: Result<Value, WireError>) -> Response<Body> {
    match result {
        Ok(value) => {
            let mut response = json_reply(&value);
            *response.status_mut() = status;
            response
        }
        Err(error) => error.into_response(),
    }
}

fn gone(result: Result<(), WireError>) -> Response<Body> {
    match result {
        Ok(()) => reply(StatusCode::NO_CONTENT, "application/json", Body::empty()),
        Err(error) => error.into_response(),
    }
}

/// `skipResourceInUseCheck=true`.
fn anyway(query: &Option<String>) -> bool {
    let mut pairs = query.iter().flat_map(|query| query.split('&'));
    pairs.any(|pair| pair == "skipResourceInUseCheck=true")
}

/// The paths of `bedrock-agent`, without their trailing slash.
pub(in crate::bedrock) fn operations() -> Vec<(&'static str, MethodRouter<Bedrock>)> {
    let mut all = vec![
        ("/agents", put(create_agent).post(list_agents)),
        (
            "/agents/{agent}",
            get(async |State(b): Shared, Path(id): Path<String>| ok(agent::get(&b.agents, &id)))
                .put(update_agent)
                .post(prepare_agent)
                .delete(delete_agent),
        ),
        ("/agents/{agent}/agentversions", post(list_versions)),
        (
            "/agents/{agent}/agentversions/{version}",
            get(get_version).delete(delete_version),
        ),
        (
            "/tags/{arn}",
            get(list_tags).post(add_tags).delete(remove_tags),
        ),
    ];
    all.extend(aliases());
    all.extend(action_groups());
    all.extend(knowledge_bases());
    all.extend(collaborators());
    all
}

async fn create_agent(State(b): Shared, body: Bytes) -> Response<Body> {
    accepted(agent::create(&b.agents, &body))
}

async fn list_agents(State(b): Shared, body: Bytes) -> Response<Body> {
    ok(agent::list(&b.agents, &body))
}

async fn update_agent(State(b): Shared, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    accepted(agent::update(&b.agents, &id, &body))
}

/// InvokeInlineAgent of `bedrock-agent-runtime` has the same method and path; it is told by its body.
async fn prepare_agent(State(b): Shared, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    if !matches!(&body[..], b"" | b"{}") {
        return WireError::unsupported("InvokeInlineAgent (create an agent)").into_response();
    }
    accepted(prepare::prepare(&b, &id).await)
}

async fn delete_agent(
    State(b): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    accepted(agent::delete(&b.agents, &id, anyway(&query)))
}

async fn list_versions(State(b): Shared, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    ok(version::list(&b.agents, &id, &body))
}

async fn get_version(State(b): Shared, Path((id, number)): Two) -> Response<Body> {
    ok(version::get(&b.agents, &id, &number))
}

async fn delete_version(
    State(b): Shared,
    Path((id, version)): Two,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    accepted(version::delete(&b.agents, &id, &version, anyway(&query)))
}

async fn list_tags(State(b): Shared, Path(arn): Path<String>) -> Response<Body> {
    ok(tags::list(&b.agents, &arn))
}

async fn add_tags(State(b): Shared, Path(arn): Path<String>, body: Bytes) -> Response<Body> {
    ok(tags::add(&b.agents, &arn, &body))
}

async fn remove_tags(
    State(b): Shared,
    Path(arn): Path<String>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let query = query.unwrap_or_default();
    let keys = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("tagKeys="));
    let decoded = keys.map(|key| {
        percent_encoding::percent_decode_str(key)
            .decode_utf8_lossy()
            .into_owned()
    });
    ok(tags::remove(&b.agents, &arn, &decoded.collect::<Vec<_>>()))
}

fn aliases() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let create = async |State(b): Shared, Path(id): Path<String>, body: Bytes| {
        accepted(alias::create(&b.agents, &id, &body))
    };
    let list = async |State(b): Shared, Path(id): Path<String>, body: Bytes| {
        ok(alias::list(&b.agents, &id, &body))
    };
    let get_one =
        async |State(b): Shared, Path((id, alias)): Two| ok(alias::get(&b.agents, &id, &alias));
    let update = async |State(b): Shared, Path((id, alias)): Two, body: Bytes| {
        accepted(alias::update(&b.agents, &id, &alias, &body))
    };
    let remove = async |State(b): Shared, Path((id, alias)): Two| {
        accepted(alias::delete(&b.agents, &id, &alias))
    };
    [
        ("/agents/{agent}/agentaliases", put(create).post(list)),
        (
            "/agents/{agent}/agentaliases/{alias}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

fn action_groups() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let create = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(action_group::create(&b.agents, &id, &version, &body))
    };
    let list = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(action_group::list(&b.agents, &id, &version, &body))
    };
    let get_one = async |State(b): Shared, Path((id, version, group)): Three| {
        ok(action_group::get(&b.agents, &id, &version, &group))
    };
    let update = async |State(b): Shared, Path((id, version, group)): Three, body: Bytes| {
        ok(action_group::update(
            &b.agents, &id, &version, &group, &body,
        ))
    };
    let remove =
        async |State(b): Shared, Path((id, version, group)): Three, RawQuery(query): RawQuery| {
            let anyway = anyway(&query);
            gone(action_group::delete(
                &b.agents, &id, &version, &group, anyway,
            ))
        };
    [
        (
            "/agents/{agent}/agentversions/{version}/actiongroups",
            put(create).post(list),
        ),
        (
            "/agents/{agent}/agentversions/{version}/actiongroups/{group}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

fn knowledge_bases() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let associate = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(knowledge::associate(&b.agents, &id, &version, &body))
    };
    let list = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(knowledge::list(&b.agents, &id, &version, &body))
    };
    let get_one = async |State(b): Shared, Path((id, version, base)): Three| {
        ok(knowledge::get(&b.agents, &id, &version, &base))
    };
    let update = async |State(b): Shared, Path((id, version, base)): Three, body: Bytes| {
        ok(knowledge::update(&b.agents, &id, &version, &base, &body))
    };
    let remove = async |State(b): Shared, Path((id, version, base)): Three| {
        gone(knowledge::disassociate(&b.agents, &id, &version, &base))
    };
    [
        (
            "/agents/{agent}/agentversions/{version}/knowledgebases",
            put(associate).post(list),
        ),
        (
            "/agents/{agent}/agentversions/{version}/knowledgebases/{base}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

fn collaborators() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let associate = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(collaborator::associate(&b.agents, &id, &version, &body))
    };
    let list = async |State(b): Shared, Path((id, version)): Two, body: Bytes| {
        ok(collaborator::list(&b.agents, &id, &version, &body))
    };
    let get_one = async |State(b): Shared, Path((id, version, other)): Three| {
        ok(collaborator::get(&b.agents, &id, &version, &other))
    };
    let update = async |State(b): Shared, Path((id, version, other)): Three, body: Bytes| {
        ok(collaborator::update(
            &b.agents, &id, &version, &other, &body,
        ))
    };
    let remove = async |State(b): Shared, Path((id, version, other)): Three| {
        gone(collaborator::disassociate(&b.agents, &id, &version, &other))
    };
    [
        (
            "/agents/{agent}/agentversions/{version}/agentcollaborators",
            put(associate).post(list),
        ),
        (
            "/agents/{agent}/agentversions/{version}/agentcollaborators/{other}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

//! The routes of knowledge bases. Handlers read the path, call and reply.
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get, post, put};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use super::super::Bedrock;
use super::super::routes::strike;
use super::super::wire::{WireError, json_reply};
use super::{base, documents, job, source};

type Shared = State<Bedrock>;
type Two = Path<(String, String)>;
type Three = Path<(String, String, String)>;

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

/// The reply of an operation that faults may strike.
async fn struck(
    bedrock: &Bedrock,
    operation: &str,
    status: StatusCode,
    call: impl FnOnce(&Bedrock) -> Result<Value, WireError>,
) -> Response<Body> {
    let result = match strike(bedrock, operation).await {
        Ok(_) => call(bedrock),
        Err(error) => Err(error),
    };
    with(status, result)
}

/// The paths, without their trailing slash.
pub(in crate::bedrock) fn operations() -> Vec<(&'static str, MethodRouter<Bedrock>)> {
    let mut all = Vec::from(bases());
    all.extend(sources());
    all.extend(jobs());
    all.extend(direct());
    all
}

fn bases() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let create = async |State(b): Shared, body: Bytes| {
        with(StatusCode::ACCEPTED, base::create(&b.bases, &body))
    };
    let list =
        async |State(b): Shared, body: Bytes| with(StatusCode::OK, base::list(&b.bases, &body));
    let get_one = async |State(b): Shared, Path(id): Path<String>| {
        with(StatusCode::OK, base::get(&b.bases, &id))
    };
    let update = async |State(b): Shared, Path(id): Path<String>, body: Bytes| {
        with(StatusCode::ACCEPTED, base::update(&b.bases, &id, &body))
    };
    let remove = async |State(b): Shared, Path(id): Path<String>| {
        with(StatusCode::ACCEPTED, base::delete(&b.bases, &id))
    };
    [
        ("/knowledgebases", put(create).post(list)),
        (
            "/knowledgebases/{id}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

fn sources() -> [(&'static str, MethodRouter<Bedrock>); 2] {
    let create = async |State(b): Shared, Path(id): Path<String>, body: Bytes| {
        with(StatusCode::OK, source::create(&b.bases, &id, &body))
    };
    let list = async |State(b): Shared, Path(id): Path<String>, body: Bytes| {
        with(StatusCode::OK, source::list(&b.bases, &id, &body))
    };
    let get_one = async |State(b): Shared, Path(place): Two| {
        struck(&b, "GetDataSource", StatusCode::OK, |b| {
            source::get(&b.bases, &place)
        })
        .await
    };
    let update = async |State(b): Shared, Path(place): Two, body: Bytes| {
        with(StatusCode::OK, source::update(&b.bases, &place, &body))
    };
    let remove = async |State(b): Shared, Path(place): Two| {
        with(StatusCode::ACCEPTED, source::delete(&b.bases, &place))
    };
    [
        ("/knowledgebases/{id}/datasources", put(create).post(list)),
        (
            "/knowledgebases/{id}/datasources/{source}",
            get(get_one).put(update).delete(remove),
        ),
    ]
}

fn jobs() -> [(&'static str, MethodRouter<Bedrock>); 3] {
    let start = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(&b, "StartIngestionJob", StatusCode::ACCEPTED, |b| {
            job::start(b, &place, &body)
        })
        .await
    };
    let list = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(&b, "ListIngestionJobs", StatusCode::OK, |b| {
            job::list(&b.bases, &place, &body)
        })
        .await
    };
    let get_one = async |State(b): Shared, Path((base, source, id)): Three| {
        struck(&b, "GetIngestionJob", StatusCode::OK, |b| {
            job::get(&b.bases, &(base, source), &id)
        })
        .await
    };
    let stop = async |State(b): Shared, Path((base, source, id)): Three| {
        struck(&b, "StopIngestionJob", StatusCode::ACCEPTED, |b| {
            job::stop(&b.bases, &(base, source), &id)
        })
        .await
    };
    [
        (
            "/knowledgebases/{id}/datasources/{source}/ingestionjobs",
            put(start).post(list),
        ),
        (
            "/knowledgebases/{id}/datasources/{source}/ingestionjobs/{job}",
            get(get_one),
        ),
        (
            "/knowledgebases/{id}/datasources/{source}/ingestionjobs/{job}/stop",
            post(stop),
        ),
    ]
}

fn direct() -> [(&'static str, MethodRouter<Bedrock>); 3] {
    let ingest = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(
            &b,
            "IngestKnowledgeBaseDocuments",
            StatusCode::ACCEPTED,
            |b| documents::ingest(b, &place, &body),
        )
        .await
    };
    let list = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(&b, "ListKnowledgeBaseDocuments", StatusCode::OK, |b| {
            documents::list(&b.bases, &place, &body)
        })
        .await
    };
    let get_some = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(&b, "GetKnowledgeBaseDocuments", StatusCode::OK, |b| {
            documents::get(&b.bases, &place, &body)
        })
        .await
    };
    let remove = async |State(b): Shared, Path(place): Two, body: Bytes| {
        struck(
            &b,
            "DeleteKnowledgeBaseDocuments",
            StatusCode::ACCEPTED,
            |b| documents::delete(b, &place, &body),
        )
        .await
    };
    [
        (
            "/knowledgebases/{id}/datasources/{source}/documents",
            put(ingest).post(list),
        ),
        (
            "/knowledgebases/{id}/datasources/{source}/documents/getDocuments",
            post(get_some),
        ),
        (
            "/knowledgebases/{id}/datasources/{source}/documents/deleteDocuments",
            post(remove),
        ),
    ]
}

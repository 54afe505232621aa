//! The routes of this function: uploads, runs, spaces, and what agents leave to people.

use aws::lambda::{HttpRequest, Reply};
use aws::{Aws, RetrieverSetting};
use http::StatusCode;
use knowledge::access::Caller;
use knowledge::documents::{self, NewDocument};
use knowledge::http::{self as web, Route};
use knowledge::idempotency::Asked;
use knowledge::problem::parse_json;
use knowledge::roles::Role;
use knowledge::runs::Task;
use knowledge::sources::SourceForm;
use knowledge::spaces::SpaceChange;
use knowledge::{
    KnowledgeError, batch_embedding, entries, idempotency, knowledge_base, limits, orders, runs,
    sources, spaces, uploads,
};
use serde_json::{Value, json};

use crate::body::{self, LinkForm, OrdersForm, RunForm, SpaceForm, Upload, Uploads};
use crate::tickets;

/// What this function serves; `infra/openapi.yaml` says the same, and a test holds the two together.
pub const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/documents",
    },
    Route {
        method: "DELETE",
        path: "/v1/documents/{document_id}",
    },
    Route {
        method: "POST",
        path: "/v1/uploads",
    },
    Route {
        method: "POST",
        path: "/v1/runs",
    },
    Route {
        method: "GET",
        path: "/v1/runs",
    },
    Route {
        method: "GET",
        path: "/v1/runs/{run_id}",
    },
    Route {
        method: "GET",
        path: "/v1/runs/{run_id}/changes",
    },
    Route {
        method: "POST",
        path: "/v1/runs/{run_id}/redrive",
    },
    Route {
        method: "GET",
        path: "/v1/spaces/{space}",
    },
    Route {
        method: "PUT",
        path: "/v1/spaces/{space}",
    },
    Route {
        method: "GET",
        path: "/v1/spaces/{space}/sources",
    },
    Route {
        method: "PUT",
        path: "/v1/spaces/{space}/sources/{source}",
    },
    Route {
        method: "DELETE",
        path: "/v1/spaces/{space}/sources/{source}",
    },
    Route {
        method: "POST",
        path: "/v1/orders",
    },
    Route {
        method: "GET",
        path: "/v1/tickets",
    },
    Route {
        method: "GET",
        path: "/v1/tickets/{ticket_id}",
    },
    Route {
        method: "PUT",
        path: "/v1/tickets/{ticket_id}",
    },
    Route {
        method: "POST",
        path: "/v1/tickets/{ticket_id}/notes",
    },
    Route {
        method: "GET",
        path: "/v1/flags",
    },
    Route {
        method: "GET",
        path: "/v1/audit",
    },
];

pub(crate) async fn route(aws: &Aws, request: &HttpRequest) -> Reply {
    match answer(aws, request).await {
        Ok(reply) => reply,
        Err(error) => web::problem(&error),
    }
}

async fn answer(aws: &Aws, request: &HttpRequest) -> Result<Reply, KnowledgeError> {
    let number = web::find(ROUTES, request)?;
    let caller = web::caller(request);
    let Route { method, path } = ROUTES[number];
    if ["/v1/tickets", "/v1/flags", "/v1/audit"]
        .iter()
        .any(|begin| path.starts_with(begin))
    {
        return tickets::answer(aws, &caller, request, (method, path)).await;
    }
    match (method, path) {
        ("POST", "/v1/documents") => upload(aws, &caller, request).await,
        ("DELETE", "/v1/documents/{document_id}") => delete(aws, &caller, request).await,
        (method, path) if path.starts_with("/v1/spaces/{space}/sources") => {
            source(aws, &caller, request, method).await
        }
        ("POST", "/v1/uploads") => announce(aws, &caller, request).await,
        ("POST", "/v1/orders") => import_orders(aws, &caller, request).await,
        ("POST", "/v1/runs") => start(aws, &caller, request).await,
        ("POST", "/v1/runs/{run_id}/redrive") => {
            let run_id = runs::redrive(aws, web::parameter(request, "run_id"), &caller).await?;
            Ok(accepted(&json!({ "run_id": run_id })))
        }
        ("GET", "/v1/runs/{run_id}") => Ok(web::json(
            StatusCode::OK,
            &runs::get(aws, web::parameter(request, "run_id"), &caller).await?,
        )),
        ("GET", "/v1/runs/{run_id}/changes") => {
            let run_id = web::parameter(request, "run_id");
            let limit = web::limit(request, 200, 1_000)?;
            let cursor = request.query.get("cursor").map(String::as_str);
            let page = runs::changes(aws, run_id, &caller, limit, cursor).await?;
            Ok(web::json(StatusCode::OK, &page))
        }
        ("GET", "/v1/spaces/{space}") => {
            let space = spaces::get(aws, web::parameter(request, "space"), &caller).await?;
            Ok(web::json(StatusCode::OK, &space))
        }
        ("PUT", _) => set_space(aws, &caller, request).await,
        _ => {
            let space = request
                .query
                .get("space")
                .map_or(spaces::DEFAULT, String::as_str);
            let limit = web::limit(request, 20, 100)?;
            let cursor = request.query.get("cursor").map(String::as_str);
            let page = runs::list(aws, space, &caller, limit, cursor).await?;
            Ok(web::json(StatusCode::OK, &page))
        }
    }
}

async fn source(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
    method: &str,
) -> Result<Reply, KnowledgeError> {
    let (space, name) = (
        web::parameter(request, "space"),
        web::parameter(request, "source"),
    );
    match method {
        "GET" => {
            let page = sources::list(aws, space, caller).await?;
            Ok(web::json(StatusCode::OK, &page))
        }
        "PUT" => {
            web::require_json(request)?;
            let form: SourceForm = parse_json(&request.body)?;
            let source = sources::set(aws, space, name, caller, form).await?;
            Ok(web::json(StatusCode::OK, &source))
        }
        _ => {
            let source = sources::remove(aws, space, name, caller).await?;
            Ok(web::json(StatusCode::OK, &source))
        }
    }
}

/// Sets what the form names. A vector index or a knowledge base that does not hold the documents yet is filled by a run over
/// the whole source.
async fn set_space(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<Reply, KnowledgeError> {
    web::require_json(request)?;
    let form: SpaceForm = parse_json(&request.body)?;
    let name = web::parameter(request, "space");
    let retriever: Option<Option<RetrieverSetting>> = match form.retriever {
        Some(own) => Some(own.map(|text| text.parse()).transpose()?),
        None => None,
    };
    if let Some(Some(setting)) = &retriever {
        spaces::enter_or_make(aws, name, caller, Role::Admin).await?;
        knowledge_base::check(aws, name, setting).await?;
    }
    let change = SpaceChange {
        roles: form.roles,
        model: form.model,
        rerank_model: form.rerank_model,
        strict: form.strict,
        chunking: form
            .chunking
            .map(|text| spaces::parse_chunking(&text))
            .transpose()?,
        batch_embedding: form
            .batch_embedding
            .map(|text| batch_embedding::parse(&text))
            .transpose()?,
        limits: form.limits,
        budget: form.budget,
        retriever,
    };
    let fills = change.retriever.is_some();
    let mut space = spaces::change(aws, name, caller, change).await?;
    if fills && !space.ready {
        // A run that is under way may have begun with the setting before.
        let (run_id, _) = entries::start_or_follow(aws, name).await?;
        space.run_id = Some(run_id);
    }
    Ok(web::json(StatusCode::OK, &space))
}

fn accepted(body: &Value) -> Reply {
    web::json(StatusCode::ACCEPTED, body)
}

async fn upload(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<Reply, KnowledgeError> {
    let content_type = request
        .headers
        .get("content-type")
        .map(String::as_str)
        .unwrap_or_default();
    let Uploads { space, uploads } = if content_type.starts_with("multipart/form-data") {
        body::multipart_upload(request.body.clone(), content_type).await?
    } else {
        web::require_json(request).map_err(|_| KnowledgeError::UnsupportedMediaType {
            content_type: content_type.to_owned(),
            expected: "application/json or multipart/form-data",
        })?;
        body::json_upload(&request.body)?
    };
    let space = space.as_deref().unwrap_or(spaces::DEFAULT);
    // Megabytes are hashed only for who may ask again.
    let body = match key(request) {
        Some(_) => body::fingerprint(space, &uploads),
        None => Vec::new(),
    };
    let reply = idempotency::once(aws, caller, asked(request, &body), async |run| {
        store(aws, caller, space, uploads, run).await
    });
    Ok(accepted(&reply.await?))
}

fn key(request: &HttpRequest) -> Option<&str> {
    request.headers.get("idempotency-key").map(String::as_str)
}

/// What must be the same when a request comes again under its key; `body` is what its body says.
fn asked<'a>(request: &'a HttpRequest, body: &'a [u8]) -> Asked<'a> {
    Asked {
        key: key(request),
        operation: [request.method.as_str(), request.path.as_str()],
        body,
    }
}

async fn store(
    aws: &Aws,
    caller: &Caller,
    space: &str,
    uploads: Vec<Upload>,
    run: Option<String>,
) -> Result<Value, KnowledgeError> {
    let entered = spaces::enter_or_make(aws, space, caller, Role::Editor).await?;
    limits::count(aws, &entered, caller).await?;
    let mut stored = Vec::with_capacity(uploads.len());
    for upload in uploads {
        let name = upload.document.name.clone();
        let id = documents::store(aws, &entered, caller, &upload.document, upload.content).await?;
        stored.push((id, name));
    }
    let ids = stored.iter().map(|(id, _)| id.clone()).collect();
    let task = Task {
        drawn: run,
        ..Task::documents(ids)
    };
    let run_id = runs::start(aws, space, caller, task).await?;
    let listed: Vec<Value> = stored
        .iter()
        .map(|(document_id, name)| json!({ "document_id": document_id, "name": name }))
        .collect();
    let first = stored.first().map(|(id, _)| id);
    Ok(json!({ "document_id": first, "documents": listed, "run_id": run_id }))
}

async fn delete(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<Reply, KnowledgeError> {
    let document_id = web::parameter(request, "document_id");
    let reply = idempotency::once(aws, caller, asked(request, &[]), async |run| {
        documents::remove(aws, document_id, caller).await?;
        let space = aws::dynamo::keys::space_of(document_id).unwrap_or(spaces::DEFAULT);
        let task = Task {
            drawn: run,
            ..Task::documents(vec![document_id.to_owned()])
        };
        let run_id = runs::start(aws, space, caller, task).await?;
        Ok(json!({ "document_id": document_id, "run_id": run_id }))
    });
    Ok(accepted(&reply.await?))
}

async fn announce(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<Reply, KnowledgeError> {
    web::require_json(request)?;
    let form: LinkForm = parse_json(&request.body)?;
    let space = form.space.as_deref().unwrap_or(spaces::DEFAULT);
    let document = NewDocument {
        name: form.name,
        metadata: form.metadata,
        readers: form.readers,
    };
    let entered = spaces::enter_or_make(aws, space, caller, Role::Editor).await?;
    limits::count(aws, &entered, caller).await?;
    let (document_id, upload_url) =
        uploads::announce(aws, &entered, caller, &document, form.bytes).await?;
    let body = json!({ "document_id": document_id, "upload_url": upload_url });
    Ok(web::json(StatusCode::OK, &body))
}

async fn start(aws: &Aws, caller: &Caller, request: &HttpRequest) -> Result<Reply, KnowledgeError> {
    web::require_json(request)?;
    let form: RunForm = parse_json(&request.body)?;
    let reply = idempotency::once(aws, caller, asked(request, &request.body), async |run| {
        let run_id = start_run(aws, caller, form, run).await?;
        Ok(json!({ "run_id": run_id }))
    });
    Ok(accepted(&reply.await?))
}

async fn start_run(
    aws: &Aws,
    caller: &Caller,
    form: RunForm,
    run: Option<String>,
) -> Result<String, KnowledgeError> {
    let space = form.space.as_deref().unwrap_or(spaces::DEFAULT);
    // A new model for a whole space costs as much as the space did; deletions without a brake may cost the space.
    let needed = if form.re_embed || form.allow_deletions {
        Role::Admin
    } else {
        Role::Editor
    };
    let entered = spaces::enter(aws, space, caller, needed).await?;
    limits::count(aws, &entered, caller).await?;
    if let Some(foreign) = form
        .documents
        .iter()
        .flatten()
        .find(|id| aws::dynamo::keys::space_of(id) != Some(space))
    {
        return Err(KnowledgeError::DocumentNotFound {
            document_id: foreign.clone(),
        });
    }
    if let Some(ids) = &form.documents {
        runs::check_number(ids)?;
        documents::require_known(aws, caller, ids).await?;
    }
    let task = Task {
        documents: form.documents,
        re_embed: form.re_embed,
        dry_run: form.dry_run,
        allow_deletions: form.allow_deletions,
        drawn: run,
    };
    runs::start(aws, space, caller, task).await
}

async fn import_orders(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
) -> Result<Reply, KnowledgeError> {
    web::require_json(request)?;
    let form: OrdersForm = parse_json(&request.body)?;
    let space = form.space.as_deref().unwrap_or(spaces::DEFAULT);
    let stored = orders::import(aws, space, caller, form.orders).await?;
    Ok(web::json(StatusCode::OK, &json!({ "stored": stored })))
}

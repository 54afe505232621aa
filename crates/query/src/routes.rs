//! The routes of this function: read, one call, reply.

use std::sync::Arc;

use aws::lambda::{HttpRequest, Reply};
use http::StatusCode;
use knowledge::access::Caller;
use knowledge::documents::Listing;
use knowledge::http::{self as web, Route};
use knowledge::ledger::{self, Group, UsageRequest};
use knowledge::problem::parse_json;
use knowledge::search::SearchRequest;
use knowledge::sync::rows::DocumentStatus;
use knowledge::{KnowledgeError, answers, documents, manifest, search, spaces};
use serde_json::{Value, json};

use crate::{Service, page, stream};

/// What this function serves; `infra/openapi.yaml` says the same, and a test holds the two together.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/",
    },
    Route {
        method: "GET",
        path: "/app.js",
    },
    Route {
        method: "GET",
        path: "/app.css",
    },
    Route {
        method: "POST",
        path: "/v1/ask",
    },
    Route {
        method: "POST",
        path: "/v1/search",
    },
    Route {
        method: "GET",
        path: "/v1/documents",
    },
    Route {
        method: "GET",
        path: "/v1/documents/{document_id}",
    },
    Route {
        method: "GET",
        path: "/v1/documents/{document_id}/text",
    },
    Route {
        method: "GET",
        path: "/v1/answers/{answer_id}",
    },
    Route {
        method: "GET",
        path: "/v1/usage",
    },
    Route {
        method: "GET",
        path: "/v1/health",
    },
];

pub(crate) async fn route(service: Arc<Service>, request: &HttpRequest) -> Reply {
    // Every reply of this route is streamed, problems too: its integration takes nothing else.
    if request.resource == "/v1/ask" && request.method == "POST" {
        return stream::ask(service, request).await;
    }
    match answer(&service, request).await {
        Ok(reply) => reply,
        Err(error) => web::problem(&error),
    }
}

async fn answer(service: &Service, request: &HttpRequest) -> Result<Reply, KnowledgeError> {
    let number = web::find(ROUTES, request)?;
    let caller = web::caller(request);
    let aws = &service.aws;
    match ROUTES[number].path {
        "/" => Ok(page::index()),
        "/app.js" => Ok(page::script()),
        "/app.css" => Ok(page::style()),
        "/v1/search" => {
            web::require_json(request)?;
            let wanted: SearchRequest = parse_json(&request.body)?;
            let found = search::search(aws, &service.snapshots, &caller, &wanted).await?;
            Ok(web::json(StatusCode::OK, &found))
        }
        "/v1/documents" => {
            let limit = web::limit(request, 50, 200)?;
            let listing = Listing {
                limit,
                cursor: request.query.get("cursor").map(String::as_str),
                status: status(request)?,
            };
            let page = documents::list(aws, space(request), &caller, listing).await?;
            Ok(web::json(StatusCode::OK, &page))
        }
        "/v1/documents/{document_id}/text" => Ok(web::json(
            StatusCode::OK,
            &documents::text(aws, web::parameter(request, "document_id"), &caller).await?,
        )),
        "/v1/answers/{answer_id}" => Ok(web::json(
            StatusCode::OK,
            &answers::get(aws, web::parameter(request, "answer_id"), &caller).await?,
        )),
        "/v1/usage" => {
            let text = |name: &str| request.query.get(name).map(String::as_str);
            let wanted = UsageRequest {
                from: text("from"),
                to: text("to"),
                group: text("group").map_or(Ok(Group::default()), str::parse)?,
                limit: web::limit(request, 100, 400)?,
                cursor: text("cursor"),
            };
            let page = ledger::usage(aws, space(request), &caller, &wanted).await?;
            Ok(web::json(StatusCode::OK, &page))
        }
        "/v1/documents/{document_id}" => Ok(web::json(
            StatusCode::OK,
            &documents::get(aws, web::parameter(request, "document_id"), &caller).await?,
        )),
        _ => Ok(web::json(
            StatusCode::OK,
            &health(service, &caller, space(request)).await?,
        )),
    }
}

fn space(request: &HttpRequest) -> &str {
    request
        .query
        .get("space")
        .map_or(spaces::DEFAULT, String::as_str)
}

/// The status that the documents of a listing must have.
fn status(request: &HttpRequest) -> Result<Option<DocumentStatus>, KnowledgeError> {
    let Some(text) = request.query.get("status") else {
        return Ok(None);
    };
    let status = serde_json::from_value(json!(text)).ok();
    // Deleted documents are not there any more, and none is listed.
    let status = status.filter(|status| *status != DocumentStatus::Deleted);
    status
        .map(Some)
        .ok_or_else(|| KnowledgeError::InvalidRequest {
            detail: format!(
                "status is {text:?}; give pending, extracting, screening, embedding, published, refused or failed"
            ),
        })
}

async fn health(service: &Service, caller: &Caller, space: &str) -> Result<Value, KnowledgeError> {
    let entered = spaces::enter_to_search(&service.aws, space, caller).await?;
    let live = manifest::seen(&service.aws, space, entered.seen).await?;
    Ok(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "space": space,
        "documents": live.as_ref().map_or(0, |live| live.documents),
        "passages": live.as_ref().map_or(0, |live| live.passages),
        "manifest_version": live.map_or(0, |live| live.version),
    }))
}

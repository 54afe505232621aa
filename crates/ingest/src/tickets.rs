//! The routes on what agents leave to people: tickets, flags, the audit trail.

use aws::Aws;
use aws::lambda::{HttpRequest, Reply};
use http::StatusCode;
use knowledge::access::Caller;
use knowledge::http as web;
use knowledge::problem::parse_json;
use knowledge::tickets::{self, Part, TicketStatus};
use knowledge::{KnowledgeError, spaces};
use serde::Deserialize;
use serde_json::{Value, json};

/// `PUT /v1/tickets/{ticket_id}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeForm {
    status: String,
    version: u64,
}

/// `POST /v1/tickets/{ticket_id}/notes`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteForm {
    text: String,
}

/// Answers the routes of this module; `path` is one of them.
pub(crate) async fn answer(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
    (method, path): (&str, &str),
) -> Result<Reply, KnowledgeError> {
    let found = match (method, path) {
        ("GET", "/v1/tickets/{ticket_id}") => {
            json!(tickets::get(aws, ticket_id(request), caller).await?)
        }
        ("PUT", _) => {
            web::require_json(request)?;
            let form: ChangeForm = parse_json(&request.body)?;
            let status = status(&form.status)?;
            let id = ticket_id(request);
            json!(tickets::set_status(aws, id, caller, status, form.version).await?)
        }
        ("POST", _) => {
            web::require_json(request)?;
            let form: NoteForm = parse_json(&request.body)?;
            let note = tickets::add_note(aws, ticket_id(request), caller, &form.text).await?;
            return Ok(web::json(StatusCode::CREATED, &note));
        }
        _ => list(aws, caller, request, path).await?,
    };
    Ok(web::json(StatusCode::OK, &found))
}

async fn list(
    aws: &Aws,
    caller: &Caller,
    request: &HttpRequest,
    path: &str,
) -> Result<Value, KnowledgeError> {
    let query = |name: &str| request.query.get(name).map(String::as_str);
    let space = query("space").unwrap_or(spaces::DEFAULT);
    let part = Part {
        limit: web::limit(request, 50, 200)?,
        cursor: query("cursor"),
    };
    Ok(match path {
        "/v1/flags" => json!(tickets::flags(aws, space, caller, part).await?),
        "/v1/audit" => json!(tickets::audit(aws, space, caller, query("day"), part).await?),
        _ => {
            let status = query("status").map(status).transpose()?;
            json!(tickets::list(aws, space, caller, status, part).await?)
        }
    })
}

fn ticket_id(request: &HttpRequest) -> &str {
    web::parameter(request, "ticket_id")
}

fn status(text: &str) -> Result<TicketStatus, KnowledgeError> {
    serde_json::from_value(json!(text)).map_err(|_| KnowledgeError::InvalidRequest {
        detail: format!("the status {text:?} is none of OPEN, PENDING, CLOSED"),
    })
}

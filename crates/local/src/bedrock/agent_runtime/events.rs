//! The event stream of InvokeAgent.
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::frames::frame;
use super::super::wire::{ErrorName, WireError};

fn event(name: &'static str, payload: &Value) -> Bytes {
    frame("event", ":event-type", name, payload)
}

pub(super) fn trace(part: &Value) -> Bytes {
    event("trace", part)
}

/// A piece of the answer with the citations that it has.
pub(super) fn chunk(text: &str, citations: &[Value]) -> Bytes {
    let bytes = base64::engine::general_purpose::STANDARD.encode(text);
    let mut payload = json!({ "bytes": bytes });
    if !citations.is_empty() {
        payload["attribution"] = json!({ "citations": citations });
    }
    event("chunk", &payload)
}

pub(super) fn return_control(invocation_id: &str, inputs: &[Value]) -> Bytes {
    event(
        "returnControl",
        &json!({"invocationId": invocation_id, "invocationInputs": inputs}),
    )
}

/// An error in mid-stream, the last frame.
pub(super) fn exception(error: &WireError) -> Bytes {
    let mut body = json!({ "message": error.message });
    let name = match error.name {
        ErrorName::Validation | ErrorName::UnknownOperation => "validationException",
        ErrorName::AccessDenied => "accessDeniedException",
        ErrorName::ResourceNotFound => "resourceNotFoundException",
        ErrorName::Throttling => "throttlingException",
        ErrorName::ServiceQuotaExceeded => "serviceQuotaExceededException",
        ErrorName::Conflict => "conflictException",
        ErrorName::DependencyFailed => "dependencyFailedException",
        ErrorName::ModelNotReady => "modelNotReadyException",
        // AWS tells of a failing model as of a failing dependency.
        ErrorName::Model | ErrorName::ModelStream | ErrorName::ModelTimeout => {
            body["resourceName"] = json!("the foundation model");
            "dependencyFailedException"
        }
        _ => "internalServerException",
    };
    frame("exception", ":exception-type", name, &body)
}

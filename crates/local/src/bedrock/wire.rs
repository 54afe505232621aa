//! How Bedrock says things on the wire (restJson1): replies with a request id, and errors with
//! `x-amzn-errortype` and a `message`, so that every AWS client parses ours as it parses AWS's.
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The exceptions of Bedrock's services, by their AWS names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ErrorName {
    #[serde(rename = "ValidationException")]
    Validation,
    #[serde(rename = "AccessDeniedException")]
    AccessDenied,
    #[serde(rename = "ResourceNotFoundException")]
    ResourceNotFound,
    #[serde(rename = "ThrottlingException")]
    Throttling,
    #[serde(rename = "ServiceQuotaExceededException")]
    ServiceQuotaExceeded,
    #[serde(rename = "ModelTimeoutException")]
    ModelTimeout,
    #[serde(rename = "ModelErrorException")]
    Model,
    #[serde(rename = "ModelNotReadyException")]
    ModelNotReady,
    #[serde(rename = "ModelStreamErrorException")]
    ModelStream,
    #[serde(rename = "InternalServerException")]
    InternalServer,
    #[serde(rename = "ServiceUnavailableException")]
    ServiceUnavailable,
    #[serde(rename = "UnknownOperationException")]
    UnknownOperation,
    #[serde(rename = "ConflictException")]
    Conflict,
    #[serde(rename = "DependencyFailedException")]
    DependencyFailed,
}

impl ErrorName {
    /// The exception's name, HTTP status and the name of its member in an event stream. An exception that the
    /// streams do not carry travels as `internalServerException`.
    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Validation => ("ValidationException", 400, "validationException"),
            Self::AccessDenied => ("AccessDeniedException", 403, "internalServerException"),
            Self::ResourceNotFound => ("ResourceNotFoundException", 404, "internalServerException"),
            Self::Throttling => ("ThrottlingException", 429, "throttlingException"),
            Self::ServiceQuotaExceeded => (
                "ServiceQuotaExceededException",
                400,
                "internalServerException",
            ),
            Self::ModelTimeout => ("ModelTimeoutException", 408, "modelStreamErrorException"),
            Self::Model => ("ModelErrorException", 424, "modelStreamErrorException"),
            Self::ModelNotReady => ("ModelNotReadyException", 429, "serviceUnavailableException"),
            Self::ModelStream => (
                "ModelStreamErrorException",
                424,
                "modelStreamErrorException",
            ),
            Self::InternalServer => ("InternalServerException", 500, "internalServerException"),
            Self::ServiceUnavailable => (
                "ServiceUnavailableException",
                503,
                "serviceUnavailableException",
            ),
            Self::UnknownOperation => ("UnknownOperationException", 404, "internalServerException"),
            Self::Conflict => ("ConflictException", 409, "internalServerException"),
            Self::DependencyFailed => ("DependencyFailedException", 424, "internalServerException"),
        }
    }

    /// The name in `x-amzn-errortype`.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The value of `:exception-type` in an event stream.
    pub(super) fn exception_type(self) -> &'static str {
        self.row().2
    }

    /// The HTTP status, as batch jobs tell it too.
    pub(super) fn status_code(self) -> u16 {
        self.row().1
    }

    fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// An error as a Bedrock client sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", name.as_str())]
pub(super) struct WireError {
    pub(super) name: ErrorName,
    pub(super) message: String,
}

impl WireError {
    pub(super) fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
        }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Validation, message)
    }

    /// A thing that AWS has and this emulator has not; `what` is the path or the operation.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::validation(format!("{what} is not supported by the laptop Bedrock"))
    }

    pub(super) fn body(&self) -> Value {
        match self.name {
            ErrorName::Model | ErrorName::ModelStream => {
                json!({"message": self.message, "originalStatusCode": 500, "originalMessage": self.message})
            }
            _ => json!({"message": self.message}),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = reply(
            self.name.status(),
            "application/json",
            Body::from(self.body().to_string()),
        );
        response.headers_mut().insert(
            "x-amzn-errortype",
            HeaderValue::from_static(self.name.as_str()),
        );
        response
    }
}

/// A reply with a request id of its own.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(content_type),
    );
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

pub(super) fn json_reply(value: &Value) -> Response<Body> {
    reply(
        StatusCode::OK,
        "application/json",
        Body::from(value.to_string()),
    )
}

/// Reads a JSON body strictly: what the shape does not name is an error that names it.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, WireError> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| match serde_json::from_slice::<Value>(body) {
        // The value's own error names no line: a client's body is one line.
        Ok(value) => {
            let error = T::deserialize(value).err().unwrap_or(error);
            WireError::validation(format!("The request is not valid: {error}"))
        }
        Err(error) => WireError::validation(format!("The request body is not JSON: {error}")),
    })
}

/// Rows on a page of a list of the control plane, unless the request says less.
const PAGE: usize = 1000;

/// Where a page of such a list begins, and how many rows it has at the most.
pub(super) fn paging(
    max_results: Option<usize>,
    next_token: Option<&str>,
) -> Result<(usize, usize), WireError> {
    let size = max_results.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&size) {
        return Err(WireError::validation("maxResults must be from 1 to 1000."));
    }
    let from = next_token.map_or(Ok(0), str::parse);
    let from = from.map_err(|_| WireError::validation("The nextToken is not valid."))?;
    Ok((from, size))
}

/// A request id in AWS's form (a UUID's 8-4-4-4-12 digits).
pub(super) fn request_id() -> String {
    let digits = format!("{:032x}", ulid::Ulid::new().0);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

//! Everything that a caller may be told went wrong: a name, a status, what to do. RFC 9457 is its form on the wire.

use aws::AwsError;
use aws::bedrock::BedrockError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A problem that is told to the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KnowledgeError {
    #[error("the body is not JSON ({detail}); send a JSON object with content-type application/json")]
    NotJson { detail: String },
    #[error("the body is not valid UTF-8; encode it as UTF-8")]
    InvalidUtf8,
    #[error("the field {field:?} is not known here; see the API's description for the fields of this request")]
    UnknownField { field: String },
    #[error("{detail}")]
    InvalidRequest { detail: String },
    #[error("the question is empty; send {{\"question\": \"…\"}}")]
    EmptyQuestion,
    #[error("the question has {characters} characters, the limit is {limit}; shorten it")]
    QuestionTooLong { characters: usize, limit: usize },
    #[error("the filter cannot be read: {detail}; use Bedrock's filter language, {{\"equals\": {{\"key\": …, \"value\": …}}}}")]
    InvalidFilter { detail: String },
    #[error("the content is not base64; encode it with the standard alphabet")]
    InvalidBase64,
    #[error("the name {name:?} cannot be used: {problem}")]
    InvalidDocumentName { name: String, problem: &'static str },
    #[error("the name {name:?} belongs to a document that you may not change; choose another")]
    DocumentNameTaken { name: String },
    #[error("{space:?} cannot name a space; use 1 to 40 of a-z, 0-9 and '-'")]
    InvalidSpaceName { space: String },
    #[error("there is no space {space:?}; the first document ingested into a space makes it")]
    UnknownSpace { space: String },
    #[error("there is no document {document_id:?} that you may read")]
    DocumentNotFound { document_id: String },
    #[error("there is no run {run_id:?} that you may see")]
    RunNotFound { run_id: String },
    #[error("there is nothing at {path}; the routes are listed in the API's description{hint}")]
    UnknownRoute { path: String, hint: String },
    #[error("{method} is not served at {path}; use {allowed}")]
    MethodNotAllowed { method: String, path: String, allowed: String },
    #[error("the content type {content_type:?} is not taken here; send {expected}")]
    UnsupportedMediaType { content_type: String, expected: &'static str },
    #[error("the request has {bytes} bytes, the limit is {limit}; use POST /v1/uploads for large files")]
    PayloadTooLarge { bytes: u64, limit: u64 },
    #[error("{count} documents were named, one run takes {limit}; start several runs")]
    TooManyDocuments { count: usize, limit: usize },
    #[error(transparent)]
    Model(#[from] BedrockError),
    #[error("the answer broke off inside the service; ask again")]
    Interrupted,
    #[error("the index of space {space:?} cannot be read: {detail}")]
    IndexUnreadable { space: String, detail: String },
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl KnowledgeError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "NotJson",
            Self::InvalidUtf8 => "InvalidUtf8",
            Self::UnknownField { .. } => "UnknownField",
            Self::InvalidRequest { .. } => "InvalidRequest",
            Self::EmptyQuestion => "EmptyQuestion",
            Self::QuestionTooLong { .. } => "QuestionTooLong",
            Self::InvalidFilter { .. } => "InvalidFilter",
            Self::InvalidBase64 => "InvalidBase64",
            Self::InvalidDocumentName { .. } => "InvalidDocumentName",
            Self::DocumentNameTaken { .. } => "DocumentNameTaken",
            Self::InvalidSpaceName { .. } => "InvalidSpaceName",
            Self::UnknownSpace { .. } => "UnknownSpace",
            Self::DocumentNotFound { .. } => "DocumentNotFound",
            Self::RunNotFound { .. } => "RunNotFound",
            Self::UnknownRoute { .. } => "UnknownRoute",
            Self::MethodNotAllowed { .. } => "MethodNotAllowed",
            Self::UnsupportedMediaType { .. } => "UnsupportedMediaType",
            Self::PayloadTooLarge { .. } => "PayloadTooLarge",
            Self::TooManyDocuments { .. } => "TooManyDocuments",
            Self::Model(error) => error.name(),
            Self::Interrupted => "AnswerInterrupted",
            Self::IndexUnreadable { .. } => "IndexUnreadable",
            Self::Aws(error) => error.name(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownSpace { .. }
            | Self::DocumentNotFound { .. }
            | Self::RunNotFound { .. }
            | Self::UnknownRoute { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::DocumentNameTaken { .. } => 409,
            Self::PayloadTooLarge { .. } => 413,
            Self::UnsupportedMediaType { .. } => 415,
            Self::Model(BedrockError::Throttled { .. }) => 429,
            Self::Model(BedrockError::TimedOut { .. }) => 504,
            Self::Model(_) => 502,
            Self::Aws(AwsError::Busy { .. } | AwsError::Conflict { .. }) => 503,
            Self::Aws(_) | Self::Interrupted | Self::IndexUnreadable { .. } => 500,
            _ => 400,
        }
    }

    /// Whether the same request may succeed later without any change.
    pub fn retry(&self) -> bool {
        match self {
            Self::Model(error) => error.retry(),
            Self::Aws(error) => error.retry(),
            Self::Interrupted => true,
            _ => false,
        }
    }

    /// What the caller reads. Failures of the service's own insides are logged in full and told in general words.
    fn detail(&self) -> String {
        match self {
            Self::Aws(AwsError::Busy { .. }) => {
                "a service that this depends on is busy; try again in a moment".into()
            }
            Self::Aws(AwsError::Conflict { .. }) => {
                "another writer was first; try again".into()
            }
            Self::Aws(_) | Self::IndexUnreadable { .. } => {
                "something inside the service failed; its log says what".into()
            }
            other => other.to_string(),
        }
    }

    /// The problem as RFC 9457 has it, with our `name` and `retry`.
    pub fn to_problem(&self) -> Value {
        if self.status() == 500 {
            tracing::error!(error = self.name(), detail = %self, "a request failed inside");
        }
        json!({
            "type": format!("https://outcrop.dev/problems/{}", self.name()),
            "title": spaced(self.name()),
            "status": self.status(),
            "detail": self.detail(),
            "name": self.name(),
            "retry": self.retry(),
        })
    }
}

/// `EmptyQuestion` → `Empty question`.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
            text.extend(letter.to_lowercase());
        } else {
            text.push(letter);
        }
    }
    text
}

/// Reads a JSON body into its form, with the problem that fits what is wrong with it.
///
/// # Errors
/// [`KnowledgeError::InvalidUtf8`], [`KnowledgeError::NotJson`], [`KnowledgeError::UnknownField`] or
/// [`KnowledgeError::InvalidRequest`].
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, KnowledgeError> {
    let text = std::str::from_utf8(body).map_err(|_| KnowledgeError::InvalidUtf8)?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| KnowledgeError::NotJson { detail: error.to_string() })?;
    serde_json::from_value(value).map_err(|error| {
        let words = error.to_string();
        match words.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((field, _)) => KnowledgeError::UnknownField { field: field.to_owned() },
            None => KnowledgeError::InvalidRequest { detail: format!("the request does not fit: {words}") },
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[expect(dead_code, reason = "only its reading is tested")]
        question: String,
    }

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        let check = |body: &[u8], name: &str| {
            let error = parse_json::<Form>(body).unwrap_err();
            assert_eq!(error.name(), name);
            let problem = error.to_problem();
            assert_eq!(problem["name"], name);
            assert_eq!(problem["status"], 400);
        };
        check(b"", "NotJson");
        check(b"{", "NotJson");
        check(b"{\"question\": \"\xff\"}", "InvalidUtf8");
        check(b"{\"question\": 1}", "InvalidRequest");
        check(b"{\"qestion\": \"a\", \"question\": \"b\"}", "UnknownField");
        check(b"[]", "InvalidRequest");
    }

    #[test]
    fn insides_stay_inside() {
        let error = KnowledgeError::Aws(AwsError::Refused {
            service: "S3",
            detail: "arn:aws:secret".into(),
        });
        assert!(!error.to_problem().to_string().contains("secret"));
    }
}

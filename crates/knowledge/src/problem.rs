//! Everything that a caller may be told went wrong: a name, a status, what to do. RFC 9457 is its form on the wire.

use crate::knowledge_base::Unfit;
use crate::ledger::in_usd;
use aws::bedrock::BedrockError;
use aws::{AwsError, NoRetriever};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// A problem that is told to the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KnowledgeError {
    #[error(
        "the body is not JSON ({detail}); send a JSON object with content-type application/json"
    )]
    NotJson { detail: String },
    #[error("the body is not valid UTF-8; encode it as UTF-8")]
    InvalidUtf8,
    #[error(
        "the field {field:?} is not known here; see the API's description for the fields of this request"
    )]
    UnknownField { field: String },
    #[error("{detail}")]
    InvalidRequest { detail: String },
    #[error("the question is empty; send {{\"question\": \"…\"}}")]
    EmptyQuestion,
    #[error("the query is empty; send {{\"query\": \"…\"}}")]
    EmptyQuery,
    #[error("the question has {characters} characters, the limit is {limit}; shorten it")]
    QuestionTooLong { characters: usize, limit: usize },
    #[error(
        "the filter cannot be read: {detail}; use Bedrock's filter language, {{\"equals\": {{\"key\": …, \"value\": …}}}}"
    )]
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
    #[error(
        "there is no answer {answer_id:?} of yours; answers are kept for a time, and only for who asked"
    )]
    AnswerNotFound { answer_id: String },
    #[error(
        "there is no conversation {conversation_id:?} of yours in this space; send \"new\" to begin one"
    )]
    ConversationNotFound { conversation_id: String },
    #[error(
        "the conversation has {turns} questions, the limit is {limit}; send \"new\" to begin another"
    )]
    ConversationTooLong { turns: u64, limit: u64 },
    #[error("there are no conversations for you: {reason}; leave conversation_id out")]
    ConversationsOff { reason: &'static str },
    #[error("there is no run {run_id:?} that you may see")]
    RunNotFound { run_id: String },
    #[error(
        "the run {run_id:?} over the whole source of space {space:?} is under way; wait for its end and start yours then"
    )]
    RunUnderWay { space: String, run_id: String },
    #[error("the source cannot be set: {problem}")]
    InvalidSource { problem: String },
    #[error(
        "there is no source {name:?} in this space; GET /v1/spaces/{{space}}/sources lists them"
    )]
    SourceNotFound { name: String },
    #[error(
        "the document {document_id:?} comes from the source {source_name:?}, which holds it still; delete it there, or \
         remove the source"
    )]
    DocumentOfSource {
        document_id: String,
        source_name: String,
    },
    #[error("the Idempotency-Key {problem}; send 1 to 255 visible ASCII characters")]
    InvalidIdempotencyKey { problem: &'static str },
    #[error(
        "the Idempotency-Key was sent before with another request; use a new key for a new request"
    )]
    IdempotencyKeyReused,
    #[error("the same request is under way; ask again in a moment")]
    RequestUnderWay,
    #[error("the run {run_id:?} has not ended; wait for its end, then redrive it")]
    RunNotEnded { run_id: String },
    #[error("the run {run_id:?} left nothing to redrive: {reason}")]
    NothingToRedrive {
        run_id: String,
        reason: &'static str,
    },
    #[error("there is no ticket {ticket_id:?} that you may see")]
    TicketNotFound { ticket_id: String },
    #[error("somebody else changed the ticket {ticket_id:?}; read it again and decide anew")]
    TicketChanged { ticket_id: String },
    #[error("there is nothing at {path}; the routes are listed in the API's description{hint}")]
    UnknownRoute { path: String, hint: String },
    #[error("{method} is not served at {path}; use {allowed}")]
    MethodNotAllowed {
        method: String,
        path: String,
        allowed: String,
    },
    #[error("the content type {content_type:?} is not taken here; send {expected}")]
    UnsupportedMediaType {
        content_type: String,
        expected: &'static str,
    },
    #[error(
        "the request has {bytes} bytes, the limit is {limit}; use POST /v1/uploads for large files"
    )]
    PayloadTooLarge { bytes: u64, limit: u64 },
    #[error("the document has {bytes} bytes, the limit is {limit}; split it")]
    DocumentTooLarge { bytes: u64, limit: u64 },
    #[error("{count} documents were named, one run takes {limit}; start several runs")]
    TooManyDocuments { count: usize, limit: usize },
    #[error("the cursor {cursor:?} is none that this listing gave; leave it out to begin anew")]
    InvalidCursor { cursor: String },
    #[error("batch embedding is not to be had here: {detail}; leave it off")]
    BatchEmbeddingUnavailable { detail: String },
    #[error("the model {model:?} is not offered here; leave it out, or name one of {allowed}")]
    ModelNotAllowed { model: String, allowed: String },
    #[error(transparent)]
    Model(#[from] BedrockError),
    #[error("the guardrail gave no verdict, so nothing is shown; try again in a moment")]
    GuardUnavailable,
    #[error("the answer broke off inside the service; ask again")]
    Interrupted,
    #[error("the index of space {space:?} cannot be read: {detail}")]
    IndexUnreadable { space: String, detail: String },
    #[error(
        "the index of space {space:?} does not fit: a segment of {megabytes} MB finds no room; raise \
         OUTCROP_INDEX_DISK_MB, and the function's EphemeralStorage with it"
    )]
    IndexTooLarge { space: String, megabytes: u64 },
    #[error(
        "space {space:?} was embedded with {stored}, this service embeds with {configured}; set the model back or \
         run `outcrop ingest --re-embed`"
    )]
    EmbedderMismatch {
        space: String,
        stored: String,
        configured: String,
    },
    #[error(
        "the retriever {retriever:?} of space {space:?} cannot be used ({detail}); {advice}, or set another retriever \
         with PUT /v1/spaces/{space}"
    )]
    RetrieverUnusable {
        space: String,
        retriever: String,
        detail: String,
        advice: &'static str,
    },
    #[error("{0}")]
    InvalidRetriever(#[from] NoRetriever),
    #[error("{0}")]
    KnowledgeBaseUnfit(#[from] Box<Unfit>),
    #[error(
        "the retriever {retriever:?} of space {space:?} has no {mode} search; use hybrid or vector, or set another \
         retriever with PUT /v1/spaces/{space}"
    )]
    ModeUnsupported {
        space: String,
        mode: &'static str,
        retriever: String,
    },
    #[error(
        "this takes the role {needed} in space {space:?}, and you are {role} there; ask an admin of the space for it"
    )]
    RoleRequired {
        space: String,
        needed: &'static str,
        role: &'static str,
    },
    #[error("{principal:?} names no principal; write user:ID, group:NAME or everyone")]
    InvalidPrincipal { principal: String },
    #[error(
        "this {scope} has made its {limit} requests of this minute; ask again in {seconds} seconds, or have an admin of \
         the space raise the limit"
    )]
    RateLimited {
        scope: &'static str,
        limit: u64,
        seconds: u64,
    },
    #[error(
        "the space's budget of this {span} is {}: {} are spent, {} are held for what is under way, and this may \
         cost {}; it begins anew at {resets_at}. Ask again later, or have an admin of the space raise it",
        in_usd(*limit), in_usd(*spent), in_usd(*held), in_usd(*needed)
    )]
    /// Amounts are billionths of a dollar.
    BudgetSpent {
        span: &'static str,
        limit: u64,
        spent: u64,
        held: u64,
        needed: u64,
        resets_at: String,
        seconds: u64,
    },
    #[error(
        "space {space:?} has a budget, and infra/models.json has no price for {model:?} to hold to it; add one, name another \
         model, or take the budget away"
    )]
    BudgetUnpriced { space: String, model: String },
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
            Self::EmptyQuery => "EmptyQuery",
            Self::QuestionTooLong { .. } => "QuestionTooLong",
            Self::InvalidFilter { .. } => "InvalidFilter",
            Self::InvalidBase64 => "InvalidBase64",
            Self::InvalidDocumentName { .. } => "InvalidDocumentName",
            Self::DocumentNameTaken { .. } => "DocumentNameTaken",
            Self::InvalidSpaceName { .. } => "InvalidSpaceName",
            Self::UnknownSpace { .. } => "UnknownSpace",
            Self::DocumentNotFound { .. } => "DocumentNotFound",
            Self::AnswerNotFound { .. } => "AnswerNotFound",
            Self::ConversationNotFound { .. } => "ConversationNotFound",
            Self::ConversationTooLong { .. } => "ConversationTooLong",
            Self::ConversationsOff { .. } => "ConversationsOff",
            Self::RunNotFound { .. } => "RunNotFound",
            Self::RunUnderWay { .. } => "RunUnderWay",
            Self::InvalidSource { .. } => "InvalidSource",
            Self::SourceNotFound { .. } => "SourceNotFound",
            Self::DocumentOfSource { .. } => "DocumentOfSource",
            Self::InvalidIdempotencyKey { .. } => "InvalidIdempotencyKey",
            Self::IdempotencyKeyReused => "IdempotencyKeyReused",
            Self::RequestUnderWay => "RequestUnderWay",
            Self::RunNotEnded { .. } => "RunNotEnded",
            Self::NothingToRedrive { .. } => "NothingToRedrive",
            Self::TicketNotFound { .. } => "TicketNotFound",
            Self::TicketChanged { .. } => "TicketChanged",
            Self::UnknownRoute { .. } => "UnknownRoute",
            Self::MethodNotAllowed { .. } => "MethodNotAllowed",
            Self::UnsupportedMediaType { .. } => "UnsupportedMediaType",
            Self::PayloadTooLarge { .. } => "PayloadTooLarge",
            Self::DocumentTooLarge { .. } => "DocumentTooLarge",
            Self::TooManyDocuments { .. } => "TooManyDocuments",
            Self::InvalidCursor { .. } => "InvalidCursor",
            Self::BatchEmbeddingUnavailable { .. } => "BatchEmbeddingUnavailable",
            Self::ModelNotAllowed { .. } => "ModelNotAllowed",
            Self::Model(error) => error.name(),
            Self::GuardUnavailable => "GuardUnavailable",
            Self::Interrupted => "AnswerInterrupted",
            Self::IndexUnreadable { .. } => "IndexUnreadable",
            Self::IndexTooLarge { .. } => "IndexTooLarge",
            Self::EmbedderMismatch { .. } => "EmbedderMismatch",
            Self::RetrieverUnusable { .. } => "RetrieverUnusable",
            Self::InvalidRetriever(_) => "InvalidRetriever",
            Self::KnowledgeBaseUnfit(_) => "KnowledgeBaseUnfit",
            Self::ModeUnsupported { .. } => "ModeUnsupported",
            Self::RoleRequired { .. } => "RoleRequired",
            Self::InvalidPrincipal { .. } => "InvalidPrincipal",
            Self::RateLimited { .. } => "RateLimited",
            Self::BudgetSpent { .. } => "BudgetSpent",
            Self::BudgetUnpriced { .. } => "BudgetUnpriced",
            Self::Aws(error) => error.name(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::RoleRequired { .. } => 403,
            Self::UnknownSpace { .. }
            | Self::DocumentNotFound { .. }
            | Self::AnswerNotFound { .. }
            | Self::ConversationNotFound { .. }
            | Self::RunNotFound { .. }
            | Self::TicketNotFound { .. }
            | Self::SourceNotFound { .. }
            | Self::UnknownRoute { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::DocumentNameTaken { .. }
            | Self::DocumentOfSource { .. }
            | Self::TicketChanged { .. }
            | Self::RunUnderWay { .. }
            | Self::RequestUnderWay
            | Self::RunNotEnded { .. }
            | Self::NothingToRedrive { .. }
            | Self::ConversationTooLong { .. } => 409,
            Self::PayloadTooLarge { .. } | Self::DocumentTooLarge { .. } => 413,
            Self::UnsupportedMediaType { .. } => 415,
            Self::IdempotencyKeyReused => 422,
            Self::RateLimited { .. }
            | Self::BudgetSpent { .. }
            | Self::Model(BedrockError::Throttled { .. }) => 429,
            Self::Model(BedrockError::TimedOut { .. }) => 504,
            Self::Model(_) => 502,
            Self::GuardUnavailable
            | Self::Aws(AwsError::Busy { .. } | AwsError::Conflict { .. }) => 503,
            Self::Aws(_)
            | Self::Interrupted
            | Self::IndexUnreadable { .. }
            | Self::IndexTooLarge { .. }
            | Self::RetrieverUnusable { .. }
            | Self::EmbedderMismatch { .. }
            | Self::BudgetUnpriced { .. } => 500,
            _ => 400,
        }
    }

    /// Whether the same request may succeed later without any change.
    pub fn retry(&self) -> bool {
        match self {
            Self::Model(error) => error.retry(),
            Self::Aws(error) => error.retry(),
            Self::GuardUnavailable
            | Self::Interrupted
            | Self::RunUnderWay { .. }
            | Self::RequestUnderWay
            | Self::RunNotEnded { .. }
            | Self::RateLimited { .. }
            | Self::BudgetSpent { .. } => true,
            _ => false,
        }
    }

    /// What the caller reads. Failures of the service's own insides are logged in full and told in general words.
    fn detail(&self) -> String {
        match self {
            Self::Aws(AwsError::Busy { .. }) => {
                "a service that this depends on is busy; try again in a moment".into()
            }
            Self::Aws(AwsError::Conflict { .. }) => "another writer was first; try again".into(),
            Self::Aws(_) | Self::IndexUnreadable { .. } => {
                "something inside the service failed; its log says what".into()
            }
            Self::RetrieverUnusable {
                space,
                retriever,
                advice,
                ..
            } => format!(
                "the retriever {retriever:?} of space {space:?} cannot be used; {advice}, or set another retriever with \
                 PUT /v1/spaces/{space}. The log says more"
            ),
            other => other.to_string(),
        }
    }

    /// The problem as RFC 9457 has it, with our `name` and `retry`.
    pub fn to_problem(&self) -> Value {
        if self.status() == 500 {
            tracing::error!(error = self.name(), detail = %self, "a request failed inside");
        }
        let mut problem = json!({
            "type": format!("https://outcrop.dev/problems/{}", self.name()),
            "title": spaced(self.name()),
            "status": self.status(),
            "detail": self.detail(),
            "name": self.name(),
            "retry": self.retry(),
        });
        if let Self::RunUnderWay { run_id, .. } = self {
            problem["run_id"] = json!(run_id);
        }
        if let Self::BudgetSpent { resets_at, .. } = self {
            problem["resets_at"] = json!(resets_at);
        }
        problem
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
    let value: Value = serde_json::from_str(text).map_err(|error| KnowledgeError::NotJson {
        detail: error.to_string(),
    })?;
    if !value.is_object() {
        // Serde would fill a form from an array, field by field.
        let detail = "the body must be a JSON object".to_owned();
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    serde_json::from_value(value).map_err(|error| {
        let words = error.to_string();
        match words
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'))
        {
            Some((field, _)) => KnowledgeError::UnknownField {
                field: field.to_owned(),
            },
            None => KnowledgeError::InvalidRequest {
                detail: format!("the request does not fit: {words}"),
            },
        }
    })
}

/// A form within a form: an object, for Serde would fill it from an array too, field by field.
///
/// # Errors
/// As the form's own reading.
pub fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    let fields = Map::<String, Value>::deserialize(field)?;
    serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
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

    /// One of each, in the order of the declaration.
    fn all() -> Vec<KnowledgeError> {
        use KnowledgeError as E;
        let (space, detail) = ("legal".to_owned(), "(detail)".to_owned());
        let model = || "m".to_owned();
        vec![
            E::NotJson {
                detail: detail.clone(),
            },
            E::InvalidUtf8,
            E::UnknownField {
                field: "qestion".into(),
            },
            E::InvalidRequest {
                detail: detail.clone(),
            },
            E::EmptyQuestion,
            E::EmptyQuery,
            E::QuestionTooLong {
                characters: 4_001,
                limit: 4_000,
            },
            E::InvalidFilter {
                detail: detail.clone(),
            },
            E::InvalidBase64,
            E::InvalidDocumentName {
                name: "..".into(),
                problem: "it is a path",
            },
            E::DocumentNameTaken {
                name: "a.txt".into(),
            },
            E::InvalidSpaceName {
                space: "No Space".into(),
            },
            E::UnknownSpace {
                space: space.clone(),
            },
            E::DocumentNotFound {
                document_id: "legal.1".into(),
            },
            E::AnswerNotFound {
                answer_id: "legal.3".into(),
            },
            E::ConversationNotFound {
                conversation_id: "legal.4".into(),
            },
            E::ConversationTooLong {
                turns: 50,
                limit: 50,
            },
            E::ConversationsOff {
                reason: "nothing is kept here",
            },
            E::RunNotFound {
                run_id: "legal.2".into(),
            },
            E::RunNotEnded {
                run_id: "legal.2".into(),
            },
            E::NothingToRedrive {
                run_id: "legal.2".into(),
                reason: "it was a dry run",
            },
            E::TicketNotFound {
                ticket_id: "default.t1".into(),
            },
            E::TicketChanged {
                ticket_id: "default.t1".into(),
            },
            E::RunUnderWay {
                space: space.clone(),
                run_id: "default.01".into(),
            },
            E::InvalidSource {
                problem: "start is not 1 to 50 URLs".into(),
            },
            E::SourceNotFound {
                name: "wiki".into(),
            },
            E::DocumentOfSource {
                document_id: "legal.1".into(),
                source_name: "site".into(),
            },
            E::InvalidIdempotencyKey {
                problem: "is empty",
            },
            E::IdempotencyKeyReused,
            E::RequestUnderWay,
            E::UnknownRoute {
                path: "/v2".into(),
                hint: String::new(),
            },
            E::MethodNotAllowed {
                method: "PUT".into(),
                path: "/v1/ask".into(),
                allowed: "POST".into(),
            },
            E::UnsupportedMediaType {
                content_type: "text/plain".into(),
                expected: "application/json",
            },
            E::PayloadTooLarge {
                bytes: 5_000_000,
                limit: 4_500_000,
            },
            E::DocumentTooLarge {
                bytes: 60_000_000,
                limit: 50_000_000,
            },
            E::TooManyDocuments {
                count: 1_001,
                limit: 1_000,
            },
            E::InvalidCursor {
                cursor: "zzz".into(),
            },
            E::ModelNotAllowed {
                model: "m-large".into(),
                allowed: "m-small".into(),
            },
            BedrockError::Throttled {
                model: model(),
                detail: detail.clone(),
            }
            .into(),
            BedrockError::Unavailable {
                model: model(),
                detail: detail.clone(),
            }
            .into(),
            BedrockError::TimedOut {
                model: model(),
                detail: detail.clone(),
            }
            .into(),
            BedrockError::StreamBroken {
                model: model(),
                detail: detail.clone(),
            }
            .into(),
            BedrockError::Refused {
                model: model(),
                detail: detail.clone(),
            }
            .into(),
            E::Interrupted,
            E::IndexUnreadable {
                space: space.clone(),
                detail: detail.clone(),
            },
            E::IndexTooLarge {
                space: space.clone(),
                megabytes: 700,
            },
            E::EmbedderMismatch {
                space: space.clone(),
                stored: "a/256".into(),
                configured: "b/1024".into(),
            },
            E::RetrieverUnusable {
                space: space.clone(),
                retriever: "dynamodb".into(),
                detail: detail.clone(),
                advice: "do this",
            },
            E::KnowledgeBaseUnfit(Box::new(Unfit {
                knowledge_base: "ABCDEFGHIJ".into(),
                data_source: "KLMNOPQRST".into(),
                bucket: "bucket".into(),
                prefix: "knowledge-base/legal/".into(),
                problem: "it reads the prefix \"\"".into(),
            })),
            E::InvalidRetriever(NoRetriever {
                text: "opensearch".into(),
                problem: detail.clone(),
            }),
            E::ModeUnsupported {
                space: space.clone(),
                mode: "lexical",
                retriever: "bedrock:ABCDEFGHIJ".into(),
            },
            E::RoleRequired {
                space,
                needed: "editor",
                role: "reader",
            },
            E::InvalidPrincipal {
                principal: "ada".into(),
            },
            E::RateLimited {
                scope: "caller",
                limit: 600,
                seconds: 42,
            },
            E::BudgetSpent {
                span: "day",
                limit: 5_000_000_000,
                spent: 4_990_000_000,
                held: 0,
                needed: 30_000_000,
                resets_at: "2026-12-01T00:00:00.000Z".into(),
                seconds: 42,
            },
            E::BudgetUnpriced {
                space: "legal".into(),
                model: model(),
            },
            AwsError::Busy {
                service: "S3",
                detail: detail.clone(),
            }
            .into(),
            AwsError::Conflict {
                detail: detail.clone(),
            }
            .into(),
            AwsError::Missing {
                what: detail.clone(),
            }
            .into(),
            AwsError::Damaged {
                detail: detail.clone(),
            }
            .into(),
            AwsError::Refused {
                service: "S3",
                detail,
            }
            .into(),
        ]
    }

    #[test]
    fn every_problem_says_what_to_do() {
        let told: Vec<Value> = all().iter().map(KnowledgeError::to_problem).collect();
        insta::assert_json_snapshot!(told);
    }

    #[test]
    fn insides_stay_inside() {
        let error = KnowledgeError::Aws(AwsError::Refused {
            service: "S3",
            detail: "arn:aws:secret".into(),
        });
        assert!(!error.to_problem().to_string().contains("secret"));
    }

    #[test]
    fn a_form_within_a_form_is_an_object() {
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[serde(default, deserialize_with = "object")]
            inner: Inner,
        }
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        struct Inner {
            a: u8,
        }
        let read = |text: &str| parse_json::<Outer>(text.as_bytes()).map(|outer| outer.inner);
        assert_eq!(read("{}").unwrap(), Inner { a: 0 });
        assert_eq!(read("{\"inner\": {\"a\": 1}}").unwrap(), Inner { a: 1 });
        for wrong in ["[1]", "null", "1"] {
            let error = read(&format!("{{\"inner\": {wrong}}}")).unwrap_err();
            assert_eq!(error.name(), "InvalidRequest", "{wrong}");
        }
    }
}

//! The functions' entry: Lambda's events in, replies out, buffered or streamed as the reply says.
//!
//! API Gateway's proxy events become [`HttpRequest`]s; everything else is a step of the state machine. Which reply is
//! streamed is decided per invocation: `POST /v1/ask` is integrated with response streaming, the other routes are not,
//! and a streamed reply to a buffered integration would reach the client as raw bytes.

mod event;

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_runtime::{
    Diagnostic, Error, FunctionResponse, LambdaEvent, MetadataPrelude, StreamResponse, service_fn,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

pub use event::HttpRequest;

/// What a function is invoked with.
#[derive(Debug)]
pub enum Event {
    Http(HttpRequest),
    Step(Value),
}

/// Status and headers of an HTTP reply.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
}

/// What a function answers.
#[derive(Debug)]
pub enum Reply {
    /// A whole HTTP reply of UTF-8 text.
    Buffered { head: Head, body: String },
    /// An HTTP reply that goes out in pieces, until the sender is dropped. When the client is gone the channel closes.
    Stream {
        head: Head,
        body: mpsc::Receiver<Bytes>,
    },
    /// What a step hands back to the state machine.
    Step(Value),
}

/// A step's failure as Step Functions sees it: `name` is matched by `ErrorEquals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    pub name: String,
    pub message: String,
}

impl From<StepFailure> for Diagnostic {
    fn from(failure: StepFailure) -> Self {
        Self {
            error_type: failure.name,
            error_message: failure.message,
        }
    }
}

type Answering<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Reply, StepFailure>> + 'a>>;
type Pieces = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Bytes, Error>> + Send>>;

/// The `custom` part of an invocation's client context: what the invoker says beside the event.
pub type ClientContext = BTreeMap<String, String>;

/// Serves invocations with `handler` until Lambda stops the process.
///
/// # Errors
/// When the runtime API cannot be reached or answers what nobody can read.
pub async fn run<H, F>(handler: H) -> Result<(), Error>
where
    H: Fn(Event) -> F,
    F: Future<Output = Result<Reply, StepFailure>>,
{
    run_with_context(|event, _| handler(event)).await
}

/// As [`run`], for a handler that reads the client context too.
///
/// # Errors
/// As [`run`].
pub async fn run_with_context<H, F>(handler: H) -> Result<(), Error>
where
    H: Fn(Event, ClientContext) -> F,
    F: Future<Output = Result<Reply, StepFailure>>,
{
    lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Value>| {
        let client = invocation.context.client_context;
        let context = client
            .map(|client| client.custom.into_iter().collect())
            .unwrap_or_default();
        // Boxed: the SDK's futures nest deeper than the compiler follows through one more layer of the runtime's.
        let answering: Answering<'_> = Box::pin(handler(event::parse(invocation.payload), context));
        let reply = answering.await?;
        Ok::<_, StepFailure>(respond(reply))
    }))
    .await
}

fn respond(reply: Reply) -> FunctionResponse<Value, Pieces> {
    match reply {
        Reply::Step(value) => FunctionResponse::BufferedResponse(value),
        Reply::Buffered { head, body } => {
            let headers: serde_json::Map<String, Value> = head
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::String(value)))
                .collect();
            FunctionResponse::BufferedResponse(json!({
                "statusCode": head.status.as_u16(),
                "headers": headers,
                "body": body,
                "isBase64Encoded": false,
            }))
        }
        Reply::Stream { head, body } => {
            let mut headers = HeaderMap::new();
            for (name, value) in head.headers {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
            let metadata_prelude = MetadataPrelude {
                status_code: head.status,
                headers,
                cookies: Vec::new(),
            };
            let stream: Pieces = Box::pin(ReceiverStream::new(body).map(Ok));
            FunctionResponse::StreamingResponse(StreamResponse {
                metadata_prelude,
                stream,
            })
        }
    }
}

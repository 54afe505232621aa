//! How Lambda brings the messages of a queue to a function: gathered, in the event that AWS makes of them, again where the function
//! gives them back, and to the dead letters after so many times.
//!
//! One delivery is made at a time; AWS makes as many side by side as `ScalingConfig` lets it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{Message, Queue};
use crate::lambda::{Invocation, InvokeError};
use crate::states::hexadecimal;
use crate::template::{REGION, queue_arn};

/// Invokes a function by name with an event.
pub(crate) type Invoke =
    Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Invocation, InvokeError>> + Send + Sync>;

/// A queue whose messages go to a function.
pub(crate) struct Mapping {
    pub queue: Arc<Queue>,
    pub function: String,
    pub batch_size: usize,
    /// How long messages are gathered.
    pub window: Duration,
    /// Whether the reply names the messages that the function could not take.
    pub reports_failures: bool,
    pub dead_letters: Option<DeadLetters>,
}

/// Where messages go that were received so often and not taken.
pub(crate) struct DeadLetters {
    pub queue: Arc<Queue>,
    pub max_receives: u32,
}

impl Mapping {
    /// Delivers without an end.
    pub(crate) async fn run(self, invoke: Invoke) {
        loop {
            let taken = self.queue.receive(self.window, self.batch_size).await;
            let given_back = self.deliver(&invoke, &taken).await;
            self.settle(taken, given_back);
        }
    }

    /// Makes one delivery; answers the ids of the messages that it gives back.
    async fn deliver(&self, invoke: &Invoke, taken: &[Message]) -> BTreeSet<String> {
        let records = taken.iter().map(|one| record(one, self.queue.name()));
        let event = json!({ "Records": records.collect::<Vec<_>>() });
        let reply = invoke(self.function.clone(), event.to_string().into()).await;
        let (error, detail) = match reply {
            Ok(Invocation::Reply(_)) if !self.reports_failures => return BTreeSet::new(),
            Ok(Invocation::Reply(reply)) => match given_back(&reply) {
                Some(ids) => return ids,
                None => ("InvalidReply".to_owned(), String::new()),
            },
            Ok(Invocation::FunctionError(error)) => {
                let error: Value = serde_json::from_slice(&error).unwrap_or_default();
                let name = error["errorType"].as_str().unwrap_or("Lambda.Unknown");
                (name.to_owned(), String::new())
            }
            Ok(Invocation::Stream(_)) => ("InvalidReply".to_owned(), "it was streamed".to_owned()),
            Err(error) => (error.name().to_owned(), error.to_string()),
        };
        let (function, messages) = (&self.function, taken.len());
        tracing::warn!(error, detail, function, messages, "a delivery failed");
        taken.iter().map(|message| message.id.clone()).collect()
    }

    /// Settles a delivery: of what it gives back, what was received often enough goes to the dead letters.
    fn settle(&self, taken: Vec<Message>, mut given_back: BTreeSet<String>) {
        if !given_back.is_empty() {
            let (queue, messages) = (self.queue.name(), given_back.len());
            let tries = taken.iter().map(|message| message.receives).max();
            let tries = tries.unwrap_or_default();
            tracing::warn!(queue, messages, tries, "messages were not taken");
        }
        let mut left = 0;
        if let Some(dead) = &self.dead_letters {
            for message in &taken {
                if message.receives >= dead.max_receives && given_back.remove(&message.id) {
                    dead.queue.send(message.body.clone());
                    left += 1;
                }
            }
            if left > 0 {
                let (queue, tries) = (self.queue.name(), dead.max_receives);
                tracing::error!(
                    name = "EntriesLeft",
                    queue,
                    messages = left,
                    tries,
                    kept_in = %dead.queue.path().display(),
                    "messages were not taken by the last try and are left; mend what the lines before tell, then `outcrop sync`"
                );
            }
        }
        self.queue.settle(taken, &given_back);
    }
}

/// A message as a function gets it. Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", example event.
fn record(message: &Message, queue: &str) -> Value {
    json!({
        "messageId": message.id,
        "receiptHandle": format!("{}#{}", message.id, message.receives),
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": message.receives.to_string(),
            "SentTimestamp": message.sent_ms.to_string(),
            "SenderId": "AIDAOUTCROPEVENTS0000",
            "ApproximateFirstReceiveTimestamp": message.first_received_ms.unwrap_or_default().to_string(),
        },
        "messageAttributes": {},
        "md5OfBody": hexadecimal(&Md5::digest(message.body.as_bytes())),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn(queue),
        "awsRegion": REGION,
    })
}

/// The ids in `batchItemFailures`; nothing at all means that all were taken. `None` for a reply that gives back everything
/// because it cannot be read. Source: AWS Lambda Developer Guide, "Implementing partial batch responses", success and
/// failure conditions.
fn given_back(reply: &[u8]) -> Option<BTreeSet<String>> {
    let reply: Value = serde_json::from_slice(reply).ok()?;
    let failures = match &reply["batchItemFailures"] {
        Value::Null => return Some(BTreeSet::new()),
        Value::Array(failures) => failures,
        _ => return None,
    };
    let ids = failures.iter().map(|one| {
        let id = one["itemIdentifier"].as_str();
        id.filter(|id| !id.is_empty()).map(str::to_owned)
    });
    ids.collect()
}

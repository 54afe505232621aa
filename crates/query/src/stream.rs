//! `POST /v1/ask`: one JSON reply, or server-sent events as the answer is made.

use std::sync::Arc;
use std::time::Duration;

use aws::lambda::{HttpRequest, Reply};
use bytes::Bytes;
use http::StatusCode;
use knowledge::access::Caller;
use knowledge::ask::{self, AskEvent, AskRequest};
use knowledge::http as web;
use knowledge::{KnowledgeError, problem};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::Service;

/// Longest silence. A client that hung up is noticed when a write fails, which is the second write after it went; and
/// while the guard's window holds text back, nothing but these comments is written. API Gateway and edge networks end
/// streams that are silent for 30 s and more.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Events that may wait for a slow client before the model is made to wait.
const EVENTS_WAITING: usize = 16;

pub(crate) async fn ask(service: Arc<Service>, request: &HttpRequest) -> Reply {
    let wanted = match read(request) {
        Ok(wanted) => wanted,
        Err(error) => return streamed(web::problem(&error)),
    };
    let caller = web::caller(request);
    let accept = request
        .headers
        .get("accept")
        .map(String::as_str)
        .unwrap_or_default();
    if accept.contains("text/event-stream") {
        return events(service, caller, wanted).await;
    }
    let reply = match ask::ask(&service.aws, &service.snapshots, &caller, &wanted, None).await {
        Ok(answer) => web::json(StatusCode::OK, &answer),
        Err(error) => web::problem(&error),
    };
    streamed(reply)
}

fn read(request: &HttpRequest) -> Result<AskRequest, KnowledgeError> {
    web::require_json(request)?;
    problem::parse_json(&request.body)
}

/// The same reply as a stream of one piece.
fn streamed(reply: Reply) -> Reply {
    let Reply::Buffered { head, body } = reply else {
        return reply;
    };
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one piece, and the receiver is in our hands.
    let sent = sender.try_send(Bytes::from(body));
    debug_assert!(sent.is_ok());
    Reply::Stream {
        head,
        body: receiver,
    }
}

async fn events(service: Arc<Service>, caller: Caller, wanted: AskRequest) -> Reply {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    let answering = tokio::spawn(async move {
        ask::ask(
            &service.aws,
            &service.snapshots,
            &caller,
            &wanted,
            Some(events),
        )
        .await
    });
    open(received, answering, HEARTBEAT).await
}

/// Waits for the first event, so that a question that cannot be asked gets its problem and status; then streams.
async fn open(
    mut received: mpsc::Receiver<AskEvent>,
    answering: Answering,
    heartbeat: Duration,
) -> Reply {
    let Some(first) = received.recv().await else {
        return streamed(web::problem(&ended(answering).await));
    };
    let (out, body) = mpsc::channel(EVENTS_WAITING);
    tokio::spawn(async move {
        forward(first, received, answering, &out, heartbeat).await;
    });
    Reply::Stream {
        head: web::head(StatusCode::OK, "text/event-stream"),
        body,
    }
}

type Answering = tokio::task::JoinHandle<Result<Option<ask::Answer>, KnowledgeError>>;

/// Passes events on, with heartbeats while the model is silent. When the client is gone, `received` is dropped and the
/// answer stops with it.
async fn forward(
    first: AskEvent,
    mut received: mpsc::Receiver<AskEvent>,
    answering: Answering,
    out: &mpsc::Sender<Bytes>,
    heartbeat: Duration,
) {
    if out.send(frame(first.name(), &first)).await.is_err() {
        return;
    }
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(heartbeat, received.recv()) => next,
            () = out.closed() => return,
        };
        let piece = match next {
            Ok(Some(event)) => frame(event.name(), &event),
            Ok(None) => return finish(answering, out).await,
            Err(_) => Bytes::from_static(b": keep-alive\n\n"),
        };
        if out.send(piece).await.is_err() {
            return;
        }
    }
}

/// Tells a failure in mid-stream; a whole answer has told itself.
async fn finish(answering: Answering, out: &mpsc::Sender<Bytes>) {
    let error = match answering.await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error,
        Err(_) => broken_off(),
    };
    // Should the client be gone, there is nobody to tell.
    let _ = out.send(frame("error", &error.to_problem())).await;
}

/// Why an answer ended before its first event.
async fn ended(answering: Answering) -> KnowledgeError {
    match answering.await {
        Ok(Err(error)) => error,
        _ => broken_off(),
    }
}

fn broken_off() -> KnowledgeError {
    KnowledgeError::Interrupted
}

fn frame<T: Serialize>(name: &str, data: &T) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests;

//! A model that says what the test prescribes, delta by delta: an OpenAI-compatible endpoint behind the laptop's Bedrock.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};

/// What it says next, and what it was asked.
#[derive(Clone, Default)]
pub struct ScriptedModel {
    script: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<String>>,
}

impl ScriptedModel {
    /// Starts it on a free port; answers it and the flag `--model-url`'s value.
    pub async fn start() -> (Self, String) {
        let model = Self::default();
        let app = axum::Router::new()
            .route("/v1/chat/completions", post(respond))
            .with_state(model.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (model, url)
    }

    /// Every answer from now on comes in these deltas.
    pub fn says(&self, deltas: impl IntoIterator<Item = impl Into<String>>) {
        *self.script.lock().unwrap() = deltas.into_iter().map(Into::into).collect();
    }

    /// The texts of all messages so far.
    pub fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}

async fn respond(State(model): State<ScriptedModel>, body: Bytes) -> Response<Body> {
    let request: Value = serde_json::from_slice(&body).unwrap();
    for message in request["messages"].as_array().into_iter().flatten() {
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            parts => parts.to_string(),
        };
        model.asked.lock().unwrap().push_str(&format!("{text}\n"));
    }
    let script = model.script.lock().unwrap().clone();
    if request["stream"] != true {
        let message = json!({"role": "assistant", "content": script.concat()});
        let reply = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        return Response::new(Body::from(reply.to_string()));
    }
    let pieces = script.into_iter().map(|text| {
        let event =
            json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
        Ok::<_, std::convert::Infallible>(format!("data: {event}\n\n"))
    });
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let end = [Ok(format!("data: {end}\n\ndata: [DONE]\n\n"))];
    let pieces: Vec<_> = pieces.chain(end).collect();
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(futures_util::stream::iter(pieces)))
        .unwrap()
}

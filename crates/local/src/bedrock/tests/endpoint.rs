//! An OpenAI-compatible endpoint behind the wire: a stub that answers what the test prescribes.
use axum::extract::State;
use axum::routing::post as on_post;
use http::Response;
use tokio::sync::Mutex;

use super::*;

/// What the stub answers, what it was asked, and how many of its streams are alive.
#[derive(Default)]
struct Stub {
    status: u16,
    /// Sent as they are, then silence for `hang`.
    pieces: Vec<String>,
    /// What later requests are answered with, if with something else.
    then: Option<Vec<String>>,
    hang: Duration,
    asked: Mutex<Vec<Value>>,
    alive: AtomicUsize,
}

struct Alive(Arc<Stub>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn respond(State(stub): State<Arc<Stub>>, body: Bytes) -> Response<Body> {
    let first = {
        let mut asked = stub.asked.lock().await;
        asked.push(serde_json::from_slice(&body).expect("JSON"));
        asked.len() == 1
    };
    stub.alive.fetch_add(1, Ordering::SeqCst);
    let alive = Alive(stub.clone());
    let said = match &stub.then {
        Some(then) if !first => then.clone(),
        _ => stub.pieces.clone(),
    };
    let pieces = futures_util::stream::unfold((0, alive, said), |(at, alive, said)| async move {
        if at == said.len() {
            tokio::time::sleep(alive.0.hang).await;
        }
        let piece = said.get(at)?.clone();
        Some((Ok::<_, std::io::Error>(piece), (at + 1, alive, said)))
    });
    Response::builder()
        .status(stub.status)
        .body(Body::from_stream(pieces))
        .expect("a response")
}

async fn behind(stub: Stub) -> (Router, Arc<Stub>) {
    let (settings, stub) = listening(stub).await;
    (router(Bedrock::open(settings).expect("an emulator")), stub)
}

/// Settings that name the stub's address.
async fn listening(stub: Stub) -> (Settings, Arc<Stub>) {
    let stub = Arc::new(stub);
    let app = Router::new()
        .route("/v1/chat/completions", on_post(respond))
        .route("/v1/embeddings", on_post(respond))
        .with_state(stub.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/v1/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let settings = Settings {
        model_url: Some(url),
        model_name: Some("small".into()),
        embed_model: Some("embedder".into()),
        model_timeout: Some(Duration::from_millis(300)),
        ..Settings::default()
    };
    (settings, stub)
}

fn says(events: &[Value]) -> Stub {
    let mut pieces: Vec<String> = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    pieces.push("data: [DONE]\n\n".into());
    Stub {
        status: 200,
        pieces,
        ..Stub::default()
    }
}

fn delta(delta: Value, finish: Option<&str>) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

#[tokio::test]
async fn text_goes_both_ways() {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}});
    let (app, stub) = behind(says(&[
        delta(json!({"content": "Retry "}), None),
        delta(json!({"content": "it [2]."}), Some("stop")),
        usage,
    ]))
    .await;
    let mut body = question();
    body["system"] = json!([{"text": "Be brief."}]);
    body["inferenceConfig"] = json!({"maxTokens": 50, "temperature": 0, "stopSequences": ["END"]});
    let reply = converse(&app, body.clone()).await;
    insta::assert_json_snapshot!("endpoint_reply", reply.stable());
    insta::assert_json_snapshot!("endpoint_request", stub.asked.lock().await[0]);
    let frames = stream(&app, body).await;
    let text: Vec<&str> = frames
        .iter()
        .filter_map(|(_, _, payload)| payload["delta"]["text"].as_str())
        .collect();
    assert_eq!(text, ["Retry ", "it [2]."]);
}

#[tokio::test]
async fn tools_go_both_ways() {
    let call = |function: Value, id: Option<&str>| {
        delta(
            json!({"tool_calls": [{"index": 0, "id": id, "function": function}]}),
            None,
        )
    };
    let (app, stub) = behind(says(&[
        call(
            json!({"name": "search_documents", "arguments": ""}),
            Some("call_1"),
        ),
        call(json!({"arguments": "{\"query\":"}), None),
        call(json!({"arguments": "\"x\"}"}), None),
        delta(json!({}), Some("tool_calls")),
    ]))
    .await;
    let mut body = json!({"messages": [
        {"role": "user", "content": [{"text": "Look it up"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "call_0", "name": "get_weather", "input": {"query": "y"}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "call_0", "content": [{"json": {"sun": true}}]}}, {"text": "And now?"}]}
    ]});
    body["toolConfig"] = tools(json!({"tool": {"name": "search_documents"}}));
    let reply = converse(&app, body).await.json();
    assert_eq!(reply["stopReason"], "tool_use");
    assert_eq!(
        reply["output"]["message"]["content"],
        json!([{"toolUse": {"toolUseId": "call_1", "name": "search_documents", "input": {"query": "x"}}}])
    );
    let asked = stub.asked.lock().await[0].clone();
    assert_eq!(
        asked["tool_choice"],
        json!({"type": "function", "function": {"name": "search_documents"}})
    );
    let roles: Vec<&str> = asked["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|m| m["role"].as_str())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
    assert_eq!(
        asked["messages"][2],
        json!({"role": "tool", "tool_call_id": "call_0", "content": "{\"sun\":true}"})
    );
}

#[tokio::test]
async fn refusals_of_the_endpoint_become_awss() {
    for (status, expected, error) in [
        (429, 429, "ThrottlingException"),
        (500, 424, "ModelErrorException"),
        (503, 503, "ServiceUnavailableException"),
        (400, 400, "ValidationException"),
        (401, 403, "AccessDeniedException"),
    ] {
        let (app, _) = behind(Stub {
            status,
            pieces: vec!["no".into()],
            ..Stub::default()
        })
        .await;
        let reply = converse(&app, question()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.error.as_str()),
            (expected, error)
        );
    }
    let gone = Settings {
        model_url: Some("http://127.0.0.1:9/v1".into()),
        ..Settings::default()
    };
    let reply = converse(
        &router(Bedrock::open(gone).expect("an emulator")),
        question(),
    )
    .await;
    assert_eq!(reply.error, "ServiceUnavailableException");
}

#[tokio::test]
async fn a_broken_stream_ends_with_an_exception_frame() {
    let half = format!("data: {}\n\n", delta(json!({"content": "Retry "}), None));
    for (pieces, hang) in [
        (vec![half.clone()], Duration::ZERO),
        (
            vec![half.clone(), "data: {nonsense\n\n".into()],
            Duration::ZERO,
        ),
        (
            vec![
                half.clone(),
                "data: {\"error\": {\"message\": \"out of memory\"}}\n\n".into(),
            ],
            Duration::ZERO,
        ),
        (vec![half], Duration::from_secs(5)),
    ] {
        let (app, _) = behind(Stub {
            status: 200,
            pieces,
            hang,
            ..Stub::default()
        })
        .await;
        let frames = stream(&app, question()).await;
        assert_eq!(frames[1].2["delta"]["text"], "Retry ");
        let last = frames.last().expect("a frame");
        assert_eq!(
            (last.0.as_str(), last.1.as_str()),
            ("exception", "modelStreamErrorException")
        );
    }
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (app, _) = behind(Stub {
        status: 200,
        hang: Duration::from_secs(5),
        ..Stub::default()
    })
    .await;
    let reply = converse(&app, question()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.error.as_str()),
        (408, "ModelTimeoutException")
    );
}

#[tokio::test]
async fn hanging_up_stops_the_work() {
    let half = format!("data: {}\n\n", delta(json!({"content": "Retry "}), None));
    let (app, stub) = behind(Stub {
        status: 200,
        pieces: vec![half],
        hang: Duration::from_secs(60),
        ..Stub::default()
    })
    .await;
    let path = format!("/model/{MODEL}/converse-stream");
    let request = Request::post(path)
        .body(Body::from(question().to_string()))
        .expect("a request");
    let mut pieces = app
        .oneshot(request)
        .await
        .expect("a reply")
        .into_body()
        .into_data_stream();
    pieces.next().await.expect("a piece").expect("messageStart");
    assert_eq!(stub.alive.load(Ordering::SeqCst), 1);
    drop(pieces);
    for _ in 0..100 {
        if stub.alive.load(Ordering::SeqCst) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the endpoint is still speaking");
}

#[tokio::test]
async fn the_endpoints_embeddings_are_checked() {
    let reply = |length: usize| json!({"data": [{"embedding": vec![0.5; length]}]}).to_string();
    let path = "/model/amazon.titan-embed-text-v2:0/invoke";
    let body = json!({"inputText": "a", "dimensions": 256});
    let (app, stub) = behind(Stub {
        status: 200,
        pieces: vec![reply(256)],
        ..Stub::default()
    })
    .await;
    assert_eq!(
        post(&app, path, body.clone()).await.json()["embedding"][0],
        0.5
    );
    assert_eq!(stub.asked.lock().await[0]["model"], "embedder");
    let (app, _) = behind(Stub {
        status: 200,
        pieces: vec![reply(100)],
        ..Stub::default()
    })
    .await;
    let wrong = post(&app, path, body).await;
    assert_eq!(wrong.error, "ModelErrorException");
    assert!(
        wrong.json()["message"]
            .as_str()
            .expect("a message")
            .contains("100 dimensions; 256")
    );
}

#[tokio::test]
async fn an_agents_answer_cites_what_the_model_numbers() {
    let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {
        "name": "x_amz_knowledgebase_HANDBOOK01__Search", "arguments": "{\"query\":\"stairs\"}"}}]});
    let mut stub = says(&[delta(call, None), delta(json!({}), Some("tool_calls"))]);
    let text = "I looked. The keeper climbs one hundred stairs [1]. Ask again.";
    stub.then = Some(
        says(&[
            delta(json!({"content": text}), None),
            delta(json!({}), Some("stop")),
        ])
        .pieces,
    );
    let (settings, stub) = listening(stub).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (app, _) = agents::emulator_with(settings, folder.path(), agents::shipped);
    let id = agents::create(&app, "keeper", json!({})).await;
    agents::with_handbook(&app, &id).await;
    agents::prepare(&app, &id).await;
    let frames = agents::ask(&app, &id, "How many stairs are there?").await;
    let asked = stub.asked.lock().await;
    assert_eq!(asked.len(), 2, "{frames:?}");
    let handed = asked[1]["messages"].as_array().expect("messages").last();
    assert!(
        handed.expect("a message")["content"]
            .as_str()
            .expect("text")
            .starts_with("[1] ")
    );
    let (answer, citations) = agents::answer(&frames);
    assert_eq!(
        answer,
        "I looked. The keeper climbs one hundred stairs. Ask again."
    );
    insta::assert_json_snapshot!(citations);
}

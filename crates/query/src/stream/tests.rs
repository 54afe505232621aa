use aws::bedrock::BedrockError;

use super::*;

fn throttled() -> KnowledgeError {
    BedrockError::Throttled {
        model: "m".into(),
        detail: "slow down".into(),
    }
    .into()
}

fn delta(text: &str) -> AskEvent {
    AskEvent::Delta { text: text.into() }
}

async fn read(reply: Reply) -> (u16, String, String) {
    let Reply::Stream { head, mut body } = reply else {
        panic!("not streamed")
    };
    let mut text = Vec::new();
    while let Some(piece) = body.recv().await {
        text.extend_from_slice(&piece);
    }
    let content_type = head
        .headers
        .iter()
        .find(|(name, _)| *name == "content-type");
    let content_type = content_type
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    (
        head.status.as_u16(),
        content_type,
        String::from_utf8(text).unwrap(),
    )
}

#[tokio::test]
async fn a_failure_before_the_first_event_has_its_own_status() {
    let check = async |error: KnowledgeError, status: u16, name: &str| {
        let (events, received) = mpsc::channel(1);
        let answering = tokio::spawn(async move {
            drop(events);
            Err(error)
        });
        let (found, content_type, body) =
            self::read(open(received, answering, HEARTBEAT).await).await;
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (found, content_type.as_str()),
            (status, "application/problem+json")
        );
        assert_eq!(problem["name"], name);
    };
    check(throttled(), 429, "ModelThrottled").await;
    check(KnowledgeError::EmptyQuestion, 400, "EmptyQuestion").await;
}

#[tokio::test]
async fn a_task_that_panics_is_our_fault_and_not_the_callers() {
    let (events, received) = mpsc::channel::<AskEvent>(1);
    let answering = tokio::spawn(async move {
        let _events = events;
        panic!("broken on purpose")
    });
    let (status, _, body) = self::read(open(received, answering, HEARTBEAT).await).await;
    assert_eq!(status, 500);
    assert!(
        body.contains("AnswerInterrupted") && !body.contains("on purpose"),
        "{body}"
    );
}

#[tokio::test]
async fn events_go_out_in_order_and_end_with_the_error() {
    let (events, received) = mpsc::channel(4);
    let answering = tokio::spawn(async move {
        let sources = AskEvent::Sources {
            answer_id: "default.1".into(),
            sources: Vec::new(),
        };
        for event in [sources, delta("One\nline, "), delta("two.")] {
            events.send(event).await.unwrap();
        }
        Err(throttled())
    });
    let (status, content_type, body) = self::read(open(received, answering, HEARTBEAT).await).await;
    assert_eq!((status, content_type.as_str()), (200, "text/event-stream"));
    insta::assert_snapshot!(body);
}

#[tokio::test]
async fn a_silent_model_is_bridged_by_heartbeats() {
    let (events, received) = mpsc::channel(4);
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let answering = tokio::spawn(async move {
        events.send(delta("a")).await.unwrap();
        wait.await.unwrap();
        events.send(delta("b")).await.unwrap();
        Ok(None)
    });
    let reply = open(received, answering, Duration::from_millis(5)).await;
    let Reply::Stream { mut body, .. } = reply else {
        panic!("not streamed")
    };
    let mut pieces = Vec::new();
    for _ in 0..3 {
        pieces.push(body.recv().await.unwrap());
    }
    assert!(pieces[0].starts_with(b"event: delta"));
    assert_eq!(
        pieces[1..],
        [&b": keep-alive\n\n"[..], &b": keep-alive\n\n"[..]]
    );
    go_on.send(()).unwrap();
    let rest = self::read(Reply::Stream {
        head: web::head(StatusCode::OK, "text/event-stream"),
        body,
    })
    .await;
    assert!(rest.2.contains("\"b\""), "{}", rest.2);
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_answer() {
    let (events, received) = mpsc::channel(4);
    let (stopped, heard) = tokio::sync::oneshot::channel();
    let answering = tokio::spawn(async move {
        events.send(delta("a")).await.unwrap();
        events.closed().await;
        stopped.send(()).unwrap();
        Ok(None)
    });
    let Reply::Stream { body, .. } = open(received, answering, HEARTBEAT).await else {
        panic!("not streamed")
    };
    drop(body);
    tokio::time::timeout(Duration::from_secs(5), heard)
        .await
        .unwrap()
        .unwrap();
}

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::lambda::{Invocation, InvokeError};

const DAY: Duration = Duration::from_secs(86_400);
const BEGINS: u64 = 1_793_534_400_000;

/// A clock whose minutes pass in a sixtieth of a second.
fn fast() -> Arc<Clock> {
    Arc::new(Clock::fast(BEGINS, 7, 3_600))
}

fn open(folder: &Path, name: &str, clock: &Arc<Clock>) -> Arc<Queue> {
    Arc::new(Queue::open(folder, name, 4 * DAY, clock.clone()).unwrap())
}

fn ids(messages: &[Message]) -> BTreeSet<String> {
    messages.iter().map(|message| message.id.clone()).collect()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.body.as_str())
        .collect()
}

/// A function whose replies are these, one after the other; the last for good. Answers it, what it was given, and a count of calls.
fn function(replies: Vec<Result<Invocation, InvokeError>>) -> (Invoke, Arc<Mutex<Vec<Value>>>) {
    let given = Arc::new(Mutex::new(Vec::new()));
    let (seen, calls) = (given.clone(), AtomicUsize::new(0));
    let replies: Vec<_> = replies.into_iter().map(|reply| reply.map(again)).collect();
    let invoke: Invoke = Arc::new(move |name, event| {
        assert_eq!(name, "f");
        let event: Value = serde_json::from_slice(&event).unwrap();
        seen.lock().unwrap().push(event);
        let call = calls.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        let reply = match &replies[call] {
            Ok((true, bytes)) => Ok(Invocation::Reply(bytes.clone())),
            Ok((false, bytes)) => Ok(Invocation::FunctionError(bytes.clone())),
            Err(error) => Err(error.clone()),
        };
        Box::pin(async move { reply })
    });
    (invoke, given)
}

fn again(reply: Invocation) -> (bool, bytes::Bytes) {
    match reply {
        Invocation::Reply(bytes) => (true, bytes),
        Invocation::FunctionError(bytes) => (false, bytes),
        Invocation::Stream(_) => panic!("no test streams"),
    }
}

fn reply(body: &str) -> Result<Invocation, InvokeError> {
    Ok(Invocation::Reply(body.to_owned().into()))
}

fn mapping(queue: &Arc<Queue>, dead: &Arc<Queue>) -> Mapping {
    Mapping {
        queue: queue.clone(),
        function: "f".to_owned(),
        batch_size: 10_000,
        window: Duration::from_secs(60),
        reports_failures: true,
        dead_letters: Some(DeadLetters {
            queue: dead.clone(),
            max_receives: 5,
        }),
    }
}

/// Runs a mapping until the dead letters have so many messages, or the queue none; answers the dead letters.
async fn run(mapping: Mapping, invoke: Invoke, dead: usize) -> Vec<String> {
    let (queue, letters) = (mapping.queue.clone(), mapping.dead_letters.as_ref());
    let letters = letters.unwrap().queue.clone();
    let running = tokio::spawn(mapping.run(invoke));
    loop {
        let left = journal::read(queue.path()).unwrap().len();
        let found = journal::read(letters.path()).unwrap();
        if left == 0 && found.len() == dead {
            running.abort();
            return found.into_iter().map(|message| message.body).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_burst_is_gathered_into_one_delivery_in_sqss_form() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), fast());
    let (queue, dead) = (
        open(folder.path(), "q", &clock),
        open(folder.path(), "d", &clock),
    );
    for body in ["one", "two \"quoted\""] {
        queue.send(body.to_owned());
    }
    let (invoke, given) = function(vec![reply("{\"batchItemFailures\": []}")]);
    assert!(run(mapping(&queue, &dead), invoke, 0).await.is_empty());
    let mut given = given.lock().unwrap().clone();
    assert_eq!(given.len(), 1, "{given:?}");
    let records = given[0]["Records"].as_array_mut().unwrap();
    assert_eq!(records.len(), 2);
    for record in records.iter_mut() {
        for time in ["SentTimestamp", "ApproximateFirstReceiveTimestamp"] {
            let text = record["attributes"][time].as_str().unwrap();
            assert!(text.parse::<u64>().unwrap() >= BEGINS, "{record}");
        }
        for (pointer, drawn) in [
            ("/messageId", "id"),
            ("/receiptHandle", "handle"),
            ("/attributes/SentTimestamp", "time"),
            ("/attributes/ApproximateFirstReceiveTimestamp", "time"),
        ] {
            *record.pointer_mut(pointer).unwrap() = json!(drawn);
        }
    }
    insta::assert_json_snapshot!(given[0]);
}

#[tokio::test]
async fn what_is_given_back_comes_again_and_is_left_after_the_last_try() {
    let check =
        async |replies: Vec<Result<Invocation, InvokeError>>, calls: usize, dead: Option<&str>| {
            let (folder, clock) = (tempfile::tempdir().unwrap(), fast());
            let (queue, letters) = (
                open(folder.path(), "q", &clock),
                open(folder.path(), "d", &clock),
            );
            queue.send("taken".to_owned());
            let (invoke, given) = function(replies);
            let left = run(mapping(&queue, &letters), invoke, dead.iter().count()).await;
            let given = given.lock().unwrap();
            assert_eq!(
                (left, given.len()),
                (Vec::from_iter(dead.map(str::to_owned)), calls)
            );
            for (call, event) in given.iter().enumerate() {
                let receives = &event["Records"][0]["attributes"]["ApproximateReceiveCount"];
                assert_eq!(*receives, json!((call + 1).to_string()));
            }
        };
    let error = || {
        Ok(Invocation::FunctionError(
            "{\"errorType\": \"Sandbox.Timedout\"}".into(),
        ))
    };
    let busy = || {
        Err(InvokeError::TooManyRequests {
            name: "f".into(),
            limit: 8,
        })
    };
    for taken in [
        "null",
        "{}",
        "{\"batchItemFailures\": null}",
        "{\"batchItemFailures\": []}",
    ] {
        check(vec![reply(taken)], 1, None).await;
    }
    check(vec![error(), busy(), reply("{}")], 3, None).await;
    check(vec![error()], 5, Some("taken")).await;
    for unreadable in [
        "no json",
        "{\"batchItemFailures\": 1}",
        "{\"batchItemFailures\": [{\"itemIdentifier\": \"\"}]}",
        "{\"batchItemFailures\": [{\"id\": \"x\"}]}",
    ] {
        check(vec![reply(unreadable), reply("{}")], 2, None).await;
    }
}

#[tokio::test]
async fn of_a_delivery_only_what_was_given_back_comes_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), fast());
    let queue = open(folder.path(), "q", &clock);
    for body in ["a", "b", "c"] {
        queue.send(body.to_owned());
    }
    let taken = queue.receive(Duration::ZERO, 2).await;
    assert_eq!(bodies(&taken), ["a", "b"]);
    let second = BTreeSet::from([taken[1].id.clone()]);
    queue.settle(taken, &second);
    let next = queue.receive(Duration::ZERO, 1).await;
    assert_eq!(bodies(&next), ["c"]);
    queue.settle(next, &BTreeSet::new());
    let last = queue.receive(Duration::ZERO, 10).await;
    assert_eq!((bodies(&last), last[0].receives), (vec!["b"], 2));
}

#[tokio::test]
async fn a_delivery_is_no_larger_than_an_invocation_takes() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), fast());
    let queue = open(folder.path(), "q", &clock);
    for _ in 0..9 {
        queue.send("\"".repeat(400_000));
    }
    let taken = queue.receive(Duration::ZERO, 10_000).await;
    let records = taken.iter().map(|one| json!({"body": one.body}));
    let event = json!({ "Records": records.collect::<Vec<_>>() }).to_string();
    assert_eq!(taken.len(), 7);
    assert!(
        event.len() <= crate::lambda::PAYLOAD_BYTES,
        "{}",
        event.len()
    );
    // One that is larger than any delivery is refused where it is delivered, and not kept back for ever.
    queue.settle(taken, &BTreeSet::new());
    queue.send("x".repeat(DELIVERY_BYTES));
    let rest = queue.receive(Duration::ZERO, 10_000).await;
    assert_eq!(rest.len(), 2);
    queue.settle(rest, &BTreeSet::new());
    assert_eq!(queue.receive(Duration::ZERO, 10_000).await.len(), 1);
}

#[tokio::test]
async fn messages_outlive_the_process() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), fast());
    let queue = open(folder.path(), "q", &clock);
    for body in ["taken", "received", "given back", "waiting"] {
        queue.send(body.to_owned());
    }
    let taken = queue.receive(Duration::ZERO, 1).await;
    queue.settle(taken, &BTreeSet::new());
    let received = queue.receive(Duration::ZERO, 1).await;
    let given_back = queue.receive(Duration::ZERO, 1).await;
    let all = ids(&given_back);
    queue.settle(given_back, &all);
    // A kill in the middle of a line.
    let mut torn = std::fs::OpenOptions::new()
        .append(true)
        .open(queue.path())
        .unwrap();
    std::io::Write::write_all(&mut torn, b"{\"sent\": {\"id\"").unwrap();
    drop((queue, received));

    let queue = open(folder.path(), "q", &clock);
    let found = queue.receive(Duration::ZERO, 10).await;
    let receives: Vec<u32> = found.iter().map(|message| message.receives).collect();
    assert_eq!(bodies(&found), ["received", "given back", "waiting"]);
    assert_eq!(receives, [2, 2, 1]);
    queue.settle(found, &BTreeSet::new());
    assert_eq!(std::fs::read(queue.path()).unwrap(), b"");

    queue.send("old".to_owned());
    let later = Arc::new(Clock::fast(BEGINS + 5 * 86_400_000, 7, 1));
    let queue = open(folder.path(), "q", &later);
    assert_eq!(std::fs::read(queue.path()).unwrap(), b"");
}

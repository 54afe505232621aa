//! State machines from the outside: definition and input in, output, errors and history out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{Clock, Services, StateMachines, TaskError};

mod machines;
mod maps;
mod restart;
mod wire;
mod witnessed;

/// Machine seconds pass this many times as fast as real ones.
const SPEED: u32 = 100;

/// Lambda functions and objects of the tests, and what was called.
#[derive(Default)]
struct World {
    calls: Mutex<Vec<(String, Value)>>,
    flaky: Mutex<BTreeMap<String, u32>>,
    running: AtomicU32,
    most_running: AtomicU32,
}

impl World {
    fn services(self: &Arc<Self>) -> Services {
        let world = Arc::clone(self);
        Services {
            invoke_lambda: Arc::new(move |name, event| {
                let world = Arc::clone(&world);
                async move {
                    let now = world.running.fetch_add(1, Ordering::SeqCst) + 1;
                    world.most_running.fetch_max(now, Ordering::SeqCst);
                    let reply = world.invoke(&name, event).await;
                    world.running.fetch_sub(1, Ordering::SeqCst);
                    reply
                }
                .boxed()
            }),
            read_object: Arc::new(|bucket, key| async move { object(&bucket, &key) }.boxed()),
        }
    }

    async fn invoke(&self, name: &str, event: Value) -> Result<Value, TaskError> {
        let call = (name.to_owned(), event.clone());
        self.calls.lock().expect("lock").push(call);
        let (what, argument) = name.split_once('_').unwrap_or((name, ""));
        match what {
            "echo" => Ok(event),
            "double" => Ok(json!({ "n": event["n"].as_u64().unwrap_or(0) * 2 })),
            "sleep" => {
                let seconds: u32 = argument.parse().expect("seconds");
                tokio::time::sleep(Duration::from_secs(1) * seconds / SPEED).await;
                Ok(event)
            }
            "hang" => std::future::pending().await,
            "fail" => Err(error(argument)),
            // Fails as often as its number says, then answers.
            "flaky" => {
                let times: u32 = argument.parse().expect("a number");
                let mut flaky = self.flaky.lock().expect("lock");
                let used = flaky.entry(event.to_string()).or_default();
                *used += 1;
                if *used > times {
                    Ok(json!({ "calls": *used }))
                } else {
                    Err(error("Flaky"))
                }
            }
            "odd" if event["n"].as_u64().unwrap_or(0) % 2 == 1 => Err(error("Odd")),
            "odd" => Ok(event),
            "big" => Ok(json!("x".repeat(300_000))),
            _ => Err(error("NoSuchFunction")),
        }
    }

    fn calls_of(&self, name: &str) -> usize {
        let calls = self.calls.lock().expect("lock");
        calls.iter().filter(|(called, _)| called == name).count()
    }
}

fn error(name: &str) -> TaskError {
    TaskError {
        error: name.to_owned(),
        cause: format!("{name} it is"),
    }
}

fn object(bucket: &str, key: &str) -> Result<Bytes, TaskError> {
    let text = match (bucket, key) {
        ("b", "three.jsonl") => "{\"n\":1}\n{\"n\":2}\n\n{\"n\":3}\n",
        ("b", "four.json") => "[{\"n\":0},{\"n\":1},{\"n\":2},{\"n\":3}]",
        ("b", "bad.jsonl") => "{\"n\":1}\n{n}\n",
        ("b", "object.json") => "{}",
        _ => return Err(error("NoSuchKey")),
    };
    Ok(Bytes::from_static(text.as_bytes()))
}

fn open(dir: &Path, world: &Arc<World>) -> StateMachines {
    let clock = Clock::fast(1_763_890_601_250, 7, SPEED);
    StateMachines::open_with(dir, world.services(), clock).expect("opens")
}

/// One request; its status code and body.
async fn call(machines: &StateMachines, operation: &str, body: Value) -> (u16, Value) {
    let target = format!("AWSStepFunctions.{operation}");
    let reply = machines
        .handle(&target, Bytes::from(body.to_string()))
        .await;
    let json = "application/x-amz-json-1.0";
    assert_eq!(reply.headers()[http::header::CONTENT_TYPE], json);
    assert!(reply.headers().contains_key("x-amzn-requestid"));
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(reply.body()).expect("JSON"))
}

async fn ok(machines: &StateMachines, operation: &str, body: Value) -> Value {
    let (status, reply) = call(machines, operation, body).await;
    assert_eq!(status, 200, "{operation}: {reply}");
    reply
}

/// Starts the machine `m`; the execution's ARN.
async fn start(machines: &StateMachines, name: &str, input: &Value) -> String {
    let arn = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
    let request = json!({ "stateMachineArn": arn, "name": name, "input": input.to_string() });
    let reply = ok(machines, "StartExecution", request).await;
    reply["executionArn"].as_str().expect("an ARN").to_owned()
}

/// Waits for the end of an execution and describes it.
async fn ended(machines: &StateMachines, arn: &str) -> Value {
    let entry = machines.executions.entry(arn).expect("an execution");
    let limit = Duration::from_secs(20);
    let ended = tokio::time::timeout(limit, entry.ended()).await;
    ended.expect("the execution ends");
    ok(
        machines,
        "DescribeExecution",
        json!({ "executionArn": arn }),
    )
    .await
}

async fn events(machines: &StateMachines, arn: &str) -> Vec<Value> {
    let request = json!({ "executionArn": arn, "maxResults": 1000 });
    let reply = ok(machines, "GetExecutionHistory", request).await;
    reply["events"].as_array().expect("events").clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["type"].as_str());
    kinds.map(|kind| kind.expect("a type")).collect()
}

/// A machine of the given states; the first is where it starts.
fn machine(states: &Value) -> Value {
    let first = states.as_object().and_then(|states| states.keys().next());
    json!({ "QueryLanguage": "JSONata", "StartAt": first, "States": states })
}

/// Runs a machine to its end; its output or its error's name.
async fn outcome(definition: &Value, input: &Value, world: &Arc<World>) -> Result<Value, String> {
    let dir = tempfile::tempdir().expect("a folder");
    let machines = open(dir.path(), world);
    let created = machines.create("m", &definition.to_string());
    created.unwrap_or_else(|refused| panic!("{refused}"));
    let arn = start(&machines, "run", input).await;
    let end = ended(&machines, &arn).await;
    match end["output"].as_str() {
        Some(output) => Ok(serde_json::from_str(output).expect("JSON")),
        None => Err(end["error"].as_str().unwrap_or_default().to_owned()),
    }
}

/// The states, the input, the expected output or the name of the error.
async fn check(states: Value, input: Value, expected: Result<Value, &str>) {
    let found = outcome(&machine(&states), &input, &Arc::default()).await;
    assert_eq!(found, expected.map_err(str::to_owned), "{states}");
}

/// A Task that invokes `function` with `payload` and ends.
fn task(function: &str, payload: Value) -> Value {
    json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": { "FunctionName": function, "Payload": payload },
        "Output": "{% $states.result.Payload %}",
        "End": true,
    })
}

/// The value with these fields in place of, or beside, its own.
fn with(mut value: Value, fields: Value) -> Value {
    for (name, field) in fields.as_object().expect("an object") {
        value[name] = field.clone();
    }
    value
}

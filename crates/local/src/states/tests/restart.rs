//! Executions over the end of the process: dropping the state machines interrupts what runs, as a
//! kill does, because nothing is written at that moment.

use super::*;

/// First a quick step, then one that hangs in the first process and answers in the next.
fn two_steps(second: &str) -> String {
    let first = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": { "FunctionName": "double", "Payload": { "n": "{% $states.input.n %}" } },
        "Assign": { "first": "{% $states.result.Payload.n %}" },
        "Output": { "kept": "{% $states.input.n %}" },
        "Next": "Second",
    });
    let output =
        json!({ "Output": "{% [$first, $states.input.kept, $states.context.Execution.Name] %}" });
    let second = with(task(second, json!({})), output);
    machine(&json!({ "First": first, "Second": second })).to_string()
}

async fn until_called(world: &World, name: &str) {
    for _ in 0..2_000 {
        if world.calls_of(name) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{name} was never called");
}

/// Starts `run` in `dir` and interrupts it while it hangs in its second state.
async fn interrupted(dir: &Path) -> String {
    let world: Arc<World> = Arc::default();
    let machines = open(dir, &world);
    let created = machines.create("m", &two_steps("hang"));
    created.unwrap_or_else(|refused| panic!("{refused}"));
    let arn = start(&machines, "run", &json!({ "n": 21 })).await;
    until_called(&world, "hang").await;
    arn
}

/// Lets the second state answer from now on: the functions are the outside world's.
fn answering(world: &Arc<World>) -> Services {
    let usual = world.services();
    let invoke = Arc::clone(&usual.invoke_lambda);
    Services {
        invoke_lambda: Arc::new(move |name, event| {
            let name = if name == "hang" {
                "echo".to_owned()
            } else {
                name
            };
            invoke(name, event)
        }),
        ..usual
    }
}

fn reopen(dir: &Path, services: Services) -> StateMachines {
    let clock = Clock::fast(1_763_890_700_000, 8, SPEED);
    StateMachines::open_with(dir, services, clock).expect("opens")
}

#[tokio::test]
async fn an_interrupted_execution_goes_on_from_its_state() {
    let dir = tempfile::tempdir().expect("a folder");
    let arn = interrupted(dir.path()).await;
    let world: Arc<World> = Arc::default();
    // The machine is not created again: the execution keeps the definition it began with.
    let machines = reopen(dir.path(), answering(&world));
    let end = ended_after_resume(&machines, &arn).await;
    assert_eq!(end["status"], "SUCCEEDED");
    assert_eq!(end["output"], "[42,21,\"run\"]");
    assert_eq!(end["redriveCount"], 1);
    assert_eq!(
        world.calls_of("double"),
        0,
        "the first step is not repeated"
    );
    let events = events(&machines, &arn).await;
    let kinds = types(&events);
    assert!(kinds.contains(&"ExecutionRedriven"), "{kinds:?}");
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_u64()).collect();
    let expected: Vec<_> = (1..=events.len() as u64).map(Some).collect();
    assert_eq!(ids, expected);
}

async fn ended_after_resume(machines: &StateMachines, arn: &str) -> Value {
    machines.resume_interrupted();
    ended(machines, arn).await
}

#[tokio::test]
async fn an_execution_interrupted_again_and_again_is_given_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let arn = interrupted(dir.path()).await;
    for resume in 1..=3 {
        let world: Arc<World> = Arc::default();
        let machines = reopen(dir.path(), world.services());
        machines.resume_interrupted();
        until_called(&world, "hang").await;
        let described = ok(
            &machines,
            "DescribeExecution",
            json!({ "executionArn": arn }),
        )
        .await;
        assert_eq!(described["status"], "RUNNING", "resume {resume}");
    }
    let world: Arc<World> = Arc::default();
    let machines = reopen(dir.path(), world.services());
    let end = ended_after_resume(&machines, &arn).await;
    assert_eq!(end["status"], "FAILED");
    assert_eq!(end["error"], "Outcrop.Interrupted");
    let cause = end["cause"].as_str().expect("a cause");
    assert!(
        cause.contains("'Second' was interrupted 4 times"),
        "{cause}"
    );
    assert_eq!(world.calls_of("hang"), 0);
    drop(machines);
    let machines = reopen(dir.path(), world.services());
    let described = ok(
        &machines,
        "DescribeExecution",
        json!({ "executionArn": arn }),
    )
    .await;
    assert_eq!(described["status"], "FAILED", "and stays so");
}

fn file_of(dir: &Path) -> std::path::PathBuf {
    let folder = std::fs::read_dir(dir.join("executions"))
        .expect("a folder")
        .next();
    let folder = folder.expect("of the machine").expect("readable").path();
    let file = std::fs::read_dir(folder).expect("a folder").next();
    file.expect("a file").expect("readable").path()
}

#[tokio::test]
async fn a_torn_last_line_does_not_count() {
    let dir = tempfile::tempdir().expect("a folder");
    let arn = interrupted(dir.path()).await;
    let path = file_of(dir.path());
    let mut text = std::fs::read_to_string(&path).expect("readable");
    text.push_str("{\"event\":{\"timestamp\":17638");
    std::fs::write(&path, text).expect("writable");
    let machines = reopen(dir.path(), answering(&Arc::default()));
    let end = ended_after_resume(&machines, &arn).await;
    assert_eq!(end["output"], "[42,21,\"run\"]");
    let text = std::fs::read_to_string(&path).expect("readable");
    let whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert!(text.lines().all(whole), "{text}");
}

#[tokio::test]
async fn a_damaged_file_fails_its_execution_and_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let arn = interrupted(dir.path()).await;
    let path = file_of(dir.path());
    let text = std::fs::read_to_string(&path).expect("readable");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"event\":";
    std::fs::write(&path, lines.join("\n") + "\n").expect("writable");
    std::fs::write(path.with_file_name("torn.jsonl"), "{\"started\":{\"na").expect("writable");
    let machines = reopen(dir.path(), answering(&Arc::default()));
    let end = ended_after_resume(&machines, &arn).await;
    assert_eq!(end["error"], "Outcrop.Interrupted");
    let created = machines.create("m", &two_steps("echo"));
    created.unwrap_or_else(|refused| panic!("{refused}"));
    let other = start(&machines, "other", &json!({ "n": 1 })).await;
    assert_eq!(ended(&machines, &other).await["status"], "SUCCEEDED");
}

#[tokio::test]
async fn ended_executions_are_read_back_and_old_ones_forgotten() {
    let dir = tempfile::tempdir().expect("a folder");
    let world: Arc<World> = Arc::default();
    let machines = open(dir.path(), &world);
    let created = machines.create("m", &two_steps("echo"));
    created.unwrap_or_else(|refused| panic!("{refused}"));
    let arn = start(&machines, "run", &json!({ "n": 1 })).await;
    let before = ended(&machines, &arn).await;
    drop(machines);
    let machines = reopen(dir.path(), world.services());
    let after = ok(
        &machines,
        "DescribeExecution",
        json!({ "executionArn": arn }),
    )
    .await;
    assert_eq!(after, before);
    drop(machines);
    let later = Clock::fast(1_763_890_700_000 + 91 * 86_400_000, 8, SPEED);
    let machines = StateMachines::open_with(dir.path(), world.services(), later).expect("opens");
    let request = json!({ "executionArn": arn });
    let (status, reply) = call(&machines, "DescribeExecution", request).await;
    assert_eq!(status, 400, "{reply}");
}

//! The commands against a stub instance: what they send, what they print, and their exit codes.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod stub;

use std::os::unix::fs::symlink;
use std::process::Output;

use serde_json::{Value, json};
use stub::{Run, Stub};

async fn outcrop(arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_outcrop"))
        .args(arguments)
        // A proxy that nobody serves: loopback must be reached without it.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn check_exit(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        out(output),
        err(output)
    );
}

#[tokio::test]
async fn an_answer_is_printed_with_its_citations() {
    let stub = Stub::start(Run::succeeds()).await;
    let asked = outcrop(&["ask", "answered", "--url", &stub.url]).await;
    check_exit(&asked, 0);
    insta::assert_snapshot!(out(&asked).replace(&stub.url, "URL"), @r#"
    The keeper climbs. [1]

    [1] Lighthouse: "The keeper climbs."
        URL/#document=default.1&start=0&end=18
    "#);
    assert_eq!(err(&asked), "", "no progress where there is no terminal");
    let asked = outcrop(&["ask", "answered", "--json", "--url", &stub.url]).await;
    check_exit(&asked, 0);
    let whole: Value = serde_json::from_str(&out(&asked)).unwrap();
    assert_eq!(whole["citations"][0]["marker"], "[1]");
}

#[tokio::test]
async fn what_becomes_of_a_question_is_in_the_exit_code() {
    let stub = Stub::start(Run::succeeds()).await;
    let url = stub.url.as_str();
    let check = async |question: &str, code: i32, words: &str| {
        let asked = outcrop(&["ask", question, "--url", url]).await;
        check_exit(&asked, code);
        assert!(err(&asked).contains(words), "{question}: {}", err(&asked));
    };
    check("unanswered", 3, "").await;
    check("", 1, "outcrop: EmptyQuestion: the question is empty").await;
    check(
        "breaks",
        1,
        "outcrop: ModelFailed: the model broke off (the same may succeed later)",
    )
    .await;
    check("ends early", 1, "the answer broke off before its end").await;
}

#[tokio::test]
async fn an_answer_cannot_steer_the_terminal() {
    let stub = Stub::start(Run::succeeds()).await;
    let asked = outcrop(&["ask", "escapes", "--url", &stub.url]).await;
    check_exit(&asked, 0);
    assert!(!out(&asked).contains('\u{1b}'), "{:?}", out(&asked));
    let asked = outcrop(&["ask", "escapes", "--json", "--url", &stub.url]).await;
    let whole: Value = serde_json::from_str(&out(&asked)).unwrap();
    assert_eq!(whole["answer"], "\u{1b}[2J", "JSON is unchanged");
}

#[tokio::test]
async fn an_instance_that_is_not_there_is_told_in_one_line() {
    let check = async |arguments: &[&str], code: i32, words: &str| {
        let ended = outcrop(arguments).await;
        check_exit(&ended, code);
        assert!(err(&ended).contains(words), "{}", err(&ended));
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    check(
        &["runs", "--url", &nobody],
        1,
        "start one with `outcrop dev`",
    )
    .await;
    check(
        &["runs", "--url", "https://127.0.0.1:1"],
        1,
        "speaks plain HTTP",
    )
    .await;
    check(
        &["ingest", "/nowhere/at/all", "--url", &nobody],
        1,
        "does not exist",
    )
    .await;
    check(&["serve"], 2, "unrecognized subcommand").await;
}

#[tokio::test]
async fn one_refused_file_does_not_keep_the_others_out() {
    let stub = Stub::start(Run::succeeds()).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(at("large.txt"), &large).unwrap();
    std::fs::write(at("empty.txt"), "").unwrap();
    std::fs::write(at("refused.txt"), "x").unwrap();
    std::fs::write(at("link-refused.txt"), "x").unwrap();
    std::fs::write(at(".hidden"), "x").unwrap();
    symlink(folder.path(), at("loop")).unwrap();
    let path = folder.path().to_str().unwrap();
    let ended = outcrop(&["ingest", path, "--json", "--url", &stub.url]).await;
    check_exit(&ended, 3);
    let told: Value = serde_json::from_str(&out(&ended)).unwrap();
    let names: Vec<&Value> = told["not_sent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["name"])
        .collect();
    assert_eq!(names, ["link-refused.txt", "refused.txt"]);
    assert_eq!(told["left_out"].as_array().unwrap().len(), 2, "{told}");
    assert!(
        err(&ended).contains("InvalidDocumentName: no"),
        "{}",
        err(&ended)
    );
    let mut documents = stub.runs()[0]["documents"].as_array().unwrap().clone();
    documents.sort_by_key(Value::to_string);
    assert_eq!(documents, ["id.empty.txt", "id.large.txt"]);
    assert_eq!(
        stub.stored("large.txt"),
        Some(large),
        "every byte, in one body of known length"
    );
    assert_eq!(stub.stored("empty.txt"), Some(Vec::new()));
}

#[tokio::test]
async fn a_runs_end_is_in_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a").unwrap();
    let path = folder.path().to_str().unwrap();
    let check = async |status: &'static str, code: i32| {
        let stub = Stub::start(Run {
            status,
            failures: json!([]),
        })
        .await;
        let ended = outcrop(&["ingest", path, "--url", &stub.url]).await;
        check_exit(&ended, code);
        assert!(out(&ended).starts_with(status), "{}", out(&ended));
    };
    check("SUCCEEDED", 0).await;
    check("PARTIAL", 3).await;
    check("FAILED", 1).await;
    check("STOPPED", 1).await;
}

#[tokio::test]
async fn failures_are_a_table() {
    let failures = json!([
        {"status": "refused", "error": "EmptyDocument", "name": "a.txt", "reason": "it holds no text"},
        {"status": "failed", "error": "ModelThrottled", "name": "größer.md", "reason": "too many requests"},
    ]);
    let stub = Stub::start(Run {
        status: "PARTIAL",
        failures,
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a").unwrap();
    let ended = outcrop(&[
        "ingest",
        folder.path().to_str().unwrap(),
        "--url",
        &stub.url,
    ])
    .await;
    insta::assert_snapshot!(out(&ended), @r"
    PARTIAL default.run1: 1 planned
    refused  EmptyDocument   a.txt      it holds no text
    failed   ModelThrottled  größer.md  too many requests
    again: outcrop redrive default.run1
    ");
}

#[tokio::test]
async fn a_folder_of_more_than_a_thousand_files_makes_runs_of_a_thousand() {
    let stub = Stub::start(Run::succeeds()).await;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1_001 {
        std::fs::write(folder.path().join(format!("{number:04}.txt")), "a").unwrap();
    }
    let ended = outcrop(&[
        "ingest",
        folder.path().to_str().unwrap(),
        "--url",
        &stub.url,
    ])
    .await;
    check_exit(&ended, 0);
    let sizes: Vec<usize> = stub
        .runs()
        .iter()
        .map(|run| run["documents"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [1_000, 1]);
    assert!(
        (2..=8).contains(&stub.most_in_flight()),
        "{}",
        stub.most_in_flight()
    );
}

#[tokio::test]
async fn a_throttled_instance_stops_the_whole() {
    let stub = Stub::start(Run::succeeds()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("throttled.txt"), "a").unwrap();
    let ended = outcrop(&[
        "ingest",
        folder.path().to_str().unwrap(),
        "--url",
        &stub.url,
    ])
    .await;
    check_exit(&ended, 1);
    assert!(err(&ended).contains("ServiceThrottled"), "{}", err(&ended));
    assert!(stub.runs().is_empty());
}

#[tokio::test]
async fn ctrl_c_says_how_to_watch_the_run() {
    let stub = Stub::start(Run {
        status: "RUNNING",
        failures: json!([]),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a").unwrap();
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_outcrop"))
        .args([
            "ingest",
            folder.path().to_str().unwrap(),
            "--url",
            &stub.url,
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().unwrap().to_string();
    stub.run_was_polled().await;
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let ended = child.wait_with_output().await.unwrap();
    check_exit(&ended, 1);
    let expected = format!(
        "the run goes on: `outcrop runs default.run1 --url {}` shows it",
        stub.url
    );
    assert!(err(&ended).contains(&expected), "{}", err(&ended));
}

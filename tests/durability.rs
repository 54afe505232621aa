//! What was acknowledged is there after `kill -9`, and no run is RUNNING for ever.

use serde_json::json;

use crate::instance::Instance;

#[tokio::test]
async fn a_kill_in_the_middle_of_an_ingestion_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for moment in [0, 30, 120, 350] {
        let mut instance = Instance::start_in(folder.path()).await;
        for number in 0..3 {
            let name = format!("file-{moment}-{number}.txt");
            let content = format!("The marmot number {number} of moment {moment} whistles.");
            let reply = instance
                .post("/v1/documents", &json!({"name": name, "content": content}))
                .await;
            assert_eq!(reply.status, 202, "{}", reply.body);
            acknowledged.push((reply.body, content));
        }
        tokio::time::sleep(std::time::Duration::from_millis(moment)).await;
        instance.kill();
    }
    let instance = Instance::start_in(folder.path()).await;
    for (accepted, content) in &acknowledged {
        let run = instance
            .finished(accepted["run_id"].as_str().unwrap())
            .await;
        assert_eq!(run["status"], "SUCCEEDED", "{run} {}", instance.log());
        let id = accepted["document_id"].as_str().unwrap();
        let text = instance.get(&format!("/v1/documents/{id}/text")).await;
        assert_eq!(text.body["text"], content.as_str(), "{}", text.body);
    }
    let health = instance.get("/v1/health").await.body;
    assert_eq!(health["documents"], acknowledged.len(), "{health}");
}

#[tokio::test]
async fn a_second_instance_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Instance::start_in(folder.path()).await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_outcrop"))
        .args([
            "dev",
            "--port",
            "0",
            "--aws-port",
            "0",
            "--no-sample",
            "--data",
        ])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("DataFolderInUse"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_outcrop"))
        .args([
            "dev",
            "--port",
            &port,
            "--aws-port",
            "0",
            "--no-sample",
            "--data",
        ])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("PortInUse") && error.contains("--port"),
        "{error}"
    );
}

use std::net::TcpListener as Taken;

use super::*;

fn files(path: &str) -> Option<&'static str> {
    match path {
        "infra/ingest.asl.json" => Some(include_str!("../../../../infra/ingest.asl.json")),
        "infra/guardrail.json" => Some(include_str!("../../../../infra/guardrail.json")),
        _ => None,
    }
}

fn config(data: &Path) -> CloudConfig {
    CloudConfig {
        data: data.to_owned(),
        api_port: 0,
        aws_port: 0,
        program: std::env::current_exe().unwrap(),
        template: include_str!("../../../../template.yaml"),
        files,
        openapi: include_str!("../../../../infra/openapi.yaml"),
        parameters: BTreeMap::new(),
        starts_by_itself: false,
        bedrock: bedrock::Settings::default(),
    }
}

async fn refusal(config: CloudConfig) -> CloudError {
    match start(config).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = Taken::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let mut aws_port_taken = config(&folder.path().join("a"));
    aws_port_taken.aws_port = port;
    let error = refusal(aws_port_taken).await.to_string();
    assert!(
        error.starts_with("PortInUse") && error.contains("--aws-port"),
        "{error}"
    );

    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = refusal(config(&folder.path().join("file"))).await;
    assert_eq!(error.name(), "DataFolderUnwritable");

    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("dynamodb.db"), "no database ".repeat(1000)).unwrap();
    let error = refusal(config(&damaged)).await;
    assert_eq!(error.name(), "StoreDamaged");
    assert!(error.to_string().contains("dynamodb.db"), "{error}");

    let running = start(config(&folder.path().join("a"))).await.unwrap();
    let error = refusal(config(&folder.path().join("a"))).await;
    assert_eq!(error.name(), "DataFolderInUse");
    running.shutdown().await;
}

fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0"
    )
}

#[tokio::test]
async fn one_port_serves_every_service_by_its_scope() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(config(folder.path())).await.unwrap();
    let check = async |service: Option<&str>, target: &str, status: u16, part: &str| {
        let mut request = reqwest::Client::new()
            .post(&cloud.aws)
            .header("x-amz-target", target)
            .header("x-amz-date", "20260101T000000Z")
            .header("content-type", "application/x-amz-json-1.0")
            .body("{}");
        if let Some(service) = service {
            request = request.header("authorization", scope(service));
        }
        let reply = request.send().await.unwrap();
        let given = reply.status().as_u16();
        let text = reply.text().await.unwrap();
        assert!(
            given == status && text.contains(part),
            "{service:?}: {given} {text}"
        );
    };
    check(
        Some("dynamodb"),
        "DynamoDB_20120810.ListTables",
        200,
        "outcrop-table",
    )
    .await;
    check(
        Some("states"),
        "AWSStepFunctions.ListStateMachines",
        200,
        "outcrop-ingest",
    )
    .await;
    check(Some("s3"), "", 403, "RequestTimeTooSkewed").await;
    check(Some("sqs"), "AmazonSQS.ListQueues", 501, "does not run sqs").await;
    check(
        None,
        "DynamoDB_20120810.ListTables",
        403,
        "MissingAuthenticationToken",
    )
    .await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away_on_both_ports() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(config(folder.path())).await.unwrap();
    let check = async |url: String, header: &str, value: &str, name: &str| {
        let request = reqwest::Client::new().post(&url).header(header, value);
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 403, "{url} {value}");
        assert!(!reply.headers().contains_key("access-control-allow-origin"));
        let text = reply.text().await.unwrap();
        assert!(text.contains(name), "{text}");
    };
    for url in [
        format!("{}/v1/documents", cloud.api),
        format!("{}/_local/faults", cloud.aws),
    ] {
        check(
            url.clone(),
            "origin",
            "https://attacker.example",
            "ForeignOrigin",
        )
        .await;
        check(url, "host", "attacker.example", "ForeignHost").await;
    }
    cloud.shutdown().await;
}

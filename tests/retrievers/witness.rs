//! The vector index's rows against an independent emulator of DynamoDB, which `tests/witness/run.py` starts. All else is
//! the laptop's: the segments, the embeddings, the vectors that ingestion made.

use aws::{Aws, RetrieverSetting};
use knowledge::retriever::{Chosen, VectorTable};
use retrieval::part;
use serde_json::Value;

use super::place::{Place, settings};
use super::table::Table;
use super::{SETTINGS, cases, filters, masks, prepared, rows};
use crate::lambda_binaries::root;

/// Where `run.py` writes the emulator's address.
const ADDRESS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/witness");

#[tokio::test]
#[ignore = "needs the emulator that tests/witness/run.py starts"]
async fn the_witness_agrees() {
    let address = std::fs::read_to_string(ADDRESS).unwrap();
    let place = prepared().await;
    let setting: RetrieverSetting = SETTINGS[1].parse().unwrap();
    let Chosen::Table(own) = place.chosen().await else {
        panic!("the space has its vectors in the table");
    };
    create_table(&address).await;
    let witness = Aws::new(settings(&place.instance, Some(&address)));
    let parts = place.aws.bucket.list("runs/").await.unwrap();
    for object in parts.iter().filter(|object| object.key.ends_with(".part")) {
        let bytes = place.aws.bucket.get(&object.key).await.unwrap();
        let documents = part::decode(&bytes).unwrap();
        let written = knowledge::sync::write_vectors(&witness, Some(&setting), documents.iter());
        written.await.unwrap();
    }
    let theirs = Place {
        aws: Aws {
            table: witness.table.clone(),
            ..place.aws.clone()
        },
        ..place.clone()
    };
    theirs.leave_half_a_publication("shared.txt").await;
    let both = [
        Chosen::Table(own),
        Chosen::Table(VectorTable {
            aws: witness,
            space: place.space.clone(),
            filter_keys: vec!["team".to_owned(), "year".to_owned()],
            snapshot: place.chosen().await.snapshot().cloned(),
        }),
    ];
    let mut table = Table::new(&["laptop", "witness"]);
    assert!(!cases().cases.is_empty());
    filters(&place, &both, &mut table).await;
    masks(&place, &both, &mut table).await;
    for (number, retriever) in both.iter().enumerate() {
        rows::pages(&place, retriever, number, &mut table).await;
        rows::limits(&place, retriever, number, &mut table).await;
        rows::ties(&place, retriever, number, &mut table).await;
    }
    table.print();
    table.check();
}

/// The table of `template.yaml`, as the laptop makes it.
async fn create_table(address: &str) {
    let parameters = [("EmbedDimensions", "256"), ("VectorIndex", "true")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let template = include_str!("../../template.yaml");
    let file = |path: &str| std::fs::read_to_string(root().join(path)).ok();
    let read = local::template::read(template, &parameters.into(), file).unwrap();
    let reply = reqwest::Client::new()
        .post(address)
        .header("x-amz-target", "DynamoDB_20120810.CreateTable")
        .header("content-type", "application/x-amz-json-1.0")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=0",
        )
        .header("x-amz-date", "20260101T000000Z")
        .body(read.tables[0].to_string())
        .send()
        .await
        .unwrap();
    let status = reply.status();
    let body: Value = reply.json().await.unwrap();
    assert!(status.is_success(), "{body}");
}

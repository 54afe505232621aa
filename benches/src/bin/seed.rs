//! Brings passages live in a running laptop cloud, without a run: segments, manifest and the rows of their documents, written
//! by the service's own code. `benches/start/run.py` calls it.

use std::path::PathBuf;

use aws::Aws;
use aws::config::Settings;
use aws::dynamo::keys;
use benches::{Rows, read_texts};
use clap::Parser;
use knowledge::digest::sha256_hex;
use knowledge::manifest::{self, Edition, ManifestSegment};
use knowledge::spaces;
use knowledge::sync::rows::{DocumentRow, DocumentStatus};
use retrieval::segment::{Builder, Head};
use retrieval::{EmbeddedPassage, Passage, SegmentDocument};

type Failure = Box<dyn std::error::Error>;

const MODEL: &str = "amazon.titan-embed-text-v2:0";
const DOCUMENTS_PER_SEGMENT: usize = 2_000;
const READER: &str = "everyone";

#[derive(Parser)]
struct Arguments {
    /// With `shape.json`, `vectors.f32` and `texts.jsonl`
    folder: PathBuf,
    /// Where the laptop's AWS services answer
    #[arg(long)]
    endpoint: String,
    #[arg(long, default_value_t = 10)]
    passages_per_document: usize,
    /// Table and bucket, as the laptop's template names them
    #[arg(long, default_value = "outcrop")]
    table: String,
    #[arg(long, default_value = "outcrop-bucket")]
    bucket: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let shape = std::fs::read_to_string(arguments.folder.join("shape.json"))?;
    let shape: serde_json::Value = serde_json::from_str(&shape)?;
    let dimension = shape["dimension"].as_u64().unwrap_or_default() as usize;
    let aws = Aws::new(settings(&arguments, dimension)?);
    spaces::ensure(&aws, spaces::DEFAULT).await?;
    let mut documents = documents(&arguments, dimension)?;
    let mut segments = Vec::new();
    loop {
        let some: Vec<_> = documents.by_ref().take(DOCUMENTS_PER_SEGMENT).collect();
        if some.is_empty() {
            break;
        }
        segments.push(segment(&aws, &some, dimension).await?);
        let rows: Vec<_> = some.iter().map(row).collect();
        aws.table.put_many(&rows).await?;
    }
    let edition = manifest::edition(&aws, spaces::DEFAULT).await?;
    let edition = edition.unwrap_or_else(|| Edition::empty(MODEL, dimension as u32));
    let mut next = edition.succeed(segments, aws::clock::now_ms());
    Ok(manifest::replace(&aws, spaces::DEFAULT, &mut next).await?)
}

fn settings(arguments: &Arguments, dimension: usize) -> Result<Settings, Failure> {
    let dimension = dimension.to_string();
    let lookup = |name: &str| {
        let value = match name {
            "AWS_ENDPOINT_URL" => &arguments.endpoint,
            "OUTCROP_TABLE" => &arguments.table,
            "OUTCROP_BUCKET" => &arguments.bucket,
            "OUTCROP_EMBED_DIMENSIONS" => &dimension,
            "OUTCROP_EMBED_MODEL" => MODEL,
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "outcrop",
            "OUTCROP_STATE_MACHINE_ARN" | "OUTCROP_ANSWER_MODEL" => "none",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Ok(Settings::from_lookup(lookup)?)
}

fn documents(
    arguments: &Arguments,
    dimension: usize,
) -> Result<impl Iterator<Item = SegmentDocument>, Failure> {
    let vectors = Rows::open(&arguments.folder.join("vectors.f32"), dimension)?;
    let texts = read_texts(&arguments.folder.join("texts.jsonl"))?.map_while(Result::ok);
    let mut passages = texts.zip(vectors);
    let (mut number, count) = (0, arguments.passages_per_document);
    Ok(std::iter::from_fn(move || {
        let some: Vec<_> = passages.by_ref().take(count).collect();
        number += 1;
        (!some.is_empty()).then(|| document(number, some))
    }))
}

fn document(number: usize, passages: Vec<(String, Vec<f32>)>) -> SegmentDocument {
    let mut end = 0;
    let passages = passages
        .into_iter()
        .zip(0..)
        .map(|((text, vector), ordinal)| {
            let start = end;
            end += text.len() as u64;
            EmbeddedPassage {
                passage: Passage {
                    ordinal,
                    start,
                    end,
                    heading_path: Vec::new(),
                    pages: Vec::new(),
                    parent: None,
                    text,
                },
                vector,
            }
        });
    let passages = passages.collect();
    let name = format!("document-{number:06}.txt");
    let hash = sha256_hex(name.as_bytes());
    SegmentDocument {
        document_id: format!("{}.{}", spaces::DEFAULT, &hash[..20]),
        uri: format!("s3://outcrop-bucket/sources/{}/{name}", spaces::DEFAULT),
        title: name,
        content_hash: hash,
        readers: vec![READER.to_owned()],
        metadata: Default::default(),
        passages,
    }
}

/// Writes a segment where a publication would.
async fn segment(
    aws: &Aws,
    documents: &[SegmentDocument],
    dimension: usize,
) -> Result<ManifestSegment, Failure> {
    let mut builder = Builder::new(dimension, MODEL)?;
    for document in documents {
        builder.push(document)?;
    }
    let bytes = builder.finish()?;
    let sha256 = sha256_hex(&bytes);
    let key = format!("segments/{}/{sha256}.seg", spaces::DEFAULT);
    let first = Head::parse(&bytes)?.first_ranges();
    let passages = documents.iter().map(|document| document.passages.len());
    let entry = ManifestSegment {
        key: key.clone(),
        sha256,
        bytes: bytes.len() as u64,
        passages: passages.sum::<usize>() as u32,
        documents: documents.len() as u32,
        dead_documents: Vec::new(),
        dead_passages: 0,
        dead_since_ms: 0,
        first: first.iter().map(|range| (range.start, range.end)).collect(),
    };
    aws.bucket.put(&key, bytes).await?;
    Ok(entry)
}

fn row(document: &SegmentDocument) -> (keys::Key, DocumentRow) {
    let id = document.document_id.clone();
    let mut row = DocumentRow::new(id, document.title.clone(), aws::clock::now_ms());
    row.status = DocumentStatus::Published;
    row.readers = document.readers.clone();
    (keys::document(&row.document_id), row)
}

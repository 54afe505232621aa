//! From bytes in S3 to the first answer: a space of many passages, a stub of S3 with a delay for each GET and a bandwidth
//! for all of them, a process that has nothing yet.
//!
//! ```sh
//! cargo run --release -p benches --bin cold -- --passages 100000 --json
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that meets the unexpected ends"
)]
#![expect(clippy::print_stdout, reason = "its results")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use benches::{Texts, Vectors};
use bytes::Bytes;
use clap::Parser;
use knowledge::digest::sha256_hex;
use retrieval::segment::{Builder, Head};
use retrieval::{EmbeddedPassage, Mask, Mode, Passage, Query, Segment, SegmentDocument};
use serde_json::{Value, json};

const DIMENSION: usize = 1024;
const PASSAGES_PER_DOCUMENT: usize = 10;
const SEGMENT_PASSAGES: usize = 20_000;
const WORDS_PER_PASSAGE: usize = 80;
const VOCABULARY: usize = 50_000;
const QUESTIONS: usize = 20;
const SEED: u64 = 7;
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Parser)]
struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    passages: usize,
    /// Where the segments are kept between runs
    #[arg(long, default_value = "target/bench-cold")]
    folder: PathBuf,
    /// Milliseconds to the first byte of a GET
    #[arg(long, default_value_t = 30)]
    delay_ms: u64,
    /// Megabytes a second over all GETs
    #[arg(long, default_value_t = 75.0)]
    bandwidth: f64,
    /// Fresh processes to measure; medians are reported
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    #[arg(long)]
    json: bool,
    /// Measure against this endpoint (what the benchmark starts itself again with)
    #[arg(long, hide = true)]
    endpoint: Option<String>,
    /// The question's number
    #[arg(long, hide = true, default_value_t = 0)]
    question: usize,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    if let Some(endpoint) = &arguments.endpoint {
        // As in the function: one thread.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        println!("{}", runtime.block_on(measure(endpoint, &arguments)));
        return;
    }
    let segments = segments(&arguments);
    let mut results = json!({
        "passages": arguments.passages,
        "segments": segments.len(),
        "file_bytes": segments.iter().map(|segment| segment["bytes"].as_u64().unwrap()).sum::<u64>(),
        "open_ms": median((0..arguments.repeats).map(|_| open(&arguments.folder, &segments, true))),
        "open_verified_ms": median((0..arguments.repeats).map(|_| open(&arguments.folder, &segments, false))),
    });
    for (name, parts) in [("in_parts", true), ("whole", false)] {
        let runs: Vec<Value> = (0..arguments.repeats)
            .map(|number| runtime.block_on(one(&arguments, &segments, parts, number)))
            .collect();
        let figures = [
            "first_answer_ms",
            "second_answer_ms",
            "rounds",
            "gets",
            "bytes",
            "rss_before_bytes",
            "rss_after_bytes",
        ];
        results[name] = figures
            .iter()
            .map(|figure| {
                let values = runs.iter().map(|run| run[*figure].as_f64().unwrap());
                ((*figure).to_owned(), json!(median(values)))
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
    }
    if arguments.json {
        println!("{results}");
    } else {
        println!("{results:#}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The segments' entries of a manifest; the files are made once.
fn segments(arguments: &Arguments) -> Vec<Value> {
    let list = arguments
        .folder
        .join(format!("{}.json", arguments.passages));
    if let Ok(text) = std::fs::read_to_string(&list) {
        return serde_json::from_str(&text).unwrap();
    }
    std::fs::create_dir_all(&arguments.folder).unwrap();
    let mut vectors = Vectors::new(DIMENSION, SEED);
    let mut texts = Texts::new(VOCABULARY, SEED).unwrap();
    let mut entries = Vec::new();
    let mut left = arguments.passages;
    while left > 0 {
        let count = left.min(SEGMENT_PASSAGES);
        let mut builder = Builder::new(DIMENSION, "bench").unwrap();
        for number in 0..count.div_ceil(PASSAGES_PER_DOCUMENT) {
            let id = format!("bench.{:020x}", entries.len() * SEGMENT_PASSAGES + number);
            builder
                .push(&document(&mut vectors, &mut texts, id))
                .unwrap();
        }
        let bytes = builder.finish().unwrap();
        let sha256 = sha256_hex(&bytes);
        let first = Head::parse(&bytes).unwrap().first_ranges();
        std::fs::write(arguments.folder.join(format!("{sha256}.seg")), &bytes).unwrap();
        let documents = count.div_ceil(PASSAGES_PER_DOCUMENT);
        entries.push(json!({
            "key": format!("segments/bench/{sha256}.seg"), "sha256": sha256, "bytes": bytes.len(),
            "passages": documents * PASSAGES_PER_DOCUMENT, "documents": documents, "dead_documents": [],
            "first": first.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>(),
        }));
        left -= count;
    }
    let questions: Vec<Value> = (0..QUESTIONS)
        .map(|_| json!({ "vector": vectors.make(), "text": texts.make(6) }))
        .collect();
    let questions = serde_json::to_string(&questions).unwrap();
    std::fs::write(arguments.folder.join("questions.json"), questions).unwrap();
    std::fs::write(list, serde_json::to_string(&entries).unwrap()).unwrap();
    entries
}

fn document(vectors: &mut Vectors, texts: &mut Texts, id: String) -> SegmentDocument {
    let passages = (0..PASSAGES_PER_DOCUMENT).map(|ordinal| {
        let text = texts.make(WORDS_PER_PASSAGE);
        let length = text.len() as u64;
        EmbeddedPassage {
            passage: Passage {
                ordinal: ordinal as u32,
                start: ordinal as u64 * length,
                end: (ordinal as u64 + 1) * length,
                heading_path: Vec::new(),
                pages: Vec::new(),
                parent: None,
                text,
            },
            vector: vectors.make(),
        }
    });
    SegmentDocument {
        passages: passages.collect(),
        title: format!("Document {id}"),
        uri: format!("s3://bench/{id}"),
        content_hash: sha256_hex(id.as_bytes()),
        document_id: id,
        readers: vec!["everyone".into()],
        metadata: BTreeMap::new(),
    }
}

fn open(folder: &Path, segments: &[Value], checked: bool) -> f64 {
    let begun = Instant::now();
    for segment in segments {
        let path = folder.join(format!("{}.seg", segment["sha256"].as_str().unwrap()));
        let opened = if checked {
            Segment::open(&path)
        } else {
            Segment::open_verified(&path)
        };
        std::hint::black_box(opened.unwrap());
    }
    begun.elapsed().as_secs_f64() * 1e3
}

/// One process against a stub of its own.
async fn one(arguments: &Arguments, segments: &[Value], parts: bool, question: usize) -> Value {
    let mut segments = segments.to_vec();
    if !parts {
        segments
            .iter_mut()
            .for_each(|segment| segment["first"] = json!([]));
    }
    let body = json!({
        "version": 1, "published_at_ms": 0, "embedder": "bench", "dimension": DIMENSION, "segments": segments,
        "documents": 0, "passages": arguments.passages,
    })
    .to_string();
    let stub = Arc::new(Stub {
        folder: arguments.folder.clone(),
        row: json!({ "Item": {
            "version": { "N": "1" },
            "body_sha256": { "S": sha256_hex(body.as_bytes()) },
            "body": { "S": body },
        }}),
        delay: Duration::from_millis(arguments.delay_ms),
        bytes_per_second: arguments.bandwidth * 1e6,
        free_at: tokio::sync::Mutex::new(Instant::now()),
        gets: 0.into(),
        bytes: 0.into(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(stub);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--endpoint",
            &endpoint,
            "--question",
            &question.to_string(),
            "--folder",
        ])
        .arg(&arguments.folder)
        .output()
        .await
        .unwrap();
    serving.abort();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

struct Stub {
    folder: PathBuf,
    row: Value,
    delay: Duration,
    bytes_per_second: f64,
    /// When the one line to all readers is free again.
    free_at: tokio::sync::Mutex<Instant>,
    gets: std::sync::atomic::AtomicU64,
    bytes: std::sync::atomic::AtomicU64,
}

async fn answer(State(stub): State<Arc<Stub>>, request: Request) -> Response<Body> {
    use std::sync::atomic::Ordering::Relaxed;
    if request.uri().path() == "/counts" {
        return reply(json!([stub.gets.load(Relaxed), stub.bytes.load(Relaxed)]).to_string());
    }
    if request.method() == axum::http::Method::POST {
        return reply(stub.row.to_string());
    }
    let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let range = request.headers()["range"].to_str().unwrap();
    let (start, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let (start, last): (u64, u64) = (start.parse().unwrap(), last.parse().unwrap());
    let file = std::fs::File::open(stub.folder.join(&name)).unwrap();
    let whole = file.metadata().unwrap().len();
    stub.gets.fetch_add(1, Relaxed);
    stub.bytes.fetch_add(last + 1 - start, Relaxed);
    tokio::time::sleep(stub.delay).await;
    let chunks = futures_util::stream::unfold(start, move |at| {
        let (stub, file) = (stub.clone(), file.try_clone().unwrap());
        async move {
            if at > last {
                return None;
            }
            let mut chunk = vec![0; CHUNK_BYTES.min((last + 1 - at) as usize)];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut chunk, at).unwrap();
            let mut free_at = stub.free_at.lock().await;
            let takes = Duration::from_secs_f64(chunk.len() as f64 / stub.bytes_per_second);
            *free_at = (*free_at).max(Instant::now()) + takes;
            let until = *free_at;
            drop(free_at);
            tokio::time::sleep_until(until.into()).await;
            let next = at + chunk.len() as u64;
            Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), next))
        }
    });
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header("etag", "\"bench\"")
        .header("content-length", last + 1 - start)
        .header("content-range", format!("bytes {start}-{last}/{whole}"))
        .body(Body::from_stream(chunks))
        .unwrap()
}

fn reply(body: String) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/x-amz-json-1.0")
        .body(Body::from(body))
        .unwrap()
}

async fn measure(endpoint: &str, arguments: &Arguments) -> Value {
    let lookup = |name: &str| {
        let value = match name {
            "AWS_ENDPOINT_URL" => endpoint,
            "OUTCROP_EMBED_DIMENSIONS" => "1024",
            "OUTCROP_INDEX_DISK_MB" => "8192",
            "AWS_REGION"
            | "AWS_ACCESS_KEY_ID"
            | "AWS_SECRET_ACCESS_KEY"
            | "OUTCROP_TABLE"
            | "OUTCROP_BUCKET"
            | "OUTCROP_STATE_MACHINE_ARN"
            | "OUTCROP_ANSWER_MODEL"
            | "OUTCROP_EMBED_MODEL" => "bench",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let settings = aws::config::Settings::from_lookup(lookup).unwrap();
    let aws = aws::Aws::new(settings);
    let snapshots = knowledge::snapshot::Snapshots::new(&aws.settings.index).unwrap();
    let questions = std::fs::read(arguments.folder.join("questions.json")).unwrap();
    let questions: Vec<Value> = serde_json::from_slice(&questions).unwrap();
    let question = questions[arguments.question % questions.len()].clone();
    let text = question["text"].as_str().unwrap().to_owned();
    let components = question["vector"].as_array().unwrap().iter();
    let vector: Vec<f32> = components
        .map(|value| value.as_f64().unwrap() as f32)
        .collect();
    drop(questions);
    let mask = Mask::Principals(vec!["everyone".into()]);
    let query = Query {
        text: Some(&text),
        vector: Some(&vector),
        mode: Mode::Hybrid,
        limit: 10,
        filter: None,
        mask: &mask,
    };
    let rss_before = resident_bytes();
    let begun = Instant::now();
    let snapshot = snapshots.current(&aws, "bench").await.unwrap().unwrap();
    let first = snapshot.search(&query).await.unwrap();
    let first_answer = begun.elapsed();
    let rss_after = resident_bytes();
    let reads = snapshot.cold_reads();
    let counts = counts(endpoint).await;
    let begun = Instant::now();
    let second = snapshot.search(&query).await.unwrap();
    let second_answer = begun.elapsed();
    assert_eq!((first.len(), second.len()), (10, 10));
    while !snapshot.is_whole() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let third = snapshot.search(&query).await.unwrap();
    let same = first
        .iter()
        .filter(|hit| third.iter().any(|other| other.passage_id == hit.passage_id));
    json!({
        "first_answer_ms": first_answer.as_secs_f64() * 1e3,
        "second_answer_ms": second_answer.as_secs_f64() * 1e3,
        "rounds": reads.rounds,
        "gets": counts[0],
        "bytes": counts[1],
        "same_of_10_when_whole": same.count(),
        "rss_before_bytes": rss_before,
        "rss_after_bytes": rss_after,
    })
}

/// GETs and bytes that the stub was asked for.
async fn counts(endpoint: &str) -> Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /counts HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

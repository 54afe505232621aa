//! Our side of the retrieval benchmarks: builds segments from the files of `data`, opens them, searches them.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p benches --bin search -- FOLDER`
//!
//! Every figure is that of `Index::search`, the call that the query function makes: with passages fetched, unless a row
//! says otherwise. One JSON object a row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use benches::{Rows, percentiles, read_texts};
use clap::Parser;
use retrieval::segment::Builder;
use retrieval::{
    EmbeddedPassage, Hit, Index, LiveSegment, Mask, Mode, Passage, Query, Segment, SegmentDocument,
};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

/// Rounds over all queries, after one that is not counted.
const ROUNDS: usize = 5;
const TOP: usize = 10;

/// Measures open time and search.
#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
    /// Passages in one segment.
    #[arg(long, default_value_t = 100_000)]
    segment: usize,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let folder = &arguments.folder;
    let shape: Value = serde_json::from_slice(&std::fs::read(folder.join("shape.json"))?)?;
    let number = |name: &str| shape[name].as_u64().unwrap_or(0) as usize;
    let (passages, dimension) = (number("passages"), number("dimension"));
    let paths = segments(folder, passages, dimension, arguments.segment)?;

    let mut opening = Vec::new();
    for _ in 0..=ROUNDS {
        let begun = Instant::now();
        for path in &paths {
            Segment::open(path)?;
        }
        opening.push(begun.elapsed().as_secs_f64());
    }
    let live = paths
        .iter()
        .map(|path| {
            let segment = Arc::new(Segment::open(path)?);
            Ok(LiveSegment {
                segment,
                dead_documents: BTreeSet::new(),
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let index = Index::new(live)?;
    let bytes: u64 = paths
        .iter()
        .map(|path| std::fs::metadata(path).map_or(0, |data| data.len()))
        .sum();
    tell(
        "open, checked",
        opening.split_off(1),
        json!({"segments": paths.len(), "bytes": bytes, "passages": passages}),
    );

    let questions: Vec<String> = match read_texts(&folder.join("questions.jsonl")) {
        Ok(texts) => texts.collect::<Result<_, _>>()?,
        Err(_) => Vec::new(),
    };
    let queries: Vec<Vec<f32>> = if dimension > 0 {
        Rows::open(&folder.join("queries.f32"), dimension)?.collect()
    } else {
        Vec::new()
    };
    let exact = exact(folder, dimension, &queries)?;
    let group = |name: &str| Mask::Principals(vec![name.to_owned()]);
    for (name, mask) in [
        ("", Mask::Everything),
        (", 50 % readable", group("half")),
        (", 1 % readable", group("hundredth")),
    ] {
        let everything = mask == Mask::Everything;
        if !queries.is_empty() {
            measure(
                &format!("vector, top 10{name}"),
                &index,
                Mode::Vector,
                TOP,
                &questions,
                &queries,
                &mask,
                everything.then_some(&exact),
            )?;
        }
        if !questions.is_empty() {
            measure(
                &format!("lexical, top 100{name}"),
                &index,
                Mode::Lexical,
                100,
                &questions,
                &queries,
                &mask,
                None,
            )?;
        }
        if !questions.is_empty() && !queries.is_empty() {
            measure(
                &format!("hybrid, top 10{name}"),
                &index,
                Mode::Hybrid,
                TOP,
                &questions,
                &queries,
                &mask,
                None,
            )?;
        }
    }
    Ok(())
}

/// The segment files below the folder, built when they are not there.
fn segments(
    folder: &Path,
    passages: usize,
    dimension: usize,
    size: usize,
) -> Result<Vec<PathBuf>, Failure> {
    let count = passages.div_ceil(size.max(1));
    let paths: Vec<PathBuf> = (0..count)
        .map(|number| folder.join(format!("{size}-{number}.seg")))
        .collect();
    if paths.iter().all(|path| path.exists()) {
        return Ok(paths);
    }
    let mut vectors = if dimension > 0 {
        Some(Rows::open(&folder.join("vectors.f32"), dimension)?)
    } else {
        None
    };
    let mut texts = read_texts(&folder.join("texts.jsonl")).ok();
    let mut number = 0;
    let begun = Instant::now();
    for path in &paths {
        let mut builder = Builder::new(dimension.max(1), "benchmark")?;
        for _ in 0..size.min(passages - number) {
            let vector = vectors
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or_else(|| vec![1.0]);
            let text = texts
                .as_mut()
                .and_then(Iterator::next)
                .transpose()?
                .unwrap_or_default();
            builder.push(&document(number, text, vector))?;
            number += 1;
        }
        std::fs::write(path, builder.finish()?)?;
    }
    tell(
        "build",
        vec![begun.elapsed().as_secs_f64()],
        json!({"passages": passages}),
    );
    Ok(paths)
}

/// A document of one passage; every second one is read by `half`, every hundredth by `hundredth`.
fn document(number: usize, text: String, vector: Vec<f32>) -> SegmentDocument {
    let mut readers = vec!["everyone".to_owned()];
    if number.is_multiple_of(2) {
        readers.push("half".into());
    }
    if number.is_multiple_of(100) {
        readers.push("hundredth".into());
    }
    SegmentDocument {
        document_id: format!("b.{number:08}"),
        title: String::new(),
        uri: String::new(),
        content_hash: format!("{number:016x}"),
        readers,
        metadata: BTreeMap::from([("number".to_owned(), json!(number))]),
        passages: vec![EmbeddedPassage {
            passage: Passage {
                ordinal: 0,
                start: 0,
                end: text.len() as u64,
                heading_path: Vec::new(),
                text,
            },
            vector,
        }],
    }
}

/// The ids of the best passages by the full-precision vectors.
fn exact(
    folder: &Path,
    dimension: usize,
    queries: &[Vec<f32>],
) -> Result<Vec<BTreeSet<String>>, Failure> {
    let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::new(); queries.len()];
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    for (number, vector) in Rows::open(&folder.join("vectors.f32"), dimension)?.enumerate() {
        for (query, best) in queries.iter().zip(&mut best) {
            let score = dot(query, &vector);
            if best.len() < TOP || score > best[TOP - 1].0 {
                let at = best.partition_point(|(other, _)| *other >= score);
                best.insert(at, (score, number));
                best.truncate(TOP);
            }
        }
    }
    Ok(best
        .into_iter()
        .map(|best| {
            best.into_iter()
                .map(|(_, number)| format!("b.{number:08}"))
                .collect()
        })
        .collect())
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, right) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
    let mut sums = [0.0f32; 8];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..8 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    sums.iter().sum()
}

#[expect(
    clippy::too_many_arguments,
    reason = "a row of the table is made of so many things"
)]
fn measure(
    row: &str,
    index: &Index,
    mode: Mode,
    limit: usize,
    questions: &[String],
    queries: &[Vec<f32>],
    mask: &Mask,
    exact: Option<&Vec<BTreeSet<String>>>,
) -> Result<(), Failure> {
    let count = questions.len().max(queries.len());
    let ask = |at: usize| -> Result<Vec<Hit>, Failure> {
        let query = Query {
            text: questions
                .get(at)
                .map(String::as_str)
                .filter(|_| mode != Mode::Vector),
            vector: queries
                .get(at)
                .map(Vec::as_slice)
                .filter(|_| mode != Mode::Lexical),
            mode,
            limit,
            filter: None,
            mask,
        };
        Ok(index.search(&query)?)
    };
    let (mut found, mut wanted) = (0, 0);
    for at in 0..count {
        let hits = ask(at)?;
        if let Some(exact) = exact.and_then(|exact| exact.get(at)) {
            wanted += exact.len();
            found += hits
                .iter()
                .take(TOP)
                .filter(|hit| exact.contains(&hit.document_id))
                .count();
        }
    }
    let mut seconds = Vec::with_capacity(count * ROUNDS);
    for _ in 0..ROUNDS {
        for at in 0..count {
            let begun = Instant::now();
            let hits = ask(at)?;
            seconds.push(begun.elapsed().as_secs_f64());
            drop(hits);
        }
    }
    let more = if wanted > 0 {
        json!({"recall_at_10": found as f64 / f64::from(wanted as u32)})
    } else {
        json!({})
    };
    tell(row, seconds, more);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the rows are what the program is for")]
fn tell(row: &str, seconds: Vec<f64>, more: Value) {
    let (median, p90) = percentiles(seconds);
    let mut told = json!({"row": row, "median_ms": median, "p90_ms": p90});
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    println!("{told}");
}

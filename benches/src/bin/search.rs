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
use retrieval::segment::{Builder, Head, Section};
use retrieval::{
    EmbeddedPassage, Filter, Hit, Index, LiveSegment, Mask, Mode, Passage, Query, Segment,
    SegmentDocument,
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
    /// Passages that a search scores by their rows; without it as many as it would.
    #[arg(long)]
    rows: Option<usize>,
    /// Builds the segments and finds the exact results, measures nothing.
    #[arg(long)]
    prepare: bool,
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
    let mut told = sizes(&paths)?;
    told["segments"] = json!(paths.len());
    told["passages"] = json!(passages);
    told["text"] =
        json!(std::fs::metadata(folder.join("texts.jsonl")).map_or(0, |data| data.len()));
    tell("open, checked", opening.split_off(1), told);

    let questions: Vec<String> = match read_texts(&folder.join("questions.jsonl")) {
        Ok(texts) => texts.collect::<Result<_, _>>()?,
        Err(_) => Vec::new(),
    };
    let queries: Vec<Vec<f32>> = if dimension > 0 {
        Rows::open(&folder.join("queries.f32"), dimension)?.collect()
    } else {
        Vec::new()
    };
    let whole = exact(folder, dimension, &queries, 1)?;
    if arguments.prepare {
        for every in [2, 100] {
            exact(folder, dimension, &queries, every)?;
        }
        return Ok(());
    }
    let asking = Asking {
        index: &index,
        questions: &questions,
        queries: &queries,
        rows: arguments.rows,
    };
    for (name, group, every) in [
        ("", None, 1),
        (", a filter and the mask pass 50 %", Some("half"), 2),
        (", a filter and the mask pass 1 %", Some("hundredth"), 100),
    ] {
        let best = match every {
            1 => whole.clone(),
            every => exact(folder, dimension, &queries, every)?,
        };
        let filter = json!({"listContains": {"key": "group", "value": group}});
        let limits = Limits {
            mask: group.map_or(Mask::Everything, |group| {
                Mask::Principals(vec![group.to_owned()])
            }),
            filter: group.map(|_| Filter::parse(&filter)).transpose()?,
            exact: &best,
        };
        if !queries.is_empty() {
            asking.measure(&format!("vector, top 10{name}"), Mode::Vector, TOP, &limits)?;
        }
        if !questions.is_empty() {
            let row = format!("lexical, top 100{name}");
            asking.measure(&row, Mode::Lexical, 100, &limits)?;
        }
        if !questions.is_empty() && !queries.is_empty() {
            asking.measure(&format!("hybrid, top 10{name}"), Mode::Hybrid, TOP, &limits)?;
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

/// A document of one passage; every second one is read by `half`, every hundredth by `hundredth`, and has it in its
/// metadata.
fn document(number: usize, text: String, vector: Vec<f32>) -> SegmentDocument {
    let mut groups = Vec::new();
    for (group, every) in [("half", 2), ("hundredth", 100)] {
        if number.is_multiple_of(every) {
            groups.push(group.to_owned());
        }
    }
    let readers = std::iter::once("everyone".to_owned()).chain(groups.clone());
    SegmentDocument {
        document_id: format!("b.{number:08}"),
        title: String::new(),
        uri: String::new(),
        content_hash: format!("{number:016x}"),
        readers: readers.collect(),
        metadata: BTreeMap::from([
            ("number".to_owned(), json!(number)),
            ("group".to_owned(), json!(groups)),
        ]),
        passages: vec![EmbeddedPassage {
            passage: Passage {
                ordinal: 0,
                start: 0,
                end: text.len() as u64,
                heading_path: Vec::new(),
                pages: Vec::new(),
                parent: None,
                text,
            },
            vector,
        }],
    }
}

/// The ids of the best passages by the full-precision vectors, of every `step`th passage; kept in a file beside the data.
fn exact(
    folder: &Path,
    dimension: usize,
    queries: &[Vec<f32>],
    step: usize,
) -> Result<Vec<BTreeSet<String>>, Failure> {
    let kept = folder.join(format!("exact-{step}.json"));
    if let Ok(bytes) = std::fs::read(&kept) {
        return Ok(serde_json::from_slice(&bytes)?);
    }
    let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::new(); queries.len()];
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let rows = Rows::open(&folder.join("vectors.f32"), dimension)?;
    for (number, vector) in rows.enumerate().step_by(step) {
        for (query, best) in queries.iter().zip(&mut best) {
            let score = dot(query, &vector);
            if best.len() < TOP || score > best[TOP - 1].0 {
                let at = best.partition_point(|(other, _)| *other >= score);
                best.insert(at, (score, number));
                best.truncate(TOP);
            }
        }
    }
    let id = |(_, number): (f32, usize)| format!("b.{number:08}");
    let best = best
        .into_iter()
        .map(|best| best.into_iter().map(id).collect());
    let best: Vec<BTreeSet<String>> = best.collect();
    std::fs::write(kept, serde_json::to_vec(&best)?)?;
    Ok(best)
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

/// What is asked of what.
struct Asking<'a> {
    index: &'a Index,
    questions: &'a [String],
    queries: &'a [Vec<f32>],
    rows: Option<usize>,
}

/// What may be found, and the best of it.
struct Limits<'a> {
    mask: Mask,
    filter: Option<Filter>,
    exact: &'a [BTreeSet<String>],
}

impl Asking<'_> {
    fn ask(
        &self,
        at: usize,
        mode: Mode,
        limit: usize,
        limits: &Limits,
    ) -> Result<Vec<Hit>, Failure> {
        let text = self.questions.get(at).map(String::as_str);
        let vector = self.queries.get(at).map(Vec::as_slice);
        let query = Query {
            text: text.filter(|_| mode != Mode::Vector),
            vector: vector.filter(|_| mode != Mode::Lexical),
            mode,
            limit,
            filter: limits.filter.as_ref(),
            mask: &limits.mask,
        };
        Ok(self.index.search_few(&query, self.rows)?)
    }

    fn measure(&self, row: &str, mode: Mode, limit: usize, limits: &Limits) -> Result<(), Failure> {
        let count = self.questions.len().max(self.queries.len());
        let (mut found, mut wanted) = (0, 0);
        for at in 0..count {
            let hits = self.ask(at, mode, limit, limits)?;
            if mode == Mode::Vector
                && let Some(exact) = limits.exact.get(at)
            {
                wanted += exact.len();
                let known = |hit: &&Hit| exact.contains(&hit.document_id);
                found += hits.iter().take(TOP).filter(known).count();
            }
        }
        let mut seconds = Vec::with_capacity(count * ROUNDS);
        for _ in 0..ROUNDS {
            for at in 0..count {
                let begun = Instant::now();
                let hits = self.ask(at, mode, limit, limits)?;
                seconds.push(begun.elapsed().as_secs_f64());
                drop(hits);
            }
        }
        let more = match wanted {
            0 => json!({}),
            wanted => json!({"recall_at_10": found as f64 / f64::from(wanted as u32)}),
        };
        tell(row, seconds, more);
        Ok(())
    }
}

/// Bytes over all segments: of the files, of the inverted index, and of the codes that a scan reads.
fn sizes(paths: &[PathBuf]) -> Result<Value, Failure> {
    let (mut file, mut lexicon, mut codes) = (0, 0, 0);
    for path in paths {
        let bytes = std::fs::read(path)?;
        let head = Head::parse(&bytes)?;
        let length = |section| {
            let range = head.range(section);
            range.end - range.start
        };
        file += head.file_length();
        lexicon += length(Section::LexiconDictionary) + length(Section::LexiconPostings);
        codes += length(Section::Bits);
    }
    Ok(json!({"file": file, "lexicon": lexicon, "codes": codes}))
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

//! What the codes lose on real embeddings: a judged collection in BEIR's format, embedded with MiniLM, ranked by full
//! precision, by the 8-bit rows of all documents, and by the scan of the 1-bit codes with the rows of 300 candidates, as
//! searches of larger segments are.
//!
//! `cargo run --release -p benches --bin codes -- DATASET WEIGHTS`

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use minilm::{DIMENSIONS, MiniLm};
use retrieval::segment::build;
use retrieval::{
    EmbeddedPassage, Index, LiveSegment, Mask, Mode, Passage, Query, Segment, SegmentDocument,
    measure,
};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const TOP: usize = 10;
/// Candidates of a scan for ten results.
const CANDIDATES: usize = 300;
/// Texts that are embedded at a time.
const TEXTS: usize = 32;

/// Measures recall and nDCG of the codes.
#[derive(Parser)]
struct Arguments {
    /// Folder with `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`.
    dataset: PathBuf,
    /// Folder with the weights of all-MiniLM-L6-v2.
    weights: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the rows are what the program is for")]
fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let model = MiniLm::open(&arguments.weights)?;
    let documents = read(&arguments.dataset.join("corpus.jsonl"))?;
    let questions = read(&arguments.dataset.join("queries.jsonl"))?;
    let grades = grades(&arguments.dataset.join("qrels/test.tsv"))?;
    let vectors = embed(&model, &documents);
    let queries = embed(&model, &questions);
    let index = index(&documents, &vectors)?;
    let ways: [(&str, Option<usize>); 2] = [
        ("8-bit rows", Some(documents.len())),
        ("1-bit codes, rows of 300", Some(CANDIDATES)),
    ];
    let mut sums = [[0.0; 2]; 3];
    let mut asked = 0.0;
    for ((id, _), query) in questions.iter().zip(&queries) {
        let Some(grades) = grades.get(id) else {
            continue;
        };
        asked += 1.0;
        let exact = exact(&documents, &vectors, query);
        let known: BTreeSet<&str> = exact.iter().copied().collect();
        let graded: BTreeMap<&str, u32> = grades
            .iter()
            .map(|(id, grade)| (id.as_str(), *grade))
            .collect();
        sums[0][0] += 1.0;
        sums[0][1] += measure::graded_ndcg_at(&exact, &graded, TOP);
        for ((_, rows), sum) in ways.iter().zip(&mut sums[1..]) {
            let found = index.search_few(&asking(query), *rows)?;
            let found: Vec<&str> = found.iter().map(|hit| hit.document_id.as_str()).collect();
            sum[0] += measure::recall_at(&found, &known, TOP);
            sum[1] += measure::graded_ndcg_at(&found, &graded, TOP);
        }
    }
    let names = ["full precision", ways[0].0, ways[1].0];
    for (name, [recall, ndcg]) in names.into_iter().zip(sums) {
        let (recall, ndcg) = (recall / asked, ndcg / asked);
        println!(
            "{}",
            json!({"row": name, "recall_at_10": recall, "ndcg_at_10": ndcg})
        );
    }
    Ok(())
}

fn asking(vector: &[f32]) -> Query<'_> {
    Query {
        text: None,
        vector: Some(vector),
        mode: Mode::Vector,
        limit: TOP,
        filter: None,
        mask: &Mask::Everything,
    }
}

/// Ids and texts of a file of JSON lines, the title before the text.
fn read(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let lines = std::io::BufReader::new(std::fs::File::open(path)?).lines();
    let read = |line: std::io::Result<String>| {
        let line: Value = serde_json::from_str(&line?)?;
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let text = [field("title"), field("text")].join("\n");
        Ok((field("_id"), text.trim().to_owned()))
    };
    lines.map(read).collect()
}

/// The documents judged relevant to each question.
fn grades(path: &Path) -> Result<BTreeMap<String, BTreeMap<String, u32>>, Failure> {
    let mut grades: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        if let [query, document, grade] = line.split('\t').collect::<Vec<_>>()[..] {
            let grade = grade.trim().parse().unwrap_or(0);
            if grade > 0 {
                let own = grades.entry(query.to_owned()).or_default();
                own.insert(document.to_owned(), grade);
            }
        }
    }
    Ok(grades)
}

fn embed(model: &MiniLm, texts: &[(String, String)]) -> Vec<Vec<f32>> {
    let texts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
    texts
        .chunks(TEXTS)
        .flat_map(|some| model.embed(some))
        .collect()
}

fn index(documents: &[(String, String)], vectors: &[Vec<f32>]) -> Result<Index, Failure> {
    let document = |((id, text), vector): (&(String, String), &Vec<f32>)| SegmentDocument {
        document_id: id.clone(),
        title: String::new(),
        uri: String::new(),
        content_hash: String::new(),
        readers: Vec::new(),
        metadata: BTreeMap::new(),
        passages: vec![EmbeddedPassage {
            passage: Passage {
                ordinal: 0,
                start: 0,
                end: text.len() as u64,
                heading_path: Vec::new(),
                pages: Vec::new(),
                parent: None,
                text: text.clone(),
            },
            vector: vector.clone(),
        }],
    };
    let documents: Vec<SegmentDocument> = documents.iter().zip(vectors).map(document).collect();
    let segment = Segment::from_bytes(build(DIMENSIONS, "minilm", &documents)?)?;
    Ok(Index::new(vec![LiveSegment {
        segment: Arc::new(segment),
        dead_documents: BTreeSet::new(),
    }])?)
}

/// The best documents by the vectors as they came.
fn exact<'a>(
    documents: &'a [(String, String)],
    vectors: &[Vec<f32>],
    query: &[f32],
) -> Vec<&'a str> {
    let dot = |vector: &Vec<f32>| -> f32 {
        vector
            .iter()
            .zip(query)
            .map(|(one, other)| one * other)
            .sum()
    };
    let mut scored: Vec<(f32, &str)> = documents
        .iter()
        .zip(vectors)
        .map(|((id, _), vector)| (dot(vector), id.as_str()))
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0));
    scored.into_iter().take(TOP).map(|(_, id)| id).collect()
}

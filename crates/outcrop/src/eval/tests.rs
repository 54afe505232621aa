use std::path::PathBuf;

use super::dataset::{DatasetError, Document};
use super::*;
use retrieval::Heading;

const QUESTIONS: &str = include_str!("../../sample/questions.jsonl");

/// The sample handbook as a collection: each of its questions has one relevant document.
fn handbook() -> Dataset {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sample/documents");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let documents = files.iter().map(|path| {
        let id = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap();
        let read = extract::extract(&bytes, &id, &extract::Limits::default()).unwrap();
        let headings = read.headings.into_iter().map(|heading| Heading {
            level: heading.level,
            title: heading.title,
            start: heading.start,
        });
        Document {
            title: read.title.unwrap_or_else(|| id.clone()),
            text: read.text,
            headings: headings.collect(),
            id,
        }
    });
    let questions = QUESTIONS.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Question {
            text: line["question"].as_str().unwrap().to_owned(),
            grades: [(line["document"].as_str().unwrap().to_owned(), 1)].into(),
        }
    });
    Dataset {
        name: "handbook".to_owned(),
        documents: documents.collect(),
        questions: questions.collect(),
    }
}

/// The regression set: raise the floors when search becomes better, never lower them.
#[test]
fn the_handbook_s_questions_find_their_documents() {
    let outcome = measured(&handbook(), &Sentences::Hashing).unwrap();
    assert_eq!((outcome.questions, outcome.leaks), (40, 0));
    let floors = [("lexical", 0.94), ("vector", 0.86), ("hybrid", 0.93)];
    for (mode, floor) in floors {
        let found = outcome.results[mode];
        assert!(
            found.ndcg_at_10 >= floor,
            "{mode}: {found:?}, floor {floor}"
        );
        assert_eq!(found.recall_at_100, 1.0, "{mode}");
    }
}

#[test]
fn leaks_are_counted() {
    let dataset = handbook();
    let collection = Collection::build(&dataset, &Sentences::Hashing, |_, _| {}).unwrap();
    let right = groups(&dataset);
    let wrong = right.iter().map(|(id, group)| (*id, 1 - group)).collect();
    let vector = Sentences::Hashing.embed(&["guardrail"]).remove(0);
    let check = |groups: &BTreeMap<&str, usize>, leaks: bool| {
        let found = collection.leaks("guardrail", &vector, 0, groups).unwrap();
        assert_eq!(found > 0, leaks, "{found}");
    };
    check(&right, false);
    check(&wrong, true);
}

/// A small collection in a folder, with one file replaced.
fn folder(file: &str, content: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("qrels")).unwrap();
    let files = [
        (
            "corpus.jsonl",
            "{\"_id\": \"a\", \"title\": \"A\", \"text\": \"granite\"}\n{\"_id\": 7, \"text\": \"basalt\"}\n",
        ),
        (
            "queries.jsonl",
            "{\"_id\": \"q\", \"text\": \"granite?\"}\n\n{\"_id\": \"r\", \"text\": \"basalt?\"}\n",
        ),
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq\ta\t2\nq\t7\t0\nr\t7\t1\n",
        ),
    ];
    for (name, usual) in files {
        let path = folder.path().join(name);
        match content {
            None if name == file => {}
            Some(content) if name == file => std::fs::write(path, content).unwrap(),
            _ => std::fs::write(path, usual).unwrap(),
        }
    }
    folder
}

#[test]
fn a_collection_is_read_and_measured() {
    let folder = folder("", None);
    let dataset = Dataset::read(folder.path(), None).unwrap();
    assert_eq!((dataset.documents.len(), dataset.questions.len()), (2, 2));
    assert_eq!(dataset.questions[0].grades, [("a".to_owned(), 2)].into());
    let outcome = measured(&dataset, &Sentences::Hashing).unwrap();
    assert_eq!(outcome.results["lexical"].ndcg_at_10, 1.0);
    let mut keys: Vec<String> = json!(outcome)
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    keys.truncate(4);
    assert_eq!(keys, ["dataset", "embedder", "results", "latency_ms"]);
    let plot = folder.path().join("plot.svg");
    plot::write(&plot, &outcome).unwrap();
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(
        drawn.starts_with("<svg") && drawn.contains("nDCG@10") && drawn.contains("hybrid"),
        "{drawn}"
    );
    assert!(report(&outcome).contains("1.000"));
}

#[test]
fn a_bad_folder_is_refused_where_it_is_bad() {
    let check =
        |file: &str, content: Option<&str>, split: Option<&str>, name: &str, words: &str| {
            let folder = folder(file, content);
            let error: DatasetError = Dataset::read(folder.path(), split).unwrap_err();
            assert_eq!(error.name(), name, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
    check(
        "corpus.jsonl",
        None,
        None,
        "DatasetFileMissing",
        "corpus.jsonl is missing",
    );
    check(
        "queries.jsonl",
        None,
        None,
        "DatasetFileMissing",
        "queries.jsonl is missing",
    );
    check(
        "qrels/test.tsv",
        None,
        None,
        "DatasetFileMissing",
        "qrels/*.tsv is missing",
    );
    check(
        "",
        None,
        Some("dev"),
        "DatasetFileMissing",
        "dev.tsv is missing",
    );
    check(
        "corpus.jsonl",
        Some("{\"_id\": \"a\", \"text\": \"b\"}\n{oops\n"),
        None,
        "DatasetLineBroken",
        "corpus.jsonl:2:",
    );
    check(
        "corpus.jsonl",
        Some("{\"_id\": \"a\"}\n"),
        None,
        "DatasetLineBroken",
        "corpus.jsonl:1: missing field `text`",
    );
    check(
        "qrels/test.tsv",
        Some("q\ta\n"),
        None,
        "DatasetLineBroken",
        "test.tsv:1: 2 columns",
    );
    check(
        "qrels/test.tsv",
        Some("q\ta\t1\nq\ta\tgood\n"),
        None,
        "DatasetLineBroken",
        "test.tsv:2: the score \"good\"",
    );
    check(
        "qrels/test.tsv",
        Some("q\ta\t1\nq\tzz\t1\n"),
        None,
        "DatasetIdUnknown",
        "test.tsv:2: there is no document \"zz\"",
    );
    check(
        "qrels/test.tsv",
        Some("zz\ta\t1\n"),
        None,
        "DatasetIdUnknown",
        "test.tsv:1: there is no query \"zz\"",
    );
    check(
        "qrels/test.tsv",
        Some("q\ta\t0\n"),
        None,
        "DatasetEmpty",
        "no question has a relevant document",
    );
}

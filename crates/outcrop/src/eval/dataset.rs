//! A judged collection in BEIR's format: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.
//!
//! Source: Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models", 2021.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use retrieval::Heading;
use serde::Deserialize;

/// Why a collection cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    #[error("{} is missing; a collection has corpus.jsonl, queries.jsonl and qrels/*.tsv", .path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be read: {detail}", .path.display())]
    Unreadable { path: PathBuf, detail: String },
    #[error("{}:{line}: {detail}", .path.display())]
    BrokenLine {
        path: PathBuf,
        line: usize,
        detail: String,
    },
    #[error("{}:{line}: there is no {kind} {id:?}", .path.display())]
    UnknownId {
        path: PathBuf,
        line: usize,
        kind: &'static str,
        id: String,
    },
    #[error("{} holds nothing that can be measured: no question has a relevant document", .path.display())]
    Empty { path: PathBuf },
}

impl DatasetError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "DatasetFileMissing",
            Self::Unreadable { .. } => "DatasetUnreadable",
            Self::BrokenLine { .. } => "DatasetLineBroken",
            Self::UnknownId { .. } => "DatasetIdUnknown",
            Self::Empty { .. } => "DatasetEmpty",
        }
    }
}

/// A document of the collection.
#[derive(Debug)]
pub struct Document {
    pub id: String,
    pub title: String,
    pub text: String,
    pub headings: Vec<Heading>,
}

/// A question with the grades of the documents that were judged relevant to it; never none.
#[derive(Debug)]
pub struct Question {
    pub text: String,
    pub grades: BTreeMap<String, u32>,
}

#[derive(Debug)]
pub struct Dataset {
    pub name: String,
    pub documents: Vec<Document>,
    pub questions: Vec<Question>,
}

/// Ids are strings in BEIR, but some converted collections have numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct CorpusLine {
    _id: Id,
    #[serde(default)]
    title: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct QueryLine {
    _id: Id,
    text: String,
}

impl Dataset {
    /// Reads a folder. Without `split` the judgements are those of `qrels/test.tsv`, or of all files if there is no such.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn read(folder: &Path, split: Option<&str>) -> Result<Self, DatasetError> {
        let mut documents = Vec::new();
        each_line(&folder.join("corpus.jsonl"), |line| {
            let line: CorpusLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
            documents.push(Document {
                id: line._id.into(),
                title: line.title.unwrap_or_default(),
                text: line.text,
                headings: Vec::new(),
            });
            Ok(())
        })?;
        let mut queries = BTreeMap::new();
        each_line(&folder.join("queries.jsonl"), |line| {
            let line: QueryLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
            queries.insert(String::from(line._id), line.text);
            Ok(())
        })?;
        let ids: BTreeSet<&str> = documents
            .iter()
            .map(|document| document.id.as_str())
            .collect();
        let mut grades: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for file in judgement_files(folder, split)? {
            read_judgements(&file, &ids, &queries, &mut grades)?;
        }
        let questions: Vec<Question> = grades
            .into_iter()
            .filter_map(|(query, grades)| {
                let text = queries.get(&query)?.clone();
                Some(Question { text, grades })
            })
            .collect();
        if questions.is_empty() {
            let path = folder.join("qrels");
            return Err(DatasetError::Empty { path });
        }
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = whole.file_name().unwrap_or(whole.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            documents,
            questions,
        })
    }
}

fn judgement_files(folder: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, DatasetError> {
    let folder = folder.join("qrels");
    if let Some(split) = split {
        return Ok(vec![folder.join(format!("{split}.tsv"))]);
    }
    let test = folder.join("test.tsv");
    if test.exists() {
        return Ok(vec![test]);
    }
    let missing = |path: &Path| DatasetError::Missing {
        path: path.to_owned(),
    };
    let entries = std::fs::read_dir(&folder).map_err(|_| missing(&folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tsv"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(missing(&folder.join("*.tsv")));
    }
    Ok(files)
}

fn read_judgements(
    path: &Path,
    documents: &BTreeSet<&str>,
    queries: &BTreeMap<String, String>,
    grades: &mut BTreeMap<String, BTreeMap<String, u32>>,
) -> Result<(), DatasetError> {
    let mut number = 0;
    let mut unknown = None;
    each_line(path, |line| {
        number += 1;
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [query, document, grade] = cells.as_slice() else {
            return Err(format!(
                "{} columns instead of query-id, corpus-id and score",
                cells.len()
            ));
        };
        let Ok(grade) = grade.parse::<i64>() else {
            // The first line names the columns.
            return if number == 1 {
                Ok(())
            } else {
                Err(format!("the score {grade:?} is not a whole number"))
            };
        };
        let stranger = match () {
            () if !queries.contains_key(*query) => Some(("query", *query)),
            () if !documents.contains(document) => Some(("document", *document)),
            () => None,
        };
        if let Some((kind, id)) = stranger {
            unknown.get_or_insert((number, kind, id.to_owned()));
        } else if grade > 0 {
            let grade = u32::try_from(grade).unwrap_or(u32::MAX);
            grades
                .entry((*query).to_owned())
                .or_default()
                .insert((*document).to_owned(), grade);
        }
        Ok(())
    })?;
    match unknown {
        Some((line, kind, id)) => Err(DatasetError::UnknownId {
            path: path.to_owned(),
            line,
            kind,
            id,
        }),
        None => Ok(()),
    }
}

/// Hands every line that is not blank to `take`; what that refuses is told with the line's number.
fn each_line(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), DatasetError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => DatasetError::Missing {
            path: path.to_owned(),
        },
        _ => DatasetError::Unreadable {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    })?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let broken = |detail: String| DatasetError::BrokenLine {
            path: path.to_owned(),
            line: number + 1,
            detail,
        };
        let line = line.map_err(|error| broken(error.to_string()))?;
        if !line.trim().is_empty() {
            take(&line).map_err(broken)?;
        }
    }
    Ok(())
}

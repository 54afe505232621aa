//! Writes the files that both sides of a benchmark read.
//!
//! `cargo run --release -p benches --bin data -- FOLDER --passages 100000 --dimension 1024 [--texts DIR]`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use benches::{Texts, Vectors, append, write_texts};
use clap::Parser;
use retrieval::chunk::{FixedSize, fixed_size};

/// Bytes of documents that are kept whole: what the slowest peer cuts in some seconds.
const DOCUMENT_BYTES: usize = 4_000_000;

/// Writes vectors, queries, texts and questions.
#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
    #[arg(long, default_value_t = 100_000)]
    passages: usize,
    /// Components of a vector; 0 writes no vectors.
    #[arg(long, default_value_t = 1_024)]
    dimension: usize,
    #[arg(long, default_value_t = 100)]
    queries: usize,
    /// Words of a synthetic text; 0 writes no texts.
    #[arg(long, default_value_t = 60)]
    words: usize,
    /// Real texts instead of synthetic ones: the passages of the text files below this folder.
    #[arg(long)]
    texts: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.folder)?;
    let passages = match (&arguments.texts, arguments.words) {
        (Some(root), _) => real(root, &arguments)?,
        (None, 0) => arguments.passages,
        (None, words) => synthetic(words, &arguments)?,
    };
    if arguments.dimension > 0 {
        vectors(passages, &arguments)?;
    }
    let shape = serde_json::json!({"passages": passages, "dimension": arguments.dimension});
    std::fs::write(arguments.folder.join("shape.json"), shape.to_string())?;
    Ok(())
}

fn vectors(passages: usize, arguments: &Arguments) -> std::io::Result<()> {
    let mut source = Vectors::new(arguments.dimension, 7);
    for (name, count) in [
        ("vectors.f32", passages),
        ("queries.f32", arguments.queries),
    ] {
        let mut file = BufWriter::new(File::create(arguments.folder.join(name))?);
        for _ in 0..count {
            append(&mut file, &source.make())?;
        }
        file.flush()?;
    }
    Ok(())
}

fn synthetic(words: usize, arguments: &Arguments) -> Result<usize, Box<dyn std::error::Error>> {
    let mut source = Texts::new(200_000, 11)?;
    let folder = &arguments.folder;
    write_texts(
        &folder.join("texts.jsonl"),
        (0..arguments.passages).map(|_| source.make(words)),
    )?;
    write_texts(
        &folder.join("questions.jsonl"),
        (0..arguments.queries).map(|_| source.make(8)),
    )?;
    Ok(arguments.passages)
}

/// Passages of at most 256 tokens of the text files below a folder, in the order of paths; questions are eight words of
/// the middle of passages far apart. The first files stay whole too, as documents to be cut.
fn real(root: &Path, arguments: &Arguments) -> Result<usize, Box<dyn std::error::Error>> {
    let size = FixedSize {
        max_tokens: 256,
        overlap_percent: 20,
    };
    let (mut passages, mut folders) = (Vec::new(), vec![root.to_owned()]);
    let (mut documents, mut document_bytes) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|kind| ["md", "txt", "rs"].iter().any(|wanted| kind == *wanted))
                && let Ok(text) = std::fs::read_to_string(&path)
                && text.len() < 400_000
            {
                passages.extend(
                    fixed_size(&text, &[], &size)
                        .into_iter()
                        .map(|passage| passage.text),
                );
                if document_bytes < DOCUMENT_BYTES {
                    document_bytes += text.len();
                    documents.push(text);
                }
            }
            if passages.len() >= arguments.passages {
                folders.clear();
                break;
            }
        }
    }
    passages.truncate(arguments.passages);
    let path = arguments.folder.join("documents.jsonl");
    write_texts(&path, documents.into_iter())?;
    let step = (passages.len() / arguments.queries.max(1)).max(1);
    let questions: Vec<String> = passages
        .iter()
        .step_by(step)
        .take(arguments.queries)
        .map(|passage| {
            let words: Vec<&str> = passage
                .split(|letter: char| !letter.is_alphanumeric())
                .filter(|word| word.len() > 2)
                .collect();
            words[words.len() / 2..]
                .iter()
                .take(8)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let count = passages.len();
    write_texts(
        &arguments.folder.join("questions.jsonl"),
        questions.into_iter(),
    )?;
    write_texts(&arguments.folder.join("texts.jsonl"), passages.into_iter())?;
    Ok(count)
}

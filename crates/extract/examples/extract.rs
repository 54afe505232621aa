//! Reads files as ingestion does and tells what became of each, as JSON Lines: `extract [--text] FILE…`, or the files'
//! names on standard input. A panic is told as one; in a run it is the document's refusal.

use std::io::{BufRead, Write};
use std::time::Instant;

use serde_json::json;

fn main() -> std::io::Result<()> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let with_text = paths.first().is_some_and(|first| first == "--text");
    if with_text {
        paths.remove(0);
    }
    if paths.is_empty() {
        paths = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;
    }
    let mut out = std::io::stdout().lock();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(|| {
            extract::extract(&bytes, &path, &extract::Limits::default())
        });
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        let mut line = json!({ "path": path, "bytes": bytes.len(), "ms": milliseconds });
        match outcome {
            Ok(Ok(read)) => {
                line["format"] = json!(read.format);
                line["pages"] = json!(read.pages.len());
                line["headings"] = json!(read.headings.len());
                line["text_bytes"] = json!(read.text.len());
                if with_text {
                    line["text"] = json!(read.text);
                }
            }
            Ok(Err(error)) => {
                line["error"] = json!({ "name": error.name(), "words": error.to_string() })
            }
            Err(_) => line["error"] = json!({ "name": "Panic", "words": "" }),
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

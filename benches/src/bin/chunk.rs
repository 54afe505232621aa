//! Our side of the chunking benchmark: the texts of a folder into passages of 512 tokens, one thread.
//!
//! `cargo run --release -p benches --bin chunk -- FOLDER`
//!
//! One JSON object a row: megabytes of text a second, and how many passages and tokens came of it.

use std::path::PathBuf;
use std::time::Instant;

use benches::read_texts;
use clap::Parser;
use retrieval::chunk::{FixedSize, count_tokens, fixed_size};
use serde_json::json;

const ROUNDS: usize = 5;

/// Measures chunking and token counting.
#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let texts: Vec<String> =
        read_texts(&arguments.folder.join("documents.jsonl"))?.collect::<Result<_, _>>()?;
    let size = FixedSize::default();
    measure("fixed size, 512 tokens", &texts, |text| {
        fixed_size(text, &[], &size).len()
    });
    measure("counting tokens", &texts, count_tokens);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the rows are what the program is for")]
fn measure(row: &str, texts: &[String], work: impl Fn(&str) -> usize) {
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut speeds = Vec::new();
    let mut made = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        made = texts.iter().map(|text| work(text)).sum();
        speeds.push(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
    }
    speeds.sort_by(f64::total_cmp);
    println!(
        "{}",
        json!({"row": row, "mb_per_second": speeds[ROUNDS / 2], "made": made, "bytes": bytes})
    );
}

//! The laptop's sentence embedder on one thread: milliseconds for a text of 256 tokens and for a question of 16.
//!
//! `cargo run --release -p benches --bin embed -- FOLDER`, where FOLDER holds the weights.

use std::path::PathBuf;
use std::time::Instant;

use benches::percentiles;
use clap::Parser;
use minilm::{MiniLm, token_count};
use serde_json::json;

const ROUNDS: usize = 30;

/// Measures embedding.
#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the rows are what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = MiniLm::open(&Arguments::parse().folder)?;
    for tokens in [256, 16] {
        // Each word is one token; two stand for the beginning and the end.
        let text = vec!["granite"; tokens - 2].join(" ");
        let mut seconds = Vec::new();
        for round in 0..=ROUNDS {
            let begun = Instant::now();
            std::hint::black_box(model.embed_here(&[&text]));
            if round > 0 {
                seconds.push(begun.elapsed().as_secs_f64());
            }
        }
        let (median, p90) = percentiles(seconds);
        let row = format!("MiniLM, {} tokens", token_count(&text));
        println!(
            "{}",
            json!({"row": row, "median_ms": median, "p90_ms": p90})
        );
    }
    Ok(())
}

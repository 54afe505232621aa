//! The `outcrop` command: the laptop cloud and its command line.

mod answers;
mod arguments;
mod client;
mod commands;
mod cost;
mod dev;
mod eval;
mod intake;
mod models;
mod orders;
mod output;
mod source;
mod space;
mod sse;
mod sync;
mod tickets;
mod walk;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // The laptop cloud starts this binary again for each function.
    if arguments.get(1).is_some_and(|first| first == "__lambda") {
        let function = arguments
            .get(2)
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        return dev::run_function(function);
    }
    let cli = arguments::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error_line(&format!("the program cannot start: {error}"));
            return ExitCode::from(output::FAILED);
        }
    };
    ExitCode::from(runtime.block_on(commands::run(cli)))
}

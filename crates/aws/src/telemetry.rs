//! JSON log lines on standard output, where Lambda collects them. Ids, counts and times only.

use tracing::Level;

/// Starts logging at `level`. A second call changes nothing.
pub fn start(level: Level) {
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_current_span(false)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Starts logging for people, on standard error: for the command line.
pub fn start_plain(level: Level) {
    let started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

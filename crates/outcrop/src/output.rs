//! What goes to the terminal: results on standard output, progress and errors on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Exit codes, as `--help` has them.
pub const DONE: u8 = 0;
pub const FAILED: u8 = 1;
pub const INCOMPLETE: u8 = 3;

/// A line of the result. A reader that has gone away (`| head`) ends the program quietly.
pub fn line(text: &str) {
    piece(&format!("{text}\n"));
}

/// A piece of the result, at once.
pub fn piece(text: &str) {
    raw(&printable(text));
}

/// A JSON value of the result, whole and unchanged, for programs.
pub fn json(value: &Value) {
    raw(&format!("{value:#}\n"));
}

/// Text that cannot steer a terminal: documents and file names are other people's words.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' | '\t' => letter,
            // Marks that turn the direction of what follows would show a quote as it is not.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
            _ if letter.is_control() => char::REPLACEMENT_CHARACTER,
            _ => letter,
        })
        .collect()
}

fn raw(text: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(i32::from(DONE));
    }
}

/// A line beside the result.
pub fn note(text: &str) {
    // Nobody to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

pub fn error_line(text: &str) {
    note(&format!("outcrop: {text}"));
}

/// A progress bar on a terminal; nothing elsewhere.
pub fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg:<12} [{bar:32}] {pos}/{len} {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Columns side by side, as wide as their widest cell but the last.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < columns {
                let padding = width(column) - cell.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text), expected, "{text:?}");
        check("größer\n\tok 字", "größer\n\tok 字");
        check("\u{1b}[2Jgone\r", "\u{fffd}[2Jgone\u{fffd}");
        check("\u{9b}31m\u{7}", "\u{fffd}31m\u{fffd}");
        check("\u{202e}txt.exe", "\u{fffd}txt.exe");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| {
            cells
                .iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>()
        };
        let text = table(&[row(&["id", "status"]), row(&["größer", "ok"]), row(&["a"])]);
        assert_eq!(text, "id      status\ngrößer  ok\na\n");
    }
}

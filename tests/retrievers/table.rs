//! The conformance table: rows by retrievers, printed, and then checked.

use std::fmt::Write as _;
use std::io::Write as _;

pub struct Table {
    retrievers: Vec<String>,
    rows: Vec<(String, Vec<Cell>)>,
}

enum Cell {
    Equal,
    Different { expected: String, seen: String },
}

impl Table {
    pub fn new(retrievers: &[&str]) -> Self {
        Self {
            retrievers: retrievers.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// What retriever `number` gave in a row, beside what it should give.
    pub fn note<A: AsRef<str>, B: AsRef<str>>(
        &mut self,
        row: &str,
        number: usize,
        expected: &[A],
        seen: &[B],
    ) {
        let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        let seen: Vec<&str> = seen.iter().map(AsRef::as_ref).collect();
        let cell = match expected == seen {
            true => Cell::Equal,
            false => Cell::Different {
                expected: expected.join(" "),
                seen: seen.join(" "),
            },
        };
        let place = self.rows.iter().position(|(name, _)| name == row);
        let place = place.unwrap_or_else(|| {
            self.rows.push((row.to_owned(), Vec::new()));
            self.rows.len() - 1
        });
        let cells = &mut self.rows[place].1;
        assert_eq!(cells.len(), number, "{row}: each retriever once, in order");
        cells.push(cell);
    }

    /// Prints the table, also where the test harness keeps what a test prints to itself.
    pub fn print(&self) {
        let mut text = format!("\n| row | {} |\n|---|", self.retrievers.join(" | "));
        text.push_str(&"---|".repeat(self.retrievers.len()));
        for (row, cells) in &self.rows {
            let _ = write!(text, "\n| {row} |");
            for cell in cells {
                let word = if matches!(cell, Cell::Equal) {
                    "equal"
                } else {
                    "DIFFERENT"
                };
                let _ = write!(text, " {word} |");
            }
        }
        let _ = writeln!(std::io::stderr(), "{text}\n");
    }

    pub fn check(&self) {
        let mut wrong = String::new();
        for (row, cells) in &self.rows {
            assert_eq!(
                cells.len(),
                self.retrievers.len(),
                "{row}: a retriever was left out"
            );
            for (retriever, cell) in self.retrievers.iter().zip(cells) {
                if let Cell::Different { expected, seen } = cell {
                    let _ = writeln!(
                        wrong,
                        "{retriever}, {row}: [{seen}] instead of [{expected}]"
                    );
                }
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }
}

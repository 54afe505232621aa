//! One append-only file of JSON Lines for each queue. Each line reaches the operating system before anything follows from it, so
//! that killing the process loses no message.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Message;

/// From so many bytes on a file is written anew without what was taken.
const LONG_BYTES: u64 = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Sent(Message),
    Received { ids: Vec<String>, at_ms: u64 },
    Deleted { ids: Vec<String> },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
}

/// The messages that a file leaves, in the order in which they were sent. A line that was cut off by a kill does not count.
pub(super) fn read(path: &Path) -> io::Result<Vec<Message>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut messages: Vec<Message> = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Line::Sent(message)) => messages.push(message),
            Ok(Line::Received { ids, at_ms }) => {
                let ids: std::collections::HashSet<String> = ids.into_iter().collect();
                for message in messages.iter_mut().filter(|one| ids.contains(&one.id)) {
                    message.receives += 1;
                    message.first_received_ms.get_or_insert(at_ms);
                }
            }
            Ok(Line::Deleted { ids }) => {
                let ids: std::collections::HashSet<String> = ids.into_iter().collect();
                messages.retain(|message| !ids.contains(&message.id));
            }
            Err(_) => {}
        }
    }
    Ok(messages)
}

impl Journal {
    /// Writes the file anew with these messages.
    pub(super) fn begin<'a>(
        path: &Path,
        messages: impl Iterator<Item = &'a Message>,
    ) -> io::Result<Self> {
        let beside = path.with_extension("part");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&beside)?;
        let mut journal = Self { file, bytes: 0 };
        for message in messages {
            journal.append(&Line::Sent(message.clone()))?;
        }
        std::fs::rename(&beside, path)?;
        Ok(journal)
    }

    pub(super) fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn is_long(&self) -> bool {
        self.bytes > LONG_BYTES
    }
}

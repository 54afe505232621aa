//! One append-only file of JSON Lines for each execution: its start, its history as it happens, a
//! checkpoint at each top-level state, its resumes and its end.
//!
//! Each line reaches the operating system before the interpreter goes on, so that killing the
//! process loses nothing. The first and the last line are also forced to the disk; a power failure
//! may cost the lines between, and the execution then resumes from an earlier checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::clock::{Clock, epoch_seconds};
use super::expression::Variables;
use super::fault::{Fault, RUNTIME};

/// The error of an execution whose file the disk did not take. Nothing of AWS's: its disks do not fill.
pub(super) const DISK_FULL: &str = "Outcrop.DiskFull";

/// Most events of one execution (Step Functions service quotas, "Maximum execution history size").
pub(super) const MAX_EVENTS: u64 = 25_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Started(Started),
    /// A history event in the form that `GetExecutionHistory` gives.
    Event(Value),
    Checkpoint(Checkpoint),
    Resumed {
        at_ms: u64,
    },
    Finished(Finished),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Started {
    pub name: String,
    pub machine: String,
    /// Key of the definition it began with, which it keeps.
    pub definition: String,
    /// The JSON text that it was started with.
    pub input: String,
    pub at_ms: u64,
}

/// Where an execution goes on after an interruption.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub state: String,
    pub input: Value,
    pub variables: Variables,
    pub last_event: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub at_ms: u64,
}

/// The status of an execution, in AWS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

/// What an execution's file says.
#[derive(Debug)]
pub(super) struct Record {
    pub started: Started,
    pub events: Vec<Value>,
    pub checkpoint: Option<Checkpoint>,
    pub resumes: u32,
    /// Resumes since the last checkpoint: attempts at the same state.
    pub resumes_here: u32,
    pub last_event: u64,
    pub finished: Option<Finished>,
    /// Lines other than the last that could not be read.
    pub damaged_lines: u32,
    /// Bytes up to the end of the last whole line.
    whole_bytes: u64,
}

/// Reads an execution's file. A last line without its end was cut off by a kill and does not
/// count; nothing at all when the first line was.
pub(super) fn read(path: &Path, keep_events: bool) -> io::Result<Option<Record>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut record: Option<Record> = None;
    let mut line = Vec::new();
    let mut bytes = 0_u64;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.last() != Some(&b'\n') {
            break;
        }
        bytes += line.len() as u64;
        match (serde_json::from_slice::<Line>(&line), &mut record) {
            (Ok(Line::Started(started)), None) => record = Some(Record::new(started)),
            (Ok(line), Some(record)) => record.take(line, keep_events),
            (Err(_), Some(record)) => record.damaged_lines += 1,
            (_, None) => return Ok(None),
        }
        if let Some(record) = &mut record {
            record.whole_bytes = bytes;
        }
        line.clear();
    }
    Ok(record)
}

impl Record {
    fn new(started: Started) -> Self {
        Self {
            started,
            events: Vec::new(),
            checkpoint: None,
            resumes: 0,
            resumes_here: 0,
            last_event: 0,
            finished: None,
            damaged_lines: 0,
            whole_bytes: 0,
        }
    }

    fn take(&mut self, line: Line, keep_events: bool) {
        match line {
            Line::Started(_) => self.damaged_lines += 1,
            Line::Event(event) => {
                self.last_event = event["id"].as_u64().unwrap_or(self.last_event);
                if keep_events {
                    self.events.push(event);
                }
            }
            Line::Checkpoint(checkpoint) => {
                self.checkpoint = Some(checkpoint);
                self.resumes_here = 0;
            }
            Line::Resumed { .. } => {
                self.resumes += 1;
                self.resumes_here += 1;
            }
            Line::Finished(finished) => self.finished = Some(finished),
        }
    }
}

/// The open file of a running execution.
#[derive(Debug)]
pub(super) struct Journal {
    clock: Arc<Clock>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    last_event: u64,
}

/// One history event before it has its number and time.
#[derive(Debug)]
pub(super) struct Event {
    pub kind: String,
    /// The member that holds the details, such as `taskScheduledEventDetails`.
    pub details_key: &'static str,
    pub details: Value,
}

impl Journal {
    /// Begins the file of a new execution; when this returns, the start is on the disk.
    pub fn create(path: &Path, started: Started, clock: Arc<Clock>) -> io::Result<Self> {
        let mut writer = Writer {
            file: File::create(path)?,
            last_event: 0,
        };
        writer.append(&Line::Started(started))?;
        writer.file.sync_all()?;
        let writer = Mutex::new(writer);
        Ok(Self { clock, writer })
    }

    /// A journal over an open file.
    #[cfg(test)]
    pub fn over(file: File, clock: Arc<Clock>) -> Self {
        let writer = Mutex::new(Writer {
            file,
            last_event: 0,
        });
        Self { clock, writer }
    }

    /// Goes on with the file of an interrupted execution, after its last whole line.
    pub fn reopen(path: &Path, record: &Record, clock: Arc<Clock>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(record.whole_bytes)?;
        let last_event = record.last_event;
        let writer = Mutex::new(Writer { file, last_event });
        Ok(Self { clock, writer })
    }

    /// Appends an event and returns its number.
    pub fn event(&self, previous: u64, event: Event) -> Result<u64, Fault> {
        self.write(|writer, now_ms| {
            let id = writer.last_event + 1;
            writer.append(&Line::Event(numbered(id, previous, now_ms, event)))?;
            writer.last_event = id;
            Ok(id)
        })
    }

    pub fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.write(|writer, _| writer.append(&Line::Checkpoint(checkpoint)))
    }

    pub fn resumed(&self) -> Result<(), Fault> {
        self.write(|writer, at_ms| writer.append(&Line::Resumed { at_ms }))
    }

    /// Appends the last event and the end, together, and forces them to the disk.
    pub fn finish(&self, finished: Finished, event: Option<Event>) -> Result<(), Fault> {
        self.write(|writer, now_ms| {
            let mut lines = Vec::new();
            if let Some(event) = event {
                let id = writer.last_event + 1;
                let event = numbered(id, writer.last_event, now_ms, event);
                lines.extend(line_bytes(&Line::Event(event))?);
                writer.last_event = id;
            }
            lines.extend(line_bytes(&Line::Finished(finished))?);
            writer.file.write_all(&lines)?;
            writer.file.sync_all()
        })
    }

    /// The number of the last event.
    pub fn last_event(&self) -> u64 {
        self.lock().last_event
    }

    fn write<T>(&self, act: impl FnOnce(&mut Writer, u64) -> io::Result<T>) -> Result<T, Fault> {
        act(&mut self.lock(), self.clock.now_ms()).map_err(|error| {
            let cause = format!("The execution's file cannot be written: {error}");
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    let words = "The disk that holds the laptop's data is full; free some space";
                    Fault::fatal(DISK_FULL, format!("{words}. {cause}"))
                }
                _ => Fault::fatal(RUNTIME, cause),
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Writer {
    fn append(&mut self, line: &Line) -> io::Result<()> {
        self.file.write_all(&line_bytes(line)?)
    }
}

fn line_bytes(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn numbered(id: u64, previous: u64, now_ms: u64, event: Event) -> Value {
    let mut fields = Map::new();
    fields.insert("timestamp".to_owned(), json!(epoch_seconds(now_ms)));
    fields.insert("type".to_owned(), Value::String(event.kind));
    fields.insert("id".to_owned(), json!(id));
    fields.insert("previousEventId".to_owned(), json!(previous));
    if !event.details.is_null() {
        fields.insert(event.details_key.to_owned(), event.details);
    }
    Value::Object(fields)
}

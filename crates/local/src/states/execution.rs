//! The life of an execution: started, run beside others, stopped, ended, and after a restart read
//! back and resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::{Clock, hexadecimal};
use super::definition::{self, Machine};
use super::drive::{close, drive, failed};
use super::fault::Fault;
use super::history::Trail;
use super::run::{Checkpoints, Frame, Identity, Run};
use super::store::{self, Finished, Journal, Record, Started, Status};
use super::{Services, StatesError, arn};

/// Times that an execution goes on from the same state before it is given up.
const MAX_RESUMES: u32 = 3;
/// The error of an execution that was given up.
const INTERRUPTED: &str = "Outcrop.Interrupted";
/// How long ended executions are kept, as on AWS.
const KEPT_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// All state machines and executions of one folder.
pub(super) struct Executions {
    dir: PathBuf,
    pub clock: Arc<Clock>,
    services: Services,
    machines: Mutex<BTreeMap<String, Arc<Deployed>>>,
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    interrupted: Mutex<Vec<(Arc<Entry>, Record)>>,
    /// Dropped with the rest: that is what interrupts the running ones.
    running: Mutex<JoinSet<()>>,
}

/// A state machine and its definition.
pub(super) struct Deployed {
    pub name: String,
    pub definition: String,
    digest: String,
    machine: Arc<Machine>,
    pub created_ms: u64,
}

/// What is kept in memory of an execution; the rest is in its file.
#[derive(Debug)]
pub(super) struct Entry {
    pub machine: String,
    pub name: String,
    pub path: PathBuf,
    pub started_ms: u64,
    /// Status and, once ended, the time.
    pub state: watch::Sender<(Status, Option<u64>)>,
    pub stop_asked: watch::Sender<Option<Stop>>,
    /// An end that its file did not take.
    unwritten: Mutex<Option<Finished>>,
}

/// Why an execution was stopped, in the words of the one who stopped it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    pub error: Option<String>,
    pub cause: Option<String>,
}

/// Why an execution was not started.
pub(super) enum NotStarted {
    NoSuchMachine,
    AlreadyExists,
    Storage(std::io::Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn storage(path: &Path) -> impl FnOnce(std::io::Error) -> StatesError {
    let path = path.to_owned();
    move |source| StatesError::Storage { path, source }
}

fn digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

/// A name as a file name: readable, and distinct on file systems that ignore case or dislike
/// some letters.
fn file_name(name: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
    let readable: String = name.chars().filter(plain).take(40).collect();
    format!("{readable}-{}", &digest(name)[..16])
}

impl Executions {
    pub fn open(dir: &Path, services: Services, clock: Clock) -> Result<Self, StatesError> {
        let executions = Self {
            dir: dir.to_owned(),
            clock: Arc::new(clock),
            services,
            machines: Mutex::default(),
            entries: Mutex::default(),
            interrupted: Mutex::default(),
            running: Mutex::default(),
        };
        for folder in ["definitions", "executions"] {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(storage(&path))?;
        }
        executions.read_back()?;
        Ok(executions)
    }

    fn read_back(&self) -> Result<(), StatesError> {
        for folder in listing(&self.dir.join("executions"))? {
            for path in listing(&folder)? {
                let record = store::read(&path, false).map_err(storage(&path))?;
                match record {
                    Some(record) => self.admit(path, record)?,
                    // Its start was never acknowledged.
                    None => tracing::warn!(path = %path.display(), "not an execution's file"),
                }
            }
        }
        Ok(())
    }

    fn admit(&self, path: PathBuf, record: Record) -> Result<(), StatesError> {
        let state = match &record.finished {
            None => (Status::Running, None),
            Some(finished) => (finished.status, Some(finished.at_ms)),
        };
        let oldest = self.clock.now_ms().saturating_sub(KEPT_MS);
        if state.1.is_some_and(|ended| ended < oldest) {
            return std::fs::remove_file(&path).map_err(storage(&path));
        }
        let entry = Arc::new(Entry::new(path, &record.started, state));
        lock(&self.entries).insert(entry.arn(), Arc::clone(&entry));
        if record.finished.is_none() {
            lock(&self.interrupted).push((entry, record));
        }
        Ok(())
    }

    pub fn create(&self, name: &str, text: &str) -> Result<String, StatesError> {
        arn::valid_name(name).map_err(|reason| StatesError::InvalidName {
            name: name.to_owned(),
            reason,
        })?;
        let machine =
            definition::parse(text).map_err(|findings| StatesError::InvalidDefinition {
                machine: name.to_owned(),
                findings,
            })?;
        let digest = digest(text);
        let path = self.definition_path(&digest);
        std::fs::write(&path, text).map_err(storage(&path))?;
        let deployed = Deployed {
            name: name.to_owned(),
            definition: text.to_owned(),
            digest,
            machine: Arc::new(machine),
            created_ms: self.clock.now_ms(),
        };
        lock(&self.machines).insert(name.to_owned(), Arc::new(deployed));
        Ok(arn::machine_arn(name))
    }

    fn definition_path(&self, digest: &str) -> PathBuf {
        self.dir.join("definitions").join(format!("{digest}.json"))
    }

    pub fn machines(&self) -> Vec<Arc<Deployed>> {
        lock(&self.machines).values().cloned().collect()
    }

    pub fn machine(&self, name: &str) -> Option<Arc<Deployed>> {
        lock(&self.machines).get(name).cloned()
    }

    pub fn entry(&self, arn: &str) -> Option<Arc<Entry>> {
        lock(&self.entries).get(arn).cloned()
    }

    pub fn entries_of(&self, machine: &str) -> Vec<Arc<Entry>> {
        let entries = lock(&self.entries);
        let of_machine = |entry: &&Arc<Entry>| entry.machine == machine;
        entries.values().filter(of_machine).cloned().collect()
    }

    /// The definition that an execution began with.
    pub fn definition_of(&self, record: &Record) -> std::io::Result<String> {
        std::fs::read_to_string(self.definition_path(&record.started.definition))
    }

    /// Starts an execution, or finds the running one of the same name and input.
    pub fn start(&self, machine: &str, name: &str, input: &str) -> Result<Arc<Entry>, NotStarted> {
        let deployed = self.machine(machine).ok_or(NotStarted::NoSuchMachine)?;
        let folder = self.dir.join("executions").join(file_name(machine));
        let path = folder.join(format!("{}.jsonl", file_name(name)));
        let started = Started {
            name: name.to_owned(),
            machine: machine.to_owned(),
            definition: deployed.digest.clone(),
            input: input.to_owned(),
            at_ms: self.clock.now_ms(),
        };
        // Held until the file exists, so that two starts of one name cannot both succeed.
        let mut entries = lock(&self.entries);
        if let Some(existing) = entries.get(&arn::execution_arn(machine, name)) {
            return same_start(existing, input);
        }
        std::fs::create_dir_all(&folder).map_err(NotStarted::Storage)?;
        let journal = Journal::create(&path, started.clone(), Arc::clone(&self.clock))
            .map_err(NotStarted::Storage)?;
        let entry = Arc::new(Entry::new(path, &started, (Status::Running, None)));
        entries.insert(entry.arn(), Arc::clone(&entry));
        drop(entries);
        let frame = first_frame(&deployed.machine, &started);
        let machine = Arc::clone(&deployed.machine);
        self.spawn(&entry, &started, Arc::new(journal), machine, frame, None);
        Ok(entry)
    }

    pub fn resume_interrupted(&self) {
        let interrupted = std::mem::take(&mut *lock(&self.interrupted));
        for (entry, record) in interrupted {
            let clock = Arc::clone(&self.clock);
            match Journal::reopen(&entry.path, &record, clock) {
                Ok(journal) => self.resume(&entry, &record, Arc::new(journal)),
                Err(error) => {
                    tracing::error!(path = %entry.path.display(), %error, "cannot go on with an execution");
                    entry
                        .state
                        .send_replace((Status::Failed, Some(self.clock.now_ms())));
                }
            }
        }
    }

    fn resume(&self, entry: &Arc<Entry>, record: &Record, journal: Arc<Journal>) {
        let machine = match self.resumable(record) {
            Ok(machine) => machine,
            Err(cause) => {
                let fault = Fault::fatal(INTERRUPTED, cause);
                return close(&journal, entry, failed(Status::Failed, fault), &self.clock);
            }
        };
        let mut frame = first_frame(&machine, &record.started);
        if let Some(checkpoint) = &record.checkpoint {
            frame.state.clone_from(&checkpoint.state);
            frame.input = checkpoint.input.clone();
            frame.variables = checkpoint.variables.clone();
            frame.checkpoints = Checkpoints::AfterThisState;
        }
        frame.cursor = record.last_event;
        let resumes = Some(record.resumes + 1);
        self.spawn(entry, &record.started, journal, machine, frame, resumes);
    }

    fn resumable(&self, record: &Record) -> Result<Arc<Machine>, String> {
        if record.damaged_lines > 0 {
            let lines = record.damaged_lines;
            return Err(format!(
                "{lines} lines of the execution's file are damaged."
            ));
        }
        if record.resumes_here >= MAX_RESUMES {
            let state = record
                .checkpoint
                .as_ref()
                .map_or("", |at| at.state.as_str());
            return Err(format!(
                "The state '{state}' was interrupted {} times in a row. Look for what ends the process there, then start the execution again.",
                record.resumes_here + 1
            ));
        }
        let text = self
            .definition_of(record)
            .map_err(|error| error.to_string())?;
        let machine = definition::parse(&text).map_err(|findings| {
            format!(
                "Its definition is no longer supported:{}",
                super::listed(&findings)
            )
        })?;
        Ok(Arc::new(machine))
    }

    fn spawn(
        &self,
        entry: &Arc<Entry>,
        started: &Started,
        journal: Arc<Journal>,
        machine: Arc<Machine>,
        frame: Frame,
        resumes: Option<u32>,
    ) {
        let execution = Identity {
            arn: entry.arn(),
            name: entry.name.clone(),
            machine_arn: arn::machine_arn(&entry.machine),
            machine_name: entry.machine.clone(),
            input: Arc::new(input_of(started)),
            started_ms: started.at_ms,
        };
        let run = Arc::new(Run {
            clock: Arc::clone(&self.clock),
            services: self.services.clone(),
            trail: Trail::Journal(Arc::clone(&journal)),
            execution,
        });
        let entry = Arc::clone(entry);
        let mut running = lock(&self.running);
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let finished = drive(&entry, &run, &journal, machine, frame, resumes).await;
            close(&journal, &entry, finished, &run.clock);
        });
    }
}

impl Entry {
    pub fn new(path: PathBuf, started: &Started, state: (Status, Option<u64>)) -> Self {
        Self {
            machine: started.machine.clone(),
            name: started.name.clone(),
            path,
            started_ms: started.at_ms,
            state: watch::Sender::new(state),
            stop_asked: watch::Sender::new(None),
            unwritten: Mutex::new(None),
        }
    }

    /// Keeps an end that is on no disk, for those who ask while this process lives.
    pub fn keep_unwritten(&self, finished: Finished) {
        *lock(&self.unwritten) = Some(finished);
    }

    pub fn unwritten(&self) -> Option<Finished> {
        lock(&self.unwritten).clone()
    }

    pub fn arn(&self) -> String {
        arn::execution_arn(&self.machine, &self.name)
    }

    pub fn status(&self) -> Status {
        self.state.borrow().0
    }

    /// Stops a running execution and waits until its end is written; the time of its end.
    pub async fn stop(&self, stop: Stop) -> Option<u64> {
        self.stop_asked.send_replace(Some(stop));
        self.ended().await
    }

    /// Waits for the end of the execution.
    pub async fn ended(&self) -> Option<u64> {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|(status, _)| *status != Status::Running);
        ended.await.ok().and_then(|state| state.1)
    }
}

fn listing(folder: &Path) -> Result<Vec<PathBuf>, StatesError> {
    let entries = std::fs::read_dir(folder).map_err(storage(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(storage(folder))
}

/// AWS answers a repeated start as the first one while that runs with the same input.
fn same_start(existing: &Arc<Entry>, input: &str) -> Result<Arc<Entry>, NotStarted> {
    let record = store::read(&existing.path, false).map_err(NotStarted::Storage)?;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    let same = record.is_some_and(|record| parsed(&record.started.input) == parsed(input));
    if same && existing.status() == Status::Running {
        return Ok(Arc::clone(existing));
    }
    Err(NotStarted::AlreadyExists)
}

fn input_of(started: &Started) -> Value {
    serde_json::from_str(&started.input).unwrap_or_default()
}

fn first_frame(machine: &Machine, started: &Started) -> Frame {
    Frame {
        state: machine.start_at.clone(),
        input: input_of(started),
        variables: super::expression::Variables::new(),
        item: None,
        cursor: 0,
        checkpoints: Checkpoints::EachState,
    }
}

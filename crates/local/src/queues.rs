//! SQS on the laptop: queues that outlive the process, and the mappings through which Lambda brings their messages to functions.
//! Nobody but the rules of the template sends to them, and nobody but a mapping receives.

mod deliver;
mod journal;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::states::Clock;

pub(crate) use deliver::{DeadLetters, Invoke, Mapping};
use journal::{Journal, Line};

/// The pause before a message that was not taken comes again; it doubles each time. On AWS it is the queue's visibility
/// timeout, six times the function's own: there nobody knows whether the function still runs, here that is seen.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
/// Bytes of the messages of one delivery at the most. Source: Lambda quotas, payload of an invocation.
const DELIVERY_BYTES: usize = 6 << 20;
/// What a message has around its body in a delivery, with room to spare.
const RECORD_BYTES: usize = 700;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub id: String,
    pub body: String,
    /// Milliseconds since 1970, as all times here.
    pub sent_ms: u64,
    pub receives: u32,
    pub first_received_ms: Option<u64>,
}

impl Message {
    /// Bytes in a delivery, where the body is text within JSON.
    fn delivery_bytes(&self) -> usize {
        let escaped = self
            .body
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'));
        self.body.len() + escaped.count() + RECORD_BYTES
    }
}

/// A queue of messages, which come out about as they went in.
pub(crate) struct Queue {
    name: String,
    path: PathBuf,
    clock: Arc<Clock>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// With the time from which on each may be received.
    waiting: VecDeque<(u64, Message)>,
    journal: Journal,
}

impl Queue {
    /// Opens the queue `name` on its file in `folder`, without messages that were sent longer than `retention` ago. What was
    /// received and not settled when the process ended is there again.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub(crate) fn open(
        folder: &Path,
        name: &str,
        retention: Duration,
        clock: Arc<Clock>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.jsonl"));
        let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let oldest = clock.now_ms().saturating_sub(retention);
        let mut kept = journal::read(&path)?;
        kept.retain(|message| message.sent_ms >= oldest);
        let journal = Journal::begin(&path, kept.iter())?;
        let waiting = kept.into_iter().map(|message| (0, message)).collect();
        Ok(Self {
            name: name.to_owned(),
            path,
            clock,
            state: Mutex::new(State { waiting, journal }),
            changed: Notify::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds its messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a message in.
    pub(crate) fn send(&self, body: String) {
        let message = Message {
            id: self.clock.uuid(),
            body,
            sent_ms: self.clock.now_ms(),
            receives: 0,
            first_received_ms: None,
        };
        {
            let mut state = self.state();
            self.note(&mut state, &Line::Sent(message.clone()));
            state.waiting.push_back((0, message));
        }
        self.changed.notify_one();
    }

    /// Waits for a message, gathers for `window` what comes after it, and takes what there is: at most `most`, and no more than a
    /// delivery holds. What is taken is to be settled; one caller at a time.
    pub(crate) async fn receive(&self, window: Duration, most: usize) -> Vec<Message> {
        self.arrived().await;
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let until = self.clock.now_ms().saturating_add(window);
        while !self.is_full(most) {
            let left = until.saturating_sub(self.clock.now_ms());
            if left == 0 {
                break;
            }
            tokio::select! {
                () = self.clock.sleep(Duration::from_millis(left)) => break,
                () = self.changed.notified() => {}
            }
        }
        self.take(most)
    }

    /// Waits until a message may be received.
    async fn arrived(&self) {
        loop {
            let now_ms = self.clock.now_ms();
            let first = self.state().waiting.iter().map(|(from, _)| *from).min();
            match first {
                Some(from) if from <= now_ms => return,
                Some(from) => tokio::select! {
                    () = self.clock.sleep(Duration::from_millis(from - now_ms)) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn is_full(&self, most: usize) -> bool {
        let now_ms = self.clock.now_ms();
        let state = self.state();
        let there = state.waiting.iter().filter(|(from, _)| *from <= now_ms);
        there.count() >= most
    }

    fn take(&self, most: usize) -> Vec<Message> {
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        let (mut taken, mut left, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        for (from, mut message) in std::mem::take(&mut state.waiting) {
            let grown = bytes + message.delivery_bytes();
            let fits = taken.is_empty() || grown <= DELIVERY_BYTES;
            if from > now_ms || taken.len() >= most || !fits {
                left.push_back((from, message));
                continue;
            }
            bytes = grown;
            message.receives += 1;
            message.first_received_ms.get_or_insert(now_ms);
            taken.push(message);
        }
        state.waiting = left;
        let ids = taken.iter().map(|message| message.id.clone()).collect();
        self.note(&mut state, &Line::Received { ids, at_ms: now_ms });
        taken
    }

    /// Forgets the messages that were taken, but for those `given_back`: they come again after a pause.
    pub(crate) fn settle(&self, taken: Vec<Message>, given_back: &BTreeSet<String>) {
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        let mut ids = Vec::new();
        for message in taken {
            if given_back.contains(&message.id) {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(message.receives.saturating_sub(1));
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let from = now_ms.saturating_add(pause);
                state.waiting.push_back((from, message));
            } else {
                ids.push(message.id);
            }
        }
        self.note(&mut state, &Line::Deleted { ids });
        let State { waiting, journal } = &mut *state;
        if waiting.is_empty() || journal.is_long() {
            let begun = Journal::begin(&self.path, waiting.iter().map(|(_, message)| message));
            match begun {
                Ok(begun) => *journal = begun,
                Err(error) => self.unkept(&error),
            }
        }
    }

    /// Writes a line. What cannot be written is still in memory, and delivered unless the process ends.
    fn note(&self, state: &mut State, line: &Line) {
        if let Err(error) = state.journal.append(line) {
            self.unkept(&error);
        }
    }

    fn unkept(&self, error: &io::Error) {
        let (queue, name) = (self.name(), "QueueUnwritable");
        tracing::warn!(name, queue, %error, "messages do not outlive this process");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! What is kept between the turns of a conversation, in memory, until it has been idle as long as the agent says.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::control::Pending;
use super::request::Attributes;

/// A conversation with one agent.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Questions and answers in turn, as Converse messages with text only.
    pub(super) history: Vec<Value>,
    pub(super) attributes: Attributes,
    /// A turn that waits for its caller.
    pub(super) pending: Option<Pending>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<tokio::sync::Mutex<Session>>,
    last_used: Instant,
    idle_time: Duration,
}

/// The conversations. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::bedrock) struct Sessions(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Sessions {
    /// The session of this key, new if there is none or it was idle too long.
    pub(super) fn open(&self, key: &str, idle_seconds: u32) -> Arc<tokio::sync::Mutex<Session>> {
        let now = Instant::now();
        let idle_time = Duration::from_secs(idle_seconds.into());
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| now.duration_since(entry.last_used) < entry.idle_time);
        let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry {
            session: Arc::default(),
            last_used: now,
            idle_time,
        });
        entry.last_used = now;
        entry.session.clone()
    }

    /// Forgets a session and those of its collaborators.
    pub(super) fn end(&self, key: &str) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let below = format!("{key}>");
        entries.retain(|known, _| known != key && !known.starts_with(&below));
    }
}

//! What is still to be asked of a website, in the order in which it was found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Robots;
use crate::sources::{SourceError, failed};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    Sitemap(String),
    Page {
        url: String,
        depth: u32,
    },
    /// A page that is known and that nothing led to.
    Check(String),
}

impl Task {
    fn url(&self) -> &str {
        match self {
            Self::Sitemap(url) | Self::Page { url, .. } | Self::Check(url) => url,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Frontier {
    queue: VecDeque<Task>,
    /// Digests would be shorter, and could not be looked at when something is wrong.
    found: BTreeSet<String>,
    /// By origin.
    pub robots: BTreeMap<String, String>,
    pub pages: u32,
    pub sitemaps: u32,
    /// Whether something may be there that was not found: what was not met is asked itself then.
    pub partial: bool,
    pub checking: bool,
    #[serde(skip)]
    rules: BTreeMap<String, Robots>,
}

impl Frontier {
    pub fn read(position: &str) -> Result<Self, SourceError> {
        serde_json::from_str(position)
            .map(Self::with_rules)
            .map_err(|error| failed("SourceStateUnreadable", format!("{error}; sync again")))
    }

    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the rules once, not for every URL.
    pub fn with_rules(mut self) -> Self {
        let parsed = self.robots.iter();
        self.rules = parsed
            .map(|(origin, text)| (origin.clone(), Robots::parse(text)))
            .collect();
        self
    }

    /// Whether a site's rules leave a path to us.
    pub fn allows(&self, origin: &str, path: &str) -> bool {
        self.rules
            .get(origin)
            .is_some_and(|rules| rules.allows(path))
    }

    /// The longest pause that one of the sites asks for.
    pub fn crawl_delay(&self) -> Duration {
        let delays = self.rules.values().filter_map(|rules| rules.crawl_delay);
        let longest = delays.fold(0.0, f64::max);
        Duration::try_from_secs_f64(longest).unwrap_or(Duration::MAX)
    }

    /// Adds what was not found before.
    pub fn add(&mut self, task: Task) {
        if self.found.insert(task.url().to_owned()) {
            self.queue.push_back(task);
        }
    }

    pub fn next(&mut self) -> Option<Task> {
        self.queue.pop_front()
    }

    pub fn put_back(&mut self, task: Task) {
        self.queue.push_front(task);
    }

    /// Has the pages asked themselves that nothing led to.
    pub fn check(&mut self, ids: Vec<String>) {
        self.checking = true;
        self.queue.extend(ids.into_iter().map(Task::Check));
    }
}

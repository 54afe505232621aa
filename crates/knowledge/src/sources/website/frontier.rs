//! What is still to be asked of a website, in the order in which it was found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Robots;

/// URLs of one site that are remembered, and bytes of them: a site that makes ever new ones would fill the memory.
const FOUND: usize = 100_000;
const FOUND_BYTES: usize = 20_000_000;

/// The longest URL that is asked.
const URL_BYTES: usize = 2_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    Sitemap {
        url: String,
        /// Whether the site names it. Else it is where sitemaps usually stand.
        named: bool,
    },
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
            Self::Sitemap { url, .. } | Self::Page { url, .. } | Self::Check(url) => url,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Frontier {
    queue: VecDeque<Task>,
    /// Digests would be shorter, and could not be looked at when something is wrong.
    found: BTreeSet<String>,
    /// Bytes of what was found.
    #[serde(default)]
    found_bytes: usize,
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

    /// Adds what was not found before, as long as there is room for it.
    pub fn add(&mut self, task: Task) {
        let url = task.url();
        if self.found.contains(url) {
            return;
        }
        let found_bytes = self.found_bytes + url.len();
        if self.found.len() >= FOUND || found_bytes > FOUND_BYTES || url.len() > URL_BYTES {
            self.partial = true;
            return;
        }
        self.found_bytes = found_bytes;
        self.found.insert(url.to_owned());
        self.queue.push_back(task);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontier_has_an_end_and_says_so() {
        let page = |url: String| Task::Page { url, depth: 0 };
        let mut frontier = Frontier::default();
        for number in 0..FOUND {
            frontier.add(page(format!("https://example.com/{number}")));
        }
        frontier.add(page("https://example.com/0".to_owned()));
        assert!(!frontier.partial);
        frontier.add(page("https://example.com/more".to_owned()));
        assert!(frontier.partial);
        assert_eq!(frontier.queue.len(), FOUND);

        let mut frontier = Frontier::default();
        frontier.add(page("a".repeat(URL_BYTES + 1)));
        assert!(frontier.partial && frontier.next().is_none());

        let long = |number: usize| format!("{number:0>URL_BYTES$}");
        let mut frontier = Frontier::default();
        for number in 0..FOUND_BYTES / URL_BYTES {
            frontier.add(page(long(number)));
        }
        frontier.add(page(long(0)));
        assert!(!frontier.partial);
        frontier.add(page("https://example.com/".to_owned()));
        assert!(frontier.partial);
        assert_eq!(frontier.queue.len(), FOUND_BYTES / URL_BYTES);
    }

    #[test]
    fn pauses_are_not_cut() {
        let mut frontier = Frontier::default();
        let rules = "User-agent: *\nCrawl-delay: 100000";
        frontier.robots.insert("a".to_owned(), rules.to_owned());
        let delay = frontier.with_rules().crawl_delay();
        assert_eq!(delay, Duration::from_secs(100_000));
    }
}

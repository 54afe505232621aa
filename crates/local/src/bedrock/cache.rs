//! Prompt caching as usage shows it: which prefix of a request up to a `cachePoint` was seen before. Nothing is saved
//! by it here; the counts are what a client learns at AWS.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::content::{CachePoint, CacheTtl, ContentBlock, SystemBlock};
use super::request::{ConverseRequest, Tool};
use super::words::count_tokens;

/// Shortest prefix that is cached (tokens), as most models document.
const MIN_CACHED_TOKENS: usize = 1024;
/// Most prefixes remembered; the oldest to expire go first.
const MAX_PREFIXES: usize = 4096;

/// Tokens of a request's input, parted as `usage` parts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InputTokens {
    pub(super) fresh: usize,
    pub(super) read: usize,
    pub(super) written: usize,
    one_hour: bool,
}

impl InputTokens {
    /// `usage` on the wire; `input` (a model's own count) stands instead of the fresh tokens if given.
    pub(super) fn usage(self, input: Option<usize>, output: usize) -> Value {
        let fresh = input.unwrap_or(self.fresh);
        let total = fresh + self.read + self.written + output;
        let mut usage = json!({"inputTokens": fresh, "outputTokens": output, "totalTokens": total});
        if self.read + self.written > 0 {
            usage["cacheReadInputTokens"] = json!(self.read);
            usage["cacheWriteInputTokens"] = json!(self.written);
        }
        if self.written > 0 {
            let ttl = if self.one_hour { "1h" } else { "5m" };
            usage["cacheDetails"] = json!([{"ttl": ttl, "inputTokens": self.written}]);
        }
        usage
    }

    pub(super) fn total(self) -> usize {
        self.fresh + self.read + self.written
    }
}

/// A prefix that ends at a cache point.
struct Prefix {
    hash: [u8; 32],
    tokens: usize,
    ttl: CacheTtl,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PromptCache(Arc<Mutex<HashMap<[u8; 32], Instant>>>);

impl PromptCache {
    /// Counts a request's input and remembers its prefixes until `now` + their time to live.
    pub(super) fn count(
        &self,
        model_id: &str,
        request: &ConverseRequest,
        now: Instant,
    ) -> InputTokens {
        let (total, mut prefixes) = prefixes(model_id, request);
        prefixes.retain(|prefix| prefix.tokens >= MIN_CACHED_TOKENS);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, expires| *expires > now);
        let read = prefixes
            .iter()
            .filter(|prefix| seen.contains_key(&prefix.hash))
            .map(|prefix| prefix.tokens)
            .max()
            .unwrap_or(0);
        let longest = prefixes
            .iter()
            .map(|prefix| prefix.tokens)
            .max()
            .unwrap_or(0);
        for prefix in &prefixes {
            if seen.len() < MAX_PREFIXES || seen.contains_key(&prefix.hash) {
                seen.insert(prefix.hash, now + lifetime(prefix.ttl));
            }
        }
        let one_hour = prefixes
            .last()
            .is_some_and(|prefix| prefix.ttl == CacheTtl::OneHour);
        let written = longest.saturating_sub(read);
        InputTokens {
            fresh: total - read.max(longest),
            read,
            written,
            one_hour,
        }
    }
}

fn lifetime(ttl: CacheTtl) -> Duration {
    match ttl {
        CacheTtl::FiveMinutes => Duration::from_secs(5 * 60),
        CacheTtl::OneHour => Duration::from_secs(60 * 60),
    }
}

/// Reads a request in the order in which a model does: tools, system, messages.
struct Reader {
    hash: Sha256,
    tokens: usize,
    prefixes: Vec<Prefix>,
}

impl Reader {
    fn block(&mut self, block: &impl Serialize) {
        let json = serde_json::to_value(block).unwrap_or_default();
        self.hash.update(json.to_string());
        self.tokens += tokens_of(&json);
    }

    fn point(&mut self, point: &CachePoint) {
        self.prefixes.push(Prefix {
            hash: self.hash.clone().finalize().into(),
            tokens: self.tokens,
            ttl: point.ttl,
        });
    }
}

fn prefixes(model_id: &str, request: &ConverseRequest) -> (usize, Vec<Prefix>) {
    let mut reader = Reader {
        hash: Sha256::new_with_prefix(model_id),
        tokens: 0,
        prefixes: Vec::new(),
    };
    for tool in request.tool_config.iter().flat_map(|config| &config.tools) {
        match tool {
            Tool::CachePoint(point) => reader.point(point),
            tool => reader.block(tool),
        }
    }
    for block in &request.system {
        match block {
            SystemBlock::CachePoint(point) => reader.point(point),
            block => reader.block(block),
        }
    }
    for message in &request.messages {
        reader
            .hash
            .update(if message.role == super::content::Role::User {
                "user"
            } else {
                "assistant"
            });
        for block in &message.content {
            match block {
                ContentBlock::CachePoint(point) => reader.point(point),
                block => reader.block(block),
            }
        }
    }
    (reader.tokens, reader.prefixes)
}

/// Tokens of every text inside a block, names of fields left out.
fn tokens_of(value: &Value) -> usize {
    match value {
        Value::String(text) => count_tokens(text),
        Value::Array(items) => items.iter().map(tokens_of).sum(),
        Value::Object(fields) => fields.values().map(tokens_of).sum(),
        Value::Number(_) | Value::Bool(_) => 1,
        Value::Null => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(question: &str) -> ConverseRequest {
        let handbook = "word ".repeat(2000);
        serde_json::from_value(json!({
            "system": [{"text": handbook}, {"cachePoint": {"type": "default"}}],
            "messages": [{"role": "user", "content": [{"text": question}]}]
        }))
        .expect("a request")
    }

    #[test]
    fn a_prefix_is_written_once_read_while_it_lives_and_then_written_again() {
        let (cache, start) = (PromptCache::default(), Instant::now());
        let first = cache.count("m", &request("one two"), start);
        assert_eq!((first.fresh, first.read, first.written), (2, 0, 2000));
        let second = cache.count("m", &request("three"), start + Duration::from_secs(200));
        assert_eq!((second.fresh, second.read, second.written), (1, 2000, 0));
        let other_model = cache.count("n", &request("three"), start);
        assert_eq!(other_model.read, 0);
        let late = cache.count(
            "m",
            &request("three"),
            start + Duration::from_secs(200 + 301),
        );
        assert_eq!((late.read, late.written), (0, 2000));
    }
}

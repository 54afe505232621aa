//! A call to a text model, counted however it ends: by the model's own figures, or by what went in and came out where it was
//! broken off before it told them. Bedrock bills that too.

use aws::bedrock::{AnswerRequest, ModelEvent, ModelUsage};
use aws::config::{CacheTtl, ServiceTier};

use super::{Account, Line, Task};
use crate::models::prices::Way;

/// Bytes of a token where nobody has counted: a rule of thumb for English.
const BYTES_PER_TOKEN: usize = 4;

/// Tokens of a text that nobody has counted.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// A call under way; its line is taken when the model tells its usage, or else when this is dropped.
pub(crate) struct ModelCall<'a> {
    account: &'a Account<'a>,
    task: Task,
    model: String,
    tier: ServiceTier,
    ttl: CacheTtl,
    input_bytes: usize,
    said_bytes: usize,
    told: bool,
}

impl<'a> ModelCall<'a> {
    /// A call whose stream has begun: before, nothing is billed.
    pub fn begun(account: &'a Account<'a>, task: Task, request: &AnswerRequest) -> Self {
        Self {
            account,
            task,
            model: request.model.clone(),
            tier: request.tier,
            ttl: request.cache.unwrap_or_default(),
            input_bytes: request.bytes(),
            said_bytes: 0,
            told: false,
        }
    }

    /// Hears what the model says.
    pub fn hear(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Text(text) => self.said_bytes += text.len(),
            ModelEvent::Usage(used) => {
                self.told = true;
                self.account.take(self.line(used));
            }
            _ => {}
        }
    }

    /// A router's line is that of the model that it chose.
    fn line(&self, used: &ModelUsage) -> Line {
        let model = used.invoked_model.as_deref().unwrap_or(&self.model);
        let way = Way::from(used.tier.unwrap_or(self.tier));
        Line::text(self.task, model, used, way, self.ttl)
    }
}

impl Drop for ModelCall<'_> {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let used = ModelUsage {
            input_tokens: tokens_of(self.input_bytes),
            output_tokens: tokens_of(self.said_bytes),
            ..ModelUsage::default()
        };
        let line = self.line(&used);
        self.account.take(Line {
            estimated: true,
            ..line
        });
    }
}

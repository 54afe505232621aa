//! Guards: what goes to a model, comes from it or is embedded is allowed, masked or blocked by the guardrail.
//!
//! Files: `rules` what is guarded, by space and direction · `verdict` what ApplyGuardrail's assessments mean, as byte ranges ·
//! `window` which part of a stream may be released · `call` the calls, cut to the API's limits, with a bounded wait ·
//! `gate` an answer on its way through the window. `verdict`, `rules` and `window` do arithmetic only.

pub mod call;
pub mod gate;
pub mod rules;
pub mod verdict;
pub mod window;

pub use call::{GuardCheckReply, GuardCheckRequest, check};
pub use gate::GuardReport;
pub use verdict::{Finding, Verdict};

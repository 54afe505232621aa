//! What the service does: ask, search, sync, documents, runs, actions of agents. Floors below know how; the Lambdas above only translate.

pub mod access;
pub mod actions;
pub mod answers;
pub mod ask;
pub mod cite;
pub mod conversation;
pub mod digest;
pub mod documents;
pub mod entries;
pub mod grounding;
pub mod guard;
pub mod http;
pub mod idempotency;
pub mod limits;
pub mod manifest;
pub mod models;
pub mod names;
pub mod orders;
pub mod pace;
mod paging;
pub mod problem;
pub mod prompt;
mod release;
pub mod retriever;
pub mod roles;
pub mod runs;
pub mod search;
pub mod snapshot;
pub mod sources;
pub mod spaces;
pub mod sync;
pub mod tickets;
mod under_way;
pub mod uploads;
mod vectors;

pub use problem::KnowledgeError;

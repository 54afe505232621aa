//! Knowledge bases of the laptop's `bedrock-agent`: made with CreateKnowledgeBase, filled by ingestion jobs and by direct
//! ingestion from the objects of an S3 bucket, and asked with `Retrieve`.
//!
//! A knowledge base has a store of its own: what a job has read is cut by the data source's chunking, embedded by the
//! knowledge base's model, and kept in a segment file as the service's own index is. A space is a knowledge base too
//! (`retrieve.rs`), but one that nobody can sync: its runs do that.
//!
//! Files: `record` what is kept · `store` where · `base`, `source` the control operations · `job` ingestion jobs ·
//! `documents` direct ingestion · `reading` an object to passages · `asking` passages for `Retrieve` · `limits` quotas ·
//! `routes`.
mod asking;
mod base;
mod documents;
mod job;
mod limits;
mod reading;
mod record;
mod routes;
mod source;
mod store;

pub(super) use asking::ask;
pub(super) use routes::operations;
pub(super) use store::Bases;

use super::Bedrock;

/// Goes on with what was under way when the process ended: jobs begin anew, documents that were sent are read.
pub(super) fn resume(bedrock: &Bedrock) {
    for place in bedrock.bases.unfinished_jobs() {
        job::spawn(bedrock, place);
    }
    for place in bedrock.bases.sources_with_pending_documents() {
        documents::resume(bedrock, place);
    }
}

//! Embedding by batch jobs at half price, for runs whose plan is large:
//!
//! ```text
//! (extract → screen)* → gather* → (check → wait)* → collect* → (embed what is left over)* → publish
//! ```
//! Gather writes the passages of the whole run as records of jobs; Check starts the jobs and asks how they stand; Collect
//! makes of their output what Embed makes of a model's replies. What a job does not give is left to Embed: records that
//! failed, jobs that failed, were stopped, or took longer than the space waits.

mod check;
mod collect;
mod gather;
mod output;

use aws::dynamo::keys::{self, JOB_PREFIX};
use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

use super::rows::{BatchRow, RunRow};
use crate::batch_embedding::BatchEmbedding;
use crate::digest::short_id;
use crate::runs;

pub(super) use check::{check_jobs, stop_jobs};
pub(super) use collect::collect_jobs;
pub(super) use gather::gather_jobs;

/// Batches that are read or written side by side.
const BATCHES_IN_FLIGHT: usize = 8;

/// A job over passages of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobRow {
    pub number: u32,
    /// In the order of their records, which are numbered through.
    pub batches: Vec<JobBatch>,
    pub gathered_at_ms: u64,
    /// Whether Bedrock may have been told to start it: written before that, so that a start whose reply was lost is known.
    #[serde(default)]
    pub ordered: bool,
    /// Once it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// When its end was asked for, where it took too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at_ms: Option<u64>,
    /// Bedrock's status once nothing more will come of it; `NotStarted` where it was refused or found no place in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When that was seen first. It is charged to that day, however late what came of it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// Whether what came of it is with its batches.
    #[serde(default)]
    pub collected: bool,
}

/// A batch of documents in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobBatch {
    pub batch_id: String,
    pub records: u32,
}

impl JobRow {
    fn records(&self) -> u64 {
        let records = self.batches.iter().map(|batch| u64::from(batch.records));
        records.sum()
    }
}

/// The jobs of a run by number.
async fn jobs_of(aws: &Aws, run_id: &str) -> Result<Vec<JobRow>, AwsError> {
    let partition = keys::run_partition(run_id);
    aws.table.query_all(&partition, JOB_PREFIX).await
}

async fn keep(aws: &Aws, run_id: &str, job: &JobRow) -> Result<(), AwsError> {
    aws.table.put(&keys::job(run_id, job.number), job).await
}

/// The same for the same job of the same run, whoever asks: a job is started once. A name takes no dots, which run ids have.
fn token(run_id: &str, number: u32) -> String {
    short_id(&[run_id, "job", &number.to_string()], 32)
}

/// What a run embeds by jobs, if it does: passages from which on, and hours that it waits.
fn limits(run: &RunRow) -> Option<(u64, u32)> {
    match run.batch_embedding {
        BatchEmbedding::Off => None,
        BatchEmbedding::Auto { passages, hours } => Some((passages, hours)),
    }
}

/// Batches whose passages wait for vectors, in the order of their ids.
async fn waiting(aws: &Aws, run_id: &str) -> Result<Vec<BatchRow>, AwsError> {
    let mut batches: Vec<BatchRow> = Vec::new();
    let mut pages = runs::batch_pages(aws, run_id);
    while let Some(page) = pages.next().await? {
        batches.extend(page.into_iter().filter(|batch| {
            let open = batch.documents.iter().any(|one| !one.status.is_settled());
            open && batch.passages_key.is_some() && batch.part_key.is_none()
        }));
    }
    batches.sort_by(|left, right| left.batch_id.cmp(&right.batch_id));
    Ok(batches)
}

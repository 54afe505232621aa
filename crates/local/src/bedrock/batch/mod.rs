//! Batch inference: CreateModelInvocationJob and what belongs to it. A job reads records from the laptop's S3, asks the same
//! models as InvokeModel and Converse, and writes their replies beside a manifest. Shapes: botocore's model of `bedrock`;
//! files: Amazon Bedrock User Guide, "Format and upload your batch inference data" and "View the results".
//!
//! Files: `request` what a job is asked for · `store` the jobs there are · `control` the operations · `input`, `work`,
//! `output` what a job does.
mod control;
mod input;
mod output;
mod request;
mod store;
#[cfg(test)]
mod tests;
mod work;

use std::path::Path;

use super::Bedrock;
use crate::s3::S3;

pub(super) use control::operations;
pub(super) use store::Jobs;

/// What an account grants a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchQuotas {
    /// Records of a job at the least. Source: Service Quotas of Amazon Bedrock, "Minimum number of records per batch
    /// inference job".
    pub least_records: u64,
    /// Records of a job at the most, in one file or in several. Source: the same, of the models with the smallest quota.
    pub most_records: u64,
    /// Bytes of one file at the most. Source: the same, "Batch inference input file size".
    pub file_bytes: u64,
    /// Bytes of all files at the most. Source: the same, "Batch inference job size".
    pub job_bytes: u64,
    /// Bytes of a line at the most: the body that `InvokeModel` takes, and room for the record's id around it.
    pub line_bytes: u64,
}

impl Default for BatchQuotas {
    fn default() -> Self {
        Self {
            least_records: 100,
            most_records: 50_000,
            file_bytes: 1_000_000_000,
            job_bytes: 5_000_000_000,
            line_bytes: 25_000_000 + 1_024,
        }
    }
}

impl Bedrock {
    /// The same emulator with batch jobs: kept in `folder`, over the objects of `s3`.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a file in it that is no job.
    pub fn with_batch_jobs(
        self,
        folder: &Path,
        s3: S3,
        quotas: BatchQuotas,
    ) -> std::io::Result<Self> {
        Ok(Self {
            batch: Jobs::open(folder, s3, quotas)?,
            ..self
        })
    }

    /// Goes on with the jobs that were under way when the laptop ended. Called once, within the runtime.
    pub fn resume_batch_jobs(&self) {
        for id in self.batch.unended() {
            work::begin(self.clone(), id);
        }
    }
}

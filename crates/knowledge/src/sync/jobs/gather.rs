//! Gather: the passages of the whole run, as records of one or more jobs.

use std::collections::BTreeSet;
use std::time::Instant;

use aws::bedrock::EmbedPurpose;
use aws::{Aws, clock};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::super::rows::{BatchRow, DocumentStatus, objects};
use super::super::{StepError, embedding, progress};
use super::{BATCHES_IN_FLIGHT, JobBatch, JobRow, jobs_of, keep, limits, waiting};
use crate::batch_embedding::LEAST_RECORDS;
use crate::runs;

/// Records of one job. Source: Service Quotas of Amazon Bedrock, "Records per batch inference job", of the models with the
/// smallest quota.
const JOB_RECORDS: usize = 50_000;
/// Bytes of one job's records. Bedrock takes a gigabyte; the function holds them in memory.
const JOB_BYTES: usize = 128 << 20;
/// Batches of one job: its row names them, and is far below DynamoDB's 400 KB.
const JOB_BATCHES: usize = 4_000;

/// The step: writes jobs until all is gathered, or its time is over. Nothing is gathered for a run that turned out small.
pub(in crate::sync) async fn gather_jobs(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let begun = Instant::now();
    let run = runs::row(aws, run_id).await?;
    let jobs = jobs_of(aws, run_id).await?;
    let mut batches = waiting(aws, run_id).await?;
    let found: u64 = batches.iter().map(BatchRow::passages).sum();
    let large = limits(&run).is_some_and(|(passages, _)| found >= passages);
    if !large {
        return Ok(done(run_id, jobs.len(), false));
    }
    let taken: BTreeSet<&str> = jobs
        .iter()
        .flat_map(|job| &job.batches)
        .map(|batch| batch.batch_id.as_str())
        .collect();
    batches.retain(|batch| !taken.contains(batch.batch_id.as_str()));
    let (mut batches, mut number) = (batches.as_slice(), jobs.len());
    while !batches.is_empty() {
        let coming = u32::try_from(number + 1).unwrap_or(u32::MAX);
        let rest = gather_job(aws, run_id, coming, batches).await?;
        let Some(rest) = rest else { break };
        (batches, number) = (rest, number + 1);
        // Another job may take as long as those before.
        if !batches.is_empty() && begun.elapsed() >= aws.settings.step_slice / 2 {
            return Ok(done(run_id, number, true));
        }
    }
    Ok(done(run_id, number, false))
}

fn done(run_id: &str, jobs: usize, more: bool) -> Value {
    json!({ "run_id": run_id, "jobs": jobs, "more": more })
}

/// Writes the next job; answers the batches that it does not hold. `None`: they are too few for a job.
async fn gather_job<'a>(
    aws: &Aws,
    run_id: &str,
    number: u32,
    batches: &'a [BatchRow],
) -> Result<Option<&'a [BatchRow]>, StepError> {
    let mut job = JobRow {
        number,
        batches: Vec::new(),
        gathered_at_ms: clock::now_ms(),
        ordered: false,
        arn: None,
        stopped_at_ms: None,
        ended: None,
        ended_at_ms: None,
        collected: false,
    };
    let (mut lines, mut records) = (String::new(), 0);
    let mut read = stream::iter(batches)
        .map(async |batch| Ok::<_, StepError>((batch, embedding::read(aws, run_id, batch).await?)))
        .buffered(BATCHES_IN_FLIGHT);
    while let Some(batch) = read.next().await {
        let (batch, (_, texts)) = batch?;
        let of_batch = records_of(aws, &texts, records);
        let full = records + of_batch.len() > JOB_RECORDS
            || lines.len() + of_batch.iter().map(String::len).sum::<usize>() > JOB_BYTES
            || job.batches.len() >= JOB_BATCHES;
        if full && !job.batches.is_empty() {
            break;
        }
        records += of_batch.len();
        lines.extend(of_batch.iter().map(String::as_str));
        job.batches.push(JobBatch {
            batch_id: batch.batch_id.clone(),
            records: u32::try_from(of_batch.len()).unwrap_or(u32::MAX),
        });
    }
    drop(read);
    if (records as u64) < LEAST_RECORDS {
        return Ok(None);
    }
    let (held, rest) = batches.split_at(job.batches.len());
    aws.bucket
        .put(&objects::job_input(run_id, number), lines)
        .await?;
    let open = held.iter().flat_map(|batch| &batch.documents);
    let open = open.filter(|one| !one.status.is_settled());
    let ids = open.map(|one| one.document_id.as_str());
    progress::mark(aws, run_id, ids, DocumentStatus::Embedding, None).await?;
    // The job's row is written last: a repeated step writes the same records again.
    keep(aws, run_id, &job).await?;
    Ok(Some(rest))
}

/// The lines of a batch's records; `first` is the number of the first.
fn records_of(aws: &Aws, texts: &[String], first: usize) -> Vec<String> {
    let calls = texts.chunks(aws.bedrock.texts_per_call());
    let records = calls.enumerate().map(|(at, texts)| {
        let body = aws.bedrock.embed_body(texts, EmbedPurpose::Document);
        let record = json!({ "recordId": record_id(first + at), "modelInput": body });
        format!("{record}\n")
    });
    records.collect()
}

/// Eleven letters and digits, as Bedrock's own ids of records.
fn record_id(number: usize) -> String {
    format!("R{number:010}")
}

/// The number in a record's id; `None` for an id that is none of ours.
pub(super) fn record_number(id: &str) -> Option<usize> {
    id.strip_prefix('R')
        .filter(|digits| digits.len() == 10)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_records_come_back() {
        let check = |id: &str, expected: Option<usize>| assert_eq!(record_number(id), expected);
        for number in [0, 7, 49_999] {
            assert_eq!(record_id(number).len(), 11);
            check(&record_id(number), Some(number));
        }
        check("R7", None);
        check("S0000000007", None);
        check("R00000000xx", None);
        check("", None);
    }
}

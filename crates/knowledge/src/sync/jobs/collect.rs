//! Collect: what the jobs have written becomes what Embed would have made of it; what they have not, Embed makes.

use std::collections::BTreeMap;

use aws::Aws;
use aws::bedrock::{EmbedReply, Embeddings};
use aws::dynamo::keys;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::super::rows::{BatchRow, Billed, objects};
use super::super::{StepError, embedding, waves};
use super::check::ABANDONED;
use super::{BATCHES_IN_FLIGHT, JobBatch, JobRow, jobs_of, keep, output, waiting};
use crate::ledger::Account;

/// The step: takes what came of one job; with the last, writes the list of the batches that are left over.
pub(in crate::sync) async fn collect_jobs(aws: &Aws, run_id: &str) -> Result<Value, StepError> {
    let mut jobs = jobs_of(aws, run_id).await?;
    jobs.retain(|job| !job.collected);
    let more = jobs.len() > 1;
    if let Some(job) = jobs.into_iter().next() {
        let tokens = collect(aws, run_id, &job).await?;
        charge(aws, run_id, &job, tokens).await;
        let collected = JobRow {
            collected: true,
            ..job
        };
        keep(aws, run_id, &collected).await?;
    }
    let left_over = match more {
        true => Vec::new(),
        false => waiting(aws, run_id).await?,
    };
    let mut lines = String::new();
    for batch in &left_over {
        lines.push_str(&json!({ "batch_id": batch.batch_id }).to_string());
        lines.push('\n');
    }
    let key = objects::left_over(run_id);
    if !more {
        aws.bucket.put(&key, lines).await?;
    }
    Ok(json!({
        "run_id": run_id,
        "bucket": aws.bucket.name(),
        "left_over_key": key,
        "left_over": left_over.len(),
        "concurrency": aws.settings.ingest_concurrency,
        "more": more,
    }))
}

/// Charges what a job embedded, once all that came of it is kept: a step that was cut off before has charged nothing, and one
/// that is cut off after it charges under the same name and to the same day again, which changes nothing.
async fn charge(aws: &Aws, run_id: &str, job: &JobRow, tokens: u64) {
    if tokens > 0 {
        let space = keys::space_of(run_id).unwrap_or_default();
        // Rows of an earlier release do not say when their jobs ended.
        let ended_at_ms = job.ended_at_ms.unwrap_or(job.gathered_at_ms);
        let account = Account::of_job(aws, space, run_id, (job.number, ended_at_ms));
        account.embedded_by_jobs(tokens);
        account.close().await;
    }
}

/// Takes what came of one job; answers the tokens that it embedded, however often it is asked.
async fn collect(aws: &Aws, run_id: &str, job: &JobRow) -> Result<u64, StepError> {
    let Some(arn) = &job.arn else { return Ok(0) };
    // What is still written to is not read.
    if job.ended.as_deref() == Some(ABANDONED) {
        return Ok(0);
    }
    let job_id = arn.rsplit('/').next().unwrap_or_default();
    let key = format!(
        "{}{job_id}/{}.out",
        objects::job_output(run_id, job.number),
        objects::JOB_INPUT
    );
    let read = |reply: &Value| aws.bedrock.read_reply(reply).ok();
    let mut replies = output::replies(aws, &key, read).await?;
    tracing::info!(
        run_id,
        number = job.number,
        status = job.ended,
        records = job.records(),
        replies = replies.len(),
        "an embedding job was collected"
    );
    let mut first = 0;
    let mut parts = Vec::new();
    for batch in &job.batches {
        let end = first + batch.records as usize;
        let later = replies.split_off(&end);
        parts.push((batch, first, std::mem::replace(&mut replies, later)));
        first = end;
    }
    stream::iter(parts)
        .map(|(batch, first, replies)| take(aws, run_id, batch, first, replies))
        .buffer_unordered(BATCHES_IN_FLIGHT)
        .try_fold(0, async |sum: u64, tokens| Ok(sum + tokens))
        .await
}

/// Writes the part of a batch that has all of its vectors; the vectors of another are kept where Embed looks for them. Answers
/// the tokens of both.
async fn take(
    aws: &Aws,
    run_id: &str,
    batch: &JobBatch,
    first: usize,
    mut replies: BTreeMap<usize, EmbedReply>,
) -> Result<u64, StepError> {
    if replies.is_empty() {
        return Ok(0);
    }
    let key = keys::batch(run_id, &batch.batch_id);
    let row: Option<BatchRow> = aws.table.get(&key).await?;
    let row = match row {
        // A repeated step finds what it made.
        Some(row) if row.part_key.is_some() => return Ok(row.job_tokens),
        Some(row) => row,
        None => return Ok(0),
    };
    let (documents, texts) = embedding::read(aws, run_id, &row).await?;
    let per_record = aws.bedrock.texts_per_call();
    let (mut came, mut billed) = (Vec::new(), Billed::default());
    for (at, texts) in texts.chunks(per_record).enumerate() {
        let reply = replies.remove(&(first + at));
        let embeddings = reply.and_then(|reply| aws.bedrock.embeddings(texts, reply).ok());
        let Some(Embeddings { vectors, tokens }) = embeddings else {
            came.resize(came.len() + texts.len(), None);
            continue;
        };
        came.extend(vectors.into_iter().map(Some));
        billed.tokens += tokens;
        billed.by_jobs += tokens;
    }
    if came.iter().all(Option::is_some) {
        let vectors = came.into_iter().flatten().collect();
        embedding::write_part(aws, run_id, row, documents, vectors, billed).await?;
    } else {
        let key = objects::vectors(run_id, &batch.batch_id);
        waves::keep(aws, &texts, &key, came, billed).await?;
    }
    Ok(billed.by_jobs)
}

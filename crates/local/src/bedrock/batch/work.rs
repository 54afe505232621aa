//! A job at work: looked at, queued, then record by record until its end. It keeps nothing that is not on disk, so that a
//! job of a killed process is begun again and goes on behind its last record.
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::super::Bedrock;
use super::super::converse::Speech;
use super::super::models;
use super::super::routes::strike;
use super::super::wire::WireError;
use super::super::{invoke, routes};
use super::input::{self, InputFile, Record};
use super::output::{self, Answer, Draft, Reply};
use super::request::Invocation;
use super::store::{Counts, Job, Status};

/// Records that are asked for side by side.
const RECORDS_IN_FLIGHT: usize = 8;

/// How a job ends that does not end well, with AWS's message.
struct End(Status, Option<String>);

impl End {
    fn failed(message: impl Into<String>) -> Self {
        Self(Status::Failed, Some(message.into()))
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::failed(error.message)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::failed(format!("The output could not be written: {error}"))
    }
}

/// Starts work on a job. It ends with the job, or with the process.
pub(super) fn begin(bedrock: Bedrock, id: String) {
    tokio::spawn(async move {
        let End(status, message) = match work(&bedrock, &id).await {
            Ok(status) => End(status, None),
            Err(end) => end,
        };
        bedrock.batch.clear_drafts(&id);
        let now = (bedrock.batch.clock)();
        let ended = bedrock.batch.change(&id, |job| {
            (job.status, job.message, job.ended_ms) = (status, message, Some(now));
            Ok(())
        });
        if let Err(error) = ended {
            tracing::error!(id, %error, "the end of a batch job could not be told");
        }
    });
}

async fn work(bedrock: &Bedrock, id: &str) -> Result<Status, End> {
    let jobs = &bedrock.batch;
    let job = advance(bedrock, id, Status::Validating, None)?;
    let found = input::validated(jobs, &job).await;
    let (files, total) = found.map_err(End::failed)?;
    let mut counts = Counts {
        total,
        ..Counts::default()
    };
    let job = advance(bedrock, id, Status::Scheduled, Some(counts))?;
    // Armed to delay, it holds the job in the queue; armed with an error, it breaks the job.
    strike(bedrock, "ModelInvocationJob").await?;
    let turn = jobs.turn().await;
    if (jobs.clock)() >= job.expires_ms() {
        return Err(End(Status::Expired, None));
    }
    let job = advance(bedrock, id, Status::InProgress, Some(counts))?;
    let mut ended = Status::Completed;
    for (at, file) in files.iter().enumerate() {
        ended = process(bedrock, &job, (at, file), &mut counts).await?;
        if ended != Status::Completed {
            break;
        }
    }
    drop(turn);
    output::publish(jobs, &job, &files, &counts).await?;
    Ok(ended)
}

/// The job in its next status, unless somebody stops it.
fn advance(
    bedrock: &Bedrock,
    id: &str,
    status: Status,
    counts: Option<Counts>,
) -> Result<Job, End> {
    let mut stopped = false;
    let job = bedrock.batch.change(id, |job| {
        stopped = job.status == Status::Stopping;
        if !stopped {
            (job.status, job.counts) = (status, counts.or(job.counts));
        }
        Ok(())
    })?;
    match stopped {
        true => Err(End(Status::Stopped, None)),
        false => Ok(job),
    }
}

/// One file, from behind the records that are done; the status that the job is left in.
async fn process(
    bedrock: &Bedrock,
    job: &Job,
    (at, file): (usize, &InputFile),
    counts: &mut Counts,
) -> Result<Status, End> {
    let jobs = &bedrock.batch;
    let Some(s3) = &jobs.s3 else {
        return Err(End::failed("S3 is not connected to this Bedrock."));
    };
    let mut draft = Draft::open(jobs, job, at, counts).await?;
    let lines = input::lines(s3, file, jobs.quotas.line_bytes)
        .await
        .map_err(End::failed)?;
    let lines = stream::unfold(lines, async |mut lines| {
        let line = lines.next_line().await.transpose()?;
        Some((line, lines))
    });
    let records = lines
        .filter(|line| {
            let blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            std::future::ready(!blank)
        })
        .skip(usize::try_from(draft.lines).unwrap_or(usize::MAX))
        .map(|line| answered(bedrock, job, line));
    let mut records = std::pin::pin!(records.buffered(RECORDS_IN_FLIGHT));
    let mut ended = Status::Completed;
    while let Some(record) = records.next().await {
        let (id, model_input, reply) = record?;
        draft.add(&id, model_input, &reply, counts).await?;
        if !jobs.count(&job.id, *counts) {
            ended = Status::Stopped;
            break;
        }
        if (jobs.clock)() >= job.expires_ms() {
            ended = Status::PartiallyCompleted;
            break;
        }
    }
    draft.close().await?;
    Ok(ended)
}

/// A record with its reply. One without an id gets one, as at AWS.
async fn answered(
    bedrock: &Bedrock,
    job: &Job,
    line: std::io::Result<String>,
) -> Result<(String, Map<String, Value>, Reply), End> {
    let line = line.map_err(|error| End::failed(format!("The input cannot be read: {error}")))?;
    let record: Record = serde_json::from_str(&line)
        .map_err(|error| End::failed(format!("The input has changed: {error}")))?;
    let drawn = || ulid::Ulid::new().to_string()[15..].to_owned();
    let id = record.record_id.unwrap_or_else(drawn);
    let reply = ask(bedrock, job, &record.model_input).await;
    Ok((id, record.model_input, reply))
}

async fn ask(bedrock: &Bedrock, job: &Job, model_input: &Map<String, Value>) -> Reply {
    strike(bedrock, "ModelInvocationJobRecord").await?;
    let (model, body) = (&job.request.model_id, serde_json::to_vec(model_input));
    let body = body.unwrap_or_default().into();
    match job.request.model_invocation_type {
        Invocation::InvokeModel => {
            let request = invoke::read(models::resolve(model)?, &body)?;
            let vectors = routes::embeddings(bedrock, &request).await?;
            Ok(Answer {
                body: request.reply(&vectors),
                input_tokens: request.tokens() as u64,
                output_tokens: 0,
            })
        }
        Invocation::Converse => {
            let request = routes::read_converse(model, &body)?;
            let started = Instant::now();
            let speech = Speech::begin(bedrock, model, request, started).await?;
            let body = speech.whole(started).await?;
            let (input_tokens, output_tokens) = output::tokens(job, &Value::Null, &body);
            Ok(Answer {
                body,
                input_tokens,
                output_tokens,
            })
        }
    }
}

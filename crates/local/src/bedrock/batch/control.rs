//! CreateModelInvocationJob, GetModelInvocationJob, ListModelInvocationJobs, StopModelInvocationJob.
use aws_smithy_types::date_time::{DateTime, Format};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Bedrock;
use super::super::routes::strike;
use super::super::wire::{ErrorName, WireError, json_reply, paging, read_json};
use super::request::CreateRequest;
use super::store::{Job, Status};
use super::work;

type Shared = State<Bedrock>;

/// The paths of batch inference, without their trailing slash.
pub(in crate::bedrock) fn operations() -> [(&'static str, MethodRouter<Bedrock>); 4] {
    [
        (
            "/model-invocation-job",
            post(async |State(b): Shared, body: Bytes| replied(create(&b, &body).await)),
        ),
        (
            "/model-invocation-jobs",
            get(async |State(b): Shared, Query(query): Query<ListQuery>| {
                replied(list(&b, &query).await)
            }),
        ),
        (
            "/model-invocation-job/{job}",
            get(async |State(b): Shared, Path(job): Path<String>| replied(one(&b, &job).await)),
        ),
        (
            "/model-invocation-job/{job}/stop",
            post(async |State(b): Shared, Path(job): Path<String>| replied(stop(&b, &job).await)),
        ),
    ]
}

fn replied(result: Result<Value, WireError>) -> Response<Body> {
    match result {
        Ok(value) => json_reply(&value),
        Err(error) => error.into_response(),
    }
}

async fn create(bedrock: &Bedrock, body: &Bytes) -> Result<Value, WireError> {
    strike(bedrock, "CreateModelInvocationJob").await?;
    let request: CreateRequest = read_json(body)?;
    request.check()?;
    let (job, new) = bedrock.batch.create(request)?;
    if new {
        work::begin(bedrock.clone(), job.id.clone());
    }
    Ok(json!({ "jobArn": job.arn() }))
}

async fn one(bedrock: &Bedrock, identifier: &str) -> Result<Value, WireError> {
    strike(bedrock, "GetModelInvocationJob").await?;
    Ok(told(&bedrock.batch.get(identifier)?))
}

async fn stop(bedrock: &Bedrock, identifier: &str) -> Result<Value, WireError> {
    strike(bedrock, "StopModelInvocationJob").await?;
    bedrock.batch.change(identifier, |job| {
        if job.status.is_final() {
            let words = format!("The job is {:?} and cannot be stopped.", job.status);
            return Err(WireError::new(ErrorName::Conflict, words));
        }
        job.status = Status::Stopping;
        Ok(())
    })?;
    Ok(json!({}))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ListQuery {
    submit_time_after: Option<String>,
    submit_time_before: Option<String>,
    status_equals: Option<Status>,
    name_contains: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
    sort_by: Option<SortBy>,
    sort_order: Option<SortOrder>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum SortBy {
    CreationTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum SortOrder {
    Ascending,
    Descending,
}

async fn list(bedrock: &Bedrock, query: &ListQuery) -> Result<Value, WireError> {
    strike(bedrock, "ListModelInvocationJobs").await?;
    let (from, size) = paging(query.max_results, query.next_token.as_deref())?;
    let after = milliseconds(query.submit_time_after.as_deref())?;
    let before = milliseconds(query.submit_time_before.as_deref())?;
    // Of one order there is only one column.
    let (None | Some(SortBy::CreationTime)) = query.sort_by;
    let mut jobs = bedrock.batch.all();
    jobs.retain(|job| {
        let submitted = i64::try_from(job.submitted_ms).unwrap_or(i64::MAX);
        let name = query.name_contains.as_ref();
        query
            .status_equals
            .is_none_or(|status| job.status == status)
            && name.is_none_or(|name| job.request.job_name.contains(name.as_str()))
            && after.is_none_or(|after| submitted > after)
            && before.is_none_or(|before| submitted < before)
    });
    if query.sort_order != Some(SortOrder::Ascending) {
        jobs.reverse();
    }
    let shown: Vec<Value> = jobs.iter().skip(from).take(size).map(told).collect();
    let mut reply = json!({ "invocationJobSummaries": shown });
    if from.saturating_add(size) < jobs.len() {
        reply["nextToken"] = json!((from + size).to_string());
    }
    Ok(reply)
}

fn milliseconds(text: Option<&str>) -> Result<Option<i64>, WireError> {
    let Some(text) = text else { return Ok(None) };
    let time = DateTime::from_str(text, Format::DateTimeWithOffset)
        .map_err(|_| WireError::validation(format!("{text} is no time.")))?;
    let since = time.to_millis();
    let since = since.map_err(|_| WireError::validation(format!("{text} is out of range.")))?;
    Ok(Some(since))
}

fn time(epoch_ms: u64) -> String {
    let time = DateTime::from_millis(i64::try_from(epoch_ms).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_default()
}

/// A job as GetModelInvocationJob and ListModelInvocationJobs tell it.
fn told(job: &Job) -> Value {
    let request = &job.request;
    let mut told = json!({
        "jobArn": job.arn(),
        "jobName": request.job_name,
        "modelId": request.model_id,
        "roleArn": request.role_arn,
        "status": job.status,
        "submitTime": time(job.submitted_ms),
        "lastModifiedTime": time(job.modified_ms),
        "inputDataConfig": request.input_data_config,
        "outputDataConfig": request.output_data_config,
        "timeoutDurationInHours": request.timeout_duration_in_hours,
        "jobExpirationTime": time(job.expires_ms()),
        "modelInvocationType": request.model_invocation_type,
    });
    if let Some(token) = &request.client_request_token {
        told["clientRequestToken"] = json!(token);
    }
    if let Some(message) = &job.message {
        told["message"] = json!(message);
    }
    if let Some(ended) = job.ended_ms {
        told["endTime"] = json!(time(ended));
    }
    if let Some(counts) = job.counts {
        told["totalRecordCount"] = json!(counts.total);
        told["processedRecordCount"] = json!(counts.success + counts.error);
        told["successRecordCount"] = json!(counts.success);
        told["errorRecordCount"] = json!(counts.error);
    }
    told
}

//! Batch inference at half price: jobs of the embedding model over records in the bucket.

use aws_config::SdkConfig;
use aws_sdk_bedrock::Client;
use aws_sdk_bedrock::config::Builder;
use aws_sdk_bedrock::types::{
    ModelInvocationJobInputDataConfig, ModelInvocationJobOutputDataConfig,
    ModelInvocationJobS3InputDataConfig, ModelInvocationJobS3OutputDataConfig,
    ModelInvocationJobStatus, S3InputFormat,
};
use aws_smithy_types::retry::RetryConfig;

use crate::config::Settings;
use crate::{AwsError, Lazy, classify, lazily};

const SERVICE: &str = "Bedrock";

/// Hours that Bedrock lets a job have at the least. Source: Amazon Bedrock API Reference, CreateModelInvocationJob.
const LEAST_HOURS: u32 = 24;

/// The batch jobs of the embedding model. Nothing is tried again in here: who waits for a job asks again anyway.
#[derive(Clone, Debug)]
pub struct Jobs {
    client: Lazy<Client>,
    model: String,
    bucket: String,
    role_arn: Option<String>,
}

/// A job to start.
#[derive(Debug, Clone, Copy)]
pub struct JobOrder<'a> {
    /// 1 to 63 letters, digits and hyphens.
    pub name: &'a str,
    /// Letters and digits. The same token is the same job, however often it is ordered.
    pub token: &'a str,
    /// The object with the records.
    pub input_key: &'a str,
    /// Below it Bedrock makes a folder with the job's id.
    pub output_prefix: &'a str,
    /// Hours after which Bedrock gives the job up; 24 where it is less.
    pub hours: u32,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// In Bedrock's words.
    pub status: String,
    /// Whether nothing more will happen.
    pub ended: bool,
    /// Why it failed, where it did.
    pub message: Option<String>,
}

impl Jobs {
    pub(crate) fn new(sdk: &SdkConfig, settings: &Settings) -> Self {
        let config = Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            client: lazily(|| Client::from_conf(config)),
            model: settings.embed_model.clone(),
            bucket: settings.bucket.clone(),
            role_arn: settings.batch_role_arn.clone(),
        }
    }

    /// Whether there is a role that Bedrock can take to read and write the bucket.
    pub fn have_role(&self) -> bool {
        self.role_arn.is_some()
    }

    /// Starts a job; answers its ARN.
    ///
    /// # Errors
    /// [`AwsError::Busy`] also where too many jobs are under way.
    pub async fn start(&self, order: JobOrder<'_>) -> Result<String, AwsError> {
        let address = |key: &str| format!("s3://{}/{key}", self.bucket);
        let built = |error: aws_sdk_bedrock::error::BuildError| AwsError::Refused {
            service: SERVICE,
            detail: error.to_string(),
        };
        let input = ModelInvocationJobS3InputDataConfig::builder()
            .s3_input_format(S3InputFormat::Jsonl)
            .s3_uri(address(order.input_key))
            .build()
            .map_err(built)?;
        let output = ModelInvocationJobS3OutputDataConfig::builder()
            .s3_uri(address(order.output_prefix))
            .build()
            .map_err(built)?;
        let started = self
            .client
            .create_model_invocation_job()
            .job_name(order.name)
            .client_request_token(order.token)
            .set_role_arn(self.role_arn.clone())
            .model_id(&self.model)
            .input_data_config(ModelInvocationJobInputDataConfig::S3InputDataConfig(input))
            .output_data_config(ModelInvocationJobOutputDataConfig::S3OutputDataConfig(
                output,
            ))
            .timeout_duration_in_hours(
                i32::try_from(order.hours.max(LEAST_HOURS)).unwrap_or(i32::MAX),
            )
            .send()
            .await;
        Ok(started.map_err(sorted)?.job_arn)
    }

    /// How a job stands.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is none; else the service's error.
    pub async fn state(&self, job_arn: &str) -> Result<JobState, AwsError> {
        let reply = self
            .client
            .get_model_invocation_job()
            .job_identifier(job_arn)
            .send()
            .await
            .map_err(sorted)?;
        use ModelInvocationJobStatus as Status;
        let ended = matches!(
            reply.status(),
            Some(
                Status::Completed
                    | Status::PartiallyCompleted
                    | Status::Failed
                    | Status::Stopped
                    | Status::Expired
            )
        );
        Ok(JobState {
            status: reply.status().map_or("", Status::as_str).to_owned(),
            ended,
            message: reply.message().map(str::to_owned),
        })
    }

    /// Asks for the end of a job; one that has ended already is no error.
    ///
    /// # Errors
    /// The service's error.
    pub async fn stop(&self, job_arn: &str) -> Result<(), AwsError> {
        let stopped = self
            .client
            .stop_model_invocation_job()
            .job_identifier(job_arn)
            .send()
            .await;
        match stopped.map_err(sorted) {
            Ok(_) | Err(AwsError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Sorts what the control plane says of jobs.
fn sorted<E>(
    error: aws_sdk_bedrock::error::SdkError<E, aws_sdk_bedrock::config::http::HttpResponse>,
) -> AwsError
where
    E: aws_sdk_bedrock::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match classify(SERVICE, error) {
        // The quota of jobs that are under way: one of them will end.
        AwsError::Refused { service, detail }
            if detail.starts_with("ServiceQuotaExceededException") =>
        {
            AwsError::Busy { service, detail }
        }
        AwsError::Refused { detail, .. } if detail.starts_with("ConflictException") => {
            AwsError::Conflict { detail }
        }
        AwsError::Refused { detail, .. } if detail.starts_with("ResourceNotFoundException") => {
            AwsError::Missing { what: detail }
        }
        other => other,
    }
}

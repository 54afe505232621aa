//! What fills a Bedrock knowledge base: ingestion jobs of a data source, and documents that are sent directly. No SDK type
//! leaves this module.
//!
//! The SDK's retries are off: what throttles here throttles for seconds, and the state machine waits better than a function.

use aws_config::SdkConfig;
use aws_sdk_bedrockagent::Client;
use aws_sdk_bedrockagent::config::Builder;
use aws_sdk_bedrockagent::error::ProvideErrorMetadata;
use aws_sdk_bedrockagent::types as sdk;
use aws_smithy_types::error::operation::BuildError;
use aws_smithy_types::retry::RetryConfig;
use serde::{Deserialize, Serialize};

use crate::{AwsError, Lazy, classify, lazily};

const SERVICE: &str = "Bedrock Knowledge Bases";
/// Documents of one call that sends, deletes or asks for some. Source: Amazon Bedrock API Reference.
pub const DOCUMENTS_PER_CALL: usize = 10;
/// Documents of one page of a listing. Source: Amazon Bedrock API Reference.
const PAGE: i32 = 1_000;
/// Jobs that are looked at for one that has not ended: the newest.
const JOBS: i32 = 10;
/// The longest URI that direct ingestion takes, in characters after `s3://`. Source: Amazon Bedrock API Reference,
/// `S3Location`.
const URI_CHARACTERS: usize = 128;

/// The client of the data sources of Bedrock's knowledge bases.
#[derive(Clone, Debug)]
pub struct DataSources {
    client: Lazy<Client>,
}

/// A data source of a knowledge base, by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSource<'a> {
    pub knowledge_base: &'a str,
    pub id: &'a str,
}

/// Where a data source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// The objects of a bucket below a prefix, which may be empty.
    Bucket { name: String, prefix: String },
    /// A source of another kind; the connector of a managed knowledge base among them.
    Other { kind: String },
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The id of the job, which the same token started before or this call did now.
    Started(String),
    /// Another job of the knowledge base has not ended; in Bedrock's words.
    Occupied(String),
    /// Too many starts in the account; in Bedrock's words.
    Throttled(String),
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestionState {
    pub progress: IngestionProgress,
    pub counters: IngestionCounters,
    pub failure_reasons: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestionProgress {
    UnderWay,
    Complete,
    Failed,
    Stopped,
}

/// What a job has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestionCounters {
    pub scanned: u64,
    pub new: u64,
    pub modified: u64,
    pub metadata_modified: u64,
    pub deleted: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// How a document of a knowledge base stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    pub uri: String,
    /// As Bedrock names it, such as `INDEXED`.
    pub status: String,
    pub reason: Option<String>,
}

impl DocumentState {
    /// Whether nothing more will happen to it by itself.
    pub fn is_settled(&self) -> bool {
        !matches!(
            self.status.as_str(),
            "PENDING" | "STARTING" | "IN_PROGRESS" | "DELETING" | "DELETE_IN_PROGRESS"
        )
    }

    pub fn is_indexed(&self) -> bool {
        self.status == "INDEXED"
    }

    pub fn is_gone(&self) -> bool {
        self.status == "NOT_FOUND"
    }
}

/// Whether direct ingestion takes the object at this URI.
pub fn takes_directly(uri: &str) -> bool {
    let rest = uri.strip_prefix("s3://");
    rest.is_some_and(|rest| rest.chars().count() <= URI_CHARACTERS)
}

impl DataSources {
    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let config = Builder::from(sdk).retry_config(RetryConfig::disabled());
        Self {
            client: lazily(|| Client::from_conf(config.build())),
        }
    }

    /// Where a data source reads.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is no such knowledge base or data source.
    pub async fn reads(&self, source: DataSource<'_>) -> Result<Reads, AwsError> {
        let reply = self
            .client
            .get_data_source()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        let found = reply
            .data_source
            .and_then(|found| found.data_source_configuration)
            .ok_or_else(|| damaged("a data source without a configuration"))?;
        let Some(s3) = found.s3_configuration else {
            return Ok(Reads::Other {
                kind: found.r#type.as_str().to_owned(),
            });
        };
        let name = s3.bucket_arn.rsplit(':').next().unwrap_or_default();
        let prefixes = s3.inclusion_prefixes.unwrap_or_default();
        Ok(Reads::Bucket {
            name: name.to_owned(),
            prefix: prefixes.into_iter().next().unwrap_or_default(),
        })
    }

    /// Starts an ingestion job. The same `token` (33 to 256 letters, digits and `-`) starts the same job.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is no such knowledge base or data source.
    pub async fn start_job(&self, source: DataSource<'_>, token: &str) -> Result<Start, AwsError> {
        let reply = self
            .client
            .start_ingestion_job()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .client_token(token)
            .send()
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                let words = error.message().unwrap_or_default().to_owned();
                return match error.code().unwrap_or_default() {
                    "ConflictException" => Ok(Start::Occupied(words)),
                    // Five jobs of an account at once is a quota too: it passes when one of them ends.
                    "ThrottlingException" | "ServiceQuotaExceededException" => {
                        Ok(Start::Throttled(words))
                    }
                    _ => Err(missing(source, classify(SERVICE, error))),
                };
            }
        };
        let job = reply.ingestion_job;
        let job = job.ok_or_else(|| damaged("a start without a job"))?;
        Ok(Start::Started(job.ingestion_job_id))
    }

    /// How a job stands.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is no such job.
    pub async fn job(
        &self,
        source: DataSource<'_>,
        job_id: &str,
    ) -> Result<IngestionState, AwsError> {
        let reply = self
            .client
            .get_ingestion_job()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .ingestion_job_id(job_id)
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        let job = reply.ingestion_job;
        let job = job.ok_or_else(|| damaged("a reply without its job"))?;
        Ok(IngestionState {
            progress: progress(&job.status),
            counters: job.statistics.map(counters).unwrap_or_default(),
            failure_reasons: job.failure_reasons.unwrap_or_default(),
        })
    }

    /// The job of the data source that has not ended, if one has not.
    ///
    /// # Errors
    /// The service's error.
    pub async fn active_job(&self, source: DataSource<'_>) -> Result<Option<String>, AwsError> {
        let newest = sdk::IngestionJobSortBy::builder()
            .attribute(sdk::IngestionJobSortByAttribute::StartedAt)
            .order(sdk::SortOrder::Descending)
            .build()
            .map_err(unbuilt)?;
        let reply = self
            .client
            .list_ingestion_jobs()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .sort_by(newest)
            .max_results(JOBS)
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        let active = reply
            .ingestion_job_summaries
            .into_iter()
            .find(|job| progress(&job.status) == IngestionProgress::UnderWay);
        Ok(active.map(|job| job.ingestion_job_id))
    }

    /// Sends up to [`DOCUMENTS_PER_CALL`] objects of a bucket, each with the metadata file beside it. They are taken, not
    /// brought in yet.
    ///
    /// # Errors
    /// The service's error.
    pub async fn ingest(
        &self,
        source: DataSource<'_>,
        token: &str,
        uris: &[String],
    ) -> Result<Vec<DocumentState>, AwsError> {
        let documents: Vec<sdk::KnowledgeBaseDocument> = uris
            .iter()
            .map(|uri| document(uri))
            .collect::<Result<_, _>>()?;
        let reply = self
            .client
            .ingest_knowledge_base_documents()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .client_token(token)
            .set_documents(Some(documents))
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        Ok(states(reply.document_details.unwrap_or_default()))
    }

    /// Takes up to [`DOCUMENTS_PER_CALL`] objects out.
    ///
    /// # Errors
    /// The service's error.
    pub async fn delete(
        &self,
        source: DataSource<'_>,
        token: &str,
        uris: &[String],
    ) -> Result<Vec<DocumentState>, AwsError> {
        let reply = self
            .client
            .delete_knowledge_base_documents()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .client_token(token)
            .set_document_identifiers(Some(identifiers(uris)?))
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        Ok(states(reply.document_details.unwrap_or_default()))
    }

    /// How up to [`DOCUMENTS_PER_CALL`] objects stand.
    ///
    /// # Errors
    /// The service's error.
    pub async fn documents(
        &self,
        source: DataSource<'_>,
        uris: &[String],
    ) -> Result<Vec<DocumentState>, AwsError> {
        let reply = self
            .client
            .get_knowledge_base_documents()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .set_document_identifiers(Some(identifiers(uris)?))
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        Ok(states(reply.document_details.unwrap_or_default()))
    }

    /// One page of all documents of a data source, and where the next one begins.
    ///
    /// # Errors
    /// The service's error.
    pub async fn page_of_documents(
        &self,
        source: DataSource<'_>,
        next: Option<String>,
    ) -> Result<(Vec<DocumentState>, Option<String>), AwsError> {
        let reply = self
            .client
            .list_knowledge_base_documents()
            .knowledge_base_id(source.knowledge_base)
            .data_source_id(source.id)
            .max_results(PAGE)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| missing(source, classify(SERVICE, error)))?;
        Ok((states(reply.document_details), reply.next_token))
    }
}

fn progress(status: &sdk::IngestionJobStatus) -> IngestionProgress {
    match status.as_str() {
        "COMPLETE" => IngestionProgress::Complete,
        "FAILED" => IngestionProgress::Failed,
        "STOPPED" => IngestionProgress::Stopped,
        _ => IngestionProgress::UnderWay,
    }
}

fn counters(statistics: sdk::IngestionJobStatistics) -> IngestionCounters {
    let count = |number: i64| number.max(0) as u64;
    IngestionCounters {
        scanned: count(statistics.number_of_documents_scanned),
        new: count(statistics.number_of_new_documents_indexed),
        modified: count(statistics.number_of_modified_documents_indexed),
        metadata_modified: count(statistics.number_of_metadata_documents_modified),
        deleted: count(statistics.number_of_documents_deleted),
        failed: count(statistics.number_of_documents_failed),
        skipped: count(statistics.number_of_documents_skipped),
    }
}

fn document(uri: &str) -> Result<sdk::KnowledgeBaseDocument, AwsError> {
    let location = sdk::S3Location::builder().uri(uri).build();
    let content = sdk::S3Content::builder()
        .s3_location(location.map_err(unbuilt)?)
        .build();
    let content = sdk::DocumentContent::builder()
        .data_source_type(sdk::ContentDataSourceType::S3)
        .s3(content)
        .build()
        .map_err(unbuilt)?;
    let beside = sdk::CustomS3Location::builder()
        .uri(format!("{uri}.metadata.json"))
        .build();
    let metadata = sdk::DocumentMetadata::builder()
        .r#type(sdk::MetadataSourceType::S3Location)
        .s3_location(beside.map_err(unbuilt)?)
        .build()
        .map_err(unbuilt)?;
    Ok(sdk::KnowledgeBaseDocument::builder()
        .content(content)
        .metadata(metadata)
        .build())
}

fn identifiers(uris: &[String]) -> Result<Vec<sdk::DocumentIdentifier>, AwsError> {
    let identifier = |uri: &String| {
        let location = sdk::S3Location::builder().uri(uri).build()?;
        sdk::DocumentIdentifier::builder()
            .data_source_type(sdk::ContentDataSourceType::S3)
            .s3(location)
            .build()
    };
    uris.iter()
        .map(identifier)
        .collect::<Result<_, _>>()
        .map_err(unbuilt)
}

fn states(details: Vec<sdk::KnowledgeBaseDocumentDetail>) -> Vec<DocumentState> {
    let state = |detail: sdk::KnowledgeBaseDocumentDetail| {
        Some(DocumentState {
            uri: detail.identifier?.s3?.uri,
            status: detail.status.as_str().to_owned(),
            reason: detail.status_reason,
        })
    };
    details.into_iter().filter_map(state).collect()
}

fn missing(source: DataSource<'_>, error: AwsError) -> AwsError {
    match error {
        AwsError::Refused { detail, .. } if detail.starts_with("ResourceNotFound") => {
            let DataSource { knowledge_base, id } = source;
            AwsError::Missing {
                what: format!("the data source {id} of the knowledge base {knowledge_base}"),
            }
        }
        other => other,
    }
}

fn damaged(what: &str) -> AwsError {
    AwsError::Damaged {
        detail: format!("{SERVICE} answered {what}"),
    }
}

fn unbuilt(error: BuildError) -> AwsError {
    AwsError::Refused {
        service: SERVICE,
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_final_is_settled() {
        let check = |status: &str, settled: bool| {
            let state = DocumentState {
                uri: String::new(),
                status: status.to_owned(),
                reason: None,
            };
            assert_eq!(state.is_settled(), settled, "{status}");
        };
        for status in [
            "INDEXED",
            "PARTIALLY_INDEXED",
            "FAILED",
            "METADATA_PARTIALLY_INDEXED",
            "METADATA_UPDATE_FAILED",
            "IGNORED",
            "NOT_FOUND",
            "A_NEW_ONE",
        ] {
            check(status, true);
        }
        for status in [
            "PENDING",
            "STARTING",
            "IN_PROGRESS",
            "DELETING",
            "DELETE_IN_PROGRESS",
        ] {
            check(status, false);
        }
    }

    #[test]
    fn direct_ingestion_takes_short_uris_only() {
        assert!(takes_directly(&format!("s3://{}", "x".repeat(128))));
        assert!(!takes_directly(&format!("s3://{}", "x".repeat(129))));
        assert!(!takes_directly("https://x"));
    }
}

//! Ingestion jobs: StartIngestionJob, GetIngestionJob, ListIngestionJobs, StopIngestionJob, and the work itself.
//!
//! A job lists the objects below its data source's prefix, brings in those that are new or changed, or that failed before,
//! and takes out those that are gone. What is sent or deleted directly meanwhile counts, and not what the job found. A fault that only delays holds it for as long as it is armed: `IngestDocument`
//! before each document, `IngestionJob` before its end.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use aws::s3::Listed;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Bedrock;
use super::super::agents::rules::{self, PageRequest};
use super::super::wire::{WireError, read_json};
use super::base::Embedder;
use super::limits::Limited;
use super::reading::{self, METADATA_ENDING, Manner, Raw, Refusal};
use super::record::{
    DataSource, Document, DocumentStatus, Identifier, Job, JobStatus, SourceKind, Statistics,
};
use super::store::{Bases, Place, job_of};

/// Files that one failure reason names.
const NAMED_FILES: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartRequest {
    client_token: Option<String>,
    description: Option<String>,
}

pub(super) fn start(bedrock: &Bedrock, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    let bases = &bedrock.bases;
    bases.limits.count(Limited::JobStarts, Instant::now())?;
    let request: StartRequest = read_json(body)?;
    rules::client_token(request.client_token.as_deref())?;
    rules::length("description", request.description.as_deref(), 1, 200)?;
    let (job, is_new) = bases.change(&place.0, |base| {
        let active = base.sources.iter().find_map(|source| {
            let job = source.jobs.iter().find(|job| !job.status.is_final())?;
            Some((source.id.clone(), job.id.clone()))
        });
        let mut sources = base.sources.iter_mut();
        let source = sources.find(|source| source.id == place.1);
        let source = source.ok_or_else(|| super::store::unknown_source(place))?;
        if source.configuration.kind == SourceKind::Custom {
            return Err(WireError::validation(
                "A custom data source is not synced; use IngestKnowledgeBaseDocuments.",
            ));
        }
        let before =
            |job: &&Job| request.client_token.is_some() && job.client_token == request.client_token;
        if let Some(job) = source.jobs.iter().find(before) {
            return Ok((job.clone(), false));
        }
        if let Some((other, job)) = active {
            return Err(rules::conflict(format!(
                "Knowledge base {} has an ongoing ingestion job: {job} of data source {other}.",
                place.0
            )));
        }
        let at = rules::now();
        let job = Job {
            id: rules::new_id(),
            description: request.description,
            status: JobStatus::Starting,
            statistics: Statistics::default(),
            failure_reasons: Vec::new(),
            client_token: request.client_token,
            started_at: at.clone(),
            updated_at: at,
        };
        source.jobs.push(job.clone());
        Ok((job, true))
    })?;
    if is_new {
        spawn(bedrock, (place.clone(), job.id.clone()));
    }
    Ok(job.wire(place))
}

pub(super) fn get(bases: &Bases, place: &Place, id: &str) -> Result<Value, WireError> {
    bases.look_at_source(place, |source| {
        let mut source = source.clone();
        Ok(job_of(&mut source, place, id)?.wire(place))
    })
}

pub(super) fn stop(bases: &Bases, place: &Place, id: &str) -> Result<Value, WireError> {
    bases.change_source(place, |source| {
        let job = job_of(source, place, id)?;
        if job.status.is_final() {
            return Err(rules::conflict(format!(
                "Ingestion job {id} has ended already."
            )));
        }
        job.status = JobStatus::Stopping;
        job.updated_at = rules::now();
        Ok(job.wire(place))
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListRequest {
    #[serde(default)]
    filters: Vec<JobFilter>,
    sort_by: Option<SortBy>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFilter {
    attribute: String,
    operator: String,
    values: Vec<JobStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SortBy {
    attribute: String,
    order: String,
}

pub(super) fn list(bases: &Bases, place: &Place, body: &Bytes) -> Result<Value, WireError> {
    let request: ListRequest = read_json(body)?;
    if let Some(filter) = request.filters.first()
        && (filter.attribute != "STATUS" || filter.operator != "EQ")
    {
        return Err(WireError::validation("A filter is STATUS EQ and values."));
    }
    let mut jobs = bases.look_at_source(place, |source| Ok(source.jobs.clone()))?;
    jobs.retain(|job| {
        let wanted = |filter: &JobFilter| filter.values.contains(&job.status);
        request.filters.iter().all(wanted)
    });
    let (by_status, ascending) = match &request.sort_by {
        Some(sort) => (sort.attribute == "STATUS", sort.order == "ASCENDING"),
        None => (false, false),
    };
    match by_status {
        true => jobs.sort_by_key(|job| json!(job.status).to_string()),
        false => jobs.sort_by(|a, b| (&a.started_at, &a.id).cmp(&(&b.started_at, &b.id))),
    }
    if !ascending {
        jobs.reverse();
    }
    let rows = jobs.iter().map(|job| job.summary(place)).collect();
    let page = PageRequest {
        max_results: request.max_results,
        next_token: request.next_token,
    };
    page.page("ingestionJobSummaries", rows)
}

/// Begins the work on a job that was noted.
pub(super) fn spawn(bedrock: &Bedrock, (place, id): (Place, String)) {
    let bedrock = bedrock.clone();
    tokio::spawn(async move {
        let work = Work {
            bedrock: &bedrock,
            place: &place,
            id: &id,
        };
        work.run().await;
    });
}

/// A job at work.
struct Work<'a> {
    bedrock: &'a Bedrock,
    place: &'a Place,
    id: &'a str,
}

/// What a job found of a document: its object, and the ETag of its metadata file.
struct Found {
    object: Listed,
    metadata_etag: Option<String>,
}

impl Found {
    fn version(&self) -> String {
        let metadata = self.metadata_etag.as_deref().unwrap_or("none");
        format!("{}-{metadata}", self.object.etag)
    }
}

impl Work<'_> {
    async fn run(&self) {
        self.note(|job| {
            if job.status == JobStatus::Starting {
                job.status = JobStatus::InProgress;
            }
            (job.statistics, job.failure_reasons) = (Statistics::default(), Vec::new());
        });
        let outcome = match self.sync().await {
            Ok(()) => self.hold("IngestionJob").await,
            Err(reason) => Err(reason),
        };
        self.note(|job| {
            job.status = match (&outcome, job.status) {
                (_, JobStatus::Stopping) => JobStatus::Stopped,
                (Ok(()), _) => JobStatus::Complete,
                (Err(_), _) => JobStatus::Failed,
            };
            job.failure_reasons.extend(outcome.err());
        });
        if let Err(error) = self.bedrock.bases.keep(&self.place.0) {
            tracing::error!(%error, "an ingestion job could not be kept");
        }
    }

    /// Waits while a fault holds what is named so.
    async fn hold(&self, operation: &str) -> Result<(), String> {
        held(self.bedrock, operation, || self.is_stopping()).await
    }

    fn note(&self, change: impl FnOnce(&mut Job)) {
        self.bedrock.bases.note(self.place, |source| {
            if let Ok(job) = job_of(source, self.place, self.id) {
                change(job);
                job.updated_at = rules::now();
            }
        });
    }

    fn is_stopping(&self) -> bool {
        let status = self.bedrock.bases.look_at_source(self.place, |source| {
            let job = source.jobs.iter().find(|job| job.id == self.id);
            Ok(job.map(|job| job.status))
        });
        // Its knowledge base is gone, or somebody stops it.
        !matches!(status, Ok(Some(JobStatus::InProgress)))
    }

    fn is_waiting(&self, key: &str) -> bool {
        let waiting = self.bedrock.bases.look_at_source(self.place, |source| {
            Ok(source.documents.get(key).is_some_and(Document::is_waiting))
        });
        waiting.unwrap_or_default()
    }

    async fn sync(&self) -> Result<(), String> {
        let (source, manner) = self.source()?;
        let found = self.list(&source).await?;
        self.note(|job| {
            job.statistics.number_of_documents_scanned = found.len() as u64;
            let metadata = found.values().filter(|one| one.metadata_etag.is_some());
            job.statistics.number_of_metadata_documents_scanned = metadata.count() as u64;
        });
        let mut refused: BTreeMap<DocumentStatus, Vec<String>> = BTreeMap::new();
        for (uri, found) in &found {
            if self.is_stopping() {
                return Ok(());
            }
            let before = source.documents.get(uri);
            let unchanged = before.is_some_and(|document| {
                document.status == DocumentStatus::Indexed
                    && document.version.as_deref() == Some(&found.version())
            });
            if unchanged {
                continue;
            }
            let _turn = self.bedrock.bases.turn().await;
            if self.is_waiting(uri) {
                continue;
            }
            if let Err(refusal) = self.bring_in(&manner, uri, found, before).await {
                refused.entry(refusal.status).or_default().push(uri.clone());
            }
        }
        self.take_out(&source, found.keys().collect()).await;
        self.note(|job| job.failure_reasons = reasons(&refused));
        Ok(())
    }

    fn source(&self) -> Result<(DataSource, Manner), String> {
        manner(&self.bedrock.bases, self.place).map_err(|error| error.message)
    }

    /// The documents below the data source's prefix, by URI.
    async fn list(&self, source: &DataSource) -> Result<BTreeMap<String, Found>, String> {
        let (Some(s3), Some(bases)) = (
            &source.configuration.s3_configuration,
            &self.bedrock.knowledge_bases,
        ) else {
            return Err("S3 is not connected to this Bedrock".to_owned());
        };
        let listed = bases.bucket(s3.bucket()).list(s3.prefix()).await;
        let listed = listed
            .map_err(|error| format!("The bucket {} cannot be listed: {error}", s3.bucket()))?;
        let uri = |key: &str| format!("s3://{}/{key}", s3.bucket());
        let (metadata, documents): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .filter(|object| !object.key.ends_with('/'))
            .partition(|object| object.key.ends_with(METADATA_ENDING));
        let mut etags: BTreeMap<String, String> = metadata
            .into_iter()
            .map(|object| (object.key, object.etag))
            .collect();
        Ok(documents
            .into_iter()
            .map(|object| {
                let metadata_etag = etags.remove(&format!("{}{METADATA_ENDING}", object.key));
                let found = Found {
                    metadata_etag,
                    object,
                };
                (uri(&found.object.key), found)
            })
            .collect())
    }

    async fn bring_in(
        &self,
        manner: &Manner,
        uri: &str,
        found: &Found,
        before: Option<&Document>,
    ) -> Result<(), Refusal> {
        let identifier = Identifier::s3(uri.to_owned());
        let key = identifier.key().to_owned();
        self.bedrock.bases.note(self.place, |source| {
            let document = Document::new(identifier.clone(), DocumentStatus::InProgress);
            source.documents.insert(key.clone(), document);
        });
        let read = match self.hold("IngestDocument").await {
            Ok(()) => self.read(manner, uri, found).await,
            Err(words) => Err(Refusal::failed(words)),
        };
        let mut after = Document::new(identifier, DocumentStatus::Indexed);
        let outcome = match read {
            Ok(document) => {
                self.bedrock.bases.put_passages(self.place, &key, document);
                after.version = Some(found.version());
                Ok(())
            }
            Err(refusal) => {
                after.status = refusal.status;
                after.reason = Some(refusal.reason.clone());
                Err(refusal)
            }
        };
        self.bedrock.bases.note(self.place, |source| {
            let current = source.documents.get(&key).map(|document| document.status);
            if current == Some(DocumentStatus::InProgress) {
                source.documents.insert(key, after);
            }
        });
        let was_indexed = before.is_some_and(|document| document.status == DocumentStatus::Indexed);
        self.note(|job| {
            let statistics = &mut job.statistics;
            match (&outcome, was_indexed) {
                (Ok(()), false) => statistics.number_of_new_documents_indexed += 1,
                (Ok(()), true) => statistics.number_of_modified_documents_indexed += 1,
                (Err(_), _) => statistics.number_of_documents_failed += 1,
            }
        });
        outcome
    }

    async fn read(
        &self,
        manner: &Manner,
        uri: &str,
        found: &Found,
    ) -> Result<retrieval::SegmentDocument, Refusal> {
        let metadata = match found.metadata_etag {
            Some(_) => reading::metadata(self.bedrock, &format!("{uri}{METADATA_ENDING}")).await?,
            None => BTreeMap::new(),
        };
        let (bytes, _) = reading::object(self.bedrock, uri).await?;
        let raw = Raw {
            bytes,
            uri: uri.to_owned(),
            metadata,
        };
        reading::read(self.bedrock, manner, raw).await
    }

    /// Removes what is no object below the prefix any more.
    async fn take_out(&self, source: &DataSource, found: BTreeSet<&String>) {
        let _turn = self.bedrock.bases.turn().await;
        let gone = source
            .documents
            .iter()
            .filter(|(key, _)| !found.contains(key));
        for (key, before) in gone {
            let mut removed = None;
            self.bedrock.bases.note(self.place, |source| {
                let current = source.documents.get(key);
                if current.is_some_and(|current| current.updated_at == before.updated_at) {
                    removed = source.documents.remove(key);
                }
            });
            if removed.is_some() {
                self.bedrock.bases.drop_passages(self.place, Some(key));
                self.note(|job| job.statistics.number_of_documents_deleted += 1);
            }
        }
    }
}

/// The data source, and how its documents are read.
pub(super) fn manner(bases: &Bases, place: &Place) -> Result<(DataSource, Manner), WireError> {
    let embedder = bases.look(&place.0, |base| Embedder::of(&base.configuration))?;
    let source = bases.look_at_source(place, |source| Ok(source.clone()))?;
    let chunking = source.chunking.clone();
    Ok((source, Manner { embedder, chunking }))
}

/// Waits while a fault holds `operation`, unless the work is to stop.
///
/// # Errors
/// The words of a fault that has an error.
pub(super) async fn held(
    bedrock: &Bedrock,
    operation: &str,
    is_stopping: impl Fn() -> bool,
) -> Result<(), String> {
    loop {
        let strike = bedrock.faults.strike(operation);
        if let Some(error) = strike.error {
            return Err(error.message);
        }
        if strike.delay.is_zero() || is_stopping() {
            return Ok(());
        }
        tokio::time::sleep(strike.delay).await;
    }
}

/// What a job says of the documents that it did not bring in, by what became of them.
fn reasons(refused: &BTreeMap<DocumentStatus, Vec<String>>) -> Vec<String> {
    let told = refused.iter().map(|(status, uris)| {
        let verb = match status {
            DocumentStatus::Ignored => "Ignored",
            _ => "Failed to ingest",
        };
        let mut files = uris[..uris.len().min(NAMED_FILES)].join(", ");
        if uris.len() > NAMED_FILES {
            files.push_str(", …");
        }
        format!(
            "Encountered error: {verb} {} files. [Files: {files}]. GetKnowledgeBaseDocuments tells the reasons.",
            uris.len()
        )
    });
    told.collect()
}

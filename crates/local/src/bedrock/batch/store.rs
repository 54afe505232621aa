//! The jobs there are: one JSON file a job, replaced whole, so that a killed process leaves the old one or the new one.
//! Counts of a job at work are kept in memory; it counts anew when it is gone on with.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::super::guardrail::now_ms;
use super::super::wire::{ErrorName, WireError};
use super::BatchQuotas;
use super::request::CreateRequest;
use crate::s3::S3;
use crate::template::{ACCOUNT, REGION};

const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    Submitted,
    Validating,
    Scheduled,
    InProgress,
    Completed,
    PartiallyCompleted,
    Failed,
    Stopping,
    Stopped,
    Expired,
}

impl Status {
    pub(super) fn is_final(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::PartiallyCompleted
                | Self::Failed
                | Self::Stopped
                | Self::Expired
        )
    }
}

/// Records of a job, and tokens of those that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) success: u64,
    pub(super) error: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) request: CreateRequest,
    pub(super) status: Status,
    pub(super) message: Option<String>,
    pub(super) submitted_ms: u64,
    pub(super) modified_ms: u64,
    pub(super) ended_ms: Option<u64>,
    /// Once the job was validated.
    pub(super) counts: Option<Counts>,
}

impl Job {
    pub(super) fn arn(&self) -> String {
        format!(
            "arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/{}",
            self.id
        )
    }

    pub(super) fn expires_ms(&self) -> u64 {
        let hours = u64::from(self.request.timeout_duration_in_hours);
        self.submitted_ms.saturating_add(hours * HOUR_MS)
    }
}

/// Milliseconds since 1970.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The jobs. Clones share them.
#[derive(Clone)]
pub(in crate::bedrock) struct Jobs {
    /// Without a folder jobs live in memory only, and without objects they fail.
    folder: Option<PathBuf>,
    pub(super) s3: Option<S3>,
    pub(super) quotas: BatchQuotas,
    pub(super) clock: Clock,
    jobs: Arc<Mutex<BTreeMap<String, Job>>>,
    turn: Arc<Turn<()>>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            folder: None,
            s3: None,
            quotas: BatchQuotas::default(),
            clock: Arc::new(now_ms),
            jobs: Arc::default(),
            turn: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    /// Reads the jobs of `folder`.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a file in it that is no job; the message names the file.
    pub(super) fn open(folder: &Path, s3: S3, quotas: BatchQuotas) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut jobs = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let job: Job = serde_json::from_slice(&std::fs::read(&path)?)
                .map_err(|error| std::io::Error::other(format!("{}: {error}", path.display())))?;
            jobs.insert(job.id.clone(), job);
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
            s3: Some(s3),
            quotas,
            jobs: Arc::new(Mutex::new(jobs)),
            ..Self::default()
        })
    }

    /// Adds a job; an earlier one where its token was used before, and `true` where it is new.
    pub(super) fn create(&self, request: CreateRequest) -> Result<(Job, bool), WireError> {
        let mut jobs = self.lock();
        let token = request.client_request_token.as_ref();
        let same =
            |job: &&Job| token.is_some() && job.request.client_request_token.as_ref() == token;
        if let Some(job) = jobs.values().find(same) {
            return Ok((job.clone(), false));
        }
        let now = (self.clock)();
        let job = Job {
            // AWS's ids have twelve of [a-z0-9].
            id: ulid::Ulid::new().to_string()[14..].to_lowercase(),
            request,
            status: Status::Submitted,
            message: None,
            submitted_ms: now,
            modified_ms: now,
            ended_ms: None,
            counts: None,
        };
        self.write(&job)?;
        jobs.insert(job.id.clone(), job.clone());
        Ok((job, true))
    }

    /// A job by id or ARN.
    pub(super) fn get(&self, identifier: &str) -> Result<Job, WireError> {
        let jobs = self.lock();
        jobs.get(id_of(identifier)).cloned().ok_or_else(missing)
    }

    /// All jobs, oldest first.
    pub(super) fn all(&self) -> Vec<Job> {
        let mut all: Vec<Job> = self.lock().values().cloned().collect();
        all.sort_by(|a, b| (a.submitted_ms, &a.id).cmp(&(b.submitted_ms, &b.id)));
        all
    }

    /// The ids of jobs under way, oldest first.
    pub(super) fn unended(&self) -> Vec<String> {
        let all = self.all().into_iter();
        let open = all.filter(|job| !job.status.is_final());
        open.map(|job| job.id).collect()
    }

    /// Changes a job: all of `change`, kept on disk, or nothing of it.
    pub(super) fn change(
        &self,
        id: &str,
        change: impl FnOnce(&mut Job) -> Result<(), WireError>,
    ) -> Result<Job, WireError> {
        let mut jobs = self.lock();
        let mut job = jobs.get(id_of(id)).cloned().ok_or_else(missing)?;
        change(&mut job)?;
        job.modified_ms = (self.clock)();
        self.write(&job)?;
        jobs.insert(job.id.clone(), job.clone());
        Ok(job)
    }

    /// Tells how far a job is, until the next change in memory only; `false` once it is to stop.
    pub(super) fn count(&self, id: &str, counts: Counts) -> bool {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(id) else {
            return false;
        };
        job.counts = Some(counts);
        job.status != Status::Stopping
    }

    /// Waits until no other job is in progress: the models of a laptop share its processors.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Where a job writes what comes of its file number `file`, before it is handed to the objects.
    pub(super) fn draft(&self, id: &str, file: usize) -> PathBuf {
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        folder.join(format!("{id}-{file}.out"))
    }

    /// Removes what a job has left of its drafts.
    pub(super) fn clear_drafts(&self, id: &str) {
        let Some(folder) = &self.folder else { return };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let begins = format!("{id}-");
        for entry in
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begins))
        {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(%error, "a draft of a batch job stays");
            }
        }
    }

    fn write(&self, job: &Job) -> Result<(), WireError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let path = folder.join(format!("{}.json", job.id));
        let beside = path.with_extension("json.part");
        serde_json::to_vec_pretty(job)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&beside, bytes))
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(|error| {
                tracing::error!(%error, "a batch job could not be kept");
                WireError::new(
                    ErrorName::InternalServer,
                    "The job could not be written to the data folder; is the disk full?",
                )
            })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id in an id or an ARN.
fn id_of(identifier: &str) -> &str {
    let id = identifier.rsplit_once(":model-invocation-job/");
    id.map_or(identifier, |(_, id)| id)
}

fn missing() -> WireError {
    WireError::new(
        ErrorName::ResourceNotFound,
        "Could not find the model invocation job that was asked for.",
    )
}

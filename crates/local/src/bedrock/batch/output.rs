//! What comes of a job: a line for each record, in a draft that grows until the job ends, then an object beside a manifest.
//! A draft that a killed process left is gone on with.
use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

use super::super::wire::WireError;
use super::super::{invoke, models};
use super::input::InputFile;
use super::request::{Invocation, place};
use super::store::{Counts, Job, Jobs};

/// A record's reply, with the tokens that it took, or why there is none.
pub(super) type Reply = Result<Answer, WireError>;

pub(super) struct Answer {
    pub(super) body: Value,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// The output of one file, as far as it goes.
pub(super) struct Draft {
    file: BufWriter<File>,
    /// Lines that were there before.
    pub(super) lines: u64,
}

impl Draft {
    /// Opens the draft of a job's file number `at`, and counts what is in it. A line that was cut off is taken away.
    pub(super) async fn open(
        jobs: &Jobs,
        job: &Job,
        at: usize,
        counts: &mut Counts,
    ) -> std::io::Result<Self> {
        let path = jobs.draft(&job.id, at);
        let (lines, whole) = known(&path, job, counts).await?;
        let file = OpenOptions::new();
        let file = { file }.create(true).append(true).open(&path).await?;
        file.set_len(whole).await?;
        Ok(Self {
            file: BufWriter::new(file),
            lines,
        })
    }

    /// Adds a record's line.
    pub(super) async fn add(
        &mut self,
        record_id: &str,
        model_input: Map<String, Value>,
        reply: &Reply,
        counts: &mut Counts,
    ) -> std::io::Result<()> {
        let mut line = json!({ "recordId": record_id, "modelInput": model_input });
        match reply {
            Ok(answer) => {
                line["modelOutput"] = answer.body.clone();
                counts.success += 1;
                counts.input_tokens += answer.input_tokens;
                counts.output_tokens += answer.output_tokens;
            }
            Err(error) => {
                line["error"] =
                    json!({ "errorCode": error.name.status_code(), "errorMessage": error.message });
                counts.error += 1;
            }
        }
        let mut line = line.to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes()).await
    }

    pub(super) async fn close(mut self) -> std::io::Result<()> {
        self.file.flush().await
    }
}

/// Whole lines and their bytes in a draft that is there already, its records counted again.
async fn known(path: &Path, job: &Job, counts: &mut Counts) -> std::io::Result<(u64, u64)> {
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let (mut lines, mut bytes) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).await?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok((lines, bytes));
        }
        let Ok(told) = serde_json::from_slice::<Value>(&line) else {
            return Ok((lines, bytes));
        };
        lines += 1;
        bytes += read as u64;
        if told.get("error").is_some() {
            counts.error += 1;
        } else {
            counts.success += 1;
            let (input, output) = tokens(job, &told["modelInput"], &told["modelOutput"]);
            counts.input_tokens += input;
            counts.output_tokens += output;
        }
    }
}

/// Tokens in and out of an answered record.
pub(super) fn tokens(job: &Job, model_input: &Value, reply: &Value) -> (u64, u64) {
    let told = |name: &str| reply["usage"][name].as_u64().unwrap_or_default();
    match job.request.model_invocation_type {
        Invocation::Converse => (told("inputTokens"), told("outputTokens")),
        Invocation::InvokeModel => {
            let body = model_input.to_string().into();
            let request =
                models::resolve(&job.request.model_id).and_then(|model| invoke::read(model, &body));
            (request.map_or(0, |request| request.tokens() as u64), 0)
        }
    }
}

/// Hands the drafts of a job to the objects, with its manifest. Drafts of files that were never begun are left out.
pub(super) async fn publish(
    jobs: &Jobs,
    job: &Job,
    files: &[InputFile],
    counts: &Counts,
) -> std::io::Result<()> {
    let Some(s3) = &jobs.s3 else { return Ok(()) };
    let (bucket, prefix) = place(&job.request.output_data_config.s3_output_data_config.s3_uri);
    let folder = match prefix.trim_end_matches('/') {
        "" => job.id.clone(),
        prefix => format!("{prefix}/{}", job.id),
    };
    for (at, file) in files.iter().enumerate() {
        let draft = jobs.draft(&job.id, at);
        if tokio::fs::try_exists(&draft).await? {
            s3.adopt(bucket, &format!("{folder}/{}.out", file.name), &draft)
                .await?;
        }
    }
    let manifest = json!({
        "totalRecordCount": counts.total,
        "processedRecordCount": counts.success + counts.error,
        "successRecordCount": counts.success,
        "errorRecordCount": counts.error,
        "inputTokenCount": counts.input_tokens,
        "outputTokenCount": counts.output_tokens,
    });
    let draft = jobs.draft(&job.id, files.len());
    tokio::fs::write(&draft, manifest.to_string()).await?;
    s3.adopt(bucket, &format!("{folder}/manifest.json.out"), &draft)
        .await
}

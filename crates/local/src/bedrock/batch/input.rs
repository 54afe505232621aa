//! A job's files as it finds them, looked at before it begins.
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::request::place;
use super::store::{Job, Jobs};
use crate::s3::S3;

/// A file of records.
#[derive(Debug)]
pub(super) struct InputFile {
    pub(super) bucket: String,
    pub(super) key: String,
    /// The key below the place that the request names: what its output is called.
    pub(super) name: String,
    bytes: u64,
}

/// A line of a file. What `modelInput` holds is the model's to read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    pub(super) record_id: Option<String>,
    pub(super) model_input: Map<String, Value>,
}

/// The job's files and the number of their records, or why it fails.
pub(super) async fn validated(jobs: &Jobs, job: &Job) -> Result<(Vec<InputFile>, u64), String> {
    let s3 = jobs.s3.as_ref();
    let s3 = s3.ok_or("S3 is not connected to this Bedrock.")?;
    let output = &job.request.output_data_config.s3_output_data_config;
    let (bucket, _) = place(&output.s3_uri);
    if !s3.has_bucket(bucket) {
        return Err(format!("The output bucket {bucket} does not exist."));
    }
    let files = files(
        s3,
        &job.request.input_data_config.s3_input_data_config.s3_uri,
    )
    .await?;
    let quotas = jobs.quotas;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    if let Some(file) = files.iter().find(|file| file.bytes > quotas.file_bytes) {
        let (key, most) = (&file.key, quotas.file_bytes);
        return Err(format!("The file {key} is larger than {most} bytes."));
    }
    if bytes > quotas.job_bytes {
        let most = quotas.job_bytes;
        return Err(format!(
            "The input files have {bytes} bytes, and a job takes {most}."
        ));
    }
    let mut records = 0;
    for file in &files {
        records += count(s3, file, quotas.line_bytes).await?;
    }
    let arn = job.arn();
    if records < quotas.least_records {
        return Err(format!(
            "Batch job {arn} contains less records ({records}) than the required minimum of: {}",
            quotas.least_records
        ));
    }
    if records > quotas.most_records {
        return Err(format!(
            "Batch job {arn} contains more records ({records}) than the allowed maximum of: {}",
            quotas.most_records
        ));
    }
    Ok((files, records))
}

async fn files(s3: &S3, uri: &str) -> Result<Vec<InputFile>, String> {
    let (bucket, key) = place(uri);
    let listed = s3.list(bucket, key).await;
    let listed = listed.map_err(|error| format!("{uri} cannot be read: {error}"))?;
    let folder = match key {
        "" => String::new(),
        _ => format!("{}/", key.trim_end_matches('/')),
    };
    let mut files: Vec<InputFile> = listed
        .into_iter()
        .filter(|(found, _)| found.ends_with(".jsonl"))
        .filter(|(found, _)| found == key || found.starts_with(&folder))
        .map(|(found, bytes)| InputFile {
            bucket: bucket.to_owned(),
            name: match found.strip_prefix(&folder) {
                Some(below) => below.to_owned(),
                None => found.rsplit('/').next().unwrap_or(&found).to_owned(),
            },
            key: found,
            bytes,
        })
        .collect();
    files.sort_by(|a, b| a.key.cmp(&b.key));
    match files.is_empty() {
        true => Err(format!("There is no .jsonl file at {uri}.")),
        false => Ok(files),
    }
}

/// The lines of a file, each of a bounded length: more is never held of one.
pub(super) struct Lines {
    file: BufReader<tokio::fs::File>,
    most: u64,
    /// Of the line that was read last, counted from 1.
    number: u64,
}

impl Lines {
    /// The next line without its end; `None` behind the last.
    ///
    /// # Errors
    /// The file system's; a line that is too long, or no UTF-8.
    pub(super) async fn next_line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        // With its end.
        let mut bounded = (&mut self.file).take(self.most + 2);
        if bounded.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.ends_with(b"\n") {
            line.pop();
            line.pop_if(|last| *last == b'\r');
        }
        if line.len() as u64 > self.most {
            let (number, most) = (self.number, self.most);
            let words = format!("line {number} has more than {most} bytes");
            return Err(std::io::Error::other(words));
        }
        let line = String::from_utf8(line).map_err(std::io::Error::other)?;
        Ok(Some(line))
    }
}

/// The lines of a file, of `most` bytes each.
pub(super) async fn lines(s3: &S3, file: &InputFile, most: u64) -> Result<Lines, String> {
    let opened = s3.open_object(&file.bucket, &file.key).await;
    let opened = opened.map_err(|error| format!("{} cannot be read: {error}", file.key))?;
    let opened = opened.ok_or_else(|| format!("The object {} is gone.", file.key))?;
    Ok(Lines {
        file: BufReader::new(opened),
        most,
        number: 0,
    })
}

async fn count(s3: &S3, file: &InputFile, most: u64) -> Result<u64, String> {
    let mut lines = lines(s3, file, most).await?;
    let mut records = 0;
    loop {
        let line = lines.next_line().await;
        let line = line.map_err(|error| format!("{} cannot be read: {error}", file.key))?;
        let Some(line) = line else { return Ok(records) };
        let number = lines.number;
        if line.trim().is_empty() {
            continue;
        }
        serde_json::from_str::<Record>(&line)
            .map_err(|error| format!("Line {number} of {} is no record: {error}", file.key))?;
        records += 1;
    }
}

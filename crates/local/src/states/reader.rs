//! `ItemReader`: the items of a distributed Map from an object in S3.

use serde_json::Value;

use super::definition::{ItemReader, text};
use super::fault::{Fault, READER_FAILED};
use super::run::Visit;

pub(super) async fn read(visit: &Visit<'_>, reader: &ItemReader) -> Result<Vec<Value>, Fault> {
    let mut arguments = visit.evaluate(&reader.arguments)?;
    let limit = reader.max_items.as_ref();
    let limit = limit.map(|count| visit.count(count)).transpose()?;
    let bucket = text("Arguments/Bucket", arguments["Bucket"].take())?;
    let key = text("Arguments/Key", arguments["Key"].take())?;
    let bytes = (visit.run.services.read_object)(bucket.clone(), key.clone())
        .await
        .map_err(|failed| {
            let (error, cause) = (failed.error, failed.cause);
            failure(&bucket, &key, &format!("cannot be read: {error}: {cause}"))
        })?;
    let items = if reader.json_lines {
        lines(&bytes)
    } else {
        list(&bytes)
    };
    let mut items = items.map_err(|reason| failure(&bucket, &key, &reason))?;
    if let Some(limit) = limit {
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(items)
}

fn failure(bucket: &str, key: &str, reason: &str) -> Fault {
    Fault::new(READER_FAILED, format!("s3://{bucket}/{key} {reason}"))
}

fn lines(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let item = serde_json::from_slice(line);
        items.push(item.map_err(|error| format!("line {} is not JSON: {error}", index + 1))?);
    }
    Ok(items)
}

fn list(bytes: &[u8]) -> Result<Vec<Value>, String> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(_) => Err("must hold a JSON array".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

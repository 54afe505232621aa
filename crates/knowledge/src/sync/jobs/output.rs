//! What a job has written, read line by line: it is larger than what a function should hold.

use std::collections::BTreeMap;

use aws::bedrock::EmbedReply;
use aws::{Aws, AwsError};
use serde::Deserialize;
use serde_json::Value;

use super::gather::record_number;
use crate::sync::StepError;

/// Bytes that are asked for at a time.
const PIECE_BYTES: u64 = 8 << 20;

/// A line of the output. A record that failed has an `error` instead of the model's reply.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    record_id: String,
    #[serde(default)]
    model_output: Option<Value>,
}

/// The model's replies by the numbers of their records. Lines that are none, and records that failed, are left out: their
/// passages are embedded otherwise.
pub(super) async fn replies(
    aws: &Aws,
    key: &str,
    read: impl Fn(&Value) -> Option<EmbedReply>,
) -> Result<BTreeMap<usize, EmbedReply>, StepError> {
    let mut replies = BTreeMap::new();
    let Some(object) = aws.bucket.head(key).await? else {
        return Ok(replies);
    };
    let mut take = |line: &[u8]| {
        let line: Option<Line> = serde_json::from_slice(line).ok();
        let reply = line.and_then(|line| {
            let number = record_number(&line.record_id)?;
            Some((number, read(&line.model_output?)?))
        });
        replies.extend(reply);
    };
    let (mut at, mut open) = (0, Vec::new());
    while at < object.bytes {
        let end = object.bytes.min(at + PIECE_BYTES);
        let piece = aws.bucket.get_range(key, at..end, Some(&object.etag)).await;
        let piece = match piece {
            // Nobody writes it twice; if somebody did, the lines so far would be of another file.
            Err(AwsError::Conflict { detail }) => return Err(AwsError::Damaged { detail }.into()),
            piece => piece?,
        };
        for part in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
            open.extend_from_slice(part);
            if part.ends_with(b"\n") {
                take(&open);
                open.clear();
            }
        }
        at = end;
    }
    take(&open);
    Ok(replies)
}

//! The objects that a data source reads: the published text of each document, and a sidecar beside it.

use std::time::{Duration, Instant};

use aws::{Aws, AwsError};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::super::StepError;
use super::difference::{Coming, Difference};
use crate::names;

/// Documents that are written side by side.
const IN_FLIGHT: usize = 16;
/// Documents that are written before the clock is looked at.
const SLICE: usize = 500;
/// How long one step writes at the most; a function has 15 minutes.
const LONGEST: Duration = Duration::from_secs(480);

/// Writes and removes from number `from` on, as far as the time lets; answers the number of the first document that is left.
pub(super) async fn write(
    aws: &Aws,
    difference: &Difference,
    from: usize,
) -> Result<usize, StepError> {
    let begun = Instant::now();
    let mut copied = from;
    while copied < difference.len() && begun.elapsed() < LONGEST {
        let end = difference.len().min(copied + SLICE);
        let slice: Vec<usize> = (copied..end).collect();
        stream::iter(slice)
            .map(async |at| match difference.bring_in.get(at) {
                Some(coming) => put(aws, coming).await,
                None => {
                    let gone = &difference.take_out[at - difference.bring_in.len()];
                    remove(aws, gone).await
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        copied = end;
    }
    Ok(copied)
}

/// The sidecar first: a text without its readers would be a text that no filter keeps anybody from.
async fn put(aws: &Aws, coming: &Coming) -> Result<(), AwsError> {
    let key = names::knowledge_base_key(&coming.document_id);
    let sidecar = json!({ "metadataAttributes": coming.attributes }).to_string();
    aws.bucket.put(&names::sidecar_key(&key), sidecar).await?;
    let text = names::text_key(&coming.document_id, &coming.content_hash);
    match aws.bucket.copy(&text, &key).await {
        // Another run has deleted the document since: it is that run's to tell.
        Err(AwsError::Missing { .. }) => remove(aws, &coming.document_id).await,
        copied => copied,
    }
}

async fn remove(aws: &Aws, document_id: &str) -> Result<(), AwsError> {
    let key = names::knowledge_base_key(document_id);
    aws.bucket.delete(&key).await?;
    aws.bucket.delete(&names::sidecar_key(&key)).await
}

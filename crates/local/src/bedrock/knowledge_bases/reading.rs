//! A document of a data source to passages with their vectors.
use std::collections::BTreeMap;

use bytes::Bytes;
use extract::ExtractError;
use retrieval::chunk::{self, Chunking};
use retrieval::{EmbeddedPassage, Heading, SegmentDocument};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::Bedrock;
use super::super::invoke;
use super::base::Embedder;
use super::record::{AttributeValue, DocumentStatus};

/// Bytes of a metadata file at the most, and of a document. Source: Amazon Bedrock User Guide, prerequisites of
/// knowledge base data.
const METADATA_BYTES: usize = 10 * 1024;
const DOCUMENT_BYTES: usize = 50_000_000;
/// What a metadata file's name adds to its document's.
pub(super) const METADATA_ENDING: &str = ".metadata.json";

/// Why a document is not brought in.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: DocumentStatus,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self {
            status: DocumentStatus::Failed,
            reason: reason.into(),
        }
    }

    fn ignored(reason: impl Into<String>) -> Self {
        Self {
            status: DocumentStatus::Ignored,
            reason: reason.into(),
        }
    }
}

/// How the documents of a data source are read.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) embedder: Embedder,
    pub(super) chunking: Chunking,
}

/// What is known of a document before it is read.
pub(super) struct Raw {
    pub(super) bytes: Bytes,
    /// `s3://…`, or the id of a custom document.
    pub(super) uri: String,
    pub(super) metadata: BTreeMap<String, Value>,
}

/// The bucket and the key of an S3 URI.
pub(super) fn bucket_and_key(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

/// The bytes of an object, with what its own version is.
pub(super) async fn object(bedrock: &Bedrock, uri: &str) -> Result<(Bytes, String), Refusal> {
    let unreadable = |what: String| Refusal::failed(format!("{uri} cannot be read: {what}"));
    let (bucket, key) = bucket_and_key(uri).ok_or_else(|| unreadable("it names none".into()))?;
    let bases = bedrock.knowledge_bases.as_ref();
    let bases = bases.ok_or_else(|| unreadable("S3 is not connected to this Bedrock".into()))?;
    let bucket = bases.bucket(bucket);
    let head = bucket.head(key).await;
    let head = head.map_err(|error| unreadable(error.to_string()))?;
    let head = head.ok_or_else(|| unreadable("it does not exist".into()))?;
    if head.bytes > DOCUMENT_BYTES as u64 {
        let words = format!(
            "The file {uri} has {} bytes; files of more than {DOCUMENT_BYTES} bytes are ignored.",
            head.bytes
        );
        return Err(Refusal::ignored(words));
    }
    let bytes = bucket.get(key).await;
    Ok((
        bytes.map_err(|error| unreadable(error.to_string()))?,
        head.etag,
    ))
}

/// The attributes of the metadata file at `uri`; none where there is no file.
pub(super) async fn metadata(
    bedrock: &Bedrock,
    uri: &str,
) -> Result<BTreeMap<String, Value>, Refusal> {
    let exists = match (&bedrock.knowledge_bases, bucket_and_key(uri)) {
        (Some(bases), Some((bucket, key))) => bases.bucket(bucket).head(key).await,
        _ => Ok(None),
    };
    match exists {
        Ok(None) => Ok(BTreeMap::new()),
        Err(error) => Err(Refusal::failed(format!("{uri} cannot be read: {error}"))),
        Ok(Some(_)) => attributes(&object(bedrock, uri).await?.0).map_err(|what| {
            Refusal::failed(format!("The metadata file {uri} is not valid: {what}"))
        }),
    }
}

/// The attributes of a metadata file: plain values, or typed ones under `value`.
fn attributes(bytes: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    if bytes.len() > METADATA_BYTES {
        return Err(format!(
            "it has {} bytes, the limit is {METADATA_BYTES}",
            bytes.len()
        ));
    }
    let file: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let sent = file["metadataAttributes"].as_object();
    let sent = sent.ok_or("it has no object metadataAttributes")?;
    let mut attributes = BTreeMap::new();
    for (key, value) in sent {
        attributes.insert(key.clone(), plain(key, value)?);
    }
    Ok(attributes)
}

fn plain(key: &str, value: &Value) -> Result<Value, String> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(value.clone()),
        Value::Array(items) if items.iter().all(Value::is_string) => Ok(value.clone()),
        Value::Object(fields) => {
            let typed = fields.get("value").cloned().unwrap_or_default();
            let typed: Option<AttributeValue> = serde_json::from_value(typed).ok();
            let typed = typed.and_then(|typed| typed.plain());
            typed.ok_or_else(|| format!("{key} has no typed value"))
        }
        _ => Err(format!(
            "{key} is neither a string, a number, a boolean nor a list of strings"
        )),
    }
}

/// Text, passages and vectors of a document.
pub(super) async fn read(
    bedrock: &Bedrock,
    manner: &Manner,
    raw: Raw,
) -> Result<SegmentDocument, Refusal> {
    let Raw {
        bytes,
        uri,
        metadata,
    } = raw;
    let file_name = uri.rsplit('/').next().unwrap_or(&uri).to_owned();
    let (name, chunking) = (file_name.clone(), manner.chunking.clone());
    let work = tokio::task::spawn_blocking(move || {
        let extracted = extract::extract(&bytes, &name, &extract::Limits::default())?;
        let headings: Vec<Heading> = extracted
            .headings
            .iter()
            .map(|heading| Heading {
                level: heading.level,
                title: heading.title.clone(),
                start: heading.start,
            })
            .collect();
        let passages = chunk::cut(&extracted.text, &headings, &chunking);
        Ok::<_, ExtractError>((extracted, passages))
    });
    let (extracted, passages) = match work.await {
        Ok(Ok(read)) => read,
        Ok(Err(error @ ExtractError::UnsupportedFormat { .. })) => {
            return Err(Refusal::ignored(format!("{uri}: {error}")));
        }
        Ok(Err(error)) => return Err(Refusal::failed(format!("{uri}: {error}"))),
        Err(_) => return Err(Refusal::failed(format!("{uri}: it broke the reader"))),
    };
    let texts = passages.iter().map(|passage| passage.text.clone());
    let vectors = vectors(bedrock, &manner.embedder, texts.collect(), false).await?;
    let passages = passages.into_iter().zip(vectors);
    Ok(SegmentDocument {
        document_id: String::new(),
        title: extracted.title.unwrap_or(file_name),
        content_hash: hex(&Sha256::digest(extracted.text.as_bytes())),
        uri,
        readers: Vec::new(),
        metadata,
        passages: passages
            .map(|(passage, vector)| EmbeddedPassage { passage, vector })
            .collect(),
    })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Embeds texts with a knowledge base's model.
pub(super) async fn vectors(
    bedrock: &Bedrock,
    embedder: &Embedder,
    texts: Vec<String>,
    query: bool,
) -> Result<Vec<Vec<f32>>, Refusal> {
    let Embedder {
        model_id,
        dimensions,
    } = embedder;
    let found = invoke::embed_texts(bedrock, model_id, *dimensions, texts, query).await;
    found.map_err(|error| Refusal::failed(format!("The embedding model failed: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_files_are_read_in_both_forms() {
        let check = |file: Value, expected: Result<Value, &str>| {
            let found = attributes(file.to_string().as_bytes());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(json!(found), expected),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, expected) => panic!("{found:?} where {expected:?} was expected"),
            }
        };
        check(
            json!({"metadataAttributes": {"a": "x", "b": 1.5, "c": true, "d": ["e"]}, "owner": "user:a"}),
            Ok(json!({"a": "x", "b": 1.5, "c": true, "d": ["e"]})),
        );
        check(
            json!({"metadataAttributes": {"a": {"value": {"type": "STRING_LIST", "stringListValue": ["x"]}, "includeForEmbedding": true}}}),
            Ok(json!({"a": ["x"]})),
        );
        check(
            json!({"metadataAttributes": {"a": {"value": {"type": "NUMBER"}}}}),
            Err("a has no typed value"),
        );
        check(
            json!({"metadataAttributes": {"a": null}}),
            Err("a is neither"),
        );
        check(
            json!({"metadataAttributes": {"a": [1]}}),
            Err("a is neither"),
        );
        check(json!({}), Err("no object metadataAttributes"));
        check(
            json!({"metadataAttributes": {"a": "x".repeat(METADATA_BYTES)}}),
            Err("the limit is 10240"),
        );
        assert!(attributes(b"{").is_err());
    }

    #[test]
    fn an_s3_uri_names_a_bucket_and_a_key() {
        assert_eq!(bucket_and_key("s3://b/k/l.txt"), Some(("b", "k/l.txt")));
        for wrong in ["s3://b", "s3:///k", "s3://b/", "https://b/k", ""] {
            assert_eq!(bucket_and_key(wrong), None, "{wrong}");
        }
    }
}

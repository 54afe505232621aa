//! The one bucket: objects whole and in ranges, listings by prefix, presigned uploads.

use std::ops::Range;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};

use crate::{AwsError, Lazy, chance, classify, lazily};

const SERVICE: &str = "S3";

/// How long a presigned upload link works.
pub const UPLOAD_LINK_SECONDS: u64 = 900;

/// The longest pause before a body that broke off is asked for again; it doubles each time.
const BODY_PAUSE: Duration = Duration::from_millis(50);

/// The most that is reserved for a body because a header says so.
const LARGEST_RESERVATION: usize = 256 << 20;

/// How many objects are asked for their ETags side by side.
const HEADS_IN_FLIGHT: usize = 16;

/// The service's bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Lazy<Client>,
    name: String,
    /// How often a body that broke off is asked for again; the SDK retries only what fails before the body.
    body_retries: u32,
}

/// A range of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Bytes,
    /// Of the whole object: changes whenever its content does.
    pub etag: String,
    /// Size of the whole object.
    pub object_bytes: u64,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    /// Changes whenever the content does.
    pub etag: String,
}

impl Bucket {
    pub(crate) fn new(sdk: &SdkConfig, name: &str, body_retries: u32) -> Self {
        // Virtual-hosted addressing needs DNS for the bucket's name; loopback endpoints have none.
        let config = aws_sdk_s3::config::Builder::from(sdk)
            .force_path_style(sdk.endpoint_url().is_some())
            .build();
        Self {
            client: lazily(|| Client::from_conf(config)),
            name: name.to_owned(),
            body_retries,
        }
    }

    /// Another bucket, with the same client.
    pub fn other(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// The bucket's name, for the state machine's item reader.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is none.
    pub async fn get(&self, key: &str) -> Result<Bytes, AwsError> {
        Ok(self.read(key, None, None).await?.bytes)
    }

    /// Reads the bytes `range` of an object, only while its ETag is `etag` where one is given.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is no such object; [`AwsError::Conflict`] when it is another than `etag` says;
    /// [`AwsError::Damaged`] when it does not have those bytes.
    pub async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Piece, AwsError> {
        let wanted = range.end.saturating_sub(range.start);
        let piece = self.read(key, Some(range.clone()), etag).await?;
        if etag.is_some_and(|etag| etag != piece.etag) {
            return Err(AwsError::Conflict {
                detail: format!("object {key} changed while it was read"),
            });
        }
        if piece.bytes.len() as u64 != wanted {
            return Err(AwsError::Damaged {
                detail: format!(
                    "object {key} has {} bytes and none at {range:?}",
                    piece.object_bytes
                ),
            });
        }
        Ok(piece)
    }

    async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<Piece, AwsError> {
        let header =
            range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        for attempt in 0.. {
            let reply = self
                .client
                .get_object()
                .bucket(&self.name)
                .key(key)
                .set_range(header.clone())
                .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
                .send()
                .await
                .map_err(|error| missing(key, classify(SERVICE, error)))?;
            let found = clean_etag(reply.e_tag());
            let whole = reply
                .content_range()
                .and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            let expected = reply.content_length().unwrap_or_default();
            match whole_body(reply.body, expected).await {
                Ok(bytes) => {
                    return Ok(Piece {
                        etag: found,
                        object_bytes: whole.unwrap_or(bytes.len() as u64),
                        bytes,
                    });
                }
                Err(error) if attempt >= self.body_retries => {
                    return Err(AwsError::Busy {
                        service: SERVICE,
                        detail: format!("reading {key} broke off: {error}"),
                    });
                }
                Err(_) => tokio::time::sleep(chance::jitter(BODY_PAUSE * 2u32.pow(attempt))).await,
            }
        }
        Err(AwsError::Missing {
            what: format!("object {key}"),
        })
    }

    /// Size and ETag of an object; `None` when there is none.
    ///
    /// # Errors
    /// The service's error.
    pub async fn head(&self, key: &str) -> Result<Option<Listed>, AwsError> {
        match self
            .client
            .head_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
        {
            Ok(reply) => Ok(Some(Listed {
                key: key.to_owned(),
                bytes: reply.content_length().unwrap_or_default().max(0) as u64,
                etag: clean_etag(reply.e_tag()),
            })),
            Err(error) => match missing(key, classify(SERVICE, error)) {
                AwsError::Missing { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    /// Writes an object, whatever was there before.
    ///
    /// # Errors
    /// The service's error.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<(), AwsError> {
        self.client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .body(ByteStream::from(body.into()))
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    /// The service's error.
    pub async fn delete(&self, key: &str) -> Result<(), AwsError> {
        self.client
            .delete_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Every object below `prefix`, in the order of their keys. For ingestion; never on a request path.
    ///
    /// # Errors
    /// The service's error.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, AwsError> {
        let mut objects = self.list_all(prefix).await?;
        self.fill_etags(&mut objects).await?;
        objects.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(objects)
    }

    /// The keys of every object below `prefix`, in no order. For ingestion; never on a request path.
    ///
    /// # Errors
    /// The service's error.
    pub async fn list_keys(&self, prefix: &str) -> Result<Vec<String>, AwsError> {
        let objects = self.list_all(prefix).await?;
        Ok(objects.into_iter().map(|object| object.key).collect())
    }

    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>, AwsError> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let (page, next) = self.list_on(prefix, token).await?;
            objects.extend(page);
            if next.is_none() {
                return Ok(objects);
            }
            token = next;
        }
    }

    /// A page of a listing that is read to its end, in no order, and the token of the next page; `token` is that of the page
    /// before. A page may be empty and not the last. For ingestion; never on a request path.
    ///
    /// # Errors
    /// The service's error.
    pub async fn list_part(
        &self,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), AwsError> {
        let (mut objects, next) = self.list_on(prefix, token).await?;
        self.fill_etags(&mut objects).await?;
        Ok((objects, next))
    }

    async fn list_on(
        &self,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), AwsError> {
        let reply = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .set_continuation_token(token)
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        let objects = reply.contents().iter().map(listed).collect();
        Ok((objects, reply.next_continuation_token))
    }

    /// Up to `limit` objects below `prefix` after the key `after`, in the order of their keys, and whether there are more:
    /// without objects there are none.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is no such bucket; else the service's error.
    pub async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Listed>, bool), AwsError> {
        let mut token = None;
        loop {
            let reply = self
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .set_start_after(after.map(str::to_owned))
                .set_continuation_token(token)
                .max_keys(limit.clamp(1, 1000) as i32)
                .send()
                .await
                .map_err(|error| match error.as_service_error() {
                    Some(ListObjectsV2Error::NoSuchBucket(_)) => AwsError::Missing {
                        what: format!("bucket {}", self.name),
                    },
                    _ => classify(SERVICE, error),
                })?;
            let mut objects: Vec<Listed> = reply.contents().iter().map(listed).collect();
            let more = reply.is_truncated().unwrap_or_default();
            token = reply.next_continuation_token;
            // A page may be empty and not the last.
            if objects.is_empty() && token.is_some() {
                continue;
            }
            self.fill_etags(&mut objects).await?;
            objects.sort_by(|left, right| left.key.cmp(&right.key));
            return Ok((objects, more));
        }
    }

    /// S3 lists ETags; a store that does not (the laptop's) is asked object by object.
    async fn fill_etags(&self, objects: &mut [Listed]) -> Result<(), AwsError> {
        let without = objects.iter_mut().filter(|object| object.etag.is_empty());
        stream::iter(without.map(Ok))
            .try_for_each_concurrent(HEADS_IN_FLIGHT, async |object: &mut Listed| {
                if let Some(found) = self.head(&object.key).await? {
                    object.etag = found.etag;
                }
                Ok(())
            })
            .await
    }

    /// Copies an object within the bucket, whatever was there before.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is nothing to copy.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), AwsError> {
        let source = format!("{}/{}", self.name, percent_encoded(from));
        let copied = self
            .client
            .copy_object()
            .bucket(&self.name)
            .key(to)
            .copy_source(source)
            .send()
            .await;
        copied.map_err(|error| missing(from, classify(SERVICE, error)))?;
        Ok(())
    }

    /// A link that takes a PUT of exactly `bytes` bytes, without credentials, for [`UPLOAD_LINK_SECONDS`]: the length is
    /// signed.
    ///
    /// # Errors
    /// When the link cannot be signed.
    pub async fn upload_link(&self, key: &str, bytes: u64) -> Result<String, AwsError> {
        let refused = |detail: String| AwsError::Refused {
            service: SERVICE,
            detail,
        };
        let expires = PresigningConfig::expires_in(Duration::from_secs(UPLOAD_LINK_SECONDS))
            .map_err(|error| refused(error.to_string()))?;
        let length = i64::try_from(bytes).map_err(|error| refused(error.to_string()))?;
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .content_length(length);
        let signed = request
            .presigned(expires)
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(signed.uri().to_owned())
    }
}

/// Collects a body into one buffer of the length that its header says: collected in pieces it would stand in memory twice.
async fn whole_body(mut body: ByteStream, expected: i64) -> Result<Bytes, ByteStreamError> {
    let expected = usize::try_from(expected).unwrap_or_default();
    let mut bytes = Vec::with_capacity(expected.min(LARGEST_RESERVATION));
    while let Some(piece) = body.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// The copy source is a header: its key is percent-encoded, path separators aside.
fn percent_encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let mut text = String::new();
    for byte in key.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn listed(object: &aws_sdk_s3::types::Object) -> Listed {
    Listed {
        key: object.key().unwrap_or_default().to_owned(),
        bytes: object.size().unwrap_or_default().max(0) as u64,
        etag: clean_etag(object.e_tag()),
    }
}

fn clean_etag(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

fn missing(key: &str, error: AwsError) -> AwsError {
    match error {
        AwsError::Missing { .. } => AwsError::Missing {
            what: format!("object {key}"),
        },
        other => other,
    }
}

//! The one bucket: whole objects in and out, listings by prefix, presigned uploads.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use crate::{AwsError, classify};

const SERVICE: &str = "S3";

/// How long a presigned upload link works.
pub const UPLOAD_LINK_SECONDS: u64 = 900;

/// The service's bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
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
    pub(crate) fn new(sdk: &SdkConfig, name: &str) -> Self {
        // Virtual-hosted addressing needs DNS for the bucket's name; loopback endpoints have none.
        let config = aws_sdk_s3::config::Builder::from(sdk)
            .force_path_style(sdk.endpoint_url().is_some())
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.to_owned(),
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
        let reply = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await;
        let reply = reply.map_err(|error| missing(key, classify(SERVICE, error)))?;
        let body = reply.body.collect().await.map_err(|error| AwsError::Busy {
            service: SERVICE,
            detail: format!("reading {key} broke off: {error}"),
        })?;
        Ok(body.into_bytes())
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
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let reply = self
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .set_continuation_token(token)
                .send()
                .await
                .map_err(|error| classify(SERVICE, error))?;
            objects.extend(reply.contents().iter().map(|object| Listed {
                key: object.key().unwrap_or_default().to_owned(),
                bytes: object.size().unwrap_or_default().max(0) as u64,
                etag: clean_etag(object.e_tag()),
            }));
            token = reply.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                self.fill_etags(&mut objects).await?;
                objects.sort_by(|left, right| left.key.cmp(&right.key));
                return Ok(objects);
            }
        }
    }

    /// S3 lists ETags; a store that does not (the laptop's) is asked object by object.
    async fn fill_etags(&self, objects: &mut [Listed]) -> Result<(), AwsError> {
        for object in objects.iter_mut().filter(|object| object.etag.is_empty()) {
            if let Some(found) = self.head(&object.key).await? {
                object.etag = found.etag;
            }
        }
        Ok(())
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

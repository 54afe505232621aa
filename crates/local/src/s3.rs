//! S3 on the laptop: `s3s` over plain files, one folder a bucket, signatures verified.

mod folder;
mod long_keys;
mod rest;
mod service_side;
mod told;

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;

use long_keys::LongKeys;
use rest::Rest;
pub(crate) use told::Told;

/// The key pair of the laptop: access key and secret are the same word.
pub const KEY: &str = "outcrop";

/// Why the folder cannot serve.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct S3Error(pub String);

/// The running object store.
#[derive(Clone)]
pub struct S3 {
    service: S3Service,
    folder: PathBuf,
    told: Option<Arc<Told>>,
}

impl S3 {
    /// Opens the store on `folder` with these buckets. `told` hears of their objects.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn open(
        folder: &Path,
        buckets: &[String],
        told: Option<Arc<Told>>,
    ) -> Result<Self, S3Error> {
        let failed =
            |error: &dyn std::fmt::Display| S3Error(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        for bucket in buckets {
            std::fs::create_dir_all(folder.join(bucket)).map_err(|error| failed(&error))?;
        }
        let files = FileSystem::new(folder).map_err(|error| failed(&format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(LongKeys {
            files,
            folder: folder.to_owned(),
            told: told.clone(),
            known: Mutex::default(),
        });
        builder.set_auth(SimpleAuth::from_single(KEY, KEY));
        builder.set_access(ExistingBuckets(folder.to_owned()));
        Ok(Self {
            service: builder.build(),
            folder: folder.to_owned(),
            told,
        })
    }

    /// Reads a whole object, as a state machine's item reader does; `None` when there is none of that name.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn read(&self, bucket: &str, key: &str) -> std::io::Result<Option<Bytes>> {
        let Some(path) = object_path(&self.folder, bucket, key) else {
            return Ok(None);
        };
        match tokio::fs::read(path).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers a request.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let rest = Rest::of(body);
        let request = Request::from_parts(head, s3s::Body::http_body_unsync(rest.clone()));
        match self.service.call(request).await {
            Ok(reply) => {
                if !reply.status().is_success() {
                    rest.read().await;
                }
                reply.map(Body::new)
            }
            Err(error) => {
                tracing::error!(?error, "S3 could not answer");
                let mut reply = Response::new(Body::empty());
                *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                reply
            }
        }
    }
}

/// Only the key pair gets in, and only into buckets that exist: the file system below would make a folder for any
/// object that is put, where S3 answers NoSuchBucket.
struct ExistingBuckets(PathBuf);

#[async_trait::async_trait]
impl S3Access for ExistingBuckets {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        let bucket = match context.s3_path() {
            S3Path::Root => return Ok(()),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => bucket,
        };
        let known = context.s3_op().name() == "CreateBucket" || self.0.join(&**bucket).is_dir();
        if known {
            return Ok(());
        }
        let words = "The specified bucket does not exist";
        Err(s3_error!(NoSuchBucket, "{words}"))
    }
}

/// The file of an object; `None` when the name would lead out of the bucket's folder.
fn object_path(folder: &Path, bucket: &str, key: &str) -> Option<PathBuf> {
    let inside = |part: &str| {
        let mut steps = Path::new(part).components();
        !part.is_empty() && steps.all(|step| matches!(step, Component::Normal(_)))
    };
    let named = !bucket.contains('/') && inside(bucket) && inside(key);
    named.then(|| folder.join(bucket).join(long_keys::stored(bucket, key)))
}

#[cfg(test)]
mod tests;

//! What EventBridge is told of: objects that were written and deleted, through the API, by other services, and by people who put
//! files into the bucket's folder.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::http::{Extensions, HeaderMap, Method, Uri};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3 as _, S3Request, S3Result, s3_error};
use s3s_fs::FileSystem;
use serde_json::{Map, Value, json};

use super::{S3Error, long_keys, object_path};
use crate::events::Bus;
use crate::template::ACCOUNT;

/// What tells a file from the one that stood there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    modified: SystemTime,
}

impl Stamp {
    pub(super) fn of(about: &std::fs::Metadata) -> Self {
        Self {
            bytes: about.len(),
            modified: about.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// A file of a bucket: the bucket, and the object's key as it is stored.
pub(super) type Place = (String, String);

/// Who is told, and what was told already.
pub(crate) struct Told {
    pub(super) folder: PathBuf,
    files: FileSystem,
    bus: Bus,
    buckets: Vec<String>,
    prefixes: Vec<String>,
    /// The files as they were told of last, or found at the start.
    seen: Mutex<HashMap<Place, Stamp>>,
    sequence: AtomicU64,
}

impl Told {
    /// Tells `bus` of the objects of `buckets` that its rules wait for.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn new(folder: &Path, buckets: &[String], bus: Bus) -> Result<Self, S3Error> {
        let failed = |detail: String| S3Error(format!("{}: {detail}", folder.display()));
        for bucket in buckets {
            let made = std::fs::create_dir_all(folder.join(bucket));
            made.map_err(|error| failed(error.to_string()))?;
        }
        let files = FileSystem::new(folder).map_err(|error| failed(format!("{error:?}")))?;
        let told = Self {
            folder: folder.to_owned(),
            files,
            prefixes: bus.key_prefixes(),
            bus,
            buckets: buckets.to_owned(),
            seen: Mutex::default(),
            sequence: AtomicU64::new(aws::clock::now_ms() * 1_000),
        };
        let found = told.look().map_err(|error| failed(error.to_string()))?;
        told.seen().extend(found);
        Ok(told)
    }

    /// The folders whose files are told of.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let of_bucket = |bucket: &String| {
            let folder = self.folder.join(bucket);
            let prefixes = self.prefixes.iter();
            prefixes.map(move |prefix| {
                folder.join(prefix.rsplit_once('/').map_or("", |(path, _)| path))
            })
        };
        self.buckets.iter().flat_map(of_bucket).collect()
    }

    pub(super) fn buckets(&self) -> &[String] {
        &self.buckets
    }

    /// Whether a folder of a bucket, by its path with a slash at the end, may hold objects that are told of.
    pub(super) fn may_hold(&self, folder: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        prefixes.any(|prefix| prefix.starts_with(folder) || folder.starts_with(prefix.as_str()))
    }

    /// Whether some rule waits for objects of this key.
    pub(super) fn concerns(&self, bucket: &str, key: &str) -> bool {
        let waited = self
            .prefixes
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()));
        waited && self.buckets.iter().any(|one| one == bucket)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<Place, Stamp>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an object that was written. `reason` is the operation, as S3 names it in its events.
    pub(super) async fn written(&self, bucket: &str, key: &str, reason: &str) {
        if !self.concerns(bucket, key) {
            return;
        }
        let stored = long_keys::stored(bucket, key);
        let Some(path) = object_path(&self.folder, bucket, key) else {
            return;
        };
        let is_object = tokio::fs::metadata(&path)
            .await
            .is_ok_and(|about| about.is_file());
        // Of a link its own, as a look through the folder finds it.
        let about = tokio::fs::symlink_metadata(&path).await;
        // A folder is no object here; what is gone by now is told as deleted.
        let Some(about) = about.ok().filter(|_| is_object) else {
            return;
        };
        let place = (bucket.to_owned(), stored.clone());
        self.seen().insert(place, Stamp::of(&about));
        let head = match self.head(bucket, &stored).await {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(%error, bucket, "an object that was written is not told of");
                return;
            }
        };
        let mut object = Map::new();
        object.insert("key".into(), key.into());
        object.insert(
            "size".into(),
            head.content_length.unwrap_or_default().into(),
        );
        let etag = head.e_tag.map(s3s::dto::ETag::into_value);
        object.insert("etag".into(), etag.unwrap_or_default().into());
        self.tell(
            "Object Created",
            bucket,
            object,
            json!({ "reason": reason }),
        );
    }

    /// Tells of an object that was deleted.
    pub(super) fn deleted(&self, bucket: &str, key: &str) {
        if !self.concerns(bucket, key) {
            return;
        }
        let place = (bucket.to_owned(), long_keys::stored(bucket, key));
        self.seen().remove(&place);
        let mut object = Map::new();
        object.insert("key".into(), key.into());
        // The laptop's buckets keep no versions.
        let about = json!({ "reason": "DeleteObject", "deletion-type": "Permanently Deleted" });
        self.tell("Object Deleted", bucket, object, about);
    }

    fn tell(&self, kind: &str, bucket: &str, mut object: Map<String, Value>, about: Value) {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        object.insert("sequencer".into(), format!("{number:018X}").into());
        let mut detail = json!({
            "version": "0",
            "bucket": { "name": bucket },
            "object": object,
            "request-id": format!("{number:016X}"),
            "requester": ACCOUNT,
            "source-ip-address": "127.0.0.1",
        });
        if let (Some(detail), Value::Object(about)) = (detail.as_object_mut(), about) {
            detail.extend(about);
        }
        self.bus
            .put("aws.s3", kind, &format!("arn:aws:s3:::{bucket}"), detail);
    }

    async fn head(&self, bucket: &str, stored: &str) -> S3Result<HeadObjectOutput> {
        refresh_etag(&self.folder, bucket, stored).await;
        let input = HeadObjectInput::builder()
            .bucket(bucket.to_owned())
            .key(stored.to_owned())
            .build()
            .map_err(|error| s3_error!(error, InternalError))?;
        let request = S3Request {
            input,
            method: Method::HEAD,
            uri: Uri::default(),
            headers: HeaderMap::new(),
            extensions: Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        Ok(self.files.head_object(request).await?.output)
    }
}

/// Has the store work out an object's ETag from its bytes where somebody has put another file in its place: the store keeps the
/// ETag of what it wrote itself, and would go on telling it.
pub(super) async fn refresh_etag(folder: &Path, bucket: &str, stored: &str) {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let (in_bucket, of_key) = (encode(bucket), encode(stored));
    let kept = folder.join(format!(".bucket-{in_bucket}.object-{of_key}.internal.json"));
    let (Ok(object), Ok(about)) = (
        tokio::fs::metadata(folder.join(bucket).join(stored)).await,
        tokio::fs::metadata(&kept).await,
    ) else {
        return;
    };
    // The store writes what it keeps last. A file that is moved here keeps the time of its writing, not that of its change.
    let changed = (object.ctime(), object.ctime_nsec());
    if changed > (about.mtime(), about.mtime_nsec()) {
        // What is gone already is as good.
        let _ = tokio::fs::remove_file(kept).await;
    }
}

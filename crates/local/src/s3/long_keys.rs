//! Keys of any length on a file system: S3 takes 1,024 bytes, a file's name 255.
//!
//! The store below writes two files beside each object whose names hold the whole key in base64, so that it fails from
//! about 120 bytes on. Longer keys are kept under a shorter one: their first folders, then `~` and a hash. A file
//! `.key-<hash>` in the store's folder holds the key itself, for listings.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use sha2::{Digest, Sha256};

use super::object_path;
use super::told::{Told, refresh_etag};
use crate::storage_faults::{DISK_FULL, DISK_FULL_WORDS};

/// The longest name of a file. Source: every file system in use on Linux and macOS.
const FILE_NAME_BYTES: usize = 255;
/// What the store's file names hold besides key and bucket: `.bucket-`, `.object-`, `.upload-<uuid>`, `.metadata.json`.
const STORE_NAME_BYTES: usize = 8 + 8 + 44 + 14;
/// Keys of a page, unless a request asks for less. Source: Amazon S3 API Reference, ListObjectsV2.
const PAGE_KEYS: i32 = 1_000;
/// `~` and 32 hexadecimal digits.
const HASH_BYTES: usize = 33;

/// The store with keys of any length.
pub(super) struct LongKeys {
    pub files: FileSystem,
    pub folder: PathBuf,
    pub told: Option<Arc<Told>>,
    /// Keys by the stored ones that stand for them, as far as a listing met them. What they stand for never changes.
    pub known: Mutex<HashMap<String, String>>,
}

fn base64_bytes(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The longest key that the store takes in this bucket.
fn longest(bucket: &str) -> usize {
    let room = FILE_NAME_BYTES.saturating_sub(STORE_NAME_BYTES + base64_bytes(bucket.len()));
    room * 3 / 4
}

/// The key that stands for `key` in the store.
pub(super) fn stored(bucket: &str, key: &str) -> String {
    let longest = longest(bucket);
    if key.len() <= longest {
        return key.to_owned();
    }
    let room = longest.saturating_sub(HASH_BYTES);
    let folders = whole_folders(key, room);
    format!("{}~{}", &key[..folders], hash(key))
}

fn hash(key: &str) -> String {
    let digest = Sha256::digest(key);
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A full disk under its name: as an internal error it would be tried again and again.
fn told_if_full(error: S3Error) -> S3Error {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let full = |cause: &std::io::Error| {
            matches!(
                cause.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            )
        };
        if cause.downcast_ref::<std::io::Error>().is_some_and(full) {
            let code = S3ErrorCode::Custom(DISK_FULL.into());
            let mut told = S3Error::with_message(code, DISK_FULL_WORDS);
            told.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
            return told;
        }
        source = cause.source();
    }
    error
}

/// Keeps the key of a long one, so that listings can tell it.
pub(super) async fn remember(folder: &Path, bucket: &str, key: &str) -> std::io::Result<()> {
    if stored(bucket, key) == key {
        return Ok(());
    }
    let path = folder.join(format!(".key-{}", hash(key)));
    let beside = path.with_extension(format!("part-{}", rand::random::<u32>()));
    tokio::fs::write(&beside, key).await?;
    tokio::fs::rename(&beside, &path).await
}

/// The key that a stored one stands for; `None` where it is that key.
pub(super) async fn original(folder: &Path, listed: &str) -> Option<String> {
    let (_, hash) = listed.rsplit_once('~')?;
    if hash.len() + 1 != HASH_BYTES || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let key = tokio::fs::read_to_string(folder.join(format!(".key-{hash}"))).await;
    key.ok()
}

impl LongKeys {
    async fn remember(&self, bucket: &str, key: &str) -> S3Result<()> {
        remember(&self.folder, bucket, key)
            .await
            .map_err(|error| told_if_full(s3_error!(error, InternalError)))
    }

    async fn original(&self, listed: &str) -> Option<String> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = lock().get(listed) {
            return Some(key.clone());
        }
        let key = original(&self.folder, listed).await?;
        lock().insert(listed.to_owned(), key.clone());
        Some(key)
    }

    /// An object was written, by the operation `reason`.
    async fn written(&self, bucket: &str, key: &str, reason: &str) {
        if let Some(told) = &self.told {
            told.written(bucket, key, reason).await;
        }
    }

    /// Whether there is an object. Of what is not there no deletion is told.
    fn is_there(&self, bucket: &str, key: &str) -> bool {
        object_path(&self.folder, bucket, key).is_some_and(|path| path.is_file())
    }

    /// An object that was there was deleted.
    fn deleted(&self, bucket: &str, key: &str) {
        if let Some(told) = &self.told {
            told.deleted(bucket, key);
        }
    }

    /// Gives listed objects their own keys, and leaves out what does not begin with `prefix`.
    async fn restore(
        &self,
        objects: &mut Option<Vec<Object>>,
        folders: &mut Option<Vec<CommonPrefix>>,
        prefix: &str,
    ) {
        let begins =
            |text: &Option<String>| text.as_deref().unwrap_or_default().starts_with(prefix);
        if let Some(folders) = folders {
            folders.retain(|folder| begins(&folder.prefix));
        }
        let Some(objects) = objects else { return };
        for object in objects.iter_mut() {
            if let Some(key) = self
                .original(object.key.as_deref().unwrap_or_default())
                .await
            {
                object.key = Some(key);
            }
        }
        objects.retain(|object| begins(&object.key));
    }
}

/// Leaves of a whole listing the page behind its token, or behind the key that it is to start after, in the order of the keys.
fn cut_page(output: &mut ListObjectsV2Output, limit: usize) {
    let objects = output.contents.take().into_iter().flatten();
    let objects = objects.map(|object| (object.key.clone().unwrap_or_default(), Some(object)));
    let folders = output.common_prefixes.take().into_iter().flatten();
    let folders = folders.map(|folder| (folder.prefix.unwrap_or_default(), None));
    let after = output
        .continuation_token
        .as_ref()
        .max(output.start_after.as_ref());
    let mut entries: Vec<(String, Option<Object>)> = objects
        .chain(folders)
        .filter(|(key, _)| after.is_none_or(|after| key > after))
        .collect();
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    let more = limit > 0 && entries.len() > limit;
    entries.truncate(limit);
    output.key_count = i32::try_from(entries.len()).ok();
    output.is_truncated = Some(more);
    let last = entries.last().filter(|_| more);
    output.next_continuation_token = last.map(|(key, _)| key.clone());
    let (mut objects, mut folders) = (Vec::new(), Vec::new());
    for (key, object) in entries {
        match object {
            Some(object) => objects.push(object),
            None => folders.push(CommonPrefix { prefix: Some(key) }),
        }
    }
    output.contents = Some(objects).filter(|objects| !objects.is_empty());
    output.common_prefixes = Some(folders).filter(|folders| !folders.is_empty());
}

/// A prefix as far as every stored key keeps it: whole folders only. What it finds too much is left out after.
fn kept<'a>(bucket: &str, prefix: &'a str) -> &'a str {
    let room = longest(bucket).saturating_sub(HASH_BYTES);
    &prefix[..whole_folders(prefix, room)]
}

/// How many bytes the first folders of a key have, as far as they fit.
fn whole_folders(key: &str, room: usize) -> usize {
    let ends = key.match_indices('/').map(|(at, _)| at + 1);
    ends.take_while(|end| *end <= room)
        .last()
        .unwrap_or_default()
}

macro_rules! operations {
    (
        plain { $($plain:ident: $plain_in:ident => $plain_out:ident,)* }
        keyed { $($keyed:ident: $keyed_in:ident => $keyed_out:ident,)* }
        read { $($read:ident: $read_in:ident => $read_out:ident,)* }
        told { $($told:ident: $told_in:ident => $told_out:ident,)* }
    ) => {
        #[async_trait::async_trait]
        impl S3 for LongKeys {
            $(async fn $plain(&self, request: S3Request<$plain_in>) -> S3Result<S3Response<$plain_out>> {
                self.files.$plain(request).await
            })*

            $(async fn $keyed(&self, mut request: S3Request<$keyed_in>) -> S3Result<S3Response<$keyed_out>> {
                request.input.key = stored(&request.input.bucket, &request.input.key);
                self.files.$keyed(request).await
            })*

            $(async fn $read(&self, mut request: S3Request<$read_in>) -> S3Result<S3Response<$read_out>> {
                request.input.key = stored(&request.input.bucket, &request.input.key);
                refresh_etag(&self.folder, &request.input.bucket, &request.input.key).await;
                self.files.$read(request).await
            })*

            // Replies that name the key name the one that was asked for.
            $(async fn $told(&self, mut request: S3Request<$told_in>) -> S3Result<S3Response<$told_out>> {
                let key = request.input.key.clone();
                self.remember(&request.input.bucket, &key).await?;
                request.input.key = stored(&request.input.bucket, &key);
                let mut reply = self.files.$told(request).await?;
                reply.output.key = Some(key);
                Ok(reply)
            })*

            async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                let input = &mut request.input;
                self.remember(&input.bucket, &input.key).await?;
                let (bucket, key) = (input.bucket.clone(), input.key.clone());
                input.key = stored(&bucket, &key);
                let reply = self.files.put_object(request).await.map_err(told_if_full)?;
                self.written(&bucket, &key, "PutObject").await;
                Ok(reply)
            }

            async fn copy_object(&self, mut request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
                let input = &mut request.input;
                self.remember(&input.bucket, &input.key).await?;
                let (bucket, key) = (input.bucket.clone(), input.key.clone());
                input.key = stored(&bucket, &key);
                if let CopySource::Bucket { bucket, key, .. } = &mut input.copy_source {
                    *key = stored(bucket, key).into();
                }
                let reply = self.files.copy_object(request).await.map_err(told_if_full)?;
                self.written(&bucket, &key, "CopyObject").await;
                Ok(reply)
            }

            async fn upload_part_copy(&self, mut request: S3Request<UploadPartCopyInput>) -> S3Result<S3Response<UploadPartCopyOutput>> {
                let input = &mut request.input;
                input.key = stored(&input.bucket, &input.key);
                if let CopySource::Bucket { bucket, key, .. } = &mut input.copy_source {
                    *key = stored(bucket, key).into();
                }
                self.files.upload_part_copy(request).await
            }

            async fn delete_object(&self, mut request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
                let input = &mut request.input;
                let (bucket, key) = (input.bucket.clone(), input.key.clone());
                let was_there = self.is_there(&bucket, &key);
                input.key = stored(&bucket, &key);
                let reply = self.files.delete_object(request).await?;
                if was_there {
                    self.deleted(&bucket, &key);
                }
                Ok(reply)
            }

            async fn complete_multipart_upload(&self, mut request: S3Request<CompleteMultipartUploadInput>) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
                self.remember(&bucket, &key).await?;
                request.input.key = stored(&bucket, &key);
                let mut reply = self.files.complete_multipart_upload(request).await?;
                reply.output.key = Some(key.clone());
                self.written(&bucket, &key, "CompleteMultipartUpload").await;
                Ok(reply)
            }

            async fn delete_objects(&self, mut request: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
                let bucket = request.input.bucket.clone();
                let keys = request.input.delete.objects.iter().map(|object| object.key.clone());
                let there: Vec<String> = keys.filter(|key| self.is_there(&bucket, key)).collect();
                for object in &mut request.input.delete.objects {
                    object.key = stored(&bucket, &object.key);
                }
                let mut reply = self.files.delete_objects(request).await?;
                for key in &there {
                    self.deleted(&bucket, key);
                }
                for deleted in reply.output.deleted.iter_mut().flatten() {
                    if let Some(key) = self.original(deleted.key.as_deref().unwrap_or_default()).await {
                        deleted.key = Some(key);
                    }
                }
                Ok(reply)
            }

            async fn list_objects(&self, mut request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
                let prefix = request.input.prefix.clone();
                request.input.prefix = prefix.as_deref().map(|text| kept(&request.input.bucket, text).to_owned());
                let mut reply = self.files.list_objects(request).await?;
                let output = &mut reply.output;
                self.restore(&mut output.contents, &mut output.common_prefixes, prefix.as_deref().unwrap_or_default()).await;
                reply.output.prefix = prefix;
                Ok(reply)
            }

            async fn list_objects_v2(&self, mut request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
                let input = &mut request.input;
                let prefix = input.prefix.clone();
                input.prefix = prefix.as_deref().map(|text| kept(&input.bucket, text).to_owned());
                // Pages are cut in the order of the keys themselves: the store has another one.
                let (token, after) = (input.continuation_token.take(), input.start_after.take());
                let limit = input.max_keys.replace(i32::MAX).unwrap_or(PAGE_KEYS);
                let mut reply = self.files.list_objects_v2(request).await?;
                let output = &mut reply.output;
                self.restore(&mut output.contents, &mut output.common_prefixes, prefix.as_deref().unwrap_or_default()).await;
                (output.prefix, output.max_keys) = (prefix, Some(limit));
                (output.continuation_token, output.start_after) = (token, after);
                cut_page(output, usize::try_from(limit).unwrap_or_default());
                Ok(reply)
            }
        }
    };
}

operations! {
    plain {
        create_bucket: CreateBucketInput => CreateBucketOutput,
        delete_bucket: DeleteBucketInput => DeleteBucketOutput,
        get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
        head_bucket: HeadBucketInput => HeadBucketOutput,
        list_buckets: ListBucketsInput => ListBucketsOutput,
    }
    keyed {
        upload_part: UploadPartInput => UploadPartOutput,
        abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    }
    read {
        get_object: GetObjectInput => GetObjectOutput,
        head_object: HeadObjectInput => HeadObjectOutput,
    }
    told {
        create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
        list_parts: ListPartsInput => ListPartsOutput,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document below deep folders could not be stored: the store's own file names grew too long.
    #[test]
    fn long_keys_are_kept_short() {
        let check = |key: &str, prefix: &str| {
            let kept = stored("outcrop-bucket", key);
            assert!(kept.len() <= longest("outcrop-bucket"), "{kept}");
            assert!(kept.starts_with(prefix), "{kept}");
            assert_eq!(
                kept == key,
                key.len() <= longest("outcrop-bucket"),
                "{kept}"
            );
        };
        check("sources/default/a.txt", "sources/default/a.txt");
        let deep = format!("sources/default/{}/a.txt", "folder/".repeat(40));
        check(&deep, "sources/default/folder/");
        check(&"x".repeat(1_024), "~");
        check(&"größe/".repeat(100), "größe/");
        assert_ne!(stored("b", &"x".repeat(900)), stored("b", &"x".repeat(901)));
    }

    proptest::proptest! {
        #[test]
        fn every_key_fits_and_keeps_every_prefix_that_is_listed_by(key in "[a-zä/]{1,900}", cut in 0..900usize) {
            let bucket = "outcrop-bucket";
            let prefix: String = key.chars().take(cut).collect();
            let name = format!(".bucket-{}.object-{}.upload-{}.metadata.json",
                "x".repeat(base64_bytes(bucket.len())), "x".repeat(base64_bytes(stored(bucket, &key).len())), "x".repeat(36));
            proptest::prop_assert!(name.len() <= FILE_NAME_BYTES);
            proptest::prop_assert!(stored(bucket, &key).starts_with(kept(bucket, &prefix)));
        }
    }
}

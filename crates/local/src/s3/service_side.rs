//! Objects as other services of the laptop meet them, past the wire: files are read where they lie and moved into place.

use std::path::Path;

use super::{S3, long_keys, object_path};

impl S3 {
    /// Whether there is a bucket of this name.
    pub fn has_bucket(&self, bucket: &str) -> bool {
        !bucket.is_empty() && !bucket.contains('/') && self.folder.join(bucket).is_dir()
    }

    /// Keys that begin with `prefix`, and the bytes of their objects, in the order of the keys; none where there is no such
    /// bucket.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn list(&self, bucket: &str, prefix: &str) -> std::io::Result<Vec<(String, u64)>> {
        if !self.has_bucket(bucket) {
            return Ok(Vec::new());
        }
        let root = self.folder.join(bucket);
        let (mut folders, mut found) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            let mut entries = tokio::fs::read_dir(&folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                let (path, about) = (entry.path(), entry.metadata().await?);
                if about.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Some(key) = path.strip_prefix(&root).ok().and_then(Path::to_str) else {
                    continue;
                };
                let original = long_keys::original(&self.folder, key).await;
                found.push((original.unwrap_or_else(|| key.to_owned()), about.len()));
            }
        }
        found.retain(|(key, _)| key.starts_with(prefix));
        found.sort();
        Ok(found)
    }

    /// Opens an object to read it piece by piece; `None` when there is none of that name.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> std::io::Result<Option<tokio::fs::File>> {
        let Some(path) = object_path(&self.folder, bucket, key) else {
            return Ok(None);
        };
        match tokio::fs::File::open(path).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the file `from`, which is below the same folder as the store, a new object.
    ///
    /// # Errors
    /// What the file system says; a key that can be no object's.
    pub async fn adopt(&self, bucket: &str, key: &str, from: &Path) -> std::io::Result<()> {
        let path = object_path(&self.folder, bucket, key);
        let path = path.ok_or_else(|| std::io::Error::other(format!("{key} is no key")))?;
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        long_keys::remember(&self.folder, bucket, key).await?;
        tokio::fs::rename(from, path).await?;
        if let Some(told) = &self.told {
            told.written(bucket, key, "PutObject").await;
        }
        Ok(())
    }
}

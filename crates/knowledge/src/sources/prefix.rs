//! Objects below a prefix of another bucket, with the sidecars that Bedrock knowledge bases read. An object is called by its key
//! below the prefix without slashes before it, so that two may come to one name, as `docs/a` and `docsa` below `docs`: whichever had it
//! first has it.

use std::collections::{BTreeMap, BTreeSet};

use aws::s3::{Bucket, Listed};
use aws::{Aws, AwsError};

use super::mirror::{Document, Mirror};
use super::setting::S3Setting;
use super::{Next, Place, Source, SourceError, failed};
use crate::names::{self, Sidecar};

/// Objects of one page.
const PAGE: usize = 200;

pub(super) struct Prefix {
    bucket: Bucket,
    prefix: String,
    largest: u64,
}

impl Prefix {
    pub fn new(aws: &Aws, setting: &S3Setting) -> Self {
        Self {
            bucket: aws.bucket.other(&setting.bucket),
            prefix: setting.prefix.clone(),
            largest: extract::Limits::default().max_bytes as u64,
        }
    }

    /// An object's name below the prefix.
    fn name<'a>(&self, key: &'a str) -> &'a str {
        let name = key.strip_prefix(&self.prefix).unwrap_or(key);
        name.trim_start_matches('/')
    }

    /// The same in the space.
    fn full_name(&self, mirror: &Mirror<'_>, key: &str) -> String {
        format!("{}/{}", mirror.source, self.name(key))
    }

    fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket.name())
    }

    async fn take(
        &self,
        object: &Listed,
        sidecar_etag: Option<String>,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let (id, name) = (object.key.as_str(), self.name(&object.key));
        let sidecar_version = sidecar_etag.as_deref().unwrap_or("none");
        let version = format!("{}-{}-{sidecar_version}", object.etag, object.bytes);
        if mirror
            .known(id)
            .is_some_and(|known| known.version.as_ref() == Some(&version))
        {
            mirror.keep(id);
            return Ok(());
        }
        if object.bytes > self.largest {
            let words = format!(
                "it has {} bytes, the limit is {}; split it",
                object.bytes, self.largest
            );
            mirror.fail(id, name, "DocumentTooLarge", words);
            return Ok(());
        }
        let sidecar = match sidecar_etag {
            None => Sidecar::default(),
            Some(_) => match self.sidecar(id).await? {
                Ok(sidecar) => sidecar,
                Err(words) => {
                    mirror.fail(id, name, "MalformedMetadata", words);
                    return Ok(());
                }
            },
        };
        let content = match self.bucket.get(id).await {
            // It went while the bucket was listed: the next run does not find it.
            Err(AwsError::Missing { .. }) => return Ok(()),
            Err(AwsError::Refused { detail, .. }) => {
                mirror.fail(id, name, "SourceRefused", refused(&detail));
                return Ok(());
            }
            content => content?,
        };
        let document = Document {
            name: name.to_owned(),
            content,
            uri: Some(self.uri(id)),
            version: Some(version),
            metadata: sidecar.metadata(),
            readers: sidecar.effective_readers(),
            ..Document::default()
        };
        Ok(mirror.store(id, document).await?)
    }

    async fn sidecar(&self, key: &str) -> Result<Result<Sidecar, String>, AwsError> {
        let body = self.bucket.get(&names::sidecar_key(key)).await;
        Ok(match body {
            Err(AwsError::Missing { .. }) => Ok(Sidecar::default()),
            Err(AwsError::Refused { detail, .. }) => Err(refused(&detail)),
            Err(error) => return Err(error),
            Ok(body) => serde_json::from_slice(&body).map_err(|error| {
                format!("its .metadata.json cannot be read ({error}); mend it and sync again")
            }),
        })
    }
}

fn refused(detail: &str) -> String {
    format!("S3 refused it ({detail}); let the function read the bucket and sync again")
}

/// Whose a name is that `id` comes to as well: another object's that the listing has met, or may still meet.
fn holder<'a>(
    names: &'a BTreeMap<String, String>,
    mirror: &Mirror<'_>,
    name: &str,
    id: &str,
) -> Option<&'a String> {
    let other = names.get(name).filter(|other| *other != id)?;
    let sweep = &mirror.state.sweep;
    let met = sweep.seen.contains(other) || sweep.failed.contains_key(other);
    (met || other.as_str() > id).then_some(other)
}

/// The object has no copy under a name that is another's; its own would stand in that one's place.
fn refuse_name(mirror: &mut Mirror<'_>, id: &str, uri: &str, other: &str) {
    let items = &mut mirror.state.items;
    // An earlier release kept both, and the copy is of either.
    if items.remove(id).is_some()
        && let Some(item) = items.get_mut(other)
    {
        item.forget_version();
    }
    let words = format!(
        "{other} has its name below the prefix; give one of them another key, or end the prefix with a slash, and sync again"
    );
    mirror.fail(id, uri, "NameTaken", words);
}

impl Source for Prefix {
    async fn ask(&mut self, place: &Place, mirror: &mut Mirror<'_>) -> Result<Next, SourceError> {
        let after = place.position.as_deref();
        let page = self.bucket.list_page(&self.prefix, after, PAGE).await;
        let (listed, more) = page.map_err(|error| match error {
            AwsError::Refused { detail, .. } => failed("SourceRefused", refused(&detail)),
            AwsError::Missing { .. } => failed("SourceMissing", "there is no such bucket"),
            error => error.into(),
        })?;
        let etags: BTreeMap<&str, &str> = listed
            .iter()
            .map(|object| (object.key.as_str(), object.etag.as_str()))
            .collect();
        let last = listed.last().map(|object| object.key.clone());
        let asked: BTreeSet<String> = listed
            .iter()
            .map(|one| self.full_name(mirror, &one.key))
            .collect();
        // Of this page only: a source may have more names than are worth copying for each page.
        let items = mirror.state.items.iter();
        let items = items.filter(|(_, item)| !item.gone && asked.contains(&item.name));
        let mut holders = BTreeMap::new();
        for (id, item) in items {
            holders
                .entry(item.name.clone())
                .or_insert_with(|| id.clone());
        }
        for object in &listed {
            if names::is_sidecar(&object.key) || object.key.ends_with('/') {
                continue;
            }
            let name = self.full_name(mirror, &object.key);
            if let Some(other) = holder(&holders, mirror, &name, &object.key) {
                let uri = self.uri(&object.key);
                refuse_name(mirror, &object.key, &uri, other);
                continue;
            }
            let sidecar = names::sidecar_key(&object.key);
            let etag = match etags.get(sidecar.as_str()) {
                Some(etag) => Some((*etag).to_owned()),
                // It would stand on the page if it were before its end.
                None if last.as_ref().is_some_and(|last| *last > sidecar) || !more => None,
                None => match self.bucket.head(&sidecar).await {
                    Err(AwsError::Refused { detail, .. }) => {
                        let (id, name) = (&object.key, self.name(&object.key));
                        mirror.fail(id, name, "SourceRefused", refused(&detail));
                        continue;
                    }
                    found => found?.map(|found| found.etag),
                },
            };
            self.take(object, etag, mirror).await?;
            if mirror.known(&object.key).is_some() {
                holders.insert(name, object.key.clone());
            }
            if mirror.is_time_up() {
                return Ok(Next::more(object.key.clone()));
            }
        }
        Ok(match last.filter(|_| more) {
            Some(position) => Next::more(position),
            None => Next::End {
                cursor: None,
                complete: true,
            },
        })
    }
}

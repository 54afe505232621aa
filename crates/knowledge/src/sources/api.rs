//! What REST APIs behind a credential have in common: listings by page, and documents that are read one by one.

use std::future::Future;

use aws::{Aws, AwsError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Origin, Url};

use super::mirror::{Mirror, file_name};
use super::{Next, Place, Source, SourceError, failed, passing};

/// Documents that are read in one question.
const READS: usize = 25;

/// An API that lists documents page by page, and gives each of them on its own.
pub(super) trait Api: Send {
    /// A document of a listing that is to be read.
    type Entry: Serialize + DeserializeOwned + Send + Sync;

    /// Where the listing of a run begins.
    fn first(&mut self, place: &Place) -> impl Future<Output = Result<String, SourceError>> + Send;

    /// Takes a page of the listing: what is as it was stays, what is gone goes, the rest waits in the position.
    fn list(
        &mut self,
        page: &str,
        position: &mut Position<Self::Entry>,
        mirror: &mut Mirror<'_>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Reads one document into the mirror.
    fn read(
        &mut self,
        entry: &Self::Entry,
        mirror: &mut Mirror<'_>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Where a run stands: the documents of one page that are still to be read, and the page after it.
#[derive(Serialize, Deserialize)]
pub(super) struct Position<Entry> {
    pub waiting: Vec<Entry>,
    pub next: Option<String>,
    /// What the next run is to go on from.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Whether a page was no first one.
    #[serde(default)]
    pub within: bool,
    /// Whether only changes are listed, or an entry had no id: what was not met is then not gone.
    #[serde(default)]
    pub partial: bool,
}

impl<A: Api> Source for A {
    async fn ask(&mut self, place: &Place, mirror: &mut Mirror<'_>) -> Result<Next, SourceError> {
        let mut position: Position<A::Entry> = match &place.position {
            Some(text) => position(text)?,
            None => Position {
                waiting: Vec::new(),
                next: Some(self.first(place).await?),
                cursor: None,
                within: false,
                partial: place.cursor.is_some(),
            },
        };
        if position.waiting.is_empty() {
            let Some(page) = position.next.take() else {
                return Ok(Next::End {
                    cursor: position.cursor,
                    complete: !position.partial,
                });
            };
            self.list(&page, &mut position, mirror).await?;
            position.within = true;
        }
        for _ in 0..READS {
            if mirror.is_time_up() {
                break;
            }
            let Some(entry) = position.waiting.pop() else {
                break;
            };
            match self.read(&entry, mirror).await {
                Err(SourceError::Busy { seconds }) => {
                    position.waiting.push(entry);
                    return Ok(Next::later(written(&position), seconds));
                }
                read => read?,
            }
        }
        Ok(Next::more(written(&position)))
    }
}

/// Where a run stands, as it was written.
pub(super) fn position<T: DeserializeOwned>(text: &str) -> Result<T, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| failed("SourceStateUnreadable", format!("{error}; sync again")))
}

pub(super) fn written<T: Serialize>(position: &T) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

/// An entry of a listing. One that cannot be read fails by itself: the others are not lost for it.
pub(super) fn entry<T: DeserializeOwned>(
    value: Value,
    error: &'static str,
    partial: &mut bool,
    mirror: &mut Mirror<'_>,
) -> Option<T> {
    let id = value["id"].as_str().filter(|id| !id.is_empty());
    let id = id.map(str::to_owned);
    match serde_json::from_value(value) {
        Ok(entry) if id.is_some() => Some(entry),
        _ => {
            // Whose entry it is nobody knows.
            *partial |= id.is_none();
            let id = id.unwrap_or_else(|| "?".to_owned());
            let words = "it is listed in a form that is not the one expected; sync again later";
            mirror.fail(&id, &file_name("", &id, ""), error, words);
            None
        }
    }
}

/// A link of a reply, or a path of the API. One that leads elsewhere is refused, since the credential would go along.
pub(super) fn own_link(base: &Url, link: &str) -> Result<Url, SourceError> {
    let url = base.join(link).ok();
    let url = url.filter(|url| url.origin() == base.origin());
    url.ok_or_else(|| failed("SourceUnreadable", "a link of its reply leads elsewhere"))
}

/// A secret, with the origins that whoever keeps it lets it be sent to: who sets a source up names any URL.
#[derive(Deserialize)]
struct Secret<T> {
    #[serde(default)]
    origins: Vec<String>,
    #[serde(flatten)]
    credential: T,
}

/// Reads a secret that holds JSON, to be sent to `trusted` and nowhere else. Its text goes into no message.
///
/// # Errors
/// `InsecureUrl`, `SecretMissing`, `SecretRefused`, `SecretUnreadable`, and `SecretOriginRefused` for a URL of an origin
/// that the secret does not list.
pub(super) async fn secret<T: DeserializeOwned>(
    aws: &Aws,
    name: &str,
    trusted: &[&Url],
) -> Result<T, SourceError> {
    if let Some(open) = trusted
        .iter()
        .find(|url| !aws.web.keeps_secrets(url.as_str()))
    {
        let words = format!("{open} is no https URL, and a secret is sent to no other");
        return Err(failed("InsecureUrl", words));
    }
    let text = aws.secrets.text(name).await.map_err(|error| match error {
        AwsError::Missing { .. } => failed(
            "SecretMissing",
            format!("there is no secret {name}; make it in Secrets Manager"),
        ),
        AwsError::Refused { .. } => failed(
            "SecretRefused",
            format!("the function may not read the secret {name}"),
        ),
        error => error.into(),
    })?;
    let Secret {
        origins,
        credential,
    } = serde_json::from_str(&text).map_err(|_| {
        failed(
            "SecretUnreadable",
            format!("the secret {name} is not the JSON that this source needs"),
        )
    })?;
    let origins = origins.iter().filter_map(|one| Url::parse(one).ok());
    let origins: Vec<Origin> = origins.map(|one| one.origin()).collect();
    let listed = |url: &Url| origins.contains(&url.origin());
    match trusted.iter().find(|url| !listed(url)) {
        None => Ok(credential),
        Some(url) => {
            let origin = url.origin().ascii_serialization();
            let words = format!(
                "the secret {name} does not list {origin} among its \"origins\"; add it there if the secret may be sent to it"
            );
            Err(failed("SecretOriginRefused", words))
        }
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(body).map_err(|error| {
        failed(
            "SourceUnreadable",
            format!("its reply is not the one expected: {error}"),
        )
    })
}

pub(super) fn refused(status: u16, secret: &str) -> SourceError {
    failed(
        "CredentialRefused",
        format!(
            "it answered {status}; renew what the secret {secret} holds, or let it see the pages"
        ),
    )
}

pub(super) fn unreadable(status: u16) -> SourceError {
    let words = format!("it answered {status}; sync again later");
    match status >= 500 {
        true => passing("SourceUnreadable", words),
        false => failed("SourceUnreadable", words),
    }
}

//! What REST APIs behind a credential have in common.

use aws::{Aws, AwsError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::{Origin, Url};

use super::{SourceError, failed};

/// Where a run stands, as it was written.
pub(super) fn position<T: DeserializeOwned>(text: &str) -> Result<T, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| failed("SourceStateUnreadable", format!("{error}; sync again")))
}

pub(super) fn written<T: Serialize>(position: &T) -> String {
    serde_json::to_string(position).unwrap_or_default()
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
    failed(
        "SourceUnreadable",
        format!("it answered {status}; sync again later"),
    )
}

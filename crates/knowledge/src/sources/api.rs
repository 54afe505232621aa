//! What REST APIs behind a credential have in common.

use aws::{Aws, AwsError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SourceError, failed};

/// Where a run stands, as it was written.
pub(super) fn position<T: DeserializeOwned>(text: &str) -> Result<T, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| failed("SourceStateUnreadable", format!("{error}; sync again")))
}

pub(super) fn written<T: Serialize>(position: &T) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

/// Reads a secret that holds JSON. Its text goes into no message.
pub(super) async fn secret<T: DeserializeOwned>(aws: &Aws, name: &str) -> Result<T, SourceError> {
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
    serde_json::from_str(&text).map_err(|_| {
        failed(
            "SecretUnreadable",
            format!("the secret {name} is not the JSON that this source needs"),
        )
    })
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

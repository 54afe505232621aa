//! Secrets by name, read when a source is asked and kept nowhere.

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;

use crate::{AwsError, Lazy, classify, lazily};

const SERVICE: &str = "Secrets Manager";

/// The account's secrets, as far as the function may read them.
#[derive(Clone, Debug)]
pub struct Secrets {
    client: Lazy<Client>,
}

impl Secrets {
    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let sdk = sdk.clone();
        Self {
            client: lazily(move || Client::new(&sdk)),
        }
    }

    /// The current text of a secret.
    ///
    /// # Errors
    /// [`AwsError::Missing`] when there is none of that name, or it holds no text.
    pub async fn text(&self, name: &str) -> Result<String, AwsError> {
        let missing = || AwsError::Missing {
            what: format!("the secret {name}"),
        };
        let reply = self.client.get_secret_value().secret_id(name).send().await;
        let reply = reply.map_err(|error| match classify(SERVICE, error) {
            AwsError::Refused { detail, .. } if detail.starts_with("ResourceNotFound") => missing(),
            other => other,
        })?;
        reply.secret_string.ok_or_else(missing)
    }
}

//! Secrets Manager on the laptop: each secret is a file below `secrets/`, by its name. Reading is all that it does; a file
//! is made and changed with an editor.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

/// The folder of secrets.
#[derive(Debug, Clone)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Answers an operation, or its error by name and in words.
    ///
    /// # Errors
    /// Secrets Manager's own: `ResourceNotFoundException`, `InvalidRequestException`.
    pub async fn answer(&self, target: &str, body: &[u8]) -> Result<Value, (&'static str, String)> {
        if target != "secretsmanager.GetSecretValue" {
            let words = format!(
                "the laptop does not run {target}; it runs GetSecretValue, and secrets are files below its secrets folder"
            );
            return Err(("InvalidRequestException", words));
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = request["SecretId"].as_str().unwrap_or_default();
        let missing = || {
            let words = "Secrets Manager can't find the specified secret.".to_owned();
            ("ResourceNotFoundException", words)
        };
        let inside = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !inside {
            return Err(missing());
        }
        let text = tokio::fs::read_to_string(self.folder.join(name)).await;
        let text = text.map_err(|_| missing())?;
        Ok(json!({
            "ARN": format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}-000000"),
            "Name": name,
            "SecretString": text.trim_end_matches('\n'),
            "VersionStages": ["AWSCURRENT"],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_are_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("secrets/outcrop/team")).unwrap();
        std::fs::write(
            folder.path().join("secrets/outcrop/team/wiki"),
            "{\"token\": \"t\"}\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("outside"), "x").unwrap();
        let secrets = Secrets::new(&folder.path().join("secrets"));
        let read = async |id: &str| {
            let body = json!({ "SecretId": id }).to_string();
            let reply = secrets
                .answer("secretsmanager.GetSecretValue", body.as_bytes())
                .await;
            reply
                .map(|reply| reply["SecretString"].clone())
                .map_err(|(name, _)| name)
        };
        assert_eq!(
            read("outcrop/team/wiki").await,
            Ok(json!("{\"token\": \"t\"}"))
        );
        for id in [
            "outcrop/team/other",
            "../outside",
            "",
            "/etc/passwd",
            "outcrop",
        ] {
            assert_eq!(read(id).await, Err("ResourceNotFoundException"), "{id}");
        }
        let other = secrets.answer("secretsmanager.CreateSecret", b"{}").await;
        assert_eq!(other.unwrap_err().0, "InvalidRequestException");
    }
}

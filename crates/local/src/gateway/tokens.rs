//! The laptop's sign-in: a token says that its bearer acts as a user with groups, signed with a key of the data folder.
//!
//! It stands where a user pool's tokens stand on AWS, so that roles and readers can be tried with several callers.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

const ISSUER: &str = "outcrop-laptop";
const KEY_FILE: &str = "token.key";
const KEY_BYTES: usize = 32;

/// Signs tokens and reads them again.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub sub: String,
    /// As Amazon Cognito names the claim.
    #[serde(rename = "cognito:groups", default)]
    pub groups: Vec<String>,
    iss: String,
    iat: u64,
    exp: u64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{detail}")]
    Key { detail: String },
    #[error(
        "{name:?} cannot name a user; leave out control characters, and do not begin with \"arn:\""
    )]
    User { name: String },
    #[error(
        "{name:?} cannot name a group; leave out spaces, commas and brackets, and do not begin with \"arn:\""
    )]
    Group { name: String },
}

impl Tokens {
    /// Reads the key of a data folder; makes one where there is none.
    ///
    /// # Errors
    /// [`TokenError::Key`] when the key can be neither read nor made.
    pub fn open(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(KEY_FILE);
        let failed = |error: std::io::Error| TokenError::Key {
            detail: format!("the key {} cannot be used ({error})", path.display()),
        };
        let key = match std::fs::read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_key(data, &path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        if key.len() != KEY_BYTES {
            let detail = format!(
                "the key {} is not of {KEY_BYTES} bytes; delete it, and a new one is made",
                path.display()
            );
            return Err(TokenError::Key { detail });
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = 0;
        Ok(Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            validation,
        })
    }

    /// A token for a user with groups, good for `lifetime` from `now_ms`.
    ///
    /// # Errors
    /// [`TokenError`], for names that no authorizer could hand on.
    pub fn issue(
        &self,
        user: &str,
        groups: &[String],
        lifetime: Duration,
        now_ms: u64,
    ) -> Result<String, TokenError> {
        let is_arn = |name: &str| name.starts_with("arn:");
        if user.trim().is_empty() || user.chars().any(char::is_control) || is_arn(user) {
            return Err(TokenError::User { name: user.into() });
        }
        let unfit = |letter: char| letter.is_whitespace() || ",[]".contains(letter);
        let unfit = |name: &&String| name.is_empty() || name.contains(unfit) || is_arn(name);
        if let Some(name) = groups.iter().find(unfit) {
            return Err(TokenError::Group { name: name.clone() });
        }
        let iat = now_ms / 1000;
        let claims = Claims {
            sub: user.to_owned(),
            groups: groups.to_vec(),
            iss: ISSUER.to_owned(),
            iat,
            exp: iat + lifetime.as_secs(),
        };
        encode(&Header::default(), &claims, &self.encoding).map_err(|error| TokenError::Key {
            detail: error.to_string(),
        })
    }

    /// What a token says, if it is one of this folder's and has not ended.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
        let read = decode::<Claims>(token, &self.decoding, &self.validation);
        read.ok().map(|token| token.claims)
    }
}

/// A new key, which only its owner may read. Of two programs that make one at once, one wins.
fn make_key(data: &Path, path: &Path) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(data)?;
    let key: [u8; KEY_BYTES] = rand::random();
    let beside = data.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&beside)?.write_all(&key)?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    match linked {
        Ok(()) => Ok(key.to_vec()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => std::fs::read(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now_ms() -> u64 {
        aws::clock::now_ms()
    }

    #[test]
    fn a_token_is_read_by_its_folder_only() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokens = Tokens::open(folder.path()).unwrap();
        let groups = ["staff".to_owned()];
        let token = tokens.issue("ada", &groups, HOUR, now_ms()).unwrap();
        let again = Tokens::open(folder.path()).unwrap();
        let claims = again.read(&token).unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.groups),
            ("ada", groups.to_vec())
        );
        assert_eq!(Tokens::open(other.path()).unwrap().read(&token), None);
        let long_ago = now_ms() - 2 * 3_600_000;
        let ended = tokens.issue("ada", &[], HOUR, long_ago).unwrap();
        assert_eq!(tokens.read(&ended), None);
    }

    #[test]
    fn forged_tokens_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let token = tokens.issue("ada", &[], HOUR, now_ms()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        claims["sub"] = json!("local");
        let (other, unsigned) = (part(claims), part(json!({"alg": "none", "typ": "JWT"})));
        let forged = [
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{unsigned}.{other}."),
            format!("{unsigned}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{token}x"),
            parts[..2].join("."),
            "local".to_owned(),
            String::new(),
        ];
        for token in forged {
            assert_eq!(tokens.read(&token), None, "{token}");
        }
    }

    #[test]
    fn names_that_no_authorizer_hands_on_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let check = |user: &str, group: &str, ok: bool| {
            let groups = [group.to_owned()];
            let issued = tokens.issue(user, &groups, HOUR, now_ms());
            assert_eq!(issued.is_ok(), ok, "{user:?} {group:?}");
        };
        check("ada", "staff", true);
        check(" ", "staff", false);
        check("arn:aws:iam::1:user/a", "staff", false);
        check("ada", "staff,admins", false);
        check("ada", "a b", false);
        check("ada", "", false);
        check("ada", "arn:aws:sts::1:assumed-role/x", false);
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_FILE), "short").unwrap();
        assert!(Tokens::open(folder.path()).is_err());
    }
}

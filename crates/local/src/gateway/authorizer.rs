//! Who calls: the laptop's owner, or whom a token stands for.
//!
//! Whoever can reach loopback owns the laptop, so a request without a token, or signed as for AWS, is the owner's. A
//! request that brings a token is the token's, and one that is not good is refused instead of being taken for the owner.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::tokens::Tokens;

/// The user that the laptop's owner is.
const OWNER: &str = "local";
/// How a request signed for AWS begins. On AWS its signature is checked by IAM; here it stands for nobody else.
const SIGNED: &str = "AWS4-HMAC-SHA256 ";

/// The request brings a token that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unauthorized;

/// The claims that the functions are told, in the form in which API Gateway hands on those of a user pool.
pub(super) fn claims(headers: &HeaderMap, tokens: &Tokens) -> Result<Value, Unauthorized> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (given.next(), given.next());
    let text = match (first, second) {
        (None, _) => return Ok(json!({ "sub": OWNER })),
        (Some(value), None) => value.to_str().map_err(|_| Unauthorized)?,
        // Which of two counts is a question that only an attacker asks.
        (Some(_), Some(_)) => return Err(Unauthorized),
    };
    if text.starts_with(SIGNED) {
        return Ok(json!({ "sub": OWNER }));
    }
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(Unauthorized),
    };
    let claims = tokens.read(token).ok_or(Unauthorized)?;
    Ok(json!({ "sub": claims.sub, "cognito:groups": claims.groups.join(",") }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_that_is_not_good_is_not_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let groups = ["staff".to_owned(), "legal".to_owned()];
        let hour = Duration::from_secs(3600);
        let token = tokens
            .issue("ada", &groups, hour, aws::clock::now_ms())
            .unwrap();
        let check = |given: &[&str], expected: Result<Value, Unauthorized>| {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(claims(&headers, &tokens), expected, "{given:?}");
        };
        let owner = || Ok(json!({"sub": "local"}));
        let ada = || Ok(json!({"sub": "ada", "cognito:groups": "staff,legal"}));
        check(&[], owner());
        check(&["AWS4-HMAC-SHA256 Credential=outcrop/x"], owner());
        check(&[&format!("Bearer {token}")], ada());
        check(&[&format!("bearer  {token}")], ada());
        for given in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer local",
            "Basic bG9jYWw6",
            "local",
            &token,
        ] {
            check(&[given], Err(Unauthorized));
        }
        let (bearer, signed) = (format!("Bearer {token}"), "AWS4-HMAC-SHA256 x");
        check(&[signed, &bearer], Err(Unauthorized));
        check(&[&bearer, &bearer], Err(Unauthorized));
    }
}

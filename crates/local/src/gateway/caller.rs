//! Who may call a server on loopback: programs of this machine, and pages that it served itself.
//!
//! A browser sends a foreign page's requests here too: under a name of its own that resolves to loopback, or as a form
//! or an upload, which needs no permission. `Host` gives the first away, `Origin` the second.

use axum::http::HeaderMap;
use axum::http::header::{HOST, HeaderName, ORIGIN};

/// Why a caller is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("this server answers requests to 127.0.0.1 and localhost only")]
    Host,
    #[error(
        "this server takes no requests from pages of another origin; open the page that it serves itself"
    )]
    Origin,
}

impl Foreign {
    /// The machine-readable name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Host => "ForeignHost",
            Self::Origin => "ForeignOrigin",
        }
    }
}

/// Looks at `Host` and, where a browser sends one, `Origin`.
///
/// # Errors
/// [`Foreign`], when either names another place than loopback.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Foreign> {
    if !text(headers, &HOST).is_some_and(is_loopback) {
        return Err(Foreign::Host);
    }
    let same = |origin: &str| {
        let authority = origin.strip_prefix("http://");
        authority.is_some_and(is_loopback)
    };
    if headers.contains_key(ORIGIN) && !text(headers, &ORIGIN).is_some_and(same) {
        return Err(Foreign::Origin);
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether `name` or `name:port` is loopback.
fn is_loopback(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_call() {
        let verdict = |host: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            check(&headers).map_err(|foreign| foreign.name())
        };
        for host in ["127.0.0.1:8787", "127.0.0.1", "localhost:1", "[::1]:8787"] {
            assert_eq!(verdict(Some(host), None), Ok(()), "{host}");
        }
        for host in [
            "attacker.example:8787",
            "127.0.0.1.attacker.example",
            "localhost:1:x",
            "",
        ] {
            assert_eq!(verdict(Some(host), None), Err("ForeignHost"), "{host}");
        }
        assert_eq!(verdict(None, None), Err("ForeignHost"));
        for origin in ["http://127.0.0.1:8787", "http://localhost:3000"] {
            assert_eq!(
                verdict(Some("localhost:8787"), Some(origin)),
                Ok(()),
                "{origin}"
            );
        }
        for origin in [
            "https://attacker.example",
            "null",
            "http://127.0.0.1.attacker.example",
        ] {
            let given = verdict(Some("127.0.0.1:8787"), Some(origin));
            assert_eq!(given, Err("ForeignOrigin"), "{origin}");
        }
    }
}

//! What a space's sources are.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::KnowledgeError;

/// Pages that one website may bring.
const PAGES: u32 = 20_000;

/// Where documents come from. A secret is named by its last part: `wiki` is the secret `outcrop/<space>/wiki`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SourceSetting {
    S3(S3Setting),
    Website(WebsiteSetting),
    Confluence(ConfluenceSetting),
    Sharepoint(SharepointSetting),
}

/// Objects below a prefix of another bucket, with `.metadata.json` sidecars as Bedrock knowledge bases have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Setting {
    pub bucket: String,
    #[serde(default)]
    pub prefix: String,
}

/// The pages of the sites that it begins at, along their links and sitemaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebsiteSetting {
    pub start: Vec<String>,
    /// Whether sitemaps are read; on without a word.
    #[serde(default = "yes")]
    pub sitemap: bool,
    /// Links from a start to a page at the most.
    #[serde(default = "depth")]
    pub depth: u32,
    /// Pages at the most.
    #[serde(default = "pages")]
    pub pages: u32,
    /// Milliseconds between two requests; what the site asks for counts where it is more.
    #[serde(default = "pause")]
    pub pause_ms: u64,
}

/// Pages of Confluence Cloud. The secret is JSON: `{"email": …, "token": …, "origins": […]}`, or without an `email`, and
/// the token is sent as bearer. `origins` lists where it may be sent to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfluenceSetting {
    /// `https://example.atlassian.net`.
    pub url: String,
    pub secret: String,
    /// Keys of its spaces; all that the credential reads without.
    #[serde(default)]
    pub spaces: Vec<String>,
}

/// Files of a SharePoint site's library, through Microsoft Graph. The secret is JSON:
/// `{"tenant": …, "client_id": …, "client_secret": …, "origins": […]}`, with the origins of `graph` and `login`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharepointSetting {
    /// `example.sharepoint.com:/sites/team:`, or the site's id.
    pub site: String,
    pub secret: String,
    #[serde(default = "graph")]
    pub graph: String,
    #[serde(default = "login")]
    pub login: String,
}

impl SourceSetting {
    /// URLs that its secret is sent to, or what the secret was given in exchange.
    pub(super) fn trusted(&self) -> Vec<&str> {
        match self {
            Self::S3(_) | Self::Website(_) => Vec::new(),
            Self::Confluence(wiki) => vec![&wiki.url],
            Self::Sharepoint(library) => vec![&library.graph, &library.login],
        }
    }
}

fn yes() -> bool {
    true
}

fn depth() -> u32 {
    5
}

fn pages() -> u32 {
    1_000
}

fn pause() -> u64 {
    500
}

fn graph() -> String {
    "https://graph.microsoft.com".to_owned()
}

fn login() -> String {
    "https://login.microsoftonline.com".to_owned()
}

/// `PUT /v1/spaces/{space}/sources/{source}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceForm {
    pub source: SourceSetting,
    /// Who may read its documents. The permissions of the source itself are not taken over; those of an S3 source's
    /// sidecars are, and stand instead.
    pub readers: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SourceRow {
    pub name: String,
    pub version: u64,
    pub source: SourceSetting,
    pub readers: Vec<String>,
    /// The next run deletes its documents, and then this.
    #[serde(default)]
    pub removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SourceRun>,
}

/// How the last run found a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRun {
    pub run_id: String,
    pub ended_at: String,
    /// Documents that are held of the source.
    pub documents: u64,
    /// Documents that it could not give.
    pub failed: u64,
    /// Why it could not be asked as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A source as admins see it.
#[derive(Debug, Clone, Serialize)]
pub struct SourceView {
    pub name: String,
    pub source: SourceSetting,
    pub readers: Vec<String>,
    /// Whether the next run takes its documents out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<SourceRun>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourcePage {
    pub sources: Vec<SourceView>,
}

impl From<SourceRow> for SourceView {
    fn from(row: SourceRow) -> Self {
        Self {
            name: row.name,
            source: row.source,
            readers: row.readers,
            removed: row.removed,
            last: row.last,
        }
    }
}

/// The full name of a space's secret: one space cannot name another's.
pub(super) fn secret_name(space: &str, secret: &str) -> String {
    format!("outcrop/{space}/{secret}")
}

pub(super) fn invalid(problem: &str) -> KnowledgeError {
    KnowledgeError::InvalidSource {
        problem: problem.to_owned(),
    }
}

/// Refuses what cannot be asked.
pub(super) fn check(source: &SourceSetting, own_bucket: &str) -> Result<(), KnowledgeError> {
    match source {
        SourceSetting::S3(S3Setting { bucket, .. }) if bucket == own_bucket => Err(invalid(
            "the bucket is Outcrop's own; put documents below sources/ there, they need no source",
        )),
        SourceSetting::S3(S3Setting { bucket, .. }) if bucket.is_empty() => {
            Err(invalid("it names no bucket"))
        }
        SourceSetting::S3(_) => Ok(()),
        SourceSetting::Website(WebsiteSetting { start, pages, .. }) => {
            if start.is_empty() || start.len() > 50 {
                return Err(invalid("start is not 1 to 50 URLs"));
            }
            if !(1..=PAGES).contains(pages) {
                return Err(invalid("pages is not from 1 to 20000"));
            }
            start.iter().try_for_each(|url| check_url(url))
        }
        SourceSetting::Confluence(wiki) => {
            check_secret(&wiki.secret)?;
            let plain = |key: &String| {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"~_-.".contains(&byte);
                !key.is_empty() && key.bytes().all(allowed)
            };
            if !wiki.spaces.iter().all(plain) {
                return Err(invalid("one of its spaces is no key of a Confluence space"));
            }
            check_url(&wiki.url)
        }
        SourceSetting::Sharepoint(SharepointSetting {
            site,
            secret,
            graph,
            login,
        }) => {
            check_secret(secret)?;
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".,:/_-%".contains(&byte);
            // A dot that is escaped is one all the same: such a path would leave the sites.
            let plain = site.to_ascii_lowercase().replace("%2e", ".");
            if site.is_empty() || !site.bytes().all(allowed) || plain.contains("..") {
                return Err(invalid(
                    "site is no id of a SharePoint site and no host:/path:",
                ));
            }
            check_url(graph)?;
            check_url(login)
        }
    }
}

fn check_secret(secret: &str) -> Result<(), KnowledgeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    match (1..=64).contains(&secret.len()) && secret.bytes().all(allowed) {
        true => Ok(()),
        false => Err(invalid(
            "secret is not 1 to 64 of letters, digits, '_', '-' and '.'",
        )),
    }
}

fn check_url(text: &str) -> Result<(), KnowledgeError> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let url =
        url.filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
    match url {
        Some(_) => Ok(()),
        None => Err(KnowledgeError::InvalidSource {
            problem: format!("{text:?} is no http or https URL without a user in it"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn settings_are_checked() {
        let valid = |source: Value, ok: bool| {
            let read: Result<SourceSetting, _> = serde_json::from_value(source.clone());
            let checked = read.is_ok_and(|source| check(&source, "own").is_ok());
            assert_eq!(checked, ok, "{source}");
        };
        valid(json!({"kind": "s3", "bucket": "b"}), true);
        valid(json!({"kind": "s3", "bucket": "own"}), false);
        valid(json!({"kind": "s3"}), false);
        valid(
            json!({"kind": "website", "start": ["https://example.com/"]}),
            true,
        );
        valid(json!({"kind": "website", "start": []}), false);
        valid(
            json!({"kind": "website", "start": ["file:///etc/passwd"]}),
            false,
        );
        valid(
            json!({"kind": "website", "start": ["https://user:secret@example.com/"]}),
            false,
        );
        valid(
            json!({"kind": "website", "start": ["https://example.com/"], "pages": 0}),
            false,
        );
        valid(
            json!({"kind": "website", "start": ["https://example.com/"], "dept": 1}),
            false,
        );
        let wiki = "https://example.atlassian.net";
        valid(
            json!({"kind": "confluence", "url": wiki, "secret": "wiki", "spaces": ["ENG"]}),
            true,
        );
        valid(
            json!({"kind": "confluence", "url": wiki, "secret": "../team/wiki"}),
            false,
        );
        valid(
            json!({"kind": "confluence", "url": wiki, "secret": "wiki", "spaces": ["A&b"]}),
            false,
        );
        let site = "example.sharepoint.com:/sites/team:";
        valid(
            json!({"kind": "sharepoint", "site": site, "secret": "team"}),
            true,
        );
        valid(
            json!({"kind": "sharepoint", "site": "a/../b", "secret": "team"}),
            false,
        );
        valid(
            json!({"kind": "sharepoint", "site": "a/%2E%2e/users/b", "secret": "team"}),
            false,
        );
        valid(
            json!({"kind": "sharepoint", "site": "a?b", "secret": "team"}),
            false,
        );
        valid(json!({"kind": "gopher"}), false);
    }
}

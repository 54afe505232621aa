//! What a URL and a reply say about a page.

use aws::web::{WebReply, WebRequest};
use url::Url;

use super::robots::PRODUCT;
use crate::sources::mirror::file_name;

pub(super) fn request(url: &Url, limit: u64) -> WebRequest {
    WebRequest {
        url: url.to_string(),
        limit,
        ..WebRequest::default()
    }
}

pub(super) fn location(url: &Url, reply: &WebReply) -> Option<Url> {
    url.join(reply.headers.get("location")?).ok()
}

/// A URL as it is known: without a fragment, a user or a password.
pub(super) fn plain(mut url: Url) -> Option<Url> {
    let web = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
    url.set_fragment(None);
    (web && url.password().is_none()).then_some(url)
}

/// Whether `X-Robots-Tag` asks us not to index. Before a directive may stand the crawler that it is meant for.
/// Source: Google Search Central, Robots meta tag, data-nosnippet, and X-Robots-Tag specifications.
pub(super) fn is_unlisted(reply: &WebReply) -> bool {
    let tag = reply.headers.get("x-robots-tag");
    let tag = tag.map(|tag| tag.to_ascii_lowercase()).unwrap_or_default();
    tag.split(',').any(|one| {
        let (crawler, directive) = match one.split_once(':') {
            Some((crawler, directive)) => (Some(crawler.trim()), directive.trim()),
            None => (None, one.trim()),
        };
        matches!(directive, "noindex" | "none") && crawler.is_none_or(|name| name == PRODUCT)
    })
}

/// The ending of the document's name by what the reply says it is; `None` for what is no document.
pub(super) fn ending(reply: &WebReply) -> Option<&'static str> {
    let kind = reply
        .headers
        .get("content-type")
        .map_or("text/html", String::as_str);
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    Some(match kind.as_str() {
        "" | "text/html" | "application/xhtml+xml" => ".html",
        "text/plain" => ".txt",
        "text/markdown" => ".md",
        "text/csv" => ".csv",
        "application/json" => ".json",
        "application/pdf" => ".pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => ".docx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation" => ".pptx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => ".xlsx",
        _ => return None,
    })
}

pub(super) fn name(url: &Url, ending: &str) -> String {
    let path = url.path().trim_matches('/');
    let path = path.strip_suffix(ending).unwrap_or(path);
    let words = if path.is_empty() { "index" } else { path };
    file_name(words, url.as_str(), ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_names() {
        let check = |url: &str, begins: &str| {
            let name = name(&Url::parse(url).unwrap(), ".html");
            assert!(
                name.starts_with(begins) && name.ends_with(".html"),
                "{name}"
            );
        };
        check("https://example.com/", "index-");
        check("https://example.com/docs/a.html", "docs-a-");
        check("https://example.com/docs/?page=2", "docs-");
    }

    #[test]
    fn what_asks_not_to_be_indexed_is_seen() {
        let check = |tag: Option<&str>, expected: bool| {
            let mut reply = WebReply::default();
            let tag = tag.map(|tag| ("x-robots-tag".to_owned(), tag.to_owned()));
            reply.headers.extend(tag);
            assert_eq!(is_unlisted(&reply), expected, "{reply:?}");
        };
        check(None, false);
        check(Some("noindex"), true);
        check(Some("NoFollow, NOINDEX"), true);
        check(Some("none"), true);
        check(Some("outcrop: noindex"), true);
        check(Some("otherbot: noindex"), false);
        check(Some("max-image-preview: none"), false);
    }

    #[test]
    fn what_is_no_document_is_left_out() {
        let check = |kind: Option<&str>, expected: Option<&str>| {
            let mut reply = WebReply::default();
            let kind = kind.map(|kind| ("content-type".to_owned(), kind.to_owned()));
            reply.headers.extend(kind);
            assert_eq!(ending(&reply), expected, "{reply:?}");
        };
        check(Some("text/html; charset=utf-8"), Some(".html"));
        check(Some("Application/PDF"), Some(".pdf"));
        check(Some("image/png"), None);
        check(None, Some(".html"));
    }
}

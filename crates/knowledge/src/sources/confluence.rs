//! Confluence Cloud: its pages as it renders them, through its REST API, version 2.
//!
//! Each run lists all pages with their versions, 250 in a request and without their bodies, and reads only the bodies of
//! those that changed. A search for what was modified would tell of fewer, and not of what was deleted.
//! Source: Confluence Cloud REST API v2, operations getSpaces, getPages and getPageById.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::Aws;
use aws::web::{WebReply, WebRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::api::{Api, Position, entry, own_link, read, refused, secret, unreadable};
use super::mirror::{Document, Mirror, file_name};
use super::polite::{Polite, REPLY_BYTES, Trouble};
use super::setting::{self, ConfluenceSetting};
use super::{Place, SourceError, failed};

/// Pages of one listing. The API gives at most 250.
const PAGE: usize = 250;

/// Spaces of one request. getPages takes 100 of their ids, getSpaces 250 of their keys.
const SPACES: usize = 100;

/// How a page fails that Confluence does not give.
const UNREADABLE: &str = "PageUnreadable";

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Confluence {
    polite: Polite,
    aws: Aws,
    url: Url,
    secret: String,
    keys: Vec<String>,
    /// The `Authorization` header, once the secret was read.
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Credential {
    #[serde(default)]
    email: Option<String>,
    token: String,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    results: Vec<Value>,
    #[serde(default, rename = "_links")]
    links: Links,
}

#[derive(Default, Deserialize)]
struct Links {
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    webui: Option<String>,
}

/// A page as listings have it.
#[derive(Deserialize)]
struct Listed {
    id: String,
    version: Version,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    title: String,
    version: Version,
    #[serde(default)]
    body: Option<Body>,
    #[serde(default, rename = "_links")]
    links: Links,
}

#[derive(Deserialize)]
struct Version {
    number: u64,
}

#[derive(Deserialize)]
struct Body {
    export_view: Option<View>,
}

#[derive(Deserialize)]
struct View {
    value: String,
}

impl Confluence {
    /// `None` where the URL is none.
    pub fn new(aws: &Aws, space: &str, setting: &ConfluenceSetting) -> Option<Self> {
        Some(Self {
            polite: Polite::new(aws, PAUSE),
            aws: aws.clone(),
            url: Url::parse(&setting.url).ok()?,
            secret: setting::secret_name(space, &setting.secret),
            keys: setting.spaces.clone(),
            authorization: None,
        })
    }

    async fn authorization(&mut self) -> Result<String, SourceError> {
        if let Some(known) = &self.authorization {
            return Ok(known.clone());
        }
        let credential: Credential = secret(&self.aws, &self.secret, &[&self.url]).await?;
        let header = match credential.email {
            Some(email) => {
                let pair = format!("{email}:{}", credential.token);
                format!("Basic {}", STANDARD.encode(pair))
            }
            None => format!("Bearer {}", credential.token),
        };
        self.authorization = Some(header.clone());
        Ok(header)
    }

    async fn get(&mut self, link: &str) -> Result<Result<WebReply, Trouble>, SourceError> {
        let request = WebRequest {
            url: own_link(&self.url, link)?.into(),
            headers: vec![
                ("authorization", self.authorization().await?),
                ("accept", "application/json".to_owned()),
            ],
            limit: REPLY_BYTES,
            ..WebRequest::default()
        };
        Ok(self.polite.send(request).await)
    }

    async fn listing(&mut self, link: &str, within: bool) -> Result<Listing, SourceError> {
        let reply = self.get(link).await??;
        match reply.status {
            200 => read(&reply.body),
            401 | 403 => Err(refused(reply.status, &self.secret)),
            // A cursor that it does not know any more.
            400 | 404 | 410 if within => Err(SourceError::CursorExpired),
            status => Err(unreadable(status)),
        }
    }
}

impl Confluence {
    /// The ids of the spaces with these keys, in their order.
    async fn space_ids(&mut self, keys: &[String]) -> Result<Vec<String>, SourceError> {
        let joined = keys.join(",");
        let mut next = Some(format!("/wiki/api/v2/spaces?keys={joined}&limit={PAGE}"));
        let mut ids = BTreeMap::new();
        while let Some(page) = next {
            let found = self.listing(&page, false).await?;
            let spaces = found.results.iter();
            ids.extend(spaces.filter_map(|space| {
                let (key, id) = (space["key"].as_str()?, space["id"].as_str()?);
                Some((key.to_owned(), id.to_owned()))
            }));
            next = found.links.next;
        }
        let id = |key: &String| {
            // A space that cannot be seen would look like one whose pages were deleted.
            ids.get(key).cloned().ok_or_else(|| {
                let words = format!(
                    "the credential sees no space {key}; let it, or take the space out of the setting"
                );
                failed("SourceMissing", words)
            })
        };
        keys.iter().map(id).collect()
    }
}

impl Api for Confluence {
    /// The id of a page.
    type Entry = String;

    /// The listings over the spaces that the setting names, one a line.
    async fn first(&mut self, _: &Place) -> Result<String, SourceError> {
        let path = format!("/wiki/api/v2/pages?status=current&limit={PAGE}");
        if self.keys.is_empty() {
            return Ok(path);
        }
        let keys = self.keys.clone();
        let mut listings = Vec::new();
        for keys in keys.chunks(SPACES) {
            let ids = self.space_ids(keys).await?;
            let ids = ids.iter().map(|id| format!("&space-id={id}"));
            listings.push(format!("{path}{}", ids.collect::<String>()));
        }
        Ok(listings.join("\n"))
    }

    async fn list(
        &mut self,
        page: &str,
        position: &mut Position<String>,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let (page, later) = match page.split_once('\n') {
            Some((page, later)) => (page, Some(later)),
            None => (page, None),
        };
        let listed = self.listing(page, position.within).await?;
        for value in listed.results {
            let page: Option<Listed> = entry(value, UNREADABLE, &mut position.partial, mirror);
            let Some(page) = page else {
                continue;
            };
            let version = page.version.number.to_string();
            let known = mirror.known(&page.id);
            match known.is_some_and(|known| known.version.as_ref() == Some(&version)) {
                true => mirror.keep(&page.id),
                false => position.waiting.push(page.id),
            }
        }
        let lines = listed.links.next.as_deref().into_iter().chain(later);
        let lines: Vec<&str> = lines.collect();
        position.next = (!lines.is_empty()).then(|| lines.join("\n"));
        Ok(())
    }

    async fn read(&mut self, id: &String, mirror: &mut Mirror<'_>) -> Result<(), SourceError> {
        let name = file_name("", id, ".html");
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            mirror.fail(id, &name, UNREADABLE, "its id is none of a page");
            return Ok(());
        }
        let path = format!("/wiki/api/v2/pages/{id}?body-format=export_view");
        let reply = match self.get(&path).await? {
            Ok(reply) => reply,
            Err(trouble) => {
                let (error, reason) = trouble.of_document()?;
                mirror.fail(id, &name, error, reason);
                return Ok(());
            }
        };
        match reply.status {
            200 => {}
            401 => return Err(refused(401, &self.secret)),
            // It went since it was listed: the next run does not list it.
            404 | 410 => {
                mirror.gone(id);
                return Ok(());
            }
            status => {
                let words = format!("Confluence answered {status}; sync again later");
                mirror.fail(id, &name, UNREADABLE, words);
                return Ok(());
            }
        }
        let page: Option<Page> = serde_json::from_slice(&reply.body).ok();
        let text = page.and_then(|mut page| {
            let view = page.body.take()?.export_view?.value;
            Some((page, view))
        });
        let Some((page, view)) = text else {
            let words = "Confluence gave no text for it; sync again later";
            mirror.fail(id, &name, UNREADABLE, words);
            return Ok(());
        };
        let webui = page.links.webui.map(|webui| format!("/wiki{webui}"));
        let uri = webui.and_then(|path| self.url.join(&path).ok());
        let document = Document {
            name: mirror.lasting_name(id, file_name(&page.title, id, ".html")),
            content: html(&page.title, &view).into(),
            uri: uri.map(String::from),
            version: Some(page.version.number.to_string()),
            ..Document::default()
        };
        Ok(mirror.store(id, document).await?)
    }
}

/// A page of its own, so that its title is known.
fn html(title: &str, body: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title></head><body>{body}</body></html>"
    )
}

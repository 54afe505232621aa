//! Confluence Cloud: its pages as it renders them, through its REST API, version 2.
//!
//! Each run lists all pages with their versions, 250 in a request and without their bodies, and reads only the bodies of
//! those that changed. A search for what was modified would tell of fewer, and not of what was deleted.
//! Source: Confluence Cloud REST API v2, operations getSpaces, getPages and getPageById.

use std::time::Duration;

use aws::Aws;
use aws::web::{WebReply, WebRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::Url;

use super::api::{self, read, refused, secret, unreadable};
use super::mirror::{Document, Mirror, file_name};
use super::polite::{Polite, REPLY_BYTES, Trouble};
use super::setting::{self, SourceSetting};
use super::{Next, Place, Source, SourceError, failed};

/// Pages of one listing. The API gives at most 250.
const PAGE: usize = 250;

/// Bodies that are read in one question.
const BODIES: usize = 25;

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
struct Listing<T> {
    #[serde(default = "Vec::new")]
    results: Vec<T>,
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

#[derive(Deserialize)]
struct Space {
    id: String,
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Page {
    id: String,
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

/// Where a run stands: the pages of one listing that are still to be read, and the listing after it.
#[derive(Default, Serialize, Deserialize)]
struct Position {
    /// Id and version.
    waiting: Vec<(String, u64)>,
    next: Option<String>,
}

impl Confluence {
    /// `None` for what is no setting of Confluence.
    pub fn new(aws: &Aws, space: &str, setting: &SourceSetting) -> Option<Self> {
        let SourceSetting::Confluence {
            url,
            secret,
            spaces,
        } = setting
        else {
            return None;
        };
        Some(Self {
            polite: Polite::new(aws, PAUSE),
            aws: aws.clone(),
            url: Url::parse(url).ok()?,
            secret: setting::secret_name(space, secret),
            keys: spaces.clone(),
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

    /// Asks the API; a link that leads away from it is not followed, since the credential would go along.
    async fn get(&mut self, path: &str) -> Result<Result<WebReply, Trouble>, SourceError> {
        let url = self.url.join(path).ok();
        let url = url.filter(|url| url.origin() == self.url.origin());
        let url =
            url.ok_or_else(|| failed("SourceUnreadable", "a link of its reply leads elsewhere"))?;
        let request = WebRequest {
            url: url.to_string(),
            headers: vec![
                ("authorization", self.authorization().await?),
                ("accept", "application/json".to_owned()),
            ],
            limit: REPLY_BYTES,
            ..WebRequest::default()
        };
        Ok(self.polite.send(request).await)
    }

    async fn listing<T: serde::de::DeserializeOwned>(
        &mut self,
        path: &str,
        again: bool,
    ) -> Result<Listing<T>, SourceError> {
        let reply = self.get(path).await??;
        match reply.status {
            200 => read(&reply.body),
            401 | 403 => Err(refused(reply.status, &self.secret)),
            // A cursor that it does not know any more.
            400 | 404 | 410 if again => Err(SourceError::CursorExpired),
            status => Err(unreadable(status)),
        }
    }

    /// The listing that a run begins with, over the spaces that the setting names.
    async fn first(&mut self) -> Result<String, SourceError> {
        let mut path = format!("/wiki/api/v2/pages?status=current&limit={PAGE}");
        if self.keys.is_empty() {
            return Ok(path);
        }
        let keys = self.keys.join(",");
        let spaces = format!("/wiki/api/v2/spaces?keys={keys}&limit={PAGE}");
        let found: Listing<Space> = self.listing(&spaces, false).await?;
        for key in &self.keys {
            // A space that cannot be seen would look like one whose pages were deleted.
            let Some(space) = found.results.iter().find(|space| space.key == *key) else {
                let words = format!(
                    "the credential sees no space {key}; let it, or take the space out of the setting"
                );
                return Err(failed("SourceMissing", words));
            };
            path.push_str(&format!("&space-id={}", space.id));
        }
        Ok(path)
    }

    async fn page(&mut self, id: &str, mirror: &mut Mirror<'_>) -> Result<(), SourceError> {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(failed("SourceUnreadable", "the id of a page is none"));
        }
        let path = format!("/wiki/api/v2/pages/{id}?body-format=export_view");
        let reply = match self.get(&path).await? {
            Err(busy @ Trouble::Busy { .. }) => return Err(busy.into()),
            Err(trouble) => {
                let (error, reason) = trouble.told();
                mirror.fail(id, &file_name("", id, ".html"), error, reason);
                return Ok(());
            }
            Ok(reply) => reply,
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
                mirror.fail(id, &file_name("", id, ".html"), "PageUnreadable", words);
                return Ok(());
            }
        }
        let page: Page = read(&reply.body)?;
        let version = page.version.number.to_string();
        let body = page.body.and_then(|body| body.export_view);
        let Some(body) = body else {
            let words = "Confluence gave no text for it; sync again later";
            mirror.fail(
                id,
                &file_name(&page.title, id, ".html"),
                "PageUnreadable",
                words,
            );
            return Ok(());
        };
        let webui = page.links.webui.map(|webui| format!("/wiki{webui}"));
        let uri = webui.and_then(|path| self.url.join(&path).ok());
        let document = Document {
            name: mirror.lasting_name(id, file_name(&page.title, id, ".html")),
            content: html(&page.title, &body.value).into(),
            uri: uri.map(String::from),
            version: Some(version),
            ..Document::default()
        };
        Ok(mirror.store(id, document).await?)
    }

    async fn position(&mut self, place: &Place) -> Result<Position, SourceError> {
        match &place.position {
            Some(text) => api::position(text),
            None => Ok(Position {
                next: Some(self.first().await?),
                waiting: Vec::new(),
            }),
        }
    }
}

impl Source for Confluence {
    async fn ask(&mut self, place: &Place, mirror: &mut Mirror<'_>) -> Result<Next, SourceError> {
        let mut position = self.position(place).await?;
        if position.waiting.is_empty() {
            let Some(path) = position.next.take() else {
                return Ok(Next::End {
                    cursor: None,
                    complete: true,
                });
            };
            let listed: Listing<Page> = self.listing(&path, place.position.is_some()).await?;
            for page in listed.results {
                let version = page.version.number.to_string();
                if mirror
                    .known(&page.id)
                    .is_some_and(|known| known.version.as_ref() == Some(&version))
                {
                    mirror.keep(&page.id);
                } else {
                    position.waiting.push((page.id, page.version.number));
                }
            }
            position.next = listed.links.next;
        }
        for _ in 0..BODIES {
            if mirror.is_time_up() {
                break;
            }
            let Some((id, version)) = position.waiting.pop() else {
                break;
            };
            match self.page(&id, mirror).await {
                Err(SourceError::Busy { seconds }) => {
                    position.waiting.push((id, version));
                    return Ok(Next::later(api::written(&position), seconds));
                }
                read => read?,
            }
        }
        Ok(Next::more(api::written(&position)))
    }
}

/// A page of its own, so that its title is known.
fn html(title: &str, body: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title></head><body>{body}</body></html>"
    )
}

//! SharePoint: the files of a site's library through Microsoft Graph. The first run lists all of them; from there on Graph
//! tells what changed since the link that it gave last. When something is deleted that is no file of ours, as a folder is, all are
//! listed again.
//! Source: Microsoft Graph v1.0, driveItem: delta, and Use delta query to track changes.

use std::time::Duration;

use aws::Aws;
use aws::web::{WebReply, WebRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::api::{Api, Position, entry, own_link, read, refused, secret, unreadable};
use super::mirror::{Document, Mirror, file_name};
use super::polite::{Polite, REPLY_BYTES, Trouble};
use super::setting::{self, SharepointSetting};
use super::{Place, SourceError, failed};

/// How a file fails that SharePoint does not give.
const UNREADABLE: &str = "FileUnreadable";

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// Media that no reader of documents takes.
const MEDIA: [&str; 3] = ["image/", "audio/", "video/"];

pub(super) struct Sharepoint {
    polite: Polite,
    aws: Aws,
    graph: Url,
    login: Url,
    site: String,
    secret: String,
    largest: u64,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Credential {
    tenant: String,
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    value: Vec<Value>,
    #[serde(default, rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(default, rename = "@odata.deltaLink")]
    delta: Option<String>,
}

/// A file or folder, as far as it is read here.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    size: u64,
    /// Changes with the content.
    #[serde(default)]
    c_tag: Option<String>,
    #[serde(default)]
    web_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    mime_type: String,
}

impl Sharepoint {
    /// `None` where one of its URLs is none.
    pub fn new(aws: &Aws, space: &str, setting: &SharepointSetting) -> Option<Self> {
        Some(Self {
            polite: Polite::new(aws, PAUSE),
            aws: aws.clone(),
            graph: Url::parse(&setting.graph).ok()?,
            login: Url::parse(&setting.login).ok()?,
            site: setting.site.clone(),
            secret: setting::secret_name(space, &setting.secret),
            largest: extract::Limits::default().max_bytes as u64,
            token: None,
        })
    }

    /// A token by the client's credentials. Source: Microsoft identity platform, OAuth 2.0 client credentials flow.
    async fn token(&mut self) -> Result<String, SourceError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let trusted = [&self.login, &self.graph];
        let credential: Credential = secret(&self.aws, &self.secret, &trusted).await?;
        let mut url = self.login.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend([credential.tenant.as_str(), "oauth2", "v2.0", "token"]);
        }
        let scope = format!("{}/.default", self.graph.origin().ascii_serialization());
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &credential.client_id)
            .append_pair("client_secret", &credential.client_secret)
            .append_pair("scope", &scope)
            .finish();
        let request = WebRequest {
            method: "POST",
            url: url.to_string(),
            headers: vec![(
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            )],
            body: form.into(),
            limit: REPLY_BYTES,
            cut: false,
        };
        let reply = self.polite.send(request).await?;
        match reply.status {
            200 => {
                let token: Token = read(&reply.body)?;
                self.token = Some(token.access_token.clone());
                Ok(token.access_token)
            }
            400 | 401 | 403 => Err(refused(reply.status, &self.secret)),
            status => Err(unreadable(status)),
        }
    }

    /// Asks Graph, with a new token where the one at hand has expired.
    async fn get(
        &mut self,
        link: &str,
        limit: u64,
    ) -> Result<Result<WebReply, Trouble>, SourceError> {
        let url = own_link(&self.graph, link)?;
        for attempt in 0..2 {
            let token = self.token().await?;
            let request = WebRequest {
                url: url.to_string(),
                headers: vec![("authorization", format!("Bearer {token}"))],
                limit,
                ..WebRequest::default()
            };
            match self.polite.send(request).await {
                Ok(reply) if reply.status == 401 && attempt == 0 => self.token = None,
                reply => return Ok(reply),
            }
        }
        Err(refused(401, &self.secret))
    }

    async fn delta(&mut self, url: &str) -> Result<Delta, SourceError> {
        let reply = self.get(url, REPLY_BYTES).await??;
        match reply.status {
            200 => read(&reply.body),
            401 | 403 => Err(refused(reply.status, &self.secret)),
            // Everything is to be listed anew.
            410 => Err(SourceError::CursorExpired),
            404 => Err(failed(
                "SourceMissing",
                "there is no such site, or the credential does not see it",
            )),
            status => Err(unreadable(status)),
        }
    }

    /// The bytes of a file: Graph answers with a link to where they lie, which needs no token and gets none.
    async fn content(&mut self, id: &str) -> Result<Result<WebReply, Trouble>, SourceError> {
        let path = format!("/v1.0/sites/{}/drive/items/{id}/content", self.site);
        let reply = match self.get(&path, self.largest).await? {
            Ok(reply) => reply,
            trouble => return Ok(trouble),
        };
        let location = reply
            .headers
            .get("location")
            .filter(|_| (300..400).contains(&reply.status));
        let Some(location) = location else {
            return Ok(Ok(reply));
        };
        let request = WebRequest {
            url: location.clone(),
            limit: self.largest,
            ..WebRequest::default()
        };
        Ok(self.polite.send(request).await)
    }
}

impl Api for Sharepoint {
    type Entry = Item;

    /// What changed since the run before, or all that there is.
    async fn first(&mut self, place: &Place) -> Result<String, SourceError> {
        let all = || format!("/v1.0/sites/{}/drive/root/delta", self.site);
        Ok(place.cursor.clone().unwrap_or_else(all))
    }

    async fn list(
        &mut self,
        page: &str,
        position: &mut Position<Item>,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let page = self.delta(page).await?;
        for value in page.value {
            let item: Option<Item> = entry(value, UNREADABLE, &mut position.partial, mirror);
            let Some(item) = item else {
                continue;
            };
            // Of a deleted folder Graph may leave the files unsaid: what is there is listed anew.
            let unknown = !mirror.state.items.contains_key(&item.id);
            if item.deleted.is_some()
                && unknown
                && position.partial
                && !mirror.state.sweep.from_anew
            {
                return Err(SourceError::CursorExpired);
            }
            // A page may tell of the same file again; its last word counts.
            position.waiting.retain(|one| one.id != item.id);
            let Some(file) = item.file.as_ref().filter(|_| item.deleted.is_none()) else {
                mirror.gone(&item.id);
                continue;
            };
            if MEDIA.iter().any(|kind| file.mime_type.starts_with(kind)) {
                mirror.gone(&item.id);
                continue;
            }
            let name = format!("{}/{}", mirror.source, name(&item));
            let same = mirror.known(&item.id).is_some_and(|known| {
                known.version.is_some() && known.version == item.c_tag && known.name == name
            });
            match same {
                true => mirror.keep(&item.id),
                false => position.waiting.push(item),
            }
        }
        position.next = page.next;
        position.cursor = page.delta.or(position.cursor.take());
        Ok(())
    }

    async fn read(&mut self, item: &Item, mirror: &mut Mirror<'_>) -> Result<(), SourceError> {
        let (id, name) = (item.id.as_str(), name(item));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.".contains(&byte);
        if !id.bytes().all(plain) {
            mirror.fail(id, &name, UNREADABLE, "its id is none of a file");
            return Ok(());
        }
        if item.size > self.largest {
            let words = format!(
                "it has {} bytes, the limit is {}; split it",
                item.size, self.largest
            );
            mirror.fail(id, &name, "DocumentTooLarge", words);
            return Ok(());
        }
        let reply = match self.content(id).await? {
            Ok(reply) => reply,
            Err(trouble) => {
                let (error, reason) = trouble.of_document()?;
                mirror.fail(id, &name, error, reason);
                return Ok(());
            }
        };
        if reply.status != 200 {
            // One that went since it was listed is told of by the next listing.
            let words = format!("SharePoint answered {}; sync again later", reply.status);
            mirror.fail(id, &name, UNREADABLE, words);
            return Ok(());
        }
        let document = Document {
            name,
            content: reply.body,
            uri: item.web_url.clone(),
            version: item.c_tag.clone(),
            ..Document::default()
        };
        Ok(mirror.store(id, document).await?)
    }
}

/// A file keeps its name while it is moved: only its own name and its id are in it.
fn name(item: &Item) -> String {
    let (words, ending) = match item.name.rsplit_once('.') {
        Some((words, ending))
            if ending.len() <= 8 && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            (words, format!(".{}", ending.to_ascii_lowercase()))
        }
        _ => (item.name.as_str(), String::new()),
    };
    file_name(words, &item.id, &ending)
}

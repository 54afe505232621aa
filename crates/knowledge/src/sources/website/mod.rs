//! A website: its pages from where it begins along links and sitemaps, within the sites of its starts, as their robots.txt
//! allow, not too deep, not too many and not too fast.

mod begin;
mod frontier;
mod page;
mod robots;

use std::time::Duration;

use aws::web::WebReply;
use aws::{Aws, AwsError};
use extract::Links;
use url::Url;

use super::api::{position, written};
use super::mirror::{Document, Mirror};
use super::polite::Polite;
use super::setting::WebsiteSetting;
use super::{Next, Place, Source, SourceError, failed, passing};
use frontier::{Frontier, Task};
use page::{ending, is_unlisted, location, name, plain, request};
use robots::Robots;

pub(super) struct Website {
    polite: Polite,
    start: Vec<Url>,
    sitemap: bool,
    depth: u32,
    pages: u32,
    pause: Duration,
    largest: u64,
}

/// What a request for a page came to.
enum Page {
    /// As it was.
    Same,
    Here(Box<WebReply>),
    Moved(String),
    Gone,
    Failed(&'static str, String),
    /// Nothing that could be a document.
    Other,
}

impl Website {
    /// `None` where a start is no URL.
    pub fn new(aws: &Aws, setting: &WebsiteSetting) -> Option<Self> {
        let start = setting.start.iter();
        let start: Option<Vec<Url>> = start.map(|url| plain(Url::parse(url).ok()?)).collect();
        let pause = Duration::from_millis(setting.pause_ms);
        Some(Self {
            // The sites' robots.txt are asked one after the other; the pause is for what follows.
            polite: Polite::new(aws, Duration::ZERO),
            start: start?,
            sitemap: setting.sitemap,
            depth: setting.depth,
            pages: setting.pages,
            pause,
            largest: extract::Limits::default().max_bytes as u64,
        })
    }

    /// Whether a URL is of one of the sites that the source begins at.
    fn within(&self, url: &Url) -> bool {
        self.start
            .iter()
            .any(|start| start.origin() == url.origin())
    }

    async fn take(
        &mut self,
        task: &Task,
        frontier: &mut Frontier,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        match task {
            Task::Sitemap { url, named } => self.sitemap(url, *named, frontier).await,
            Task::Page { url, depth } => self.page(url, *depth, frontier, mirror).await,
            Task::Check(url) => self.check(url, frontier, mirror).await,
        }
    }

    async fn page(
        &mut self,
        id: &str,
        depth: u32,
        frontier: &mut Frontier,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let is_start = self.start.iter().any(|start| start.as_str() == id);
        let Some(url) = self.allowed(id, frontier) else {
            return match is_start {
                true => Err(lost(
                    id,
                    "may not be asked by the site's robots.txt; set another start",
                )),
                false => Ok(()),
            };
        };
        if frontier.pages >= self.pages {
            frontier.partial = true;
            return Ok(());
        }
        let page = self.get(&url, mirror).await?;
        frontier.pages += 1;
        if is_start {
            refuse_lost_start(id, &page)?;
        }
        match page {
            Page::Same => {
                mirror.keep(id);
                let content = mirror.content(id).await?.unwrap_or_default();
                self.follow(&url, depth, &extract::links(&content), frontier);
            }
            Page::Here(reply) => {
                let links = extract::links(&reply.body);
                self.follow(&url, depth, &links, frontier);
                store(&url, *reply, &links, mirror).await?;
            }
            Page::Moved(to) => {
                let task = Task::Page { url: to, depth };
                frontier.add(task);
            }
            Page::Gone => mirror.gone(id),
            Page::Other => {}
            Page::Failed(error, reason) => {
                // Its links are those that it had.
                let content = mirror.content(id).await?.unwrap_or_default();
                self.follow(&url, depth, &extract::links(&content), frontier);
                mirror.fail(id, &name(&url, ".html"), error, reason);
                frontier.partial = true;
            }
        }
        Ok(())
    }

    /// Asks a page itself that the crawl did not meet: it is gone when the site says so, or closes it to us.
    async fn check(
        &mut self,
        id: &str,
        frontier: &Frontier,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let Some(url) = self.allowed(id, frontier) else {
            mirror.gone(id);
            return Ok(());
        };
        match self.get(&url, mirror).await? {
            Page::Gone => mirror.gone(id),
            Page::Here(reply) => {
                let links = extract::links(&reply.body);
                store(&url, *reply, &links, mirror).await?;
            }
            Page::Failed(error, reason) => mirror.fail(id, &name(&url, ".html"), error, reason),
            _ => mirror.keep(id),
        }
        Ok(())
    }

    fn allowed(&self, url: &str, frontier: &Frontier) -> Option<Url> {
        let url = Url::parse(url).ok().filter(|url| self.within(url))?;
        let path = &url[url::Position::BeforePath..];
        let allows = frontier.allows(&url.origin().ascii_serialization(), path);
        allows.then_some(url)
    }

    async fn get(&mut self, url: &Url, mirror: &Mirror<'_>) -> Result<Page, SourceError> {
        let mut request = request(url, self.largest);
        if let Some(known) = mirror.known(url.as_str()) {
            let etag = known.etag.clone().map(|etag| ("if-none-match", etag));
            let date = known.last_modified.clone();
            let date = date.map(|date| ("if-modified-since", date));
            request.headers.extend(etag.into_iter().chain(date));
        }
        let reply = match self.polite.send(request).await {
            Ok(reply) => reply,
            Err(trouble) => {
                let (error, reason) = trouble.of_document()?;
                return Ok(Page::Failed(error, reason));
            }
        };
        let status = reply.status;
        Ok(match status {
            304 => Page::Same,
            200 if ending(&reply).is_none() => Page::Other,
            200 => Page::Here(Box::new(reply)),
            300..=399 => {
                let to = location(url, &reply).and_then(plain);
                to.filter(|to| self.within(to))
                    .map_or(Page::Other, |to| Page::Moved(to.to_string()))
            }
            404 | 410 => Page::Gone,
            401 | 403 => Page::Failed(
                "PageRefused",
                format!("the site answered {status}: it is not for everybody"),
            ),
            _ => Page::Failed(
                "PageUnreadable",
                format!("the site answered {status}; sync again later"),
            ),
        })
    }

    /// Adds the links of a page to what is to be asked.
    fn follow(&self, url: &Url, depth: u32, links: &Links, frontier: &mut Frontier) {
        let base = links.base.as_ref().and_then(|base| url.join(base).ok());
        let base = base.unwrap_or_else(|| url.clone());
        if depth < self.depth && !links.no_follow {
            let targets = links
                .targets
                .iter()
                .filter_map(|target| plain(base.join(target).ok()?));
            for target in targets.filter(|target| self.within(target)) {
                frontier.add(Task::Page {
                    url: target.to_string(),
                    depth: depth + 1,
                });
            }
        }
    }
}

/// Keeps a page, unless it asks not to be indexed.
async fn store(
    url: &Url,
    reply: WebReply,
    links: &Links,
    mirror: &mut Mirror<'_>,
) -> Result<(), AwsError> {
    let Some(ending) = ending(&reply) else {
        return Ok(());
    };
    if links.no_index || is_unlisted(&reply) {
        mirror.gone(url.as_str());
        return Ok(());
    }
    let header = |name: &str| reply.headers.get(name).cloned();
    let document = Document {
        name: name(url, ending),
        uri: Some(url.to_string()),
        etag: header("etag"),
        last_modified: header("last-modified"),
        content: reply.body,
        ..Document::default()
    };
    mirror.store(url.as_str(), document).await
}

/// Without its start a site looks empty, and is not: it moved, or wants a login.
fn refuse_lost_start(id: &str, page: &Page) -> Result<(), SourceError> {
    match page {
        Page::Gone => Err(lost(id, "is gone; set another start")),
        Page::Other => Err(lost(
            id,
            "is no page of this site, or leads away from it; set another start",
        )),
        Page::Failed(error @ ("PageUnreadable" | "SourceUnreachable"), reason) => {
            Err(passing(error, format!("{id}: {reason}")))
        }
        Page::Failed(error, reason) => Err(failed(error, format!("{id}: {reason}"))),
        Page::Same | Page::Here(_) | Page::Moved(_) => Ok(()),
    }
}

fn lost(id: &str, problem: &str) -> SourceError {
    failed("StartMissing", format!("{id} {problem}"))
}

impl Source for Website {
    /// Asks until the time is up: where a crawl stands is as large as the site, and is written once for many requests.
    async fn ask(&mut self, place: &Place, mirror: &mut Mirror<'_>) -> Result<Next, SourceError> {
        let mut frontier = match &place.position {
            Some(text) => position::<Frontier>(text)?.with_rules(),
            None => self.begin().await?,
        };
        self.polite
            .set_pause(frontier.crawl_delay().max(self.pause));
        loop {
            let rest = self.polite.rest();
            if !mirror.has_time_for(rest) {
                let seconds = rest.as_secs_f64().ceil() as u64;
                return Ok(Next::later(written(&frontier), seconds));
            }
            let Some(task) = frontier.next() else {
                if frontier.partial && !frontier.checking {
                    frontier.check(mirror.state.unmet());
                    continue;
                }
                return Ok(Next::End {
                    cursor: None,
                    complete: !frontier.partial,
                });
            };
            match self.take(&task, &mut frontier, mirror).await {
                Ok(()) => {}
                Err(SourceError::Busy { seconds }) => {
                    frontier.put_back(task);
                    return Ok(Next::later(written(&frontier), seconds));
                }
                Err(error) => {
                    frontier.put_back(task);
                    mirror.state.sweep.position = Some(written(&frontier));
                    return Err(error);
                }
            }
        }
    }
}

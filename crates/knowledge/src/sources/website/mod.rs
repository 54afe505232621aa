//! A website: its pages from where it begins along links and sitemaps, within one host, as its robots.txt allows, not too
//! deep, not too many and not too fast.

mod frontier;
mod page;
mod robots;

use std::time::Duration;

use aws::Aws;
use aws::web::WebReply;
use bytes::Bytes;
use url::Url;

use super::mirror::{Document, Mirror};
use super::polite::{Polite, REPLY_BYTES, Trouble};
use super::setting::SourceSetting;
use super::{Next, Place, Source, SourceError, failed};
use frontier::{Frontier, Task};
use page::{ending, location, name, plain, request};
use robots::Robots;

/// Requests of one question: what is remembered of a crawl is written after so many at the latest.
const REQUESTS: usize = 25;

/// Sitemaps that are read.
const SITEMAPS: u32 = 200;

/// The longest pause that a site is granted between two requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Website {
    polite: Polite,
    aws: Aws,
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
    /// `None` for what is no website's setting.
    pub fn new(aws: &Aws, setting: &SourceSetting) -> Option<Self> {
        let SourceSetting::Website {
            start,
            sitemap,
            depth,
            pages,
            pause_ms,
        } = setting
        else {
            return None;
        };
        let start: Option<Vec<Url>> = start
            .iter()
            .map(|url| plain(Url::parse(url).ok()?))
            .collect();
        let pause = Duration::from_millis(*pause_ms).min(LONGEST_PAUSE);
        Some(Self {
            polite: Polite::new(aws, pause),
            aws: aws.clone(),
            start: start?,
            sitemap: *sitemap,
            depth: *depth,
            pages: *pages,
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

    /// The rules of each site, and where to begin.
    async fn begin(&mut self) -> Result<Frontier, SourceError> {
        let mut frontier = Frontier::default();
        for url in self.start.clone() {
            let origin = url.origin().ascii_serialization();
            let first_of_site = !frontier.robots.contains_key(&origin);
            if first_of_site {
                let text = self.robots(&url).await?;
                let robots = Robots::parse(&text);
                frontier.robots.insert(origin, text);
                if self.sitemap {
                    let listed = robots.sitemaps.iter().filter_map(|one| url.join(one).ok());
                    let listed: Vec<Url> = listed.filter(|one| self.within(one)).collect();
                    let usual = listed
                        .is_empty()
                        .then(|| url.join("/sitemap.xml").ok())
                        .flatten();
                    for one in listed.into_iter().chain(usual) {
                        frontier.add(Task::Sitemap(one.to_string()));
                    }
                }
            }
            frontier.add(Task::Page {
                url: url.to_string(),
                depth: 0,
            });
        }
        Ok(frontier.with_rules())
    }

    /// A site without the file has no rules. One that cannot give it is left alone. Source: RFC 9309, section 2.3.1.
    async fn robots(&mut self, site: &Url) -> Result<String, SourceError> {
        let mut url = site
            .join("/robots.txt")
            .map_err(|_| failed("InvalidUrl", "a start has no host"))?;
        for _ in 0..5 {
            let reply = self.polite.send(request(&url, robots::BYTES)).await?;
            match reply.status {
                200..300 => return Ok(String::from_utf8_lossy(&reply.body).into_owned()),
                300..=399 => match location(&url, &reply) {
                    Some(next) => url = next,
                    None => return Ok(String::new()),
                },
                400..500 => return Ok(String::new()),
                status => {
                    let words = format!(
                        "{url} answered {status}; a site whose rules are not known is not asked"
                    );
                    return Err(failed("RobotsUnreadable", words));
                }
            }
        }
        Ok(String::new())
    }

    async fn take(
        &mut self,
        task: &Task,
        frontier: &mut Frontier,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        match task {
            Task::Sitemap(url) => self.sitemap(url, frontier).await,
            Task::Page { url, depth } => self.page(url, *depth, frontier, mirror).await,
            Task::Check(url) => self.check(url, mirror).await,
        }
    }

    async fn sitemap(&mut self, url: &str, frontier: &mut Frontier) -> Result<(), SourceError> {
        let Some(url) = self
            .allowed(url, frontier)
            .filter(|_| frontier.sitemaps < SITEMAPS)
        else {
            return Ok(());
        };
        frontier.sitemaps += 1;
        let reply = match self.polite.send(request(&url, REPLY_BYTES)).await {
            Err(busy @ Trouble::Busy { .. }) => return Err(busy.into()),
            // What it lists may be found along links; what is not found is asked itself before it counts as gone.
            Err(_) => {
                frontier.partial = true;
                return Ok(());
            }
            Ok(reply) => reply,
        };
        if !(200..300).contains(&reply.status) {
            frontier.partial |= reply.status >= 500;
            return Ok(());
        }
        let listed = extract::sitemap(&reply.body);
        let place = |one: &String| plain(url.join(one).ok()?);
        for one in listed.sitemaps.iter().filter_map(place) {
            frontier.add(Task::Sitemap(one.to_string()));
        }
        for one in listed
            .pages
            .iter()
            .filter_map(place)
            .filter(|one| self.within(one))
        {
            frontier.add(Task::Page {
                url: one.to_string(),
                depth: 0,
            });
        }
        Ok(())
    }

    async fn page(
        &mut self,
        id: &str,
        depth: u32,
        frontier: &mut Frontier,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let Some(url) = self.allowed(id, frontier) else {
            return Ok(());
        };
        if frontier.pages >= self.pages {
            frontier.partial = true;
            return Ok(());
        }
        let page = self.get(&url, mirror).await?;
        frontier.pages += 1;
        self.refuse_lost_start(id, &page)?;
        match page {
            Page::Same => {
                mirror.keep(id);
                let content = mirror.content(id).await?.unwrap_or_default();
                self.follow(&url, depth, &content, frontier);
            }
            Page::Here(reply) => {
                let links = self.follow(&url, depth, &reply.body, frontier);
                if !links {
                    self.store(&url, *reply, mirror).await?;
                }
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
                self.follow(&url, depth, &content, frontier);
                mirror.fail(id, &name(&url, ".html"), error, reason);
                frontier.partial = true;
            }
        }
        Ok(())
    }

    /// Without its start a site looks empty, and is not: it moved, or wants a login.
    fn refuse_lost_start(&self, id: &str, page: &Page) -> Result<(), SourceError> {
        let is_start = self.start.iter().any(|start| start.as_str() == id);
        match page {
            Page::Gone if is_start => {
                let words = format!("{id} is gone; set another start");
                Err(failed("StartMissing", words))
            }
            Page::Other if is_start => {
                let words = format!(
                    "{id} is no page of this site, or leads away from it; set another start"
                );
                Err(failed("StartMissing", words))
            }
            Page::Failed(error, reason) if is_start => {
                Err(failed(error, format!("{id}: {reason}")))
            }
            _ => Ok(()),
        }
    }

    /// Asks a page itself that the crawl did not meet: it is gone when the site says so.
    async fn check(&mut self, id: &str, mirror: &mut Mirror<'_>) -> Result<(), SourceError> {
        let Some(url) = Url::parse(id).ok().filter(|url| self.within(url)) else {
            mirror.gone(id);
            return Ok(());
        };
        match self.get(&url, mirror).await? {
            Page::Gone => mirror.gone(id),
            Page::Here(reply) => self.store(&url, *reply, mirror).await?,
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
            Err(busy @ Trouble::Busy { .. }) => return Err(busy.into()),
            Err(trouble) => {
                let (error, reason) = trouble.told();
                return Ok(Page::Failed(error, reason));
            }
            Ok(reply) => reply,
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

    /// Adds the links of a page to what is to be asked; answers whether the page asks not to be indexed.
    fn follow(&self, url: &Url, depth: u32, content: &Bytes, frontier: &mut Frontier) -> bool {
        let links = extract::links(content);
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
        links.no_index
    }

    async fn store(
        &self,
        url: &Url,
        reply: WebReply,
        mirror: &mut Mirror<'_>,
    ) -> Result<(), SourceError> {
        let robots = reply
            .headers
            .get("x-robots-tag")
            .map(|value| value.to_ascii_lowercase());
        let Some(ending) =
            ending(&reply).filter(|_| !robots.is_some_and(|tag| tag.contains("noindex")))
        else {
            return Ok(());
        };
        let header = |name: &str| reply.headers.get(name).cloned();
        let document = Document {
            name: name(url, ending),
            uri: Some(url.to_string()),
            etag: header("etag"),
            last_modified: header("last-modified"),
            content: reply.body,
            ..Document::default()
        };
        Ok(mirror.store(url.as_str(), document).await?)
    }
}

impl Source for Website {
    async fn ask(&mut self, place: &Place, mirror: &mut Mirror<'_>) -> Result<Next, SourceError> {
        let mut frontier = match &place.position {
            Some(position) => Frontier::read(position)?,
            None => self.begin().await?,
        };
        let delay = frontier.crawl_delay().min(LONGEST_PAUSE).max(self.pause);
        self.polite = Polite::new(&self.aws, delay);
        for _ in 0..REQUESTS {
            if mirror.is_time_up() {
                break;
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
                Err(SourceError::Busy { seconds }) => {
                    frontier.put_back(task);
                    return Ok(Next::later(frontier.write(), seconds));
                }
                taken => taken?,
            }
        }
        Ok(Next::more(frontier.write()))
    }
}

//! Where a crawl begins: the rules of each site, and its sitemaps.

use url::Url;

use super::Website;
use super::frontier::{Frontier, Task};
use super::page::{location, plain, request};
use super::robots::{self, Robots};
use crate::sources::polite::REPLY_BYTES;
use crate::sources::{SourceError, failed, passing};

/// Sitemaps that are read.
const SITEMAPS: u32 = 200;

/// Redirects on the way to a robots.txt that are followed. Source: RFC 9309, section 2.3.1.2.
const REDIRECTS: usize = 5;

impl Website {
    /// The rules of each site, and where to begin.
    pub(super) async fn begin(&mut self) -> Result<Frontier, SourceError> {
        let mut frontier = Frontier::default();
        for url in self.start.clone() {
            let origin = url.origin().ascii_serialization();
            if !frontier.robots.contains_key(&origin) {
                let text = self.robots(&url).await?;
                if self.sitemap {
                    self.add_sitemaps(&url, &Robots::parse(&text), &mut frontier);
                }
                frontier.robots.insert(origin, text);
            }
            frontier.add(Task::Page {
                url: url.to_string(),
                depth: 0,
            });
        }
        Ok(frontier.with_rules())
    }

    fn add_sitemaps(&self, site: &Url, robots: &Robots, frontier: &mut Frontier) {
        let named = robots.sitemaps.iter().filter_map(|one| site.join(one).ok());
        let named: Vec<Url> = named.filter(|one| self.within(one)).collect();
        let usual = match named.is_empty() {
            true => site.join("/sitemap.xml").ok(),
            false => None,
        };
        let named = named.into_iter().map(|url| (url, true));
        for (url, named) in named.chain(usual.map(|url| (url, false))) {
            let url = url.to_string();
            frontier.add(Task::Sitemap { url, named });
        }
    }

    /// A site without the file has no rules. One that cannot give it is left alone. Of a long one the beginning counts.
    /// Source: RFC 9309, sections 2.3.1 and 2.5.
    async fn robots(&mut self, site: &Url) -> Result<String, SourceError> {
        let mut url = site
            .join("/robots.txt")
            .map_err(|_| failed("InvalidUrl", "a start has no host"))?;
        for _ in 0..REDIRECTS {
            let mut request = request(&url, robots::BYTES);
            request.cut = true;
            let reply = self.polite.send(request).await?;
            match reply.status {
                200..300 => return Ok(robots::whole_lines(&reply.body)),
                300..=399 => match location(&url, &reply) {
                    Some(next) => url = next,
                    None => return Ok(String::new()),
                },
                400..500 => return Ok(String::new()),
                status => {
                    let words = format!(
                        "{url} answered {status}; a site whose rules are not known is not asked"
                    );
                    return Err(passing("RobotsUnreadable", words));
                }
            }
        }
        Ok(String::new())
    }

    /// Reads a sitemap. One that cannot be read may list pages that nothing else leads to: what is not met is asked itself
    /// then, before it counts as gone.
    pub(super) async fn sitemap(
        &mut self,
        url: &str,
        named: bool,
        frontier: &mut Frontier,
    ) -> Result<(), SourceError> {
        let url = self.allowed(url, frontier);
        let Some(url) = url.filter(|_| frontier.sitemaps < SITEMAPS) else {
            frontier.partial |= named;
            return Ok(());
        };
        frontier.sitemaps += 1;
        let reply = match self.polite.send(request(&url, REPLY_BYTES)).await {
            Ok(reply) => reply,
            Err(trouble) => {
                trouble.of_document()?;
                frontier.partial = true;
                return Ok(());
            }
        };
        let status = reply.status;
        if (300..400).contains(&status)
            && let Some(to) = location(&url, &reply)
        {
            let url = to.to_string();
            frontier.add(Task::Sitemap { url, named });
            return Ok(());
        }
        if !(200..300).contains(&status) {
            // Many sites answer 403 for what they do not have.
            frontier.partial |= status >= 500 || (named && !matches!(status, 404 | 410));
            return Ok(());
        }
        let listed = extract::sitemap(&reply.body);
        frontier.partial |= named && listed == extract::Sitemap::default();
        let place = |one: &String| plain(url.join(one).ok()?);
        for one in listed.sitemaps.iter().filter_map(place) {
            let url = one.to_string();
            frontier.add(Task::Sitemap { url, named: true });
        }
        let pages = listed.pages.iter().filter_map(place);
        for one in pages.filter(|one| self.within(one)) {
            let url = one.to_string();
            frontier.add(Task::Page { url, depth: 0 });
        }
        Ok(())
    }
}

//! Where a page leads, and what a sitemap lists. The standard's tokenizer reads both, whatever their markup is.

use std::cell::RefCell;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::element::raw_kind;
use super::{Seen, pieces};
use crate::decode::decode;

/// Links of one page that are read, and URLs of one sitemap.
/// Source of the latter: sitemaps.org, a sitemap holds no more than 50,000 URLs.
const LINKS: usize = 10_000;
const LISTED: usize = 50_000;

/// How gzip begins. Source: RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Bytes of an unpacked sitemap. Source: sitemaps.org, a sitemap holds no more than 50 MB.
const SITEMAP_BYTES: u64 = 50 << 20;

/// What an HTML page says about where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// What relative links are relative to, where the page says so.
    pub base: Option<String>,
    /// Targets as they are written, in document order, those aside that are not to be followed.
    pub targets: Vec<String>,
    /// The page asks not to be indexed.
    pub no_index: bool,
    /// The page asks that none of its links is followed.
    pub no_follow: bool,
}

/// What a sitemap lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sitemap {
    pub pages: Vec<String>,
    /// Further sitemaps, where it is an index of them.
    pub sitemaps: Vec<String>,
}

/// Reads the links of an HTML page; none where the bytes are no text.
#[must_use]
pub fn links(bytes: &[u8]) -> Links {
    let sink = tokenize(bytes, |sink: &mut Reader, token| match token {
        Token::TagToken(tag) if tag.kind == TagKind::StartTag => sink.link(tag),
        _ => {}
    });
    sink.links
}

/// Reads a sitemap, also one that is packed with gzip; empty where the bytes are none.
#[must_use]
pub fn sitemap(bytes: &[u8]) -> Sitemap {
    let mut unpacked = Vec::new();
    let bytes = match bytes.starts_with(&GZIP) {
        true => {
            let mut reader = MultiGzDecoder::new(bytes).take(SITEMAP_BYTES);
            // What came before it broke off is read.
            let _ = reader.read_to_end(&mut unpacked);
            unpacked.as_slice()
        }
        false => bytes,
    };
    let sink = tokenize(bytes, |sink: &mut Reader, token| match token {
        Token::TagToken(tag) => sink.sitemap_tag(tag),
        Token::CharacterTokens(text) => {
            if let Some(place) = &mut sink.place {
                place.push_str(text);
            }
        }
        _ => {}
    });
    sink.sitemap
}

#[derive(Default)]
struct Reader {
    links: Links,
    sitemap: Sitemap,
    /// Whether the `loc` to come is one of a sitemap.
    of_sitemap: bool,
    /// The text of the `loc` that is open.
    place: Option<String>,
}

impl Reader {
    fn link(&mut self, tag: &Tag) {
        let value = |name: &str| {
            let found = tag.attrs.iter().find(|one| &*one.name.local == name);
            found.map(|one| one.value.trim().to_owned())
        };
        let says = |name: &str, word: &str| {
            let list = value(name).unwrap_or_default().to_ascii_lowercase();
            list.split([' ', ',']).any(|one| one == word)
        };
        match &*tag.name {
            "base" if self.links.base.is_none() => self.links.base = value("href"),
            "a" | "area" if !says("rel", "nofollow") => {
                let target = value("href").filter(|target| !target.is_empty());
                if self.links.targets.len() < LINKS {
                    self.links.targets.extend(target);
                }
            }
            "meta" if says("name", "robots") || says("name", "outcrop") => {
                self.links.no_index |= says("content", "noindex") || says("content", "none");
                self.links.no_follow |= says("content", "nofollow") || says("content", "none");
            }
            _ => {}
        }
    }

    fn sitemap_tag(&mut self, tag: &Tag) {
        match (tag.kind, &*tag.name) {
            (TagKind::StartTag, "url") => self.of_sitemap = false,
            (TagKind::StartTag, "sitemap") => self.of_sitemap = true,
            (TagKind::StartTag, "loc") => self.place = Some(String::new()),
            (TagKind::EndTag, "loc") => {
                let place = self.place.take().unwrap_or_default().trim().to_owned();
                let list = match self.of_sitemap {
                    true => &mut self.sitemap.sitemaps,
                    false => &mut self.sitemap.pages,
                };
                if !place.is_empty() && list.len() < LISTED {
                    list.push(place);
                }
            }
            _ => {}
        }
    }
}

struct Sink<F> {
    reader: RefCell<Reader>,
    seen: Seen,
    take: F,
}

impl<F: Fn(&mut Reader, &Token)> TokenSink for Sink<F> {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        self.seen.count(&token);
        (self.take)(&mut self.reader.borrow_mut(), &token);
        match &token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                raw_kind(&tag.name).map_or(TokenSinkResult::Continue, TokenSinkResult::RawData)
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

fn tokenize(bytes: &[u8], take: impl Fn(&mut Reader, &Token)) -> Reader {
    let Ok(text) = decode(bytes, "page.html") else {
        return Reader::default();
    };
    let sink = Sink {
        reader: RefCell::default(),
        seen: Seen::default(),
        take,
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    for piece in pieces(&text) {
        input.push_back(StrTendril::from_slice(piece));
        let _ = tokenizer.feed(&input);
        // What was found until then is enough.
        if tokenizer.sink.seen.refuse_long_tags(piece).is_err() {
            return tokenizer.sink.reader.into_inner();
        }
    }
    tokenizer.end();
    tokenizer.sink.reader.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_are_read() {
        let check = |html: &str, targets: &[&str], rules: (bool, bool)| {
            let found = links(html.as_bytes());
            assert_eq!(found.targets, targets, "{html}");
            assert_eq!((found.no_index, found.no_follow), rules, "{html}");
        };
        check(
            "<a href='/a'>a</a><A HREF=b?x=1&amp;y=2>",
            &["/a", "b?x=1&y=2"],
            (false, false),
        );
        check(
            "<a rel='external nofollow' href=/a></a><a>b</a><a href=' '>",
            &[],
            (false, false),
        );
        check(
            "<script>'<a href=/a>'</script><map><area href=/b></map>",
            &["/b"],
            (false, false),
        );
        check(
            "<!-- <a href=/a> --><title><a href=/b></title>",
            &[],
            (false, false),
        );
        check(
            "<meta name=robots content='NOINDEX, follow'>",
            &[],
            (true, false),
        );
        check("<meta name=robots content=none>", &[], (true, true));
        let based = links(b"<base href='https://example.com/x/'><base href=other><a href=y>");
        assert_eq!(based.base.as_deref(), Some("https://example.com/x/"));
    }

    #[test]
    fn sitemaps_are_read() {
        let pages = b"<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>\
            <url><loc> https://example.com/a?x=1&amp;y=2 </loc><lastmod>2026-01-01</lastmod></url><url><loc></loc></url></urlset>";
        assert_eq!(sitemap(pages).pages, ["https://example.com/a?x=1&y=2"]);
        let index =
            b"<sitemapindex><sitemap><loc>https://example.com/1.xml</loc></sitemap></sitemapindex>";
        assert_eq!(sitemap(index).sitemaps, ["https://example.com/1.xml"]);
        assert_eq!(sitemap(b"no sitemap"), Sitemap::default());
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(pages).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(sitemap(&packed).pages, ["https://example.com/a?x=1&y=2"]);
        assert_eq!(sitemap(&packed[..12]), Sitemap::default());
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "[<>a-z'\"=/& ]{0,200}") {
            let _ = (links(&bytes), sitemap(&bytes), links(text.as_bytes()), sitemap(text.as_bytes()));
        }
    }
}

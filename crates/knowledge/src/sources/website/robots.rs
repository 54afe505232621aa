//! robots.txt: which paths a site leaves to us. Source: RFC 9309.

/// The word by which sites may name us.
pub(super) const PRODUCT: &str = "outcrop";

/// Bytes that are read. Source: RFC 9309, section 2.5.
pub(super) const BYTES: u64 = 512_000;

/// Longest pattern that is looked at; longer ones disallow nothing and allow nothing.
const PATTERN_BYTES: usize = 2_000;

/// The rules that are meant for us, and the sitemaps that are named for everybody.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Robots {
    /// Allowed or not, and the pattern.
    rules: Vec<(bool, String)>,
    pub sitemaps: Vec<String>,
    /// Seconds between requests, which is no part of the RFC and asked for all the same.
    pub crawl_delay: Option<f64>,
}

impl Robots {
    /// Reads a robots.txt: of the groups those that name us, else those for all.
    pub fn parse(text: &str) -> Self {
        let (mut own, mut general) = (Self::default(), Self::default());
        let (mut named, mut sitemaps) = (false, Vec::new());
        // Whom the lines to come are for, and whether the lines before them named somebody.
        let (mut for_us, mut for_all, mut in_names) = (false, false, false);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            let (field, value) = (field.trim().to_ascii_lowercase(), value.trim());
            match field.as_str() {
                "user-agent" => {
                    if !in_names {
                        (for_us, for_all) = (false, false);
                    }
                    for_us |= product(value).eq_ignore_ascii_case(PRODUCT);
                    for_all |= value == "*";
                    named |= for_us;
                    in_names = true;
                }
                "sitemap" => sitemaps.push(value.to_owned()),
                _ => {
                    in_names = false;
                    if for_us {
                        own.rule(&field, value);
                    }
                    if for_all {
                        general.rule(&field, value);
                    }
                }
            }
        }
        let rules = if named { own } else { general };
        Self { sitemaps, ..rules }
    }

    fn rule(&mut self, field: &str, value: &str) {
        match field {
            "allow" | "disallow" if !value.is_empty() && value.len() <= PATTERN_BYTES => {
                self.rules.push((field == "allow", normal(value)));
            }
            "crawl-delay" => {
                let seconds = value.parse().ok().filter(|delay: &f64| *delay >= 0.0);
                self.crawl_delay = seconds.or(self.crawl_delay);
            }
            _ => {}
        }
    }

    /// Whether a path, with its query, may be asked: the longest pattern that matches decides, and of equal ones the
    /// one that allows.
    pub fn allows(&self, path: &str) -> bool {
        let path = normal(path);
        let matching = self
            .rules
            .iter()
            .filter(|(_, pattern)| matches(pattern, &path));
        let longest = matching.max_by_key(|(allowed, pattern)| (pattern.len(), *allowed));
        longest.is_none_or(|(allowed, _)| *allowed)
    }
}

/// The text of a robots.txt, without the line in which it was cut.
pub(super) fn whole_lines(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.rsplit_once('\n') {
        Some((whole, _)) if body.len() as u64 >= BYTES => whole.to_owned(),
        _ => text.into_owned(),
    }
}

/// The product of `Name/1.0 (words)`.
fn product(value: &str) -> &str {
    let ends = |letter: char| !(letter.is_ascii_alphabetic() || letter == '-' || letter == '_');
    value.split(ends).next().unwrap_or_default()
}

/// The same escape has one form: what need not be escaped is not, the rest is in capitals.
fn normal(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(plain) if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => {
                text.push(char::from(plain));
                at += 3;
            }
            Some(other) => {
                text.push_str(&format!("%{other:02X}"));
                at += 3;
            }
            None if byte.is_ascii() => {
                text.push(char::from(byte));
                at += 1;
            }
            None => {
                text.push_str(&format!("%{byte:02X}"));
                at += 1;
            }
        }
    }
    text
}

/// Whether `path` begins as `pattern` says; `*` is anything, a last `$` the end. One pass with one place to come back to,
/// so the time is at most the product of both lengths.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, to_end) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern.as_bytes(), true),
        None => (pattern.as_bytes(), false),
    };
    let path = path.as_bytes();
    let (mut at, mut of_path) = (0, 0);
    // After the last star: where the pattern goes on, and where the path was taken up.
    let mut back: Option<(usize, usize)> = None;
    loop {
        if at == pattern.len() && (!to_end || of_path == path.len()) {
            return true;
        }
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                back = Some((at, of_path));
            }
            Some(byte) if path.get(of_path) == Some(byte) => {
                at += 1;
                of_path += 1;
            }
            _ => match back {
                Some((star, taken)) if taken < path.len() => {
                    (at, of_path) = (star, taken + 1);
                    back = Some((star, taken + 1));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_pattern_decides() {
        let check = |rules: &str, path: &str, allowed: bool| {
            let robots = Robots::parse(&format!("User-agent: *\n{rules}"));
            assert_eq!(robots.allows(path), allowed, "{rules} {path}");
        };
        check("", "/a", true);
        check("Disallow:", "/a", true);
        check("Disallow: /", "/a", false);
        check("Disallow: /a", "/ab", false);
        check("Disallow: /a", "/b/a", true);
        // The examples of RFC 9309, sections 2.2.3 and 5.
        check(
            "Allow: /example/page/\nDisallow: /example/page/disallowed.gif",
            "/example/page/",
            true,
        );
        check(
            "Allow: /example/page/\nDisallow: /example/page/disallowed.gif",
            "/example/page/disallowed.gif",
            false,
        );
        check("Disallow: *.gif$", "/publications/a.gif", false);
        check("Disallow: *.gif$", "/publications/a.gif?x", true);
        check(
            "Allow: /publications/\nDisallow: /publications",
            "/publications/x",
            true,
        );
        check("Disallow: /p\nAllow: /p", "/p", true);
        check("Disallow: /a*b*c", "/a1b2b3c4", false);
        check("Disallow: /a*b*c$", "/a1b2b3c4", true);
        check("Disallow: /foo/bar%3Fbaz", "/foo/bar%3fbaz", false);
        check("Disallow: /%7Ejoe", "/~joe/x", false);
        check("Disallow: /ö", "/%C3%B6/x", false);
        check("Disallow: /a # comment", "/a", false);
        check("disallow : /a", "/a", false);
    }

    #[test]
    fn groups_are_for_whom_they_name() {
        let check = |text: &str, path: &str, allowed: bool| {
            assert_eq!(Robots::parse(text).allows(path), allowed, "{text} {path}");
        };
        let text = "User-agent: other\nUser-agent: Outcrop/1.0\nDisallow: /own\n\nUser-agent: *\nDisallow: /all";
        check(text, "/own", false);
        check(text, "/all", true);
        let parts = "User-agent: outcrop\nDisallow: /a\nUser-agent: x\nDisallow: /x\nUser-agent: outcrop\nDisallow: /b";
        check(parts, "/a", false);
        check(parts, "/b", false);
        check(parts, "/x", true);
        check("Disallow: /a", "/a", true);
        check("User-agent: outcrop\nUser-agent: *\nDisallow:", "/a", true);
    }

    #[test]
    fn sitemaps_and_delays_are_read() {
        let text = "Sitemap: https://example.com/s.xml\nUser-agent: *\nCrawl-delay: 2.5\nsitemap:https://example.com/t.xml";
        let robots = Robots::parse(text);
        assert_eq!(
            robots.sitemaps,
            ["https://example.com/s.xml", "https://example.com/t.xml"]
        );
        assert_eq!(robots.crawl_delay, Some(2.5));
        assert_eq!(
            Robots::parse("User-agent: *\nCrawl-delay: -1").crawl_delay,
            None
        );
    }

    /// The meaning of a pattern, tried in every way.
    fn plainly(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => true,
            [b'$'] => path.is_empty(),
            [b'*', rest @ ..] => (0..=path.len()).any(|from| plainly(rest, &path[from..])),
            [byte, rest @ ..] => path.first() == Some(byte) && plainly(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_they_say(pattern in "[ab*]{0,8}\\$?", path in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &path), plainly(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn nothing_panics(text in ".{0,300}", path in ".{0,60}") {
            Robots::parse(&text).allows(&path);
        }
    }
}

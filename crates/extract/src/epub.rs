//! Books: the chapters in the order of the spine, each read as the XHTML that it is.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;

use crate::html;
use crate::office::resolve;
use crate::package::Package;
use crate::xml::{Node, walk};
use crate::{ExtractError, Extracted, Format, Limits, Outline, one_line, refuse_long};

const FORMAT: &str = "EPUB";
const ENCRYPTED: ExtractError = ExtractError::EncryptedDocument { format: "book" };

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    if package.part("META-INF/rights.xml")?.is_some() {
        return Err(ENCRYPTED);
    }
    let opf = root(&package.required("META-INF/container.xml")?, limits)?;
    let folder = opf.rsplit_once('/').map_or("", |(folder, _)| folder);
    let book = Book::read(&package.required(&opf)?, limits)?;
    let chapters = book.chapters(folder);
    refuse_encrypted(&mut package, &chapters, limits)?;
    let (mut text, mut headings) = (String::new(), Outline::default());
    let mut missing = None;
    for chapter in &chapters {
        let Some(part) = package.part(chapter)? else {
            missing = missing.or(Some(chapter));
            continue;
        };
        let chapter = html::read_xhtml(&part, limits)?;
        if chapter.text.trim().is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let start = text.len();
        for heading in chapter.headings {
            headings.push(heading.level, &heading.title, start + heading.start);
        }
        text.push_str(chapter.text.trim_end());
        refuse_long(text.len(), limits)?;
    }
    if let Some(missing) = missing.filter(|_| text.is_empty()) {
        return Err(ExtractError::MalformedDocument {
            format: FORMAT,
            reason: format!("the part {missing} is missing"),
        });
    }
    Ok(Extracted {
        title: one_line(&book.title),
        format: Format::Epub,
        headings: headings.finish(),
        pages: Vec::new(),
        text,
    })
}

/// Refuses a book that only its shop's reader opens. Fonts may be obscured without that.
fn refuse_encrypted(
    package: &mut Package<'_>,
    chapters: &[String],
    limits: &Limits,
) -> Result<(), ExtractError> {
    let Some(part) = package.part("META-INF/encryption.xml")? else {
        return Ok(());
    };
    let mut names = BTreeSet::new();
    walk(&part, FORMAT, limits, |node| {
        if let Node::Open(element) = node
            && element.name() == "CipherReference"
        {
            names.extend(element.attribute("URI").map(|name| part_name("", &name)));
        }
        Ok(())
    })?;
    match chapters.iter().any(|chapter| names.contains(chapter)) {
        true => Err(ENCRYPTED),
        false => Ok(()),
    }
}

/// The part that a reference means: it may be written with escapes, and point into the part.
fn part_name(folder: &str, reference: &str) -> String {
    let path = reference.split(['#', '?']).next().unwrap_or_default();
    let path = percent_decode_str(path.trim()).decode_utf8_lossy();
    resolve(folder, &path)
}

/// The package document that the container names.
fn root(container: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    let mut found = None;
    walk(container, FORMAT, limits, |node| {
        if let Node::Open(element) = node
            && element.name() == "rootfile"
            && found.is_none()
        {
            found = element.attribute("full-path");
        }
        Ok(())
    })?;
    found.ok_or_else(|| ExtractError::MalformedDocument {
        format: FORMAT,
        reason: "its container names no package document".to_owned(),
    })
}

/// What the manifest says of a part.
#[derive(Default)]
struct Item {
    media: String,
    href: String,
    /// The id of another form of it, which every reader can show.
    fallback: String,
}

#[derive(Default)]
struct Book {
    title: String,
    /// Items by their ids.
    manifest: BTreeMap<String, Item>,
    spine: Vec<String>,
}

impl Book {
    fn read(opf: &[u8], limits: &Limits) -> Result<Self, ExtractError> {
        let mut book = Self::default();
        let mut in_title = false;
        walk(opf, FORMAT, limits, |node| {
            match node {
                Node::Open(element) => match element.name() {
                    "title" if book.title.is_empty() => in_title = true,
                    "item" => {
                        let value = |name| element.attribute(name).unwrap_or_default();
                        let item = Item {
                            media: value("media-type").to_ascii_lowercase(),
                            href: value("href"),
                            fallback: value("fallback").trim().to_owned(),
                        };
                        let id = value("id").trim().to_owned();
                        book.manifest.entry(id).or_insert(item);
                    }
                    "itemref" => {
                        let id = element.attribute("idref");
                        book.spine.extend(id.map(|id| id.trim().to_owned()));
                    }
                    _ => {}
                },
                Node::Text(text) if in_title => book.title.push_str(text),
                Node::Text(_) => {}
                Node::Close(_) => in_title = false,
            }
            Ok(())
        })?;
        Ok(book)
    }

    /// The parts of the chapters as the spine orders them, each once.
    fn chapters(&self, folder: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let chapters = self.spine.iter().filter_map(|id| self.readable(id));
        let names = chapters.map(|item| part_name(folder, &item.href));
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// An item, or the first of its other forms that is a text.
    fn readable(&self, id: &str) -> Option<&Item> {
        let mut item = self.manifest.get(id)?;
        for _ in 0..MAX_FALLBACKS {
            if item.is_text() {
                return Some(item);
            }
            item = self.manifest.get(&item.fallback)?;
        }
        None
    }
}

/// Other forms of other forms.
const MAX_FALLBACKS: usize = 8;

impl Item {
    /// Books of the first years have media types of their own, and some have none.
    fn is_text(&self) -> bool {
        let path = self.href.split(['#', '?']).next().unwrap_or_default();
        let named = path.rsplit('.').next().unwrap_or_default();
        let named = named.to_ascii_lowercase();
        self.media.contains("html")
            || self.media == "text/x-oeb1-document"
            || matches!(named.as_str(), "xhtml" | "html" | "htm")
            || (self.media.is_empty() || self.media.ends_with("/xml")) && named == "xml"
    }
}

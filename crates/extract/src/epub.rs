//! Books: the chapters in the order of the spine, each read as the XHTML that it is.

use crate::html;
use crate::office::resolve;
use crate::package::Package;
use crate::xml::{Node, walk};
use crate::{ExtractError, Extracted, Format, Heading, Limits, one_line, refuse_long};

const FORMAT: &str = "EPUB";

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    if package.part("META-INF/rights.xml")?.is_some() {
        return Err(ExtractError::EncryptedDocument { format: "book" });
    }
    let opf = root(&package.required("META-INF/container.xml")?, limits)?;
    let folder = opf.rsplit_once('/').map_or("", |(folder, _)| folder);
    let book = Book::read(&package.required(&opf)?, limits)?;
    let (mut text, mut headings) = (String::new(), Vec::new());
    for chapter in book.chapters() {
        let Some(part) = package.part(&resolve(folder, chapter))? else {
            continue;
        };
        let page = String::from_utf8_lossy(&part);
        let chapter = html::read(&page, limits)?;
        if chapter.text.trim().is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let start = text.len();
        headings.extend(chapter.headings.into_iter().map(|heading| Heading {
            start: start + heading.start,
            ..heading
        }));
        text.push_str(chapter.text.trim_end());
        refuse_long(text.len(), limits)?;
    }
    Ok(Extracted {
        title: one_line(&book.title),
        format: Format::Epub,
        headings,
        pages: Vec::new(),
        text,
    })
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

#[derive(Default)]
struct Book {
    title: String,
    /// Ids, media types and names of the parts.
    manifest: Vec<(String, String, String)>,
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
                        book.manifest
                            .push((value("id"), value("media-type"), value("href")));
                    }
                    "itemref" => book.spine.extend(element.attribute("idref")),
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

    /// The names of the chapters as the spine orders them.
    fn chapters(&self) -> impl Iterator<Item = &str> {
        self.spine.iter().filter_map(|id| {
            let (_, media, href) = self.manifest.iter().find(|(known, _, _)| known == id)?;
            media.contains("html").then_some(href.as_str())
        })
    }
}

//! Presentations: the slides in their order, each with its title as a heading and the speaker's notes after it.

use super::{main_part, relations, title};
use crate::package::Package;
use crate::xml::{Node, walk};
use crate::{ExtractError, Extracted, Format, Limits, Outline, one_line, refuse_long};

const FORMAT: &str = "PPTX";
/// What the main part is called, unless the package says otherwise.
const MAIN: &str = "ppt/presentation.xml";

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let mut package = Package::open(bytes, FORMAT, limits)?;
    let main = main_part(&mut package, MAIN, FORMAT, limits)?;
    let slides = slides(&mut package, &main, limits)?;
    if slides.len() > limits.max_pages {
        return Err(ExtractError::TooManyPages {
            pages: slides.len(),
            limit: limits.max_pages,
        });
    }
    let (mut text, mut headings, mut pages) = (String::new(), Outline::default(), Vec::new());
    for name in &slides {
        let part = package.required(name)?;
        let slide = Slide::read(&part, limits)?;
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        pages.push(text.len());
        if let Some(title) = slide.title.as_deref().and_then(one_line) {
            headings.push(1, &title, text.len());
            text.push_str(&title);
            text.push_str("\n\n");
        }
        text.push_str(slide.text.trim_end());
        let notes = relations(&mut package, name, FORMAT, limits)?
            .into_values()
            .find(|relation| relation.kind == "notesSlide");
        if let Some(notes) = notes
            && let Some(part) = package.part(&notes.target)?
        {
            let notes = Slide::read(&part, limits)?;
            if !notes.text.trim().is_empty() {
                text.push_str("\n\n");
                text.push_str(notes.text.trim());
            }
        }
        text.truncate(text.trim_end().len());
        refuse_long(text.len(), limits)?;
    }
    let title = title(&mut package, FORMAT, limits)?;
    // PowerPoint's own name for a presentation that nobody named.
    let title = title.filter(|title| title != "PowerPoint Presentation");
    let first = headings.first().map(|heading| heading.title.clone());
    let mut headings = headings.finish();
    headings.retain(|heading| heading.start < text.len());
    Ok(Extracted {
        title: title.or(first),
        format: Format::Pptx,
        headings,
        pages,
        text,
    })
}

/// The parts of the slides in the order in which they are shown.
fn slides(
    package: &mut Package<'_>,
    main: &str,
    limits: &Limits,
) -> Result<Vec<String>, ExtractError> {
    let relations = relations(package, main, FORMAT, limits)?;
    let part = package.required(main)?;
    let mut slides = Vec::new();
    walk(&part, FORMAT, limits, |node| {
        if let Node::Open(element) = node
            && element.name() == "sldId"
            && let Some(id) = element.attribute_exactly("r:id")
            && let Some(relation) = relations.get(&id)
        {
            slides.push(relation.target.clone());
        }
        Ok(())
    })?;
    Ok(slides)
}

/// What a slide or its notes say.
#[derive(Default)]
struct Slide {
    title: Option<String>,
    text: String,
}

/// What the shape being read is for.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Body,
    Title,
    /// Dates, page numbers and the picture of the slide in its notes.
    Furniture,
}

impl Slide {
    fn read(part: &[u8], limits: &Limits) -> Result<Self, ExtractError> {
        let mut slide = Self::default();
        let (mut shape, mut in_text, mut hidden) = (Shape::Body, false, 0_usize);
        let (mut words, mut row): (String, Option<Vec<String>>) = (String::new(), None);
        // Bytes in the cells of the row.
        let mut waiting = 0;
        walk(part, FORMAT, limits, |node| {
            match node {
                Node::Open(element) => match element.name() {
                    "Fallback" => hidden += 1,
                    // A table or a picture after a placeholder is none.
                    "sp" | "graphicFrame" | "pic" | "grpSp" => shape = Shape::Body,
                    "ph" => {
                        shape = match element.attribute("type").as_deref() {
                            Some("title" | "ctrTitle") => Shape::Title,
                            Some("sldNum" | "dt" | "ftr" | "hdr" | "sldImg") => Shape::Furniture,
                            _ => Shape::Body,
                        };
                    }
                    "tr" => row = Some(Vec::new()),
                    "tc" => row.get_or_insert_default().push(String::new()),
                    "t" => in_text = hidden == 0,
                    "br" => words.push('\n'),
                    "tab" => words.push('\t'),
                    _ => {}
                },
                Node::Text(text) if in_text => words.push_str(text),
                Node::Text(_) => {}
                Node::Close(name) => match name {
                    "Fallback" => hidden = hidden.saturating_sub(1),
                    "t" => in_text = false,
                    "p" => {
                        let paragraph = std::mem::take(&mut words);
                        let cell = row.as_mut().and_then(|row| row.last_mut());
                        waiting += cell.as_ref().map_or(0, |_| paragraph.len());
                        slide.paragraph(paragraph.trim(), shape, cell);
                    }
                    "tr" => {
                        if let Some(row) = row.take()
                            && row.iter().any(|cell| !cell.is_empty())
                        {
                            slide.line(&row.join(" | "));
                        }
                        waiting = 0;
                    }
                    "sp" | "graphicFrame" => {
                        shape = Shape::Body;
                        slide.end_shape();
                    }
                    _ => {}
                },
            }
            let titled = slide.title.as_ref().map_or(0, String::len);
            refuse_long(slide.text.len() + words.len() + waiting + titled, limits)
        })?;
        Ok(slide)
    }

    fn paragraph(&mut self, words: &str, shape: Shape, cell: Option<&mut String>) {
        if words.is_empty() || shape == Shape::Furniture {
            return;
        }
        match (cell, shape) {
            (Some(cell), _) => {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(words);
            }
            (None, Shape::Title) => {
                let title = self.title.get_or_insert_default();
                title.push_str(if title.is_empty() { "" } else { " " });
                title.push_str(words);
            }
            (None, _) => self.line(words),
        }
    }

    fn line(&mut self, words: &str) {
        self.text.push_str(words);
        self.text.push('\n');
    }

    fn end_shape(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
}

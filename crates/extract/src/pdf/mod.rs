//! PDF: the text of each page, in the order in which it is drawn.
//!
//! The file and its fonts are read by the `hayro` crates; what is not text is skipped without being decoded. Which letters
//! a font's characters are is what its `ToUnicode` map, its glyph names or its character collection say.

mod budget;
mod content;
mod lines;
mod outline;
mod state;
mod unpack;

use hayro_font::kurbo::Affine;
use hayro_syntax::page::Page;
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use budget::Budget;
use content::{Fonts, Reader, page_content, text_string};

use crate::{ExtractError, Extracted, Format, Limits, is_blank, one_line};

/// A document of whose characters a larger share, in percent, are unknown is not worth its noise.
const UNNAMED_PERCENT: usize = 50;

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    budget::refuse_bombs(bytes, limits)?;
    let pdf = Pdf::new(bytes.to_vec()).map_err(refusal)?;
    let pages = pdf.pages();
    if pages.len() > limits.max_pages {
        return Err(ExtractError::TooManyPages {
            pages: pages.len(),
            limit: limits.max_pages,
        });
    }
    let (mut text, mut starts) = (String::new(), Vec::with_capacity(pages.len()));
    let mut budget = Budget::new(*limits);
    let fonts = Fonts::new();
    for page in pages.iter() {
        let words = page_text(page, &fonts, &mut budget)?;
        if !text.is_empty() && !words.is_empty() {
            text.push_str("\n\n");
        }
        starts.push(text.len());
        text.push_str(&words);
        budget.text_before = text.len();
    }
    refuse_unreadable(&text, pages.len(), &budget)?;
    let title = pdf.metadata().title.as_deref().map(text_string);
    Ok(Extracted {
        headings: outline::headings(&pdf, &text, &starts),
        title: title.as_deref().and_then(one_line),
        format: Format::Pdf,
        pages: starts,
        text,
    })
}

fn page_text<'a>(
    page: &Page<'a>,
    fonts: &Fonts<'a>,
    budget: &mut Budget,
) -> Result<String, ExtractError> {
    let content = page_content(page.raw(), budget)?;
    let turned = Affine::new(page.initial_transform(false).as_coeffs());
    let mut reader = Reader::new(fonts, budget, turned);
    reader.read(&content, page.resources(), 0)?;
    Ok(reader.lines.finish())
}

fn refusal(error: LoadPdfError) -> ExtractError {
    match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            ExtractError::EncryptedDocument {
                format: "PDF document",
            }
        }
        LoadPdfError::Decryption(_) => ExtractError::MalformedDocument {
            format: "PDF",
            reason: "its encryption is damaged or of an unknown kind".to_owned(),
        },
        LoadPdfError::Invalid => ExtractError::MalformedDocument {
            format: "PDF",
            reason: "it has no pages that can be found".to_owned(),
        },
    }
}

fn refuse_unreadable(text: &str, pages: usize, budget: &Budget) -> Result<(), ExtractError> {
    if budget.unnamed * 100 > budget.glyphs * UNNAMED_PERCENT {
        return Err(ExtractError::UnknownCharacters {
            unknown: budget.unnamed,
            total: budget.glyphs,
        });
    }
    if is_blank(text) {
        return Err(ExtractError::NoTextLayer { pages });
    }
    Ok(())
}

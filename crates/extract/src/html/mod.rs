//! HTML: the text as a reader sees it, with headings, lists and tables, from any markup at all.
//!
//! The standard's tokenizer is used without its tree builder. A tree costs quadratic time on deeply
//! nested or never-closed elements, and the few nesting rules that decide what is visible fit in
//! `element`.

mod element;
pub(crate) mod links;
mod page;

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::{ExtractError, Extracted, Format, Limits};
use page::Page;

pub(crate) fn read(text: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    let is_xml = text.trim_start().starts_with("<?xml");
    let sink = Sink {
        page: RefCell::new(Page::new(*limits, is_xml)),
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(text));
    // Feeding pauses only at scripts, and this sink never asks for a pause.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let (text, title, headings) = tokenizer.sink.page.into_inner().finish()?;
    let title = title.or_else(|| {
        headings
            .iter()
            .find(|h| h.level == 1)
            .map(|h| h.title.clone())
    });
    Ok(Extracted {
        text,
        title,
        format: Format::Html,
        pages: Vec::new(),
        headings,
    })
}

/// Hands the tokenizer's tokens to the page.
struct Sink {
    page: RefCell<Page>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.page.borrow_mut();
        match token {
            Token::CharacterTokens(text) => page.text(&text),
            Token::TagToken(tag) if tag.kind == TagKind::EndTag => page.close(&tag.name),
            Token::TagToken(tag) => {
                if let Some(raw) = page.open(&tag) {
                    return TokenSinkResult::RawData(raw);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

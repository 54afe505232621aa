//! HTML: the text as a reader sees it, with headings, lists and tables, from any markup at all.
//!
//! The standard's tokenizer is used without its tree builder. A tree costs quadratic time on deeply
//! nested or never-closed elements, and the few nesting rules that decide what is visible fit in
//! `element`.

mod element;
pub(crate) mod links;
mod page;

use std::cell::{Cell, RefCell};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::decode::decode;
use crate::{ExtractError, Extracted, Format, Limits};
use page::Page;

pub(crate) fn read(text: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    let is_xml = text.trim_start().starts_with("<?xml");
    read_as(text, is_xml, limits)
}

/// Reads a page that is XML, whether it says so or not: there every element may close itself.
pub(crate) fn read_xhtml(page: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = decode(page, "page.xhtml")?;
    read_as(&text, true, limits)
}

fn read_as(text: &str, is_xml: bool, limits: &Limits) -> Result<Extracted, ExtractError> {
    let sink = Sink {
        page: RefCell::new(Page::new(*limits, is_xml)),
        seen: Seen::default(),
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    for piece in pieces(text) {
        input.push_back(StrTendril::from_slice(piece));
        // Feeding pauses only at scripts, and this sink never asks for a pause.
        let _ = tokenizer.feed(&input);
        tokenizer.sink.seen.refuse_long_tags(piece)?;
    }
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

/// How much the tokenizer is given at a time.
const PIECE_BYTES: usize = 16 << 10;
/// Words in a row that make no token: they stand in one tag or comment. The tokenizer compares each of a tag's attributes
/// with all before it.
const MAX_WORDS_OF_A_TAG: usize = 20_000;

pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(PIECE_BYTES);
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What the tokenizer made of what it was given.
#[derive(Default)]
pub(super) struct Seen {
    /// Tokens since the last look.
    tokens: Cell<usize>,
    /// Words since the last token. Attributes that no white space parts are errors of grammar, which are no tokens.
    words: Cell<usize>,
}

impl Seen {
    pub(super) fn count(&self, token: &Token) {
        match token {
            Token::ParseError(_) => self.words.set(self.words.get() + 1),
            _ => self.tokens.set(self.tokens.get() + 1),
        }
    }

    /// To be asked after each piece.
    pub(super) fn refuse_long_tags(&self, piece: &str) -> Result<(), ExtractError> {
        let spaces = piece.bytes().filter(u8::is_ascii_whitespace).count();
        self.words.set(match self.tokens.take() {
            0 => self.words.get() + spaces,
            _ => 0,
        });
        if self.words.get() <= MAX_WORDS_OF_A_TAG {
            return Ok(());
        }
        Err(ExtractError::DocumentTooComplex {
            format: "HTML",
            what: "words in one tag or comment",
            limit: MAX_WORDS_OF_A_TAG,
        })
    }
}

/// Hands the tokenizer's tokens to the page.
struct Sink {
    page: RefCell<Page>,
    seen: Seen,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        self.seen.count(&token);
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

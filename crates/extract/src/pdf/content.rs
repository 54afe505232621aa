//! A page's content stream: the operators that show text, with forms drawn in place.

use std::cell::OnceCell;
use std::sync::Arc;

use hayro_cmap::BfString;
use hayro_font::kurbo::{Affine, Vec2};
use hayro_font::{
    CMapResolverFn, Font, FontCache, FontGlyph, FontQuery, FontResolverFn, StandardFont,
};
use hayro_syntax::content::TypedIter;
use hayro_syntax::content::ops::TypedInstruction;
use hayro_syntax::object::{Dict, Name, Object, Stream, String as PdfString, dict_or_stream};
use hayro_syntax::page::Resources;

use super::budget::Budget;
use super::lines::Lines;
use super::state::{Placed, State};
use crate::ExtractError;

/// Forms within forms, deeper than any writer nests them.
const MAX_FORMS: usize = 16;
/// Saved states, beyond which `q` is ignored.
const MAX_SAVED: usize = 512;

/// The fonts of a document, each read once.
pub(super) struct Fonts<'a> {
    cache: FontCache<'a>,
    /// What is drawn with where a font is not there.
    unnamed: OnceCell<Option<Font<'a>>>,
    programs: FontResolverFn,
    cmaps: CMapResolverFn,
}

impl Fonts<'_> {
    pub(super) fn new() -> Self {
        Self {
            cache: FontCache::new(),
            unnamed: OnceCell::new(),
            programs: Arc::new(|query| match query {
                FontQuery::Standard(standard) => Some(standard.get_font_data()),
                FontQuery::Fallback(fallback) => {
                    Some(fallback.pick_standard_font().get_font_data())
                }
            }),
            cmaps: Arc::new(hayro_cmap::load_embedded),
        }
    }
}

/// Replaces what is drawn until its marked content ends.
struct ActualText {
    words: String,
    depth: usize,
    written: bool,
}

/// One page being read.
pub(super) struct Reader<'a, 'b> {
    fonts: &'b Fonts<'a>,
    budget: &'b mut Budget,
    pub lines: Lines,
    state: State<'a>,
    saved: Vec<State<'a>>,
    text_matrix: Affine,
    line_matrix: Affine,
    marked: usize,
    actual: Option<ActualText>,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(fonts: &'b Fonts<'a>, budget: &'b mut Budget, page: Affine) -> Self {
        Self {
            fonts,
            budget,
            lines: Lines::default(),
            state: State::new(page),
            saved: Vec::new(),
            text_matrix: Affine::IDENTITY,
            line_matrix: Affine::IDENTITY,
            marked: 0,
            actual: None,
        }
    }

    /// Reads a content stream with the resources that its names mean.
    pub(super) fn read(
        &mut self,
        content: &[u8],
        resources: &Resources<'a>,
        forms: usize,
    ) -> Result<(), ExtractError> {
        let mut instructions = TypedIter::new(content);
        while let Some(instruction) = instructions.next() {
            self.budget.spend(1)?;
            match instruction {
                TypedInstruction::XObject(name) => self.form(name.0, resources, forms)?,
                TypedInstruction::TextFont(font) => {
                    self.state.font = self.font(font.0, resources)?;
                    self.state.font_size = font.1.as_f64();
                }
                TypedInstruction::BeginMarkedContentWithProperties(begin) => {
                    self.begin_marked(begin.1, resources)?;
                }
                instruction => self.simple(&instruction)?,
            }
        }
        Ok(())
    }

    /// The operators that need no resources.
    fn simple(&mut self, instruction: &TypedInstruction<'_, '_>) -> Result<(), ExtractError> {
        use TypedInstruction as On;
        match instruction {
            On::SaveState(_) if self.saved.len() < MAX_SAVED => self.saved.push(self.state.clone()),
            On::RestoreState(_) => {
                if let Some(state) = self.saved.pop() {
                    self.state = state;
                }
            }
            On::Transform(m) => {
                let numbers = [&m.0, &m.1, &m.2, &m.3, &m.4, &m.5].map(|number| number.as_f64());
                self.state.ctm *= Affine::new(numbers);
            }
            On::BeginText(_) => self.set_matrix(Affine::IDENTITY),
            On::SetTextMatrix(m) => {
                let numbers = [&m.0, &m.1, &m.2, &m.3, &m.4, &m.5].map(|number| number.as_f64());
                self.set_matrix(Affine::new(numbers));
            }
            On::NextLine(by) => self.next_line(by.0.as_f64(), by.1.as_f64()),
            On::NextLineAndSetLeading(by) => {
                self.state.leading = -by.1.as_f64();
                self.next_line(by.0.as_f64(), by.1.as_f64());
            }
            On::NextLineUsingLeading(_) => self.next_line(0.0, -self.state.leading),
            On::CharacterSpacing(space) => self.state.character_space = space.0.as_f64(),
            On::WordSpacing(space) => self.state.word_space = space.0.as_f64(),
            On::HorizontalScaling(percent) => {
                self.state.horizontal_scale = percent.0.as_f64() / 100.0;
            }
            On::TextLeading(leading) => self.state.leading = leading.0.as_f64(),
            On::TextRise(rise) => self.state.rise = rise.0.as_f64(),
            On::ShowText(shown) => self.show(shown.0)?,
            On::NextLineAndShowText(shown) => {
                self.next_line(0.0, -self.state.leading);
                self.show(shown.0)?;
            }
            On::ShowTextWithParameters(shown) => {
                self.state.word_space = shown.0.as_f64();
                self.state.character_space = shown.1.as_f64();
                self.next_line(0.0, -self.state.leading);
                self.show(shown.2)?;
            }
            On::ShowTexts(shown) => {
                for item in shown.0.iter::<Object<'_>>() {
                    match item {
                        Object::Number(number) => {
                            let moved = self.state.adjustment(number.as_f64());
                            self.text_matrix *= Affine::translate(moved);
                        }
                        Object::String(string) => self.show(&string)?,
                        _ => {}
                    }
                }
            }
            On::BeginMarkedContent(_) => self.marked += 1,
            On::EndMarkedContent(_) => self.end_marked(),
            _ => {}
        }
        Ok(())
    }

    fn set_matrix(&mut self, matrix: Affine) {
        self.text_matrix = matrix;
        self.line_matrix = matrix;
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.set_matrix(self.line_matrix * Affine::translate((x, y)));
    }

    /// A font by its name; Helvetica for a name that means none, as other readers do.
    fn font(
        &mut self,
        name: &Name<'_>,
        resources: &Resources<'a>,
    ) -> Result<Option<Font<'a>>, ExtractError> {
        let fonts = self.fonts;
        match resources.get_font(name) {
            Some(dict) if self.budget.admit_font(&dict)? => {
                Ok(fonts.cache.font(&dict, &fonts.programs, &fonts.cmaps))
            }
            _ => {
                let helvetica = || {
                    let font = StandardFont::Helvetica;
                    fonts.cache.standard_font(font, &fonts.programs)
                };
                Ok(fonts.unnamed.get_or_init(helvetica).clone())
            }
        }
    }

    fn show(&mut self, string: &PdfString<'_>) -> Result<(), ExtractError> {
        let Some(font) = self.state.font.clone() else {
            return Ok(());
        };
        let bytes = string.as_bytes();
        self.budget.spend(bytes.len())?;
        let mut at = 0;
        while at < bytes.len() {
            let (code, length) = font.read_code(bytes, at);
            let length = length.max(1);
            at += length;
            self.glyph(&font, code, length);
            // A map may mean a page by one character.
            self.budget.text(self.lines.len())?;
        }
        Ok(())
    }

    fn glyph(&mut self, font: &Font<'a>, code: u32, length: usize) {
        let advance = self.state.advance(font, code, length);
        let placing = self.state.placing(self.text_matrix);
        let start = placing.translation().to_point();
        self.text_matrix *= Affine::translate(advance);
        let end = self
            .state
            .placing(self.text_matrix)
            .translation()
            .to_point();
        let words = word(font, code, length);
        self.budget.glyph(words.is_some());
        let right = if font.is_horizontal() {
            Vec2::new(1.0, 0.0)
        } else {
            Vec2::new(0.0, -1.0)
        };
        let direction = linear(placing, right);
        let up = linear(placing, Vec2::new(-right.y, right.x));
        if direction.hypot() == 0.0 || !direction.is_finite() || !start.is_finite() {
            return;
        }
        let placed = Placed {
            start,
            end,
            direction: direction.normalize(),
            em: em(up.hypot(), font, code),
        };
        if let Some(actual) = &mut self.actual {
            if actual.written {
                return;
            }
            actual.written = true;
            return self.lines.push(&actual.words, placed);
        }
        if let Some(words) = words {
            self.lines.push(&words, placed);
        }
    }

    fn begin_marked(
        &mut self,
        properties: &Object<'_>,
        resources: &Resources<'a>,
    ) -> Result<(), ExtractError> {
        self.marked += 1;
        if self.actual.is_some() {
            return Ok(());
        }
        let named = properties
            .clone()
            .into_name()
            .and_then(|name| resources.properties.get::<Dict<'_>>(name));
        let properties = named.or_else(|| dict_or_stream(properties).map(|(dict, _)| dict.clone()));
        let properties = properties.unwrap_or_default();
        self.budget.look_up(&properties)?;
        let words = properties
            .get::<PdfString<'_>>(b"ActualText".as_slice())
            .map(|words| text_string(words.as_bytes()));
        if let Some(words) = words {
            self.budget.spend(words.len())?;
            let (depth, written) = (self.marked, false);
            self.actual = Some(ActualText {
                words,
                depth,
                written,
            });
        }
        Ok(())
    }

    fn end_marked(&mut self) {
        if self
            .actual
            .as_ref()
            .is_some_and(|actual| actual.depth == self.marked)
        {
            self.actual = None;
        }
        self.marked = self.marked.saturating_sub(1);
    }

    /// Draws a form in place. Images show no text.
    fn form(
        &mut self,
        name: &Name<'_>,
        resources: &Resources<'a>,
        forms: usize,
    ) -> Result<(), ExtractError> {
        let Some(stream) = resources.get_x_object(name).filter(|_| forms < MAX_FORMS) else {
            return Ok(());
        };
        let dict = stream.dict();
        self.budget.look_up(dict)?;
        let subtype = dict.get::<Name<'_>>(b"Subtype".as_slice());
        if subtype.is_none_or(|subtype| subtype.as_str() != "Form") {
            return Ok(());
        }
        let own = dict
            .get::<Dict<'a>>(b"Resources".as_slice())
            .map(Resources::new);
        let Some(content) = self.budget.decode(&stream)? else {
            return Ok(());
        };
        let matrix = dict
            .get::<[f64; 6]>(b"Matrix".as_slice())
            .map_or(Affine::IDENTITY, Affine::new);
        let (state, saved) = (self.state.clone(), std::mem::take(&mut self.saved));
        let matrices = (self.text_matrix, self.line_matrix);
        self.state.ctm *= matrix;
        let read = self.read(&content, own.as_ref().unwrap_or(resources), forms + 1);
        (self.state, self.saved) = (state, saved);
        (self.text_matrix, self.line_matrix) = matrices;
        read
    }
}

/// A vector through a transformation's linear part.
fn linear(transformation: Affine, vector: Vec2) -> Vec2 {
    let [a, b, c, d, _, _] = transformation.as_coeffs();
    Vec2::new(a * vector.x + c * vector.y, b * vector.x + d * vector.y)
}

/// The height of a glyph's em on the page. A Type 3 font may have any unit: there the glyph's width tells, half an em as
/// that of most letters.
fn em(height: f64, font: &Font<'_>, code: u32) -> f64 {
    let glyph = font.glyph(font.map_code(code), code);
    let FontGlyph::Type3(glyph) = glyph else {
        return height;
    };
    let unit = glyph.font().matrix().as_coeffs()[3].abs() * 1000.0;
    if (0.5..=2.0).contains(&unit) {
        return height;
    }
    (f64::from(glyph.advance_width()) / 1000.0 * height * 2.0).max(height * 0.1)
}

/// What a code means. A font that does not say is believed to mean ASCII by one byte, as readers do.
fn word(font: &Font<'_>, code: u32, length: usize) -> Option<String> {
    let mapped = match font.glyph(font.map_code(code), code) {
        FontGlyph::Outline(glyph) => glyph.as_unicode(),
        FontGlyph::Type3(glyph) => glyph.as_unicode(),
    };
    let words = match mapped {
        Some(BfString::Char(character)) => character.to_string(),
        Some(BfString::String(words)) => words,
        None if length == 1 => char::from_u32(code)
            .filter(|c| matches!(c, ' '..='~'))?
            .to_string(),
        None => return None,
    };
    let words = words.replace('\u{f0b7}', "•");
    let private = |c: char| matches!(c, '\0' | '\u{e000}'..='\u{f8ff}' | '\u{fffd}');
    (!words.chars().all(private)).then(|| words.replace(private, ""))
}

/// A text string: UTF-16 or UTF-8 by its mark, else PDFDocEncoding, read as Latin-1.
pub(super) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => encoding_rs::UTF_16BE
            .decode_without_bom_handling(rest)
            .0
            .into_owned(),
        [0xff, 0xfe, rest @ ..] => encoding_rs::UTF_16LE
            .decode_without_bom_handling(rest)
            .0
            .into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => encoding_rs::WINDOWS_1252
            .decode_without_bom_handling(bytes)
            .0
            .into_owned(),
    }
}

/// The streams of a page's content, one after the other.
pub(super) fn page_content(page: &Dict<'_>, budget: &mut Budget) -> Result<Vec<u8>, ExtractError> {
    let contents = b"Contents".as_slice();
    if let Some(stream) = page.get::<Stream<'_>>(contents) {
        return Ok(budget.decode(&stream)?.unwrap_or_default());
    }
    let mut content = Vec::new();
    if let Some(streams) = page.get::<hayro_syntax::object::Array<'_>>(contents) {
        for stream in streams.iter::<Object<'_>>() {
            if let Some(stream) = stream.into_stream()
                && let Some(more) = budget.decode(&stream)?
            {
                content.extend_from_slice(&more);
                content.push(b' ');
                budget.page(content.len())?;
            }
        }
    }
    Ok(content)
}
